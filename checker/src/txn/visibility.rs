//! The weak levels, decided exactly: monotonic atomic view, read atomic, causal consistency.
//!
//! Each says which transactions are *visible* to a read, and asks that no visible transaction wrote a
//! later version than the one that was read. With unique writes this needs no search (Biswas and Enea
//! 2019; AWDIT, Møldrup and Pavlogiannis 2025): visibility does not depend on the order sought.
//!
//! - monotonic atomic view: what the transaction read from before this read;
//! - read atomic: what it reads from at all;
//! - causal: what it depends on by any path of reads and of order within processes: its [clock](Clocks).
//!   The last write of a key that a chain had done by its count is the only one of it worth a look.
//!
//! Where the order of versions is known, a later version is an anomaly at once. Where it is not
//! (registers), "not later" is an edge: the visible writer is before the writer that was read. The
//! level holds exactly if these edges, with what is known, close no circle.

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use super::anomaly::{Because, Evidence, Findings, Kind, Step};
use super::clock::{Clocks, Place};
use super::component::{COMPONENT_BYTES, Components};
use super::graph::{Edge, Graph, Mask};
use super::rows::Rows;
use super::table::{Data, Kind as Op, MicroOp, Table};
use super::witness::Witness;
use super::work::{Stop, Watch};

/// Transactions between two looks at the memory.
const WEIGH_EVERY: usize = 1 << 12;

/// A visible write and the read that it binds.
#[derive(Clone, Copy, Debug)]
struct Seen {
    reader: u32,
    /// The version that was read.
    version: u32,
    /// The version of the same key by the visible transaction.
    visible: u32,
}

/// The parts of a history that visibility is about.
pub(crate) struct Visibility<'a> {
    pub(crate) witness: Witness<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) watch: Watch,
}

