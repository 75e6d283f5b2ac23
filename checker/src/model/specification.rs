//! How to say what an object promises.

use std::fmt::Debug;
use std::hash::Hash;

use serde_json::Value;

use crate::history::Outcome;

/// How an operation treats the state. To say more than [`Effect::Updates`] makes a search faster;
/// to say it wrongly makes its verdict wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Never changes the state.
    Observes,
    /// Is possible in every state, and what it leaves does not depend on the state it meets.
    Overwrites,
    /// Anything else.
    Updates,
}

/// One call of a history, as a specification gets to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed<'a> {
    /// The function.
    pub f: &'a str,
    /// Which client called.
    pub process: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The invocation's value.
    pub argument: Value,
    /// The completion's value; null when the outcome is unknown.
    pub answer: Value,
    /// The completion's error.
    pub error: Option<String>,
}

/// What an object promises when its operations happen one at a time: a sequential specification.
///
/// ```
/// use ordeal_checker::history::{History, Op, Outcome, Type};
/// use ordeal_checker::{Effect, Model, Observed, Options, Specification, Verdict, check_with};
///
/// /// A register that only ever grows: `raise n` answers the maximum so far.
/// struct Maximum;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Raise {
///     to: i64,
///     answer: Option<i64>, // none: the outcome is unknown
/// }
///
/// impl Specification for Maximum {
///     type State = i64;
///     type Op = Raise;
///
///     fn initial(&self) -> i64 {
///         0
///     }
///
///     fn decode(&self, call: &Observed<'_>) -> Result<Option<Raise>, String> {
///         let to = call.argument.as_i64().ok_or("raise takes an integer")?;
///         Ok(match call.outcome {
///             Outcome::Fail => None, // did not happen: constrains nothing
///             Outcome::Info => Some(Raise { to, answer: None }),
///             Outcome::Ok => Some(Raise { to, answer: call.answer.as_i64() }),
///         })
///     }
///
///     fn step(&self, state: &i64, raise: &Raise) -> Option<i64> {
///         let next = raise.to.max(*state);
///         raise.answer.is_none_or(|answer| answer == next).then_some(next)
///     }
/// }
///
/// let history: History = [
///     Op::new(0, Type::Invoke, "raise", 3),
///     Op::new(0, Type::Ok, "raise", 3),
///     Op::new(1, Type::Invoke, "raise", 2),
///     Op::new(1, Type::Ok, "raise", 2), // but three was raised before
/// ]
/// .into_iter()
/// .collect();
/// let report = check_with(&Maximum, &history, &Options::default());
/// assert_eq!(report.verdict, Verdict::Invalid);
/// ```
pub trait Specification: Send + Sync {
    /// What the object holds.
    type State: Clone + Eq + Hash + Debug;
    /// An operation with its answer. Equal operations are interchangeable.
    type Op: Clone + Eq + Hash + Send + Sync + 'static;

    /// What the object holds before the first operation.
    fn initial(&self) -> Self::State;

    /// Reads one call. None: it did not happen, or says nothing (a read that never answered). What
    /// an operation of unknown outcome may do, its decoded form says: one without an answer.
    fn decode(&self, call: &Observed<'_>) -> Result<Option<Self::Op>, String>;

    /// The state after the operation; none when it cannot happen with this answer in this state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// How the operation treats the state.
    fn effect(&self, _op: &Self::Op) -> Effect {
        Effect::Updates
    }

    /// Bytes that a state holds outside itself, roughly: the memory budget counts them.
    fn heap_bytes(&self, _state: &Self::State) -> usize {
        2 * size_of::<Self::State>()
    }

    /// Bytes that an operation and a clone of it hold outside themselves, roughly: the memory budget
    /// counts them.
    fn op_heap_bytes(&self, _op: &Self::Op) -> usize {
        2 * size_of::<Self::Op>()
    }

    /// The state for a reader.
    fn show(&self, state: &Self::State) -> Value {
        Value::from(format!("{state:?}"))
    }

    /// A hint: whether this state looks like one on the way to where `op` can happen. It decides
    /// what is tried first, never the verdict.
    fn leads_to(&self, _state: &Self::State, _op: &Self::Op) -> bool {
        false
    }

    /// Whether `later` could need what `op` leaves behind to happen as it did. What nothing needs
    /// is left out of explanations: to say no where it could be makes an explanation say too much,
    /// but no verdict wrong.
    fn feeds(&self, _op: &Self::Op, _later: &Self::Op) -> bool {
        true
    }
}

/// What an allocator gives away for so many bytes.
pub(crate) fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// What stands for a specification is one.
macro_rules! through {
    ($pointer:ty) => {
        impl<M: Specification> Specification for $pointer {
            type State = M::State;
            type Op = M::Op;

            fn initial(&self) -> M::State {
                (**self).initial()
            }

            fn decode(&self, call: &Observed<'_>) -> Result<Option<M::Op>, String> {
                (**self).decode(call)
            }

            fn step(&self, state: &M::State, op: &M::Op) -> Option<M::State> {
                (**self).step(state, op)
            }

            fn effect(&self, op: &M::Op) -> Effect {
                (**self).effect(op)
            }

            fn heap_bytes(&self, state: &M::State) -> usize {
                (**self).heap_bytes(state)
            }

            fn op_heap_bytes(&self, op: &M::Op) -> usize {
                (**self).op_heap_bytes(op)
            }

            fn show(&self, state: &M::State) -> Value {
                (**self).show(state)
            }

            fn leads_to(&self, state: &M::State, op: &M::Op) -> bool {
                (**self).leads_to(state, op)
            }

            fn feeds(&self, op: &M::Op, later: &M::Op) -> bool {
                (**self).feeds(op, later)
            }
        }
    };
}

through!(&M);
through!(std::sync::Arc<M>);
