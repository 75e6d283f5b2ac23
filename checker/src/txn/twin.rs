//! The dumb twin: every level by trying every order, every cycle by walking every path.
//!
//! Small random histories, sound and spoiled, are judged by the engine and by the definitions taken
//! at their word; the two must agree on every level and every class of cycle. `ORDEAL_SEED` repeats
//! one run, `ORDEAL_ROUNDS` sets how many histories.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Standing;
use super::analysis::{Analysis, Limits, analyze};
use super::anomaly::{Because, Evidence, Kind, Order, Shape};
use super::level::Level;
use super::table::{Data, Header, Status, Table};

#[derive(Clone, Debug)]
enum Op {
    Write(usize, u64),
    /// What was read: of a register at most one value.
    Read(usize, Vec<u64>),
}

#[derive(Clone, Debug)]
struct Txn {
    process: u32,
    status: Status,
    invoked: u32,
    completed: Option<u32>,
    ops: Vec<Op>,
}

impl Txn {
    fn ended(&self) -> u32 {
        if self.status == Status::Committed {
            self.completed.unwrap_or(u32::MAX)
        } else {
            u32::MAX
        }
    }

    fn writes(&self, key: usize) -> Vec<u64> {
        let value = |op: &Op| match op {
            Op::Write(other, value) if *other == key => Some(*value),
            _ => None,
        };
        self.ops.iter().filter_map(value).collect()
    }

