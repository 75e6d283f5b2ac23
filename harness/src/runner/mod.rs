//! A run, phase by phase: deploy, work, torment, heal, read back, take down, judge.
//!
//! Whatever goes wrong on the way, what was begun is ended: clients stop, faults are healed,
//! daemons are stopped, and what was recorded until then is checked. Failures of the harness are
//! collected and never mistaken for the system's.

mod bench;
mod conditions;
mod coverage;
mod gauges;
mod hands;
pub mod judge;
mod outcome;
mod plan;
mod progress;
mod torment;
mod vigil;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ordeal_checker::Verdict;
use tokio::sync::watch;

pub use bench::{Figures, bench};
pub use outcome::{Mark, RunRecord};
pub use plan::Plan;
pub use progress::Progress;

use crate::by_hand::Announced;
use crate::cluster::Cluster;
use crate::control::Control;
use crate::interpreter::{Stage, Worker, drive};
use crate::journal::Journal;
use crate::nemesis::Nemesis;
use crate::operator::daemons::clock_offset_ms;
use crate::recorder::Recorder;
use crate::store::RunFolder;
use crate::system::{Client, Deployment, Members, Node, Probes};
use crate::tally::{Part, Tally};
use crate::verdict::{FaultRecord, Property, Results};
use gauges::{Courses, Gauges};
use hands::Clerk;
use outcome::Phases;
use torment::Torment;
use vigil::Ending;

/// How long the last reads may take all together.
const FINALE_MAX: Duration = Duration::from_secs(30);

/// What a run is made with.
#[derive(Debug)]
pub struct Setting<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// Where.
    pub cluster: &'a Cluster,
    /// Where it is kept.
    pub folder: &'a RunFolder,
    /// Who is told how it goes.
    pub progress: &'a Progress,
    /// Turns true when the user wants an end.
    pub interrupted: watch::Receiver<bool>,
}

/// What has come together while a run went on, for its results.
#[derive(Debug, Default)]
struct Gathered {
    errors: Vec<String>,
    faults: Vec<FaultRecord>,
    phases: Phases,
    gauges: Courses,
    /// The violation for which the run was ended before its time.
    proof: Option<String>,
}

impl Gathered {
    /// Notes an error of the harness and goes on.
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| self.errors.push(format!("{error:#}")))
            .ok()
    }
}

/// Runs a plan and writes everything about it into its folder.
pub async fn run(setting: Setting<'_>) -> Result<Results> {
    let Setting { plan, folder, .. } = &setting;
    folder.write("playbook.yaml", &plan.loaded.source.text)?;
    let mut record = RunRecord::new(plan, setting.cluster);
    folder.write_json("run.json", &record)?;
    let tally = Arc::new(Tally::new(plan.system.nodes.len()));
    let mut gathered = Gathered::default();
    let outcome = execute(&setting, &mut record, &tally, &mut gathered).await;
    gathered.note(outcome);
    record.phases.clone_from(&gathered.phases);
    folder.write_json("run.json", &record)?;

    let history = folder.file("history.jsonl");
    let properties = if history.is_file() {
        setting.progress.phase("check");
        let parts = plan.parts();
        let judged = tokio::task::spawn_blocking(move || judge::judge(&history, &parts)).await?;
        gathered.note(judged).unwrap_or_default()
    } else {
        Vec::new()
    };
    record.ended_early.clone_from(&gathered.proof);
    folder.write_json("run.json", &record)?;
    gathered
        .errors
        .extend(unconfirmed(gathered.proof.as_deref(), &properties));
    let coverage = coverage::measure(&plan.loaded, &tally, &gathered.faults);
    let figures = outcome::figures(&tally, &gathered.phases, &gathered.gauges);
    let results = Results::new(
        properties,
        coverage,
        gathered.errors,
        figures,
        gathered.faults,
    );
    folder.write_json("results.json", &results)?;
    Ok(results)
}

