//! One run from a plan to its report: what `run`, `demo`, `replay` and `shrink` have in common.

use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Context, Exit, UsageError};
use crate::cluster::{self, Cluster, lab};
use crate::report;
use crate::runner::{self, Plan, Progress, Setting};
use crate::store::RunFolder;
use crate::verdict::Results;

/// A cluster that is entered, and taken down at the end when it was brought up for this.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) cluster: Cluster,
    /// The lab to take down.
    brought_up: Option<String>,
}

impl Ground {
    /// Opens the cluster that the user chose; a lab that is not up is brought up.
    pub(super) fn prepare(
        context: &Context,
        nodes: usize,
        keep: bool,
        progress: &Progress,
    ) -> anyhow::Result<Ground> {
        let selector = context.selector();
        let mut brought_up = None;
        if let Some(name) = lab_name(selector)
            && lab::status(name)?.is_none_or(|status| !status.up)
        {
            progress.phase("lab up");
            lab::up(name, nodes as u16)?;
            brought_up = Some(name.to_owned());
        }
        let ground = cluster::open(selector).and_then(|cluster| {
            cluster.enter()?;
            Ok(cluster)
        });
        match ground {
            Ok(cluster) => Ok(Ground {
                cluster,
                brought_up: brought_up.filter(|_| !keep),
            }),
            Err(error) => {
                if let Some(name) = brought_up {
                    lab::down(&name)?;
                }
                Err(error.into())
            }
        }
    }

    /// Takes down what was brought up.
    pub(super) fn leave(self, progress: &Progress) -> anyhow::Result<()> {
        if let Some(name) = self.brought_up {
            progress.phase("lab down");
            lab::down(&name).with_context(|| format!("cannot take the lab {name} down"))?;
        }
        Ok(())
    }
}

fn lab_name(selector: &str) -> Option<&str> {
    match selector.split_once(':') {
        None if selector == "lab" => Some(lab::DEFAULT_NAME),
        Some(("lab", name)) => Some(name),
        _ => None,
    }
}

/// Runs a plan on a cluster, keeps everything in the store, and makes the report.
pub(super) fn run(
    context: &Context,
    plan: Plan,
    ground: &Ground,
    progress: &Progress,
) -> anyhow::Result<(RunFolder, Results)> {
    let plan = plan.on(&ground.cluster).map_err(UsageError::wrap)?;
    let folder = RunFolder::create(&context.store, &plan.loaded.playbook.name)?;
    progress.tell(&format!("run {} with seed {}", folder.name(), plan.seed));
    let results = context.block_on(async {
        let (interrupt, interrupted) = watch::channel(false);
        let listening = tokio::spawn(listen(interrupt));
        let setting = Setting {
            plan: &plan,
            cluster: &ground.cluster,
            folder: &folder,
            progress,
            interrupted,
        };
        let results = runner::run(setting).await;
        listening.abort();
        results
    })?;
    progress.phase("report");
    report::write(folder.path()).context("the report cannot be written")?;
    progress.finish();
    Ok((folder, results))
}

/// The first Ctrl-C ends the run in good order; after a third there is no order left to keep.
async fn listen(interrupt: watch::Sender<bool>) {
    let (Ok(mut asked), Ok(mut told)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    for times in 1.. {
        tokio::select! {
            _ = asked.recv() => {}
            _ = told.recv() => {}
        }
        interrupt.send_replace(true);
        match times {
            1 => eprintln!("interrupted: healing, then checking what there is"),
            2 => eprintln!("still healing; once more leaves everything as it is"),
            _ => std::process::exit(Exit::Harness as i32),
        }
    }
}

/// Shows a finished run on stdout.
pub(super) fn show(context: &Context, folder: &Path, results: &Results) -> anyhow::Result<Exit> {
    if context.json {
        context.print(results, "")?;
    } else {
        context.print_text(report::Report::read(folder)?.terminal(context.color))?;
    }
    Ok(exit(results))
}

/// How the process ends after a run.
pub(super) fn exit(results: &Results) -> Exit {
    match results.exit_code {
        0 => Exit::Valid,
        1 => Exit::Invalid,
        2 => Exit::Unknown,
        _ => Exit::Harness,
    }
}
