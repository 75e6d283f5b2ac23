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
use super::order::Order;
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
pub(crate) type Lists<'a> = (&'a Order<'a>, &'a Graph, &'a Components);

/// Looks for an order of the transactions that satisfies a level. Of registers more is known of the
/// order of versions and of the graph when the level is taken for granted.
pub(crate) fn search(
    table: &Table,
    writes: &Writes,
    lists: Option<Lists>,
    level: Level,
    bounds: Bounds,
) -> Result<Searched, Stop> {
    let mut mask = Mask::DATA;
    if level.covers(Level::StrongSessionSnapshotIsolation) {
        mask = mask.and(Mask::PROCESS);
    }
    if level.covers(Level::StrongSnapshotIsolation) {
        mask = mask.and(Mask::REALTIME);
    }
    let scope;
    let posed = if let Some((order, graph, all)) = lists {
        scope = Scope::of(all.refined(graph, mask, bounds.watch)?);
        let witness = Witness {
            table,
            writes,
            order,
        };
        Question::pose(witness, graph, &scope, level, mask, bounds)?
    } else {
        let Some((order, graph)) = infer(table, writes, level, mask, bounds.watch)? else {
            return Ok(Searched::Refuted);
        };
        let held = order.memory() + graph.memory() + graph.len() * SCOPE_BYTES;
        let watch = bounds.watch.holding(held)?;
        scope = Scope::of(Components::whole(graph.len()));
        let witness = Witness {
            table,
            writes,
            order: &order,
        };
        Question::pose(
            witness,
            &graph,
            &scope,
            level,
            mask,
            Bounds { watch, ..bounds },
        )?
    };
    match posed {
        Ok(question) => question.answer(table, writes, level, bounds),
        Err(reason) => Ok(Searched::Exhausted(reason)),
    }
}

/// The order of a register's versions and the graph, when a level is taken for granted; none when that
/// contradicts itself.
fn infer<'a>(
    table: &'a Table,
    writes: &'a Writes,
    level: Level,
    mask: Mask,
    watch: Watch,
) -> Result<Option<(Order<'a>, Graph)>, Stop> {
    let assume = Assume {
        sequential_keys: level.covers(Level::StrongSessionSnapshotIsolation),
        linearizable_keys: level.covers(Level::StrongSnapshotIsolation),
    };
    let mut findings = Findings::default();
    let order = register::order(table, writes, assume, &mut findings, watch)?;
    if findings.has(Anomaly::CyclicVersions) {
        return Ok(None);
    }
    let watch = watch.holding(order.memory())?;
    let order = Order::Inferred(order);
    let witness = Witness {
        table,
        writes,
        order: &order,
    };
    let graph = Graph::of(witness, None, mask, watch)?;
    Ok(Some((order, graph)))
}

/// What is asked of the search: the points, what is known of their order, and what is open.
struct Question<'a> {
    edges: Vec<Link>,
    open: Open<'a>,
}

impl<'a> Question<'a> {
    /// Poses the question; or tells why it is too large.
    fn pose(
        witness: Witness,
        graph: &Graph,
        scope: &'a Scope,
        level: Level,
        mask: Mask,
        bounds: Bounds,
    ) -> Result<Result<Self, String>, Stop> {
        let points = Points {
            snapshots: !level.covers(Level::Serializable),
            txns: graph.txns,
            scope,
        };
        let edges = points.edges(graph, mask, bounds.watch)?;
        // A transaction has a handful of writes.
        let writes = witness.table.values().min(8 * scope.nodes.len());
        let held = edges.capacity() * size_of::<Link>() + writes * WRITE_BYTES;
        let watch = bounds.watch.holding(held)?;
        let most = bounds.choices.min(watch.free() / PAIR_BYTES);
        let real_time = mask.has(Edge::Realtime);
        let open = Open::of(witness, points, real_time, most, watch)?;
        let too_large = || format!("the order of more than {most} pairs of writes is open");
        Ok(open.map(|open| Self { edges, open }).ok_or_else(too_large))
    }

    /// Searches, and replays what is found.
    fn answer(
        self,
        table: &Table,
        writes: &Writes,
        level: Level,
        bounds: Bounds,
    ) -> Result<Searched, Stop> {
        let Self { edges, open } = self;
        let nodes = open.points.count();
        let scope = open.points.scope.parts.nodes() * SCOPE_BYTES;
        let ends = open.writes.len() * WRITE_BYTES;
        let held = scope + edges.len() * EDGE_BYTES + nodes * NODE_BYTES + ends;
        let watch = bounds.watch.holding(held + open.len() * PAIR_BYTES)?;
        Ok(
            match solve(nodes, edges, &open, Work::new(bounds.work, watch)) {
                Solved::Order(order) => {
                    let events = open.points.events(&order, writes);
                    if replays(table, writes, &events, level, watch)? {
                        Searched::Proven(events)
                    } else {
                        let fault =
                            "an order was found that does not replay: a fault of the checker";
                        debug_assert!(false, "{fault}");
                        Searched::Exhausted(fault.into())
                    }
                }
                Solved::None => Searched::Refuted,
                Solved::Exhausted(Some(stop)) => return Err(stop),
                Solved::Exhausted(None) => Searched::Exhausted(format!(
                    "the order of {} pairs of writes is open, and {} steps of search did not settle it",
                    open.len(),
                    bounds.work
                )),
            },
        )
    }
}

