//! Small systems that run a few calls of a few processes, and lie now and then.

use ordeal_checker::history::{History, Op, Type};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// One call; rows are moments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) process: u32,
    pub(crate) f: &'static str,
    pub(crate) key: Value,
    pub(crate) argument: Value,
    pub(crate) answer: Value,
    pub(crate) type_: Type,
    pub(crate) invoked: usize,
    /// When it completed, as whatever; none: never.
    pub(crate) completed: Option<usize>,
}

impl Call {
    pub(crate) fn is_ok(&self) -> bool {
        self.type_ == Type::Ok
    }

    /// It happened, or may have.
    pub(crate) fn may(&self) -> bool {
        self.type_ != Type::Fail
    }

    /// When it had surely ended.
    pub(crate) fn ended(&self) -> usize {
        self.completed
            .filter(|_| self.is_ok())
            .unwrap_or(usize::MAX)
    }

    pub(crate) fn numbers(&self) -> Vec<i64> {
        let list = self.answer.as_array().into_iter().flatten();
        list.filter_map(Value::as_i64).collect()
    }
}

/// The calls as a history.
pub(crate) fn history(calls: &[Call]) -> History {
    let mut rows: Vec<(usize, Op)> = Vec::new();
    for call in calls {
        let op = |type_, value: &Value| Op {
            key: call.key.clone(),
            ..Op::new(call.process, type_, call.f, value.clone())
        };
        rows.push((call.invoked, op(Type::Invoke, &call.argument)));
        if let Some(completed) = call.completed {
            let value = if call.is_ok() {
                &call.answer
            } else {
                &call.argument
            };
            rows.push((completed, op(call.type_, value)));
        }
    }
    rows.sort_by_key(|(row, _)| *row);
    let numbered = rows.into_iter().enumerate();
    numbered
        .map(|(index, (row, op))| Op {
            index: index as u64,
            time: row as u64 * 1_000_000,
            ..op
        })
        .collect()
}

pub(crate) fn show(calls: &[Call]) -> String {
    let line = |call: &Call| {
        format!(
            "{} {} {} {} -> {:?} {} ({}..{:?})\n",
            call.process,
            call.f,
            call.key,
            call.argument,
            call.type_,
            call.answer,
            call.invoked,
            call.completed
        )
    };
    calls.iter().map(line).collect()
}

