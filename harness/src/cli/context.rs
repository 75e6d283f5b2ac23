//! What every verb gets: the global options, and the ways to the terminal and to a runtime.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::UsageError;
use crate::remembered;
use crate::store::RunFolder;

/// The options that every verb understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where runs are kept
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ORDEAL_STORE",
        default_value = "store"
    )]
    pub store: PathBuf,

    /// The cluster to work on: lab, lab:NAME, vagrant, ssh:NAME,NAME… or an inventory file
    #[arg(long, global = true, value_name = "CLUSTER", env = "ORDEAL_ON")]
    pub on: Option<String>,

    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Log more: -v what is done, -vv how, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// No colours (as with `NO_COLOR` set)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The global options, interpreted.
#[derive(Debug)]
pub struct Context {
    /// Where runs are kept.
    pub store: PathBuf,
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Whether stdout and stderr take colours.
    pub color: bool,
    on: Option<String>,
}

impl Context {
    /// A run in the store that the user named.
    pub(super) fn recorded(&self, run: &str) -> anyhow::Result<RunFolder> {
        RunFolder::open(&self.store, run).map_err(UsageError::wrap)
    }

    /// Interprets the options and sets up the log. Called once, by the command line's `main`.
    pub(super) fn new(global: Global) -> Self {
        let color = !global.no_color
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::io::stdout().is_terminal()
            && std::io::stderr().is_terminal();
        let level = match global.verbose {
            0 => "warn",
            1 => "warn,ordeal=info,ordeal_checker=info",
            2 => "info,ordeal=debug,ordeal_checker=debug",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_env("ORDEAL_LOG").unwrap_or_else(|_| level.into());
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(color)
            .with_target(global.verbose > 1)
            .init();
        Self {
            store: global.store,
            json: global.json,
            color,
            on: global.on,
        }
    }

    /// The selector of the cluster to look at or to operate: `--on`, or the one that is
    /// remembered, or the local lab.
    pub fn selector(&self) -> String {
        let named = self.on.clone().or_else(remembered::cluster);
        named.unwrap_or_else(|| "lab".into())
    }

    /// The selector of the cluster to run on, and so to wipe: `--on`, or the local lab. What is
    /// remembered is too easily forgotten for that.
    pub fn proving_ground(&self) -> &str {
        self.on.as_deref().unwrap_or("lab")
    }

    /// The cluster that was named, if one was.
    pub fn named_selector(&self) -> Option<&str> {
        self.on.as_deref()
    }

    /// Runs a future to its end on a runtime of its own.
    ///
    /// The runtime's threads inherit the namespaces of the calling thread: enter the cluster
    /// before, not within.
    pub fn block_on<T>(
        &self,
        future: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the asynchronous runtime")?
            .block_on(future)
    }

    /// Prints a result: as JSON under `--json`, else as the given text.
    pub fn print(
        &self,
        result: &impl Serialize,
        text: impl std::fmt::Display,
    ) -> anyhow::Result<()> {
        if self.json {
            self.print_text(serde_json::to_string_pretty(result)?)
        } else {
            self.print_text(text)
        }
    }

    /// Prints text on stdout. That nobody reads it (`| head`) is no failure.
    pub fn print_text(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        match writeln!(std::io::stdout(), "{}", text.to_string().trim_end()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to stdout")
            }
            _ => Ok(()),
        }
    }

    /// The one place where an error becomes text.
    pub(super) fn error_text(&self, error: &anyhow::Error) -> String {
        let label = if self.color {
            "\x1b[1;31merror:\x1b[0m"
        } else {
            "error:"
        };
        format!("{label} {error:#}")
    }
}
