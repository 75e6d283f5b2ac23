//! From a table of transactions to anomalies and levels.

use std::time::Instant;

use super::anomaly::{Findings, Kind};
use super::certificate::Event;
use super::component::{COMPONENT_BYTES, Components};
use super::graph::{Graph, Mask};
use super::judge::Judge;
use super::level::Level;
use super::order::{Listed, Order};
use super::rows::Rows;
use super::solve::Searched;
use super::standing::{Known, Standing};
use super::table::{Data, Table};
use super::walk::Walked;
use super::witness::Witness;
use super::work::{Stop, Watch};
use super::writes::Writes;
use super::{append, register, solve, walk};
use crate::resident::Growth;

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
    /// The level that was asked for: once it holds, no stronger one is searched for.
    pub asked: Level,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: None,
            memory_bytes: None,
            work: 20_000_000,
            choices: 5_000_000,
            assume: register::Assume::default(),
            asked: Level::StrictSerializable,
        }
    }
}

impl Limits {
    /// From now on.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            deadline: self.deadline,
            memory_max: self.memory_bytes,
            held: 0,
            growth: self
                .memory_bytes
                .and_then(|bytes| Growth::allowed(bytes as u64)),
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
    /// Why the analysis ended before it was done. What it found until then stands.
    pub unknown: Option<String>,
    /// Levels that were not decided, and why.
    pub undecided: Vec<(Level, String)>,
    /// Kinds of cycle for which the search ran out of its bound: there may be one.
    pub exhausted: Vec<Kind>,
    /// Bytes held at most, as far as the engine counts.
    pub memory_bytes: usize,
}

impl Analysis {
    /// A level's standing.
    pub fn standing(&self, level: Level) -> Standing {
        let found = self.standings.iter().find(|(other, _)| *other == level);
        found.map_or(Standing::Open, |(_, standing)| *standing)
    }

