//! `ordeal history`: makes histories up, looks at them, turns them into other formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ordeal_checker::history::{Format, History, Process, Type, write_file};
use serde::Serialize;
use serde_json::Value;

use super::check::{Reading, read};
use super::generate::Generate;
use super::{Context, Exit, UsageError};

/// Make up, look at, filter and convert histories
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal history stats store/latest/history.jsonl\n  \
    ordeal history head store/latest/history.jsonl\n  \
    ordeal history filter store/latest/history.jsonl --key k3\n  \
    ordeal history convert history.edn history.jsonl\n  \
    ordeal history generate --ops 5000 --cas 0.2 --seed 7\n  \
    ordeal history generate --model list-append --anomaly G-single -o bad.jsonl")]
pub(super) struct HistoryVerb {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make up a history from a seed
    Generate(Generate),
    /// Count what is in a history
    Stats(Input),
    /// Show the first ops
    Head {
        #[command(flatten)]
        input: Input,
        /// How many
        #[arg(short, default_value_t = 10)]
        n: usize,
    },
    /// Keep some of the ops
    Filter(Filter),
    /// Write a history in another format
    Convert {
        #[command(flatten)]
        input: Input,
        /// Where to: .jsonl or .edn, packed with .gz or .zst; - for JSONL on stdout
        to: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Input {
    /// A history file, - for stdin, or a run
    #[arg(value_name = "FILE|RUN")]
    history: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Debug, Args)]
struct Filter {
    #[command(flatten)]
    input: Input,
    /// Only this key, as JSON or bare text
    #[arg(long)]
    key: Option<String>,
    /// Only this process, a number or nemesis
    #[arg(long)]
    process: Option<String>,
    /// Only this function
    #[arg(long)]
    f: Option<String>,
    /// Where to
    #[arg(short, long, default_value = "-")]
    output: PathBuf,
}

/// What is in a history.
#[derive(Debug, Serialize)]
struct Stats {
    ops: usize,
    nemesis_ops: usize,
    processes: usize,
    keys: usize,
    seconds: f64,
    /// By function: how many of each type.
    functions: BTreeMap<String, BTreeMap<&'static str, usize>>,
    notes: Vec<String>,
}

impl HistoryVerb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self.action {
            Action::Generate(how) => write(&how.history()?, &how.output)?,
            Action::Stats(input) => {
                let stats = stats(&input.read(context)?);
                context.print(&stats, stats.text())?;
            }
            Action::Head { input, n } => {
                let history = input.read(context)?;
                let first: History = history.ops().take(n).collect();
                write(&first, &PathBuf::from("-"))?;
            }
            Action::Filter(filter) => {
                let history = filter.input.read(context)?;
                write(&filter.apply(&history), &filter.output)?;
            }
            Action::Convert { input, to } => write(&input.read(context)?, &to)?,
        }
        Ok(Exit::Valid)
    }
}

impl Input {
    fn read(&self, context: &Context) -> anyhow::Result<History> {
        read(&self.history, self.reading, None, context)
    }
}

impl Filter {
    fn apply(&self, history: &History) -> History {
        let key = self
            .key
            .as_ref()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str())));
        history
            .ops()
            .filter(|op| key.as_ref().is_none_or(|key| *key == op.key))
            .filter(|op| self.f.as_ref().is_none_or(|f| *f == op.f))
            .filter(|op| {
                self.process
                    .as_ref()
                    .is_none_or(|it| *it == op.process.to_string())
            })
            .collect()
    }
}

fn write(history: &History, path: &Path) -> anyhow::Result<()> {
    let format = match Format::of_name(path) {
        Some(format @ (Format::Jsonl | Format::Edn)) => format,
        _ if path == Path::new("-") => Format::Jsonl,
        _ => {
            let expected = "expected a name in .jsonl or .edn, or one of these and .gz or .zst";
            return Err(UsageError(format!("{}: {expected}", path.display())).into());
        }
    };
    match write_file(history, path, format) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).with_context(|| format!("cannot write {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn stats(history: &History) -> Stats {
    let mut stats = Stats {
        ops: history.len(),
        nemesis_ops: 0,
        processes: 0,
        keys: 0,
        seconds: 0.0,
        functions: BTreeMap::new(),
        notes: history.notes().to_vec(),
    };
    let mut processes = std::collections::HashSet::new();
    let mut keys = std::collections::HashSet::new();
    let mut counts: BTreeMap<(String, &'static str), usize> = BTreeMap::new();
    for row in history.rows() {
        stats.seconds = stats.seconds.max(row.time as f64 / 1e9);
        if row.process == Process::Nemesis {
            stats.nemesis_ops += 1;
            continue;
        }
        processes.insert(row.process);
        if row.type_ == Type::Invoke && !row.key.is_null() {
            keys.insert(row.key);
        }
        *counts
            .entry((row.f.to_owned(), row.type_.name()))
            .or_default() += 1;
    }
    for ((f, type_), count) in counts {
        stats.functions.entry(f).or_default().insert(type_, count);
    }
    stats.processes = processes.len();
    stats.keys = keys.len();
    stats
}

impl Stats {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{} ops by {} processes on {} keys in {:.3} s; {} nemesis ops",
            self.ops, self.processes, self.keys, self.seconds, self.nemesis_ops
        )];
        for (f, types) in &self.functions {
            let types: Vec<String> = types
                .iter()
                .map(|(type_, count)| format!("{type_} {count}"))
                .collect();
            lines.push(format!("{f}: {}", types.join(", ")));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}