/// What is asked next.
type Ask = fn(&mut World, &mut ChaCha8Rng) -> (&'static str, Value);
/// What a call does to the state, and its answer.
type Apply = fn(&mut World, &Call, &mut ChaCha8Rng) -> Value;
/// Turns an answer into a lie.
type Lie = fn(&mut Value, &mut ChaCha8Rng);

/// A system of one kind.
pub(crate) struct World {
    state: Vec<i64>,
    next: i64,
    /// How many keys there are; none: the object has no keys.
    keys: usize,
    ask: Ask,
    apply: Apply,
    lie: Lie,
}

impl World {
    /// A handful of calls, each taking effect somewhere between its beginning and its end.
    pub(crate) fn run(mut self, rng: &mut ChaCha8Rng) -> Vec<Call> {
        let wanted = rng.random_range(2..=9);
        let mut calls: Vec<Call> = Vec::new();
        let mut slots: Vec<(u32, Option<usize>)> =
            (0..rng.random_range(1..=3)).map(|p| (p, None)).collect();
        let (mut now, mut fresh) = (0, 10);
        while calls.len() < wanted || slots.iter().any(|(_, open)| open.is_some()) {
            let slot = rng.random_range(0..slots.len());
            let (process, open) = slots[slot];
            now += 1;
            let Some(call) = open else {
                if calls.len() < wanted {
                    let (f, argument) = (self.ask)(&mut self, rng);
                    slots[slot].1 = Some(calls.len());
                    calls.push(Call {
                        process,
                        f,
                        key: match self.keys {
                            0 => Value::Null,
                            keys => json!(rng.random_range(0..keys)),
                        },
                        argument,
                        answer: Value::Null,
                        type_: Type::Invoke,
                        invoked: now,
                        completed: None,
                    });
                }
                continue;
            };
            if calls[call].type_ == Type::Invoke {
                self.happen(&mut calls[call], rng);
                continue;
            }
            slots[slot].1 = None;
            let info = calls[call].type_ == Type::Info;
            if info {
                slots[slot].0 = fresh;
                fresh += 1;
            }
            calls[call].completed = Some(now).filter(|_| !info || rng.random_bool(0.7));
        }
        let honest = rng.random_bool(0.5);
        for call in calls.iter_mut().filter(|call| call.is_ok()) {
            if !honest && rng.random_bool(0.3) {
                (self.lie)(&mut call.answer, rng);
            }
        }
        calls
    }

    /// A call's effect, if it has one.
    fn happen(&mut self, call: &mut Call, rng: &mut ChaCha8Rng) {
        call.type_ = match rng.random_range(0..12) {
            0 => Type::Fail,
            1 | 2 => Type::Info,
            _ => Type::Ok,
        };
        let happens = call.is_ok() || (call.type_ == Type::Info && rng.random_bool(0.5));
        if happens {
            call.answer = (self.apply)(self, call, rng);
        }
        if call.answer == "mismatch" {
            call.type_ = Type::Fail;
        }
    }

    fn of(ask: Ask, apply: Apply, lie: Lie) -> Self {
        World {
            state: Vec::new(),
            next: 0,
            keys: 0,
            ask,
            apply,
            lie,
        }
    }

    fn fresh(&mut self, rng: &mut ChaCha8Rng) -> Value {
        // Now and then one that was there before.
        if self.next == 0 || rng.random_bool(0.9) {
            self.next += 1;
        }
        json!(self.next)
    }

    pub(crate) fn set() -> Self {
        Self::of(
            |world, rng| match rng.random_range(0..2) {
                0 => ("add", world.fresh(rng)),
                _ => ("read", Value::Null),
            },
            |world, call, rng| {
                if call.f == "read" {
                    // Now and then from a replica that is behind.
                    let behind = rng.random_bool(0.1) && !world.state.is_empty();
                    return json!(world.state[usize::from(behind)..]);
                }
                let element = call.argument.as_i64().expect("a number");
                if !world.state.contains(&element) {
                    world.state.push(element);
                }
                call.argument.clone()
            },
            lie_of_list,
        )
    }

    pub(crate) fn queue() -> Self {
        Self::of(
            |world, rng| match rng.random_range(0..10) {
                0..5 => ("enqueue", world.fresh(rng)),
                5..8 => ("dequeue", Value::Null),
                _ => ("drain", Value::Null),
            },
            |world, call, rng| match call.f {
                "enqueue" => {
                    world.state.push(call.argument.as_i64().expect("a number"));
                    call.argument.clone()
                }
                "dequeue" if world.state.is_empty() => Value::Null,
                "dequeue" => json!(
                    world
                        .state
                        .swap_remove(rng.random_range(0..world.state.len()))
                ),
                _ => json!(std::mem::take(&mut world.state)),
            },
            |answer, rng| match answer {
                Value::Array(_) => lie_of_list(answer, rng),
                _ => *answer = [Value::Null, json!(1), json!(2)][rng.random_range(0..3)].clone(),
            },
        )
    }

    pub(crate) fn counter() -> Self {
        Self::of(
            |_, rng| match rng.random_range(0..5) {
                0..3 => ("add", json!(rng.random_range(-3..=4))),
                _ => ("read", Value::Null),
            },
            |world, call, _| {
                if call.f == "add" {
                    world.next += call.argument.as_i64().expect("a number");
                    return call.argument.clone();
                }
                json!(world.next)
            },
            |answer, rng| {
                if let Some(sum) = answer.as_i64() {
                    *answer = json!(sum + rng.random_range(-3..=3));
                }
            },
        )
    }

    pub(crate) fn ids() -> Self {
        Self::of(
            |_, _| ("generate", Value::Null),
            |world, _, _| {
                world.next += 1;
                json!(world.next)
            },
            |answer, rng| {
                *answer = match rng.random_range(0..4) {
                    0 => Value::Null,
                    _ => json!(rng.random_range(1..=5)),
                }
            },
        )
    }

    pub(crate) fn bank() -> Self {
        Self::of(
            |_, rng| match rng.random_range(0..3) {
                0 => ("transfer", Value::Null),
                _ => ("read", Value::Null),
            },
            |world, call, _| {
                if call.f == "transfer" {
                    world.next += 1;
                    return Value::Null;
                }
                json!({"a": 5 - world.next, "b": 5 + world.next})
            },
            |answer, rng| match rng.random_range(0..8) {
                0 => *answer = json!([1]),
                1 => answer["b"] = json!("x"),
                _ if answer.is_object() => answer["b"] = json!(rng.random_range(3..8)),
                _ => {}
            },
        )
    }

    /// Four keys, each written once; reads of the first two, of the last three, or of all.
    pub(crate) fn fork() -> Self {
        Self::of(
            |world, rng| {
                if world.next < 4 && rng.random_bool(0.4) {
                    world.next += 1;
                    return ("txn", json!([["w", world.next, 1]]));
                }
                let mut keys: Vec<i64> = match rng.random_range(0..3) {
                    0 => vec![1, 2],
                    1 => vec![2, 3, 4],
                    _ => vec![1, 2, 3, 4],
                };
                let by = rng.random_range(0..keys.len());
                keys.rotate_left(by);
                let read = |key| json!(["r", key, null]);
                ("txn", keys.into_iter().map(read).collect())
            },
            |world, call, _| {
                let mut answer = call.argument.clone();
                for step in answer.as_array_mut().expect("steps") {
                    let key = step[1].as_i64().expect("a key");
                    if step[0] == "w" {
                        world.state.push(key);
                    } else if world.state.contains(&key) {
                        step[2] = json!(1);
                    }
                }
                answer
            },
            |answer, rng| {
                let steps = answer.as_array_mut().expect("steps");
                for step in steps.iter_mut().filter(|step| step[0] == "r") {
                    if rng.random_bool(0.5) {
                        step[2] = [Value::Null, json!(1)][rng.random_range(0..2)].clone();
                    }
                }
            },
        )
    }

    pub(crate) fn monotonic() -> Self {
        Self::of(
            |world, rng| match rng.random_range(0..4) {
                0 => {
                    world.next += 1;
                    ("write", json!(world.next * 10))
                }
                1 => ("inc", Value::Null),
                _ => ("read", Value::Null),
            },
            |world, call, _| {
                let last = world.state.last().copied();
                match call.f {
                    "read" => return last.map_or(Value::Null, Value::from),
                    "write" => {
                        let value = call.argument.as_i64().expect("a number");
                        world.state.push(last.unwrap_or(0).max(value));
                        return call.argument.clone();
                    }
                    _ => world.state.push(last.unwrap_or(0) + 1),
                }
                json!(world.state.last())
            },
            |answer, rng| {
                *answer = match rng.random_range(0..4) {
                    0 => Value::Null,
                    _ => json!(rng.random_range(0..30)),
                }
            },
        )
    }
}

impl World {
    /// Two registers; 0 stands for null.
    pub(crate) fn registers() -> Self {
        let ask: Ask = |world, rng| {
            let choice = rng.random_range(0..10);
            if choice < 5 {
                return ("read", Value::Null);
            }
            world.next += 1;
            if choice < 8 {
                return ("write", json!(world.next));
            }
            let old = rng.random_range(0..world.next);
            let old = Some(old).filter(|old| *old > 0);
            ("cas", json!([old, world.next]))
        };
        let apply: Apply = |world, call, rng| {
            let key = call.key.as_u64().expect("a key") as usize;
            let kept = |value: i64| Some(value).filter(|value| *value > 0);
            match call.f {
                "read" => {
                    // Now and then a value of before.
                    let back = if rng.random_bool(0.2) {
                        world.state[2 + key]
                    } else {
                        world.state[key]
                    };
                    return json!(kept(back));
                }
                "write" => {}
                _ if call.argument[0] == json!(kept(world.state[key])) => {}
                _ => return json!("mismatch"),
            }
            let new = call.argument.as_i64().or(call.argument[1].as_i64());
            world.state[2 + key] = world.state[key];
            world.state[key] = new.expect("a number");
            call.argument.clone()
        };
        let lie: Lie = |answer, rng| *answer = json!(rng.random_range(1..5));
        World {
            state: vec![0; 4],
            keys: 2,
            ..Self::of(ask, apply, lie)
        }
    }
}

fn lie_of_list(answer: &mut Value, rng: &mut ChaCha8Rng) {
    let Value::Array(list) = answer else { return };
    let extra = json!(rng.random_range(1..=6));
    match rng.random_range(0..3) {
        0 if !list.is_empty() => {
            list.remove(rng.random_range(0..list.len()));
        }
        1 if !list.is_empty() => {
            let again = list[0].clone();
            list.push(again);
        }
        _ => list.push(extra),
    }
}
