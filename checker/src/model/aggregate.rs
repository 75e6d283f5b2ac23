//! What sums its operations up: sets and counters.

use std::collections::BTreeSet;

use serde_json::Value;

use super::specification::{Effect, Observed, Specification};
use crate::history::Outcome;

/// A set: `add v`, `remove v`, `contains v` answering a boolean, `read` answering all members.
pub(crate) struct Set;

/// An operation of [`Set`]. Members by their JSON text, which has an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetOp {
    Add(String, Option<bool>),
    Remove(String, Option<bool>),
    Contains(String, bool),
    Read(Vec<String>),
}

impl Specification for Set {
    type State = BTreeSet<String>;
    type Op = SetOp;

    fn initial(&self) -> Self::State {
        BTreeSet::new()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<SetOp>, String> {
        let member = call.argument.to_string();
        // An answer of true or false says whether it changed anything; others say nothing.
        let changed = if call.outcome == Outcome::Ok {
            call.answer.as_bool()
        } else {
            None
        };
        match (call.f, call.outcome) {
            (_, Outcome::Fail) | ("read" | "contains", Outcome::Info) => Ok(None),
            ("add", _) => Ok(Some(SetOp::Add(member, changed))),
            ("remove", _) => Ok(Some(SetOp::Remove(member, changed))),
            ("contains", Outcome::Ok) => {
                let there = call.answer.as_bool().ok_or("contains with true or false")?;
                Ok(Some(SetOp::Contains(member, there)))
            }
            ("read", Outcome::Ok) => {
                let items = call.answer.as_array().ok_or("read with a list")?;
                let mut members: Vec<String> = items.iter().map(Value::to_string).collect();
                members.sort();
                Ok(Some(SetOp::Read(members)))
            }
            _ => Err("one of add, remove, contains, read".into()),
        }
    }

    fn step(&self, state: &Self::State, op: &SetOp) -> Option<Self::State> {
        let (mut next, fits) = (state.clone(), |told: &Option<bool>, did| {
            told.is_none_or(|it| it == did)
        });
        match op {
            SetOp::Add(member, changed) => {
                fits(changed, next.insert(member.clone())).then_some(next)
            }
            SetOp::Remove(member, changed) => fits(changed, next.remove(member)).then_some(next),
            SetOp::Contains(member, there) => (state.contains(member) == *there).then_some(next),
            SetOp::Read(members) => state.iter().eq(members).then_some(next),
        }
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        // A string's own size, its text, and its share of a node.
        state.iter().map(|member| 40 + member.len()).sum()
    }

    fn leads_to(&self, state: &Self::State, op: &SetOp) -> bool {
        let SetOp::Read(members) = op else {
            return false;
        };
        let mut missing = state.iter().filter(|it| members.binary_search(it).is_err());
        missing.next().is_none()
    }

    fn feeds(&self, op: &SetOp, later: &SetOp) -> bool {
        let (member, adds) = match op {
            SetOp::Add(member, _) => (member, true),
            SetOp::Remove(member, _) => (member, false),
            SetOp::Contains(..) | SetOp::Read(_) => return false,
        };
        // Whether `later` wants the member there; none: it does not care.
        let wants = match later {
            SetOp::Read(members) => Some(members.binary_search(member).is_ok()),
            SetOp::Contains(asked, there) => (asked == member).then_some(*there),
            SetOp::Add(added, changed) => changed.filter(|_| added == member).map(|did| !did),
            SetOp::Remove(removed, changed) => changed.filter(|_| removed == member),
        };
        wants == Some(adds)
    }

    fn show(&self, state: &Self::State) -> Value {
        let member = |text: &String| serde_json::from_str::<Value>(text).unwrap_or_default();
        state.iter().map(member).collect()
    }

    fn effect(&self, op: &SetOp) -> Effect {
        match op {
            SetOp::Contains(..) | SetOp::Read(_) => Effect::Observes,
            _ => Effect::Updates,
        }
    }
}

/// A counter: `add n` (or `inc`, `dec`) may answer the new value, `read` answers it.
pub(crate) struct Counter {
    pub(crate) initial: i64,
}

/// An operation of [`Counter`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CounterOp {
    Add(i64, Option<i64>),
    Read(i64),
}

impl Specification for Counter {
    type State = i64;
    type Op = CounterOp;

    fn initial(&self) -> i64 {
        self.initial
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<CounterOp>, String> {
        let by = || match &call.argument {
            Value::Null => Ok(1),
            value => value
                .as_i64()
                .ok_or_else(|| format!("{} of an integer", call.f)),
        };
        let sum = match call.f {
            "read" if call.outcome == Outcome::Ok => {
                let seen = call.answer.as_i64().ok_or("read with an integer")?;
                return Ok(Some(CounterOp::Read(seen)));
            }
            "read" => return Ok(None),
            "add" | "inc" | "increment" | "add-and-get" => by()?,
            "dec" | "decrement" => -by()?,
            _ => return Err("one of add, inc, dec, add-and-get, read".into()),
        };
        // Many clients answer an add with its own argument: only add-and-get tells the new value.
        let answer = match (call.f, call.outcome) {
            ("add-and-get", Outcome::Ok) => {
                Some(call.answer.as_i64().ok_or("add-and-get with an integer")?)
            }
            _ => None,
        };
        Ok((call.outcome != Outcome::Fail).then_some(CounterOp::Add(sum, answer)))
    }

    fn step(&self, state: &i64, op: &CounterOp) -> Option<i64> {
        match op {
            CounterOp::Read(seen) => (seen == state).then_some(*state),
            CounterOp::Add(by, answer) => {
                let next = state.checked_add(*by)?;
                answer.is_none_or(|answer| answer == next).then_some(next)
            }
        }
    }

    fn show(&self, state: &i64) -> Value {
        Value::from(*state)
    }

    fn effect(&self, op: &CounterOp) -> Effect {
        if matches!(op, CounterOp::Read(_)) {
            Effect::Observes
        } else {
            Effect::Updates
        }
    }
}