    fn text(&self, data: Data) -> String {
        let op = |op: &Op| match (op, data) {
            (Op::Write(key, value), Data::Lists) => format!(r#"["append",{key},{value}]"#),
            (Op::Write(key, value), Data::Registers) => format!(r#"["w",{key},{value}]"#),
            (Op::Read(key, list), Data::Lists) => format!(r#"["r",{key},{list:?}]"#),
            (Op::Read(key, list), Data::Registers) => {
                let value = list.last().map_or("null".to_owned(), u64::to_string);
                format!(r#"["r",{key},{value}]"#)
            }
        };
        format!(
            "[{}]",
            self.ops.iter().map(op).collect::<Vec<_>>().join(",")
        )
    }
}

fn show(txns: &[Txn]) -> String {
    let line = |txn: &Txn| {
        let Txn {
            process,
            status,
            invoked,
            completed,
            ..
        } = txn;
        format!(
            "p{process} {invoked}..{completed:?} {status:?} {}\n",
            txn.text(Data::Lists)
        )
    };
    txns.iter().map(line).collect()
}

const KEYS: usize = 2;

/// Begins and ends of transactions by a few processes, with nothing read yet.
fn timeline(rng: &mut ChaCha8Rng) -> Vec<Txn> {
    let wanted = rng.random_range(2..=4);
    let mut processes: Vec<(u32, Option<usize>)> = (0..rng.random_range(1..=3))
        .map(|process| (process, None))
        .collect();
    let mut txns: Vec<Txn> = Vec::new();
    let (mut now, mut value, mut fresh) = (0, 0, 10);
    while txns.len() < wanted || processes.iter().any(|(_, open)| open.is_some()) {
        let slot = rng.random_range(0..processes.len());
        now += 1;
        let (process, open) = &mut processes[slot];
        if let Some(txn) = open.take() {
            let status = match rng.random_range(0..10) {
                0 => Status::Aborted,
                1 => Status::Unknown,
                _ => Status::Committed,
            };
            txns[txn].status = status;
            txns[txn].completed = Some(now);
            if status == Status::Unknown {
                *process = fresh;
                fresh += 1;
            }
        } else if txns.len() < wanted {
            let mut op = || {
                let key = rng.random_range(0..KEYS);
                if rng.random_bool(0.5) {
                    value += 1;
                    Op::Write(key, value)
                } else {
                    Op::Read(key, Vec::new())
                }
            };
            let ops = (0..3).map(|_| op()).collect::<Vec<Op>>();
            let ops = ops[..rng.random_range(1..=3)].to_vec();
            *open = Some(txns.len());
            let (process, invoked) = (*process, now);
            txns.push(Txn {
                process,
                status: Status::Unknown,
                invoked,
                completed: None,
                ops,
            });
        }
    }
    txns
}

/// Runs the transactions one by one in an order of their own, then spoils some reads.
fn history(rng: &mut ChaCha8Rng) -> Vec<Txn> {
    let mut txns = timeline(rng);
    let mut order: Vec<usize> = (0..txns.len()).collect();
    order.sort_by_key(|&txn| {
        let end = txns[txn].completed.unwrap_or(u32::MAX);
        rng.random_range(txns[txn].invoked..=end)
    });
    if rng.random_bool(0.3) {
        let (a, b) = (
            rng.random_range(0..order.len()),
            rng.random_range(0..order.len()),
        );
        order.swap(a, b);
    }
    let dirty = rng.random_bool(0.1);
    let mut lists = vec![Vec::new(); KEYS];
    for txn in order {
        let runs = match txns[txn].status {
            Status::Committed => true,
            Status::Aborted => dirty,
            Status::Unknown => rng.random_bool(0.5),
        };
        let mut view = lists.clone();
        for op in &mut txns[txn].ops {
            match op {
                Op::Write(key, value) => view[*key].push(*value),
                Op::Read(key, list) => list.clone_from(&view[*key]),
            }
        }
        if runs {
            lists = view;
        }
    }
    let spoils = rng.random_range(0..=3);
    for _ in 0..spoils {
        spoil(rng, &mut txns, &lists);
    }
    txns
}

/// Gives a read another prefix of the final list, or, rarely, something that fits nothing.
fn spoil(rng: &mut ChaCha8Rng, txns: &mut [Txn], lists: &[Vec<u64>]) {
    let txn = rng.random_range(0..txns.len());
    let op = rng.random_range(0..txns[txn].ops.len());
    if let Op::Read(key, list) = &mut txns[txn].ops[op] {
        let whole = &lists[*key];
        *list = whole[..rng.random_range(0..=whole.len())].to_vec();
        match rng.random_range(0..100) {
            0..3 => list.reverse(),
            3..5 => list.extend(list.first().copied()),
            5..7 => list.push(99),
            _ => {}
        }
    }
}

fn table(txns: &[Txn], data: Data) -> Table {
    let mut table = Table::new(data);
    for txn in txns {
        let header = Header {
            process: txn.process,
            status: txn.status,
            invoked: txn.invoked,
            completed: txn.completed.filter(|_| txn.status != Status::Unknown),
        };
        table
            .push(header, txn.text(data).as_bytes())
            .expect("the text is well formed");
    }
    table
}

/// What binds the order besides data.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Binds {
    sessions: bool,
    real_time: bool,
}

const FREE: Binds = Binds {
    sessions: false,
    real_time: false,
};
const SESSIONS: Binds = Binds {
    sessions: true,
    real_time: false,
};
const REAL_TIME: Binds = Binds {
    sessions: true,
    real_time: true,
};

/// Every level by trying everything.
struct Twin<'a> {
    txns: &'a [Txn],
    data: Data,
}

impl Twin<'_> {
    fn before(&self, a: usize, b: usize, binds: Binds) -> bool {
        let (a, b) = (&self.txns[a], &self.txns[b]);
        (binds.sessions && a.process == b.process && a.invoked < b.invoked)
            || (binds.real_time && a.ended() < b.invoked)
    }

    /// All choices of which transactions of unknown outcome happened.
    fn choices(&self) -> Vec<Vec<usize>> {
        let of = |status| (0..self.txns.len()).filter(move |&t| self.txns[t].status == status);
        let unknown: Vec<usize> = of(Status::Unknown).collect();
        (0..1_usize << unknown.len())
            .map(|choice| {
                let chosen = unknown
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| choice >> at & 1 == 1);
                let mut all: Vec<usize> = of(Status::Committed).collect();
                all.extend(chosen.map(|(_, txn)| *txn));
                all.sort_unstable();
                all
            })
            .collect()
    }

