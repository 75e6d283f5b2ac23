//! From a history to a table, and from an analysis to a report.

use serde_json::{Value, json};

use super::Standing;
use super::analysis::{Analysis, Limits, analyze};
use super::anomaly::{Anomaly, Because, Evidence, Step};
use super::explain::explain;
use super::level::Level;
use super::register::Assume;
use super::table::{Data, Header, Status, Table};
use crate::history::{Call, History, Op, Outcome};
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
    let name = options.model.name();
    let started = std::time::Instant::now();
    let table = match table_of(history, data) {
        Ok(table) => table,
        Err(reason) => return Report::unknown(name, reason),
    };
    let limits = Limits {
        deadline: started.checked_add(options.budget.time),
        memory_bytes: usize::try_from(options.budget.memory_bytes).ok(),
        assume: options.transactions.assume,
        ..Limits::default()
    };
    let analysis = analyze(&table, &limits);
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
    report
}

/// Reads the transactions of a history.
pub(crate) fn table_of(history: &History, data: Data) -> Result<Table, String> {
    let calls = history
        .calls()
        .map_err(|error| format!("the history is malformed: {error}"))?;
    let mut table = Table::new(data);
    for call in calls.iter() {
        let row = history.row(call.invoke as usize);
        if row.f != "txn" {
            continue;
        }
        let crate::history::Process::Client(process) = row.process else {
            continue;
        };
        let (status, completed) = match call.outcome(history) {
            Outcome::Ok => (Status::Committed, Some(call.complete)),
            Outcome::Fail => (Status::Aborted, Some(call.complete)),
            Outcome::Info => (Status::Unknown, None),
        };
        let told = if status == Status::Committed {
            call.complete
        } else {
            call.invoke
        };
        let value = history.values().json(history.row(told as usize).value);
        let header = Header {
            process,
            status,
            invoked: call.invoke,
            completed,
        };
        table.push(header, value.as_bytes()).map_err(|error| {
            format!(
                "op {} is no transaction: {error}",
                history.index(told as usize)
            )
        })?;
    }
    Ok(table)
}

fn judge(name: &str, analysis: &Analysis, level: Level) -> Report {
    if let Some(reason) = &analysis.unknown {
        return Report::unknown(name, reason.clone());
    }
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
        Verdict::Unknown => Some(format!(
            "nothing was found against {level}, but the order of some writes is not known"
        )),
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
                    explain(table, shown)
                } else {
                    Vec::new()
                },
                ops: ops(history, table, &shown.evidence),
                details: data(table, shown),
            },
        ));
    }
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, anomaly)| anomaly).collect()
}

fn ops(history: &History, table: &Table, evidence: &Evidence) -> Vec<Op> {
    let mut rows: Vec<u32> = Vec::new();
    for txn in evidence.transactions() {
        rows.extend([table.invoked(txn), table.completed(txn)]);
    }
    rows.retain(|&row| row != Call::OPEN);
    rows.sort_unstable();
    rows.into_iter()
        .map(|row| history.op(row as usize))
        .collect()
}

/// An anomaly as data: transactions by the row of their invocation.
fn data(table: &Table, anomaly: &Anomaly) -> Value {
    let txns = anomaly.evidence.transactions();
    let transactions: Vec<Value> = txns
        .iter()
        .map(|&txn| json!({"process": table.process(txn), "invoked": table.invoked(txn)}))
        .collect();
    let steps = match &anomaly.evidence {
        Evidence::Cycle(steps) | Evidence::Missed { path: steps, .. } => steps.as_slice(),
        _ => &[],
    };
    let name = |txn: u32| txns.iter().position(|&other| other == txn);
    let step = |step: &Step| {
        let mut edge = because(table, step.because);
        edge["from"] = json!(name(step.from));
        edge["to"] = json!(name(step.to));
        edge
    };
    json!({
        "transactions": transactions,
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
        "smallest": anomaly.smallest,
    })
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
        Because::Seen {
            reader,
            read,
            older,
        } => {
            let reader = table.invoked(reader);
            json!({"kind": "seen", "key": key(read), "value": value(older), "next": value(read), "reader": reader})
        }
        Because::Process => json!({"kind": "process"}),
        Because::Realtime => json!({"kind": "realtime"}),
    }
}
