//! What people do while a run is on: steps that a playbook asks for, and what operators do unasked.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::Progress;
use super::conditions::Conditions;
use crate::by_hand::{Announced, Event, Outcome};
use crate::playbook::When;
use crate::recorder::Recorder;
use crate::verdict::FaultRecord;

/// How often is looked whether a step is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a person may take who was given no time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits for a person.
#[derive(Debug)]
pub(super) struct Hands {
    conditions: Conditions,
    /// Each line that is typed, once there was a step to read for.
    typed: Option<mpsc::UnboundedReceiver<()>>,
}

impl Hands {
    pub(super) fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            typed: None,
        }
    }

    /// Says what to do and how things stand, and waits until it is done.
    pub(super) async fn step(
        &mut self,
        what: &str,
        when: &When,
        record: &mut FaultRecord,
        recorder: &Recorder,
        progress: &Progress,
        interrupted: &watch::Receiver<bool>,
    ) {
        let patience = when.lasts.map_or(PATIENCE, |lasts| lasts.middle.0);
        let awaited = self.conditions.begin(when.until.as_ref()).await;
        recorder.nemesis(
            "start-manual",
            &json!({"id": record.id, "description": what}),
        );
        progress.tell(&format!("BY HAND: {what}"));
        self.show(progress).await;
        let ended_by = match &when.until {
            Some(until) => format!("{until}, or Enter"),
            None => "Enter".to_owned(),
        };
        progress.tell(&format!(
            "  waiting for {ended_by}, at most {} s",
            patience.as_secs()
        ));
        let typed = self.typed.get_or_insert_with(listen);
        // What was typed before belongs to no step.
        while typed.try_recv().is_ok() {}

        let begin = Instant::now();
        let done_by = loop {
            if *interrupted.borrow() {
                break None;
            }
            tokio::select! {
                Some(()) = self.typed.as_mut().expect("it was put there").recv() => break Some("Enter".to_owned()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Some(awaited) = &awaited
                && self.conditions.hold(awaited).await
            {
                break Some(awaited.to_string());
            }
            if begin.elapsed() >= patience {
                break None;
            }
        };
        record.installed = done_by.is_some();
        record.healed = true;
        let outcome = match done_by {
            Some(sign) => format!("done ({sign}) after {:.1} s", begin.elapsed().as_secs_f64()),
            None => format!("not done within {:.0} s", begin.elapsed().as_secs_f64()),
        };
        record.description = format!("{what}: {outcome}");
        progress.tell(&format!("  {outcome}"));
        self.show(progress).await;
        let value = json!({"id": record.id, "outcome": outcome});
        record.end_ns = Some(recorder.nemesis("stop-manual", &value));
    }

    /// Each node's view of the configuration.
    async fn show(&self, progress: &Progress) {
        let leader = self.conditions.probes.leader().await;
        progress.tell(&format!(
            "  leader: {}",
            leader.as_deref().unwrap_or("nobody")
        ));
        let Some(members) = &self.conditions.members else {
            return;
        };
        for (node, view) in members.views().await {
            let view = match view {
                Ok(view) if view.voters.is_empty() => "waits to be added".to_owned(),
                Ok(view) => format!("{view} (since {})", view.version),
                Err(why) => format!("does not tell: {why}"),
            };
            progress.tell(&format!("  {node}: {view}"));
        }
    }
}

/// Reads lines from the terminal, on a thread of its own because nothing can interrupt that. Where
/// there is no terminal, nothing ever comes.
fn listen() -> mpsc::UnboundedReceiver<()> {
    let (line, typed) = mpsc::unbounded_channel();
    if std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            while std::io::stdin()
                .lines()
                .next()
                .is_some_and(|line| line.is_ok())
            {
                if line.send(()).is_err() {
                    return;
                }
            }
        });
    } else {
        // A sender that is dropped would look like a line; this one lives as long as the process.
        std::mem::forget(line);
    }
    typed
}

/// Puts on the run's record what operators do unasked.
#[derive(Debug)]
pub(super) struct Clerk {
    announced: Announced,
    open: BTreeMap<u64, FaultRecord>,
    done: Vec<FaultRecord>,
}

impl Clerk {
    pub(super) fn new(announced: Announced) -> Self {
        Self {
            announced,
            open: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// Takes down what is new, again and again.
    pub(super) async fn follow(
        mut self,
        recorder: Arc<Recorder>,
        mut end: watch::Receiver<bool>,
    ) -> Vec<FaultRecord> {
        loop {
            let ended = tokio::time::timeout(LOOK_EVERY, end.wait_for(|end| *end))
                .await
                .is_ok();
            for event in self.announced.news() {
                self.note(event, &recorder);
            }
            if ended {
                self.done.extend(self.open.into_values());
                return self.done;
            }
        }
    }

    fn note(&mut self, event: Event, recorder: &Recorder) {
        // It was written a moment ago; how long ago, the wall clock tells.
        let now_ns = jiff::Timestamp::now().as_nanosecond() as u64;
        let at_ns = recorder
            .now_ns()
            .saturating_sub(now_ns.saturating_sub(event.at_ns));
        let value = json!({"id": event.id, "description": event.command, "outcome": event.outcome,
                           "at_ns": at_ns});
        let Some(outcome) = event.outcome else {
            recorder.nemesis("start-by-hand", &value);
            let record = FaultRecord {
                id: event.id,
                entry: None,
                kind: "by hand".into(),
                targets: Vec::new(),
                start_ns: at_ns,
                end_ns: None,
                description: event.command,
                installed: true,
                healed: true,
                settled: None,
            };
            self.open.insert(event.id, record);
            return;
        };
        recorder.nemesis("stop-by-hand", &value);
        if let Some(mut record) = self.open.remove(&event.id) {
            record.end_ns = Some(at_ns);
            if let Outcome::Failed(why) = outcome {
                record.description = format!("{}: {why}", record.description);
            }
            self.done.push(record);
        }
    }
}
