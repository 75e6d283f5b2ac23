//! From an analysis to a report.

use serde_json::{Value, json};

use super::Standing;
use super::analysis::{Analysis, Limits, analyze_under};
use super::anomaly::{Anomaly, Because, Evidence, Step};
use super::certificate::Event;
use super::explain::{explain, explain_least};
use super::least::{Least, least};
use super::level::Level;
use super::reading::table_of;
use super::register::Assume;
use super::table::{Data, NEVER, Table};
use super::work::Watch;
use crate::history::{Call, History, Op};
use crate::options::Options;
use crate::verdict::{self, Report, Verdict};

/// What is expected of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The level that must hold.
    pub level: Level,
    /// What may be taken for granted of each register.
    pub assume: Assume,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            level: Level::StrictSerializable,
            assume: Assume::default(),
        }
    }
}

/// Checks a history of transactions: ops whose f is `txn`, others are passed over.
pub(crate) fn check(history: &History, options: &Options, data: Data) -> Report {
    // Within the pool once: what is joined from outside wakes it each time.
    rayon::scope(|_| checked(history, options, data))
}

fn checked(history: &History, options: &Options, data: Data) -> Report {
    let name = options.model.name();
    let started = std::time::Instant::now();
    let limits = Limits {
        deadline: started.checked_add(options.budget.time),
        memory_bytes: usize::try_from(options.budget.memory_bytes).ok(),
        assume: options.transactions.assume,
        asked: options.transactions.level,
        ..Limits::default()
    };
    let watch = limits.watch();
    let table = match table_of(history, data, watch) {
        Ok(table) => table,
        Err(stop) => return Report::unknown(name, stop.to_string()),
    };
    let analysis = analyze_under(&table, &limits, watch);
    let mut report = judge(name, &analysis, options.transactions.level);
    report.figures.ops = table.len() as u64;
    report.figures.keys = table.keys() as u64;
    report.figures.memory_bytes = analysis.memory_bytes as u64;
    report.anomalies = anomalies(history, &table, &analysis, options.explain);
    if let Some(worst) = report.anomalies.first() {
        report.counterexample = worst.ops.clone();
        report.explanation = worst.explanation.clone();
    }
    report.details = details(&analysis, options.transactions.level);
    if report.verdict == Verdict::Invalid && options.explain {
        shorten(history, &table, &analysis, &limits, watch, &mut report);
    }
    if report.verdict == Verdict::Invalid {
        let cut = analysis.unknown.iter();
        report
            .notes
            .extend(cut.map(|stop| format!("{stop}: there may be more that is wrong")));
    }
    if let Some((level, events)) = analysis.certificate.as_ref().filter(|_| options.certify) {
        let event = |event: &Event| {
            let (word, txn) = match *event {
                Event::Start(txn) => ("start", txn),
                Event::Commit(txn) => ("commit", txn),
            };
            json!([word, history.index(table.invoked(txn) as usize)])
        };
        let order: Vec<Value> = events.iter().map(event).collect();
        report.details["certificate"] = json!({"level": level.name(), "order": order});
    }
    report
}

/// Where no anomaly shows why the level is refused, or only with many transactions, looks for the few that no
/// order explains.
fn shorten(
    history: &History,
    table: &Table,
    analysis: &Analysis,
    limits: &Limits,
    watch: Watch,
    report: &mut Report,
) {
    /// So many can be read through.
    const FEW: usize = 8;
    let many = |anomaly: &verdict::Anomaly| anomaly.ops.len() > 2 * FEW;
    if !report.anomalies.iter().all(many) {
        return;
    }
    // Of those that were searched for the weakest one was the last.
    let refuted = analysis.refuted.last().copied();
    let level = refuted.unwrap_or(limits.asked);
    let least = watch
        .holding(table.memory())
        .and_then(|watch| least(history, table, level, limits, watch));
    match least {
        Ok(least) => show(history, table, &least, report),
        Err(stop) if report.anomalies.is_empty() => report.notes.push(format!(
            "no few transactions are shown that no order explains: {stop}"
        )),
        Err(_) => {}
    }
}

/// Adds the transactions that no order explains.
fn show(history: &History, table: &Table, least: &Least, report: &mut Report) {
    let names: Vec<u32> = least.transactions.iter().map(|it| it.txn).collect();
    report.counterexample = rows_of(history, table, &names);
    report.explanation = explain_least(history, table, least);
    let transactions = least.transactions.iter().map(|it| {
        let mut told = transaction(history, table, &names, it.txn);
        told["wrote_only"] = json!(it.weakened);
        told
    });
    report.details["refused"] = json!({
        "level": least.level.name(),
        "transactions": transactions.collect::<Vec<_>>(),
        "steps": least.steps.iter().map(|it| edge(table, &names, it)).collect::<Vec<_>>(),
        "confirmed_by_second_engine": least.confirmed,
    });
}

