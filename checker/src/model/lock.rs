//! Locks: a mutex that knows no owner, a lock that does, and a lease with fencing tokens.

use serde_json::Value;

use super::specification::{Observed, Specification};
use crate::history::Outcome;

/// A lock. `owned`: only who acquired it may release it.
pub(crate) struct Lock {
    pub(crate) owned: bool,
}

/// `acquire` or `release`, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Turn {
    acquire: bool,
    owner: Option<String>,
}

impl Specification for Lock {
    /// Who holds it; the inner none when owners do not matter.
    type State = Option<Option<String>>;
    type Op = Turn;

    fn initial(&self) -> Self::State {
        None
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<Turn>, String> {
        if call.outcome == Outcome::Fail {
            return Ok(None);
        }
        let acquire = acquires(call.f)?;
        let owner = self.owned.then(|| match &call.argument {
            Value::Null => call.process.to_string(),
            owner => owner.to_string(),
        });
        Ok(Some(Turn { acquire, owner }))
    }

    fn step(&self, holder: &Self::State, turn: &Turn) -> Option<Self::State> {
        match (holder, turn.acquire) {
            (None, true) => Some(Some(turn.owner.clone())),
            (Some(owner), false) if *owner == turn.owner => Some(None),
            _ => None,
        }
    }

    fn show(&self, holder: &Self::State) -> Value {
        Value::from(match holder {
            None => "nobody".to_owned(),
            Some(None) => "somebody".to_owned(),
            Some(Some(owner)) => owner.clone(),
        })
    }
}

fn acquires(f: &str) -> Result<bool, String> {
    match f {
        "acquire" | "lock" => Ok(true),
        "release" | "unlock" => Ok(false),
        _ => Err("one of acquire, release".into()),
    }
}

/// A lease that may expire at any time: each `acquire` answers a token greater than all before.
/// `release` and `renew` are given a token, and succeed while nobody has acquired since. A token that nobody
/// was told is used by nobody.
pub(crate) struct Lease;

/// An operation of [`Lease`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LeaseOp {
    /// With the token it answered.
    Acquire(u64),
    /// Holds only while this token is the latest.
    Use(u64),
}

impl Specification for Lease {
    /// The latest token that was answered.
    type State = Option<u64>;
    type Op = LeaseOp;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<LeaseOp>, String> {
        let token = |value: &Value| value.as_u64().or_else(|| value.get("token")?.as_u64());
        let wrong = || format!("{} with a token: a whole number, not below zero", call.f);
        match (call.f, call.outcome) {
            // An acquisition of unknown outcome may as well not have happened: its token, if there
            // is one, was never seen.
            (_, Outcome::Fail) | ("acquire" | "renew" | "release", Outcome::Info) => Ok(None),
            ("acquire", Outcome::Ok) => Ok(Some(LeaseOp::Acquire(
                token(&call.answer).ok_or_else(wrong)?,
            ))),
            ("renew" | "release", Outcome::Ok) => {
                Ok(Some(LeaseOp::Use(token(&call.argument).ok_or_else(wrong)?)))
            }
            _ => Err("one of acquire, renew, release".into()),
        }
    }

    fn show(&self, latest: &Option<u64>) -> Value {
        latest.map_or(Value::Null, Value::from)
    }

    fn step(&self, latest: &Option<u64>, op: &LeaseOp) -> Option<Option<u64>> {
        match op {
            LeaseOp::Acquire(token) => (Some(*token) > *latest).then_some(Some(*token)),
            LeaseOp::Use(token) => (Some(*token) == *latest).then_some(*latest),
        }
    }
}
