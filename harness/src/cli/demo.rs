//! `ordeal demo`: a cluster that survives its ordeal, and one that must not.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;

use super::{Context, Exit, UsageError, launch};
use crate::runner::{Plan, Progress};
use crate::verdict::Results;

/// The playbook that a sound node survives.
const SOUND: (&str, &str) = (
    "quickstart.yaml",
    include_str!("../../../playbooks/quickstart.yaml"),
);

/// The playbook that finds a node broken on purpose.
const BROKEN: (&str, &str) = (
    "stale-reads.yaml",
    include_str!("../../../playbooks/canary/stale-reads.yaml"),
);

/// Show what this is: five nodes survive an ordeal, then a broken one is caught
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal doctor --fix && ordeal demo\n  \
    ordeal demo --keep")]
pub(super) struct Demo {
    /// Leave the lab up
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let folder = tempfile::tempdir()?;
        let read = |(name, text): (&str, &str)| -> anyhow::Result<Plan> {
            let file = folder.path().join(name);
            std::fs::write(&file, text)?;
            Plan::read(&file, &BTreeMap::new(), None).map_err(UsageError::wrap)
        };
        let (sound, broken) = (read(SOUND)?, read(BROKEN)?);
        let progress = Progress::new(context.json);
        let playbooks = [&sound.loaded.playbook, &broken.loaded.playbook];
        let ground = launch::Ground::prepare(context, playbooks, self.keep, &progress)?;
        let shown = (|| {
            let survived = launch::run(context, sound, &ground, &progress)?;
            let exit = launch::show(context, survived.folder.path(), &survived.results)?;
            if exit != Exit::Valid {
                return Ok(exit);
            }
            context.print_text(
                "\nnow a node that is broken on purpose: it answers reads from its own state\n",
            )?;
            let caught = launch::run(context, broken, &ground, &progress)?;
            launch::show(context, caught.folder.path(), &caught.results)?;
            verdict(context, caught.folder.path(), &caught.results)
        })();
        ground.leave(&progress)?;
        shown
    }
}

/// The demonstration succeeds when the broken node was caught.
fn verdict(context: &Context, folder: &Path, caught: &Results) -> anyhow::Result<Exit> {
    if launch::exit(caught) == Exit::Invalid {
        context
            .print_text("\nthe sound cluster kept its promises, and the broken one was caught")?;
        return Ok(Exit::Valid);
    }
    let folder = folder.display();
    context.print_text(format!(
        "\nthe broken cluster was not caught this time: see {folder}"
    ))?;
    Ok(Exit::Unknown)
}
