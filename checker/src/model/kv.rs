//! A string per key: `get`, `put`, `append`. A key that was never put holds the empty string.

use serde_json::Value;

use super::specification::{Effect, Observed, Specification, allocated};
use crate::history::Outcome;

/// The object of one key.
pub(crate) struct Kv;

/// An operation of [`Kv`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Get(String),
    Put(String),
    Append(String),
}

impl Specification for Kv {
    type State = String;
    type Op = Op;

    fn initial(&self) -> String {
        String::new()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<Op>, String> {
        if call.outcome == Outcome::Fail {
            return Ok(None);
        }
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        match call.f {
            "get" | "read" if call.outcome == Outcome::Info => Ok(None),
            "get" | "read" => Ok(Some(Op::Get(text(&call.answer)))),
            "put" | "write" => Ok(Some(Op::Put(text(&call.argument)))),
            "append" => Ok(Some(Op::Append(text(&call.argument)))),
            _ => Err("one of get, put, append".into()),
        }
    }

    fn step(&self, state: &String, op: &Op) -> Option<String> {
        match op {
            Op::Get(seen) => (seen == state).then(|| state.clone()),
            Op::Put(text) => Some(text.clone()),
            Op::Append(text) => Some([state, text.as_str()].concat()),
        }
    }

    fn effect(&self, op: &Op) -> Effect {
        match op {
            Op::Get(_) => Effect::Observes,
            Op::Put(_) => Effect::Overwrites,
            Op::Append(_) => Effect::Updates,
        }
    }

    fn heap_bytes(&self, state: &String) -> usize {
        allocated(state.len())
    }

    fn op_heap_bytes(&self, op: &Op) -> usize {
        let (Op::Get(text) | Op::Put(text) | Op::Append(text)) = op;
        2 * allocated(text.len())
    }

    fn show(&self, state: &String) -> Value {
        Value::from(state.as_str())
    }

    fn leads_to(&self, state: &String, op: &Op) -> bool {
        matches!(op, Op::Get(seen) if seen.starts_with(state.as_str()))
    }

    fn feeds(&self, op: &Op, later: &Op) -> bool {
        match (op, later) {
            (Op::Put(text) | Op::Append(text), Op::Get(seen)) => seen.contains(text.as_str()),
            _ => false,
        }
    }
}
