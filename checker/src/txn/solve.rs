//! Levels that need an order of versions which the history does not tell, decided by search.
//!
//! For serializability a transaction is one point of the order, for snapshot isolation two: its start,
//! from which it reads, and its commit. An edge of the dependency graph is an edge between points
//! (only an anti-dependency lets the reader's start stand before the writer's commit, and no more);
//! two writes of one key whose order is open are a choice, see [`polygraph`](super::polygraph).

use hashbrown::{HashMap, HashSet};

use super::anomaly::{Findings, Kind as Anomaly};
use super::certificate::{Event, replays};
use super::graph::{Edge, Graph};
use super::level::Level;
use super::polygraph::{Choice, Solved, solve};
use super::register::{self, Assume};
use super::table::{Data, Kind, Status};
use super::witness::Witness;
use super::work::Work;
use super::writes::Writes;

/// The levels that a search can decide, stronger ones first.
pub(crate) const SEARCHED: [Level; 6] = [
    Level::StrictSerializable,
    Level::StrongSessionSerializable,
    Level::Serializable,
    Level::StrongSnapshotIsolation,
    Level::StrongSessionSnapshotIsolation,
    Level::SnapshotIsolation,
];

/// What a search may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Edges followed.
    pub(crate) work: Work,
    /// Pairs of writes whose order is open.
    pub(crate) choices: usize,
}

/// What came of a search.
pub(crate) enum Searched {
    /// The level holds: this is its certificate, replayed.
    Proven(Vec<Event>),
    /// The level does not hold.
    Refuted,
    /// The bounds were reached first.
    Exhausted,
}

/// Looks for an order of the transactions that satisfies a level.
pub(crate) fn search(witness: Witness, level: Level, bounds: Bounds) -> Searched {
    let Witness { table, writes, .. } = witness;
    let real_time = level.covers(Level::StrongSnapshotIsolation);
    let sessions = level.covers(Level::StrongSessionSnapshotIsolation);
    let assume = Assume {
        sequential_keys: sessions,
        linearizable_keys: real_time,
    };
    let better;
    let order = match table.data() {
        Data::Lists => witness.order,
        Data::Registers => {
            let mut findings = Findings::default();
            better = register::order(table, writes, assume, &mut findings);
            if findings.has(Anomaly::CyclicVersions) {
                return Searched::Refuted;
            }
            &better
        }
    };
    let graph = Graph::of(table, writes, order);
    let points = Points {
        snapshots: !level.covers(Level::Serializable),
    };
    let edges = points.edges(&graph, |edge| match edge {
        Edge::Process => sessions,
        Edge::Realtime => real_time,
        _ => true,
    });
    let witness = Witness { order, ..witness };
    let Some(choices) = Open::of(witness, real_time).choices(points, bounds.choices) else {
        return Searched::Exhausted;
    };
    match solve(points.count(graph.len()), &edges, &choices, bounds.work) {
        Solved::Order(order) => {
            let events = points.events(&order, &graph, writes);
            if replays(table, writes, &events, level) {
                Searched::Proven(events)
            } else {
                debug_assert!(
                    false,
                    "an order was found that does not explain the history"
                );
                Searched::Exhausted
            }
        }
        Solved::None => Searched::Refuted,
        Solved::Exhausted => Searched::Exhausted,
    }
}

/// How nodes of the dependency graph become points of the order.
#[derive(Clone, Copy)]
struct Points {
    snapshots: bool,
}

impl Points {
    fn count(self, nodes: usize) -> usize {
        if self.snapshots { 2 * nodes } else { nodes }
    }

    /// "All of `a` is before all of `b`."
    fn before(self, a: u32, b: u32) -> (u32, u32) {
        if self.snapshots {
            (2 * a + 1, 2 * b)
        } else {
            (a, b)
        }
    }

    /// "What `a` read is before what `b` wrote."
    fn anti(self, a: u32, b: u32) -> (u32, u32) {
        if self.snapshots {
            (2 * a, 2 * b + 1)
        } else {
            (a, b)
        }
    }

    fn edges(self, graph: &Graph, follows: impl Fn(Edge) -> bool) -> Vec<(u32, u32)> {
        let mut edges = Vec::new();
        for node in 0..graph.len() as u32 {
            if self.snapshots && node < graph.txns {
                edges.push((2 * node, 2 * node + 1));
            }
            for (edge, to) in graph.edges(node).filter(|(edge, _)| follows(*edge)) {
                match edge {
                    Edge::Rw => edges.push(self.anti(node, to)),
                    Edge::Through if self.snapshots => {
                        edges.extend([(2 * node, 2 * to), (2 * node + 1, 2 * to + 1)]);
                    }
                    Edge::Through => edges.push((node, to)),
                    _ => edges.push(self.before(node, to)),
                }
            }
        }
        edges
    }

