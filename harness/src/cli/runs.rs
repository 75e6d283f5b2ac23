//! `ordeal runs`: what is in the store.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::campaign::{self, Summary, Tried};
use super::{Context, Exit, UsageError};
use crate::runner::RunRecord;
use crate::store::{self, RunFolder};
use crate::verdict::Results;

/// List, delete and bring together the runs in the store
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal runs\n  \
    ordeal runs --verdict invalid --name canary\n  \
    ordeal runs --campaign bugs\n  \
    ordeal runs delete 20261121T223233-quickstart\n  \
    ordeal runs merge /mnt/shard-*/store")]
pub(super) struct Runs {
    #[command(subcommand)]
    action: Option<Action>,

    /// Only runs with this verdict: valid, invalid or unknown
    #[arg(long)]
    verdict: Option<String>,

    /// Only runs whose name has this in it
    #[arg(long)]
    name: Option<String>,

    /// Sum up a campaign, whoever ran its parts
    #[arg(long, conflicts_with_all = ["verdict", "name"])]
    campaign: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Delete runs
    Delete {
        /// Their names
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Copy the runs of other stores into this one
    Merge {
        /// The other stores
        #[arg(required = true)]
        stores: Vec<std::path::PathBuf>,
    },
}

/// A run in a list.
#[derive(Debug, Serialize)]
struct Row {
    run: String,
    verdict: String,
    seed: u64,
    ops: u64,
    faults: usize,
}

impl Runs {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match &self.action {
            None => match &self.campaign {
                Some(name) => campaign(context, name)?,
                None => self.list(context)?,
            },
            Some(Action::Delete { runs }) => {
                for name in runs {
                    let folder = context.recorded(name)?;
                    std::fs::remove_dir_all(folder.path())?;
                    context.print_text(format!("deleted {}", folder.name()))?;
                }
            }
            Some(Action::Merge { stores }) => {
                let mut merged = 0;
                for other in stores {
                    merged += store::merge(&context.store, other)?;
                }
                context.print(&merged, format!("{merged} runs are new in this store"))?;
            }
        }
        Ok(Exit::Valid)
    }

    fn list(&self, context: &Context) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        for folder in store::list(&context.store)? {
            let row = row(&folder);
            let verdict_fits = self
                .verdict
                .as_ref()
                .is_none_or(|verdict| *verdict == row.verdict);
            let name_fits = self
                .name
                .as_ref()
                .is_none_or(|name| row.run.contains(name.as_str()));
            if verdict_fits && name_fits {
                rows.push(row);
            }
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header([
            "run",
            "verdict",
            "operations",
            "faults",
            "seed",
        ]);
        for row in &rows {
            let (ops, faults) = (row.ops.to_string(), row.faults.to_string());
            table.add_row([&row.run, &row.verdict, &ops, &faults, &row.seed.to_string()]);
        }
        context.print(&rows, table)
    }
}

/// Sums a campaign up from the runs that are in the store, and says which are missing.
fn campaign(context: &Context, name: &str) -> anyhow::Result<()> {
    let mut tried = Vec::new();
    let mut of = 0;
    let mut names = BTreeSet::new();
    for folder in store::list(&context.store)? {
        let Ok(record) = folder.read_json::<RunRecord>("run.json") else {
            continue;
        };
        let Some(mark) = record.mark else { continue };
        if mark.campaign != name {
            names.insert(mark.campaign);
            continue;
        }
        of = of.max(mark.of);
        if let Ok(results) = folder.read_json::<Results>("results.json") {
            let which = (mark.number, &mark.labels, record.seed);
            tried.push(Tried::of(which, &folder.name(), &results));
        }
    }
    if tried.is_empty() {
        let names: Vec<String> = names.into_iter().collect();
        let known = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        let store = context.store.display();
        let message = format!("no campaign in {store} is called {name}; {known}");
        return Err(UsageError(message).into());
    }
    let missing = campaign::missing(&tried, of);
    let mut text = campaign::table(&tried).to_string();
    if missing > 0 {
        let _ = write!(
            text,
            "\n{missing} of the plan's {of} runs are not in this store"
        );
    }
    context.print(&Summary::of(&tried), text)
}

/// A run that did not end has no verdict, and is listed all the same.
fn row(folder: &RunFolder) -> Row {
    let record: Option<RunRecord> = folder.read_json("run.json").ok();
    let results: Option<Results> = folder.read_json("results.json").ok();
    Row {
        run: folder.name(),
        verdict: results
            .as_ref()
            .map_or("unfinished", |it| it.verdict.name())
            .into(),
        seed: record.map_or(0, |record| record.seed),
        ops: results
            .as_ref()
            .and_then(|it| it.figures["ops"].as_u64())
            .unwrap_or(0),
        faults: results.map_or(0, |it| it.faults.len()),
    }
}
