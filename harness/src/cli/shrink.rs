//! `ordeal shrink`: less and less of a run, as long as it still fails.

use std::time::Duration;

use clap::Args;

use super::playbook::timetable;
use super::{Context, Exit, launch};
use crate::playbook::units::{Count, Span};
use crate::report::many;
use crate::runner::{Plan, Progress};
use crate::verdict::Results;

/// Where a run is cut off that was proven wrong before: so long after the proof.
const AFTER_PROOF: Duration = Duration::from_secs(1);

/// Find a smaller plan that still fails: shorter, with fewer faults, clients, keys, operations
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ordeal shrink latest\n  ordeal shrink latest --tries 3 --runs 60"
)]
pub(super) struct Shrink {
    /// The run, which must have been found invalid
    #[arg(default_value = "latest")]
    run: String,

    /// How often a smaller plan is tried before it counts as one that does not fail
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,

    /// At most so many runs all together
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// How often the smallest plan is run at the end, to say how often it fails
    #[arg(long, default_value_t = 3)]
    confirm: u32,
}

impl Shrink {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let recorded = context.recorded(&self.run)?;
        let results: Results = recorded.read_json("results.json")?;
        if launch::exit(&results) != Exit::Invalid {
            anyhow::bail!(
                "{} was not found invalid: there is nothing to shrink",
                recorded.name()
            );
        }
        let progress = Progress::brief(context.json);
        let plan = Plan::replay(&recorded)?;
        let playbook = [&plan.loaded.playbook];
        let ground = launch::Ground::prepare(context, playbook, false, &progress)?;
        let mut search = Search {
            context,
            ground: &ground,
            progress: &progress,
            tries: self.tries,
            left: self.runs,
            interrupted: false,
            smallest: None,
        };
        let shrunk = search.all(plan, results, self.confirm);
        ground.leave(&progress)?;
        shrunk
    }
}

/// A plan that fails, and what was found when it failed.
#[derive(Debug)]
struct Failing {
    plan: Plan,
    results: Results,
}

struct Search<'a> {
    context: &'a Context,
    ground: &'a launch::Ground,
    progress: &'a Progress,
    tries: u32,
    /// How many runs may still be made.
    left: u32,
    interrupted: bool,
    /// The name of the run of the smallest plan that failed.
    smallest: Option<String>,
}

impl Search<'_> {
    fn all(&mut self, plan: Plan, results: Results, confirm: u32) -> anyhow::Result<Exit> {
        let before = size(&plan, &results);
        let mut failing = Failing { plan, results };
        self.narrow(&mut failing, "it is cut off after the proof", cut_off)?;
        self.narrow(
            &mut failing,
            "only the workload that failed is left",
            lone_workload,
        )?;
        self.faults(&mut failing)?;
        while self.narrow(&mut failing, "half of the clients are gone", fewer_clients)? {}
        while self.narrow(&mut failing, "half of the keys are gone", fewer_keys)? {}
        while self.narrow(
            &mut failing,
            "half of the operations are gone",
            fewer_operations,
        )? {}
        let Some(smallest) = self.smallest.clone() else {
            self.context.print_text(format!(
                "no smaller plan failed in the runs that were tried: {before}"
            ))?;
            return Ok(Exit::Unknown);
        };
        let mut again = 0;
        let mut confirmed = 0;
        while confirmed < confirm && !self.interrupted {
            confirmed += 1;
            again += u32::from(self.try_once(&failing.plan)?.is_some());
        }
        let after = size(&failing.plan, &failing.results);
        self.context.print_text(format!(
            "before: {before}\nafter:  {after}\nit failed again in {again} of {confirmed} runs: \
             `ordeal replay {smallest}` repeats it\n\n{}",
            timetable(&failing.plan)
        ))?;
        Ok(Exit::Valid)
    }

    /// Tries a plan with less in it; whether it is the new one.
    fn narrow(
        &mut self,
        failing: &mut Failing,
        what: &str,
        less: impl Fn(&Failing) -> Option<Plan>,
    ) -> anyhow::Result<bool> {
        let Some(smaller) = less(failing) else {
            return Ok(false);
        };
        for _ in 0..self.tries {
            if self.left == 0 || self.interrupted {
                return Ok(false);
            }
            self.left -= 1;
            if let Some((name, results)) = self.try_once(&smaller)? {
                self.progress.tell(&format!("still invalid when {what}"));
                self.smallest = Some(name);
                *failing = Failing {
                    plan: smaller,
                    results,
                };
                return Ok(true);
            }
        }
        self.progress.tell(&format!("not seen to fail when {what}"));
        Ok(false)
    }

    /// Leaves out faults: half of them, a quarter, in the end one by one.
    fn faults(&mut self, failing: &mut Failing) -> anyhow::Result<()> {
        let mut chunk = failing.plan.loaded.playbook.faults.len();
        while chunk > 0 {
            let mut end = failing.plan.loaded.playbook.faults.len();
            while end > 0 {
                let start = end.saturating_sub(chunk);
                let what = match end - start {
                    1 => format!("fault {end} is gone"),
                    _ => format!("faults {} to {end} are gone", start + 1),
                };
                self.narrow(failing, &what, |failing| {
                    changed(&failing.plan, |playbook| {
                        playbook.faults.drain(start..end);
                    })
                })?;
                end = start;
            }
            chunk /= 2;
        }
        Ok(())
    }

    /// Runs a plan once; the run's name and results if it failed.
    fn try_once(&mut self, plan: &Plan) -> anyhow::Result<Option<(String, Results)>> {
        let ran = launch::run(self.context, plan.again(), self.ground, self.progress)?;
        self.interrupted |= ran.interrupted;
        let failed = launch::exit(&ran.results) == Exit::Invalid;
        Ok(failed.then(|| (ran.folder.name(), ran.results)))
    }
}

