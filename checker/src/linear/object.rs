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

/// The clock is looked at once in so many calls and items of their answers.
const LOOK_EVERY: usize = 1 << 13;

/// Memory is taken when so many bytes have come together.
const TAKE_AT_ONCE: usize = 1 << 16;

/// A history with fewer calls is decoded key after key: to wake a thread takes longer.
const SHORT: usize = 1 << 12;

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
    let objects: Vec<Result<Object<M::Op>, Uncut>> = if calls.len() < SHORT {
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
    let (mut until_look, mut known, mut untaken) = (0, 0, 0);
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
        let class = number_of(&mut numbers, &mut object.classes, op);
        if class as usize == known {
            known += 1;
            // In the row of classes and as a key to its number.
            let own = model.op_heap_bytes(&object.classes[class as usize]);
            untaken += own + 2 * size_of::<M::Op>();
        }
        untaken += size_of::<Timed>();
        if untaken >= TAKE_AT_ONCE {
            purse.take(untaken as u64).map_err(Uncut::Spent)?;
            untaken = 0;
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
    purse.take(untaken as u64).map_err(Uncut::Spent)?;
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
