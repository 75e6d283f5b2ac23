//! The faults of a run: each comes when the plan says, holds, and ends; all of it is recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::conditions::{Awaited, Conditions};
use super::hands::Hands;
use super::{Plan, Progress};
use crate::generator::{self, Due};
use crate::nemesis::{Fault, Installed, Leader, Nemesis, NemesisError};
use crate::playbook::FaultEntry;
use crate::recorder::Recorder;
use crate::system::{Members, Probes, Roster};
use crate::verdict::{FaultRecord, Settled};

/// How often a condition that a fault waits for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Brings the faults of a plan.
#[derive(Debug)]
pub(super) struct Torment {
    nemesis: Arc<Nemesis>,
    conditions: Conditions,
    /// Whether who the members are changes in this run.
    members_change: bool,
    entries: Vec<FaultEntry>,
    at_once: usize,
    plan: Vec<Due>,
    /// Faults that are due and wait: for their turn, or for something else, too.
    waiting: Vec<(Due, Option<Awaited>)>,
    holding: Vec<Held>,
    /// Changes of the members that are being made: other faults come meanwhile.
    under_way: Vec<(Begun, JoinHandle<Result<Installed, NemesisError>>)>,
    records: Vec<FaultRecord>,
    errors: Vec<String>,
}

/// A fault that has begun.
#[derive(Debug, Clone)]
struct Begun {
    record: usize,
    due: Due,
    came: Duration,
    condition: Option<Awaited>,
}

/// The time of the schedule, which stands still while a person is waited for.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: Instant,
    paused: Duration,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            start: Instant::now(),
            paused: Duration::ZERO,
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.paused)
    }
}