/// What is wrong when a run was ended for a violation that the check of the whole does not find.
fn unconfirmed(proof: Option<&str>, properties: &[Property]) -> Option<String> {
    let found = properties.iter().any(|it| it.verdict == Verdict::Invalid);
    let proof = proof.filter(|_| !found)?;
    Some(format!(
        "the run was ended for what its check does not confirm: {proof}"
    ))
}

/// Everything that touches hosts.
async fn execute(
    setting: &Setting<'_>,
    record: &mut RunRecord,
    tally: &Arc<Tally>,
    gathered: &mut Gathered,
) -> Result<()> {
    let Setting {
        plan,
        cluster,
        folder,
        progress,
        ..
    } = setting;
    progress.phase("connect");
    let cluster = plan.hosts_of(cluster);
    let control = Arc::new(Control::connect(&cluster).await?);
    for session in control.sessions() {
        if let Some(offset) = clock_offset_ms(session).await {
            record
                .clock_offsets_ms
                .insert(session.name().into(), offset);
        }
    }
    let deployment = Deployment::new(Arc::clone(&plan.system), Arc::clone(&control))?;
    let deployment = Arc::new(deployment);
    record.digests.clone_from(&deployment.digests);
    let probes = Probes::new(Arc::clone(&plan.system), Arc::clone(&control));
    let probes = Arc::new(probes.map_err(anyhow::Error::msg)?);
    progress.phase("deploy");
    let deployed = deployment.up(&probes).await;
    let worked = match deployed {
        Ok(()) => {
            let journal = Journal::create(folder.path(), &cluster)?;
            let daemons = deployment.daemons().clone();
            let nemesis = Nemesis::new(
                Arc::clone(&control),
                journal,
                daemons,
                torment::leader(&probes),
            );
            let members = Members::new(
                Arc::clone(&plan.system),
                Arc::clone(&probes),
                Some(Arc::clone(&deployment)),
            );
            let members = members.map_err(anyhow::Error::msg)?.map(Arc::new);
            let mut torment = Torment::new(plan, nemesis, Arc::clone(&probes), members);
            let clerk = Clerk::new(Announced::new(setting.cluster, folder.path())?);
            let worked = work(setting, &mut torment, clerk, &probes, tally, gathered).await;
            gathered.faults.extend(torment.close().await);
            worked
        }
        Err(error) => Err(error.context("the system could not be deployed")),
    };
    progress.phase("take down");
    gathered.note(deployment.fetch_logs(&folder.file("logs")).await);
    gathered.note(deployment.down().await);
    worked
}

