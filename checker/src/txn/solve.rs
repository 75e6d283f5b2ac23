//! Levels that need an order of versions which the history does not tell, decided by search.
//!
//! For serializability a transaction is one point of the order, for snapshot isolation two: its start,
//! from which it reads, and its commit. An edge of the dependency graph is an edge between points
//! (only an anti-dependency lets the reader's start stand before the writer's commit, and no more);
//! two writes of one key whose order is open are a choice, see [`polygraph`](super::polygraph).
//!
//! Nobody read a list's appends whose order is open, so a choice binds only the two that made them. When
//! these are not in one component of the graph, the order of the components settles it: to put one
//! component after the other satisfies every edge between them, whatever is chosen within. So of lists
//! only the components are searched.

use hashbrown::HashSet;

use super::analysis::Limits;
use super::anomaly::{Findings, Kind as Anomaly};
use super::certificate::{Event, replays};
use super::component::Components;
use super::graph::{Edge, Graph, Mask};
use super::level::Level;
use super::polygraph::{Link, Pairs, Solved, solve};
use super::register::{self, Assume};
use super::rows::Rows;
use super::table::{Data, Kind, Status, Table};
use super::witness::Witness;
use super::work::{Stop, Watch, Work};
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

impl Limits {
    /// The bounds of a search among so many transactions.
    pub(crate) fn bounds(&self, txns: usize, watch: Watch) -> Bounds {
        Bounds {
            work: self.work + 100 * txns as u64,
            watch,
            choices: self.choices,
        }
    }
}

/// What a search may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Edges followed.
    pub(crate) work: u64,
    pub(crate) watch: Watch,
    /// Pairs of writes whose order is open.
    pub(crate) choices: usize,
}

/// What came of a search.
pub(crate) enum Searched {
    /// The level holds: this is its certificate, replayed.
    Proven(Vec<Event>),
    /// The level does not hold.
    Refuted,
    /// It could not be decided, because of this.
    Exhausted(String),
}

/// Of lists: the order of versions, and the graph of all dependencies with its components.
pub(crate) type Lists<'a> = (&'a Rows, &'a Graph, &'a Components);

/// Looks for an order of the transactions that satisfies a level. Of registers more is known of the
/// order of versions and of the graph when the level is taken for granted.
pub(crate) fn search(
    table: &Table,
    writes: &Writes,
    lists: Option<Lists>,
    level: Level,
    bounds: Bounds,
) -> Result<Searched, Stop> {
    let real_time = level.covers(Level::StrongSnapshotIsolation);
    let sessions = level.covers(Level::StrongSessionSnapshotIsolation);
    let mut mask = Mask::DATA;
    if sessions {
        mask = mask.and(Mask::PROCESS);
    }
    if real_time {
        mask = mask.and(Mask::REALTIME);
    }
    let mut watch = bounds.watch;
    let assumed;
    let (order, graph) = if let Some((order, graph, _)) = lists {
        (order, graph)
    } else {
        let assume = Assume {
            sequential_keys: sessions,
            linearizable_keys: real_time,
        };
        let mut findings = Findings::default();
        let order = register::order(table, writes, assume, &mut findings, watch)?;
        if findings.has(Anomaly::CyclicVersions) {
            return Ok(Searched::Refuted);
        }
        watch = watch.holding(order.memory())?;
        let graph = Graph::of(table, writes, &order, watch)?;
        watch = watch.holding(graph.memory())?;
        assumed = (order, graph);
        (&assumed.0, &assumed.1)
    };
    watch = watch.holding(graph.len() * SCOPE_BYTES)?;
    let parts = match lists {
        Some((_, _, all)) => all.refined(graph, mask, watch)?,
        None => Components::whole(graph.len()),
    };
    let points = Points {
        snapshots: !level.covers(Level::Serializable),
        scope: &Scope::of(parts),
    };
    if lists.is_none() {
        watch.memory(graph.links() * EDGE_BYTES)?;
    }
    let edges = points.edges(graph, mask);
    let witness = Witness {
        table,
        writes,
        order,
    };
    let nodes = points.count();
    let watch = watch.holding(edges.len() * EDGE_BYTES + nodes * NODE_BYTES)?;
    let most = bounds.choices.min(watch.free() / PAIR_BYTES);
    let Some(open) = Open::of(witness, points, real_time, most, watch)? else {
        return Ok(Searched::Exhausted(format!(
            "the order of more than {most} pairs of writes is open"
        )));
    };
    Ok(
        match solve(nodes, &edges, &open, Work::new(bounds.work, watch)) {
            Solved::Order(order) => {
                let events = points.events(&order, graph, writes);
                if replays(table, writes, &events, level, watch)? {
                    Searched::Proven(events)
                } else {
                    let fault = "an order was found that does not replay: a fault of the checker";
                    debug_assert!(false, "{fault}");
                    Searched::Exhausted(fault.into())
                }
            }
            Solved::None => Searched::Refuted,
            Solved::Exhausted => {
                watch.time()?;
                Searched::Exhausted(format!(
                    "the order of {} pairs of writes is open, and {} steps of search did not settle it",
                    open.len(),
                    bounds.work
                ))
            }
        },
    )
}

