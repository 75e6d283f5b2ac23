//! `ordeal run`: the main thing.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use ordeal_checker::Verdict;

use super::campaign::Campaign;
use super::{Context, Exit, UsageError, launch};
use crate::playbook::matrix::{self, Cell};
use crate::playbook::{self, Loaded};
use crate::runner::{Plan, Progress};

/// Run a playbook: deploy, torment, record, check, report
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal run playbooks/quickstart.yaml\n  \
    ordeal run playbooks/quickstart.yaml --seed 7 --set rate=500\n  \
    ordeal run playbooks/canary/stale-reads.yaml --on lab:mine --keep\n  \
    ordeal run playbooks/raft/*.yaml --repeat 3 --fail-fast\n  \
    ordeal run --matrix playbooks/campaigns/bugs.yaml --seed 1 --shard 2/4")]
pub(super) struct Run {
    /// The playbook, or several of them
    #[arg(required_unless_present = "matrix", conflicts_with = "matrix")]
    playbooks: Vec<PathBuf>,

    /// Fixes the operations and the plan of faults; the first of a campaign's seeds
    #[arg(long)]
    seed: Option<u64>,

    #[command(flatten)]
    set: Set,

    /// Run so many times, each with the next seed
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "matrix",
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    repeat: u64,

    /// Run every combination of a matrix file
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,

    /// Run only this part of a campaign: 1/4 … 4/4 together are the whole
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// End a campaign with the first run that is not found as it must be
    #[arg(long)]
    fail_fast: bool,

    /// End a run as soon as a violation is proven, instead of when its time is over
    #[arg(long)]
    stop_on_violation: bool,

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

/// One of so many parts of a campaign, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    number: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { number, of }),
            _ => Err("expected I/N with I from 1 to N, such as 2/4".into()),
        }
    }
}

impl Shard {
    fn has(self, cell: &Cell) -> bool {
        cell.number % self.of == self.number % self.of
    }
}

impl Run {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match &self.playbooks[..] {
            [playbook] if self.repeat == 1 && self.shard.is_none() => {
                let plan = Plan::read(playbook, &self.set.values(), self.seed);
                self.once(context, plan.map_err(UsageError::wrap)?)
            }
            _ => self.campaign()?.run(context, self.keep),
        }
    }

    fn once(&self, context: &Context, mut plan: Plan) -> anyhow::Result<Exit> {
        plan.stop_on_violation = self.stop_on_violation;
        let at_terminal = std::io::stdin().is_terminal();
        plan.check_hands(at_terminal).map_err(UsageError::wrap)?;
        launch::check(context, &plan)?;
        let progress = Progress::new(context.json);
        let playbook = [&plan.loaded.playbook];
        let ground = launch::Ground::prepare(context, playbook, self.keep, &progress)?;
        let ran = launch::run(context, plan, &ground, &progress);
        let left = ground.leave(&progress);
        let ran = ran?;
        let exit = launch::show(context, ran.folder.path(), &ran.results)?;
        left?;
        Ok(exit)
    }

    /// The part of a campaign that is asked for.
    fn campaign(&self) -> anyhow::Result<Campaign> {
        let set = self.set.values();
        let (name, cells, verdict) = if let Some(file) = &self.matrix {
            let sheet = matrix::read(file).map_err(UsageError::wrap)?;
            let seed = self.first_seed(sheet.fixes_seeds(), None)?;
            let cells = sheet.cells(&set, seed).map_err(UsageError::wrap)?;
            (sheet.matrix.name, cells, sheet.matrix.verdict)
        } else {
            let loaded = self.playbooks.iter().map(|file| playbook::load(file, &set));
            let loaded: Vec<Loaded> = loaded.collect::<Result<_, _>>().map_err(UsageError::wrap)?;
            let first = &loaded[0].playbook;
            let name = match loaded.len() {
                1 => first.name.clone(),
                many => format!("{}-and-{}-more", first.name, many - 1),
            };
            let seed = self.first_seed(false, first.seed)?;
            let cells = matrix::repeated(loaded, seed, self.repeat);
            (name, cells, Verdict::Valid)
        };
        let of = cells.len();
        let mine = |cell: &Cell| self.shard.is_none_or(|shard| shard.has(cell));
        Ok(Campaign {
            name,
            cells: cells.into_iter().filter(mine).collect(),
            of,
            verdict,
            fail_fast: self.fail_fast,
            stop_on_violation: self.stop_on_violation,
        })
    }

    /// Shards must draw the same plan without asking each other.
    fn first_seed(&self, fixed: bool, own: Option<u64>) -> anyhow::Result<u64> {
        match self.seed.or(own) {
            Some(seed) => Ok(seed),
            None if self.shard.is_some() && !fixed => Err(UsageError(
                "--shard needs --seed: every shard must draw the same plan".into(),
            )
            .into()),
            // Small enough to be read aloud, and that counting up cannot overflow.
            None => Ok(rand::random::<u64>() >> 32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!("2/4".parse(), Ok(Shard { number: 2, of: 4 }));
        for wrong in ["0/4", "5/4", "1/0", "2", "a/b", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_shards_together_are_the_whole_plan_and_share_nothing() {
        let text = "name: p\nsystem: {use: raft-node}\nworkloads: [{kind: register}]\n";
        let source = crate::playbook::source::Source {
            file: "p.yaml".into(),
            text: text.into(),
        };
        let loaded = playbook::parse(source).unwrap();
        let cells = matrix::repeated(vec![loaded], 40, 10);
        for of in 1..=12 {
            let mut seeds = Vec::new();
            for number in 1..=of {
                let shard = Shard { number, of };
                seeds.extend(
                    cells
                        .iter()
                        .filter(|cell| shard.has(cell))
                        .map(|cell| cell.seed),
                );
            }
            seeds.sort_unstable();
            assert_eq!(seeds, (40..50).collect::<Vec<u64>>(), "{of} shards");
        }
    }
}
