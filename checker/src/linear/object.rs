//! A history taken apart: one object per key, its operations decoded.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rayon::prelude::*;
use serde_json::Value;

use super::budget::Purse;
use super::keys::{Keys, Uncut};
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

/// Cuts a history by key and decodes it, key by key.
pub(crate) fn split<M: Specification>(
    model: &M,
    history: &History,
    calls: &Calls,
    by_key: bool,
    purse: &Purse,
) -> Result<Vec<Object<M::Op>>, Uncut> {
    let keys = Keys::cut(history, calls, by_key, purse, |call| Ok(Some(call)))?;
    let numbers = 0..keys.ids().len();
    let object = |number: usize| {
        let calls = keys.of_key(number);
        decode(model, history, keys.ids()[number], &calls, purse)
    };
    let objects: Vec<Result<Object<M::Op>, Uncut>> = if numbers.len() == 1 {
        numbers.map(object).collect()
    } else {
        numbers.into_par_iter().map(object).collect()
    };
    // Of a key that nothing is known of there is no object.
    let known =
        |it: &Result<Object<_>, _>| !matches!(it, Ok(object) if object.operations.is_empty());
    objects.into_iter().filter(known).collect()
}

/// Decodes the calls that concern one key.
fn decode<M: Specification>(
    model: &M,
    history: &History,
    key: ValueId,
    calls: &[Call],
    purse: &Purse,
) -> Result<Object<M::Op>, Uncut> {
    let mut object = Object {
        key,
        operations: Vec::new(),
        classes: Vec::new(),
    };
    let mut numbers: HashMap<M::Op, u32, FixedState> = HashMap::default();
    let mut until_look = 0;
    for call in calls {
        let observed = observe(history, *call);
        let items = observed.answer.as_array().map_or(0, Vec::len);
        until_look += 1 + items;
        if until_look >= LOOK_EVERY {
            until_look = 0;
            purse.time_left().map_err(Uncut::Spent)?;
        }
        let decoded = model.decode(&observed).map_err(|expected| {
            let row = call.invoke as usize;
            let index = history.index(row);
            Uncut::Misfit(format!(
                "op {index} (row {row}) is {:?}: expected {expected}",
                observed.f
            ))
        })?;
        let Some(op) = decoded else { continue };
        let before = object.classes.len();
        let class = number_of(&mut numbers, &mut object.classes, op);
        if object.classes.len() > before {
            let bytes = (items * ITEM_BYTES) as u64;
            purse.take(bytes).map_err(Uncut::Spent)?;
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
    Ok(object)
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
