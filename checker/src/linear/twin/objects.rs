//! Small random histories of objects, for the twin: sound ones, and then one answer changed.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::history::generate::{Object, Recipe, generate};
use crate::history::{History, Op, Type};

/// A history of some object as recorded, then one answer changed, or one operation's end lost.
pub(super) fn recorded(rng: &mut StdRng, object: Object, unknown: f64) -> History {
    let recipe = Recipe {
        object,
        operations: rng.random_range(2..12),
        clients: rng.random_range(1..6),
        unknown,
        values: [None, None, Some(3)][rng.random_range(0..3)],
        seed: rng.random(),
        ..Recipe::default()
    };
    let mut ops: Vec<Op> = generate(&recipe).ops().collect();
    let ends = ends(&ops);
    if ends.is_empty() || rng.random_bool(0.3) {
        return ops.into_iter().collect();
    }
    let mut draw = || ends[rng.random_range(0..ends.len())];
    let (one, other) = (draw(), draw());
    match rng.random_range(0..4) {
        0 if ops[one].f == ops[other].f => ops[one].value = ops[other].value.clone(),
        1 => ops[one].type_ = Type::Fail,
        2 if ops[one].value.is_number() => ops[one].value = Value::Null,
        _ => swap_answers(&mut ops, one, other),
    }
    ops.into_iter().collect()
}

fn ends(ops: &[Op]) -> Vec<usize> {
    (0..ops.len())
        .filter(|&at| ops[at].type_ == Type::Ok)
        .collect()
}

/// Who answered earlier answers later, and the other way round.
fn swap_answers(ops: &mut [Op], one: usize, other: usize) {
    if ops[one].f == ops[other].f {
        let value = std::mem::take(&mut ops[one].value);
        ops[one].value = std::mem::replace(&mut ops[other].value, value);
    }
}

/// With two answers swapped, or as they are.
fn perhaps_swapped(rng: &mut StdRng, mut ops: Vec<Op>) -> History {
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let mut draw = || ends[rng.random_range(0..ends.len())];
        let (one, other) = (draw(), draw());
        swap_answers(&mut ops, one, other);
    }
    ops.into_iter().collect()
}

