//! What still holds when a register is not linearizable.
//!
//! - **Sequential and causal consistency** are levels of transactions: an operation is a transaction of
//!   one step, and the order of each process must be kept. They are asked of all keys together, as
//!   neither holds for a whole because it holds for each part.
//! - **Regular reads** (Lamport, *On Interprocess Communication*, 1986; of many writers the weak form
//!   of Shao et al.): each read saw a write that it overlaps, or one that no other write surely
//!   replaced before the read began. Reads need not agree with each other.
//! - **Staleness**: a write was surely replaced when the first write that began after it had ended
//!   itself ended. How long before the read began that was is the read's staleness; how many writes
//!   began after the one and ended before the other is the number of versions it is behind.
//!
//! A `cas` that failed observes nothing here, so what is said to hold holds of reads and writes.

use std::time::Instant;

use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::history::{Call, History, ValueId};
use crate::options::Options;
use crate::tally::{Entry, entries};
use crate::txn::level::Level;
use crate::txn::{Data, Header, Limits, Standing, Status, Table, analyze};
use crate::verdict::{Report, Verdict};

/// More operations than this are not looked at again.
const OPERATIONS_MAX: usize = 2_000_000;
/// What the search for a sequential order may spend.
const WORK_MAX: u64 = 5_000_000;

/// Adds to the report of a register that is not linearizable what it still is.
pub(crate) fn add(history: &History, options: &Options, started: Instant, report: &mut Report) {
    if report.verdict != Verdict::Invalid || !options.explain {
        return;
    }
    let Ok(entries) = entries(history) else {
        return;
    };
    if entries.len() > OPERATIONS_MAX {
        return;
    }
    let (sequential, causal) = in_sessions(history, options, &entries, started);
    let staleness = staleness(history, options, &entries);
    report
        .explanation
        .push(staleness.sentence(sequential, causal));
    if report.details.is_null() {
        report.details = json!({});
    }
    report.details["weaker"] = json!({
        "sequential": word(sequential),
        "causal": word(causal),
        "regular_reads": staleness.stale == 0 && staleness.unwritten == 0,
        "stale_reads": staleness.stale,
        "stale_max_ms": staleness.longest_ns / 1_000_000,
        "versions_behind_max": staleness.behind,
    });
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Holds => "holds",
        Standing::Violated => "violated",
        Standing::Open => "open",
    }
}

