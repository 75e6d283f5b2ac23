//! The daemons of a cluster, over SSH: found as they were started, whoever started them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Operator, OperatorError};
use crate::cluster::Host;
use crate::control::daemon::{Daemon, State};
use crate::control::{Call, Control, ControlError, Session};

/// How long a daemon may take to end when asked: it hands leadership over first.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long a node may take from its start until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What can be done to a node's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start it as it was started before.
    Start,
    /// Ask it to end, which hands leadership over first.
    Stop,
    /// Stop and start.
    Restart,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
}

impl Verb {
    /// Whether the node serves nobody afterwards, or for a moment.
    pub fn takes_down(self) -> bool {
        !matches!(self, Self::Start | Self::Resume)
    }

    /// Whether several nodes are treated one after the other, each ready before the next.
    pub fn rolls(self) -> bool {
        self == Self::Restart
    }
}

/// The daemon on a host, with what it was started with. None when there never was one.
pub async fn daemon_on(session: &Session) -> Result<Option<Daemon>, ControlError> {
    let Some(known) = Daemon::known_on(session).await?.into_iter().next() else {
        return Ok(None);
    };
    // Zeros separate what a shell must not touch; a line of text travels more safely.
    let script = "tr '\\0' '\\n' <\"$1\"";
    let record = Call::script(script, [format!("{}.start", known.pidfile)]);
    let text = session.run_with(record).await?.stdout;
    let mut lines = text.lines().map(str::to_owned);
    let (log, cwd) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    // The first word is the `env` that every start puts in front.
    Ok(Some(Daemon {
        log,
        cwd,
        argv: lines.skip(1).collect(),
        ..known
    }))
}

/// Does a verb to a daemon.
pub async fn act(verb: Verb, daemon: &Daemon, session: &Session) -> Result<(), ControlError> {
    match verb {
        Verb::Start => daemon.start(session).await.map(drop),
        Verb::Stop => daemon.stop(session, STOP_GRACE).await,
        Verb::Restart => {
            daemon.stop(session, STOP_GRACE).await?;
            daemon.start(session).await.map(drop)
        }
        Verb::Kill => daemon.kill(session).await.map(drop),
        Verb::Pause => daemon.pause(session).await.map(drop),
        Verb::Resume => daemon.resume(session).await,
    }
}

/// Puts another program in the place of a daemon's, without starting it.
pub async fn replace_program(
    daemon: &Daemon,
    session: &Session,
    program: &Path,
) -> Result<bool, ControlError> {
    let place = daemon.argv.iter().find(|word| word.starts_with('/'));
    match place {
        Some(place) => session.upload(program, place, 0o755).await,
        None => Ok(false),
    }
}

/// How a host's daemon is, in a word.
pub async fn state_on(session: &Session) -> String {
    match daemon_on(session).await {
        Ok(None) => "none".into(),
        Ok(Some(daemon)) => match daemon.status(session).await {
            Ok(State::Running(pid)) => format!("running {pid}"),
            Ok(State::Paused(pid)) => format!("paused {pid}"),
            Ok(State::Stopped | State::Ended) => "stopped".into(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    }
}

/// The host's clock against ours, in milliseconds: positive when it is ahead. Half of the time that
/// the question took is its uncertainty.
pub async fn clock_offset_ms(session: &Session) -> Option<f64> {
    let now_ms = || Some(jiff::Timestamp::now().as_nanosecond() as f64 / 1e6);
    let before = now_ms()?;
    let output = session.run(["date", "+%s.%N"]).await.ok()?;
    let theirs = output.stdout.trim().parse::<f64>().ok()? * 1e3;
    Some(theirs - f64::midpoint(before, now_ms()?))
}

impl Operator {
    /// Connects over SSH to the hosts that can be reached.
    pub async fn control(&self) -> Result<(Control, Vec<ControlError>), ControlError> {
        Control::connect_to_some(self.cluster()).await
    }

    /// Which voters a verb would take down so that the rest no longer decides; the sentence that
    /// says so. Nobody is asked for a verb that rolls: it takes down one at a time.
    pub async fn objection(&self, verb: Verb, hosts: &[&Host]) -> Option<String> {
        let down: BTreeSet<u64> = match (verb.takes_down(), verb.rolls()) {
            (false, _) => return None,
            (true, true) => hosts.iter().map(|host| host.id).take(1).collect(),
            (true, false) => hosts.iter().map(|host| host.id).collect(),
        };
        let survey = self.survey().await;
        let (_, group) = survey.group(0)?;
        let left: BTreeSet<u64> = survey.able().difference(&down).copied().collect();
        (!group.configuration.decides(&left)).then(|| {
            format!(
                "of {} voters {} would be left, and {} decide",
                group.configuration.voters.len(),
                group.configuration.voters.intersection(&left).count(),
                group.configuration.quorum()
            )
        })
    }

    /// Waits until a host's node says that it is ready.
    pub async fn ready(&self, host: &Host) -> Result<(), OperatorError> {
        let begin = Instant::now();
        loop {
            let asked = self.get(&self.member(host).http, "/ready").await;
            if asked.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if begin.elapsed() > READY_WITHIN {
                return Err(OperatorError::Late(format!(
                    "{} was not ready within {} s; look at `ordeal cluster logs {0}`",
                    host.name,
                    READY_WITHIN.as_secs()
                )));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