/// What clients record, each with one operation open at a time, which takes effect when it is invoked
/// or when it returns.
fn record(
    rng: &mut StdRng,
    unknown: f64,
    invoke: impl FnMut(&mut StdRng, u32) -> (&'static str, Value),
    effect: impl FnMut(&mut StdRng, &Op, u32) -> Option<Value>,
) -> Vec<Op> {
    let (clients, operations) = (rng.random_range(1..6), rng.random_range(2..11));
    record_many(rng, clients, operations, unknown, invoke, effect)
}

fn record_many(
    rng: &mut StdRng,
    clients: u32,
    operations: usize,
    unknown: f64,
    mut invoke: impl FnMut(&mut StdRng, u32) -> (&'static str, Value),
    mut effect: impl FnMut(&mut StdRng, &Op, u32) -> Option<Value>,
) -> Vec<Op> {
    let mut open: Vec<Option<(Op, Option<Option<Value>>)>> = vec![None; clients as usize];
    let mut processes: Vec<u32> = (0..clients).collect();
    let (mut ops, mut fresh, mut left) = (Vec::new(), clients, operations);
    while left > 0 || open.iter().any(Option::is_some) {
        let client = rng.random_range(0..clients as usize);
        let process = processes[client];
        match open[client].take() {
            None if left > 0 => {
                left -= 1;
                let (f, value) = invoke(rng, process);
                let op = Op::new(process, Type::Invoke, f, value);
                ops.push(op.clone());
                let at_once = rng.random_bool(0.4);
                let answer = at_once.then(|| effect(rng, &op, process));
                open[client] = Some((op, answer));
            }
            None => {}
            Some((op, answer)) => {
                let answer = answer.unwrap_or_else(|| effect(rng, &op, process));
                if rng.random_bool(unknown) {
                    (processes[client], fresh) = (fresh, fresh + 1);
                    continue;
                }
                let type_ = if answer.is_some() {
                    Type::Ok
                } else {
                    Type::Fail
                };
                ops.push(Op::new(process, type_, &op.f, answer.unwrap_or_default()));
            }
        }
    }
    ops
}

/// A priority queue as recorded, of elements of which two and two have the same priority.
pub(super) fn priorities(rng: &mut StdRng, unknown: f64) -> History {
    let mut met = Vec::<Value>::new();
    let as_priority = |mut op: Op| {
        if op.value.is_number() {
            let number = met
                .iter()
                .position(|it| *it == op.value)
                .unwrap_or_else(|| {
                    met.push(op.value.clone());
                    met.len() - 1
                });
            let priority = 9 - number / 2;
            op.value = if number.is_multiple_of(2) {
                json!(priority)
            } else {
                json!(priority as f64)
            };
        }
        op
    };
    let history = recorded(rng, Object::PriorityQueue, unknown);
    history.ops().map(as_priority).collect()
}

/// A small log, often read, of whose appends some are told their offset; and then one answer changed.
pub(super) fn log_of_answers(rng: &mut StdRng, unknown: f64) -> History {
    let repeats = rng.random_bool(0.2);
    let (mut log, mut fresh) = (Vec::<u64>::new(), 0);
    let invoke = |rng: &mut StdRng, _| {
        fresh += 1;
        let value = if repeats {
            rng.random_range(0..4)
        } else {
            fresh
        };
        if rng.random_bool(0.5) {
            ("append", Value::from(value))
        } else {
            ("read", Value::Null)
        }
    };
    let effect = |rng: &mut StdRng, op: &Op, _| {
        if op.f == "read" {
            return Some(Value::from(log.clone()));
        }
        log.push(op.value.as_u64().unwrap_or_default());
        let told = rng.random_bool(0.5);
        Some(if told {
            json!({ "offset": log.len() - 1 })
        } else {
            Value::Null
        })
    };
    let mut ops = record(rng, unknown, invoke, effect);
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let at = ends[rng.random_range(0..ends.len())];
        let place = rng.random_range(0..6);
        match &mut ops[at].value {
            Value::Array(items) if place < items.len() && rng.random_bool(0.5) => {
                items.truncate(place);
            }
            Value::Array(items) if place < items.len() => items.swap(place, 0),
            Value::Array(items) => items.push(json!(place + 1)),
            told => *told = json!({ "offset": place }),
        }
    }
    ops.into_iter().collect()
}

/// A small set whose operations tell all that they can.
pub(super) fn set_of_answers(rng: &mut StdRng, unknown: f64, is_read: bool) -> History {
    let removes = !is_read || rng.random_bool(0.4);
    let mut members = BTreeSet::<u64>::new();
    let invoke = |rng: &mut StdRng, _| {
        let member = Value::from(rng.random_range(0..4));
        match rng.random_range(0..10) {
            0..4 => ("add", member),
            4 if removes => ("remove", member),
            7.. if is_read => ("read", Value::Null),
            _ => ("contains", member),
        }
    };
    let effect = |rng: &mut StdRng, op: &Op, _| {
        let member = op.value.as_u64().unwrap_or_default();
        let told = rng.random_bool(0.5);
        let if_told = |did: bool| if told { Value::from(did) } else { Value::Null };
        Some(match op.f.as_str() {
            "add" => if_told(members.insert(member)),
            "remove" => if_told(members.remove(&member)),
            "contains" => Value::from(members.contains(&member)),
            _ => Value::from(members.iter().copied().collect::<Vec<_>>()),
        })
    };
    let mut ops = record(rng, unknown, invoke, effect);
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let at = ends[rng.random_range(0..ends.len())];
        ops[at].value = match ops[at].value.take() {
            Value::Bool(told) => Value::from(!told),
            Value::Array(items) if !items.is_empty() && rng.random_bool(0.5) => {
                Value::from(items[1..].to_vec())
            }
            Value::Array(mut items) => {
                items.push(Value::from(rng.random_range(0..5)));
                Value::from(items)
            }
            other => other,
        };
    }
    ops.into_iter().collect()
}

