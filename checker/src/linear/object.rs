//! A history taken apart: one object per key, its operations decoded.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde_json::Value;

use super::budget::{Purse, Spent};
use super::space::Timed;
use crate::history::{Call, Calls, History, Outcome, ValueId};
use crate::model::register::NEVER;
use crate::model::{Observed, Specification};

/// The operations on one object.
pub(crate) struct Object<Op> {
    pub(crate) key: ValueId,
    /// By invocation.
    pub(crate) operations: Vec<Timed>,
    /// What the classes stand for.
    pub(crate) classes: Vec<Op>,
}

/// The clock is looked at, and the memory weighed, once in so many calls and items of their answers.
const LOOK_EVERY: usize = 1 << 13;

/// Bytes of a decoded item of an answer, roughly: its own and its text's, in the class and its key.
const ITEM_BYTES: usize = 2 * (size_of::<String>() + 32);

/// Why a history could not be split.
pub(crate) enum Unsplit {
    /// It does not fit the model.
    Misfit(String),
    /// The budget ended.
    Spent(Spent),
}

/// Splits a history by key and decodes it.
pub(crate) fn split<M: Specification>(
    model: &M,
    history: &History,
    calls: &Calls,
    by_key: bool,
    purse: &Purse,
) -> Result<Vec<Object<M::Op>>, Unsplit> {
    let mut numbers: HashMap<ValueId, usize, FixedState> = HashMap::default();
    let mut objects: Vec<Object<M::Op>> = Vec::new();
    let mut classes: Vec<HashMap<M::Op, u32, FixedState>> = Vec::new();
    let mut until_look = 0;
    for call in calls.iter() {
        let row = call.invoke as usize;
        let observed = observe(history, *call);
        let items = observed.answer.as_array().map_or(0, Vec::len);
        until_look += 1 + items;
        if until_look >= LOOK_EVERY {
            until_look = 0;
            purse.time_left().map_err(Unsplit::Spent)?;
        }
        let decoded = model.decode(&observed).map_err(|expected| {
            let index = history.index(row);
            Unsplit::Misfit(format!(
                "op {index} (row {row}) is {:?}: expected {expected}",
                observed.f
            ))
        })?;
        let Some(op) = decoded else { continue };
        let key = if by_key {
            history.key_column()[row]
        } else {
            ValueId::NULL
        };
        let number = *numbers.entry(key).or_insert_with(|| {
            objects.push(Object {
                key,
                operations: Vec::new(),
                classes: Vec::new(),
            });
            classes.push(HashMap::default());
            objects.len() - 1
        });
        let object = &mut objects[number];
        let before = object.classes.len();
        let class = number_of(&mut classes[number], &mut object.classes, op);
        if object.classes.len() > before {
            let bytes = (items * ITEM_BYTES) as u64;
            purse.take(bytes).map_err(Unsplit::Spent)?;
        }
        let ret = if observed.outcome == Outcome::Info {
            NEVER
        } else {
            call.complete
        };
        object.operations.push(Timed {
            invoke: call.invoke,
            ret,
            class,
        });
    }
    Ok(objects)
}

fn number_of<Op: Clone + Eq + Hash>(
    numbers: &mut HashMap<Op, u32, FixedState>,
    ops: &mut Vec<Op>,
    op: Op,
) -> u32 {
    *numbers.entry(op).or_insert_with_key(|op| {
        ops.push(op.clone());
        ops.len() as u32 - 1
    })
}

fn observe(history: &History, call: Call) -> Observed<'_> {
    let invoked = history.row(call.invoke as usize);
    let outcome = call.outcome(history);
    let completed = call.completion().filter(|_| outcome != Outcome::Info);
    let crate::history::Process::Client(process) = invoked.process else {
        unreachable!("the nemesis makes no calls")
    };
    Observed {
        f: invoked.f,
        process,
        outcome,
        argument: history.values().value(invoked.value),
        answer: completed.map_or(Value::Null, |row| {
            history.values().value(history.row(row).value)
        }),
        error: completed.and_then(|row| history.error(row)),
    }
}
