//! The weak levels, decided exactly: monotonic atomic view, read atomic, causal consistency.
//!
//! Each says which transactions are *visible* to a read, and asks that no visible transaction wrote a
//! later version than the one that was read. With unique writes this needs no search (Biswas and Enea
//! 2019; AWDIT, Møldrup and Pavlogiannis 2025): visibility does not depend on the order sought.
//!
//! - monotonic atomic view: what the transaction read from before this read;
//! - read atomic: what it reads from at all;
//! - causal: what it depends on by any path of reads and of order within processes. For this each
//!   transaction gets a clock, one count for each process; the last write of a key that a process had
//!   done by its count is the only one of that process worth a look.
//!
//! Where the order of versions is known, a later version is an anomaly at once. Where it is not
//! (registers), "not later" is an edge: the visible writer is before the writer that was read. The
//! level holds exactly if these edges, with what is known, close no circle.

use hashbrown::{HashMap, HashSet};

use super::anomaly::{Because, Evidence, Findings, Kind, Step};
use super::component::Components;
use super::graph::{Edge, Graph, Mask};
use super::rows::Rows;
use super::table::{Data, Kind as Op, Table};
use super::witness::Witness;
use super::work::{Stop, Watch};

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
    /// Finds what breaks the three levels. The answer is false when there is too little memory to
    /// decide causal consistency.
    pub(crate) fn run(&self, findings: &mut Findings) -> Result<bool, Stop> {
        let earlier = self.read_from(true)?;
        self.judge(Kind::NonMonotonicView, earlier, Mask::WR, findings)?;
        let anywhere = self.read_from(false)?;
        self.judge(Kind::FracturedRead, anywhere, Mask::WR, findings)?;
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
        let ops = self.table().ops(txn).iter().rev();
        ops.filter(|op| op.key == key).find_map(|op| op.written())
    }

    fn live(&self) -> impl Iterator<Item = u32> {
        (0..self.table().len() as u32).filter(|&txn| self.witness.writes.is_live(txn))
    }

    /// What is visible by reading from it, anywhere in the transaction or only `earlier`.
    fn read_from(&self, earlier: bool) -> Result<Vec<Seen>, Stop> {
        let mut seen = Vec::new();
        let mut sources: Vec<(usize, u32)> = Vec::new();
        for reader in self.live() {
            self.watch.round(reader)?;
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
        self.watch
            .memory(links * size_of::<(u32, u32)>() + Rows::bytes(nodes, links))?;
        let writer = |version| {
            self.witness
                .writes
                .writer(version)
                .expect("it has a writer")
        };
        let edge = |seen: &Seen| (writer(seen.visible), writer(seen.version));
        let mut pairs: Vec<(u32, u32)> = (0..self.graph.len() as u32)
            .flat_map(|node| {
                self.graph
                    .edges(node)
                    .map(move |(edge, to)| (node, edge, to))
            })
            .filter(|(_, edge, _)| through.has(*edge))
            .map(|(from, _, to)| (from, to))
            .collect();
        pairs.extend(seen.iter().map(edge));
        let rows = Rows::of(self.graph.len(), &pairs);
        let parts = Components::of_rows(&rows, self.watch)?;
        let Some(&start) = parts.members.first().map(|members| &members[0]) else {
            return Ok(None);
        };
        let within = parts.of[start as usize];
        let way = shortest(start, start, |node| {
            let next = rows.row(node).iter().copied();
            next.filter(|&to| parts.of[to as usize] == within).collect()
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

    /// What is visible by dependency. None when there is no memory for the clocks.
    fn depended_on(&self) -> Result<Option<Vec<Seen>>, Stop> {
        let Some(clocks) = Clocks::of(self)? else {
            return Ok(None);
        };
        let mut seen = Vec::new();
        for reader in self.live() {
            self.watch.round(reader)?;
            for (_, key, version) in self.reads(reader) {
                let Some(sessions) = clocks.writers.get(&key) else {
                    continue;
                };
                for (session, writers) in sessions {
                    let count = clocks.count(reader, *session);
                    let by = writers.partition_point(|(place, _)| *place < count);
                    let Some((_, source)) = by.checked_sub(1).map(|last| writers[last]) else {
                        continue;
                    };
                    if source != reader
                        && let Some(visible) = self.last_write(source, key)
                    {
                        seen.extend(self.binds(Seen {
                            reader,
                            version,
                            visible,
                        }));
                    }
                }
            }
        }
        Ok(Some(seen))
    }
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

/// Transactions of one session, each with its place in it.
type Places = Vec<(u32, u32)>;

/// For each transaction and process, how many of the process's transactions it depends on.
struct Clocks {
    sessions: usize,
    counts: Vec<u32>,
    /// By key and session: the writers, each with its place in the session.
    writers: HashMap<u32, Vec<(u32, Places)>>,
}

impl Clocks {
    /// None when there is no memory for them.
    fn of(visibility: &Visibility) -> Result<Option<Self>, Stop> {
        let table = visibility.table();
        let mut numbers: HashMap<u32, (u32, u32)> = HashMap::new(); // process: session, length
        let mut places: Vec<(u32, u32)> = vec![(0, 0); table.len()];
        for txn in visibility.live() {
            let next = numbers.len() as u32;
            let (session, length) = numbers.entry(table.process(txn)).or_insert((next, 0));
            places[txn as usize] = (*session, *length);
            *length += 1;
        }
        let sessions = numbers.len();
        let bytes = table.len().saturating_mul(sessions).saturating_mul(4);
        if visibility.watch.memory(bytes).is_err() {
            return Ok(None);
        }
        let mut clocks = Self {
            sessions,
            counts: vec![0; table.len() * sessions],
            writers: HashMap::new(),
        };
        clocks.enter_writers(visibility, &places);
        let through = Mask::WR.and(Mask::PROCESS);
        let order = Components::of(visibility.graph, through, visibility.watch)?.finished;
        let txns = visibility.graph.txns;
        for (round, &txn) in order.iter().rev().filter(|&&node| node < txns).enumerate() {
            visibility.watch.round(round as u32)?;
            let (session, place) = places[txn as usize];
            let own = txn as usize * sessions;
            for (_, to) in visibility
                .graph
                .edges(txn)
                .filter(|(edge, _)| through.has(*edge))
            {
                let other = to as usize * sessions;
                for session in 0..sessions {
                    clocks.counts[other + session] =
                        clocks.counts[other + session].max(clocks.counts[own + session]);
                }
                let count = &mut clocks.counts[other + session as usize];
                *count = (*count).max(place + 1);
            }
        }
        Ok(Some(clocks))
    }

    fn enter_writers(&mut self, visibility: &Visibility, places: &[(u32, u32)]) {
        let mut found: HashMap<(u32, u32), usize> = HashMap::new(); // by key and session
        for txn in visibility.live() {
            let (session, place) = places[txn as usize];
            let mut keys = HashSet::new();
            for op in visibility
                .table()
                .ops(txn)
                .iter()
                .filter(|op| op.kind == Op::Write)
            {
                if !keys.insert(op.key) {
                    continue;
                }
                let sessions = self.writers.entry(op.key).or_default();
                let at = *found.entry((op.key, session)).or_insert(sessions.len());
                if at == sessions.len() {
                    sessions.push((session, Vec::new()));
                }
                sessions[at].1.push((place, txn));
            }
        }
    }

    fn count(&self, txn: u32, session: u32) -> u32 {
        self.counts[txn as usize * self.sessions + session as usize]
    }
}
