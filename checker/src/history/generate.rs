//! Seeded histories: what closed-loop clients would record of an object that keeps its promise, or
//! of one that breaks it once.
//!
//! Each operation takes effect at one moment between its invocation and its return, so without an
//! anomaly the history is linearizable. The same seed gives the same history.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::columns::History;
use super::op::{Op, Process, Type};

/// The object whose history is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// `read`, `write`, `cas`.
    Register,
    /// `get`, `put`, `append`, of strings.
    Kv,
    /// `enqueue`, `dequeue`, first in, first out.
    Queue,
    /// `push`, `pop`, last in, first out.
    Stack,
    /// `insert`, `extract`, the least first.
    PriorityQueue,
    /// `add`, `read`.
    Set,
    /// `add`, `add-and-get`, `read`.
    Counter,
    /// `append`, `read`.
    AppendLog,
    /// `acquire`, `release`, whoever acquired.
    Mutex,
}

/// A promise broken once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A read answers what was overwritten before it began. Registers only.
    StaleRead,
    /// A write is acknowledged and has no effect; the next read of the key shows it. Registers only.
    LostWrite,
    /// A read answers what nobody wrote. Locks are not read.
    Phantom,
}

/// What to make up.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The object, one per key.
    pub object: Object,
    /// Operations, an invocation and its completion being one.
    pub operations: usize,
    /// Clients, each with one open operation at a time.
    pub clients: usize,
    /// Contention: the chance that an idle client begins an operation when it could, above 0 to 1. With
    /// 1 each is always busy; near 0 they rarely meet.
    pub contention: f64,
    /// Keys; with one, ops carry none.
    pub keys: usize,
    /// Share of the operations whose outcome stays unknown, from 0 to 1.
    pub unknown: f64,
    /// Distinct values that are written; none: each value is written once.
    pub values: Option<u32>,
    /// Share of the operations that compare and set, from 0 to 1. Registers only.
    pub cas: f64,
    /// What is broken, about two thirds into the history.
    pub anomaly: Option<Anomaly>,
    /// The seed.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            object: Object::Register,
            operations: 1000,
            clients: 10,
            contention: 1.0,
            keys: 1,
            unknown: 0.0,
            values: None,
            cas: 0.0,
            anomaly: None,
            seed: 0,
        }
    }
}

/// Makes a history up.
pub fn generate(recipe: &Recipe) -> History {
    Generator::new(recipe).run()
}

enum Client {
    Idle,
    /// Invoked, not yet in effect.
    Open(Pending),
    /// In effect, with this answer.
    Done(Pending, Outcome),
}

#[derive(Clone)]
struct Pending {
    process: u32,
    key: usize,
    f: &'static str,
    argument: Value,
    /// Number of the op that invoked it.
    invoked: usize,
}

enum Outcome {
    Ok(Value),
    Mismatch,
    Empty,
}

/// A write as seen from outside.
struct Written {
    value: Value,
    invoked: usize,
    /// The greatest number there is while it has not returned.
    returned: usize,
}

/// One object, and what its writes looked like from outside.
#[derive(Default)]
struct Cell {
    value: Value,
    items: Vec<Value>,
    /// The latest writes that returned, while a place for an anomaly is looked for.
    writes: VecDeque<Written>,
    /// The write that was lost, until a read has shown it.
    lost: Option<Written>,
}

const WRITES_KEPT: usize = 64;

/// What nobody wrote.
const PHANTOM: u32 = u32::MAX;

impl Cell {
    fn of(object: Object) -> Self {
        let value = if object == Object::Counter {
            json!(0)
        } else {
            Value::Null
        };
        Cell {
            value,
            ..Cell::default()
        }
    }

