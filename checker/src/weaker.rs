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
    let actions = actions(history, options, entries);
    let Some(table) = actions.and_then(|actions| table(&actions)) else {
        return (Standing::Open, Standing::Open);
    };
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

/// What an operation reads and writes of a key, as JSON text; null stands for the initial value.
struct Action<'a> {
    entry: &'a Entry<'a>,
    key: String,
    reads: Option<String>,
    writes: Option<String>,
}

/// The reads and writes of all operations that may have happened; none when one is not understood.
fn actions<'a>(
    history: &History,
    options: &Options,
    entries: &'a [Entry<'a>],
) -> Option<Vec<Action<'a>>> {
    let json = |id: ValueId| history.values().json(id).into_owned();
    let initial = options.initial.to_string();
    let told = |value: String| match value {
        _ if value == initial => "null".to_owned(),
        _ if value == "null" => initial.clone(),
        other => other,
    };
    let mut actions = Vec::new();
    for entry in entries.iter().filter(|entry| entry.may_have_happened()) {
        let (reads, writes) = match entry.f {
            "read" | "r" if entry.is_ok() => (Some(json(entry.answer)), None),
            "write" | "w" => (None, Some(json(entry.argument))),
            "cas" => match history.values().value(entry.argument) {
                Value::Array(pair) if pair.len() == 2 => {
                    (Some(pair[0].to_string()), Some(pair[1].to_string()))
                }
                _ => return None,
            },
            _ => continue,
        };
        actions.push(Action {
            entry,
            key: json(if options.by_key {
                entry.key
            } else {
                ValueId::NULL
            }),
            reads: reads.map(told),
            writes: writes.map(told),
        });
    }
    Some(actions)
}

