//! `ordeal report`: shows a run again, in the format that the reader needs.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{Context, Exit, UsageError};
use crate::report::{self, Report, ReportError};

/// Show a run's report: on the terminal, as a page, for CI
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal report                          the last run, in short\n  \
    ordeal report --format html            writes report.html into the run's folder\n  \
    ordeal report RUN --format junit --output junit.xml\n  \
    ordeal report --format markdown >> \"$GITHUB_STEP_SUMMARY\"")]
pub(super) struct ReportVerb {
    /// The run: its name in the store, or a folder
    #[arg(default_value = "latest")]
    run: PathBuf,

    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Where to write it: a file, or - for stdout [default: stdout; for html, the run's folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A dozen lines for the terminal
    Text,
    /// One self-contained page
    Html,
    /// For CI: each property, goal and the harness is a test case
    Junit,
    /// For a CI job's summary
    Markdown,
    /// The summary as data
    Json,
}

impl ReportVerb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let stored = context.store.join(&self.run);
        let folder = if stored.is_dir() { stored } else { self.run };
        let report = Report::read(&folder).map_err(|error| match error {
            error @ ReportError::NotARun { .. } => UsageError::wrap(error),
            error => error.into(),
        })?;
        let format = if context.json {
            Format::Json
        } else {
            self.format
        };
        let text = match format {
            Format::Text => report.terminal(context.color),
            Format::Html => report.html()?,
            Format::Junit => report.junit(),
            Format::Markdown => report.markdown(),
            Format::Json => serde_json::to_string_pretty(&report.json())?,
        };
        let output = self
            .output
            .or_else(|| (format == Format::Html).then(|| folder.join(report::PAGE)))
            .filter(|path| path.as_os_str() != "-");
        match output {
            None => context.print_text(text)?,
            Some(path) => {
                std::fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                context.print_text(path.display())?;
            }
        }
        Ok(Exit::Valid)
    }
}