    /// A value that was overwritten for good before a read began: its write had returned when
    /// another began that had itself returned by then.
    fn stale(&self, read_invoked: usize) -> Option<Value> {
        let before = self.writes.iter().filter(|it| it.returned < read_invoked);
        let overwriting = before.clone().map(|it| it.invoked).max()?;
        let gone = before
            .filter(|it| it.returned < overwriting)
            .max_by_key(|it| it.returned)?;
        Some(gone.value.clone())
    }

    /// Whether what is there was written for good before a write began: if that is lost, nobody can
    /// say that it was overwritten.
    fn is_settled(&self, write_invoked: usize) -> bool {
        let mut before = self.writes.iter().filter(|it| it.returned < write_invoked);
        before.any(|it| it.value == self.value)
    }
}

struct Generator<'a> {
    recipe: &'a Recipe,
    rng: ChaCha8Rng,
    history: History,
    clients: Vec<Client>,
    processes: Vec<u32>,
    cells: Vec<Cell>,
    time: u64,
    fresh: u64,
    invoked: usize,
    anomaly: Option<Anomaly>,
}

impl<'a> Generator<'a> {
    fn new(recipe: &'a Recipe) -> Self {
        Generator {
            recipe,
            rng: ChaCha8Rng::seed_from_u64(recipe.seed),
            history: History::new(),
            clients: (0..recipe.clients.max(1)).map(|_| Client::Idle).collect(),
            processes: (0..recipe.clients.max(1) as u32).collect(),
            cells: (0..recipe.keys.max(1))
                .map(|_| Cell::of(recipe.object))
                .collect(),
            time: 0,
            fresh: 0,
            invoked: 0,
            anomaly: recipe.anomaly,
        }
    }

    fn run(mut self) -> History {
        let mut open = 0;
        while self.invoked < self.recipe.operations || open > 0 {
            let number = self.rng.random_range(0..self.clients.len());
            self.time += self.rng.random_range(100..2000);
            match std::mem::replace(&mut self.clients[number], Client::Idle) {
                Client::Idle if self.invoked < self.recipe.operations && self.begins() => {
                    self.clients[number] = Client::Open(self.invoke(number));
                    open += 1;
                }
                Client::Idle => {}
                Client::Open(pending) if self.is_unknown() => {
                    // It may have happened before the answer was lost; an anomaly would not show.
                    let anomaly = self.anomaly.take();
                    if self.rng.random_bool(0.5) {
                        self.effect(&pending);
                    }
                    self.anomaly = anomaly;
                    self.record(
                        &pending,
                        Type::Info,
                        pending.argument.clone(),
                        Some("timeout"),
                    );
                    self.processes[number] += self.clients.len() as u32;
                    open -= 1;
                }
                Client::Open(pending) => {
                    let outcome = self.effect(&pending);
                    self.clients[number] = Client::Done(pending, outcome);
                }
                Client::Done(pending, outcome) => {
                    self.finish(&pending, outcome);
                    open -= 1;
                }
            }
        }
        self.history
    }

    fn begins(&mut self) -> bool {
        const LEAST: f64 = 1e-6;
        let contention = self.recipe.contention.max(LEAST);
        contention >= 1.0 || self.rng.random_bool(contention)
    }

    fn is_unknown(&mut self) -> bool {
        self.recipe.unknown > 0.0 && self.rng.random_bool(self.recipe.unknown.min(1.0))
    }

    fn value(&mut self) -> u64 {
        self.fresh += 1;
        match self.recipe.values {
            Some(few) => u64::from(self.rng.random_range(0..few.max(1))),
            None => self.fresh,
        }
    }