    /// Runs a transaction on a state; false when a read disagrees.
    fn runs(&self, txn: usize, state: &mut [Vec<u64>]) -> bool {
        let known = self.txns[txn].status == Status::Committed;
        self.txns[txn].ops.iter().all(|op| match op {
            Op::Write(key, value) => {
                state[*key].push(*value);
                true
            }
            Op::Read(key, list) if known && self.data == Data::Lists => state[*key] == *list,
            Op::Read(key, list) if known => state[*key].last() == list.last(),
            Op::Read(..) => true,
        })
    }

    fn serial(&self, binds: Binds) -> bool {
        self.choices()
            .iter()
            .any(|all| self.serial_from(all, &mut Vec::new(), &vec![Vec::new(); KEYS], binds))
    }

    fn serial_from(
        &self,
        all: &[usize],
        done: &mut Vec<usize>,
        state: &[Vec<u64>],
        binds: Binds,
    ) -> bool {
        if done.len() == all.len() {
            return true;
        }
        all.iter().any(|&txn| {
            let waits = |&other: &usize| !done.contains(&other) && self.before(other, txn, binds);
            if done.contains(&txn) || all.iter().any(waits) {
                return false;
            }
            let mut after = state.to_vec();
            if !self.runs(txn, &mut after) {
                return false;
            }
            done.push(txn);
            let found = self.serial_from(all, done, &after, binds);
            done.pop();
            found
        })
    }

    /// Snapshot isolation by trying every interleaving of starts and commits.
    fn snapshots(&self, binds: Binds) -> bool {
        self.choices().iter().any(|all| {
            let mut run = Run {
                started: Vec::new(),
                committed: Vec::new(),
            };
            self.snapshots_from(all, &mut run, &vec![Vec::new(); KEYS], binds)
        })
    }