impl Visibility<'_> {
    /// Finds what breaks monotonic atomic view and read atomic.
    pub(crate) fn atomic(&self, findings: &mut Findings) -> Result<(), Stop> {
        let earlier = self.read_from(true)?;
        self.judge(Kind::NonMonotonicView, earlier, Mask::WR, findings)?;
        let anywhere = self.read_from(false)?;
        self.judge(Kind::FracturedRead, anywhere, Mask::WR, findings)
    }

    /// Finds what breaks causal consistency. The answer is false when there is too little memory to
    /// decide it.
    pub(crate) fn causal(&self, findings: &mut Findings) -> Result<bool, Stop> {
        let Some(seen) = self.depended_on()? else {
            return Ok(false);
        };
        let through = Mask::WR.and(Mask::PROCESS);
        self.judge(Kind::CausalityViolation, seen, through, findings)?;
        Ok(true)
    }

    fn table(&self) -> &Table {
        self.witness.table
    }

    /// Each read of a version that is not the reader's own, in order: where it stands, and what.
    fn reads(&self, txn: u32) -> impl Iterator<Item = (usize, u32, u32)> {
        let own = move |version| self.witness.writes.writer(version) == Some(txn);
        let ops = self.table().ops(txn).iter().enumerate();
        ops.filter(|(_, op)| op.kind == Op::Read && self.table().fits(**op))
            .map(|(at, op)| (at, op.key, self.table().observed(*op)))
            .filter(move |(_, _, version)| !own(*version))
    }

    /// The last version of a key that a transaction wrote.
    fn last_write(&self, txn: u32, key: u32) -> Option<u32> {
        let mut ops = self.table().ops(txn).iter().rev();
        ops.find_map(|op| op.written().filter(|_| op.key == key))
    }

    fn live(&self) -> impl Iterator<Item = u32> {
        (0..self.table().len() as u32).filter(|&txn| self.witness.writes.is_live(txn))
    }

    /// What is visible by reading from it, anywhere in the transaction or only `earlier`.
    fn read_from(&self, earlier: bool) -> Result<Vec<Seen>, Stop> {
        let mut seen = Vec::new();
        let mut sources: Vec<(usize, u32)> = Vec::new();
        for (round, reader) in self.live().enumerate() {
            self.watch.round(round as u32)?;
            if round.is_multiple_of(WEIGH_EVERY) {
                self.watch.memory(seen.capacity() * size_of::<Seen>())?;
            }
            sources.clear();
            sources.extend(self.reads(reader).filter_map(|(at, _, version)| {
                self.witness
                    .writes
                    .live_writer(version)
                    .map(|writer| (at, writer))
            }));
            for (at, key, version) in self.reads(reader) {
                for &(from, source) in &sources {
                    if earlier && from >= at {
                        break;
                    }
                    if let Some(visible) = self.last_write(source, key) {
                        seen.extend(self.binds(Seen {
                            reader,
                            version,
                            visible,
                        }));
                    }
                }
            }
        }
        Ok(seen)
    }

    /// Keeps what says something: another version than the one read, and not known to be earlier.
    fn binds(&self, seen: Seen) -> Option<Seen> {
        if seen.visible == seen.version || self.same_writer(seen) {
            return None;
        }
        let later = match self.table().data() {
            Data::Registers => {
                let written = self.witness.writes.live_writer(seen.version).is_some();
                written || self.table().is_initial(seen.version)
            }
            Data::Lists => self.place(seen.visible) > self.place(seen.version),
        };
        later.then_some(seen)
    }

    fn same_writer(&self, seen: Seen) -> bool {
        let writer = |version| self.witness.writes.writer(version);
        writer(seen.visible) == writer(seen.version)
    }

    /// A version's place in its key's list: 0 for the initial one, the end for one never read.
    fn place(&self, version: u32) -> u64 {
        if self.table().is_initial(version) {
            0
        } else {
            u64::from(self.table().lists().position(version)) + 1
        }
    }

    fn judge(
        &self,
        kind: Kind,
        seen: Vec<Seen>,
        through: Mask,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        let initial = |seen: &Seen| self.table().is_initial(seen.version);
        let (at_once, edges): (Vec<Seen>, Vec<Seen>) = match self.table().data() {
            Data::Lists => (seen, Vec::new()),
            Data::Registers => seen.into_iter().partition(initial),
        };
        for seen in at_once {
            let writer = self.witness.writes.writer(seen.visible);
            findings.add(kind, || Evidence::Missed {
                reader: seen.reader,
                version: seen.version,
                newer: seen.visible,
                path: self.path(
                    writer.expect("a visible version has a writer"),
                    seen.reader,
                    through,
                ),
            });
        }
        if let Some(steps) = self.circle(&edges, through.and(Mask::WW))? {
            findings.add(kind, || Evidence::Cycle(steps));
        }
        Ok(())
    }

    /// A circle among "the visible writer is before the one that was read" and the graph's edges.
    fn circle(&self, seen: &[Seen], through: Mask) -> Result<Option<Vec<Step>>, Stop> {
        if seen.is_empty() {
            return Ok(None);
        }
        let (links, nodes) = (self.graph.links() + seen.len(), self.graph.len());
        let (pair, rows) = (size_of::<(u32, u32)>(), Rows::bytes(nodes, links));
        let sought = (links * pair).max(COMPONENT_BYTES * nodes);
        self.watch.memory(size_of_val(seen) + rows + sought)?;
        let writer = |version| {
            self.witness
                .writes
                .writer(version)
                .expect("it has a writer")
        };
        let edge = |seen: &Seen| (writer(seen.visible), writer(seen.version));
        let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(links);
        for node in 0..nodes as u32 {
            let edges = self.graph.edges(node);
            let through = edges.filter(|(edge, _)| through.has(*edge));
            pairs.extend(through.map(|(_, to)| (node, to)));
        }
        pairs.extend(seen.iter().map(edge));
        let rows = Rows::of(nodes, &pairs);
        drop(pairs);
        let parts = Components::of_rows(&rows, self.watch)?;
        let Some(&start) = parts.members.first().map(|members| &members[0]) else {
            return Ok(None);
        };
        let way = shortest(start, start, |node| {
            let next = rows.row(node).iter().copied();
            next.filter(|&to| parts.together(start, to)).collect()
        });
        let way = way.expect("in a component there is a way around");
        let because: HashMap<(u32, u32), Seen> =
            seen.iter().map(|seen| (edge(seen), *seen)).collect();
        Ok(Some(self.told(&way, through, &because)))
    }

    /// The way from one transaction to another, told step by step.
    fn path(&self, from: u32, to: u32, through: Mask) -> Vec<Step> {
        let way = shortest(from, to, |node| {
            let edges = self
                .graph
                .edges(node)
                .filter(|(edge, _)| through.has(*edge));
            edges.map(|(_, to)| to).collect()
        });
        way.map_or_else(Vec::new, |way| self.told(&way, through, &HashMap::new()))
    }

    fn told(&self, way: &[u32], through: Mask, seen: &HashMap<(u32, u32), Seen>) -> Vec<Step> {
        let txns: Vec<u32> = way
            .iter()
            .copied()
            .filter(|&node| node < self.graph.txns)
            .collect();
        let step = |pair: &[u32]| {
            let (from, to) = (pair[0], pair[1]);
            let kinds = [Edge::Ww, Edge::Wr, Edge::Process].into_iter();
            let known = kinds
                .filter(|edge| through.has(*edge))
                .find_map(|edge| self.witness.because(from, to, edge));
            let because = known.unwrap_or_else(|| {
                let seen = seen.get(&(from, to)).expect("an edge has a reason");
                Because::Seen {
                    reader: seen.reader,
                    read: seen.version,
                    older: seen.visible,
                }
            });
            Step { from, to, because }
        };
        txns.windows(2).map(step).collect()
    }

    /// What is visible by dependency. Of registers what the writer that was read depends on is left
    /// out: that is before it anyway. None when there is no memory for the clocks.
    fn depended_on(&self) -> Result<Option<Vec<Seen>>, Stop> {
        let txns = self.table().len();
        let keys = self.table().keys() * size_of::<Vec<Writers>>();
        let walk = Clocks::bytes(txns) + COMPONENT_BYTES * self.graph.len() + keys;
        let Ok(watch) = self.watch.holding(walk) else {
            return Ok(None);
        };
        let mut clocks = Clocks::of(self.witness, watch)?;
        let (mut writers, mut entered): (Vec<Vec<Writers>>, _) = (Vec::new(), 0);
        writers.resize_with(self.table().keys(), Vec::new);
        // By process and key, what only the process itself can depend on.
        let mut private: HashMap<(u32, u32), u32> = HashMap::new();
        let mut seen: Vec<Seen> = Vec::new();
        let registers = self.table().data() == Data::Registers;
        for (round, txn) in clocks.walk(self.graph, watch)?.into_iter().enumerate() {
            watch.round(round as u32)?;
            if round.is_multiple_of(WEIGH_EVERY) {
                let private = private.allocation_size();
                let held =
                    entered + private + clocks.memory() + seen.capacity() * size_of::<Seen>();
                if watch.memory(held).is_err() {
                    return Ok(None);
                }
            }
            let clock = clocks.arrive(txn);
            let process = self.table().process(txn);
            for (_, key, version) in self.reads(txn) {
                let own = private.get(&(process, key)).map(|&visible| Seen {
                    reader: txn,
                    version,
                    visible,
                });
                seen.extend(own.and_then(|own| self.binds(own)));
                let author = self.witness.writes.live_writer(version);
                let author = author.filter(|_| registers);
                for Writers { chain, versions } in &writers[key as usize] {
                    let count = clock.count(*chain);
                    let by = versions.partition_point(|(place, _)| *place < count);
                    let Some((place, visible)) = by.checked_sub(1).map(|last| versions[last])
                    else {
                        continue;
                    };
                    if !author.is_some_and(|author| clocks.covers(author, (*chain, place))) {
                        seen.extend(self.binds(Seen {
                            reader: txn,
                            version,
                            visible,
                        }));
                    }
                }
            }
            let made = last_writes(self.table(), txn);
            if let Some(place) = clocks.leave(txn, clock) {
                for (key, version) in made {
                    entered += enter(&mut writers[key as usize], place, version);
                }
            } else {
                private.extend(made.map(|(key, version)| ((process, key), version)));
            }
        }
        Ok(Some(seen))
    }
}