    /// Takes in the proof of the strongest level: nothing is wrong then.
    fn all_hold(&mut self, events: Vec<Event>) {
        self.standings = Level::ALL.map(|level| (level, Standing::Holds)).to_vec();
        self.certificate = Some((Level::StrictSerializable, events));
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
    analyze_under(table, limits, limits.watch())
}

/// The same under a watch that began before.
pub(crate) fn analyze_under(table: &Table, limits: &Limits, watch: Watch) -> Analysis {
    let mut analysis = Analysis::default();
    if let Err(stop) = run(table, limits, watch, &mut analysis) {
        analysis.unknown = Some(stop.to_string());
        analysis.standings = Known::default().stand(&analysis, table.data());
    }
    analysis
}

fn run(table: &Table, limits: &Limits, watch: Watch, analysis: &mut Analysis) -> Result<(), Stop> {
    let watch = watch.holding(table.memory())?;
    watch.memory(Writes::bytes(table))?;
    let readers = || {
        let watch = watch.holding(Writes::bytes(table))?;
        watch.memory(walk::bytes(table))?;
        walk::readers(table, watch)
    };
    let (writes, readers) = rayon::join(
        || Writes::of(table, watch),
        || (table.data() == Data::Lists).then(readers),
    );
    let writes = writes?;
    let watch = watch.holding(Writes::bytes(table))?;
    if let Some(&version) = writes.ambiguous.first() {
        return Err(Stop::Because(format!(
            "value {} was written to key {} twice: which write a read saw cannot be told",
            table.value_text(version),
            table.key_text(table.key_of(version)),
        )));
    }
    match readers {
        Some(readers) => lists(table, &writes, readers, limits, watch, analysis),
        None => registers(table, &writes, limits, watch, analysis),
    }
}

/// Of lists only those on cycles get a graph. What single reads get wrong, and lost updates, are sought
/// beside.
fn lists(
    table: &Table,
    writes: &Writes,
    readers: Result<Rows, Stop>,
    limits: &Limits,
    watch: Watch,
    analysis: &mut Analysis,
) -> Result<(), Stop> {
    let listed = Listed::of(table, writes, watch)?;
    let walked = readers.and_then(|readers| walk::through(table, writes, &listed, &readers, watch));
    analysis.memory_bytes = watch.held + walk::bytes(table);
    if let Ok(Walked::Proven(events)) = walked {
        analysis.all_hold(events);
        return Ok(());
    }
    let order = Order::Listed(listed);
    let witness = Witness {
        table,
        writes,
        order: &order,
    };
    let mut lost = Findings::default();
    let (singles, built) = rayon::join(
        || append::singles(table, writes, &mut analysis.findings, watch),
        || {
            let Walked::Parts(parts) = walked? else {
                unreachable!("what is proven was returned")
            };
            let watch = watch.holding(order.memory() + parts.memory())?;
            let graph = dependencies(witness, Some(&parts), &mut lost, watch)?;
            let watch = watch.holding(graph.memory())?;
            let all = parts.with_helpers(&graph, watch)?;
            Ok((graph, all, watch))
        },
    );
    analysis.findings.absorb(lost);
    let (graph, all, watch) = singles.and(built)?;
    Judge {
        witness,
        graph: &graph,
        limits,
        watch,
        order_known: true,
        searched: None,
        analysis,
    }
    .run(&all)
}

fn registers(
    table: &Table,
    writes: &Writes,
    limits: &Limits,
    watch: Watch,
    analysis: &mut Analysis,
) -> Result<(), Stop> {
    let findings = &mut analysis.findings;
    register::reads(table, writes, findings, watch)?;
    let mut searched = None;
    if findings.is_empty() && limits.asked == Level::StrictSerializable {
        searched = search_first(table, writes, limits, watch);
        if let Some((_, Searched::Proven(events))) = searched {
            analysis.memory_bytes = watch.held;
            analysis.all_hold(events);
            return Ok(());
        }
    }
    let order = register::order(table, writes, limits.assume, findings, watch)?;
    let order_known = register::is_total(table, writes, &order);
    let order = Order::Inferred(order);
    let watch = watch.holding(order.memory())?;
    let witness = Witness {
        table,
        writes,
        order: &order,
    };
    let graph = dependencies(witness, None, findings, watch)?;
    let watch = watch.holding(graph.memory())?;
    watch.memory(COMPONENT_BYTES * graph.len())?;
    analysis.memory_bytes = watch.held + COMPONENT_BYTES * graph.len();
    let all = Components::of(&graph, Mask::ALL, watch)?;
    let watch = watch.holding(all.memory())?;
    Judge {
        witness,
        graph: &graph,
        limits,
        watch,
        order_known,
        searched,
        analysis,
    }
    .run(&all)
}

/// The graph; lost updates are sought beside.
fn dependencies(
    witness: Witness,
    parts: Option<&Components>,
    findings: &mut Findings,
    watch: Watch,
) -> Result<Graph, Stop> {
    let watch = watch.holding(witness.table.versions() * size_of::<u32>())?;
    let (lost, graph) = rayon::join(
        || witness.lost_updates(findings, watch),
        || Graph::of(witness, parts, Mask::ALL, watch),
    );
    lost.and(graph)
}

/// Searches for the strongest level before anything else, as all others hold when it does; in half
/// of the time that is left. None: time or memory ended.
fn search_first(
    table: &Table,
    writes: &Writes,
    limits: &Limits,
    watch: Watch,
) -> Option<(Level, Searched)> {
    let now = Instant::now();
    let half = |deadline: Instant| now + deadline.saturating_duration_since(now) / 2;
    let deadline = watch.deadline.map(half);
    let bounds = limits.bounds(table.len(), Watch { deadline, ..watch });
    let level = Level::StrictSerializable;
    let searched = solve::search(table, writes, None, level, bounds);
    searched.ok().map(|searched| (level, searched))
}