    fn snapshots_from(
        &self,
        all: &[usize],
        run: &mut Run,
        state: &[Vec<u64>],
        binds: Binds,
    ) -> bool {
        if run.committed.len() == all.len() {
            return true;
        }
        for &txn in all {
            let started = run.started.iter().position(|(other, ..)| *other == txn);
            match started {
                None => {
                    let waits = |&other: &usize| {
                        !run.committed.contains(&other) && self.before(other, txn, binds)
                    };
                    if all.iter().any(waits) || !self.runs(txn, &mut state.to_vec()) {
                        continue;
                    }
                    run.started.push((txn, run.committed.len()));
                    let found = self.snapshots_from(all, run, state, binds);
                    run.started.pop();
                    if found {
                        return true;
                    }
                }
                Some(_) if run.committed.contains(&txn) => {}
                Some(at) => {
                    let since = &run.committed[run.started[at].1..];
                    let clash = |&other: &usize| {
                        (0..KEYS).any(|key| {
                            !self.txns[txn].writes(key).is_empty()
                                && !self.txns[other].writes(key).is_empty()
                        })
                    };
                    if since.iter().any(clash) {
                        continue;
                    }
                    let mut after = state.to_vec();
                    for (key, list) in after.iter_mut().enumerate() {
                        list.extend(self.txns[txn].writes(key));
                    }
                    run.committed.push(txn);
                    let found = self.snapshots_from(all, run, &after, binds);
                    run.committed.pop();
                    if found {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// A weak level: is there a total order of transactions that its axiom accepts?
    fn weak(&self, level: Level) -> bool {
        let binds = if level == Level::Causal {
            SESSIONS
        } else {
            FREE
        };
        self.choices().iter().any(|all| {
            permutations(all).iter().any(|order| {
                let pairs = || (0..order.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
                pairs().all(|(a, b)| !self.before(order[b], order[a], binds))
                    && self.accepts(level, order)
            })
        })
    }

    fn accepts(&self, level: Level, order: &[usize]) -> bool {
        let finals: Vec<Vec<u64>> = (0..KEYS)
            .map(|key| {
                order
                    .iter()
                    .flat_map(|&t| self.txns[t].writes(key))
                    .collect()
            })
            .collect();
        let place = |txn: usize| order.iter().position(|&other| other == txn);
        // For each transaction its reads of others: (micro-op, key, writer).
        let mut reads: Vec<Vec<(usize, usize, Option<usize>)>> = vec![Vec::new(); self.txns.len()];
        for &txn in order
            .iter()
            .filter(|&&txn| self.txns[txn].status == Status::Committed)
        {
            for (at, op) in self.txns[txn].ops.iter().enumerate() {
                let Op::Read(key, list) = op else { continue };
                let Some(value) = list.last() else {
                    reads[txn].push((at, *key, None));
                    continue;
                };
                if self.data == Data::Lists && !finals[*key].starts_with(list) {
                    return false;
                }
                let Some(&writer) = order
                    .iter()
                    .find(|&&t| self.txns[t].writes(*key).contains(value))
                else {
                    return level == Level::ReadUncommitted && self.data == Data::Registers;
                };
                if writer == txn {
                    continue;
                }
                if level != Level::ReadUncommitted
                    && (self.txns[writer].writes(*key).last() != Some(value)
                        || place(writer) > place(txn))
                {
                    return false;
                }
                reads[txn].push((at, *key, Some(writer)));
            }
        }
        let visible = self.visible(level, order, &reads);
        order.iter().all(|&txn| {
            reads[txn].iter().all(|&(at, key, writer)| {
                order.iter().all(|&other| {
                    let binds = Some(other) != writer
                        && other != txn
                        && !self.txns[other].writes(key).is_empty()
                        && visible(other, txn, at);
                    !binds || writer.is_some_and(|writer| place(other) < place(writer))
                })
            })
        })
    }

    /// Whether a transaction is visible to a read (a micro-op) of another.
    fn visible<'b>(
        &'b self,
        level: Level,
        order: &'b [usize],
        reads: &'b [Vec<(usize, usize, Option<usize>)>],
    ) -> impl Fn(usize, usize, usize) -> bool + 'b {
        let n = self.txns.len();
        let mut past = vec![vec![false; n]; n];
        for &a in order {
            for &b in order {
                past[a][b] = self.before(a, b, SESSIONS)
                    || reads[b].iter().any(|(.., writer)| *writer == Some(a));
            }
        }
        for via in 0..n {
            for a in 0..n {
                for b in 0..n {
                    past[a][b] |= past[a][via] && past[via][b];
                }
            }
        }
        move |other, txn, at| {
            let mut sources = reads[txn]
                .iter()
                .filter(|(.., writer)| *writer == Some(other));
            match level {
                Level::MonotonicAtomicView => sources.any(|(from, ..)| *from < at),
                Level::ReadAtomic => sources.next().is_some(),
                Level::Causal => past[other][txn],
                _ => false,
            }
        }
    }

    /// What the definitions say of a level; none where they are the engine's own.
    fn level(&self, level: Level) -> Option<bool> {
        Some(match level {
            Level::ReadUncommitted
            | Level::ReadCommitted
            | Level::MonotonicAtomicView
            | Level::ReadAtomic
            | Level::Causal => self.weak(level),
            Level::SnapshotIsolation => self.snapshots(FREE),
            Level::StrongSessionSnapshotIsolation => self.snapshots(SESSIONS),
            Level::StrongSnapshotIsolation => self.snapshots(REAL_TIME),
            Level::RepeatableRead | Level::Serializable => self.serial(FREE),
            Level::StrongSessionSerializable => self.serial(SESSIONS),
            Level::StrictSerializable => self.serial(REAL_TIME),
            Level::CursorStability | Level::ConsistentView => return None,
        })
    }
}

struct Run {
    /// Transaction, and how many had committed when it started.
    started: Vec<(usize, usize)>,
    committed: Vec<usize>,
}

fn permutations(all: &[usize]) -> Vec<Vec<usize>> {
    let Some((&first, rest)) = all.split_first() else {
        return vec![Vec::new()];
    };
    let shorter = permutations(rest);
    let insert = |order: &Vec<usize>| {
        let order = order.clone();
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, first);
            order
        })
    };
    shorter.iter().flat_map(insert).collect()
}

/// Anomalies of single reads, which the levels' definitions do not all speak of.
fn is_direct(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::G1a
            | Kind::Garbage
            | Kind::Internal
            | Kind::Duplicates
            | Kind::IncompatibleOrder
            | Kind::DirtyUpdate
    )
}

