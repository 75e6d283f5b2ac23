//! The interpreter: it alone draws operations, calls the system and records what happens.
//!
//! Each logical process is a task that does one thing at a time. An operation whose outcome is
//! unknown ends its process: what was asked may still happen, so the next operation of that task
//! is a new process's, with a number that was never used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::generator::{Draft, Ended, Generator, Pace};
use crate::recorder::{Line, Recorder};
use crate::system::{Answer, Connection, Outcome};
use crate::tally::{Done, Tally};

/// One process and all it needs.
#[derive(Debug)]
pub struct Worker {
    /// The number it has now.
    pub process: u64,
    /// How many processes the run has: what a retired number grows by.
    pub processes: u64,
    /// The node it speaks to.
    pub node: usize,
    /// That node's name.
    pub node_name: Arc<str>,
    /// The way to it.
    pub connection: Connection,
    /// How long it rests when its node was not there.
    pub rest: Duration,
    /// What it does.
    pub generator: Box<dyn Generator>,
    /// When it does it; closed loop without.
    pub pace: Option<Pace>,
    /// How many operations it may still begin.
    pub left: u64,
}

/// What all processes of a run share.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Where everything is written.
    pub recorder: Arc<Recorder>,
    /// Where everything is counted.
    pub tally: Arc<Tally>,
    /// Turns true when everyone is to stop.
    pub stop: watch::Receiver<bool>,
}

/// Lets all workers work until they have nothing more to do, or are told to stop, and gives them
/// back. Whoever is waiting for an answer waits on: its outcome belongs to the history.
pub async fn drive(workers: Vec<Worker>, stage: &Stage) -> Vec<Worker> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for worker in workers {
        tasks.spawn(worker.work(stage.clone(), start));
    }
    tasks.join_all().await
}

impl Worker {
    async fn work(mut self, mut stage: Stage, start: Instant) -> Worker {
        while self.left > 0 && !*stage.stop.borrow_and_update() && stage.recorder.error().is_none()
        {
            let Some(draft) = self.generator.next() else {
                break;
            };
            let intended = self
                .pace
                .as_mut()
                .map(|pace| start + Duration::from_nanos(pace.take()));
            if let Some(intended) = intended
                && !sleep_until(intended, &mut stage.stop).await
            {
                break;
            }
            self.left -= 1;
            let answer = self.operate(&draft, intended, &stage).await;
            if answer.unavailable && intended.is_none() {
                sleep_until(Instant::now() + self.rest, &mut stage.stop).await;
            }
        }
        self
    }

    async fn operate(&mut self, draft: &Draft, intended: Option<Instant>, stage: &Stage) -> Answer {
        let process = self.process;
        let node = Arc::clone(&self.node_name);
        let line = |kind, value| Line {
            key: draft.key.as_deref(),
            node: Some(&node),
            ..Line::of(process, kind, &draft.f, value)
        };
        let begun = intended.unwrap_or_else(Instant::now);
        stage.recorder.invoke(line("invoke", &draft.value));
        let answer = self.connection.call(process, draft).await;
        let kind = match answer.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        };
        let value = match answer.outcome {
            Outcome::Ok => answer.value.as_ref().unwrap_or(&draft.value),
            _ => &draft.value,
        };
        let time_ns = stage.recorder.complete(Line {
            error: answer.error.as_deref(),
            revision: answer.revision,
            ..line(kind, value)
        });
        stage.tally.count(&Done {
            f: &draft.f,
            outcome: answer.outcome,
            error: answer.error.as_deref(),
            node: self.node,
            latency: begun.elapsed(),
            time_ns,
        });
        self.generator.ended(draft, ended(&answer, value));
        if answer.outcome == Outcome::Info {
            self.process += self.processes;
        }
        answer
    }
}

fn ended<'a>(answer: &Answer, value: &'a Value) -> Ended<'a> {
    match answer.outcome {
        Outcome::Ok => Ended::Ok(value),
        Outcome::Fail => Ended::Fail,
        Outcome::Info => Ended::Info,
    }
}

/// Sleeps; false when it was told to stop before.
async fn sleep_until(until: Instant, stop: &mut watch::Receiver<bool>) -> bool {
    if until <= Instant::now() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep_until(until.into()) => true,
        _ = stop.wait_for(|stop| *stop) => false,
    }
}