/// A set that each member is added to once and removed from once at most, and nobody reads whole.
pub(super) fn comings_and_goings(
    rng: &mut StdRng,
    clients: u32,
    operations: usize,
    unknown: f64,
) -> Vec<Op> {
    let (mut members, mut fresh) = (BTreeSet::<u64>::new(), 0);
    let mut removable = Vec::new();
    let invoke = |rng: &mut StdRng, _| {
        let recent = rng.random_range(0..=fresh) / 2 + fresh / 2;
        match rng.random_range(0..3) {
            0 => {
                fresh += 1;
                removable.push(fresh);
                ("add", fresh.into())
            }
            1 if removable.len() > 20 => {
                let at = rng.random_range(0..removable.len());
                ("remove", removable.swap_remove(at).into())
            }
            _ => ("contains", recent.into()),
        }
    };
    let effect = |_: &mut StdRng, op: &Op, _| {
        let member = op.value.as_u64().unwrap_or_default();
        Some(match op.f.as_str() {
            "add" => members.insert(member).into(),
            "remove" => members.remove(&member).into(),
            _ => members.contains(&member).into(),
        })
    };
    record_many(rng, clients, operations, unknown, invoke, effect)
}

/// A small counter to which several amounts are added, and then one answer changed a little.
pub(super) fn counter_of_amounts(rng: &mut StdRng, unknown: f64) -> History {
    let (clients, operations) = (rng.random_range(1..7), rng.random_range(2..11));
    let least = [1, 2][rng.random_range(0..2)];
    let mut ops = amounts(rng, clients, operations, unknown, 0.5, 4);
    for op in &mut ops {
        // Sums of two only, where one apart is never reached.
        if let (2, Some(value)) = (least, op.value.as_i64()) {
            op.value = (value * 2).into();
        }
    }
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let at = ends[rng.random_range(0..ends.len())];
        let answer = ops[at].value.as_i64().unwrap_or_default();
        ops[at].value = (answer + rng.random_range(-3..4)).into();
    }
    ops.into_iter().collect()
}

/// A small counter to which no less than this is added, and then one answer changed a little.
pub(super) fn counter_of_at_least(least: i64, rng: &mut StdRng, unknown: f64) -> History {
    let mut sum = 0;
    let invoke = |rng: &mut StdRng, _| match rng.random_range(0..3) {
        0 => ("read", Value::Null),
        1 => ("add", json!(rng.random_range(least..4))),
        _ => ("add-and-get", json!(rng.random_range(least..4))),
    };
    let effect = |_: &mut StdRng, op: &Op, _| {
        sum += op.value.as_i64().unwrap_or_default();
        Some(Value::from(sum))
    };
    let mut ops = record(rng, unknown, invoke, effect);
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let at = ends[rng.random_range(0..ends.len())];
        let answer = ops[at].value.as_i64().unwrap_or_default();
        ops[at].value = (answer + rng.random_range(-4..5)).into();
    }
    ops.into_iter().collect()
}

/// A small counter to which ones are added, and then one answer changed.
pub(super) fn counter_of_ones(rng: &mut StdRng, unknown: f64) -> History {
    let (clients, operations) = (rng.random_range(1..6), rng.random_range(2..11));
    let mut ops = ones(rng, clients, operations, unknown);
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let at = ends[rng.random_range(0..ends.len())];
        ops[at].value = json!(rng.random_range(0..6));
    }
    ops.into_iter().collect()
}

/// A string to which one of few texts is appended, time and again.
pub(super) fn strings_of_few_texts(rng: &mut StdRng, unknown: f64) -> History {
    let mut string = String::new();
    let invoke = |rng: &mut StdRng, _| {
        let text = Value::from(["x", "y", "z"][rng.random_range(0..3)]);
        match rng.random_range(0..12) {
            0 => ("put", text),
            1..6 => ("append", text),
            _ => ("get", Value::Null),
        }
    };
    let effect = |_: &mut StdRng, op: &Op, _| {
        match op.f.as_str() {
            "put" => string.clear(),
            "append" => {}
            _ => return Some(Value::from(string.as_str())),
        }
        string += op.value.as_str().unwrap_or_default();
        Some(op.value.clone())
    };
    let ops = record(rng, unknown, invoke, effect);
    perhaps_swapped(rng, ops)
}

/// A counter to which ones are added; some clients are told the sum.
pub(super) fn ones(rng: &mut StdRng, clients: u32, operations: usize, unknown: f64) -> Vec<Op> {
    let mut sum = 0;
    let invoke = |rng: &mut StdRng, _| {
        let f = ["inc", "read", "add-and-get"][rng.random_range(0..3)];
        (f, Value::Null)
    };
    let effect = |_: &mut StdRng, op: &Op, _| {
        sum += i32::from(op.f != "read");
        Some(Value::from(sum))
    };
    record_many(rng, clients, operations, unknown, invoke, effect)
}

