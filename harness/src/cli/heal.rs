//! `ordeal heal`: undoes what a harness that died has left behind.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::fault::BY_HAND;
use super::{Context, Exit, UsageError};
use crate::cluster::{self, Cluster, Kind};
use crate::control::Control;
use crate::journal::{self, Journal, JournalError, Outstanding};
use crate::nemesis::{Aftermath, heal_outstanding, heal_tag};

/// Undo faults that a killed run has left behind
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal heal                   what any run in the store has left\n  \
    ordeal heal latest            what the last run has left\n  \
    ordeal heal all --on lab      and whatever else is on the lab's nodes\n\n\
    A run that is still going is left alone: Ctrl-C makes it heal and end.")]
pub(super) struct Heal {
    /// A run's name or folder, `latest`, or `all`
    #[arg(default_value = "all")]
    run: String,
}

/// What was healed, for one journal or one cluster.
#[derive(Debug, Default, Serialize)]
struct Healed {
    what: String,
    faults: Vec<String>,
    undone: Vec<String>,
    errors: Vec<String>,
}

impl Heal {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let all = self.run == "all";
        let mut healed = Vec::new();
        for path in self.journals(&context.store)? {
            match Journal::resume(&path) {
                Ok((_, outstanding)) if outstanding.faults.is_empty() => {}
                Ok((journal, outstanding)) => {
                    let done = apart(|| heal_journal(context, &path, journal, outstanding))?;
                    healed.push(done);
                }
                // Someone else's run, in a sweep through all of them, is none of our business.
                Err(error @ JournalError::Busy(_)) if all => eprintln!("{error}"),
                Err(error) => return Err(error.into()),
            }
        }
        if let (true, Some(selector)) = (all, context.named_selector()) {
            healed.push(apart(|| heal_cluster(context, selector))?);
        }
        let clean = healed.iter().all(|one| one.errors.is_empty());
        context.print(&healed, text(&healed))?;
        Ok(if clean { Exit::Valid } else { Exit::Harness })
    }

    fn journals(&self, store: &Path) -> anyhow::Result<Vec<PathBuf>> {
        if self.run != "all" {
            let folders = [store.join(&self.run), PathBuf::from(&self.run)];
            let found = folders
                .iter()
                .map(|folder| folder.join(journal::FILE))
                .find(|path| path.is_file());
            return found.map(|path| vec![path]).ok_or_else(|| {
                let store = store.display();
                UsageError(format!(
                    "there is no journal of a run {:?} in {store}",
                    self.run
                ))
                .into()
            });
        }
        let mut journals: Vec<PathBuf> = [store.to_owned(), store.join(BY_HAND)]
            .iter()
            .filter_map(|folder| folder.read_dir().ok())
            .flatten()
            .flatten()
            // `latest` is a link to one of the others.
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path().join(journal::FILE))
            .filter(|path| path.is_file())
            .collect();
        journals.sort();
        Ok(journals)
    }
}

/// Runs something on a thread of its own, because each cluster has its own network to enter.
fn apart<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join()).expect("healing does not panic")
}

fn heal_journal(
    context: &Context,
    path: &Path,
    mut journal: Journal,
    outstanding: Outstanding,
) -> anyhow::Result<Healed> {
    let what = path.parent().unwrap_or(path).display().to_string();
    if is_gone(&outstanding.cluster)? {
        let faults = outstanding
            .faults
            .iter()
            .map(|fault| fault.description.clone())
            .collect();
        for fault in &outstanding.faults {
            journal.healed(fault.id)?;
        }
        return Ok(Healed {
            what,
            faults,
            ..Healed::default()
        });
    }
    let cluster = outstanding.cluster.clone();
    cluster.enter()?;
    context.block_on(async {
        let (control, unreached) = Control::connect_to_some(&cluster).await?;
        let aftermath = heal_outstanding(&control, &mut journal, outstanding).await?;
        Ok(Healed::new(what, aftermath, &unreached))
    })
}

/// A lab takes its faults along when it goes down.
fn is_gone(cluster: &Cluster) -> anyhow::Result<bool> {
    Ok(cluster.kind == Kind::Lab
        && cluster::lab::status(&cluster.name)?.is_none_or(|status| status.keeper.is_none()))
}

fn heal_cluster(context: &Context, selector: &str) -> anyhow::Result<Healed> {
    let cluster = cluster::open(selector).context("cannot open the cluster")?;
    cluster.enter()?;
    context.block_on(async {
        let (control, unreached) = Control::connect_to_some(&cluster).await?;
        let aftermath = heal_tag(&control, "all").await;
        Ok(Healed::new(
            format!("cluster {selector}"),
            aftermath,
            &unreached,
        ))
    })
}

impl Healed {
    fn new(what: String, aftermath: Aftermath, unreached: &[crate::control::ControlError]) -> Self {
        let errors = aftermath.errors.iter().chain(unreached);
        Self {
            what,
            faults: aftermath
                .healed
                .into_iter()
                .map(|fault| fault.description)
                .collect(),
            undone: aftermath.undone,
            errors: errors.map(ToString::to_string).collect(),
        }
    }
}

fn text(healed: &[Healed]) -> String {
    let mut lines = Vec::new();
    for Healed {
        what,
        faults,
        undone,
        errors,
    } in healed
    {
        lines.push(format!(
            "{what}: {} faults of its journal are gone, {} changes on hosts were undone just now",
            faults.len(),
            undone.len()
        ));
        lines.extend(faults.iter().map(|fault| format!("  gone: {fault}")));
        lines.extend(undone.iter().map(|change| format!("  undone: {change}")));
        lines.extend(errors.iter().map(|error| format!("  NOT HEALED: {error}")));
    }
    if lines.is_empty() {
        lines.push("there is nothing to heal".into());
    }
    lines.join("\n")
}
