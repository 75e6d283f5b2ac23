//! Where each level stands: what breaks it, what proves it.

use super::analysis::Analysis;
use super::anomaly::{Kind, Order, Shape};
use super::component::{Components, cycle_without_adjacent_rw};
use super::graph::{Graph, Mask};
use super::level::{Level, forbidden_by};
use super::table::Data;
use super::work::{Stop, Watch};

/// Whether a level was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The history satisfies it.
    Holds,
    /// The history breaks it.
    Violated,
    /// It may hold; nothing was found against it.
    Open,
}

/// What is known beside the anomalies.
// Each is a fact of its own.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Levels that are broken, whether or not an anomaly could be shown.
    pub(crate) broken: Vec<Level>,
    /// Levels of which there is a proof.
    pub(crate) proven: Vec<Level>,
    /// Whether the analysis came to its end: otherwise nothing is known to hold.
    pub(crate) done: bool,
    /// Whether the order of every key's versions is known.
    pub(crate) order: bool,
    /// Whether the dependencies that are known have no cycle.
    pub(crate) no_cycle: bool,
    /// Whether the order of some writes is open.
    pub(crate) branches: bool,
    /// Whether what breaks monotonic atomic view, read atomic and cursor stability was looked for.
    pub(crate) weak: bool,
    /// Whether causal consistency was decided.
    pub(crate) causal: bool,
}

impl Known {
    /// Each level's standing, weaker levels first.
    pub(crate) fn stand(&self, analysis: &Analysis, data: Data) -> Vec<(Level, Standing)> {
        let counts = analysis.findings.counts();
        let mut standings: Vec<(Level, Standing)> = Vec::new();
        for level in Level::ALL {
            let below = standings.iter().filter(|(other, _)| level.covers(*other));
            let weaker_broken = below.clone().any(|(_, other)| *other == Standing::Violated);
            let forbidden = counts
                .iter()
                .any(|(kind, _)| forbidden_in(*kind, data).contains(&level));
            let standing = if forbidden || weaker_broken || self.broken.contains(&level) {
                Standing::Violated
            } else if self.done && self.holds(level, analysis) {
                Standing::Holds
            } else {
                Standing::Open
            };
            standings.push((level, standing));
        }
        standings
    }

    /// Whether a level that nothing was found against does hold.
    fn holds(&self, level: Level, analysis: &Analysis) -> bool {
        let exhausted = |shape| {
            analysis
                .exhausted
                .contains(&Kind::Cycle(shape, Order::Data))
        };
        let known = self.order;
        if (known && self.no_cycle) || self.proven.iter().any(|proven| proven.covers(level)) {
            return true;
        }
        match level {
            // No order of versions beyond the known one is needed, or any will do.
            Level::ReadUncommitted | Level::ReadCommitted => true,
            Level::MonotonicAtomicView | Level::ReadAtomic => self.weak,
            Level::Causal => self.causal,
            Level::ConsistentView => known && !self.branches && !exhausted(Shape::GSingle),
            Level::SnapshotIsolation
            | Level::StrongSessionSnapshotIsolation
            | Level::StrongSnapshotIsolation => known && !self.branches,
            Level::CursorStability => known && self.weak,
            Level::RepeatableRead
            | Level::Serializable
            | Level::StrongSessionSerializable
            | Level::StrictSerializable => known,
        }
    }
}

/// As [`forbidden_by`]; but the order of a register's writes is inferred from committed reads, so a
/// circle in it breaks no less than read committed.
fn forbidden_in(kind: Kind, data: Data) -> &'static [Level] {
    match (kind, data) {
        (Kind::Cycle(Shape::G0, Order::Data), Data::Registers) => &[Level::ReadCommitted],
        _ => forbidden_by(kind),
    }
}

/// The levels that some cycle breaks, each decided exactly in one pass.
pub(crate) fn broken_by_cycles(
    graph: &Graph,
    all: &Components,
    data: Data,
    watch: Watch,
) -> Result<Vec<Level>, Stop> {
    use Level::{
        Causal, ReadCommitted, ReadUncommitted, RepeatableRead, Serializable, SnapshotIsolation,
        StrictSerializable, StrongSessionSerializable, StrongSessionSnapshotIsolation,
        StrongSnapshotIsolation,
    };
    let mut broken = Vec::new();
    if all.is_empty() {
        return Ok(broken);
    }
    if data == Data::Lists && !all.within(graph, Mask::WW, watch)?.is_empty() {
        broken.push(ReadUncommitted);
    }
    let sessions = Mask::PROCESS;
    let real_time = Mask::PROCESS.and(Mask::REALTIME);
    for (mask, levels) in [
        (Mask::WRITES, &[ReadCommitted][..]),
        (Mask::WRITES.and(sessions), &[Causal]),
        (Mask::DATA, &[RepeatableRead, Serializable]),
        (Mask::DATA.and(sessions), &[StrongSessionSerializable]),
        (Mask::DATA.and(real_time), &[StrictSerializable]),
    ] {
        if !all.within(graph, mask, watch)?.is_empty() {
            broken.extend_from_slice(levels);
        }
    }
    for (mask, level) in [
        (Mask::WRITES, SnapshotIsolation),
        (Mask::WRITES.and(sessions), StrongSessionSnapshotIsolation),
        (Mask::WRITES.and(real_time), StrongSnapshotIsolation),
    ] {
        if cycle_without_adjacent_rw(graph, all, mask, watch)? {
            broken.push(level);
        }
    }
    Ok(broken)
}
