//! A daemon on a host: started so that it outlives the connection, found again by the number and
//! the birth of its process, killed with its whole process group.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Call, ControlError, Session};

pub(crate) const SCRIPT: &str = include_str!("daemon.sh");

/// What `again` does in the script, for a script that is no file: `$1` is the script.
const AGAIN: &str = "xargs -0 -a \"$2.start\" sh -c \"$1\" ordeal start \"$2\"";

/// Where pidfiles lie.
const FOLDER: &str = "/run/ordeal/daemons";

/// A program that runs in the foreground until it is told to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its name.
    pub name: String,
    /// The program and its arguments; no shell sees them.
    pub argv: Vec<String>,
    /// Variables added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The folder it runs in; made where it is missing.
    pub cwd: String,
    /// The file that its output is appended to.
    pub log: String,
    /// The file that holds the number and the birth of its process.
    pub pidfile: String,
}

/// How a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, with this process number.
    Running(u32),
    /// It was stopped by a signal and can be resumed.
    Paused(u32),
    /// It is not there.
    Stopped,
    /// It was there until a moment ago.
    Ended,
}

impl Daemon {
    /// The daemons that were ever started on a host since it booted. What they were started with is
    /// on the host; here they have only their names and their pidfiles.
    pub async fn known_on(session: &Session) -> Result<Vec<Self>, ControlError> {
        let call = Call::script("ls -1 \"$1\" 2>/dev/null || :", [FOLDER]);
        let files = session.run_with(call).await?.stdout;
        let names = files
            .lines()
            .filter_map(|file| file.strip_suffix(".pid.start"));
        Ok(names
            .map(|name| Self {
                name: name.to_owned(),
                argv: Vec::new(),
                env: BTreeMap::new(),
                cwd: String::new(),
                log: String::new(),
                pidfile: Self::pidfile_of(name),
            })
            .collect())
    }

    /// The usual place for a daemon's pidfile.
    pub fn pidfile_of(name: &str) -> String {
        format!("{FOLDER}/{name}.pid")
    }

    /// Starts it, unless it runs. Returns its process number.
    pub async fn start(&self, session: &Session) -> Result<State, ControlError> {
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let arguments = [self.log.clone(), self.cwd.clone(), "env".into()]
            .into_iter()
            .chain(env)
            .chain(self.argv.iter().cloned());
        self.script(session, "start", arguments).await
    }

    /// Starts it as it was started before on this host, unless it runs.
    pub async fn start_again(&self, session: &Session) -> Result<State, ControlError> {
        let call = Call::script(AGAIN, [SCRIPT, &self.pidfile]);
        session.run_with(call).await?;
        self.status(session).await
    }

    /// Kills it (SIGKILL to its process group), and waits until nothing of it is left. Returns
    /// whether it was there.
    pub async fn kill(&self, session: &Session) -> Result<bool, ControlError> {
        Ok(self.script(session, "kill", []).await? == State::Ended)
    }

    /// Asks it to end (SIGTERM to its process group), and waits until it has. An error when it has
    /// not ended in time.
    pub async fn stop(&self, session: &Session, grace: Duration) -> Result<(), ControlError> {
        let hundredths = (grace.as_millis() / 10).to_string();
        self.script(session, "stop", [hundredths]).await.map(drop)
    }

    /// Stops it where it stands (SIGSTOP). Returns whether it was there.
    pub async fn pause(&self, session: &Session) -> Result<bool, ControlError> {
        Ok(self.script(session, "pause", []).await? != State::Stopped)
    }

    /// Lets it go on (SIGCONT). Nothing happens when it is not there.
    pub async fn resume(&self, session: &Session) -> Result<(), ControlError> {
        self.script(session, "resume", []).await.map(drop)
    }

    /// How it is.
    pub async fn status(&self, session: &Session) -> Result<State, ControlError> {
        self.script(session, "status", []).await
    }

    async fn script(
        &self,
        session: &Session,
        verb: &str,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<State, ControlError> {
        let start = [verb.to_owned(), self.pidfile.clone()];
        let call = Call::script(SCRIPT, start.into_iter().chain(arguments));
        let output = session.run_with(call).await.map_err(|error| match error {
            ControlError::Failed {
                host, how, said, ..
            } => ControlError::Failed {
                host,
                command: format!("{verb} {}", self.name),
                how,
                said,
            },
            other => other,
        })?;
        let (word, pid) = output.stdout.trim().split_once(' ').unwrap_or_default();
        Ok(match (word, pid.parse()) {
            ("paused", Ok(pid)) => State::Paused(pid),
            ("already" | "started" | "running", Ok(pid)) => State::Running(pid),
            ("killed" | "ended", _) => State::Ended,
            _ => State::Stopped,
        })
    }
}