fn judge(name: &str, analysis: &Analysis, level: Level) -> Report {
    let verdict = match analysis.standing(level) {
        Standing::Holds => Verdict::Valid,
        Standing::Violated => Verdict::Invalid,
        Standing::Open => Verdict::Unknown,
    };
    let mut report = Report::new(name, verdict);
    let names = |levels: Vec<Level>| {
        levels
            .into_iter()
            .map(Level::name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    report.reason = match verdict {
        Verdict::Valid => None,
        Verdict::Unknown => Some(analysis.unknown.clone().unwrap_or_else(|| {
            let undecided = analysis.undecided.iter();
            let why = undecided.clone().find(|(other, _)| *other == level);
            let why = why.or(undecided.clone().find(|(other, _)| other.covers(level)));
            let why = why.map_or("a search for cycles was cut short", |(_, why)| why);
            format!("nothing was found against {level}, but {why}")
        })),
        Verdict::Invalid => Some(format!(
            "not {level}: the weakest level broken is {}, the strongest that may hold is {}",
            names(analysis.weakest_violated()),
            Some(names(analysis.strongest_possible()))
                .filter(|n| !n.is_empty())
                .unwrap_or_else(|| "none".into()),
        )),
    };
    report
}

fn details(analysis: &Analysis, level: Level) -> Value {
    let standings = analysis.standings.iter().map(|(level, standing)| {
        let word = match standing {
            Standing::Holds => "holds",
            Standing::Violated => "violated",
            Standing::Open => "open",
        };
        (level.name().to_owned(), Value::from(word))
    });
    let names = |levels: Vec<Level>| levels.into_iter().map(Level::name).collect::<Vec<_>>();
    json!({
        "expected": level.name(),
        "levels": standings.collect::<serde_json::Map<_, _>>(),
        "weakest_violated": names(analysis.weakest_violated()),
        "strongest_possible": names(analysis.strongest_possible()),
    })
}

/// The anomalies, the worst kind first: the one that the weakest level forbids.
fn anomalies(
    history: &History,
    table: &Table,
    analysis: &Analysis,
    told: bool,
) -> Vec<verdict::Anomaly> {
    let mut all = Vec::new();
    for (kind, count) in analysis.findings.counts() {
        let kept = analysis
            .findings
            .kept
            .iter()
            .filter(|anomaly| anomaly.kind == kind);
        let size = |anomaly: &&Anomaly| anomaly.evidence.transactions().len();
        let Some(shown) = kept.min_by_key(size) else {
            continue;
        };
        let rank = super::level::forbidden_by(kind).first().copied();
        all.push((
            rank,
            verdict::Anomaly {
                name: kind.to_string(),
                count: count as u64,
                explanation: if told {
                    explain(history, table, shown)
                } else {
                    Vec::new()
                },
                ops: rows_of(history, table, &shown.evidence.transactions()),
                details: data(history, table, shown),
            },
        ));
    }
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, anomaly)| anomaly).collect()
}

/// The ops of transactions, in order of time.
fn rows_of(history: &History, table: &Table, txns: &[u32]) -> Vec<Op> {
    let mut rows: Vec<u32> = Vec::new();
    for &txn in txns {
        rows.extend([table.invoked(txn), table.completed(txn)]);
    }
    rows.retain(|&row| row != Call::OPEN);
    rows.sort_unstable();
    rows.into_iter()
        .map(|row| history.op(row as usize))
        .collect()
}

/// An anomaly as data: transactions by their ops' indexes, steps by the transactions' places.
fn data(history: &History, table: &Table, anomaly: &Anomaly) -> Value {
    let txns = anomaly.evidence.transactions();
    let transaction = |&txn: &u32| transaction(history, table, &txns, txn);
    let transactions: Vec<Value> = txns.iter().map(transaction).collect();
    let steps = match &anomaly.evidence {
        Evidence::Cycle(steps) | Evidence::Missed { path: steps, .. } => steps.as_slice(),
        _ => &[],
    };
    json!({
        "transactions": transactions,
        "steps": steps.iter().map(|it| edge(table, &txns, it)).collect::<Vec<_>>(),
        "smallest": anomaly.smallest,
    })
}

/// One of these transactions.
fn transaction(history: &History, table: &Table, txns: &[u32], txn: u32) -> Value {
    let index = |row: u32| (row != NEVER).then(|| history.index(row as usize));
    json!({
        "name": format!("T{}", name(txns, txn).map_or(0, |at| at + 1)),
        "process": table.process(txn),
        "invoked": index(table.invoked(txn)),
        "completed": index(table.completed(txn)),
    })
}

/// A step between two of these transactions.
fn edge(table: &Table, txns: &[u32], step: &Step) -> Value {
    let mut edge = because(table, step.because);
    edge["from"] = json!(name(txns, step.from));
    edge["to"] = json!(name(txns, step.to));
    if let Because::Seen { reader, .. } = step.because {
        edge["reader"] = json!(name(txns, reader));
    }
    edge
}

/// A transaction's place among those of an instance.
fn name(txns: &[u32], txn: u32) -> Option<usize> {
    txns.iter().position(|&other| other == txn)
}

fn because(table: &Table, because: Because) -> Value {
    let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let key = |version: u32| json(table.key_text(table.key_of(version)));
    let value = |version: u32| json(table.value_text(version));
    match because {
        Because::Ww { before, after } => {
            json!({"kind": "ww", "key": key(before), "value": value(before), "next": value(after)})
        }
        Because::Wr { version } => {
            json!({"kind": "wr", "key": key(version), "value": value(version)})
        }
        Because::Rw { read, after } => {
            json!({"kind": "rw", "key": key(read), "value": value(read), "next": value(after)})
        }
        Because::Seen { read, older, .. } => {
            json!({"kind": "seen", "key": key(read), "value": value(older), "next": value(read)})
        }
        Because::Process => json!({"kind": "process"}),
        Because::Realtime => json!({"kind": "realtime"}),
    }
}
