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

/// Cuts a history by key and decodes it, key by key; what `read_list` can read of a function and the text of
/// its answer is not decoded otherwise.
pub(crate) fn split<M: Specification>(
    model: &M,
    history: &History,
    calls: &Calls,
    by_key: bool,
    purse: &Purse,
    read_list: impl Fn(&str, &[u8], &mut Vec<u32>) -> Option<M::Op> + Sync,
) -> Result<Vec<Object<M::Op>>, Uncut> {
    let keys = Keys::cut(history, calls, by_key, purse, |call| Ok(Some(call)))?;
    let numbers = 0..keys.ids().len();
    let object = |number: usize| {
        let calls = keys.of_key(number);
        let key = keys.ids()[number];
        decode(model, history, key, &calls, purse, &read_list)
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
    read_list: impl Fn(&str, &[u8], &mut Vec<u32>) -> Option<M::Op>,
) -> Result<Object<M::Op>, Uncut> {
    let mut object = Object {
        key,
        operations: Vec::new(),
        classes: Vec::new(),
    };
    let mut numbers: HashMap<M::Op, u32, FixedState> = HashMap::default();
    let (mut until_look, mut known, mut own, mut taken) = (0, 0, 0, 0);
    let mut room = Vec::new();
    for call in calls {
        let list = list_answered(history, *call);
        until_look += 1 + list.map_or(0, |(_, text)| text.len() / ITEM_BYTES);
        if until_look >= LOOK_EVERY {
            until_look = 0;
            purse.time_left().map_err(Uncut::Spent)?;
        }
        let read = list.and_then(|(f, text)| read_list(f, text, &mut room));
        let decoded = match read {
            Some(op) => Some(op),
            None => decode_call(model, history, *call)?,
        };
        let Some(op) = decoded else { continue };
        let class = number_of(&mut numbers, &mut object.classes, op);
        if class as usize == known {
            known += 1;
            own += model.op_heap_bytes(&object.classes[class as usize]);
        }
        // Vectors are held as they are, a table with the one that it grows from.
        let rows = object.operations.len() * size_of::<Timed>() + known * size_of::<M::Op>();
        let bytes = own + rows + numbers.allocation_size() * 3 / 2;
        if bytes >= taken + TAKE_AT_ONCE {
            purse.take((bytes - taken) as u64).map_err(Uncut::Spent)?;
            taken = bytes;
        }
        let ret = if call.outcome(history) == Outcome::Info {
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
    let rows = size_of_val(&object.operations[..]) + size_of_val(&object.classes[..]);
    let last = (own + rows).saturating_sub(taken);
    purse.take(last as u64).map_err(Uncut::Spent)?;
    // The numbers are of no more use.
    purse.give(taken.saturating_sub(own + rows) as u64);
    Ok(object)
}

/// An item of a list as text, about.
const ITEM_BYTES: usize = 4;

/// What a call did and the text that it was answered with, when that is a list.
fn list_answered(history: &History, call: Call) -> Option<(&str, &[u8])> {
    let row = call.completion()?;
    let answer = history.values().json_bytes(history.row(row).value)?;
    let is_list = answer.first() == Some(&b'[') && call.outcome(history) == Outcome::Ok;
    is_list.then(|| (history.row(call.invoke as usize).f, answer))
}

fn decode_call<M: Specification>(
    model: &M,
    history: &History,
    call: Call,
) -> Result<Option<M::Op>, Uncut> {
    let observed = observe(history, call);
    model.decode(&observed).map_err(|expected| {
        let row = call.invoke as usize;
        let index = history.index(row);
        Uncut::Misfit(format!(
            "op {index} (row {row}) is {:?}: expected {expected}",
            observed.f
        ))
    })
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