/// What the search holds, roughly: of each edge twice in rows and twice in pairs that may grow, of each
/// node its places and marks, of each pair itself, its choice and its edges.
const EDGE_BYTES: usize = 32;
/// Of each node of the graph: its component, its places in the order and in the search.
const SCOPE_BYTES: usize = 16;
const NODE_BYTES: usize = 48;
const PAIR_BYTES: usize = 80;

/// What is searched: the components of more than one node, their nodes numbered without gaps.
struct Scope {
    parts: Components,
    numbers: Vec<u32>,
    nodes: Vec<u32>,
}

impl Scope {
    fn of(parts: Components) -> Self {
        let nodes: Vec<u32> = parts.members.iter().flatten().copied().collect();
        let mut numbers = vec![0; parts.finished.len()];
        for (number, node) in (0..).zip(&nodes) {
            numbers[*node as usize] = number;
        }
        Self {
            parts,
            numbers,
            nodes,
        }
    }
}

/// How nodes of the dependency graph become points of the order.
#[derive(Clone, Copy)]
struct Points<'a> {
    snapshots: bool,
    scope: &'a Scope,
}

impl Points<'_> {
    fn count(self) -> usize {
        let nodes = self.scope.nodes.len();
        if self.snapshots { 2 * nodes } else { nodes }
    }

    fn number(self, node: u32) -> u32 {
        self.scope.numbers[node as usize]
    }

    /// "All of `a` is before all of `b`."
    fn before(self, a: u32, b: u32) -> Link {
        let (a, b) = (self.number(a), self.number(b));
        if self.snapshots {
            (2 * a + 1, 2 * b)
        } else {
            (a, b)
        }
    }

    /// "What `a` read is before what `b` wrote."
    fn anti(self, a: u32, b: u32) -> Link {
        let (a, b) = (self.number(a), self.number(b));
        if self.snapshots {
            (2 * a, 2 * b + 1)
        } else {
            (a, b)
        }
    }

    /// The edges of the kinds in `mask`, within the parts.
    fn edges(self, graph: &Graph, mask: Mask) -> Vec<Link> {
        let mut edges = Vec::new();
        for (number, &node) in (0..).zip(&self.scope.nodes) {
            if self.snapshots && node < graph.txns {
                edges.push((2 * number, 2 * number + 1));
            }
            let within =
                |&(edge, to): &(Edge, u32)| mask.has(edge) && self.scope.parts.together(node, to);
            for (edge, to) in graph.edges(node).filter(within) {
                match edge {
                    Edge::Rw => edges.push(self.anti(node, to)),
                    Edge::Through if self.snapshots => {
                        let to = self.number(to);
                        edges.extend([(2 * number, 2 * to), (2 * number + 1, 2 * to + 1)]);
                    }
                    Edge::Through => edges.push((number, self.number(to))),
                    _ => edges.push(self.before(node, to)),
                }
            }
        }
        edges
    }

    /// The events of all: what was searched in the order that was found, part by part.
    fn events(self, found: &[u32], graph: &Graph, writes: &Writes) -> Vec<Event> {
        let Scope { parts, nodes, .. } = self.scope;
        let mut within: Vec<Vec<u32>> = vec![Vec::new(); parts.members.len()];
        for &point in found {
            let number = if self.snapshots { point / 2 } else { point };
            let part = parts.part(nodes[number as usize]);
            within[part.expect("it was searched") as usize].push(point);
        }
        let mut events = Vec::with_capacity(2 * graph.txns as usize);
        let is_live = |node: u32| node < graph.txns && writes.is_live(node);
        for &node in parts.finished.iter().rev() {
            let Some(part) = parts.part(node) else {
                if is_live(node) {
                    events.extend([Event::Start(node), Event::Commit(node)]);
                }
                continue;
            };
            // All of a part is told where the first of it stands.
            for point in std::mem::take(&mut within[part as usize]) {
                let number = if self.snapshots { point / 2 } else { point };
                let txn = nodes[number as usize];
                match (is_live(txn), self.snapshots, point % 2) {
                    (false, ..) => {}
                    (true, false, _) => events.extend([Event::Start(txn), Event::Commit(txn)]),
                    (true, true, 0) => events.push(Event::Start(txn)),
                    (true, true, _) => events.push(Event::Commit(txn)),
                }
            }
        }
        events
    }
}

/// A write that others of its key may come before or after: the last of its transaction.
struct Write {
    version: u32,
    writer: u32,
    /// When the first that wrote or read it had ended, and when the last began.
    first_end: u32,
    last_begin: u32,
}

/// The pairs of writes whose order is open.
struct Open<'a> {
    points: Points<'a>,
    writes: Vec<Write>,
    /// Who read each of the writes.
    readers: Rows,
    pairs: Vec<(u32, u32)>,
}

