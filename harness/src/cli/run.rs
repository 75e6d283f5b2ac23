//! `ordeal run`: the main thing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::{Context, Exit, UsageError, launch};
use crate::runner::{Plan, Progress};

/// Run a playbook: deploy, torment, record, check, report
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal run playbooks/quickstart.yaml\n  \
    ordeal run playbooks/quickstart.yaml --seed 7 --set rate=500\n  \
    ordeal run playbooks/canary/stale-reads.yaml --on lab:mine --keep")]
pub(super) struct Run {
    /// The playbook
    playbook: PathBuf,

    /// Fixes the operations and the plan of faults
    #[arg(long)]
    seed: Option<u64>,

    #[command(flatten)]
    set: Set,

    /// Leave the lab up when it was brought up for this run
    #[arg(long)]
    keep: bool,
}

/// Values for a playbook's parameters.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// Give one of the playbook's parameters a value
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    values: Vec<(String, String)>,
}

impl Set {
    /// The values by name; the last one given counts.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        self.values.iter().cloned().collect()
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Run {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let plan =
            Plan::read(&self.playbook, &self.set.values(), self.seed).map_err(UsageError::wrap)?;
        let progress = Progress::new(context.json);
        let nodes = plan.loaded.playbook.nodes;
        let ground = launch::Ground::prepare(context, nodes, self.keep, &progress)?;
        let ran = launch::run(context, plan, &ground, &progress);
        let left = ground.leave(&progress);
        let (folder, results) = ran?;
        let exit = launch::show(context, folder.path(), &results)?;
        left?;
        Ok(exit)
    }
}
