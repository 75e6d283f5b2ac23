//! The graph of dependencies between transactions.
//!
//! Nodes are the transactions that took effect. Three kinds of helper nodes keep the graph linear in
//! the history: a *hub* stands for "all versions next after this one" when there are several, the *rungs*
//! of a ladder for the first of them and for the last, as who wrote one of them goes before all others; and
//! a *barrier* stands for "all that had ended by now", so that real time costs three edges a transaction
//! instead of one for each pair.

use hashbrown::HashMap;

use super::component::Components;
use super::rows::Rows;
use super::table::{NEVER, Status};
use super::witness::Witness;
use super::work::{Stop, Watch};

/// What an edge stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Edge {
    /// Overwrote.
    Ww,
    /// Was read by.
    Wr,
    /// Read what was overwritten by: an anti-dependency.
    Rw,
    /// Came before it in one process.
    Process,
    /// Had ended before it began.
    Realtime,
    /// Goes on, from a helper node, what the edge into the node began.
    Through,
}

impl Edge {
    const ALL: [Self; 6] = [
        Self::Ww,
        Self::Wr,
        Self::Rw,
        Self::Process,
        Self::Realtime,
        Self::Through,
    ];

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of edge kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mask(u32);

impl Mask {
    pub(crate) const WW: Self = Self(Edge::Ww.bit() | Edge::Through.bit());
    pub(crate) const WR: Self = Self(Edge::Wr.bit());
    pub(crate) const RW: Self = Self(Edge::Rw.bit() | Edge::Through.bit());
    pub(crate) const PROCESS: Self = Self(Edge::Process.bit());
    pub(crate) const REALTIME: Self = Self(Edge::Realtime.bit() | Edge::Through.bit());
    pub(crate) const WRITES: Self = Self::WW.and(Self::WR);
    pub(crate) const DATA: Self = Self::WRITES.and(Self::RW);
    pub(crate) const ALL: Self = Self::DATA.and(Self::PROCESS).and(Self::REALTIME);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, edge: Edge) -> bool {
        self.0 & edge.bit() != 0
    }
}

const KIND_BITS: u32 = 3;
/// Up to so many versions next after one cost fewer edges by themselves than with a ladder.
const FEW: usize = 2;
/// Transactions between two looks at the memory and the clock.
const WEIGH_EVERY: u32 = 1 << 10;

/// The graph: nodes below `txns` are transactions, the others helpers.
#[derive(Debug)]
pub(crate) struct Graph {
    rows: Rows,
    pub(crate) txns: u32,
}

impl Graph {
    /// Builds the graph of a history, of edges in `mask`; when parts are given, only within each of them.
    pub(crate) fn of(
        witness: Witness,
        parts: Option<&Components>,
        mask: Mask,
        watch: Watch,
    ) -> Result<Self, Stop> {
        let (table, writes) = (witness.table, witness.writes);
        let mut builder = Builder {
            witness,
            parts,
            mask,
            edges: Vec::new(),
            hubs: HashMap::new(),
            ladders: HashMap::new(),
            nodes: table.len() as u32,
            watch,
        };
        if let Some(parts) = parts {
            for part in &parts.members {
                let mut txns = part.clone();
                txns.sort_unstable();
                builder.part(&txns)?;
            }
        } else {
            let expected = 3 * table.len() + 2 * table.values();
            watch.memory(expected * size_of::<(u32, u32)>())?;
            builder.edges.reserve(expected);
            let live = |txn: &u32| writes.is_live(*txn);
            let all: Vec<u32> = (0..table.len() as u32).filter(live).collect();
            builder.part(&all)?;
        }
        let (nodes, edges) = (builder.nodes as usize, &builder.edges);
        watch
            .memory(edges.capacity() * size_of::<(u32, u32)>() + Rows::bytes(nodes, edges.len()))?;
        Ok(Self {
            rows: Rows::of(nodes, edges),
            txns: table.len() as u32,
        })
    }

