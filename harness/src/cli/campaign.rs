//! Many runs one after the other, and what came of them together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ordeal_checker::Verdict;
use serde::Serialize;

use super::{Context, Exit, UsageError, launch};
use crate::playbook::matrix::Cell;
use crate::runner::{Plan, Progress};
use crate::verdict::Results;

/// A plan of many runs.
#[derive(Debug)]
pub(super) struct Campaign {
    pub(super) name: String,
    /// Those that are run here.
    pub(super) cells: Vec<Cell>,
    /// How many the whole plan has, over all shards.
    pub(super) of: usize,
    /// What each must be found.
    pub(super) verdict: Verdict,
    /// End with the first run that is found otherwise.
    pub(super) fail_fast: bool,
    /// End a run at the first proof.
    pub(super) stop_on_violation: bool,
}

/// What became of one run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tried {
    number: usize,
    labels: BTreeMap<String, String>,
    seed: u64,
    run: String,
    verdict: Verdict,
    exit_code: u8,
    ops: u64,
    /// Operations a second.
    rate: f64,
    /// The longest time without success, in seconds.
    outage: f64,
    /// Median and 99th percentile in milliseconds, by function.
    latency: BTreeMap<String, (f64, f64)>,
    /// From the start of the run's clients to the end of the earliest proof, in seconds.
    caught_after: Option<f64>,
}

/// All runs of one combination: how many were found what, and the medians of their figures.
#[derive(Debug, Default, Serialize)]
struct Group {
    runs: usize,
    valid: usize,
    invalid: usize,
    unknown: usize,
    /// Of which the harness itself failed.
    harness_failed: usize,
    rate: Option<f64>,
    outage: Option<f64>,
    latency: BTreeMap<String, (f64, f64)>,
    caught_after: Option<f64>,
}

impl Campaign {
    /// Runs it; gives back how the process is to end.
    pub(super) fn run(self, context: &Context, keep: bool) -> anyhow::Result<Exit> {
        self.check(context)?;
        let progress = Progress::brief(context.json);
        if self.cells.is_empty() {
            progress.tell("this shard has nothing to run");
            return Ok(Exit::Valid);
        }
        let playbooks = self.cells.iter().map(|cell| &cell.loaded.playbook);
        let ground = launch::Ground::prepare(context, playbooks, keep, &progress)?;
        let mut tried = Vec::new();
        let ran = self.go_through(context, &ground, &progress, &mut tried);
        let left = ground.leave(&progress);
        progress.finish();
        context.print(&Summary::of(&tried), table(&tried))?;
        ran?;
        left?;
        let skipped = self.cells.len() - tried.len();
        if skipped > 0 {
            eprintln!("{skipped} of {} runs were left out", self.cells.len());
        }
        Ok(exit(&tried, self.verdict, skipped))
    }

    /// Refuses the campaign if any run of it could not be begun.
    fn check(&self, context: &Context) -> anyhow::Result<()> {
        let mut checked = BTreeSet::new();
        for cell in &self.cells {
            if checked.insert((&cell.labels, &cell.loaded.playbook.name)) {
                let plan = Plan::of_cell(cell, &self.name, self.of).map_err(UsageError::wrap)?;
                launch::check(context, &plan)?;
            }
        }
        Ok(())
    }

    fn go_through(
        &self,
        context: &Context,
        ground: &launch::Ground,
        progress: &Progress,
        tried: &mut Vec<Tried>,
    ) -> anyhow::Result<()> {
        let mut clock = Clock::new(&self.cells);
        for (at, cell) in self.cells.iter().enumerate() {
            let eta = humantime::format_duration(clock.left(at));
            progress.place(&format!("{}/{} eta {eta}", at + 1, self.cells.len()));
            let mut plan = Plan::of_cell(cell, &self.name, self.of).map_err(UsageError::wrap)?;
            plan.stop_on_violation = self.stop_on_violation;
            let ran = launch::run(context, plan, ground, progress)?;
            clock.took(cell);
            let one = Tried::of(
                (cell.number, &cell.labels, cell.seed),
                &ran.folder.name(),
                &ran.results,
            );
            let as_wanted = one.verdict == self.verdict;
            progress.tell(&self.line(at, &one));
            tried.push(one);
            if ran.interrupted || self.fail_fast && !as_wanted {
                break;
            }
        }
        Ok(())
    }

