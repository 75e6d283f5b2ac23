//! `ordeal replay` and `ordeal shrink`: a recorded run once more, and with less in it.

use clap::Args;

use super::{Context, Exit, launch};
use crate::runner::{Plan, Progress};
use crate::store::RunFolder;
use crate::verdict::Results;

/// Run the recorded plan of a run again: the same operations, the same faults at the same times
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ordeal replay latest\n  ordeal replay latest --times 5")]
pub(super) struct Replay {
    /// The run
    #[arg(default_value = "latest")]
    run: String,

    /// How often
    #[arg(long, default_value_t = 1)]
    times: u32,
}

/// Find a smaller plan that still fails: faults are left out one by one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ordeal shrink latest\n  ordeal shrink latest --tries 3")]
pub(super) struct Shrink {
    /// The run, which must have been found invalid
    #[arg(default_value = "latest")]
    run: String,

    /// How often a smaller plan is tried before it counts as one that does not fail
    #[arg(long, default_value_t = 2)]
    tries: u32,
}

impl Replay {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let recorded = RunFolder::open(&context.store, &self.run)?;
        let progress = Progress::new(context.json);
        let plan = Plan::replay(&recorded)?;
        let nodes = plan.loaded.playbook.nodes;
        let ground = launch::Ground::prepare(context, nodes, false, &progress)?;
        let mut exit = Ok(Exit::Valid);
        let mut invalid = 0;
        for _ in 0..self.times {
            exit = Plan::replay(&recorded)
                .and_then(|plan| launch::run(context, plan, &ground, &progress))
                .and_then(|(folder, results)| launch::show(context, folder.path(), &results));
            invalid += u32::from(matches!(exit, Ok(Exit::Invalid)));
            if exit.is_err() {
                break;
            }
        }
        ground.leave(&progress)?;
        if self.times > 1 {
            context.print_text(format!("{invalid} of {} replays were invalid", self.times))?;
        }
        exit
    }
}

impl Shrink {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let recorded = RunFolder::open(&context.store, &self.run)?;
        let results: Results = recorded.read_json("results.json")?;
        if launch::exit(&results) != Exit::Invalid {
            anyhow::bail!(
                "{} was not found invalid: there is nothing to shrink",
                recorded.name()
            );
        }
        let progress = Progress::new(context.json);
        let plan = Plan::replay(&recorded)?;
        let nodes = plan.loaded.playbook.nodes;
        let ground = launch::Ground::prepare(context, nodes, false, &progress)?;
        let shrunk = self.shrink(context, plan, &ground, &progress);
        ground.leave(&progress)?;
        let (kept, of, smallest) = shrunk?;
        let text = match smallest {
            Some(name) => format!("{kept} of {of} faults are enough: see {name}"),
            None => format!("none of the {of} faults could be left out"),
        };
        context.print_text(text)?;
        Ok(Exit::Valid)
    }

    /// How many faults are left of how many, and the smallest run that still failed.
    fn shrink(
        &self,
        context: &Context,
        mut plan: Plan,
        ground: &launch::Ground,
        progress: &Progress,
    ) -> anyhow::Result<(usize, usize, Option<String>)> {
        let of = plan.loaded.playbook.faults.len();
        let mut smallest = None;
        for at in (0..of).rev() {
            for _ in 0..self.tries {
                let (folder, results) =
                    launch::run(context, plan.without_fault(at), ground, progress)?;
                if launch::exit(&results) == Exit::Invalid {
                    progress.tell(&format!("still invalid without fault {}", at + 1));
                    smallest = Some(folder.name());
                    plan = plan.without_fault(at);
                    break;
                }
            }
        }
        Ok((plan.loaded.playbook.faults.len(), of, smallest))
    }
}
