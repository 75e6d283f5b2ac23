//! Anomalies in words.
//!
//! A reader who does not believe the checker should come to believe it here: every transaction is
//! named, every step of a cycle says which read and which write make it, and the last step closes
//! the circle.

use std::time::Duration;

use super::anomaly::{Anomaly, Because, Evidence, Kind, Order, Shape, Step};
use super::least::{Kept, Least};
use super::table::{Data, MicroOp, NEVER, Status, Table};
use crate::history::History;

/// Explains an anomaly, a sentence a line.
pub(crate) fn explain(history: &History, table: &Table, anomaly: &Anomaly) -> Vec<String> {
    let words = Words {
        history,
        table,
        names: anomaly.evidence.transactions(),
    };
    let mut lines = vec![format!("{}: {}.", anomaly.kind, meaning(anomaly.kind))];
    lines.extend(words.names.iter().map(|&txn| words.introduce(txn, false)));
    words.evidence(&anomaly.evidence, &mut lines);
    if !anomaly.smallest {
        lines.push("The search was cut short: a smaller cycle of this kind may exist.".into());
    }
    lines
}

/// Explains why no order does, a sentence a line.
pub(crate) fn explain_least(history: &History, table: &Table, least: &Least) -> Vec<String> {
    /// So many steps are told.
    const TOLD_MAX: usize = 24;
    let names: Vec<u32> = least.transactions.iter().map(|it| it.txn).collect();
    let words = Words {
        history,
        table,
        names,
    };
    let (level, count) = (least.level, least.transactions.len());
    let mut lines = vec![format!(
        "No order of these {count} transactions is {level}, whatever the others did and whichever write came first:"
    )];
    let introduce = |it: &Kept| words.introduce(it.txn, it.weakened);
    lines.extend(least.transactions.iter().map(introduce));
    lines.extend(least.steps.iter().take(TOLD_MAX).map(|it| words.step(it)));
    let untold = least.steps.len().saturating_sub(TOLD_MAX);
    if untold > 0 {
        lines.push(format!("… and {untold} more stand before others."));
    }
    lines.push(match least.confirmed {
        Some(true) => "Each of their orders was tried: none explains what they read.".into(),
        Some(false) => {
            "An order of them does explain what they read: this is a mistake in the checker, please report it."
                .into()
        }
        None => "There are too many orders of them to try each.".into(),
    });
    lines
}

/// What a kind of anomaly is, as half a sentence.
pub(crate) fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Cycle(_, Order::Process) => {
            "a cycle of dependencies, if each client's transactions happen in its order"
        }
        Kind::Cycle(_, Order::Realtime) => {
            "a cycle of dependencies, if what had ended stands before what began later"
        }
        Kind::Cycle(Shape::G0, _) => "dirty write: transactions overwrote each other in a circle",
        Kind::Cycle(Shape::G1c, _) => {
            "circular information flow: each depends on what the next wrote"
        }
        Kind::Cycle(Shape::GSingle, _) => {
            "read skew: one anti-dependency closes a circle of dependencies"
        }
        Kind::Cycle(Shape::GNonadjacent, _) => {
            "several anti-dependencies, no two in a row, close a circle"
        }
        Kind::Cycle(Shape::G2Item, _) => "write skew: anti-dependencies in a row close a circle",
        Kind::G1a => "aborted read: a committed transaction saw a write of an aborted one",
        Kind::G1b => "intermediate read: a transaction saw a write that its writer replaced itself",
        Kind::LostUpdate => "a transaction replaced a version that it had not read",
        Kind::DirtyUpdate => "a committed write stands on an aborted one",
        Kind::Internal => "a transaction contradicts its own reads and writes",
        Kind::IncompatibleOrder => "a read shows writes of a key in another order than others do",
        Kind::Duplicates => "a write took effect more than once",
        Kind::Garbage => "a value was read that nobody wrote",
        Kind::CyclicVersions => "the versions of one key contradict each other",
        Kind::NonMonotonicView => {
            "a transaction saw another's write, and later missed its other one"
        }
        Kind::FracturedRead => "a transaction saw a part of another",
        Kind::CausalityViolation => "a transaction missed what it depends on",
    }
}