/// The part of a run that is recorded.
async fn work(
    setting: &Setting<'_>,
    torment: &mut Torment,
    clerk: Clerk,
    probes: &Arc<Probes>,
    tally: &Arc<Tally>,
    gathered: &mut Gathered,
) -> Result<()> {
    let Setting {
        plan,
        folder,
        progress,
        ..
    } = setting;
    torment
        .prepare()
        .await
        .context("the hosts cannot be made ready for faults")?;
    let start = Instant::now();
    let recorder = Recorder::create(&folder.file("history.jsonl"), start)
        .context("the history cannot be begun")?;
    let recorder = Arc::new(recorder);
    let syncing = tokio::spawn(Arc::clone(&recorder).keep_synced());
    let (end, ended) = watch::channel(false);
    let clerk = tokio::spawn(clerk.follow(Arc::clone(&recorder), ended));
    let (stop, stopped) = watch::channel(false);
    let stage = Stage {
        recorder: Arc::clone(&recorder),
        tally: Arc::clone(tally),
        stop: stopped,
    };
    let workers = workers(plan)?;
    let driving = tokio::spawn({
        let stage = stage.clone();
        async move { drive(workers, &stage).await }
    });

    let nodes = &plan.system.nodes;
    let gauges = Gauges::follow(probes, nodes, &recorder, folder);
    let ticking = progress.follow(tally, &recorder, plan.loaded.playbook.time.total().0);
    let mut ending = if plan.stop_on_violation {
        let history = folder.file("history.jsonl");
        Ending::by_proof(setting.interrupted.clone(), history, plan.parts())?
    } else {
        Ending::by(setting.interrupted.clone())
    };
    let interrupted = &mut ending.over;
    let time = &plan.loaded.playbook.time;
    gathered.phases.enter("before", &recorder);
    progress.phase("before");
    rest(time.before.0, interrupted).await;
    gathered.phases.enter("faults", &recorder);
    progress.phase("faults");
    tally.enter(Part::During);
    torment
        .run(&recorder, time.during.0, progress, interrupted)
        .await;
    gathered.phases.enter("heal", &recorder);
    progress.phase("heal");
    torment.heal(&recorder).await;
    let roster = torment.roster().await;
    let is_out = |node: &Node| {
        roster
            .as_ref()
            .is_some_and(|roster| !roster.contains(&node.name))
    };
    let nodes = &plan.system.nodes;
    (0..nodes.len())
        .filter(|at| is_out(&nodes[*at]))
        .for_each(|at| tally.excuse(at));
    tally.healed(recorder.now_ns());
    tally.enter(Part::After);
    gathered.phases.enter("after", &recorder);
    progress.phase("after");
    rest(time.after.0, interrupted).await;
    tally.close(recorder.now_ns());
    stop.send_replace(true);
    let workers = driving.await.context("a client panicked")?;
    ticking.abort();
    gathered.gauges = gauges.end();
    gathered.phases.enter("final", &recorder);
    progress.phase("final reads");
    tally.enter(Part::Final);
    // Copied out first: whoever wants to interrupt must not wait for the last reads.
    let hurried = *interrupted.borrow();
    gathered.proof = ending.proof();
    let within: Vec<&Node> = nodes.iter().filter(|node| !is_out(node)).collect();
    finale(plan, probes, &within, workers, &stage, hurried).await;
    end.send_replace(true);
    gathered.faults.extend(clerk.await.unwrap_or_default());
    gathered.phases.end(&recorder);
    syncing.abort();
    recorder.sync();
    gathered.errors.extend(recorder.error());
    gathered.errors.extend(torment.errors());
    Ok(())
}

/// The last reads, by the same processes, once every node that can be is ready.
async fn finale(
    plan: &Plan,
    probes: &Probes,
    nodes: &[&Node],
    workers: Vec<Worker>,
    stage: &Stage,
    hurried: bool,
) {
    if !hurried {
        // A node that does not come back is the system's own matter: its clients find out.
        let waiting = nodes.iter().map(|node| probes.wait_ready(node));
        futures::future::join_all(waiting).await;
    }
    let (stop, stopped) = watch::channel(false);
    let stage = Stage {
        stop: stopped,
        ..stage.clone()
    };
    let workers = plan.finale(workers);
    let deadline = tokio::spawn(async move {
        tokio::time::sleep(FINALE_MAX).await;
        stop.send_replace(true);
        // Kept until here: a dropped sender would look like a word to stop.
    });
    let mut workers = drive(workers, &stage).await;
    deadline.abort();
    for worker in &mut workers {
        worker.connection.close().await;
    }
}

/// A worker for every client of every workload.
fn workers(plan: &Plan) -> Result<Vec<Worker>> {
    let mut workers = Vec::new();
    let nodes = &plan.system.nodes;
    for making in plan.makings() {
        let load = making.load;
        let client =
            Client::new(&plan.system, load.kind.name(), &load.with).map_err(anyhow::Error::msg)?;
        for slot in making.slots() {
            let node = slot.number % nodes.len();
            workers.push(Worker {
                process: slot.number as u64,
                processes: slot.of as u64,
                node,
                node_name: nodes[node].name.as_str().into(),
                connection: client.connect(node),
                rest: plan.system.definition.client.rest.0,
                generator: load.kind.generator(making.at(slot)),
                pace: making.pace(slot),
                left: making.operations(slot),
            });
        }
    }
    Ok(workers)
}

/// Rests, unless the user wants an end.
async fn rest(time: Duration, interrupted: &mut watch::Receiver<bool>) {
    let _ = tokio::time::timeout(time, interrupted.wait_for(|interrupted| *interrupted)).await;
}