/// What one chain wrote of a key: at which places, the last version of each.
struct Writers {
    chain: u32,
    versions: SmallVec<[(u32, u32); 2]>,
}

/// Enters a version; the answer is how many bytes more are held.
fn enter(writers: &mut Vec<Writers>, (chain, place): Place, version: u32) -> usize {
    let before = writers.capacity();
    let known = writers.iter_mut().find(|writers| writers.chain == chain);
    if let Some(Writers { versions, .. }) = known {
        let before = versions.capacity();
        versions.push((place, version));
        (versions.capacity() - before) * size_of::<(u32, u32)>()
    } else {
        writers.push(Writers {
            chain,
            versions: smallvec![(place, version)],
        });
        (writers.capacity() - before) * size_of::<Writers>()
    }
}

/// The last versions that a transaction wrote, each with its key.
fn last_writes(table: &Table, txn: u32) -> impl Iterator<Item = (u32, u32)> {
    let ops = table.ops(txn);
    ops.iter().enumerate().filter_map(move |(at, op)| {
        let version = op.written()?;
        let again = |later: &MicroOp| later.kind == Op::Write && later.key == op.key;
        (!ops[at + 1..].iter().any(again)).then_some((op.key, version))
    })
}

/// A shortest way with at least one step.
fn shortest(from: u32, to: u32, next: impl Fn(u32) -> Vec<u32>) -> Option<Vec<u32>> {
    let mut came: HashMap<u32, u32> = HashMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for step in next(node) {
            if came.contains_key(&step) {
                continue;
            }
            came.insert(step, node);
            if step == to {
                let mut way = vec![to];
                let mut at = to;
                loop {
                    at = came[&at];
                    way.push(at);
                    if at == from {
                        way.reverse();
                        return Some(way);
                    }
                }
            }
            queue.push_back(step);
        }
    }
    None
}