    /// A line about a run that has ended.
    fn line(&self, at: usize, one: &Tried) -> String {
        let labels: Vec<String> = one.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let caught = one.caught_after.map(|after| format!(" after {after:.1}s"));
        let verdict = match one.exit_code {
            3 => "harness failed",
            _ => one.verdict.name(),
        };
        format!(
            "{:>4}/{} {} seed {}: {verdict}{}, {} operations, {}",
            at + 1,
            self.cells.len(),
            labels.join(" "),
            one.seed,
            caught.unwrap_or_default(),
            one.ops,
            one.run,
        )
    }
}

/// How long runs take beyond what their playbooks say, for the time that is left.
struct Clock<'a> {
    cells: &'a [Cell],
    began: Instant,
    planned: Duration,
    done: u32,
}

impl<'a> Clock<'a> {
    fn new(cells: &'a [Cell]) -> Self {
        Clock {
            cells,
            began: Instant::now(),
            planned: Duration::ZERO,
            done: 0,
        }
    }

    fn took(&mut self, cell: &Cell) {
        self.planned += cell.planned().0;
        self.done += 1;
    }

    /// What the runs from this one on will take, in whole seconds.
    fn left(&self, at: usize) -> Duration {
        let beyond = self.began.elapsed().saturating_sub(self.planned);
        let beyond = beyond.checked_div(self.done).unwrap_or_default();
        let left = &self.cells[at..];
        let planned: Duration = left.iter().map(|cell| cell.planned().0).sum();
        Duration::from_secs((planned + beyond * left.len() as u32).as_secs())
    }
}

impl Tried {
    /// What became of a run: its number in the plan, its labels and its seed say which it was.
    pub(super) fn of(
        (number_in_plan, labels, seed): (usize, &BTreeMap<String, String>, u64),
        run: &str,
        results: &Results,
    ) -> Tried {
        let figures = &results.figures;
        let number = |value: &serde_json::Value| value.as_f64().unwrap_or(0.0);
        let latencies = figures["latency"].as_object().into_iter().flatten();
        Tried {
            number: number_in_plan,
            labels: labels.clone(),
            seed,
            run: run.to_owned(),
            verdict: results.verdict,
            exit_code: results.exit_code,
            ops: figures["ops"].as_u64().unwrap_or(0),
            rate: number(&figures["rate"]),
            outage: number(&figures["longest_outage_ms"]) / 1e3,
            latency: latencies
                .map(|(f, it)| (f.clone(), (number(&it["p50_ms"]), number(&it["p99_ms"]))))
                .collect(),
            caught_after: results.first_proof_seconds(),
        }
    }
}

/// A campaign as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    combinations: Vec<Combination<'a>>,
    runs: &'a [Tried],
}

#[derive(Debug, Serialize)]
struct Combination<'a> {
    labels: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    group: Group,
}

impl<'a> Summary<'a> {
    pub(super) fn of(tried: &'a [Tried]) -> Self {
        let combinations = grouped(tried)
            .into_iter()
            .map(|(labels, group)| Combination { labels, group });
        Summary {
            combinations: combinations.collect(),
            runs: tried,
        }
    }
}

fn grouped(tried: &[Tried]) -> BTreeMap<&BTreeMap<String, String>, Group> {
    let mut groups: BTreeMap<&BTreeMap<String, String>, Vec<&Tried>> = BTreeMap::new();
    for one in tried {
        groups.entry(&one.labels).or_default().push(one);
    }
    let grouped = groups
        .into_iter()
        .map(|(labels, runs)| (labels, Group::of(&runs)));
    grouped.collect()
}

impl Group {
    fn of(runs: &[&Tried]) -> Group {
        let found = |verdict| runs.iter().filter(|one| one.verdict == verdict).count();
        let functions: BTreeSet<&String> = runs.iter().flat_map(|one| one.latency.keys()).collect();
        let latency = functions.into_iter().filter_map(|f| {
            let of_f = || runs.iter().filter_map(|one| one.latency.get(f));
            let both = (
                median(of_f().map(|it| it.0))?,
                median(of_f().map(|it| it.1))?,
            );
            Some((f.clone(), both))
        });
        Group {
            runs: runs.len(),
            valid: found(Verdict::Valid),
            invalid: found(Verdict::Invalid),
            unknown: found(Verdict::Unknown),
            harness_failed: runs.iter().filter(|one| one.exit_code == 3).count(),
            rate: median(runs.iter().map(|one| one.rate)),
            outage: median(runs.iter().map(|one| one.outage)),
            latency: latency.collect(),
            caught_after: median(runs.iter().filter_map(|one| one.caught_after)),
        }
    }