impl Evidence {
    /// The transactions that take part, each once, in order of appearance.
    pub(crate) fn transactions(&self) -> Vec<u32> {
        let mut all = match self {
            Self::Cycle(steps) => steps.iter().flat_map(Step::transactions).collect(),
            Self::Read { reader, writer, .. } => std::iter::once(*reader).chain(*writer).collect(),
            Self::Twice { txn, .. } | Self::Internal { txn, .. } => vec![*txn],
            Self::Disagrees { txn, other, .. } => vec![*txn, *other],
            Self::On { writers, .. } => writers.to_vec(),
            Self::Updates { first, second, .. } => vec![*first, *second],
            Self::Between { txn, by, .. } => vec![*txn, *by],
            Self::Versions(_) => Vec::new(),
            Self::Missed { reader, path, .. } => {
                let mut all: Vec<u32> = path.iter().flat_map(Step::transactions).collect();
                all.push(*reader);
                all
            }
        };
        let mut seen = hashbrown::HashSet::new();
        all.retain(|txn| seen.insert(*txn));
        all
    }
}

impl Step {
    fn transactions(&self) -> impl Iterator<Item = u32> + use<> {
        let reader = match self.because {
            Because::Seen { reader, .. } => Some(reader),
            _ => None,
        };
        std::iter::once(self.from).chain(reader)
    }
}

struct Words<'a> {
    history: &'a History,
    table: &'a Table,
    names: Vec<u32>,
}

