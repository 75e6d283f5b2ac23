//! The faults of a run: each comes when the plan says, holds, and ends; all of it is recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;

use super::Plan;
use crate::generator::{self, Due};
use crate::nemesis::{Leader, Nemesis};
use crate::playbook::{FaultEntry, Until};
use crate::recorder::Recorder;
use crate::system::{Node, Probes};
use crate::verdict::{FaultRecord, Settled};

/// How often a condition that a fault waits for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Brings the faults of a plan.
#[derive(Debug)]
pub(super) struct Torment {
    nemesis: Nemesis,
    probes: Arc<Probes>,
    entries: Vec<FaultEntry>,
    nodes: Vec<Node>,
    plan: Vec<Due>,
    holding: Vec<Held>,
    records: Vec<FaultRecord>,
    errors: Vec<String>,
}

/// A fault that holds.
#[derive(Debug)]
struct Held {
    record: usize,
    id: u64,
    until: Duration,
    condition: Option<Until>,
    /// Who led when it came.
    leader: Option<String>,
}

/// Asks the nodes who leads, for the targets that are called `leader`.
pub(super) fn leader(probes: &Arc<Probes>) -> Leader {
    let probes = Arc::clone(probes);
    Arc::new(move || {
        let probes = Arc::clone(&probes);
        Box::pin(async move { probes.leader().await })
    })
}

impl Torment {
    pub(super) fn new(plan: &Plan, nemesis: Nemesis, probes: Arc<Probes>) -> Torment {
        Torment {
            nemesis,
            probes,
            entries: plan.loaded.playbook.faults.0.clone(),
            nodes: plan.system.nodes.clone(),
            plan: plan.faults.clone(),
            holding: Vec::new(),
            records: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Ends the nemesis, and tells what was done.
    pub(super) async fn close(self) -> Vec<FaultRecord> {
        self.nemesis.close().await;
        self.records
    }

    /// Makes the hosts ready for faults, so that the first one comes in time.
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        self.nemesis.prepare().await?;
        for entry in &self.entries {
            self.nemesis.can(&entry.fault).await?;
        }
        Ok(())
    }

    /// What went wrong: failures of the harness, all of them.
    pub(super) fn errors(&mut self) -> Vec<String> {
        std::mem::take(&mut self.errors)
    }

    /// Brings and heals faults by the plan until the time is over or the user wants an end.
    pub(super) async fn run(
        &mut self,
        recorder: &Recorder,
        lasts: Duration,
        interrupted: &mut watch::Receiver<bool>,
    ) {
        let start = Instant::now();
        let mut left = std::mem::take(&mut self.plan).into_iter().peekable();
        while !*interrupted.borrow() {
            let next_end = self.holding.iter().map(|held| held.until).min();
            let next_start = left.peek().map(|due| due.at);
            let watching = self.holding.iter().any(|held| held.condition.is_some());
            let look = watching.then(|| start.elapsed() + LOOK_EVERY);
            let next = [next_end, next_start, look, Some(lasts)]
                .into_iter()
                .flatten()
                .min();
            let wait = next.unwrap_or(lasts).saturating_sub(start.elapsed());
            super::rest(wait, interrupted).await;
            let now = start.elapsed();
            self.end_due(recorder, now).await;
            if now >= lasts {
                break;
            }
            if let Some(due) = left.next_if(|due| due.at <= now) {
                self.begin(recorder, &due, start).await;
            }
        }
    }

    /// Ends everything that holds, and whatever else the journal knows.
    pub(super) async fn heal(&mut self, recorder: &Recorder) {
        for held in std::mem::take(&mut self.holding) {
            self.end(recorder, &held).await;
        }
        for healed in self.nemesis.heal_all().await {
            if let Err(error) = healed {
                self.errors
                    .push(format!("not everything could be healed: {}", chain(&error)));
            }
        }
    }

    async fn begin(&mut self, recorder: &Recorder, due: &Due, start: Instant) {
        let entry = self.entries[due.entry].clone();
        let kind = entry.fault.kind();
        let mut random = generator::random(due.seed, "targets", 0);
        let leader = match entry.when.until {
            Some(Until::NewLeader) => self.probes.leader().await,
            _ => None,
        };
        let start_ns = recorder.now_ns();
        let mut record = FaultRecord {
            id: self.records.len() as u64,
            entry: due.entry,
            kind: kind.into(),
            targets: Vec::new(),
            start_ns,
            end_ns: None,
            description: String::new(),
            installed: false,
            healed: false,
            settled: None,
        };
        let came = start.elapsed();
        match self.nemesis.install(&entry.fault, &mut random).await {
            Ok(installed) => {
                record.installed = true;
                record.settled = Some(Settled {
                    fault: installed.settled.clone(),
                    at_ns: came.as_nanos() as u64,
                    lasts_ns: due.until.saturating_sub(due.at).as_nanos() as u64,
                });
                record.targets.clone_from(&installed.targets);
                record.description.clone_from(&installed.description);
                let value = json!({
                    "id": record.id, "targets": installed.targets, "grudge": installed.grudge,
                    "description": installed.description, "began_ns": start_ns,
                });
                recorder.nemesis(&format!("start-{kind}"), &value);
                // What is done once and over at once still ends, for the axis of time.
                let lasts = due.until.saturating_sub(due.at);
                self.holding.push(Held {
                    record: self.records.len(),
                    id: installed.id,
                    until: start.elapsed() + lasts,
                    condition: entry.when.until,
                    leader,
                });
            }
            Err(error) => {
                record.description = format!("could not be installed: {}", chain(&error));
                recorder.nemesis(&format!("failed-{kind}"), &json!(record.description));
                // Coverage counts what was installed; only what is broken is the harness's failure.
                if !error.is_only_bad_timing() {
                    self.errors
                        .push(format!("{kind} could not be installed: {}", chain(&error)));
                }
            }
        }
        self.records.push(record);
    }

    async fn end_due(&mut self, recorder: &Recorder, now: Duration) {
        let mut still = Vec::new();
        for held in std::mem::take(&mut self.holding) {
            if held.until <= now || self.holds(&held).await {
                self.end(recorder, &held).await;
            } else {
                still.push(held);
            }
        }
        self.holding = still;
    }

    /// Whether the condition that a fault waits for holds.
    async fn holds(&self, held: &Held) -> bool {
        match held.condition {
            None => false,
            Some(Until::Leader) => self.probes.leader().await.is_some(),
            Some(Until::NewLeader) => {
                let now = self.probes.leader().await;
                now.is_some() && now != held.leader
            }
            Some(Until::Ready) => {
                let asked = self.nodes.iter().map(|node| self.probes.is_ready(node));
                futures::future::join_all(asked)
                    .await
                    .into_iter()
                    .all(|ready| ready)
            }
        }
    }

    async fn end(&mut self, recorder: &Recorder, held: &Held) {
        let healed = self.nemesis.heal(held.id).await;
        let record = &mut self.records[held.record];
        let kind = record.kind.clone();
        match healed {
            Ok(healed) => {
                record.healed = true;
                if let Some(settled) = &mut record.settled {
                    settled.lasts_ns = recorder.now_ns() - record.start_ns;
                }
                let value = json!({
                    "id": record.id, "targets": record.targets,
                    "dropped_packets": healed.dropped_packets,
                });
                record.end_ns = Some(recorder.nemesis(&format!("stop-{kind}"), &value));
            }
            Err(error) => self
                .errors
                .push(format!("{kind} could not be healed: {}", chain(&error))),
        }
    }
}

/// An error with all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"))
}