/// The plan with its playbook changed; none when that is no playbook.
fn changed(plan: &Plan, change: impl FnOnce(&mut crate::playbook::Playbook)) -> Option<Plan> {
    let mut loaded = plan.loaded.clone();
    change(&mut loaded.playbook);
    // What was expected of the whole is not expected of its parts; a violation needs no coverage.
    loaded.playbook.expect = crate::playbook::Expect::default();
    Plan::of(loaded.written_again().ok()?, plan.seed).ok()
}

fn cut_off(failing: &Failing) -> Option<Plan> {
    let proof = Duration::from_secs_f64(failing.results.first_proof_seconds()?);
    let time = &failing.plan.loaded.playbook.time;
    let enough = in_tenths(proof + AFTER_PROOF).saturating_sub(time.before.0);
    if enough + Duration::from_secs(1) >= time.during.0 + time.after.0 {
        return None;
    }
    changed(&failing.plan, |playbook| {
        playbook.time.during = Span(enough.min(playbook.time.during.0));
        playbook.time.after = Span::default();
        let during = playbook.time.during.0;
        playbook
            .faults
            .retain(|entry| entry.when.at.iter().all(|at| at.0 < during));
    })
}

/// No longer than it is, in a number that can be read.
fn in_tenths(span: Duration) -> Duration {
    Duration::from_millis(span.as_millis() as u64 / 100 * 100)
}

fn lone_workload(failing: &Failing) -> Option<Plan> {
    let properties = &failing.results.properties;
    let loads = &failing.plan.loaded.playbook.workloads;
    if loads.len() < 2 || properties.len() != loads.len() {
        return None;
    }
    let invalid = |verdict| verdict == ordeal_checker::Verdict::Invalid;
    let at = properties
        .iter()
        .position(|property| invalid(property.verdict))?;
    changed(&failing.plan, |playbook| {
        playbook.workloads = vec![playbook.workloads[at].clone()];
    })
}

fn fewer_clients(failing: &Failing) -> Option<Plan> {
    let nodes = failing.plan.loaded.playbook.nodes;
    let loads = &failing.plan.loaded.playbook.workloads;
    // Two processes are the least between which anything can go wrong.
    if loads.iter().all(|load| load.clients.on(nodes) < 4) {
        return None;
    }
    let half = |count: Count| Count::of((count.on(nodes) / 2).max(1));
    changed(&failing.plan, |playbook| {
        for load in &mut playbook.workloads {
            load.clients = half(load.clients);
            load.readers = load.readers.map(half);
        }
    })
}

fn fewer_keys(failing: &Failing) -> Option<Plan> {
    let keys = |load: &crate::playbook::Load| load.keys.unwrap_or_else(|| load.kind.keys());
    let loads = &failing.plan.loaded.playbook.workloads;
    if loads.iter().all(|load| keys(load) < 2) {
        return None;
    }
    changed(&failing.plan, |playbook| {
        for load in &mut playbook.workloads {
            load.keys = Some((keys(load) / 2).max(1));
        }
    })
}

fn fewer_operations(failing: &Failing) -> Option<Plan> {
    let loads = failing.plan.loaded.playbook.workloads.len() as u64;
    let ops = failing.results.figures["ops"].as_u64()? / loads;
    if ops < 20 {
        return None;
    }
    changed(&failing.plan, |playbook| {
        for load in &mut playbook.workloads {
            load.operations = Some(ops / 2);
        }
    })
}

/// How much there is in a plan.
fn size(plan: &Plan, results: &Results) -> String {
    let playbook = &plan.loaded.playbook;
    let clients: usize = playbook
        .workloads
        .iter()
        .map(|load| load.clients.on(playbook.nodes))
        .sum();
    format!(
        "{}, {}, {}, {} operations",
        playbook.time.total(),
        many(playbook.faults.len(), "fault"),
        many(clients, "client"),
        results.figures["ops"],
    )
}