impl Words<'_> {
    fn name(&self, txn: u32) -> String {
        let at = self.names.iter().position(|&other| other == txn);
        at.map_or_else(
            || format!("the transaction of row {txn}"),
            |at| format!("T{}", at + 1),
        )
    }

    /// What a transaction did, or only what it wrote.
    fn introduce(&self, txn: u32, wrote_only: bool) -> String {
        let table = self.table;
        let ops = table.ops(txn).iter();
        let ops = ops.filter(|op| !wrote_only || op.written().is_some());
        let ops: Vec<String> = ops.map(|op| self.op(*op)).collect();
        let began = self.moment(table.invoked(txn));
        let ended = match (table.status(txn), table.completed(txn)) {
            (Status::Aborted, end) => format!("aborted at {}", self.moment(end)),
            (_, NEVER) => "of unknown outcome".to_owned(),
            _ if wrote_only => "whenever it ended".to_owned(),
            (_, end) => format!("committed at {}", self.moment(end)),
        };
        format!(
            "{} (process {}, began at {began}, {ended}): {}.",
            self.name(txn),
            table.process(txn),
            ops.join(", "),
        )
    }

    /// When a row of the history was recorded.
    fn moment(&self, row: u32) -> String {
        let row = row as usize;
        let seconds = Duration::from_nanos(self.history.row(row).time).as_secs_f64();
        format!("op {} ({seconds:.3} s)", self.history.index(row))
    }

    fn op(&self, op: MicroOp) -> String {
        let key = self.table.key_text(op.key);
        match (op.written(), self.table.data()) {
            (Some(version), Data::Lists) => format!("append {} to {key}", self.value(version)),
            (Some(version), Data::Registers) => format!("write {} to {key}", self.value(version)),
            (None, Data::Registers) => {
                format!("read {} of {key}", self.value(self.table.observed(op)))
            }
            (None, Data::Lists) => format!("read {} of {key}", self.list(op)),
        }
    }

    /// A list, its middle left out when it is long.
    fn list(&self, op: MicroOp) -> String {
        const SHOWN: usize = 6;
        let list = self.table.list(op);
        let values = |part: &[u32]| {
            part.iter()
                .map(|&version| self.value(version))
                .collect::<Vec<_>>()
                .join(" ")
        };
        if list.len() <= 2 * SHOWN {
            return format!("[{}]", values(list));
        }
        let (head, tail) = (&list[..SHOWN], &list[list.len() - SHOWN..]);
        format!(
            "[{} … {}] ({} values)",
            values(head),
            values(tail),
            list.len()
        )
    }

    fn value(&self, version: u32) -> &str {
        if self.table.is_initial(version) {
            "the initial state"
        } else {
            self.table.value_text(version)
        }
    }

    fn key(&self, version: u32) -> &str {
        self.table.key_text(self.table.key_of(version))
    }

    fn evidence(&self, evidence: &Evidence, lines: &mut Vec<String>) {
        match evidence {
            Evidence::Cycle(steps) => self.cycle(steps, lines),
            Evidence::Missed {
                reader,
                version,
                newer,
                path,
            } => {
                lines.extend(path.iter().map(|step| self.step(step)));
                lines.push(format!(
                    "So {} should have seen {} of key {} or something later, but it read {}.",
                    self.name(*reader),
                    self.value(*newer),
                    self.key(*newer),
                    self.value(*version),
                ));
            }
            other => lines.push(self.single(other)),
        }
    }

    fn single(&self, evidence: &Evidence) -> String {
        let (value, key) = (
            |version: u32| self.value(version),
            |version: u32| self.key(version),
        );
        match evidence {
            Evidence::Read {
                reader,
                version,
                writer,
            } => {
                let reader = self.name(*reader);
                let by = writer.map_or("nobody".to_owned(), |writer| self.name(writer));
                format!(
                    "{reader} saw {} of key {}, written by {by}.",
                    value(*version),
                    key(*version)
                )
            }
            Evidence::Twice { txn, version, .. } => format!(
                "{} read a list of key {} that holds {} twice.",
                self.name(*txn),
                key(*version),
                value(*version),
            ),
            Evidence::Disagrees { txn, op, other, at } => {
                let op = self.table.ops(*txn)[*op as usize];
                format!(
                    "{} and {} read key {} and differ from place {} on: neither is a part of the other.",
                    self.name(*txn),
                    self.name(*other),
                    self.table.key_text(op.key),
                    at + 1,
                )
            }
            Evidence::Internal { txn, op, other } => {
                let ops = self.table.ops(*txn);
                format!(
                    "Within {} \"{}\" contradicts \"{}\".",
                    self.name(*txn),
                    self.op(ops[*op as usize]),
                    self.op(ops[*other as usize]),
                )
            }
            Evidence::On {
                aborted,
                committed,
                writers: [by, on],
            } => format!(
                "{} wrote {} of key {} directly on {}, which {} wrote and did not commit.",
                self.name(*on),
                value(*committed),
                key(*committed),
                value(*aborted),
                self.name(*by),
            ),
            Evidence::Updates {
                version,
                first,
                second,
            } => format!(
                "{} and {} both read {} of key {} and then wrote the key: neither saw the other's write.",
                self.name(*first),
                self.name(*second),
                value(*version),
                key(*version),
            ),
            Evidence::Between {
                txn,
                version,
                written,
                between,
                by,
            } => format!(
                "{} read {} of key {} and then wrote {}, but {} had written {} in between, which is lost.",
                self.name(*txn),
                value(*version),
                key(*version),
                value(*written),
                self.name(*by),
                value(*between),
            ),
            Evidence::Versions(versions) => {
                let mut way: Vec<&str> = versions.iter().map(|&version| value(version)).collect();
                way.extend(way.first().copied());
                format!("Of key {}: {}.", key(versions[0]), way.join(" is before "))
            }
            Evidence::Cycle(_) | Evidence::Missed { .. } => unreachable!("told step by step"),
        }
    }

    fn cycle(&self, steps: &[Step], lines: &mut Vec<String>) {
        for (at, step) in steps.iter().enumerate() {
            let last = at + 1 == steps.len();
            let sentence = self.step(step);
            lines.push(if last && at > 0 {
                format!("But {sentence}")
            } else {
                sentence
            });
        }
        lines.push(
            "Each would have to stand before the next, and the last before the first.".into(),
        );
    }

    fn step(&self, step: &Step) -> String {
        let (from, to) = (self.name(step.from), self.name(step.to));
        let because = match step.because {
            Because::Ww { before, after } => format!(
                "{from} wrote {} of key {}, and {to} wrote {} after it",
                self.value(before),
                self.key(before),
                self.value(after),
            ),
            Because::Wr { version } => format!(
                "{to} saw {} of key {}, which {from} wrote",
                self.value(version),
                self.key(version),
            ),
            Because::Rw { read, after } => format!(
                "{from} saw {} of key {}, and did not see {}, which {to} wrote after it",
                self.value(read),
                self.key(read),
                self.value(after),
            ),
            Because::Seen {
                reader,
                read,
                older,
            } => format!(
                "{} could see {} of key {}, which {from} wrote, and read {}, which {to} wrote",
                self.name(reader),
                self.value(older),
                self.key(older),
                self.value(read),
            ),
            Because::Process => format!(
                "process {} did {from} first and {to} later",
                self.table.process(step.from),
            ),
            Because::Realtime => format!(
                "{from} had ended at {} when {to} began at {}",
                self.moment(self.table.completed(step.from)),
                self.moment(self.table.invoked(step.to)),
            ),
        };
        format!("{from} is before {to}: {because}.")
    }
}