/// What the search holds: of each edge itself and twice in rows.
const EDGE_BYTES: usize = 16;
/// Of each node of the graph: its component, its places in the order and in the search; of those searched
/// their rows, places and marks.
const SCOPE_BYTES: usize = 20;
const NODE_BYTES: usize = 40;
/// Of each write whose place is open: itself, its key and its readers, in lists that may grow.
const WRITE_BYTES: usize = 64;
/// Of each pair itself, its choice and its edges, in lists that may grow.
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
        let mut numbers = vec![0; parts.nodes()];
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
    /// Nodes below this are transactions.
    txns: u32,
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
    fn edges(self, graph: &Graph, mask: Mask, watch: Watch) -> Result<Vec<Link>, Stop> {
        let most = if self.scope.nodes.len() < graph.len() {
            0 // few
        } else {
            graph.links() + if self.snapshots { graph.len() } else { 0 }
        };
        watch.memory(most * size_of::<Link>())?;
        let mut edges = Vec::with_capacity(most);
        for (number, &node) in (0..).zip(&self.scope.nodes) {
            if self.snapshots && node < self.txns {
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
        Ok(edges)
    }

    /// The events of all: what was searched in the order that was found, part by part.
    fn events(self, found: &[u32], writes: &Writes) -> Vec<Event> {
        let Scope { parts, nodes, .. } = self.scope;
        let mut within: Vec<Vec<u32>> = vec![Vec::new(); parts.members.len()];
        for &point in found {
            let number = if self.snapshots { point / 2 } else { point };
            let part = parts.part(nodes[number as usize]);
            within[part.expect("it was searched") as usize].push(point);
        }
        let mut events = Vec::with_capacity(2 * self.txns as usize);
        let is_live = |node: u32| node < self.txns && writes.is_live(node);
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
        let (writes, readers) = last_writes(witness, points.scope);
        let key_of = |write: &Write| witness.table.key_of(write.version);
        let keys: Vec<u32> = writes.iter().map(key_of).collect();
        let mut open = Self {
            points,
            readers: Rows::of(writes.len(), &readers),
            writes,
            pairs: Vec::new(),
        };
        let mut places: Vec<u32> = (0..open.writes.len() as u32).collect();
        places.sort_unstable_by_key(|&place| {
            let place = place as usize;
            (keys[place], open.writes[place].last_begin)
        });
        let same = |one: &u32, other: &u32| keys[*one as usize] == keys[*other as usize];
        for (round, places) in (0..).zip(places.chunk_by(same)) {
            watch.round(round)?;
            let fits = if real_time {
                open.near(places, most)
            } else {
                open.unordered(places, witness.order, most)
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
    fn unordered(&mut self, places: &[u32], order: &Order, most: usize) -> Option<()> {
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
fn later(version: u32, order: &Order) -> HashSet<u32> {
    let mut seen = HashSet::new();
    let mut stack = vec![version];
    while let Some(at) = stack.pop() {
        let next = order.next(at).iter();
        stack.extend(next.filter(|next| seen.insert(**next)));
    }
    seen
}

/// The writes of the scope whose place is open, and pairs of (write, reader).
fn last_writes(witness: Witness, scope: &Scope) -> (Vec<Write>, Vec<(u32, u32)>) {
    const NOWHERE: u32 = u32::MAX;
    let Witness { table, writes, .. } = witness;
    let is_live = |txn: &u32| (*txn as usize) < table.len() && writes.is_live(*txn);
    let txns = || scope.nodes.iter().copied().filter(is_live);
    let mut found: Vec<Write> = Vec::new();
    for txn in txns() {
        for version in table.ops(txn).iter().filter_map(|op| op.written()) {
            let listed = table.data() == Data::Lists && table.is_listed(version);
            if writes.is_intermediate(version) || listed {
                continue;
            }
            found.push(Write {
                version,
                writer: txn,
                first_end: table.completed(txn),
                last_begin: table.invoked(txn),
            });
        }
    }
    let mut readers = Vec::new();
    if table.data() == Data::Lists {
        return (found, readers); // nobody read what is not listed
    }
    let mut places = vec![NOWHERE; table.versions()];
    for (place, write) in (0..).zip(&found) {
        places[write.version as usize] = place;
    }
    for txn in txns().filter(|&txn| table.status(txn) == Status::Committed) {
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
