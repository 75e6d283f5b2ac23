//! What a run leaves behind about itself: `run.json`, and the figures of `results.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Plan;
use super::gauges::Courses;
use super::judge::Part;
use crate::cluster::Cluster;
use crate::recorder::Recorder;
use crate::tally::Tally;

/// `run.json`: all that is needed to understand a run, and to make it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// The playbook's name.
    pub name: String,
    /// Its file.
    pub playbook: String,
    /// The values of its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The seed.
    pub seed: u64,
    /// When it began.
    pub started: String,
    /// The system and its parameters.
    pub system: Value,
    /// The workloads' names.
    pub workload: Vec<String>,
    /// What the judge has to know to check the history again.
    pub parts: Vec<Part>,
    /// Where it ran.
    pub cluster: Value,
    /// Of what ran.
    pub versions: BTreeMap<String, String>,
    /// How far each host's clock was ahead of ours when the run began.
    #[serde(default)]
    pub clock_offsets_ms: BTreeMap<String, f64>,
    /// Of what was uploaded.
    pub digests: BTreeMap<String, String>,
    /// When each part of the run was.
    pub phases: Phases,
    /// The violation for which it was ended before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// Its place in a campaign, if it is part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// The place of a run in a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The campaign's name.
    pub campaign: String,
    /// Its number in the whole plan, from 1.
    pub number: usize,
    /// How many runs the whole plan has.
    pub of: usize,
    /// What is special about it, apart from the seed.
    pub labels: BTreeMap<String, String>,
}

/// The parts of a run in time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phases(Vec<Phase>);

/// One of them, in nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Phase {
    name: String,
    start_ns: u64,
    end_ns: u64,
}

impl Phases {
    /// A new phase begins, and the last one ends.
    pub(super) fn enter(&mut self, name: &str, recorder: &Recorder) {
        self.end(recorder);
        let now = recorder.now_ns();
        self.0.push(Phase {
            name: name.into(),
            start_ns: now,
            end_ns: now,
        });
    }

    /// The last phase ends.
    pub(super) fn end(&mut self, recorder: &Recorder) {
        if let Some(last) = self.0.last_mut() {
            last.end_ns = recorder.now_ns();
        }
    }

    /// How long the clients worked, without the last reads, in seconds.
    fn working_seconds(&self) -> f64 {
        let end = self
            .0
            .iter()
            .find(|phase| phase.name == "final")
            .map(|phase| phase.start_ns);
        end.or(self.0.last().map(|phase| phase.end_ns)).unwrap_or(0) as f64 / 1e9
    }
}

impl RunRecord {
    /// The record of a run that begins now.
    pub(super) fn new(plan: &Plan, cluster: &Cluster) -> RunRecord {
        let playbook = &plan.loaded.playbook;
        let hosts: Vec<Value> = cluster
            .hosts
            .iter()
            .map(|host| json!({"name": host.name, "id": host.id, "address": host.address}))
            .collect();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        RunRecord {
            name: playbook.name.clone(),
            playbook: plan.loaded.source.file.display().to_string(),
            parameters: plan.loaded.parameters.clone(),
            seed: plan.seed,
            started: jiff::Timestamp::now().to_string(),
            system: json!({
                "name": plan.system.definition.name,
                "parameters": plan.system.parameters,
            }),
            workload: playbook
                .workloads
                .iter()
                .map(|load| load.kind.name().into())
                .collect(),
            parts: plan.parts(),
            cluster: json!({"selector": cluster.selector, "name": cluster.name, "hosts": hosts}),
            versions: BTreeMap::from([
                ("ordeal".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                ("kernel".to_owned(), kernel.trim().to_owned()),
            ]),
            clock_offsets_ms: BTreeMap::new(),
            digests: BTreeMap::new(),
            phases: Phases::default(),
            ended_early: None,
            mark: plan.mark.clone(),
        }
    }
}

/// The figures of a run.
pub(super) fn figures(tally: &Tally, phases: &Phases, gauges: &Courses) -> Value {
    let counts = tally.counts();
    let total = counts.total();
    let seconds = phases.working_seconds();
    let latencies: BTreeMap<&str, Value> = counts
        .latencies_us
        .iter()
        .map(|(f, histogram)| {
            let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
            let latency = json!({
                "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "p999_ms": at(0.999),
                "max_ms": histogram.max() as f64 / 1e3,
            });
            (f.as_str(), latency)
        })
        .collect();
    json!({
        "ops": total.total(),
        "ok": total.ok,
        "fail": total.fail,
        "info": total.info,
        "rate": if seconds > 0.0 { (total.total() as f64 / seconds).round() } else { 0.0 },
        "seconds": seconds,
        "functions": counts.by_function(),
        "errors": counts.errors,
        "latency": latencies,
        "gauges": gauges,
        "longest_outage_ms": tally.longest_outage().as_secs_f64() * 1e3,
        "recovery_ms": tally.recovery().map(|recovery| recovery.as_secs_f64() * 1e3),
    })
}
