//! The nemesis: installs faults, and undoes every one of them.
//!
//! A fault's life, always in this order:
//!
//! 1. It is **planned**: words become nodes, chance is used up, and from then on it is settled.
//! 2. It is **journaled**: the journal knows of it before any host does.
//! 3. It is **installed** on all its hosts at once, each noting first how to undo it, and
//!    **verified**: rules are read back, traffic is tried, processes are looked at. If one host
//!    fails, the whole fault is undone and reported as not installed.
//! 4. It is **healed**, that is verified too, and only then struck from the journal.
//!
//! If the harness dies in between, the watchdog on each host heals what is on that host (see
//! [`agent`]), and `ordeal heal` does the rest from the journal.
//!
//! Every kind of fault is a file here, whose first words say what it does, how it ends and where it
//! can run.

mod aftermath;
mod agent;
mod busy;
mod clock;
mod damage;
mod delay;
mod duplicate;
mod error;
mod fault;
mod full_disk;
mod kill;
mod loss;
mod membership;
mod memory;
mod netem;
mod partition;
mod pause;
mod plan;
mod power_cut;
mod rate;
mod reorder;
mod restart;
mod slow;
mod stop;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::control::daemon::Daemon;
use crate::control::{Control, Session};
use crate::journal::{Entry, Journal};
use crate::system::Members;

pub use aftermath::{Aftermath, heal_outstanding, heal_tag};
use agent::{Agent, Watch};
pub use busy::Busy;
pub use clock::Clock;
pub use damage::{Damage, Harm};
pub use delay::Delay;
pub use duplicate::Duplicate;
pub use error::NemesisError;
pub use fault::Fault;
pub use full_disk::FullDisk;
pub use loss::Loss;
pub use membership::{Join, Membership, Verb};
pub use memory::Memory;
pub use partition::{Grudge, Partition, Shape};
pub use power_cut::PowerCut;
pub use rate::Rate;
pub use reorder::Reorder;
pub use restart::Restart;
pub use slow::Slow;
pub use target::Target;

use membership::Step;
pub(crate) use plan::{Action, Plan, View};

/// Asks the system under test who leads.
pub type Leader = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// How long a fault against the leader waits for there to be one.
const LEADER_WITHIN: Duration = Duration::from_secs(5);
/// What a daemon is granted to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Installs and heals faults on the hosts of one cluster.
pub struct Nemesis {
    control: Arc<Control>,
    daemons: BTreeMap<String, Daemon>,
    leader: Leader,
    members: Option<Arc<Members>>,
    /// Whether words such as `one` are about those that vote, because that changes.
    members_change: bool,
    tag: String,
    journal: Mutex<Journal>,
    active: Mutex<BTreeMap<u64, Plan>>,
    next_id: Mutex<u64>,
    watch: OnceCell<Watch>,
}

/// A fault that was installed and verified.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its number in the run.
    pub id: u64,
    /// Its kind, as in [`Fault::KINDS`].
    pub kind: &'static str,
    /// The nodes that it was done to.
    pub targets: Vec<String>,
    /// For a partition, who takes nothing from whom.
    pub grudge: Grudge,
    /// What was done, in words.
    pub description: String,
    /// The fault with all chance taken out: installing it again does the same.
    pub settled: Fault,
    /// It is over already: nothing holds that could be healed.
    pub is_over: bool,
}

/// A fault that was healed and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// Its number.
    pub id: u64,
    /// Packets that its rules have dropped: proof that it did something.
    pub dropped_packets: u64,
}

impl Nemesis {
    /// A nemesis for the hosts of a cluster, each with the daemon that runs there.
    pub fn new(
        control: Arc<Control>,
        journal: Journal,
        daemons: BTreeMap<String, Daemon>,
        leader: Leader,
    ) -> Self {
        Self {
            tag: journal.tag().to_owned(),
            control,
            daemons,
            leader,
            members: None,
            members_change: false,
            journal: Mutex::new(journal),
            active: Mutex::default(),
            next_id: Mutex::new(1),
            watch: OnceCell::new(),
        }
    }

    /// The same for a system that tells who its members are; `change` says whether that changes.
    #[must_use]
    pub fn with_members(mut self, members: Option<Arc<Members>>, change: bool) -> Self {
        self.members = members;
        self.members_change = change;
        self
    }

    /// Puts the agent and its watchdog on every host. [`install`](Self::install) does so when it
    /// was not done before; done beforehand, the first fault comes sooner and trouble shows early.
    pub async fn prepare(&self) -> Result<(), NemesisError> {
        let start = || Watch::start(Arc::clone(&self.control), self.tag.clone());
        self.watch.get_or_try_init(start).await.map(drop)
    }

