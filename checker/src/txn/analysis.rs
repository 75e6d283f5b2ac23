//! From a table of transactions to anomalies and levels.

use std::time::Instant;

use hashbrown::HashSet;

use super::anomaly::{Evidence, Findings, Kind, Order, Shape};
use super::certificate::{Event, replays};
use super::component::Components;
use super::cycle::{Found, Pattern, Search};
use super::graph::{Graph, Mask};
use super::level::Level;
use super::solve::{Bounds, SEARCHED, Searched, search};
use super::standing::{Known, Standing, broken_by_cycles};
use super::table::{Data, Table};
use super::visibility::Visibility;
use super::witness::Witness;
use super::work::Work;
use super::writes::Writes;
use super::{append, register};

/// What an analysis may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When to stop.
    pub deadline: Option<Instant>,
    /// How many bytes of memory to hold at most.
    pub memory_bytes: Option<usize>,
    /// How many edges each search for a smallest cycle may follow.
    pub work: u64,
    /// How many pairs of writes whose order is open a search may weigh.
    pub choices: usize,
    /// What may be taken for granted of a register's versions.
    pub assume: register::Assume,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: None,
            memory_bytes: None,
            work: 20_000_000,
            choices: 5_000_000,
            assume: register::Assume::default(),
        }
    }
}

impl Limits {
    fn check(&self, held: usize) -> Result<(), String> {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Err("the time budget ran out".into());
        }
        match self.memory_bytes {
            Some(allowed) if held > allowed => Err(format!(
                "the memory budget ran out: {held} bytes are needed, {allowed} are allowed"
            )),
            _ => Ok(()),
        }
    }
}

/// What an analysis found.
#[derive(Debug, Default)]
pub struct Analysis {
    /// The anomalies.
    pub findings: Findings,
    /// Each level's standing.
    pub standings: Vec<(Level, Standing)>,
    /// The strongest level that was proven, and the proof.
    pub certificate: Option<(Level, Vec<Event>)>,
    /// Levels that no order of the writes satisfies, found by search rather than by an anomaly.
    pub refuted: Vec<Level>,
    /// Why there is no verdict, when there is none.
    pub unknown: Option<String>,
    /// Kinds of cycle for which the search ran out of its bound: there may be one.
    pub exhausted: Vec<Kind>,
    /// Whether the order of every key's versions is known, so that the levels are decided.
    pub order_known: bool,
    /// Bytes held at most, as far as the engine counts.
    pub memory_bytes: usize,
}

impl Analysis {
    /// A level's standing.
    pub fn standing(&self, level: Level) -> Standing {
        let found = self.standings.iter().find(|(other, _)| *other == level);
        found.map_or(Standing::Open, |(_, standing)| *standing)
    }

    /// The weakest levels that are violated: none below them is.
    pub fn weakest_violated(&self) -> Vec<Level> {
        let violated = |level: &Level| self.standing(*level) == Standing::Violated;
        let below = |level: Level| {
            Level::ALL
                .into_iter()
                .filter(move |&w| w != level && level.covers(w))
        };
        Level::ALL
            .into_iter()
            .filter(violated)
            .filter(|&l| !below(l).any(|w| violated(&w)))
            .collect()
    }

    /// The strongest levels that are not violated: none above them is free of violation.
    pub fn strongest_possible(&self) -> Vec<Level> {
        let free = |level: &Level| self.standing(*level) != Standing::Violated;
        let above = |level: Level| {
            Level::ALL
                .into_iter()
                .filter(move |&s| s != level && s.covers(level))
        };
        Level::ALL
            .into_iter()
            .filter(free)
            .filter(|&l| !above(l).any(|s| free(&s)))
            .collect()
    }
}

/// Analyzes a history of transactions.
pub fn analyze(table: &Table, limits: &Limits) -> Analysis {
    let mut analysis = Analysis::default();
    if let Err(reason) = run(table, limits, &mut analysis) {
        analysis.unknown = Some(reason);
    }
    analysis
}

