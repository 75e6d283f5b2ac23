//! One host's connection, and the commands that go over it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssh::{ControlPersist, KnownHosts, SessionBuilder, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{ControlError, ssh_config};
use crate::cluster::Host;

/// Channels in use at once; a stock `sshd` grants ten.
const CHANNELS: usize = 8;
/// How long a command may take unless it says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// What the network is granted on top of a command's own time.
const GRACE: Duration = Duration::from_secs(5);
/// A lost connection is tried again after these pauses.
const BACKOFF_MS: [u64; 5] = [50, 200, 500, 1_000, 2_000];
/// How long `ssh` waits for work before it ends by itself, if nobody is left to end it.
const IDLE: std::num::NonZeroUsize = std::num::NonZeroUsize::new(60).expect("not zero");
/// Where programs are looked for: `sbin` too, which a login by a plain user does not have.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command to be run on a host.
#[derive(Clone, Debug)]
pub struct Call {
    argv: Vec<String>,
    stdin: Vec<u8>,
    limit: Duration,
    without_sudo: bool,
}

impl Call {
    /// A command of a program and its arguments.
    pub fn new<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv
                .into_iter()
                .map(|part| part.as_ref().to_owned())
                .collect(),
            stdin: Vec::new(),
            limit: TIME_LIMIT,
            without_sudo: false,
        }
    }

    /// A script for `sh`, which gets the arguments as `$1`, `$2`, …: never as part of its text.
    pub fn script<S: AsRef<str>>(
        script: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut call = Self::new(["sh", "-c", script, "ordeal"]);
        call.argv
            .extend(arguments.into_iter().map(|part| part.as_ref().to_owned()));
        call
    }

    /// What it reads.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs as the user that logs in, not as root.
    #[must_use]
    fn without_sudo(mut self) -> Self {
        self.without_sudo = true;
        self
    }

    /// How it is named in a message.
    fn shown(&self) -> String {
        let part = |part: &String| match part.split_once('\n') {
            Some((first, _)) => format!("{first} …"),
            None => part.clone(),
        };
        self.argv.iter().map(part).collect::<Vec<_>>().join(" ")
    }
}

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed, as text.
    pub stdout: String,
    /// What it complained of, as text.
    pub stderr: String,
}

/// The connection to one host.
#[derive(Debug)]
pub struct Session {
    host: Host,
    config: PathBuf,
    folder: PathBuf,
    login: Login,
    connection: Mutex<Option<Arc<openssh::Session>>>,
    channels: Semaphore,
}

/// Who we are on the host, and where it sees us come from.
#[derive(Debug, Default)]
struct Login {
    user: String,
    is_root: bool,
    from: Option<std::net::IpAddr>,
}