    fn invoke(&mut self, number: usize) -> Pending {
        let key = self.rng.random_range(0..self.cells.len());
        let cas = self.recipe.cas.clamp(0.0, 1.0);
        let cell_value = self.cells[key].value.clone();
        let (f, argument) = match self.recipe.object {
            Object::Register if cas > 0.0 && self.rng.random_bool(cas) => {
                // Half of them guess well, or few would succeed.
                let old = match self.recipe.values {
                    Some(few) if self.rng.random_bool(0.5) => {
                        json!(self.rng.random_range(0..few.max(1)))
                    }
                    _ => cell_value,
                };
                ("cas", json!([old, self.value()]))
            }
            Object::Register if self.rng.random_bool(0.5) => ("read", Value::Null),
            Object::Register => ("write", json!(self.value())),
            Object::Kv => match self.rng.random_range(0..4) {
                0 | 1 => ("get", Value::Null),
                2 => ("put", json!(format!("{};", self.value()))),
                _ => ("append", json!(format!("{};", self.value()))),
            },
            Object::Queue if self.rng.random_bool(0.5) => ("dequeue", Value::Null),
            Object::Queue => ("enqueue", json!(self.value())),
            Object::Stack if self.rng.random_bool(0.5) => ("pop", Value::Null),
            Object::Stack => ("push", json!(self.value())),
            Object::PriorityQueue if self.rng.random_bool(0.5) => ("extract", Value::Null),
            // Spread, so that the order of priorities is not that of time.
            Object::PriorityQueue => (
                "insert",
                json!(self.value().wrapping_mul(2_654_435_761) & 0xffff_ffff),
            ),
            Object::Counter => match self.rng.random_range(0..3) {
                0 => ("read", Value::Null),
                1 => ("add", json!(self.rng.random_range(1..4))),
                _ => ("add-and-get", json!(self.rng.random_range(1..4))),
            },
            Object::AppendLog if self.rng.random_bool(0.2) => ("read", Value::Null),
            Object::AppendLog => ("append", json!(self.value())),
            Object::Mutex if self.rng.random_bool(0.5) => ("acquire", Value::Null),
            Object::Mutex => ("release", Value::Null),
            Object::Set if self.rng.random_bool(0.1) => ("read", Value::Null),
            Object::Set => ("add", json!(self.value())),
        };
        let process = self.processes[number];
        let pending = Pending {
            process,
            key,
            f,
            argument,
            invoked: self.history.len(),
        };
        self.record(&pending, Type::Invoke, pending.argument.clone(), None);
        self.invoked += 1;
        pending
    }

    fn effect(&mut self, pending: &Pending) -> Outcome {
        let lose = self.is_time_for(Anomaly::LostWrite);
        let cell = &mut self.cells[pending.key];
        match pending.f {
            "read" if matches!(self.recipe.object, Object::Set | Object::AppendLog) => {
                let mut items = cell.items.clone();
                if self.takes_phantom() {
                    items.push(json!(PHANTOM));
                }
                Outcome::Ok(Value::Array(items))
            }
            "read" | "get" => {
                let value = cell.value.clone();
                cell.lost.take_if(|lost| lost.returned < pending.invoked);
                Outcome::Ok(self.anomalous(pending, value))
            }
            "write" if lose && cell.is_settled(pending.invoked) => {
                self.anomaly = None;
                cell.lost = Some(Written {
                    value: pending.argument.clone(),
                    invoked: pending.invoked,
                    returned: usize::MAX,
                });
                Outcome::Ok(pending.argument.clone())
            }
            // Nothing hides a lost write before it has shown.
            "write" | "cas" if cell.lost.is_some() => Outcome::Mismatch,
            "write" | "put" => {
                cell.value = pending.argument.clone();
                Outcome::Ok(pending.argument.clone())
            }
            "cas" if pending.argument[0] == cell.value => {
                cell.value = pending.argument[1].clone();
                Outcome::Ok(pending.argument.clone())
            }
            "append" if self.recipe.object == Object::AppendLog => {
                cell.items.push(pending.argument.clone());
                Outcome::Ok(json!({"offset": cell.items.len() - 1}))
            }
            "add" | "add-and-get" if self.recipe.object == Object::Counter => {
                let sum = |value: &Value| value.as_i64().unwrap_or_default();
                cell.value = json!(sum(&cell.value) + sum(&pending.argument));
                Outcome::Ok(cell.value.clone())
            }
            "acquire" | "release" => {
                let held = !cell.value.is_null();
                if held == (pending.f == "acquire") {
                    return Outcome::Mismatch;
                }
                cell.value = if held { Value::Null } else { json!(true) };
                Outcome::Ok(Value::Null)
            }
            "append" => {
                let text = cell.value.as_str().unwrap_or_default();
                cell.value = json!(format!("{text}{}", pending.argument.as_str().unwrap_or("")));
                Outcome::Ok(pending.argument.clone())
            }
            "add" if cell.items.contains(&pending.argument) => {
                Outcome::Ok(pending.argument.clone())
            }
            "enqueue" | "push" | "insert" | "add" => {
                cell.items.push(pending.argument.clone());
                Outcome::Ok(pending.argument.clone())
            }
            "dequeue" | "pop" | "extract" if cell.items.is_empty() => Outcome::Empty,
            "dequeue" | "pop" | "extract" => {
                let items = cell.items.iter().enumerate();
                let first = match pending.f {
                    "pop" => cell.items.len() - 1,
                    "extract" => items.min_by_key(|(_, it)| it.as_u64()).map_or(0, |it| it.0),
                    _ => 0,
                };
                let first = cell.items.remove(first);
                Outcome::Ok(if self.takes_phantom() {
                    json!(PHANTOM)
                } else {
                    first
                })
            }
            _ => Outcome::Mismatch,
        }
    }

