//! From a history that a level refuses, to the few transactions that make it so.
//!
//! Where the order of versions is not known, a level may be refuted by search alone, or by a cycle as long as
//! the history. Then transactions are left out as long as the level refuses those that are left. To leave
//! one out proves nothing by itself: what another one read of it would have come from nowhere. So its outcome
//! is taken to be unknown first, and only one that was then not seen to happen is left out.

use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};

use super::Standing;
use super::analysis::{Limits, analyze_under};
use super::anomaly::{Because, Step};
use super::certificate::some_order_replays;
use super::level::Level;
use super::solve::{SEARCHED, Searched, search};
use super::table::{Data, Header, Kind, NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;
use crate::history::History;

/// The most time that it may take.
const TIME_MAX: Duration = Duration::from_secs(1);

/// More are not shown to anybody.
const SHOWN_MAX: usize = 100;

/// So many events are put in order at most, in all orders together, to confirm what was found.
const EVENTS_MAX: u32 = 200_000;

/// Transactions that no order which the level allows explains, whatever the others did.
pub(crate) struct Least {
    /// The level.
    pub(crate) level: Level,
    /// By invocation.
    pub(crate) transactions: Vec<Kept>,
    /// What binds them, whatever the order of versions.
    pub(crate) steps: Vec<Step>,
    /// Whether each of their orders was tried, and none replays; none: there are too many.
    pub(crate) confirmed: Option<bool>,
}

/// A transaction that is not left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its row of the table.
    pub(crate) txn: u32,
    /// Only what it wrote matters: what it read, and when it ended, does not.
    pub(crate) weakened: bool,
}

/// Looks for them in a history that the level refuses.
pub(crate) fn least(
    history: &History,
    table: &Table,
    level: Level,
    limits: &Limits,
    watch: Watch,
) -> Result<Least, Stop> {
    let soon = Instant::now() + TIME_MAX;
    let deadline = watch.deadline.map_or(soon, |it| it.min(soon));
    let search = Search {
        history,
        table,
        limits: Limits {
            asked: level,
            deadline: Some(deadline),
            ..*limits
        },
        watch: Watch {
            deadline: Some(deadline),
            ..watch
        },
    };
    search.least()
}

struct Search<'a> {
    history: &'a History,
    table: &'a Table,
    limits: Limits,
    watch: Watch,
}