/// Sequential and causal consistency.
fn in_sessions(
    history: &History,
    options: &Options,
    entries: &[Entry],
    started: Instant,
) -> (Standing, Standing) {
    let open = (Standing::Open, Standing::Open);
    let mut table = Table::new(Data::Registers);
    let json = |id: ValueId| history.values().json(id);
    let initial = options.initial.to_string();
    let read = |value: &str| {
        if value == initial {
            "null".to_owned()
        } else {
            value.to_owned()
        }
    };
    for entry in entries.iter().filter(|entry| entry.may_have_happened()) {
        let key = json(entry.key);
        let text = match entry.f {
            "read" | "r" if entry.is_ok() => {
                format!(r#"[["r",{key},{}]]"#, read(&json(entry.answer)))
            }
            "write" | "w" => format!(r#"[["w",{key},{}]]"#, json(entry.argument)),
            "cas" => {
                let Value::Array(pair) = history.values().value(entry.argument) else {
                    return open;
                };
                let [old, new] = pair.as_slice() else {
                    return open;
                };
                format!(
                    r#"[["r",{key},{}],["w",{key},{new}]]"#,
                    read(&old.to_string())
                )
            }
            _ => continue,
        };
        let header = Header {
            process: entry.process,
            status: if entry.is_ok() {
                Status::Committed
            } else {
                Status::Unknown
            },
            invoked: entry.invoked,
            completed: Some(entry.ended).filter(|&row| row != Call::OPEN),
        };
        if table.push(header, text.as_bytes()).is_err() {
            return open;
        }
    }
    let limits = Limits {
        deadline: started.checked_add(options.budget.time),
        memory_bytes: usize::try_from(options.budget.memory_bytes).ok(),
        work: WORK_MAX,
        ..Limits::default()
    };
    let analysis = analyze(&table, &limits);
    let standing = |level| match analysis.unknown {
        Some(_) => Standing::Open,
        None => analysis.standing(level),
    };
    (
        standing(Level::StrongSessionSerializable),
        standing(Level::Causal),
    )
}

/// How stale the reads of a history are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Staleness {
    stale: u64,
    longest_ns: u64,
    behind: u64,
    /// Reads of what nobody had begun to write.
    unwritten: u64,
}

impl Staleness {
    fn sentence(&self, sequential: Standing, causal: Standing) -> String {
        let order = match (sequential, causal) {
            (Standing::Holds, _) => "sequential consistency holds",
            (_, Standing::Holds) => "sequential consistency is not shown, causal consistency holds",
            (_, Standing::Violated) => "not even causal consistency holds",
            _ => "neither sequential nor causal consistency could be decided",
        };
        let reads = match self {
            Self { unwritten: 1.., .. } => {
                format!(
                    "{} reads saw what nobody had begun to write",
                    self.unwritten
                )
            }
            Self { stale: 0, .. } => "every read is regular: none saw a replaced value".to_owned(),
            _ => format!(
                "{} reads saw a replaced value, at most {} ms and {} versions old",
                self.stale,
                self.longest_ns.div_ceil(1_000_000),
                self.behind,
            ),
        };
        format!("What still holds: {order}; {reads}.")
    }
}

/// A write of a register: rows.
#[derive(Clone, Copy, Debug)]
struct Write {
    invoked: u32,
    ended: u32,
}

/// One register's writes, ready to be asked.
struct Register {
    by_value: HashMap<ValueId, Vec<Write>>,
    /// Ends of writes that did, with the greatest invocation among those up to each.
    ends: Vec<(u32, u32)>,
    /// Invocations of writes, with the least end among those from each on.
    begins: Vec<(u32, u32)>,
}

impl Register {
    fn of(writes: Vec<(ValueId, Write)>, initial: ValueId) -> Self {
        let mut ends: Vec<(u32, u32)> = writes.iter().map(|(_, w)| (w.ended, w.invoked)).collect();
        ends.retain(|(ended, _)| *ended != Call::OPEN);
        ends.sort_unstable();
        let mut begins: Vec<(u32, u32)> =
            writes.iter().map(|(_, w)| (w.invoked, w.ended)).collect();
        begins.sort_unstable();
        for at in 1..ends.len() {
            ends[at].1 = ends[at].1.max(ends[at - 1].1);
        }
        for at in (1..begins.len()).rev() {
            begins[at - 1].1 = begins[at - 1].1.min(begins[at].1);
        }
        // What was there before everything: it ended before the first row.
        let mut by_value = HashMap::from([(initial, Vec::new())]);
        for (value, write) in writes {
            by_value.entry(value).or_insert_with(Vec::new).push(write);
        }
        Self {
            by_value,
            ends,
            begins,
        }
    }

    /// When a write that ended at `ended` (none: it was there from the start) was surely replaced:
    /// the row at which the first that began after it had ended.
    fn replaced(&self, ended: Option<u32>) -> u32 {
        let after = self
            .begins
            .partition_point(|(began, _)| ended.is_some_and(|end| *began <= end));
        self.begins.get(after).map_or(Call::OPEN, |(_, end)| *end)
    }

    /// How many writes began after a write had ended and ended before a read began.
    fn between(&self, ended: Option<u32>, read: u32, writes: &[Write]) -> u64 {
        let before = self.ends.partition_point(|(end, _)| *end < read);
        if before == 0 {
            return 0;
        }
        let inside = |w: &&Write| ended.is_none_or(|end| w.invoked > end) && w.ended < read;
        writes.iter().filter(inside).count() as u64
    }
}

/// One key's writes, each with its value, and its reads.
type KeyOps<'a> = (Vec<(ValueId, Write)>, Vec<Entry<'a>>);

fn staleness(history: &History, options: &Options, entries: &[Entry]) -> Staleness {
    let mut keys: HashMap<ValueId, KeyOps> = HashMap::new();
    let find = |value: &Value| history.values().find(value);
    let initial = find(&options.initial).unwrap_or(ValueId::NULL);
    for entry in entries.iter().filter(|entry| entry.may_have_happened()) {
        let key = if options.by_key {
            entry.key
        } else {
            ValueId::NULL
        };
        let (writes, reads) = keys.entry(key).or_default();
        let write = Write {
            invoked: entry.invoked,
            ended: entry.ended,
        };
        match entry.f {
            "read" | "r" if entry.is_ok() => reads.push(*entry),
            "write" | "w" => writes.push((entry.argument, write)),
            "cas" => {
                let new = find(&history.values().value(entry.argument)[1]);
                // A value that stands nowhere else was never read.
                writes.push((new.unwrap_or(entry.argument), write));
            }
            _ => {}
        }
    }
    let mut all = Staleness::default();
    for (writes, reads) in keys.into_values() {
        let rows: Vec<Write> = writes.iter().map(|(_, write)| *write).collect();
        let register = Register::of(writes, initial);
        for read in &reads {
            register.judge(history, *read, initial, &rows, &mut all);
        }
    }
    all
}

impl Register {
    /// Takes of all writes that the read may have seen the one that makes it least stale.
    fn judge(
        &self,
        history: &History,
        read: Entry,
        initial: ValueId,
        writes: &[Write],
        all: &mut Staleness,
    ) {
        let candidates = self
            .by_value
            .get(&read.answer)
            .map_or(&[][..], Vec::as_slice);
        let begun = candidates.iter().filter(|write| write.invoked < read.ended);
        let ends = begun
            .map(|write| Some(write.ended))
            .chain((read.answer == initial).then_some(None));
        let Some((replaced, ended)) = ends.map(|end| (self.replaced(end), end)).max() else {
            all.unwritten += 1;
            return;
        };
        if replaced >= read.invoked {
            return;
        }
        let time = |row: u32| history.row(row as usize).time;
        all.stale += 1;
        all.behind = all.behind.max(self.between(ended, read.invoked, writes));
        all.longest_ns = all
            .longest_ns
            .max(time(read.invoked).saturating_sub(time(replaced)));
    }
}