/// The kinds of dependency between two transactions, by the definitions.
fn dependencies(txns: &[Txn], live: &[bool], lists: &[Vec<u64>]) -> Vec<(usize, usize, char)> {
    let writer = |key: usize, value: u64| {
        (0..txns.len()).find(|&t| live[t] && txns[t].writes(key).contains(&value))
    };
    let next = |key: usize, value: Option<u64>| -> Vec<usize> {
        let at = value.map_or(Some(0), |v| {
            lists[key].iter().position(|&o| o == v).map(|p| p + 1)
        });
        match at.map(|at| lists[key].get(at)) {
            Some(Some(&value)) => writer(key, value).into_iter().collect(),
            Some(None) => (0..txns.len())
                .filter(|&t| live[t] && txns[t].writes(key).iter().any(|v| !lists[key].contains(v)))
                .collect(),
            None => Vec::new(),
        }
    };
    let mut edges = Vec::new();
    for (t, txn) in txns.iter().enumerate().filter(|(t, _)| live[*t]) {
        for op in &txn.ops {
            match op {
                Op::Write(key, value) => {
                    edges.extend(next(*key, Some(*value)).into_iter().map(|to| (t, to, 'w')));
                }
                Op::Read(..) if txn.status != Status::Committed => {}
                Op::Read(key, list) => {
                    let from = list.last().and_then(|&value| writer(*key, value));
                    if from == Some(t) {
                        continue;
                    }
                    edges.extend(from.map(|from| (from, t, 'r')));
                    edges.extend(
                        next(*key, list.last().copied())
                            .into_iter()
                            .map(|to| (t, to, 'a')),
                    );
                }
            }
        }
    }
    edges.retain(|(from, to, _)| from != to);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Every shape of simple cycle, with the length of its shortest.
fn shapes(txns: usize, edges: &[(usize, usize, char)]) -> Vec<(Shape, usize)> {
    fn walk(
        edges: &[(usize, usize, char)],
        start: usize,
        path: &mut Vec<usize>,
        kinds: &mut String,
        found: &mut BTreeSet<(Shape, usize)>,
    ) {
        let at = *path.last().unwrap();
        for &(from, to, kind) in edges.iter().filter(|(from, ..)| *from == at) {
            debug_assert_eq!(from, at);
            kinds.push(kind);
            if to == start {
                found.insert((shape(kinds), path.len()));
            } else if to > start && !path.contains(&to) {
                path.push(to);
                walk(edges, start, path, kinds, found);
                path.pop();
            }
            kinds.pop();
        }
    }
    let mut found = BTreeSet::new();
    for start in 0..txns {
        walk(
            edges,
            start,
            &mut vec![start],
            &mut String::new(),
            &mut found,
        );
    }
    let mut shortest: Vec<(Shape, usize)> = Vec::new();
    for (shape, length) in found {
        if shortest.last().is_none_or(|(other, _)| *other != shape) {
            shortest.push((shape, length));
        }
    }
    shortest
}

fn shape(kinds: &str) -> Shape {
    let around = format!("{kinds}{}", kinds.chars().next().unwrap());
    match kinds.matches('a').count() {
        0 if kinds.contains('r') => Shape::G1c,
        0 => Shape::G0,
        1 => Shape::GSingle,
        _ if around.contains("aa") => Shape::G2Item,
        _ => Shape::GNonadjacent,
    }
}

fn seed_and_rounds(rounds: u64) -> (u64, u64) {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = read("ORDEAL_SEED").unwrap_or_else(rand::random);
    println!("ORDEAL_SEED={seed}");
    (seed, read("ORDEAL_ROUNDS").unwrap_or(rounds))
}

/// Compares the levels; gives how many were left open.
fn compare_levels(txns: &[Txn], data: Data, analysis: &Analysis, round: u64) -> usize {
    let twin = Twin { txns, data };
    let direct = analysis
        .findings
        .counts()
        .iter()
        .any(|(kind, _)| is_direct(*kind));
    let mut open = 0;
    for level in Level::ALL {
        let strong =
            Level::covers(level, Level::RepeatableRead) || level.covers(Level::SnapshotIsolation);
        if direct && !strong {
            continue;
        }
        let Some(expected) = twin.level(level) else {
            continue;
        };
        let told = analysis.standing(level);
        open += usize::from(told == Standing::Open);
        let agrees = match told {
            Standing::Holds => expected,
            Standing::Violated => !expected,
            Standing::Open => true,
        };
        assert!(
            agrees,
            "round {round}: {level} is {told:?}, by definition {expected}\n{}\n{:?}",
            show(txns),
            analysis.findings.counts()
        );
    }
    open
}

#[test]
fn lists_agree_with_the_definitions() {
    let (seed, rounds) = seed_and_rounds(20_000);
    let (mut open, mut broken) = (0, 0);
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let txns = history(&mut rng);
        let table = table(&txns, Data::Lists);
        let analysis = analyze(&table, &Limits::default());
        assert_eq!(analysis.unknown, None, "round {round}");
        open += compare_levels(&txns, Data::Lists, &analysis, round);
        broken += u64::from(analysis.standing(Level::StrictSerializable) == Standing::Violated);
        if !analysis
            .findings
            .counts()
            .iter()
            .any(|(kind, _)| is_direct(*kind))
        {
            compare_cycles(&txns, &analysis, round);
        }
    }
    println!("{rounds} histories, {broken} not strict serializable, {open} levels left open");
    assert!(
        broken > rounds / 10 && broken < rounds * 9 / 10,
        "the histories are lopsided"
    );
}