impl Pairs for Open<'_> {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn links(&self, pair: usize, second_first: bool, each: &mut dyn FnMut(Link)) {
        let (mut first, mut second) = self.pairs[pair];
        if second_first {
            (first, second) = (second, first);
        }
        let writer = |write: u32| self.writes[write as usize].writer;
        let (one, other) = (writer(first), writer(second));
        each(self.points.before(one, other));
        for &reader in self.readers.row(first) {
            if reader != other && reader != one {
                each(self.points.anti(reader, other));
            }
        }
    }
}

impl<'a> Open<'a> {
    /// The open pairs, in order of time. None when there are more than `most`.
    fn of(
        witness: Witness,
        points: Points<'a>,
        real_time: bool,
        most: usize,
        watch: Watch,
    ) -> Result<Option<Self>, Stop> {
        let (writes, readers) = last_writes(witness);
        let mut open = Self {
            points,
            readers: Rows::of(writes.len(), &readers),
            writes,
            pairs: Vec::new(),
        };
        let mut keys: Vec<Vec<u32>> = vec![Vec::new(); witness.table.keys()];
        for (place, write) in open.writes.iter().enumerate() {
            if points.scope.parts.part(write.writer).is_none() {
                continue;
            }
            keys[witness.table.key_of(write.version) as usize].push(place as u32);
        }
        for (key, mut places) in keys.into_iter().enumerate() {
            watch.round(key as u32)?;
            places.sort_unstable_by_key(|&place| open.writes[place as usize].last_begin);
            let fits = if real_time {
                open.near(&places, most)
            } else {
                open.unordered(&places, witness.order, most)
            };
            if fits.is_none() {
                return Ok(None);
            }
        }
        let when = |&(_, second): &(u32, u32)| open.writes[second as usize].last_begin;
        open.pairs.sort_by_key(when);
        Ok(Some(open))
    }

    fn push(&mut self, first: u32, second: u32, most: usize) -> Option<()> {
        let writer = |write: u32| self.writes[write as usize].writer;
        if (self.points.scope.parts).together(writer(first), writer(second)) {
            self.pairs.push((first, second));
        }
        (self.pairs.len() <= most).then_some(())
    }

    /// The pairs of one key that real time leaves open: whoever had ended before another was last met
    /// is known to be earlier.
    fn near(&mut self, places: &[u32], most: usize) -> Option<()> {
        let mut near: Vec<u32> = Vec::new();
        for &second in places {
            let began = self.writes[second as usize].last_begin;
            near.retain(|&first| self.writes[first as usize].first_end >= began);
            for &first in &near {
                self.push(first, second, most)?;
            }
            near.push(second);
        }
        Some(())
    }

    /// The pairs of one key of which neither is known to be later.
    fn unordered(&mut self, places: &[u32], order: &Rows, most: usize) -> Option<()> {
        if places.len().checked_mul(places.len())? > most.saturating_mul(4) {
            return None;
        }
        let known: Vec<HashSet<u32>> = places
            .iter()
            .map(|&place| later(self.writes[place as usize].version, order))
            .collect();
        let version = |at: usize| self.writes[places[at] as usize].version;
        let mut open = Vec::new();
        for second in 0..places.len() {
            let is_open = |first: &usize| {
                !known[*first].contains(&version(second))
                    && !known[second].contains(&version(*first))
            };
            open.extend((0..second).filter(is_open).map(|first| (first, second)));
        }
        for (first, second) in open {
            self.push(places[first], places[second], most)?;
        }
        Some(())
    }
}

/// The versions that are known to be later than one.
fn later(version: u32, order: &Rows) -> HashSet<u32> {
    let mut seen = HashSet::new();
    let mut stack = vec![version];
    while let Some(at) = stack.pop() {
        let next = order.row(at).iter();
        stack.extend(next.filter(|next| seen.insert(**next)));
    }
    seen
}

/// The writes whose place is open, and pairs of (write, reader).
fn last_writes(witness: Witness) -> (Vec<Write>, Vec<(u32, u32)>) {
    const NOWHERE: u32 = u32::MAX;
    let Witness { table, writes, .. } = witness;
    let mut found: Vec<Write> = Vec::new();
    let mut places = vec![NOWHERE; table.versions()];
    let live = || (0..table.len() as u32).filter(|&txn| writes.is_live(txn));
    for txn in live() {
        for version in table.ops(txn).iter().filter_map(|op| op.written()) {
            let listed = table.data() == Data::Lists && table.is_listed(version);
            if writes.is_intermediate(version) || listed {
                continue;
            }
            places[version as usize] = found.len() as u32;
            found.push(Write {
                version,
                writer: txn,
                first_end: table.completed(txn),
                last_begin: table.invoked(txn),
            });
        }
    }
    let mut readers = Vec::new();
    for txn in live().filter(|&txn| table.status(txn) == Status::Committed) {
        for op in table.ops(txn).iter().filter(|op| op.kind == Kind::Read) {
            let place = places[table.observed(*op) as usize];
            if let Some(write) = found.get_mut(place as usize) {
                write.first_end = write.first_end.min(table.completed(txn));
                write.last_begin = write.last_begin.max(table.invoked(txn));
                readers.push((place, txn));
            }
        }
    }
    (found, readers)
}
