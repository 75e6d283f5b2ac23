//! One run from a plan to its report: what `run`, `demo`, `replay` and `shrink` have in common.

use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Context, Exit, UsageError};
use crate::cluster::{self, Cluster, lab};
use crate::playbook::{FaultEntry, Playbook};
use crate::report;
use crate::runner::{self, Plan, Progress, Setting};
use crate::store::RunFolder;
use crate::verdict::Results;

/// The faults for which a node needs a disk of its own.
const DISK_FAULTS: [&str; 2] = ["full-disk", "power-cut"];

/// How large that disk is.
const DISK_MB: u32 = 512;

/// A cluster that is entered, and taken down at the end when it was brought up for this.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) cluster: Cluster,
    /// The lab to take down.
    brought_up: Option<String>,
}

impl Ground {
    /// Opens the cluster that the user chose; a lab that is not up is brought up, as large as the
    /// largest of these playbooks wants it, and with disks when any of them damages disks.
    pub(super) fn prepare<'a>(
        context: &Context,
        playbooks: impl IntoIterator<Item = &'a Playbook>,
        keep: bool,
        progress: &Progress,
    ) -> anyhow::Result<Ground> {
        let selector = context.proving_ground();
        let (mut nodes, mut disk_mb) = (1, None);
        for playbook in playbooks {
            nodes = nodes.max(playbook.nodes);
            let needs_disk = |entry: &FaultEntry| DISK_FAULTS.contains(&entry.fault.kind());
            if playbook.faults.iter().any(needs_disk) {
                disk_mb = Some(DISK_MB);
            }
        }
        let mut brought_up = None;
        if let Some(name) = lab_name(selector)
            && lab::status(name)?.is_none_or(|status| !status.up)
        {
            progress.phase("lab up");
            lab::up_with_disks(name, nodes as u16, disk_mb)?;
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

/// Refuses what can be seen to be wrong before anything is started.
pub(super) fn check(context: &Context, plan: &Plan) -> anyhow::Result<()> {
    if lab_name(context.proving_ground()).is_some() {
        plan.check_for_lab().map_err(UsageError::wrap)?;
    }
    Ok(())
}

fn lab_name(selector: &str) -> Option<&str> {
    match selector.split_once(':') {
        None if selector == "lab" => Some(lab::DEFAULT_NAME),
        Some(("lab", name)) => Some(name),
        _ => None,
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) folder: RunFolder,
    pub(super) results: Results,
    /// The user asked for an end.
    pub(super) interrupted: bool,
}

/// Runs a plan on a cluster, keeps everything in the store, and makes the report.
pub(super) fn run(
    context: &Context,
    plan: Plan,
    ground: &Ground,
    progress: &Progress,
) -> anyhow::Result<Ran> {
    let plan = plan.on(&ground.cluster).map_err(UsageError::wrap)?;
    let folder = RunFolder::create(&context.store, &plan.loaded.playbook.name)?;
    progress.tell(&format!("run {} with seed {}", folder.name(), plan.seed));
    let (results, interrupted) = context.block_on(async {
        let (interrupt, interrupted) = watch::channel(false);
        let listening = tokio::spawn(listen(interrupt));
        let setting = Setting {
            plan: &plan,
            cluster: &ground.cluster,
            folder: &folder,
            progress,
            interrupted: interrupted.clone(),
        };
        let results = runner::run(setting).await;
        listening.abort();
        Ok((results?, *interrupted.borrow()))
    })?;
    progress.phase("report");
    report::write(folder.path()).context("the report cannot be written")?;
    progress.finish();
    Ok(Ran {
        folder,
        results,
        interrupted,
    })
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