/// A fault that holds.
#[derive(Debug)]
struct Held {
    record: usize,
    id: u64,
    until: Duration,
    condition: Option<Awaited>,
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
    pub(super) fn new(
        plan: &Plan,
        nemesis: Nemesis,
        probes: Arc<Probes>,
        members: Option<Arc<Members>>,
    ) -> Torment {
        let members_change = plan.members_change();
        Torment {
            nemesis: Arc::new(nemesis.with_members(members.clone(), members_change)),
            conditions: Conditions { probes, members },
            members_change,
            entries: plan.loaded.playbook.faults.0.clone(),
            at_once: plan.loaded.playbook.faults_at_once,
            plan: plan.faults.clone(),
            waiting: Vec::new(),
            holding: Vec::new(),
            under_way: Vec::new(),
            records: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Ends the nemesis, and tells what was done.
    pub(super) async fn close(self) -> Vec<FaultRecord> {
        if let Ok(nemesis) = Arc::try_unwrap(self.nemesis) {
            nemesis.close().await;
        }
        self.records
    }

    /// Who the members are, in a run where that changes.
    pub(super) async fn roster(&self) -> Option<Roster> {
        match &self.conditions.members {
            Some(members) if self.members_change => members.roster().await,
            _ => None,
        }
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
        progress: &Progress,
        interrupted: &mut watch::Receiver<bool>,
    ) {
        let mut clock = Clock::new();
        let mut hands = Hands::new(self.conditions.clone());
        let mut left = std::mem::take(&mut self.plan).into_iter().peekable();
        while !*interrupted.borrow() {
            let next_end = self.holding.iter().map(|held| held.until).min();
            let next_start = left.peek().map(|due| due.at);
            let watching = !self.under_way.is_empty()
                || !self.waiting.is_empty()
                || self.holding.iter().any(|held| held.condition.is_some());
            let look = watching.then(|| clock.now() + LOOK_EVERY);
            let next = [next_end, next_start, look, Some(lasts)]
                .into_iter()
                .flatten()
                .min();
            let wait = next.unwrap_or(lasts).saturating_sub(clock.now());
            super::rest(wait, interrupted).await;
            let now = clock.now();
            self.take_in(recorder, clock, false).await;
            self.end_due(recorder, now).await;
            if now >= lasts {
                break;
            }
            let due = left.next_if(|due| due.at <= now);
            let Some(due) = self.whose_turn(due).await else {
                continue;
            };
            let entry = &self.entries[due.entry];
            if let Fault::Manual(what) = &entry.fault {
                let (when, mut record) = (&entry.when, self.record(recorder, &due));
                let begin = Instant::now();
                hands
                    .step(what, when, &mut record, recorder, progress, interrupted)
                    .await;
                clock.paused += begin.elapsed();
                self.records.push(record);
            } else {
                self.begin(recorder, due, clock).await;
            }
        }
        self.never_came(recorder);
    }

    /// The next fault that may come: what is due waits until there is room for it, however slowly
    /// those before it came and went, and until what it is to come after holds.
    async fn whose_turn(&mut self, due: Option<Due>) -> Option<Due> {
        if let Some(due) = due {
            let after = self.entries[due.entry].when.after.as_ref();
            let awaited = self.conditions.begin(after).await;
            self.waiting.push((due, awaited));
        }
        if self.holding.len() >= self.at_once {
            return None;
        }
        for at in 0..self.waiting.len() {
            let comes = match &self.waiting[at].1 {
                Some(awaited) => self.conditions.hold(awaited).await,
                None => true,
            };
            if comes {
                return Some(self.waiting.remove(at).0);
            }
        }
        None
    }

    /// Puts on record what waited in vain.
    fn never_came(&mut self, recorder: &Recorder) {
        for (due, awaited) in std::mem::take(&mut self.waiting) {
            let mut record = self.record(recorder, &due);
            record.description = match awaited {
                Some(awaited) => format!("did not come: it waited in vain for {awaited}"),
                None => "did not come: the time was over before those before it were".into(),
            };
            let kind = format!("failed-{}", record.kind);
            recorder.nemesis(&kind, &json!(record.description));
            self.records.push(record);
        }
    }

    /// Ends everything that holds, and whatever else the journal knows.
    pub(super) async fn heal(&mut self, recorder: &Recorder) {
        let clock = Clock::new();
        self.take_in(recorder, clock, true).await;
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

    /// A record of a fault that is about to come.
    fn record(&self, recorder: &Recorder, due: &Due) -> FaultRecord {
        FaultRecord {
            id: self.records.len() as u64,
            entry: Some(due.entry),
            kind: self.entries[due.entry].fault.kind().into(),
            targets: Vec::new(),
            start_ns: recorder.now_ns(),
            end_ns: None,
            description: String::new(),
            installed: false,
            healed: false,
            settled: None,
        }
    }

    async fn begin(&mut self, recorder: &Recorder, due: Due, clock: Clock) {
        let entry = self.entries[due.entry].clone();
        let mut random = generator::random(due.seed, "targets", 0);
        let condition = self.conditions.begin(entry.when.until.as_ref()).await;
        let record = self.record(recorder, &due);
        self.records.push(record);
        let begun = Begun {
            record: self.records.len() - 1,
            came: clock.now(),
            condition,
            due,
        };
        let nemesis = Arc::clone(&self.nemesis);
        let is_slow = matches!(entry.fault, Fault::Membership(_));
        let install = async move { nemesis.install(&entry.fault, &mut random).await };
        if is_slow {
            self.under_way.push((begun, tokio::spawn(install)));
        } else {
            let came = install.await;
            self.came(recorder, begun, came, clock).await;
        }
    }

    /// Takes in the changes of the members that are done; all of them, if told to wait.
    async fn take_in(&mut self, recorder: &Recorder, clock: Clock, wait: bool) {
        for (begun, task) in std::mem::take(&mut self.under_way) {
            if !wait && !task.is_finished() {
                self.under_way.push((begun, task));
                continue;
            }
            match task.await {
                Ok(came) => self.came(recorder, begun, came, clock).await,
                Err(error) => self
                    .errors
                    .push(format!("a change of the members: {error}")),
            }
        }
    }

    /// Records what became of a fault that was to come.
    async fn came(
        &mut self,
        recorder: &Recorder,
        begun: Begun,
        came: Result<Installed, NemesisError>,
        clock: Clock,
    ) {
        let record = &mut self.records[begun.record];
        let kind = record.kind.clone();
        let installed = match came {
            Ok(installed) => installed,
            Err(error) => {
                record.description = format!("could not be installed: {}", chain(&error));
                recorder.nemesis(&format!("failed-{kind}"), &json!(record.description));
                // Coverage counts what was installed; only what is broken is the harness's failure.
                if !error.is_only_bad_timing() {
                    self.errors
                        .push(format!("{kind} could not be installed: {}", chain(&error)));
                }
                return;
            }
        };
        let lasts = begun.due.until.saturating_sub(begun.due.at);
        record.installed = true;
        record.settled = Some(Settled {
            fault: installed.settled.clone(),
            at_ns: begun.came.as_nanos() as u64,
            lasts_ns: lasts.as_nanos() as u64,
        });
        record.targets.clone_from(&installed.targets);
        record.description.clone_from(&installed.description);
        let value = json!({
            "id": record.id, "targets": installed.targets, "grudge": installed.grudge,
            "description": installed.description, "began_ns": record.start_ns,
        });
        recorder.nemesis(&format!("start-{kind}"), &value);
        let held = Held {
            record: begun.record,
            id: installed.id,
            until: clock.now() + lasts,
            condition: begun.condition,
        };
        if installed.is_over {
            // It still has an end, for the axis of time.
            self.end(recorder, &held).await;
        } else {
            self.holding.push(held);
        }
    }

    async fn end_due(&mut self, recorder: &Recorder, now: Duration) {
        let mut still = Vec::new();
        for held in std::mem::take(&mut self.holding) {
            let is_over = match &held.condition {
                _ if held.until <= now => true,
                Some(awaited) => self.conditions.hold(awaited).await,
                None => false,
            };
            if is_over {
                self.end(recorder, &held).await;
            } else {
                still.push(held);
            }
        }
        self.holding = still;
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
