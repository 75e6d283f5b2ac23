//! `ordeal playbook`: what can be said about a playbook without running it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::run::Set;
use super::{Context, Exit, UsageError};
use crate::playbook::source::{Document, Mistake, Source};
use crate::playbook::{matrix, schema};
use crate::runner::Plan;

/// Check and explain playbooks; print the schemas that editors complete with
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal playbook lint playbooks/*.yaml\n  \
    ordeal playbook explain playbooks/quickstart.yaml --seed 7\n  \
    ordeal playbook schema > playbook.schema.json")]
pub(super) struct Playbook {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check playbooks, and the systems they use, without touching a host
    Lint {
        /// The playbooks
        #[arg(required = true)]
        playbooks: Vec<PathBuf>,
    },
    /// Say in words what a seed makes of a playbook; runs nothing
    Explain {
        /// The playbook
        playbook: PathBuf,
        /// The seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        set: Set,
    },
    /// Print the JSON Schema of playbooks, or of system files
    Schema {
        /// Of system files
        #[arg(long)]
        system: bool,
        /// Of matrix files
        #[arg(long, conflicts_with = "system")]
        matrix: bool,
    },
}

impl Playbook {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self.action {
            Action::Lint { playbooks } => {
                let mut mistakes = Vec::new();
                for file in &playbooks {
                    match lint(file) {
                        Ok(()) => context.print_text(format!("{}: right", file.display()))?,
                        Err(mistake) => mistakes.push(mistake.to_string()),
                    }
                }
                if !mistakes.is_empty() {
                    return Err(UsageError(mistakes.join("\n\n")).into());
                }
            }
            Action::Explain {
                playbook,
                seed,
                set,
            } => {
                let plan =
                    Plan::read(&playbook, &set.values(), Some(seed)).map_err(UsageError::wrap)?;
                context.print_text(explain(&plan))?;
            }
            Action::Schema { system, matrix } => {
                let schema = match (system, matrix) {
                    (true, _) => schema::system(),
                    (_, true) => schema::matrix(),
                    _ => schema::playbook(),
                };
                context.print_text(serde_json::to_string_pretty(&schema)?)?;
            }
        }
        Ok(Exit::Valid)
    }
}

/// Checks a playbook, a matrix with every playbook that it makes, or a system file.
fn lint(file: &Path) -> Result<(), Mistake> {
    let none = BTreeMap::new();
    match Source::read(file)?.kind()? {
        Document::Playbook => Plan::read(file, &none, Some(1)).map(drop),
        Document::Matrix => {
            let sheet = matrix::read(file)?;
            let mut seen = BTreeSet::new();
            for cell in sheet.cells(&none, 1)? {
                if seen.insert((cell.labels.clone(), cell.loaded.playbook.name.clone())) {
                    Plan::of_cell(&cell, &sheet.matrix.name, 1)?;
                }
            }
            Ok(())
        }
        Document::System => Plan::check_system(file),
    }
}

/// The plan of a seed in words and as a table.
fn explain(plan: &Plan) -> String {
    use std::fmt::Write;
    let playbook = &plan.loaded.playbook;
    let time = &playbook.time;
    let mut text = format!(
        "{}: {}\n\nseed {} on {} nodes of {}: {} before the faults, {} with them, {} after.\n",
        playbook.name,
        playbook.about.trim(),
        plan.seed,
        playbook.nodes,
        plan.system.definition.name,
        time.before,
        time.during,
        time.after,
    );
    for load in &playbook.workloads {
        let clients = load.clients.on(playbook.nodes);
        let pace = load
            .rate
            .map_or("as fast as answers come".into(), |rate| rate.to_string());
        let model = load.check.as_deref().unwrap_or(load.kind.model());
        let name = load.kind.name();
        let _ = writeln!(
            text,
            "  {name}: {clients} clients, {pace}, checked as {model}"
        );
    }
    let _ = write!(text, "\n{}", timetable(plan));
    text
}

/// The faults of a plan: when each comes, for how long, and what it is.
pub(super) fn timetable(plan: &Plan) -> comfy_table::Table {
    use std::fmt::Write;
    let playbook = &plan.loaded.playbook;
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["at", "for", "fault"]);
    for due in &plan.faults {
        let entry = &playbook.faults[due.entry];
        let mut what = serde_json::to_string(&entry.fault).unwrap_or_default();
        for (key, awaited) in entry.when.conditions() {
            let waits = if key == "after" {
                "waits for"
            } else {
                "ends with"
            };
            let _ = write!(what, " {waits} {awaited}");
        }
        let seconds = |span: std::time::Duration| format!("{:.1}s", span.as_secs_f64());
        table.add_row([
            seconds(playbook.time.before.0 + due.at),
            seconds(due.until.saturating_sub(due.at)),
            what,
        ]);
    }
    table
}
