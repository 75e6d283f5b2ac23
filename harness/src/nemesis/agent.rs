//! The agent: a shell script on each host that installs faults there and knows how to undo them.
//!
//! It is a script so that it runs on any host as it is. With it comes the dead man's switch: a
//! watchdog that this harness must keep telling that it lives. When it has heard nothing for a
//! while, it heals all of this harness's faults on its host by itself. It counts its own
//! sleeps, because the host's clock may be what is under attack.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::{NemesisError, Undone};
use crate::cluster::Kind;
use crate::control::daemon;
use crate::control::{Call, Control, ControlError, Session};

const SCRIPT: &str = include_str!("agent.sh");
const PATH: &str = "/run/ordeal/agent";
const DAEMON_PATH: &str = "/run/ordeal/daemon";

/// How often the watchdogs are told that we live.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// After how long a silence a watchdog heals; longer where a network and slow machines lie between.
fn dead_after(kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Lab => 10,
        Kind::Inventory => 40,
    })
}

/// The agent on one host, for the faults of one harness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agent<'a> {
    pub(super) session: &'a Session,
    pub(super) tag: &'a str,
}

impl<'a> Agent<'a> {
    /// Puts the agent on a host, or finds it there.
    pub(super) async fn put(session: &'a Session, tag: &'a str) -> Result<Self, ControlError> {
        session.write_file(PATH, SCRIPT, 0o755).await?;
        session
            .write_file(DAEMON_PATH, daemon::SCRIPT, 0o755)
            .await?;
        Ok(Self { session, tag })
    }

    async fn call(&self, arguments: &[&str]) -> Result<String, ControlError> {
        let argv = ["sh", PATH].iter().chain(arguments);
        let output = self
            .session
            .run_with(Call::new(argv).limit(Duration::from_secs(60)))
            .await?;
        Ok(output.stdout)
    }

    fn fault(&self, id: u64) -> String {
        format!("{}-{id}", self.tag)
    }

    /// Installs a fault that the agent knows by itself, and tries whether it has the effect that it
    /// should. Returns what is worth telling.
    pub(super) async fn install(
        &self,
        verb: &str,
        id: u64,
        arguments: &[String],
    ) -> Result<Vec<String>, NemesisError> {
        let fault = self.fault(id);
        let all = [verb, &fault]
            .into_iter()
            .chain(arguments.iter().map(String::as_str));
        let said = self.call(&all.collect::<Vec<_>>()).await.map_err(refusal)?;
        if let ("drop", [_, share, addresses @ ..]) = (verb, arguments)
            && share == "1"
        {
            self.probe(addresses).await?;
        }
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Whether this host can be done that to; if not, the error says why.
    pub(super) async fn can(&self, verb: &str) -> Result<(), NemesisError> {
        self.call(&["can", verb]).await.map(drop).map_err(refusal)
    }

    /// Tries whether these addresses are really cut off from this host.
    async fn probe(&self, addresses: &[String]) -> Result<(), NemesisError> {
        let all = ["probe"]
            .into_iter()
            .chain(addresses.iter().map(String::as_str));
        let answers = self.call(&all.collect::<Vec<_>>()).await?;
        if answers.trim().is_empty() {
            return Ok(());
        }
        Err(NemesisError::Ineffective {
            host: self.session.name().to_owned(),
            said: format!("it still hears {}", answers.trim().replace('\n', " ")),
        })
    }

    /// Notes how to undo what is about to be done by other means.
    pub(super) async fn note(&self, id: u64, undo: &str) -> Result<(), ControlError> {
        self.call(&["note", &self.fault(id), undo]).await.map(drop)
    }

    /// Undoes a fault on this host, verified.
    pub(super) async fn heal(&self, id: u64) -> Result<Undone, NemesisError> {
        let said = self.call(&["heal", &self.fault(id)]).await?;
        if said.trim() == "absent" {
            return Ok(Undone::Before);
        }
        let dropped = said
            .lines()
            .filter_map(|line| line.strip_prefix("dropped ")?.parse::<u64>().ok());
        Ok(Undone::Now {
            dropped_packets: dropped.sum(),
        })
    }

    /// Undoes all faults of this tag on this host (of everyone, for the tag `all`), verified.
    /// Returns their names.
    pub(super) async fn heal_all(&self) -> Result<Vec<String>, ControlError> {
        let said = self.call(&["heal-all", self.tag]).await?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Ends the watchdog of this tag.
    pub(super) async fn unwatch(&self) -> Result<(), ControlError> {
        self.call(&["unwatch", self.tag]).await.map(drop)
    }
}

/// Tells apart what a script says when it cannot from what it says when it fails.
pub(super) fn refusal(error: ControlError) -> NemesisError {
    if let ControlError::Failed { host, said, .. } = &error {
        let (host, said) = (host.clone(), said.as_str());
        if let Some(said) = said.strip_prefix("unsupported: ") {
            return NemesisError::Unsupported {
                host,
                said: said.to_owned(),
            };
        }
        if let Some(said) = said.strip_prefix("busy: ") {
            return NemesisError::Busy {
                host,
                said: said.to_owned(),
            };
        }
    }
    error.into()
}

/// The watchdogs on all hosts, and the task that tells them that we live.
#[derive(Debug)]
pub(super) struct Watch {
    control: Arc<Control>,
    tag: String,
    /// One for each host, so that a slow host keeps no other waiting.
    tasks: JoinSet<()>,
}

impl Watch {
    /// Puts agents with watchdogs on all hosts.
    pub(super) async fn start(control: Arc<Control>, tag: String) -> Result<Self, NemesisError> {
        let dead_after = dead_after(control.kind());
        let seconds = dead_after.as_secs().to_string();
        try_join_all(control.sessions().map(async |session| {
            let agent = Agent::put(session, &tag).await?;
            agent.call(&["watch", &tag, &seconds]).await.map(drop)
        }))
        .await?;
        let refreshing = control
            .sessions()
            .map(|session| refresh(Arc::clone(session), tag.clone(), dead_after / 2));
        let tasks = refreshing.collect();
        Ok(Self {
            control,
            tag,
            tasks,
        })
    }

    /// Ends the watchdogs.
    pub(super) async fn end(mut self) {
        self.tasks.shutdown().await;
        let ending = self.control.sessions().map(async |session| {
            let agent = Agent {
                session,
                tag: &self.tag,
            };
            if let Err(error) = agent.unwatch().await {
                // It ends by itself when it has heard nothing for a while.
                warn!(host = session.name(), %error, "a watchdog was not ended");
            }
        });
        join_all(ending).await;
    }
}

async fn refresh(session: Arc<Session>, tag: String, limit: Duration) {
    let mut ticks = interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_u64.. {
        ticks.tick().await;
        let number = number.to_string();
        let call = Call::new(["sh", PATH, "refresh", &tag, &number]).limit(limit);
        if let Err(error) = session.run_with(call).await {
            warn!(host = session.name(), %error, "the watchdog was not told that we live");
        }
    }
}
