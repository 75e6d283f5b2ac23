//! A register: `read`, `write v`, `cas [old, new]`.
//!
//! A failed write or read did not happen. A failed `cas` did not either, but when its error is
//! `mismatch` the system looked and found another value: that is an observation, and is checked.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use serde_json::Value;

use super::specification::{Effect, Observed, Specification};
use crate::history::{Call, History, Outcome, ValueId};

/// Stands for a return that never came.
pub(crate) const NEVER: u32 = u32::MAX;

/// What an operation does to a register. Values are interned ids, bare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Saw this value.
    Read(u32),
    /// Left this value.
    Write(u32),
    /// Saw the first and left the second.
    Cas(u32, u32),
    /// Saw anything but this value.
    Differs(u32),
}

impl Action {
    /// What the register holds after, if this may happen before.
    pub(crate) fn step(self, state: u32) -> Option<u32> {
        match self {
            Action::Read(value) => (value == state).then_some(state),
            Action::Write(value) => Some(value),
            Action::Cas(old, new) => (old == state).then_some(new),
            Action::Differs(value) => (value != state).then_some(state),
        }
    }
}

/// A register of plain values, for where a history is not at hand in columns.
pub(crate) struct Register {
    pub(crate) initial: Value,
    pub(crate) failed_cas_differs: bool,
}

/// An operation of [`Register`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RegisterOp {
    Read(Value),
    Write(Value),
    Cas(Value, Value),
    Differs(Value),
}

impl Specification for Register {
    type State = Value;
    type Op = RegisterOp;

    fn initial(&self) -> Value {
        self.initial.clone()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<RegisterOp>, String> {
        Ok(match (call.f, call.outcome) {
            ("read" | "r", Outcome::Ok) => Some(RegisterOp::Read(call.answer.clone())),
            ("read" | "r", _) | ("write" | "w", Outcome::Fail) => None,
            ("write" | "w", _) => Some(RegisterOp::Write(call.argument.clone())),
            ("cas", outcome) => {
                let pair = call.argument.as_array().map(Vec::as_slice);
                let Some([old, new]) = pair else {
                    return Err(format!("a cas of [old, new], found {}", call.argument));
                };
                let differed = self.failed_cas_differs || call.error.as_deref() == Some("mismatch");
                match outcome {
                    Outcome::Fail if differed => Some(RegisterOp::Differs(old.clone())),
                    Outcome::Fail => None,
                    _ => Some(RegisterOp::Cas(old.clone(), new.clone())),
                }
            }
            _ => return Err("one of read, write, cas".into()),
        })
    }

    fn step(&self, state: &Value, op: &RegisterOp) -> Option<Value> {
        match op {
            RegisterOp::Read(value) => (value == state).then(|| state.clone()),
            RegisterOp::Write(value) => Some(value.clone()),
            RegisterOp::Cas(old, new) => (old == state).then(|| new.clone()),
            RegisterOp::Differs(value) => (value != state).then(|| state.clone()),
        }
    }

    fn show(&self, state: &Value) -> Value {
        state.clone()
    }

    fn effect(&self, op: &RegisterOp) -> Effect {
        match op {
            RegisterOp::Read(_) | RegisterOp::Differs(_) => Effect::Observes,
            RegisterOp::Write(_) => Effect::Overwrites,
            RegisterOp::Cas(..) => Effect::Updates,
        }
    }
}

/// One operation on one register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    /// Row of the invocation.
    pub(crate) invoke: u32,
    /// Row of the return, [`NEVER`] when it may still happen.
    pub(crate) ret: u32,
    /// What it did.
    pub(crate) action: Action,
}

/// Turns calls into operations.
pub(crate) struct Decoder<'a> {
    history: &'a History,
    functions: Vec<Function>,
    /// Rows of failed `cas` that say so; none: all do.
    mismatch: Option<Vec<u32>>,
    /// The ids of elements that do not occur as values by themselves.
    foreign: Mutex<HashMap<String, u32>>,
}

#[derive(Clone, Copy)]
enum Function {
    Read,
    Write,
    Cas,
    Unknown,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(history: &'a History, failed_cas_differs: bool) -> Self {
        let functions = history.functions().iter().map(|name| match name.as_str() {
            "read" | "r" => Function::Read,
            "write" | "w" => Function::Write,
            "cas" => Function::Cas,
            _ => Function::Unknown,
        });
        Decoder {
            functions: functions.collect(),
            mismatch: (!failed_cas_differs).then(|| history.rows_with_error("mismatch")),
            foreign: Mutex::default(),
            history,
        }
    }

    /// The operation, none when the call constrains nothing, an error when it makes no sense.
    pub(crate) fn decode(&self, call: Call) -> Result<Option<Operation>, String> {
        let (tags, values) = (self.history.tag_column(), self.history.value_column());
        let outcome = call.outcome(self.history);
        let function = self.functions[usize::from(tags[call.invoke as usize] >> 2)];
        if outcome == Outcome::Ok && matches!(function, Function::Read | Function::Write) {
            // What most calls are, and which of the two cannot be foreseen: told apart without a jump.
            let read = matches!(function, Function::Read);
            let row = if read { call.complete } else { call.invoke };
            let value = values[row as usize].raw();
            let action = if read {
                Action::Read(value)
            } else {
                Action::Write(value)
            };
            return Ok(Some(Operation {
                invoke: call.invoke,
                ret: call.complete,
                action,
            }));
        }
        let argument = values[call.invoke as usize];
        let action = match function {
            Function::Read => return Ok(None),
            Function::Write if outcome == Outcome::Fail => return Ok(None),
            Function::Write => Action::Write(argument.raw()),
            Function::Cas => {
                let (old, new) = self.pair(argument).ok_or_else(|| {
                    let found = self.history.values().json(argument);
                    self.complaint(call, &format!("a cas of [old, new], found {found}"))
                })?;
                match outcome {
                    Outcome::Fail if self.differs(call) => Action::Differs(old),
                    Outcome::Fail => return Ok(None),
                    _ => Action::Cas(old, new),
                }
            }
            Function::Unknown => return Err(self.complaint(call, "one of read, write, cas")),
        };
        let ret = if outcome == Outcome::Info {
            NEVER
        } else {
            call.complete
        };
        Ok(Some(Operation {
            invoke: call.invoke,
            ret,
            action,
        }))
    }

    fn differs(&self, call: Call) -> bool {
        let told = |rows: &Vec<u32>| rows.binary_search(&call.complete).is_ok();
        self.mismatch.as_ref().is_none_or(told)
    }

    fn complaint(&self, call: Call, expected: &str) -> String {
        let row = call.invoke as usize;
        let (index, f) = (self.history.index(row), self.history.row(row).f);
        format!("op {index} (row {row}) is {f:?}: expected {expected}")
    }

    fn pair(&self, id: ValueId) -> Option<(u32, u32)> {
        let values = self.history.values();
        if let Some([first, second]) = values.small_pair(id) {
            return Some((first.raw(), second.raw()));
        }
        let [first, second] = values.pair(id)?;
        Some((self.id(&first), self.id(&second)))
    }

    /// The id of an element, which need not occur as a value by itself. Only that equal elements have
    /// equal ids counts, so whoever comes first may have the first.
    pub(crate) fn id(&self, value: &Value) -> u32 {
        let values = self.history.values();
        if let Some(id) = values.find(value) {
            return id.raw();
        }
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (values.len() + foreign.len()) as u32;
        *foreign.entry(value.to_string()).or_insert(next)
    }
}
