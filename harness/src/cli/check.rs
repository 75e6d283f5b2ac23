//! `ordeal check`: decides whether a recorded history is consistent, whoever recorded it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ordeal_checker::history::{self, Format, History, ReadError, ReadOptions};
use ordeal_checker::txn::level::Level;
use ordeal_checker::{Anomaly, Budget, Model, Options, Report, Verdict};
use serde_json::Value;

use super::{Context, Exit, UsageError};

/// Check a recorded history: JSONL, Jepsen's EDN or text lines; gzip or zstd
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal check latest --model register\n  \
    ordeal check history.edn --model register\n  \
    zcat big.jsonl.gz | ordeal check - --model list-append --budget 5m,8GB\n  \
    ordeal check history.jsonl --certify proof.json\n\n\
    Exit codes: 0 valid, 1 invalid, 2 unknown, 3 the file could not be read, 64 bad input.")]
pub(super) struct Check {
    /// A history file, - for stdin, or a run: its name in the store or its folder
    #[arg(value_name = "FILE|RUN")]
    history: PathBuf,

    /// What to check it against
    #[arg(long, default_value = "register", value_parser = model)]
    model: Model,

    /// The isolation level that transactions must have kept
    #[arg(long, default_value = "strict-serializable", value_parser = level)]
    level: Level,

    /// What each object is: a key's, or the whole history
    #[arg(long, value_enum, default_value_t = By::Key)]
    by: By,

    /// Time and memory that may be spent, as 60s,2GB
    #[arg(long, default_value = "60s,2GB", value_parser = budget)]
    budget: Budget,

    /// What the object holds before the first op, as JSON
    #[arg(long, value_name = "JSON", value_parser = json, default_value = "null",
          allow_hyphen_values = true)]
    initial: Value,

    /// A failed cas says that the value differed, whatever its error
    #[arg(long)]
    failed_cas_differs: bool,

    /// Say more: the longest legal orders and where each is stuck
    #[arg(long)]
    explain: bool,

    /// Write the proof of the verdict to a file
    #[arg(long, value_name = "FILE")]
    certify: Option<PathBuf>,

    /// Threads to use [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    reading: Reading,
}

/// How to read a history.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Reading {
    /// The file's format [default: told by its first bytes]
    #[arg(long, value_enum)]
    format: Option<InputFormat>,

    /// Whether values are Jepsen's independent tuples [key value] [default: told by the reads]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    independent: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    Jsonl,
    Edn,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Each key is an object of its own
    Key,
    /// Keys do not matter
    Whole,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let started = Instant::now();
        if let Some(why) = self.model.refuses(&self.initial) {
            return Err(UsageError(format!("--initial: {why}")).into());
        }
        let deadline = started.checked_add(self.budget.time);
        let mut report = match read(&self.history, self.reading, deadline, context) {
            Ok(history) => self.check(&history, started),
            Err(error) if matches!(error.downcast_ref(), Some(ReadError::OutOfTime)) => {
                Report::unknown(self.model.name(), error.to_string())
            }
            Err(error) => return Err(error),
        };
        if report.verdict == Verdict::Valid && report.figures.ops == 0 {
            report.verdict = Verdict::Unknown;
            report.reason = Some("there is not one operation in it to check".into());
        }
        if let Some(path) = &self.certify {
            write_certificate(&report, path)?;
        }
        context.print(&report, text(&report, self.explain))?;
        Ok(match report.verdict {
            Verdict::Valid => Exit::Valid,
            Verdict::Invalid => Exit::Invalid,
            Verdict::Unknown => Exit::Unknown,
        })
    }

    /// Checks within what reading has left of the budget.
    fn check(&self, history: &History, started: Instant) -> Report {
        let mut options = Options::new(self.model);
        options.by_key = self.by == By::Key;
        options.budget = self.budget;
        options.budget.time = self.budget.time.saturating_sub(started.elapsed());
        options.initial = self.initial.clone();
        options.transactions.level = self.level;
        options.failed_cas_differs = self.failed_cas_differs;
        options.certify = self.certify.is_some();
        options.threads = self.threads;
        let progress = progress(format!("checking {} ops", history.len()));
        let report = ordeal_checker::check(history, &options);
        progress.finish_and_clear();
        report
    }
}