impl Search<'_> {
    fn least(&self) -> Result<Least, Stop> {
        let mut left = self.prefix();
        let mut chunk = left.len().div_ceil(2);
        while chunk > 0 && self.watch.time().is_ok() {
            let before = left.len();
            let mut end = left.len();
            while end > 0 && self.watch.time().is_ok() {
                let start = end.saturating_sub(chunk);
                let mut fewer = left.clone();
                for it in &mut fewer[start..end] {
                    it.weakened = true;
                }
                let fewer = self.seen(fewer);
                if fewer != left && self.is_refused(&fewer) {
                    left = fewer;
                }
                end = start.min(left.len());
            }
            if left.len() == before || chunk > 1 {
                chunk /= 2;
            }
        }
        if left.len() > SHOWN_MAX {
            self.watch.time()?;
            return Err(Stop::Because("few of them do not suffice".into()));
        }
        // What is left to do is little, whatever the clock says.
        let unhurried = Search {
            watch: Watch {
                deadline: None,
                ..self.watch
            },
            ..*self
        };
        let (part, level) = (unhurried.part(&left)?, self.limits.asked);
        let writes = Writes::of(&part, unhurried.watch)?;
        let mut events_left = EVENTS_MAX;
        let replays = some_order_replays(&part, &writes, level, &mut events_left);
        Ok(Least {
            level,
            steps: self.steps(&left),
            transactions: left,
            confirmed: replays.map(|it| !it),
        })
    }

    /// The shortest beginning of the history that is refused: what ended later has an unknown outcome.
    fn prefix(&self) -> Vec<Kept> {
        let table = self.table;
        let live = |txn: &u32| table.status(*txn) != Status::Aborted;
        let txns: Vec<u32> = (0..table.len() as u32).filter(live).collect();
        let upto = |row: u32| {
            let begun = txns.iter().take_while(|&&txn| table.invoked(txn) <= row);
            let kept = begun.map(|&txn| Kept {
                txn,
                weakened: table.status(txn) == Status::Unknown || table.completed(txn) > row,
            });
            self.seen(kept.collect())
        };
        let mut ends: Vec<u32> = txns.iter().map(|&txn| table.completed(txn)).collect();
        ends.retain(|&end| end != NEVER);
        ends.sort_unstable();
        // Of all of them it is known.
        let (mut from, mut to) = (0, ends.len().saturating_sub(1));
        while from < to {
            let middle = from.midpoint(to);
            if self.is_refused(&upto(ends[middle])) {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        upto(ends.get(to).copied().unwrap_or(NEVER))
    }

    /// Those that are seen to have happened, or told so.
    fn seen(&self, mut kept: Vec<Kept>) -> Vec<Kept> {
        let table = self.table;
        let mut read = HashSet::new();
        for it in kept.iter().filter(|it| !it.weakened) {
            for &op in table.ops(it.txn).iter().filter(|op| op.kind == Kind::Read) {
                match table.data() {
                    Data::Lists => read.extend(table.list(op)),
                    Data::Registers => read.extend([table.observed(op)]),
                }
            }
        }
        kept.retain(|it| {
            let mut written = table.ops(it.txn).iter().filter_map(|op| op.written());
            !it.weakened || written.any(|version| read.contains(&version))
        });
        kept
    }

    /// Whether it is known that the level refuses these.
    fn is_refused(&self, kept: &[Kept]) -> bool {
        let level = self.limits.asked;
        let Ok(part) = self.part(kept) else {
            return false;
        };
        // The search for one level is cheaper than all that there is to know.
        if part.data() == Data::Registers && SEARCHED.contains(&level) {
            let bounds = self.limits.bounds(part.len(), self.watch);
            let writes = Writes::of(&part, self.watch);
            let searched = writes.and_then(|writes| search(&part, &writes, None, level, bounds));
            return matches!(searched, Ok(Searched::Refuted));
        }
        let analysis = analyze_under(&part, &self.limits, self.watch);
        analysis.standing(level) == Standing::Violated
    }

    /// A table of these alone.
    fn part(&self, kept: &[Kept]) -> Result<Table, Stop> {
        let (history, table) = (self.history, self.table);
        let mut part = Table::new(table.data());
        for (round, it) in kept.iter().enumerate() {
            self.watch.round(round as u32)?;
            let (invoked, completed) = (table.invoked(it.txn), table.completed(it.txn));
            let (status, told) = if it.weakened {
                (Status::Unknown, invoked)
            } else {
                (Status::Committed, completed)
            };
            let header = Header {
                process: table.process(it.txn),
                status,
                invoked,
                completed: (!it.weakened).then_some(completed),
            };
            let value = history.value_column()[told as usize];
            let text = history.values().json_bytes(value).unwrap_or_default();
            part.push(header, text)
                .map_err(|error| Stop::Because(error.to_string()))?;
        }
        Ok(part)
    }

    /// Who saw what of whom; and what the level asks for besides: real time, or the order of each process.
    fn steps(&self, kept: &[Kept]) -> Vec<Step> {
        let (table, level) = (self.table, self.limits.asked);
        let mut writer: HashMap<u32, u32> = HashMap::new();
        for it in kept {
            let written = table.ops(it.txn).iter().filter_map(|op| op.written());
            writer.extend(written.map(|version| (version, it.txn)));
        }
        let mut steps: Vec<Step> = Vec::new();
        for it in kept.iter().filter(|it| !it.weakened) {
            let reads = table.ops(it.txn).iter().filter(|op| op.kind == Kind::Read);
            for version in reads.map(|&op| table.observed(op)) {
                let (from, to) = (writer.get(&version).copied(), it.txn);
                let is_new = |it: &Step| (it.from, it.to) != (from.unwrap_or(to), to);
                if let Some(from) = from.filter(|&from| from != to && steps.iter().all(is_new)) {
                    let because = Because::Wr { version };
                    steps.push(Step { from, to, because });
                }
            }
        }
        let in_time = |from: &Kept, to: &Kept| {
            level.covers(Level::StrongSnapshotIsolation)
                && !from.weakened
                && table.completed(from.txn) < table.invoked(to.txn)
        };
        let in_process = |from: &Kept, to: &Kept| {
            level.covers(Level::StrongSessionSnapshotIsolation)
                && from.txn < to.txn
                && table.process(from.txn) == table.process(to.txn)
        };
        let before = |from: &Kept, to: &Kept| in_time(from, to) || in_process(from, to);
        for from in kept {
            for to in kept.iter().filter(|to| before(from, to)) {
                let through = |it: &Kept| before(from, it) && before(it, to);
                if !kept.iter().any(through) {
                    let because = if in_time(from, to) {
                        Because::Realtime
                    } else {
                        Because::Process
                    };
                    let (from, to) = (from.txn, to.txn);
                    steps.push(Step { from, to, because });
                }
            }
        }
        steps
    }
}
