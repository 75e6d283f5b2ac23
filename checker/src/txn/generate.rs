//! Histories of transactions, made by a simulated database, with one anomaly planted if asked for.
//!
//! The database is serializable in real time, or gives each transaction a snapshot and lets the first
//! committer win. Transactions run over a window of keys; a key that got its share of writes is
//! replaced by a fresh one. The same [`Plan`] always makes the same history.
//!
//! A planted anomaly is a small script played halfway, on keys and processes of its own, so that it is
//! all that is wrong.

use std::ops::RangeInclusive;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::table::Data;
use crate::history::{Op, Process, Type};

/// How the simulated database isolates transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// One after the other, each within its own time.
    StrictSerializable,
    /// Each on a snapshot taken within its own time; of two that write a key the first to commit wins.
    SnapshotIsolation,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Lists or registers.
    pub data: Data,
    /// How many transactions.
    pub transactions: usize,
    /// How many processes at a time.
    pub processes: usize,
    /// How many keys at a time.
    pub keys: usize,
    /// How many steps a transaction has.
    pub steps: RangeInclusive<usize>,
    /// What share of the steps are reads.
    pub reads: f64,
    /// How many writes a key gets before it is replaced.
    pub writes_per_key: u64,
    /// What share of the transactions end with an unknown outcome; half of them happen.
    pub unknown: f64,
    /// What share of the transactions fail.
    pub failed: f64,
    /// How they are isolated.
    pub database: Database,
    /// The anomaly to plant, one of [`plants`].
    pub plant: Option<&'static str>,
    /// Where the randomness comes from.
    pub seed: u64,
}

impl Plan {
    /// Lists, ten processes, 3 to 5 steps, half of them reads, one transaction of a hundred unknown.
    pub fn new(data: Data, transactions: usize, seed: u64) -> Self {
        Self {
            data,
            transactions,
            processes: 10,
            keys: 10,
            steps: 3..=5,
            reads: 0.5,
            writes_per_key: 32,
            unknown: 0.01,
            failed: 0.01,
            database: Database::StrictSerializable,
            plant: None,
            seed,
        }
    }
}

/// The anomalies that can be planted, and how: `bN` begins transaction N, `eN` ends it, `fN` lets it
/// fail; `aK V` writes V to key K, `rK V W` reads key K as the list of V and W. `bN/P` does it as
/// process P, else as process N.
const SCRIPTS: [(&str, &str); 15] = [
    ("G0", "b0 aA1,aB1; b1 aA2,aB2; e0; e1; b2 rA 1 2,rB 2 1; e2"),
    ("G1a", "b0 aA1; f0; b1 rA 1; e1"),
    ("G1b", "b0 aA1,aA2; b1 rA 1; e0; e1; b2 rA 1 2; e2"),
    ("G1c", "b0 aA1,rB 1; b1 aB1,rA 1; e0; e1"),
    ("G-single", "b0 aA1,aB1; b1 rA 1,rB; e0; e1"),
    (
        "G-nonadjacent",
        "b0 aA1; b1 aB1; b2 rA 1,rB; b3 rA,rB 1; e0; e1; e2; e3",
    ),
    ("G2-item", "b0 rA,aB1; b1 rB,aA1; e0; e1"),
    ("lost-update", "b0 rA,aA1; b1 rA,aA2; e0; e1; b2 rA 1 2; e2"),
    ("dirty-update", "b0 aA1; f0; b1 rA 1,aA2; e1; b2 rA 1 2; e2"),
    ("internal", "b0 aA1,rA; e0; b1 rA 1; e1"),
    (
        "incompatible-order",
        "b0 aA1; b1 aA2; e0; e1; b2 rA 1 2; e2; b3 rA 2 1; e3",
    ),
    ("duplicate-elements", "b0 aA1; e0; b1 rA 1 1; e1"),
    ("garbage-read", "b0 rA 7; e0"),
    ("G-single-process", "b0 aA1; b1/9 rA 1; e1; b2/9 rA; e2; e0"),
    ("G-single-realtime", "b0 aA1; e0; b1 rA; e1; b2 rA 1; e2"),
];

