//! `ordeal replay`: a recorded run once more.

use clap::Args;

use super::{Context, Exit, launch};
use crate::runner::{Plan, Progress};
use crate::store::RunFolder;

/// Run the recorded plan of a run again: the same operations, the same faults at the same times
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ordeal replay latest\n  ordeal replay latest --times 5")]
pub(super) struct Replay {
    /// The run
    #[arg(default_value = "latest")]
    run: String,

    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
}

impl Replay {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let recorded = context.recorded(&self.run)?;
        let progress = Progress::new(context.json);
        let plan = Plan::replay(&recorded)?;
        let playbook = [&plan.loaded.playbook];
        let ground = launch::Ground::prepare(context, playbook, false, &progress)?;
        let replayed = self.replay(context, &recorded, &ground, &progress);
        ground.leave(&progress)?;
        replayed
    }

    fn replay(
        &self,
        context: &Context,
        recorded: &RunFolder,
        ground: &launch::Ground,
        progress: &Progress,
    ) -> anyhow::Result<Exit> {
        let mut worst = Exit::Valid;
        let (mut invalid, mut done) = (0, 0);
        while done < self.times {
            let ran = launch::run(context, Plan::replay(recorded)?, ground, progress)?;
            let exit = launch::show(context, ran.folder.path(), &ran.results)?;
            done += 1;
            invalid += u32::from(exit == Exit::Invalid);
            worst = worse(worst, exit);
            if ran.interrupted {
                break;
            }
        }
        if self.times > 1 {
            context.print_text(format!("{invalid} of {done} replays were invalid"))?;
        }
        Ok(worst)
    }
}

/// A violation is proof and outweighs everything; a broken harness outweighs doubt.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit| match exit {
        Exit::Valid => 0,
        Exit::Unknown => 1,
        Exit::Harness | Exit::Usage => 2,
        Exit::Invalid => 3,
    };
    if weight(other) > weight(one) {
        other
    } else {
        one
    }
}
