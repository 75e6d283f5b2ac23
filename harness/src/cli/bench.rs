//! `ordeal bench`: is the harness fast enough not to be what is measured?

use std::fmt::Write as _;

use clap::Args;

use super::{Context, Exit};
use crate::runner;

/// Measure the harness itself: generators, templates, client and recorder against a null server
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal bench\n  \
    ordeal bench --operations 5000000 --json")]
pub(super) struct Bench {
    /// How many operations
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    operations: u64,

    /// How many logical processes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    clients: u64,

    /// Leave out the check of what was recorded
    #[arg(long)]
    no_check: bool,
}

impl Bench {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        std::fs::create_dir_all(&context.store)?;
        // In the store, because what is measured includes the disk that runs are kept on.
        let folder = tempfile::Builder::new()
            .prefix(".bench.")
            .tempdir_in(&context.store)?;
        let figures = context.block_on(runner::bench(
            folder.path(),
            self.operations,
            self.clients as usize,
            !self.no_check,
        ))?;
        let mebibytes = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
        let mut text = format!(
            "{:.0} operations a second: {} in {:.1} s, of which {} ok\n\
             history {}, peak memory {}",
            figures.rate,
            figures.operations,
            figures.seconds,
            figures.ok,
            mebibytes(figures.history_bytes),
            mebibytes(figures.memory_run_bytes),
        );
        if let (Some(seconds), Some(bytes), Some(verdict)) = (
            figures.check_seconds,
            figures.memory_check_bytes,
            figures.verdict,
        ) {
            let memory = mebibytes(bytes);
            let _ = write!(
                text,
                "\ncheck: {verdict} in {seconds:.1} s, peak memory {memory}"
            );
        }
        let all_ok = figures.ok == figures.operations;
        let valid = figures.verdict.is_none_or(|verdict| verdict == "valid");
        context.print(&figures, text)?;
        Ok(if all_ok && valid {
            Exit::Valid
        } else {
            Exit::Harness
        })
    }
}