/// The names of the anomalies that can be planted in this data.
pub fn plants(data: Data) -> impl Iterator<Item = &'static str> {
    let lists_only = ["G0", "incompatible-order", "duplicate-elements"];
    let names = SCRIPTS.iter().map(|(name, _)| *name);
    names.filter(move |name| data == Data::Lists || !lists_only.contains(name))
}

/// Makes the history, op by op.
///
/// # Panics
/// When the plan has no keys or processes, or its anomaly cannot be planted in its data.
pub fn generate(plan: &Plan, emit: impl FnMut(Op)) {
    assert!(
        plan.keys > 0 && plan.processes > 0,
        "keys and processes are needed"
    );
    let plant = plan.plant.map(|name| {
        assert!(
            plants(plan.data).any(|known| known == name),
            "{name} cannot be planted here"
        );
        SCRIPTS
            .iter()
            .find(|(known, _)| *known == name)
            .expect("it is known")
            .1
    });
    let mut world = World {
        plan,
        emit,
        rng: ChaCha8Rng::seed_from_u64(plan.seed),
        rows: 0,
        keys: (0..plan.keys).map(|_| Key::default()).collect(),
        window: (0..plan.keys).collect(),
        clock: 0,
    };
    world.run(plant);
}

/// A key's versions, each with the moment at which it was committed.
#[derive(Default)]
struct Key {
    versions: Vec<(u64, u64)>,
    asked: u64,
}

#[derive(Clone, Copy)]
enum Step {
    Read(usize),
    Write(usize, u64),
}

/// A process in the middle of a transaction.
struct Open {
    steps: Vec<Step>,
    snapshot: u64,
    answer: Option<(Type, Value)>,
}

struct World<'a, E> {
    plan: &'a Plan,
    emit: E,
    rng: ChaCha8Rng,
    rows: u64,
    keys: Vec<Key>,
    /// The keys in use.
    window: Vec<usize>,
    clock: u64,
}