/// The operations as transactions; none when one writes the initial value, as it cannot be told then
/// which of the two a read saw.
fn table(actions: &[Action]) -> Option<Table> {
    let happened = happened(actions);
    let mut table = Table::new(Data::Registers);
    for (action, happened) in actions.iter().zip(happened) {
        let (key, mut steps) = (&action.key, Vec::new());
        if let Some(value) = &action.reads {
            steps.push(format!(r#"["r",{key},{value}]"#));
        }
        if let Some(value) = &action.writes {
            steps.push(format!(r#"["w",{key},{value}]"#));
        }
        let header = Header {
            process: action.entry.process,
            status: if happened {
                Status::Committed
            } else {
                Status::Unknown
            },
            invoked: action.entry.invoked,
            completed: Some(action.entry.ended).filter(|&row| row != Call::OPEN),
        };
        let text = format!("[{}]", steps.join(","));
        table.push(header, text.as_bytes()).ok()?;
    }
    Some(table)
}

/// Of each operation whether it is known to have happened: it was acknowledged, or what it wrote was
/// read by one that happened.
fn happened(actions: &[Action]) -> Vec<bool> {
    let mut happened: Vec<bool> = actions.iter().map(|action| action.entry.is_ok()).collect();
    let mut writers: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (at, action) in actions.iter().enumerate() {
        if let Some(value) = &action.writes {
            writers.entry((&action.key, value)).or_default().push(at);
        }
    }
    let mut known: Vec<usize> = (0..actions.len()).filter(|&at| happened[at]).collect();
    while let Some(at) = known.pop() {
        let Some(value) = &actions[at].reads else {
            continue;
        };
        for &writer in writers
            .get(&(actions[at].key.as_str(), value.as_str()))
            .into_iter()
            .flatten()
        {
            if !std::mem::replace(&mut happened[writer], true) {
                known.push(writer);
            }
        }
    }
    happened
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
        let counted = |number: u64, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let reads = match self {
            Self { unwritten: 1.., .. } => format!(
                "{} saw what nobody had begun to write",
                counted(self.unwritten, "read")
            ),
            Self { stale: 0, .. } => "every read is regular: none saw a replaced value".to_owned(),
            _ => format!(
                "{} saw a replaced value, at most {} ms and {} old",
                counted(self.stale, "read"),
                self.longest_ns.div_ceil(1_000_000),
                counted(self.behind, "version"),
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
    /// Ends and beginnings of writes that ended, in order of the ends.
    ends: Vec<(u32, u32)>,
    /// Invocations of writes, with the least end among those from each on.
    begins: Vec<(u32, u32)>,
}

impl Register {
    fn of(writes: Vec<(ValueId, Write)>) -> Self {
        let mut ends: Vec<(u32, u32)> = writes.iter().map(|(_, w)| (w.ended, w.invoked)).collect();
        ends.retain(|(ended, _)| *ended != Call::OPEN);
        ends.sort_unstable();
        let mut begins: Vec<(u32, u32)> =
            writes.iter().map(|(_, w)| (w.invoked, w.ended)).collect();
        begins.sort_unstable();
        for at in (1..begins.len()).rev() {
            begins[at - 1].1 = begins[at - 1].1.min(begins[at].1);
        }
        let mut by_value: HashMap<ValueId, Vec<Write>> = HashMap::new();
        for (value, write) in writes {
            by_value.entry(value).or_default().push(write);
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

    /// The most versions that a stale read is behind: of each the writes that began after the one
    /// that it saw had ended, and had ended before it began.
    fn behind(&self, mut stale: Vec<Stale>) -> u64 {
        stale.sort_unstable_by_key(|read| read.invoked);
        // Begins of the writes that had ended so far, counted by place (Fenwick 1994).
        let mut counts = vec![0_u64; self.begins.len() + 1];
        let place = |row: u32| self.begins.partition_point(|(began, _)| *began < row);
        let (mut ended, mut behind) = (0, 0);
        for read in stale {
            while let Some((_, began)) = self.ends.get(ended).filter(|(end, _)| *end < read.invoked)
            {
                let mut at = place(*began) + 1;
                while at < counts.len() {
                    counts[at] += 1;
                    at += at & at.wrapping_neg();
                }
                ended += 1;
            }
            let mut later = ended as u64;
            let mut at = read.saw.map_or(0, place);
            while at > 0 {
                later -= counts[at];
                at &= at - 1;
            }
            behind = behind.max(later);
        }
        behind
    }
}

/// A read of a value that was surely replaced before.
#[derive(Clone, Copy)]
struct Stale {
    invoked: u32,
    /// Where the write that it saw had ended; none: it saw what was there from the start.
    saw: Option<u32>,
}

/// One key's writes, each with its value, and its reads.
type KeyOps<'a> = (Vec<(ValueId, Write)>, Vec<Entry<'a>>);

fn staleness(history: &History, options: &Options, entries: &[Entry]) -> Staleness {
    let mut keys: HashMap<ValueId, KeyOps> = HashMap::new();
    let find = |value: &Value| history.values().find(value);
    let initial = find(&options.initial);
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
        let register = Register::of(writes);
        let judge = |read: &Entry| register.judge(history, *read, initial, &mut all);
        let stale: Vec<Stale> = reads.iter().filter_map(judge).collect();
        all.behind = all.behind.max(register.behind(stale));
    }
    all
}

impl Register {
    /// Takes of all writes that the read may have seen the one that makes it least stale.
    fn judge(
        &self,
        history: &History,
        read: Entry,
        initial: Option<ValueId>,
        all: &mut Staleness,
    ) -> Option<Stale> {
        let candidates = self
            .by_value
            .get(&read.answer)
            .map_or(&[][..], Vec::as_slice);
        let begun = candidates.iter().filter(|write| write.invoked < read.ended);
        let ends = begun
            .map(|write| Some(write.ended))
            .chain((Some(read.answer) == initial).then_some(None));
        let Some((replaced, saw)) = ends.map(|end| (self.replaced(end), end)).max() else {
            all.unwritten += 1;
            return None;
        };
        if replaced >= read.invoked {
            return None;
        }
        let time = |row: u32| history.row(row as usize).time;
        let stale_ns = time(read.invoked).saturating_sub(time(replaced));
        all.stale += 1;
        all.longest_ns = all.longest_ns.max(stale_ns);
        let invoked = read.invoked;
        Some(Stale { invoked, saw })
    }
}