fn run(table: &Table, limits: &Limits, analysis: &mut Analysis) -> Result<(), String> {
    let writes = Writes::of(table);
    if let Some(&version) = writes.ambiguous.first() {
        return Err(format!(
            "value {} was written to key {} twice: which write a read saw cannot be told",
            table.value_text(version),
            table.key_text(table.key_of(version)),
        ));
    }
    limits.check(table.memory())?;
    let findings = &mut analysis.findings;
    analysis.order_known = true;
    let order = match table.data() {
        Data::Lists => {
            append::reads(table, &writes, findings);
            append::order(table, &writes, findings)
        }
        Data::Registers => {
            register::reads(table, &writes, findings);
            let order = register::order(table, &writes, limits.assume, findings);
            analysis.order_known = register::is_total(table, &writes, &order);
            order
        }
    };
    lost_updates(table, &writes, findings);
    limits.check(table.memory() + order.memory())?;
    let graph = Graph::of(table, &writes, &order);
    analysis.memory_bytes = table.memory() + order.memory() + graph.memory() + 12 * graph.len();
    limits.check(analysis.memory_bytes)?;
    let witness = Witness {
        table,
        writes: &writes,
        order: &order,
    };
    Judge {
        witness,
        graph: &graph,
        limits,
        analysis,
    }
    .run()
}

/// Two committed transactions that read the same version of a key and then wrote the key.
fn lost_updates(table: &Table, writes: &Writes, findings: &mut Findings) {
    let mut updater = vec![u32::MAX; table.versions()];
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        for (version, _) in updates(table, txn) {
            let first = updater[version as usize];
            if first == u32::MAX {
                updater[version as usize] = txn;
            } else if first != txn {
                let evidence = Evidence::Updates {
                    version,
                    first,
                    second: txn,
                };
                findings.add(Kind::LostUpdate, || evidence);
            }
        }
    }
}

/// The versions that a transaction read before its own first write of their key, each with the
/// version it then made.
pub(super) fn updates(table: &Table, txn: u32) -> impl Iterator<Item = (u32, u32)> {
    use super::table::Kind::{Read, Write};
    let ops = table.ops(txn);
    ops.iter().enumerate().filter_map(move |(at, op)| {
        let version = op.written()?;
        let earlier = || ops[..at].iter().filter(|earlier| earlier.key == op.key);
        if earlier().any(|earlier| earlier.kind == Write) {
            return None;
        }
        let read = earlier().find(|earlier| earlier.kind == Read)?;
        Some((table.observed(*read), version))
    })
}

/// How many cycles of one kind are looked for.
const CYCLES: usize = 8;
const SHAPES: [Shape; 5] = [
    Shape::G0,
    Shape::G1c,
    Shape::GSingle,
    Shape::GNonadjacent,
    Shape::G2Item,
];

struct Judge<'a> {
    witness: Witness<'a>,
    graph: &'a Graph,
    limits: &'a Limits,
    analysis: &'a mut Analysis,
}