fn compare_cycles(txns: &[Txn], analysis: &Analysis, round: u64) {
    let mut lists: Vec<Vec<u64>> = vec![Vec::new(); KEYS];
    for op in txns
        .iter()
        .filter(|t| t.status == Status::Committed)
        .flat_map(|t| &t.ops)
    {
        if let Op::Read(key, list) = op
            && list.len() > lists[*key].len()
        {
            lists[*key].clone_from(list);
        }
    }
    let seen = |txn: &Txn| (0..KEYS).any(|k| txn.writes(k).iter().any(|v| lists[k].contains(v)));
    let live: Vec<bool> = txns
        .iter()
        .map(|t| t.status == Status::Committed || (t.status == Status::Unknown && seen(t)))
        .collect();
    let edges = dependencies(txns, &live, &lists);
    let expected = shapes(txns.len(), &edges);
    let mut told: Vec<(Shape, usize)> = Vec::new();
    for anomaly in &analysis.findings.kept {
        let Evidence::Cycle(steps) = &anomaly.evidence else {
            continue;
        };
        for step in steps {
            let (from, to) = (step.from as usize, step.to as usize);
            let holds = match step.because {
                Because::Ww { .. } => edges.contains(&(from, to, 'w')),
                Because::Wr { .. } => edges.contains(&(from, to, 'r')),
                Because::Rw { .. } => edges.contains(&(from, to, 'a')),
                Because::Process => txns[from].process == txns[to].process && from < to,
                Because::Realtime => txns[from].ended() < txns[to].invoked,
                Because::Seen { .. } => false,
            };
            assert!(
                holds,
                "round {round}: {step:?} is no dependency\n{}",
                show(txns)
            );
        }
        if let Kind::Cycle(shape, Order::Data) = anomaly.kind {
            told.push((shape, steps.len()));
        }
    }
    told.sort_unstable();
    told.dedup_by_key(|(shape, _)| *shape);
    assert_eq!(
        told,
        expected,
        "round {round}: shapes and their lengths\n{}",
        show(txns)
    );
}

#[test]
fn registers_agree_with_the_definitions() {
    let (seed, rounds) = seed_and_rounds(20_000);
    let (mut open, mut broken) = (0, 0);
    for round in 0..rounds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(round));
        let txns = history(&mut rng);
        let analysis = analyze(&table(&txns, Data::Registers), &Limits::default());
        assert_eq!(analysis.unknown, None, "round {round}");
        open += compare_levels(&txns, Data::Registers, &analysis, round);
        broken += u64::from(analysis.standing(Level::StrictSerializable) == Standing::Violated);
    }
    println!("{rounds} histories, {broken} not strict serializable, {open} levels left open");
    assert_eq!(open, 0, "levels were left open");
    assert!(broken > rounds / 20, "hardly any history is broken");
}
