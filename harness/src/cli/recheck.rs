//! `ordeal recheck`: today's checker on yesterday's history.

use clap::Args;

use super::{Context, Exit, launch};
use crate::report;
use crate::runner::{RunRecord, judge};
use crate::verdict::Results;

/// Check a run's history again
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal recheck latest\n  \
    ordeal recheck 20261121T223233-quickstart --model sequential")]
pub(super) struct Recheck {
    /// The run
    #[arg(default_value = "latest")]
    run: String,

    /// Check against another model than the workload's own
    #[arg(long)]
    model: Option<String>,
}

impl Recheck {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let folder = context.recorded(&self.run)?;
        let mut parts = folder.read_json::<RunRecord>("run.json")?.parts;
        for part in &mut parts {
            if let Some(model) = &self.model {
                part.model.clone_from(model);
            }
        }
        let results: Results = folder.read_json("results.json")?;
        let properties = judge::judge(&folder.file("history.jsonl"), &parts)?;
        let results = results.judged_again(properties);
        folder.write_json("results.json", &results)?;
        report::write(folder.path())?;
        launch::show(context, folder.path(), &results)
    }
}
