//! The graph of dependencies between transactions.
//!
//! Nodes are the transactions that took effect. Two kinds of helper nodes keep the graph linear in
//! the history: a *hub* stands for "all versions next after this one" when there are several, and a
//! *barrier* stands for "all that had ended by now", so that real time costs three edges a
//! transaction instead of one for each pair.

use hashbrown::HashMap;

use super::rows::Rows;
use super::table::{NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

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

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, edge: Edge) -> bool {
        self.0 & edge.bit() != 0
    }
}

const KIND_BITS: u32 = 3;

/// The graph: nodes below `txns` are transactions, the others helpers.
#[derive(Debug)]
pub(crate) struct Graph {
    rows: Rows,
    pub(crate) txns: u32,
}

impl Graph {
    /// Builds the graph of a history from each version's next versions.
    pub(crate) fn of(
        table: &Table,
        writes: &Writes,
        order: &Rows,
        watch: Watch,
    ) -> Result<Self, Stop> {
        let expected = 3 * table.len() + 2 * table.values();
        watch.memory(expected * size_of::<(u32, u32)>())?;
        let mut builder = Builder {
            table,
            writes,
            order,
            edges: Vec::with_capacity(expected),
            hubs: HashMap::new(),
            nodes: table.len() as u32,
            watch,
        };
        builder.data()?;
        builder.processes()?;
        builder.real_time()?;
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
    table: &'a Table,
    writes: &'a Writes,
    order: &'a Rows,
    edges: Vec<(u32, u32)>,
    hubs: HashMap<u32, u32>,
    nodes: u32,
    watch: Watch,
}

impl Builder<'_> {
    fn push(&mut self, from: u32, to: u32, edge: Edge) {
        if from != to {
            self.edges.push((from, to << KIND_BITS | edge as u32));
        }
    }

    fn node(&mut self) -> u32 {
        self.nodes += 1;
        assert!(
            self.nodes < 1 << (32 - KIND_BITS),
            "too many transactions for one graph"
        );
        self.nodes - 1
    }

    fn live(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..self.table.len() as u32).filter(|&txn| self.writes.is_live(txn))
    }

    fn data(&mut self) -> Result<(), Stop> {
        for txn in (0..self.table.len() as u32).filter(|&txn| self.writes.is_live(txn)) {
            self.watch.round(txn)?;
            let known = self.table.status(txn) == Status::Committed;
            for op in self.table.ops(txn) {
                if let Some(version) = op.written() {
                    self.next(txn, version, Edge::Ww);
                } else if known {
                    self.read(txn, self.table.observed(*op), self.table.fits(*op));
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, txn: u32, version: u32, fits: bool) {
        let writer = self.writes.live_writer(version);
        if writer == Some(txn) {
            return; // its own write: the edges of the write say all
        }
        if let Some(writer) = writer {
            self.push(writer, txn, Edge::Wr);
        }
        if fits {
            self.next(txn, version, Edge::Rw);
        }
    }

    /// Adds edges from a transaction to the writers of the versions next after `version`.
    fn next(&mut self, txn: u32, version: u32, edge: Edge) {
        let order = self.order;
        match order.row(version) {
            [] => {}
            [next] => {
                if let Some(writer) = self.writes.live_writer(*next) {
                    self.push(txn, writer, edge);
                }
            }
            several if self.writes_one_of(txn, several) => {
                for next in several {
                    if let Some(writer) = self.writes.live_writer(*next) {
                        self.push(txn, writer, edge);
                    }
                }
            }
            several => {
                let hub = self.hub(version, several);
                self.push(txn, hub, edge);
            }
        }
    }

    fn writes_one_of(&self, txn: u32, versions: &[u32]) -> bool {
        let mut own = self.table.ops(txn).iter().filter_map(|op| op.written());
        own.any(|version| versions.contains(&version))
    }

    fn hub(&mut self, version: u32, next: &[u32]) -> u32 {
        if let Some(&hub) = self.hubs.get(&version) {
            return hub;
        }
        let hub = self.node();
        self.hubs.insert(version, hub);
        for next in next {
            if let Some(writer) = self.writes.live_writer(*next) {
                self.push(hub, writer, Edge::Through);
            }
        }
        hub
    }

    fn processes(&mut self) -> Result<(), Stop> {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for txn in 0..self.table.len() as u32 {
            self.watch.round(txn)?;
            if self.writes.is_live(txn)
                && let Some(before) = last.insert(self.table.process(txn), txn)
            {
                self.push(before, txn, Edge::Process);
            }
        }
        Ok(())
    }

    fn real_time(&mut self) -> Result<(), Stop> {
        let ended = self
            .live()
            .filter(|&txn| self.table.completed(txn) != NEVER);
        let mut ended: Vec<(u32, u32)> =
            ended.map(|txn| (self.table.completed(txn), txn)).collect();
        ended.sort_unstable();
        let mut ended = ended.into_iter().peekable();
        let mut barrier = None;
        for txn in 0..self.table.len() as u32 {
            self.watch.round(txn)?;
            if !self.writes.is_live(txn) {
                continue;
            }
            let began = self.table.invoked(txn);
            if ended.peek().is_some_and(|(end, _)| *end < began) {
                let next = self.node();
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