impl<E: FnMut(Op)> World<'_, E> {
    fn run(&mut self, plant: Option<&str>) {
        let mut processes: Vec<(u32, Option<Open>)> = (0..self.plan.processes as u32)
            .map(|process| (process, None))
            .collect();
        // The script's processes come after all that unknown outcomes can use up.
        let apart = (self.plan.processes + self.plan.transactions) as u32 + 1;
        let mut fresh = self.plan.processes as u32;
        let (mut begun, mut open) = (0, 0);
        while begun < self.plan.transactions || open > 0 {
            let slot = self.rng.random_range(0..processes.len());
            let (process, state) = &mut processes[slot];
            match state.take() {
                None if begun < self.plan.transactions => {
                    *state = Some(self.begin(*process));
                    begun += 1;
                    open += 1;
                    if begun == self.plan.transactions.div_ceil(2)
                        && let Some(script) = plant
                    {
                        self.play(script, apart);
                    }
                }
                None => {}
                Some(Open {
                    answer: Some((type_, value)),
                    ..
                }) => {
                    self.say(*process, type_, value);
                    open -= 1;
                    if type_ == Type::Info {
                        *process = fresh;
                        fresh += 1;
                    }
                }
                Some(mut running) => {
                    running.answer = Some(self.execute(&running));
                    *state = Some(running);
                }
            }
        }
    }

    fn say(&mut self, process: u32, type_: Type, value: Value) {
        let index = self.rows;
        self.rows += 1;
        (self.emit)(Op {
            index,
            time: index * 1_000,
            process: Process::Client(process),
            ..Op::new(process, type_, "txn", value)
        });
    }

    fn begin(&mut self, process: u32) -> Open {
        let steps = (0..self.rng.random_range(self.plan.steps.clone()))
            .map(|_| self.step())
            .collect();
        let open = Open {
            steps,
            snapshot: self.clock,
            answer: None,
        };
        let value = self.told(&open.steps, |_| Value::Null);
        self.say(process, Type::Invoke, value);
        open
    }

    fn step(&mut self) -> Step {
        let place = self.rng.random_range(0..self.window.len());
        let key = self.window[place];
        if self.rng.random_bool(self.plan.reads) {
            return Step::Read(key);
        }
        self.keys[key].asked += 1;
        let value = self.keys[key].asked;
        if value >= self.plan.writes_per_key {
            self.window[place] = self.keys.len();
            self.keys.push(Key::default());
        }
        Step::Write(key, value)
    }

    /// Decides how a transaction ends, and lets it happen.
    fn execute(&mut self, open: &Open) -> (Type, Value) {
        let asked = self.told(&open.steps, |_| Value::Null);
        let chance: f64 = self.rng.random();
        if chance < self.plan.failed {
            return (Type::Fail, asked);
        }
        let unknown = chance < self.plan.failed + self.plan.unknown;
        let lost = unknown && self.rng.random_bool(0.5);
        let snapshots = self.plan.database == Database::SnapshotIsolation;
        let at = if snapshots { open.snapshot } else { self.clock };
        let changed = |step: &Step| match step {
            Step::Write(key, _) => self.keys[*key]
                .versions
                .last()
                .is_some_and(|(_, c)| *c > at),
            Step::Read(_) => false,
        };
        if open.steps.iter().any(changed) {
            return (Type::Fail, asked);
        }
        if lost {
            return (Type::Info, asked);
        }
        let answer = self.told(&open.steps, |done| self.read(done, at));
        self.clock += 1;
        for step in &open.steps {
            if let Step::Write(key, value) = *step {
                self.keys[key].versions.push((value, self.clock));
            }
        }
        if unknown {
            (Type::Info, asked)
        } else {
            (Type::Ok, answer)
        }
    }

    /// What the last of these steps, a read, sees.
    fn read(&self, done: &[Step], at: u64) -> Value {
        let Some(Step::Read(key)) = done.last() else {
            return Value::Null;
        };
        let own = done.iter().filter_map(|step| match step {
            Step::Write(other, value) if other == key => Some(*value),
            _ => None,
        });
        let versions = &self.keys[*key].versions;
        let seen = versions[..versions.partition_point(|(_, commit)| *commit <= at)].iter();
        let mut all = seen.map(|(value, _)| *value).chain(own);
        match self.plan.data {
            Data::Lists => all.collect::<Vec<u64>>().into(),
            Data::Registers => all.next_back().map_or(Value::Null, Value::from),
        }
    }

    fn told(&self, steps: &[Step], read: impl Fn(&[Step]) -> Value) -> Value {
        let step = |at: usize| match steps[at] {
            Step::Read(key) => json!(["r", key, read(&steps[..=at])]),
            Step::Write(key, value) => json!([self.write_name(), key, value]),
        };
        (0..steps.len()).map(step).collect()
    }

    fn write_name(&self) -> &'static str {
        if self.plan.data == Data::Lists {
            "append"
        } else {
            "w"
        }
    }

    /// Plays a script, see [`SCRIPTS`].
    fn play(&mut self, script: &str, apart: u32) {
        let mut begun: Vec<(u32, Value)> = Vec::new();
        for event in script.split(';').map(str::trim) {
            let (head, steps) = event.split_once(' ').unwrap_or((event, ""));
            let (number, process) = head[1..]
                .split_once('/')
                .unwrap_or((&head[1..], &head[1..]));
            let number: usize = number.parse().expect("a transaction's number");
            match &head[..1] {
                "b" => {
                    let process = apart + process.parse::<u32>().expect("a process number");
                    let (asked, answer) = self.scripted(steps);
                    self.say(process, Type::Invoke, asked);
                    begun.push((process, answer));
                }
                end => {
                    let (process, answer) = begun[number].clone();
                    let type_ = if end == "e" { Type::Ok } else { Type::Fail };
                    self.say(process, type_, answer);
                }
            }
        }
    }

    /// A scripted transaction as it is asked and as it is answered.
    fn scripted(&self, steps: &str) -> (Value, Value) {
        let step = |step: &str, known: bool| {
            let key = format!("planted-{}", &step[1..2]);
            let values: Vec<u64> = step[2..]
                .split_whitespace()
                .map(|v| v.parse().expect("a value"))
                .collect();
            match (&step[..1], self.plan.data) {
                ("a", _) => json!([self.write_name(), key, values[0]]),
                _ if !known => json!(["r", key, null]),
                (_, Data::Lists) => json!(["r", key, values]),
                (_, Data::Registers) => json!(["r", key, values.last()]),
            }
        };
        let all = |known| {
            steps
                .split(',')
                .map(|text| step(text, known))
                .collect::<Value>()
        };
        (all(false), all(true))
    }
}