    /// The figures of a row of the table.
    fn row(&self) -> Vec<String> {
        let seconds = |value: Option<f64>| value.map_or(String::new(), |it| format!("{it:.1}s"));
        let latency = |(f, (p50, p99)): (&String, &(f64, f64))| format!("{f} {p50:.1}/{p99:.1}");
        let latency: Vec<String> = self.latency.iter().map(latency).collect();
        let counts = [
            self.runs,
            self.valid,
            self.invalid,
            self.unknown,
            self.harness_failed,
        ];
        let mut row: Vec<String> = counts.iter().map(ToString::to_string).collect();
        row.push(self.rate.map_or(String::new(), |rate| format!("{rate:.0}")));
        row.extend([
            latency.join(" "),
            seconds(self.outage),
            seconds(self.caught_after),
        ]);
        row
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A row for each combination, with the medians of its runs.
pub(super) fn table(tried: &[Tried]) -> comfy_table::Table {
    let names: BTreeSet<&String> = tried.iter().flat_map(|one| one.labels.keys()).collect();
    let mut table = comfy_table::Table::new();
    let figures = [
        "runs",
        "valid",
        "invalid",
        "unknown",
        "harness",
        "ops/s",
        "p50/p99 ms",
        "outage",
        "caught",
    ];
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(names.iter().map(|name| name.as_str()).chain(figures));
    for (labels, group) in grouped(tried) {
        let of = |name: &&String| labels.get(*name).cloned().unwrap_or_default();
        table.add_row(names.iter().map(of).chain(group.row()));
    }
    table
}

/// How many runs of a plan of so many are not among these.
pub(super) fn missing(tried: &[Tried], of: usize) -> usize {
    let numbers: BTreeSet<usize> = tried.iter().map(|one| one.number).collect();
    of.saturating_sub(numbers.len())
}

/// The worst of all runs; but where a bug is to be caught, only those that were not are bad.
fn exit(tried: &[Tried], wanted: Verdict, skipped: usize) -> Exit {
    let any = |code: u8| tried.iter().any(|one| one.exit_code == code);
    match wanted {
        Verdict::Invalid if any(3) => Exit::Harness,
        Verdict::Invalid if any(2) || any(0) || skipped > 0 => Exit::Unknown,
        Verdict::Invalid => Exit::Valid,
        _ if any(1) => Exit::Invalid,
        _ if any(3) => Exit::Harness,
        _ if any(2) || skipped > 0 => Exit::Unknown,
        _ => Exit::Valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(exit_code: u8) -> Tried {
        Tried {
            number: 1,
            labels: BTreeMap::new(),
            seed: 1,
            run: String::new(),
            verdict: match exit_code {
                0 => Verdict::Valid,
                1 => Verdict::Invalid,
                _ => Verdict::Unknown,
            },
            exit_code,
            ops: 0,
            rate: 0.0,
            outage: 0.0,
            latency: BTreeMap::new(),
            caught_after: None,
        }
    }

    #[test]
    fn a_campaign_ends_as_its_worst_run_and_what_was_left_out_never_passes() {
        let ends = |codes: &[u8], wanted, skipped| {
            let tried: Vec<Tried> = codes.iter().map(|code| tried(*code)).collect();
            exit(&tried, wanted, skipped)
        };
        assert_eq!(ends(&[0, 0], Verdict::Valid, 0), Exit::Valid);
        assert_eq!(ends(&[0, 2, 3], Verdict::Valid, 0), Exit::Harness);
        assert_eq!(ends(&[3, 1], Verdict::Valid, 0), Exit::Invalid);
        assert_eq!(ends(&[0], Verdict::Valid, 1), Exit::Unknown);
        assert_eq!(ends(&[1, 1], Verdict::Invalid, 0), Exit::Valid);
        assert_eq!(ends(&[1, 0], Verdict::Invalid, 0), Exit::Unknown);
        assert_eq!(ends(&[1, 3], Verdict::Invalid, 0), Exit::Harness);
    }
}