    /// The number of nodes, helpers among them.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The number of edges.
    pub(crate) fn links(&self) -> usize {
        self.rows.items()
    }

    /// Where a node's edges start and end; see [`Graph::edge`].
    pub(crate) fn span(&self, node: u32) -> (u32, u32) {
        self.rows.span(node)
    }

    /// An edge's kind and the node it leads to.
    pub(crate) fn edge(&self, at: u32) -> (Edge, u32) {
        let packed = self.rows.item(at);
        (
            Edge::ALL[(packed & ((1 << KIND_BITS) - 1)) as usize],
            packed >> KIND_BITS,
        )
    }

    /// A node's edges.
    pub(crate) fn edges(&self, node: u32) -> impl Iterator<Item = (Edge, u32)> {
        let (start, end) = self.span(node);
        (start..end).map(|at| self.edge(at))
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.rows.memory()
    }
}

struct Builder<'a> {
    witness: Witness<'a>,
    parts: Option<&'a Components>,
    mask: Mask,
    edges: Vec<(u32, u32)>,
    /// Those of the part at hand, by version.
    hubs: HashMap<u32, u32>,
    /// Likewise, their first rungs.
    ladders: HashMap<u32, u32>,
    nodes: u32,
    watch: Watch,
}

impl Builder<'_> {
    fn push(&mut self, from: u32, to: u32, edge: Edge) {
        if from != to {
            self.edges.push((from, to << KIND_BITS | edge as u32));
        }
    }

    /// So many new helper nodes; the first of them.
    fn nodes(&mut self, count: u32) -> u32 {
        let first = self.nodes;
        self.nodes = first.saturating_add(count);
        assert!(
            self.nodes < 1 << (32 - KIND_BITS),
            "too many transactions for one graph"
        );
        first
    }

    /// Adds the edges among transactions, those of one part in order of invocation.
    fn part(&mut self, txns: &[u32]) -> Result<(), Stop> {
        self.hubs.clear();
        self.ladders.clear();
        for (round, &txn) in (0_u32..).zip(txns) {
            if round.is_multiple_of(WEIGH_EVERY) {
                self.watch.time()?;
                let edges = self.edges.capacity() * size_of::<(u32, u32)>();
                self.watch.memory(edges)?;
            }
            self.data(txn);
        }
        if self.mask.has(Edge::Process) {
            self.processes(txns)?;
        }
        if self.mask.has(Edge::Realtime) {
            self.real_time(txns)?;
        }
        Ok(())
    }

    fn data(&mut self, txn: u32) {
        let Witness { table, writes, .. } = self.witness;
        let known = table.status(txn) == Status::Committed;
        for op in table.ops(txn) {
            if let Some(version) = op.written() {
                self.next(txn, version, Edge::Ww);
            } else if known {
                let version = table.observed(*op);
                if writes.live_writer(version) == Some(txn) {
                    continue; // its own write: the edges of the write say all
                }
                if let Some(writer) = self.writer_near(version, txn) {
                    self.push(writer, txn, Edge::Wr);
                }
                if table.fits(*op) {
                    self.next(txn, version, Edge::Rw);
                }
            }
        }
    }

    /// The writer of a version, if it took effect and is of one part with a transaction.
    fn writer_near(&self, version: u32, txn: u32) -> Option<u32> {
        let writer = self.witness.writes.live_writer(version)?;
        let near = |parts: &Components| parts.together(writer, txn);
        self.parts.is_none_or(near).then_some(writer)
    }

    /// Adds edges from a transaction to the writers of the versions next after `version`.
    fn next(&mut self, txn: u32, version: u32, edge: Edge) {
        if !self.mask.has(edge) {
            return;
        }
        let next = self.witness.order.next(version);
        let direct = match self.own_among(txn, version, next) {
            None if next.len() > 1 => {
                let hub = self.hub(txn, version, next);
                self.push(txn, hub, edge);
                &[]
            }
            Some((first, last)) if next.len() > FEW => {
                let (up, down) = self.ladder(txn, version, next);
                if first > 0 {
                    self.push(txn, up + first as u32 - 1, edge);
                }
                if last + 1 < next.len() {
                    self.push(txn, down + last as u32 + 1, edge);
                }
                &next[first..=last]
            }
            _ => next,
        };
        for next in direct {
            if let Some(writer) = self.writer_near(*next, txn) {
                self.push(txn, writer, edge);
            }
        }
    }

    /// The first and the last place among several versions next after one of those that a transaction wrote.
    fn own_among(&self, txn: u32, version: u32, next: &[u32]) -> Option<(usize, usize)> {
        if next.len() < 2 {
            return None;
        }
        debug_assert!(next.is_sorted(), "versions are next by number");
        let table = self.witness.table;
        let key = table.key_of(version);
        let own = table.ops(txn).iter().filter(|op| op.key == key);
        let places = own
            .filter_map(|op| op.written())
            .filter_map(|own| next.binary_search(&own).ok());
        places.fold(None, |known, at| {
            let (first, last) = known.unwrap_or((at, at));
            Some((first.min(at), last.max(at)))
        })
    }

    /// The first rungs of a version's ladder within the part of a transaction. Of those that go up each stands
    /// for the versions next after it up to its place, of those that go down for all from there on.
    fn ladder(&mut self, txn: u32, version: u32, next: &[u32]) -> (u32, u32) {
        let len = next.len() as u32;
        if let Some(&up) = self.ladders.get(&version) {
            return (up, up + len);
        }
        let up = self.nodes(2 * len);
        let down = up + len;
        self.ladders.insert(version, up);
        for (at, next) in (0..).zip(next) {
            if let Some(writer) = self.writer_near(*next, txn) {
                self.push(up + at, writer, Edge::Through);
                self.push(down + at, writer, Edge::Through);
            }
            if at > 0 {
                self.push(up + at, up + at - 1, Edge::Through);
                self.push(down + at - 1, down + at, Edge::Through);
            }
        }
        (up, down)
    }

    /// The hub of a version within the part of a transaction.
    fn hub(&mut self, txn: u32, version: u32, next: &[u32]) -> u32 {
        if let Some(&hub) = self.hubs.get(&version) {
            return hub;
        }
        let hub = self.nodes(1);
        self.hubs.insert(version, hub);
        for next in next {
            if let Some(writer) = self.writer_near(*next, txn) {
                self.push(hub, writer, Edge::Through);
            }
        }
        hub
    }

    fn processes(&mut self, txns: &[u32]) -> Result<(), Stop> {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for (round, &txn) in (0..).zip(txns) {
            self.watch.round(round)?;
            if let Some(before) = last.insert(self.witness.table.process(txn), txn) {
                self.push(before, txn, Edge::Process);
            }
        }
        Ok(())
    }

    fn real_time(&mut self, txns: &[u32]) -> Result<(), Stop> {
        let table = self.witness.table;
        let ended = txns.iter().map(|&txn| (table.completed(txn), txn));
        let mut ended: Vec<(u32, u32)> = ended.filter(|(end, _)| *end != NEVER).collect();
        ended.sort_unstable();
        let mut ended = ended.into_iter().peekable();
        let mut barrier = None;
        for (round, &txn) in (0..).zip(txns) {
            self.watch.round(round)?;
            let began = table.invoked(txn);
            if ended.peek().is_some_and(|(end, _)| *end < began) {
                let next = self.nodes(1);
                if let Some(before) = barrier {
                    self.push(before, next, Edge::Through);
                }
                while let Some((_, before)) = ended.next_if(|(end, _)| *end < began) {
                    self.push(before, next, Edge::Realtime);
                }
                barrier = Some(next);
            }
            if let Some(barrier) = barrier {
                self.push(barrier, txn, Edge::Through);
            }
        }
        Ok(())
    }
}