    /// Tries whether every host can be done that to, so that a run need not find out halfway.
    pub async fn can(&self, fault: &Fault) -> Result<(), NemesisError> {
        self.prepare().await?;
        let Some(verb) = fault.needs() else {
            return Ok(());
        };
        let asking = self
            .control
            .names()
            .iter()
            .map(async |host| self.agent(host).can(verb).await);
        join_all(asking).await.into_iter().collect()
    }

    /// Installs a fault, and verifies that it is there. On an error nothing of it is left, unless
    /// the error says that it could not be undone.
    pub async fn install(
        &self,
        fault: &Fault,
        rng: &mut impl Rng,
    ) -> Result<Installed, NemesisError> {
        self.prepare().await?;
        let view = self.view(fault).await?;
        let plan = fault.plan(&view, rng)?;
        let id = {
            let mut next = self.next_id.lock();
            *next += 1;
            *next - 1
        };
        let installed = Installed {
            id,
            kind: fault.kind(),
            is_over: fault.is_over_at_once(),
            settled: fault.settled(&plan),
            targets: plan.targets.clone(),
            grudge: plan.grudge.clone(),
            description: plan.description.clone(),
        };
        self.journal.lock().install(Entry {
            id,
            description: plan.description.clone(),
            hosts: plan.hosts(),
        })?;
        self.active.lock().insert(id, plan.clone());
        let doing = plan
            .actions
            .iter()
            .map(|(host, action)| self.act(id, host, action));
        let mut done: Result<Vec<_>, _> = join_all(doing).await.into_iter().collect();
        if let (Ok(notes), Some(members)) = (&mut done, &self.members) {
            match change_members(members, &plan.steps).await {
                Ok(note) => notes.push(note),
                Err(error) => done = Err(error),
            }
        }
        match done {
            Ok(notes) => Ok(Installed {
                description: notes
                    .concat()
                    .into_iter()
                    .fold(installed.description, |all, note| all + "; " + &note),
                ..installed
            }),
            Err(error) => match self.undo(id).await {
                Ok(_) => Err(error),
                Err(heal) => Err(NemesisError::Stuck {
                    install: Box::new(error),
                    heal: Box::new(heal),
                }),
            },
        }
    }

    /// Heals a fault, and verifies that it is gone. That it was gone already is an error, because
    /// then it did not last as long as everyone thinks; it is struck from the list all the same.
    pub async fn heal(&self, id: u64) -> Result<Healed, NemesisError> {
        let (healed, early) = self.undo(id).await?;
        if early.is_empty() {
            return Ok(healed);
        }
        Err(NemesisError::EndedEarly {
            id,
            hosts: early.join(", "),
        })
    }