impl Judge<'_> {
    fn run(&mut self) -> Result<(), String> {
        let all = Components::of(self.graph, EVERYTHING);
        if !all.is_empty() {
            self.limits.check(self.analysis.memory_bytes)?;
            self.cycles(&all)?;
        }
        let mut known = Known {
            causal: true,
            ..Known::default()
        };
        if !all.is_empty() || !self.analysis.order_known {
            let (witness, graph) = (self.witness, self.graph);
            let free = self.limits.memory_bytes.map_or(usize::MAX, |allowed| {
                allowed.saturating_sub(self.analysis.memory_bytes)
            });
            let visibility = Visibility { witness, graph };
            known.causal = visibility.run(free, &mut self.analysis.findings);
        }
        self.limits.check(self.analysis.memory_bytes)?;
        known.broken = broken_by_cycles(self.graph, &all, self.witness.table.data());
        known.no_cycle = all.is_empty();
        known.branches = self.witness.order.branches();
        self.analysis.standings = known.stand(self.analysis, self.witness.table.data());
        self.certify(&all, &mut known)
    }

    /// Proves what holds, and searches where nothing is decided.
    fn certify(&mut self, all: &Components, known: &mut Known) -> Result<(), String> {
        let strict = Level::StrictSerializable;
        if self.analysis.standing(strict) == Standing::Holds {
            let nodes = all.finished.iter().rev().copied();
            let txns = nodes.filter(|&node| node < self.graph.txns);
            let live = txns.filter(|&txn| self.witness.writes.is_live(txn));
            let events: Vec<Event> = live
                .flat_map(|txn| [Event::Start(txn), Event::Commit(txn)])
                .collect();
            let Witness { table, writes, .. } = self.witness;
            if !replays(table, writes, &events, strict) {
                return Err(
                    "the order that was found does not replay: a fault of the checker".into(),
                );
            }
            self.analysis.certificate = Some((strict, events));
            return Ok(());
        }
        for level in SEARCHED {
            if self.analysis.standing(level) != Standing::Open {
                continue;
            }
            self.limits.check(self.analysis.memory_bytes)?;
            let work = Work::new(self.limits.work, self.limits.deadline);
            let bounds = Bounds {
                work,
                choices: self.limits.choices,
            };
            match search(self.witness, level, bounds) {
                Searched::Proven(events) => {
                    known.proven.push(level);
                    self.analysis.certificate.get_or_insert((level, events));
                }
                Searched::Refuted => {
                    known.broken.push(level);
                    if level == Level::Serializable {
                        known.broken.push(Level::RepeatableRead);
                    }
                    self.analysis.refuted.push(level);
                }
                Searched::Exhausted => {}
            }
            self.analysis.standings = known.stand(self.analysis, self.witness.table.data());
        }
        Ok(())
    }

    /// Finds smallest cycles of each shape. In a part that has one without real time or sessions,
    /// those with them say nothing new.
    fn cycles(&mut self, all: &Components) -> Result<(), String> {
        let mut told: HashSet<u32> = HashSet::new();
        for order in [Order::Data, Order::Process, Order::Realtime] {
            let mut fresh: Vec<u32> = Vec::new();
            for shape in SHAPES {
                self.limits.check(self.analysis.memory_bytes)?;
                let pattern = Pattern { shape, order };
                let parts = all.within(self.graph, pattern.mask());
                let plain = |part: &u32| {
                    let mut members = parts.members[*part as usize].iter();
                    order == Order::Data || !members.any(|node| told.contains(node))
                };
                for part in (0..parts.members.len() as u32).filter(plain).take(CYCLES) {
                    fresh.extend(self.search(pattern, &parts, part));
                }
                if order != Order::Data {
                    told.extend(fresh.drain(..));
                }
            }
            told.extend(fresh);
        }
        Ok(())
    }

    /// Looks for one cycle, and gives the transactions on it.
    fn search(&mut self, pattern: Pattern, parts: &Components, part: u32) -> Vec<u32> {
        let (graph, table) = (self.graph, self.witness.table);
        let work = Work::new(self.limits.work, self.limits.deadline);
        match (Search {
            graph,
            table,
            pattern,
            work,
        })
        .run(parts, part)
        {
            Found::Cycle(cycle) => {
                let kind = Kind::Cycle(pattern.shape, pattern.order);
                let evidence = || Evidence::Cycle(self.witness.steps(&cycle));
                self.analysis
                    .findings
                    .add_sized(kind, cycle.smallest, evidence);
                cycle.steps.iter().map(|(node, _)| *node).collect()
            }
            Found::None => Vec::new(),
            Found::Exhausted => {
                self.analysis
                    .exhausted
                    .push(Kind::Cycle(pattern.shape, pattern.order));
                Vec::new()
            }
        }
    }
}

const EVERYTHING: Mask = Mask::DATA.and(Mask::PROCESS).and(Mask::REALTIME);
