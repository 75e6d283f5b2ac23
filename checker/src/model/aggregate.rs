//! What sums its operations up: sets and counters.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::elements::Elements;
use super::specification::{Effect, Observed, Specification, allocated};
use crate::history::Outcome;
use crate::wording::whole;

/// A set: `add v`, `remove v`, `contains v` answering a boolean, `read` answering all members.
#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) members: Elements,
}

/// An operation of [`Set`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetOp {
    Add(u32, Option<bool>),
    Remove(u32, Option<bool>),
    Contains(u32, bool),
    /// Sorted.
    Read(Arc<[u32]>),
}

impl Set {
    /// A read of these members.
    pub(crate) fn read(members: &mut [u32]) -> SetOp {
        members.sort_unstable();
        SetOp::Read((&*members).into())
    }
}

impl Specification for Set {
    type State = BTreeSet<u32>;
    type Op = SetOp;

    fn initial(&self) -> Self::State {
        BTreeSet::new()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<SetOp>, String> {
        let member = || self.members.number(&call.argument);
        // An answer of true or false says whether it changed anything; others say nothing.
        let changed = if call.outcome == Outcome::Ok {
            call.answer.as_bool()
        } else {
            None
        };
        match (call.f, call.outcome) {
            (_, Outcome::Fail) | ("read" | "contains", Outcome::Info) => Ok(None),
            ("add", _) => Ok(Some(SetOp::Add(member(), changed))),
            ("remove", _) => Ok(Some(SetOp::Remove(member(), changed))),
            ("contains", Outcome::Ok) => {
                let there = call.answer.as_bool().ok_or("contains with true or false")?;
                Ok(Some(SetOp::Contains(member(), there)))
            }
            ("read", Outcome::Ok) => {
                let items = call.answer.as_array().ok_or("read with a list")?;
                Ok(Some(Set::read(&mut self.members.numbers(items))))
            }
            _ => Err("one of add, remove, contains, read".into()),
        }
    }

    fn step(&self, state: &Self::State, op: &SetOp) -> Option<Self::State> {
        let (mut next, fits) = (state.clone(), |told: &Option<bool>, did| {
            told.is_none_or(|it| it == did)
        });
        match op {
            SetOp::Add(member, changed) => fits(changed, next.insert(*member)).then_some(next),
            SetOp::Remove(member, changed) => fits(changed, next.remove(member)).then_some(next),
            SetOp::Contains(member, there) => (state.contains(member) == *there).then_some(next),
            SetOp::Read(members) => state.iter().eq(members.iter()).then_some(next),
        }
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        // A number and its share of nodes, which are half full or more.
        state.len() * 12
    }

    fn op_heap_bytes(&self, op: &SetOp) -> usize {
        match op {
            SetOp::Read(members) => allocated(size_of_val(&members[..])),
            _ => 0,
        }
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
        let mut members: Vec<Value> = state.iter().map(|&it| self.members.value(it)).collect();
        members.sort_by_cached_key(Value::to_string);
        members.into()
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

/// What a function adds to a counter; none when it is not one that adds.
pub(crate) fn added(f: &str, argument: &Value) -> Option<Result<i64, String>> {
    let down = match f {
        "add" | "inc" | "increment" | "add-and-get" => false,
        "dec" | "decrement" => true,
        _ => return None,
    };
    let amount = match argument {
        Value::Null => Some(1),
        value => value.as_i64(),
    };
    let amount = amount.and_then(|it| if down { it.checked_neg() } else { Some(it) });
    Some(amount.ok_or_else(|| format!("{f} of an integer of 64 bits")))
}

/// An operation of [`Counter`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CounterOp {
    Add(i64, Option<i64>),
    Read(i64),
}

impl CounterOp {
    /// How much it adds.
    pub(crate) fn by(&self) -> i128 {
        match *self {
            CounterOp::Add(by, _) => by.into(),
            CounterOp::Read(_) => 0,
        }
    }

    /// The sum that it was told.
    pub(crate) fn answer(&self) -> Option<i128> {
        match *self {
            CounterOp::Add(_, answer) => answer.map(i128::from),
            CounterOp::Read(seen) => Some(seen.into()),
        }
    }
}

impl Specification for Counter {
    /// Wider than an amount: how far it goes on the way is nobody's business but who reads it.
    type State = i128;
    type Op = CounterOp;

    fn initial(&self) -> i128 {
        self.initial.into()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<CounterOp>, String> {
        let by = match call.f {
            "read" if call.outcome == Outcome::Ok => {
                let seen = call.answer.as_i64().ok_or("read with an integer")?;
                return Ok(Some(CounterOp::Read(seen)));
            }
            "read" => return Ok(None),
            f => added(f, &call.argument)
                .unwrap_or_else(|| Err("one of add, inc, dec, add-and-get, read".into()))?,
        };
        // Many clients answer an add with its own argument: only add-and-get tells the new value.
        let answer = match (call.f, call.outcome) {
            ("add-and-get", Outcome::Ok) => {
                Some(call.answer.as_i64().ok_or("add-and-get with an integer")?)
            }
            _ => None,
        };
        Ok((call.outcome != Outcome::Fail).then_some(CounterOp::Add(by, answer)))
    }

    fn step(&self, state: &i128, op: &CounterOp) -> Option<i128> {
        let next = state.checked_add(op.by())?;
        let fits = op.answer().is_none_or(|answer| answer == next);
        fits.then_some(next)
    }

    fn op_heap_bytes(&self, _op: &CounterOp) -> usize {
        0
    }

    fn show(&self, state: &i128) -> Value {
        whole(*state)
    }

    fn effect(&self, op: &CounterOp) -> Effect {
        if matches!(op, CounterOp::Read(_)) {
            Effect::Observes
        } else {
            Effect::Updates
        }
    }
}