    /// Undoes a fault. Returns the hosts, too, where nothing was to be undone.
    async fn undo(&self, id: u64) -> Result<(Healed, Vec<String>), NemesisError> {
        let active = self.active.lock().get(&id).cloned();
        let hosts = active.ok_or(NemesisError::NoSuchFault(id))?.hosts();
        let undoing = hosts
            .iter()
            .map(async |host| self.agent(host).heal(id).await);
        let (mut healed, mut early, mut failed) = (
            Healed {
                id,
                dropped_packets: 0,
            },
            Vec::new(),
            None,
        );
        for (host, undone) in hosts.iter().zip(join_all(undoing).await) {
            match undone {
                Ok(Undone::Now { dropped_packets }) => healed.dropped_packets += dropped_packets,
                Ok(Undone::Before) => early.push(host.clone()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.active.lock().remove(&id);
        self.journal.lock().healed(id)?;
        Ok((healed, early))
    }

    /// Heals all faults that are there, the last one first, and says for each how it went.
    pub async fn heal_all(&self) -> Vec<Result<Healed, NemesisError>> {
        let ids: Vec<u64> = self.active.lock().keys().rev().copied().collect();
        let mut all = Vec::new();
        for id in ids {
            all.push(self.heal(id).await);
        }
        all
    }

    /// The numbers of the faults that are there.
    pub fn active(&self) -> Vec<u64> {
        self.active.lock().keys().copied().collect()
    }

    /// Ends the watchdogs. All faults must have been healed: what is left stays until `ordeal heal`.
    pub async fn close(self) {
        if let Some(watch) = self.watch.into_inner() {
            watch.end().await;
        }
    }

    async fn view(&self, fault: &Fault) -> Result<View, NemesisError> {
        let active = self.active.lock().clone();
        let down = active
            .values()
            .flat_map(|active| &active.actions)
            .filter(|(_, action)| action.holds_daemon())
            .map(|(host, _)| host.clone())
            .collect();
        let mut grudges = Grudge::new();
        for (node, from) in active.into_values().flat_map(|plan| plan.grudge) {
            grudges.entry(node).or_default().extend(from);
        }
        let roster = match &self.members {
            Some(members) if self.members_change || fault.asks_for_roster() => {
                members.roster().await
            }
            _ => None,
        };
        Ok(View {
            nodes: self.control.names().to_vec(),
            addresses: self
                .control
                .hosts()
                .map(|host| (host.name.clone(), host.address))
                .collect(),
            control: self
                .control
                .sessions()
                .filter_map(|session| Some((session.name().to_owned(), session.control_address()?)))
                .collect(),
            leader: if fault.asks_for_leader() {
                self.await_leader().await
            } else {
                None
            },
            roster,
            grudges,
            down,
            pidfiles: self
                .daemons
                .iter()
                .map(|(host, daemon)| (host.clone(), daemon.pidfile.clone()))
                .collect(),
        })
    }

    async fn await_leader(&self) -> Option<String> {
        let deadline = Instant::now() + LEADER_WITHIN;
        loop {
            let leader = (self.leader)().await;
            if leader.is_some() || Instant::now() > deadline {
                return leader;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn daemon(&self, host: &str) -> Result<&Daemon, NemesisError> {
        let daemon = self.daemons.get(host);
        daemon.ok_or_else(|| NemesisError::NoDaemon {
            host: host.to_owned(),
        })
    }

    fn session(&self, host: &str) -> &Session {
        self.control.host(host)
    }

    fn agent(&self, host: &str) -> Agent<'_> {
        Agent {
            session: self.session(host),
            tag: &self.tag,
        }
    }

    /// Does one thing to one host, verified. Returns what is worth telling.
    async fn act(&self, id: u64, host: &str, action: &Action) -> Result<Vec<String>, NemesisError> {
        let session = self.session(host);
        let agent = self.agent(host);
        match action {
            Action::Agent { verb, arguments } | Action::EndByAgent { verb, arguments } => {
                return agent.install(verb, id, arguments).await;
            }
            Action::Kill => {
                let daemon = self.daemon(host)?;
                agent.note(id, &format!("start {}", daemon.pidfile)).await?;
                if !daemon.kill(session).await? {
                    return Ok(vec![format!("{host} was not running")]);
                }
            }
            Action::Stop => return self.stop(id, host).await,
            Action::Restart { after } => {
                sleep(*after).await;
                let notes = self.stop(id, host).await?;
                self.daemon(host)?.start_again(session).await?;
                return Ok(notes);
            }
            Action::Pause => {
                let daemon = self.daemon(host)?;
                agent
                    .note(id, &format!("resume {}", daemon.pidfile))
                    .await?;
                // It is down by another fault, or by its own: whoever plans a pause cannot know.
                if !daemon.pause(session).await? {
                    return Err(NemesisError::Busy {
                        host: host.to_owned(),
                        said: "its daemon does not run".into(),
                    });
                }
            }
        }
        Ok(Vec::new())
    }

    /// Asks a daemon to end; kills it when it does not.
    async fn stop(&self, id: u64, host: &str) -> Result<Vec<String>, NemesisError> {
        let (session, daemon) = (self.session(host), self.daemon(host)?);
        self.agent(host)
            .note(id, &format!("start {}", daemon.pidfile))
            .await?;
        match daemon.stop(session, STOP_GRACE).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.is_connection() => Err(error.into()),
            Err(_) => {
                daemon.kill(session).await?;
                Ok(vec![format!(
                    "{host} did not end within {STOP_GRACE:?} and was killed"
                )])
            }
        }
    }
}

/// Makes the steps of a change one after the other; returns what is worth telling.
async fn change_members(members: &Members, steps: &[Step]) -> Result<Vec<String>, NemesisError> {
    let begin = Instant::now();
    for step in steps {
        let done = match step {
            Step::CatchUp(node) => members.caught_up(node).await,
            Step::Ask {
                change,
                target,
                other,
            } => members.change(*change, target, other.as_deref()).await,
        };
        done.map_err(NemesisError::Members)?;
    }
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let after = members.roster().await;
    let after = after.map_or_else(|| "nobody tells".into(), |roster| roster.to_string());
    let took = begin.elapsed().as_secs_f64();
    Ok(vec![format!("after: {after}; it took {took:.2} s")])
}

/// How undoing went on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// It was there, and is gone.
    Now {
        /// Packets that its rules have dropped.
        dropped_packets: u64,
    },
    /// It was gone already.
    Before,
}

impl fmt::Debug for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nemesis")
            .field("tag", &self.tag)
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}