/// Reads a history; a run's folder or name stands for its history.
pub(super) fn read(
    path: &Path,
    how: Reading,
    deadline: Option<Instant>,
    context: &Context,
) -> anyhow::Result<History> {
    let path = find(path, context);
    let format = how.format.map(|format| match format {
        InputFormat::Jsonl => Format::Jsonl,
        InputFormat::Edn => Format::Edn,
        InputFormat::Text => Format::Text,
    });
    let options = ReadOptions {
        format,
        independent: how.independent,
        deadline,
    };
    let progress = progress(format!("reading {}", path.display()));
    let history = open(&path, &progress, options).map_err(|error| match error {
        late @ ReadError::OutOfTime => late.into(),
        ReadError::Syntax { .. } => UsageError(format!("{}: {error}", path.display())).into(),
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let expected = "expected a history, a run's folder, or the name of a run in the store";
            UsageError(format!("{} is not there: {expected}", path.display())).into()
        }
        ReadError::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData
            ) || error.to_string().contains("incomplete") =>
        {
            let expected =
                "expected a whole file in gzip or zstd, found one that is cut or damaged";
            UsageError(format!("{}: {expected} ({error})", path.display())).into()
        }
        ReadError::Io(error) => {
            anyhow::Error::from(error).context(format!("cannot read {}", path.display()))
        }
    });
    progress.finish_and_clear();
    history
}

/// Reads a file, telling how far it has come.
fn open(path: &Path, progress: &ProgressBar, options: ReadOptions) -> Result<History, ReadError> {
    if path == Path::new("-") {
        return history::read(io::stdin().lock(), options);
    }
    let file = std::fs::File::open(path)?;
    progress.set_length(file.metadata()?.len());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent} %, {elapsed}") {
        progress.set_style(style);
    }
    history::read(progress.wrap_read(file), options)
}

fn find(path: &Path, context: &Context) -> PathBuf {
    const HISTORY: &str = "history.jsonl";
    if path.is_dir() {
        return path.join(HISTORY);
    }
    let stored = context.store.join(path).join(HISTORY);
    if !path.exists() && stored.is_file() {
        stored
    } else {
        path.to_owned()
    }
}

/// A spinner on stderr once it takes over two seconds; nothing when stderr is no terminal.
fn progress(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(2));
    bar
}

fn write_certificate(report: &Report, path: &Path) -> anyhow::Result<()> {
    let proof = serde_json::json!({
        "verdict": report.verdict,
        "model": report.model,
        "proof": report.details,
        "counterexample": report.counterexample,
    });
    std::fs::write(path, serde_json::to_vec_pretty(&proof)?)
        .with_context(|| format!("cannot write the proof to {}", path.display()))
}

/// So many lines of an explanation are shown where the whole was not asked for.
const SHORT: usize = 12;

fn text(report: &Report, explain: bool) -> String {
    let figures = &report.figures;
    let mut lines = vec![format!(
        "{}: {}, {}, {}, {:.1} ms",
        report.verdict.name(),
        report.model,
        count(figures.ops, "operation"),
        count(figures.keys, "key"),
        figures.elapsed_ms
    )];
    lines.extend(report.reason.iter().cloned());
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    // It may be that of the worst anomaly.
    let told = |anomaly: &Anomaly| anomaly.explanation == report.explanation;
    if !report.anomalies.iter().any(told) {
        lines.extend(indented(report.explanation.clone(), explain));
    }
    for anomaly in &report.anomalies {
        lines.push(format!(
            "{}: {}",
            anomaly.name,
            count(anomaly.count, "time")
        ));
        let is_new = |line: &&String| report.reason.as_ref() != Some(line);
        let new = anomaly.explanation.iter().filter(is_new).cloned().collect();
        lines.extend(indented(new, explain));
    }
    lines.join("\n")
}

/// The lines of an explanation, as many as are asked for.
fn indented(mut lines: Vec<String>, explain: bool) -> Vec<String> {
    if !explain && lines.len() > SHORT {
        lines.truncate(SHORT);
        lines.push("… more with --explain".into());
    }
    lines.iter().map(|line| format!("  {line}")).collect()
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn model(name: &str) -> Result<Model, String> {
    name.parse()
}

fn level(name: &str) -> Result<Level, String> {
    Level::named(name).ok_or_else(|| {
        let names = Level::ALL.map(Level::name).join(", ");
        format!("no level is called {name:?}: must be one of {names}")
    })
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON: {error}"))
}

fn budget(text: &str) -> Result<Budget, String> {
    let mut budget = Budget::default();
    for part in text.split(',').map(str::trim) {
        if let Some(bytes) = bytes(part) {
            budget.memory_bytes = bytes;
        } else {
            budget.time = humantime::parse_duration(part).map_err(|_| {
                format!("expected a duration as 60s or a size as 2GB, found {part:?}")
            })?;
        }
    }
    Ok(budget)
}

fn bytes(text: &str) -> Option<u64> {
    let units = [
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim(), *unit)))?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_time_a_size_or_both() {
        let both = budget("5m,8GB").unwrap();
        assert_eq!(
            (both.time, both.memory_bytes),
            (Duration::from_secs(300), 8_000_000_000)
        );
        assert_eq!(
            budget("100ms").unwrap().memory_bytes,
            Budget::default().memory_bytes
        );
        assert!(budget("soon").unwrap_err().contains("60s"));
    }
}