    fn events(self, order: &[u32], graph: &Graph, writes: &Writes) -> Vec<Event> {
        let is_live = |txn: u32| txn < graph.txns && writes.is_live(txn);
        let mut events = Vec::with_capacity(2 * order.len());
        for &point in order {
            if !self.snapshots && is_live(point) {
                events.extend([Event::Start(point), Event::Commit(point)]);
            } else if self.snapshots && is_live(point / 2) {
                let txn = point / 2;
                events.push(if point % 2 == 0 {
                    Event::Start(txn)
                } else {
                    Event::Commit(txn)
                });
            }
        }
        events
    }
}

/// A write that others of its key may come before or after.
struct Write {
    version: u32,
    /// When the first that wrote or read it had ended, and when the last began.
    first_end: u32,
    last_begin: u32,
    readers: Vec<u32>,
}

/// The last writes of each transaction and key, by key.
struct Open<'a> {
    witness: Witness<'a>,
    real_time: bool,
    keys: Vec<Vec<Write>>,
}

impl<'a> Open<'a> {
    fn of(witness: Witness<'a>, real_time: bool) -> Self {
        let Witness { table, writes, .. } = witness;
        let mut keys: Vec<Vec<Write>> = Vec::new();
        keys.resize_with(table.keys(), Vec::new);
        let mut places: HashMap<u32, usize> = HashMap::new();
        let live = || (0..table.len() as u32).filter(|&txn| writes.is_live(txn));
        for txn in live() {
            for op in table.ops(txn) {
                let Some(version) = op.written() else {
                    continue;
                };
                let listed = table.data() == Data::Lists && table.is_listed(version);
                if writes.is_intermediate(version) || listed {
                    continue;
                }
                let of_key = &mut keys[op.key as usize];
                places.insert(version, of_key.len());
                let (first_end, last_begin) = (table.completed(txn), table.invoked(txn));
                of_key.push(Write {
                    version,
                    first_end,
                    last_begin,
                    readers: Vec::new(),
                });
            }
        }
        for txn in live().filter(|&txn| table.status(txn) == Status::Committed) {
            for op in table.ops(txn).iter().filter(|op| op.kind == Kind::Read) {
                let Some(&place) = places.get(&table.observed(*op)) else {
                    continue;
                };
                let write = &mut keys[op.key as usize][place];
                write.first_end = write.first_end.min(table.completed(txn));
                write.last_begin = write.last_begin.max(table.invoked(txn));
                write.readers.push(txn);
            }
        }
        Self {
            witness,
            real_time,
            keys,
        }
    }

    /// The pairs whose order is open. None when there are more than `most`.
    fn choices(mut self, points: Points, most: usize) -> Option<Vec<Choice>> {
        let mut choices = Vec::new();
        for mut writes in std::mem::take(&mut self.keys) {
            writes.sort_unstable_by_key(|write| write.last_begin);
            let known = if self.real_time {
                None
            } else {
                Some(self.later(&writes, most)?)
            };
            let mut near: Vec<usize> = Vec::new();
            for second in 0..writes.len() {
                if self.real_time {
                    // Whoever had ended before this one was last met is known to be earlier.
                    near.retain(|&first| writes[first].first_end >= writes[second].last_begin);
                }
                for &first in &near {
                    let is_known = |a: usize, b: usize| {
                        known
                            .as_ref()
                            .is_some_and(|later| later[a].contains(&writes[b].version))
                    };
                    if is_known(first, second) || is_known(second, first) {
                        continue;
                    }
                    if choices.len() == most {
                        return None;
                    }
                    choices.push(self.choice(&writes[first], &writes[second], points));
                }
                near.push(second);
            }
        }
        Some(choices)
    }

    fn choice(&self, first: &Write, second: &Write, points: Points) -> Choice {
        let side = |first: &Write, second: &Write| {
            let writer = |write: &Write| {
                self.witness
                    .writes
                    .writer(write.version)
                    .expect("a write has a writer")
            };
            let (one, other) = (writer(first), writer(second));
            let readers = first
                .readers
                .iter()
                .filter(|&&reader| reader != other && reader != one);
            let mut links = vec![points.before(one, other)];
            links.extend(readers.map(|&reader| points.anti(reader, other)));
            links
        };
        Choice {
            either: side(first, second),
            or: side(second, first),
        }
    }

    /// For each write the versions that are known to be later. None when that takes more than some
    /// multiple of `most` steps.
    fn later(&self, writes: &[Write], most: usize) -> Option<Vec<HashSet<u32>>> {
        if writes.len().checked_mul(writes.len())? > most.saturating_mul(4) {
            return None;
        }
        let later = |write: &Write| {
            let mut seen = HashSet::new();
            let mut stack = vec![write.version];
            while let Some(at) = stack.pop() {
                let next = self.witness.order.row(at).iter();
                stack.extend(next.filter(|next| seen.insert(**next)));
            }
            seen
        };
        Some(writes.iter().map(later).collect())
    }
}