impl Session {
    /// Connects to a host, and finds out who we are there.
    pub(super) async fn connect(host: &Host, folder: &Path) -> Result<Self, ControlError> {
        // `ssh` would go on without it, and be denied.
        if let Some(key) = host.ssh.identity.as_ref().filter(|key| !key.exists()) {
            return Err(ControlError::key_missing(host, key));
        }
        let mut session = Self {
            host: host.clone(),
            config: ssh_config::write(host, folder)?,
            folder: folder.to_owned(),
            login: Login::default(),
            connection: Mutex::new(None),
            channels: Semaphore::new(CHANNELS),
        };
        session.connection().await?;
        let script = "id -u; id -un; echo \"${SSH_CONNECTION%% *}\"";
        let call = Call::script(script, [] as [&str; 0]).without_sudo();
        let said = session.run_with(call).await?.stdout;
        let mut lines = said.lines();
        session.login.is_root = lines.next() == Some("0");
        session.login.user = lines.next().unwrap_or_default().to_owned();
        session.login.from = lines.next().and_then(|address| address.parse().ok());
        if !session.login.is_root {
            session.run(["true"]).await?;
        }
        Ok(session)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// The address from which the host sees this connection come: what no fault may cut off.
    pub fn control_address(&self) -> Option<std::net::IpAddr> {
        self.login.from
    }

    /// Runs a command to its end. Any exit code but 0 is an error.
    pub async fn run<S: AsRef<str>>(
        &self,
        argv: impl IntoIterator<Item = S>,
    ) -> Result<Output, ControlError> {
        self.run_with(Call::new(argv)).await
    }

    /// Runs a command, as it asks to be run, to its end. Any exit code but 0 is an error.
    pub async fn run_with(&self, call: Call) -> Result<Output, ControlError> {
        let shown = call.shown();
        let output = self.attempt(call).await?;
        if output.code == Some(0) {
            return Ok(output);
        }
        if output.stderr.starts_with("sudo: ") && output.stderr.contains("password is required") {
            return Err(ControlError::Sudo {
                host: self.host.name.clone(),
                user: self.login.user.clone(),
            });
        }
        let said = [&output.stderr, &output.stdout]
            .into_iter()
            .find(|text| !text.trim().is_empty());
        Err(ControlError::Failed {
            host: self.host.name.clone(),
            command: shown,
            how: output
                .code
                .map_or("killed".into(), |code| format!("exit {code}")),
            said: said
                .map_or("it did not say why", |text| text.trim())
                .to_owned(),
        })
    }

    /// Runs a command to its end, whatever its exit code.
    pub async fn attempt(&self, call: Call) -> Result<Output, ControlError> {
        let channel = self.channels.acquire().await;
        let _channel = channel.expect("the semaphore is never closed");
        let start = Instant::now();
        let limit = call.limit;
        let output = timeout(limit + GRACE, self.exchange(&call)).await;
        debug!(
            host = self.host.name,
            command = call.shown(),
            elapsed_ms = start.elapsed().as_millis(),
            "ran"
        );
        match output {
            // `timeout` on the host ended it, and says so with this code.
            Ok(Ok(output)) if output.code == Some(124) && start.elapsed() >= limit => {}
            Ok(done) => return done,
            Err(_) => {}
        }
        Err(ControlError::Timeout {
            host: self.host.name.clone(),
            command: call.shown(),
            limit,
        })
    }

    async fn exchange(&self, call: &Call) -> Result<Output, ControlError> {
        let lost = || ControlError::Lost {
            host: self.host.name.clone(),
            command: call.shown(),
        };
        let mut child = self.open_channel(call).await?;
        let mut stdin = child.stdin().take().expect("stdin is piped");
        let feed = async {
            // The command may end without having read it all; its exit code says what that means.
            let _ = stdin.write_all(&call.stdin).await;
            drop(stdin);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match output {
            Ok(output) => Ok(Output {
                code: ExitStatus::code(&output.status),
                stdout: text(output.stdout),
                stderr: text(output.stderr),
            }),
            // The protocol has one answer for a killed command and for a broken line.
            Err(openssh::Error::RemoteProcessTerminated) if self.is_alive().await => Ok(Output {
                code: None,
                stdout: String::new(),
                stderr: String::new(),
            }),
            Err(error) => {
                debug!(host = self.host.name, %error, "lost");
                self.forget().await;
                Err(lost())
            }
        }
    }

    /// Opens a channel for a command; with a new connection if the old one is gone. Up to here the
    /// command has not run, so trying again is safe.
    async fn open_channel(
        &self,
        call: &Call,
    ) -> Result<openssh::Child<Arc<openssh::Session>>, ControlError> {
        let mut pauses = BACKOFF_MS.iter();
        loop {
            let connection = self.connection().await?;
            let sudo: &[&str] = if call.without_sudo || self.login.is_root {
                &[]
            } else {
                &["sudo", "-n"]
            };
            let mut words = sudo.iter().chain(&["env", PATH]);
            let mut command = connection.arc_command(*words.next().expect("there is a word"));
            command.args(words);
            let seconds = format!("{:.3}", call.limit.as_secs_f64());
            command.args(["timeout", "--kill-after=2", &seconds]);
            command.args(&call.argv);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            match (command.spawn().await, pauses.next()) {
                (Ok(child), _) => return Ok(child),
                (Err(error), Some(pause)) => {
                    debug!(host = self.host.name, %error, "no channel");
                    self.forget().await;
                    sleep(Duration::from_millis(*pause)).await;
                }
                (Err(error), None) => return Err(ControlError::connect(&self.host, &error)),
            }
        }
    }

    /// The connection, made anew if there is none.
    async fn connection(&self) -> Result<Arc<openssh::Session>, ControlError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = connection.as_ref() {
            return Ok(Arc::clone(connection));
        }
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .config_file(&self.config)
            .control_directory(&self.folder)
            .control_persist(ControlPersist::IdleFor(IDLE));
        let mut pauses = BACKOFF_MS.iter();
        loop {
            let error = match builder.connect_mux(&self.host.ssh.host).await {
                Ok(made) => return Ok(Arc::clone(connection.insert(Arc::new(made)))),
                Err(error) => ControlError::connect(&self.host, &error),
            };
            match pauses.next() {
                Some(pause) if error.may_pass() => sleep(Duration::from_millis(*pause)).await,
                _ => return Err(error),
            }
        }
    }

    async fn is_alive(&self) -> bool {
        let connection = self.connection.lock().await.clone();
        match connection {
            Some(connection) => connection.check().await.is_ok(),
            None => false,
        }
    }

    async fn forget(&self) {
        self.connection.lock().await.take();
    }
}
