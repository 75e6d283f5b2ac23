//! What holds elements in an order: queue, stack, priority queue, append log.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use super::elements::Elements;
use super::specification::{Effect, Observed, Specification, allocated};
use crate::history::Outcome;

/// Which element leaves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// The oldest.
    Queue,
    /// The newest.
    Stack,
    /// The least.
    Priority,
}

/// A queue of some kind. Taking from an empty one answers null, or fails with `empty`.
pub(crate) struct Queue(pub(crate) Discipline);

/// An operation of [`Queue`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum QueueOp {
    Put(Value),
    Take(Taken),
}

/// What taking an element answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Taken {
    Element(Value),
    /// There was none.
    Nothing,
    /// It is not known what, nor whether.
    Unknown,
}

impl Specification for Queue {
    type State = Vec<Value>;
    type Op = QueueOp;

    fn initial(&self) -> Vec<Value> {
        Vec::new()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<QueueOp>, String> {
        match call.f {
            "enqueue" | "push" | "insert" | "add" => {
                let put = || QueueOp::Put(call.argument.clone());
                Ok((call.outcome != Outcome::Fail).then(put))
            }
            "dequeue" | "pop" | "extract" | "remove" | "poll" => Ok(match call.outcome {
                Outcome::Ok if call.answer.is_null() => Some(QueueOp::Take(Taken::Nothing)),
                Outcome::Ok => Some(QueueOp::Take(Taken::Element(call.answer.clone()))),
                Outcome::Fail if call.error.as_deref() == Some("empty") => {
                    Some(QueueOp::Take(Taken::Nothing))
                }
                Outcome::Fail => None,
                Outcome::Info => Some(QueueOp::Take(Taken::Unknown)),
            }),
            _ => Err("one of enqueue, dequeue (push, pop; insert, extract)".into()),
        }
    }

    fn step(&self, state: &Vec<Value>, op: &QueueOp) -> Option<Vec<Value>> {
        match op {
            QueueOp::Put(value) => {
                let at = match self.0 {
                    Discipline::Priority => state.partition_point(|it| precedes(it, value)),
                    _ => state.len(),
                };
                // At once as long as it must be: states are kept.
                let mut next = Vec::with_capacity(state.len() + 1);
                next.extend_from_slice(&state[..at]);
                next.push(value.clone());
                next.extend_from_slice(&state[at..]);
                Some(next)
            }
            QueueOp::Take(seen) => {
                let (first, left) = match self.0 {
                    Discipline::Stack => state.split_last().unzip(),
                    _ => state.split_first().unzip(),
                };
                let fits = match seen {
                    Taken::Element(seen) => first == Some(seen),
                    Taken::Nothing => first.is_none(),
                    Taken::Unknown => true,
                };
                fits.then(|| left.unwrap_or_default().to_vec())
            }
        }
    }

    fn heap_bytes(&self, state: &Vec<Value>) -> usize {
        allocated(size_of_val(&state[..])) + state.iter().map(outside).sum::<usize>()
    }

    fn op_heap_bytes(&self, op: &QueueOp) -> usize {
        match op {
            QueueOp::Put(value) | QueueOp::Take(Taken::Element(value)) => 2 * outside(value),
            QueueOp::Take(_) => 0,
        }
    }

    fn show(&self, state: &Vec<Value>) -> Value {
        Value::from(state.clone())
    }

    fn effect(&self, op: &QueueOp) -> Effect {
        match op {
            QueueOp::Take(Taken::Nothing) => Effect::Observes,
            _ => Effect::Updates,
        }
    }
}

/// What an element holds outside itself, roughly.
fn outside(value: &Value) -> usize {
    match value {
        Value::String(text) => allocated(text.len()),
        Value::Array(items) => {
            allocated(size_of_val(&items[..])) + items.iter().map(outside).sum::<usize>()
        }
        Value::Object(fields) => fields.values().map(|it| 128 + outside(it)).sum(),
        _ => 0,
    }
}

/// Numbers by size, all else by text after them.
pub(crate) fn precedes(left: &Value, right: &Value) -> bool {
    match (left.is_number(), right.is_number()) {
        (true, true) => by_size(left, right).is_le(),
        (true, false) => true,
        (false, true) => false,
        (false, false) => left.to_string().cmp(&right.to_string()).is_le(),
    }
}

/// Numbers by size, exactly: a whole one of 64 bits may have no float of its own.
fn by_size(left: &Value, right: &Value) -> Ordering {
    let float = |number: &Value| number.as_f64().unwrap_or_default();
    let mixed = |whole: i128, float: f64| {
        let by_rest = || 0.0_f64.total_cmp(&(float.fract() + 0.0));
        whole.cmp(&(float as i128)).then_with(by_rest)
    };
    match (whole_number(left), whole_number(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(left), None) => mixed(left, float(right)),
        (None, Some(right)) => mixed(right, float(left)).reverse(),
        (None, None) => float(left)
            .partial_cmp(&float(right))
            .unwrap_or(Ordering::Equal),
    }
}

/// A whole number.
pub(crate) fn whole_number(number: &Value) -> Option<i128> {
    let signed = number.as_i64().map(i128::from);
    signed.or_else(|| number.as_u64().map(i128::from))
}

/// An append-only log: `append v` may answer its offset, `read` answers all there is.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) values: Elements,
}

/// An operation of [`Log`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LogOp {
    Append(u32, Option<u64>),
    Read(Arc<[u32]>),
}

impl Specification for Log {
    type State = Vec<u32>;
    type Op = LogOp;

    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<LogOp>, String> {
        let append = |told| LogOp::Append(self.values.number(&call.argument), told);
        let read = |items: &[Value]| LogOp::Read(self.values.numbers(items).into());
        match (call.f, call.outcome) {
            (_, Outcome::Fail) | ("read", Outcome::Info) => Ok(None),
            ("append", Outcome::Info) => Ok(Some(append(None))),
            ("append", Outcome::Ok) => {
                let told = call.answer.get("offset").and_then(Value::as_u64);
                Ok(Some(append(told)))
            }
            ("read", Outcome::Ok) => match &call.answer {
                Value::Null => Ok(Some(read(&[]))),
                Value::Array(items) => Ok(Some(read(items))),
                _ => Err("read with a list".into()),
            },
            _ => Err("one of append, read".into()),
        }
    }

    fn step(&self, state: &Vec<u32>, op: &LogOp) -> Option<Vec<u32>> {
        match op {
            LogOp::Append(_, Some(offset)) if *offset != state.len() as u64 => None,
            LogOp::Append(value, _) => Some([state.as_slice(), &[*value]].concat()),
            LogOp::Read(seen) => (seen[..] == state[..]).then(|| state.clone()),
        }
    }

    fn heap_bytes(&self, state: &Vec<u32>) -> usize {
        allocated(size_of_val(&state[..]))
    }

    fn op_heap_bytes(&self, op: &LogOp) -> usize {
        match op {
            LogOp::Read(seen) => allocated(size_of_val(&seen[..])),
            LogOp::Append(..) => 0,
        }
    }

    fn show(&self, state: &Vec<u32>) -> Value {
        state.iter().map(|&it| self.values.value(it)).collect()
    }

    fn effect(&self, op: &LogOp) -> Effect {
        if matches!(op, LogOp::Read(_)) {
            Effect::Observes
        } else {
            Effect::Updates
        }
    }

    fn leads_to(&self, state: &Vec<u32>, op: &LogOp) -> bool {
        matches!(op, LogOp::Read(seen) if seen.starts_with(state))
    }
}