    fn is_time_for(&self, anomaly: Anomaly) -> bool {
        self.anomaly == Some(anomaly) && self.invoked * 3 >= self.recipe.operations * 2
    }

    /// Whether this answer is to be what nobody wrote.
    fn takes_phantom(&mut self) -> bool {
        let now = self.is_time_for(Anomaly::Phantom);
        if now {
            self.anomaly = None;
        }
        now
    }

    /// What a read answers that would answer `value`.
    fn anomalous(&mut self, pending: &Pending, value: Value) -> Value {
        if self.takes_phantom() {
            return match self.recipe.object {
                Object::Kv => json!("phantom;"),
                _ => json!(PHANTOM),
            };
        }
        if self.recipe.object == Object::Register
            && self.is_time_for(Anomaly::StaleRead)
            && let Some(stale) = self.cells[pending.key].stale(pending.invoked)
            && stale != value
        {
            self.anomaly = None;
            return stale;
        }
        value
    }

    fn finish(&mut self, pending: &Pending, outcome: Outcome) {
        match outcome {
            Outcome::Ok(value) => {
                let returned = self.history.len();
                let cell = &mut self.cells[pending.key];
                if let Some(lost) = &mut cell.lost
                    && lost.invoked == pending.invoked
                {
                    lost.returned = returned;
                }
                if pending.f == "write" && self.anomaly.is_some() {
                    cell.writes.push_back(Written {
                        value: value.clone(),
                        invoked: pending.invoked,
                        returned,
                    });
                    if cell.writes.len() > WRITES_KEPT {
                        cell.writes.pop_front();
                    }
                }
                self.record(pending, Type::Ok, value, None);
            }
            Outcome::Mismatch => {
                self.record(
                    pending,
                    Type::Fail,
                    pending.argument.clone(),
                    Some("mismatch"),
                );
            }
            Outcome::Empty => self.record(pending, Type::Fail, Value::Null, Some("empty")),
        }
    }

    fn record(&mut self, pending: &Pending, type_: Type, value: Value, error: Option<&str>) {
        let one = self.cells.len() == 1;
        let key = if one {
            Value::Null
        } else {
            json!(format!("k{}", pending.key))
        };
        self.history.push(&Op {
            index: self.history.len() as u64,
            time: self.time,
            process: Process::Client(pending.process),
            type_,
            f: pending.f.to_owned(),
            key,
            value,
            error: error.map(str::to_owned),
            node: None,
            revision: None,
        });
    }
}