/// A counter to which several amounts are added, by clients that are not told the sum.
pub(super) fn amounts(
    rng: &mut StdRng,
    clients: u32,
    operations: usize,
    unknown: f64,
    reads: f64,
    most: i64,
) -> Vec<Op> {
    let mut sum = 0;
    let invoke = |rng: &mut StdRng, _| {
        if rng.random_bool(reads) {
            ("read", Value::Null)
        } else {
            ("add", json!(rng.random_range(1..=most)))
        }
    };
    let effect = |_: &mut StdRng, op: &Op, _| {
        sum += op.value.as_i64().unwrap_or_default();
        Some(Value::from(sum))
    };
    record_many(rng, clients, operations, unknown, invoke, effect)
}

/// Two registers, read and written together.
pub(super) fn registers(rng: &mut StdRng, unknown: f64) -> History {
    let mut held = BTreeMap::<String, Value>::new();
    let invoke = |rng: &mut StdRng, _| {
        let steps = (0..rng.random_range(1..4)).map(|_| {
            let key = ["x", "y"][rng.random_range(0..2)];
            if rng.random_bool(0.5) {
                json!(["read", key, null])
            } else {
                json!(["write", key, rng.random_range(0..3)])
            }
        });
        ("txn", steps.collect::<Vec<_>>().into())
    };
    let effect = |_: &mut StdRng, op: &Op, _| {
        let mut steps = op.value.clone();
        for step in steps.as_array_mut()? {
            let key = step[1].to_string();
            if step[0] == "write" {
                held.insert(key, step[2].clone());
            } else {
                step[2] = held.get(&key).cloned().unwrap_or_default();
            }
        }
        Some(steps)
    };
    let mut ops = record(rng, unknown, invoke, effect);
    let ends = ends(&ops);
    if rng.random_bool(0.6) && !ends.is_empty() {
        let at = ends[rng.random_range(0..ends.len())];
        let step = &mut ops[at].value[0];
        if step[0] == "read" {
            step[2] = json!(rng.random_range(0..3));
        }
    }
    ops.into_iter().collect()
}

/// A lock that only its holder releases.
pub(super) fn owned_lock(rng: &mut StdRng, unknown: f64) -> History {
    let mut holder = None;
    let invoke = |rng: &mut StdRng, _| {
        let f = if rng.random_bool(0.6) {
            "acquire"
        } else {
            "release"
        };
        (f, Value::Null)
    };
    let effect = |_: &mut StdRng, op: &Op, process: u32| {
        let fits = if op.f == "acquire" {
            holder.is_none()
        } else {
            holder == Some(process)
        };
        if fits {
            holder = (op.f == "acquire").then_some(process);
        }
        fits.then_some(Value::Null)
    };
    let mut ops = record(rng, unknown, invoke, effect);
    if rng.random_bool(0.5) && !ops.is_empty() {
        let at = rng.random_range(0..ops.len());
        match ops[at].type_ {
            Type::Fail => ops[at].type_ = Type::Ok,
            Type::Ok => ops[at].type_ = Type::Fail,
            _ => {}
        }
    }
    ops.into_iter().collect()
}

/// A lease with tokens.
pub(super) fn lease(rng: &mut StdRng, unknown: f64) -> History {
    let mut latest = 0;
    let mut guess = 0;
    let invoke = |rng: &mut StdRng, _| {
        guess = (guess + rng.random_range(0..2)) % 6;
        match rng.random_range(0..4) {
            0 | 1 => ("acquire", Value::Null),
            2 => ("renew", json!({ "token": guess + 1 })),
            _ => ("release", json!(guess + 1)),
        }
    };
    let effect = |rng: &mut StdRng, op: &Op, _| {
        if op.f == "acquire" {
            latest += rng.random_range(1..3);
            return Some(json!({ "token": latest }));
        }
        let token = op.value.as_u64().or_else(|| op.value["token"].as_u64());
        (token == Some(latest)).then_some(Value::Null)
    };
    let ops = record(rng, unknown, invoke, effect);
    perhaps_swapped(rng, ops)
}
