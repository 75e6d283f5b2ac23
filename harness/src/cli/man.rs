//! `ordeal man`: a manual page for each verb.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Context, Exit};

/// Write the manual pages, one for each verb
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal man /usr/local/share/man/man1\n  \
    ordeal man /tmp/man && man /tmp/man/ordeal.1")]
pub(super) struct Man {
    /// The folder to write them to; it is made if it is missing
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let directory = &self.directory;
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(super::command(), directory))
            .with_context(|| format!("cannot write manual pages to {}", directory.display()))?;
        context.print(
            directory,
            format!("manual pages are in {}", directory.display()),
        )?;
        Ok(Exit::Valid)
    }
}
