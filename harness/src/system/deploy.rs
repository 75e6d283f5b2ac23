//! Getting a system onto its hosts, up, and down again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::future::try_join_all;
use minijinja::value::Value;

use super::definition::{Argument, Upload};
use super::lint::NODE;
use super::probe::Probes;
use super::{Node, System, argument};
use crate::cluster::Kind;
use crate::control::daemon::Daemon;
use crate::control::{Call, Control, Session};

/// How long a daemon may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long an installation of a package may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A system on its hosts.
#[derive(Debug)]
pub struct Deployment {
    system: Arc<System>,
    control: Arc<Control>,
    daemons: BTreeMap<String, Daemon>,
    /// The digests of what was uploaded, for the run's record.
    pub digests: BTreeMap<String, String>,
}

impl Deployment {
    /// Prepares a deployment: finds the files, renders the daemons. Touches no host.
    pub fn new(system: Arc<System>, control: Arc<Control>) -> Result<Deployment> {
        let mut daemons = BTreeMap::new();
        let mut digests = BTreeMap::new();
        for node in &system.nodes {
            let context = system.node_context(node);
            daemons.insert(node.name.clone(), daemon(&system, &context)?);
            for upload in &system.definition.install.upload {
                let (file, _) = resolve(&system, upload, node, control.kind())?;
                if let std::collections::btree_map::Entry::Vacant(entry) =
                    digests.entry(file.display().to_string())
                {
                    entry.insert(digest(&file)?);
                }
            }
        }
        Ok(Deployment {
            system,
            control,
            daemons,
            digests,
        })
    }

    /// The daemon of each node.
    pub fn daemons(&self) -> &BTreeMap<String, Daemon> {
        &self.daemons
    }

    /// Installs, starts and waits until every node is ready that founds the cluster.
    pub async fn up(&self, probes: &Probes) -> Result<()> {
        self.launch().await?;
        let founders = self.system.nodes.iter().filter(|node| !node.joins);
        try_join_all(founders.map(|node| self.settle(node, probes))).await?;
        Ok(())
    }

    /// Installs and starts, and does not wait: a node that is to join is ready once it is a member.
    pub async fn launch(&self) -> Result<()> {
        self.place_all().await?;
        let waits = |node: &&Node| node.joins && self.system.starts_when_added();
        let nodes = self.system.nodes.iter().filter(|node| !waits(node));
        try_join_all(nodes.map(|node| self.start(node, &self.daemons[&node.name]))).await?;
        Ok(())
    }

    /// Starts a node that has become one of these members, with nothing of an earlier life.
    pub async fn admit(&self, node: &Node, members: &[&Node]) -> Result<()> {
        let node = Node {
            joins: true,
            ..node.clone()
        };
        let context = self.system.context_among(&node, members);
        let daemon = daemon(&self.system, &context)?;
        daemon.kill(self.session(&node.name)).await?;
        self.empty(&node, &context).await?;
        self.start(&node, &daemon).await
    }

    /// Ends a node that is no member any more.
    pub async fn dismiss(&self, node: &Node) -> Result<()> {
        let daemon = &self.daemons[&node.name];
        daemon.kill(self.session(&node.name)).await?;
        Ok(())
    }

    /// Everything up to the start: what was there before is wiped.
    pub async fn place_all(&self) -> Result<()> {
        try_join_all(self.system.nodes.iter().map(|node| self.place(node))).await?;
        Ok(())
    }

    /// Ends every daemon, and says of which it could not.
    pub async fn down(&self) -> Result<()> {
        let stopping = self.daemons.iter().map(|(node, daemon)| async move {
            let session = self.session(node);
            // What was left paused or does not end in time is killed: nothing stays behind.
            let asked = daemon.stop(session, STOP_GRACE).await;
            match asked {
                Ok(()) => Ok(()),
                Err(_) => daemon.kill(session).await.map(drop),
            }
            .with_context(|| format!("cannot stop {} on {node}", daemon.name))
        });
        futures::future::join_all(stopping)
            .await
            .into_iter()
            .collect()
    }

    fn session(&self, node: &str) -> &Session {
        self.control.host(node)
    }

    /// Everything up to the start.
    async fn place(&self, node: &Node) -> Result<()> {
        let session = self.session(&node.name);
        let definition = &self.system.definition;
        let daemon = &self.daemons[&node.name];
        daemon
            .kill(session)
            .await
            .with_context(|| format!("cannot stop an old {}", daemon.name))?;
        for (package, program) in &definition.install.packages {
            install(session, package, program).await?;
        }
        for upload in &definition.install.upload {
            let (from, to) = resolve(&self.system, upload, node, self.control.kind())?;
            let mode = u32::from_str_radix(&upload.mode, 8)?;
            session
                .upload(&from, &to, mode)
                .await
                .with_context(|| format!("cannot upload {} to {}", from.display(), node.name))?;
        }
        session.run(["rm", "-f", "--", &daemon.log]).await?;
        self.empty(node, &self.system.node_context(node)).await
    }

    /// Nothing but what was installed, and the files that it begins with.
    async fn empty(&self, node: &Node, context: &Value) -> Result<()> {
        let session = self.session(&node.name);
        let definition = &self.system.definition;
        for folder in &definition.data {
            session
                .run(["rm", "-rf", "--one-file-system", "--", folder])
                .await?;
            session.run(["mkdir", "-p", "--", folder]).await?;
        }
        for (file, content) in &definition.files {
            let text = self
                .system
                .engine
                .text(content, &NODE)
                .map_err(|why| anyhow!(why))?;
            let text = text
                .render(context)
                .map_err(|why| anyhow!("{file}: {why}"))?;
            session.write_file(file, text.as_bytes(), 0o644).await?;
        }
        self.commands(node, &definition.prepare, context).await
    }

    async fn start(&self, node: &Node, daemon: &Daemon) -> Result<()> {
        daemon
            .start(self.session(&node.name))
            .await
            .map(drop)
            .with_context(|| format!("cannot start {} on {}", daemon.name, node.name))
    }

    async fn settle(&self, node: &Node, probes: &Probes) -> Result<()> {
        if let Err(why) = probes.wait_ready(node).await {
            let log = self.log_tail(node).await;
            bail!("{why}\nthe end of its log:\n{log}");
        }
        let context = self.system.node_context(node);
        self.commands(node, &self.system.definition.settle, &context)
            .await
    }

    async fn commands(
        &self,
        node: &Node,
        commands: &[Vec<Argument>],
        context: &Value,
    ) -> Result<()> {
        for command in commands {
            let argv = argument::render(&self.system.engine, command, &NODE, context)
                .map_err(|why| anyhow!(why))?;
            self.session(&node.name).run(argv).await?;
        }
        Ok(())
    }

    async fn log_tail(&self, node: &Node) -> String {
        let log = &self.daemons[&node.name].log;
        let call = Call::new(["tail", "-n", "20", "--", log]);
        match self.session(&node.name).attempt(call).await {
            Ok(output) => output.stdout,
            Err(error) => format!("(cannot be read: {error})"),
        }
    }

    /// Copies every node's log into a folder, and says of which it could not.
    pub async fn fetch_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for (node, daemon) in &self.daemons {
            // A log without bounds would fill the memory and the store of the one who asks.
            let call = Call::new(["tail", "-c", "4000000", "--", &daemon.log]);
            let output = self.session(node).attempt(call).await?;
            std::fs::write(folder.join(format!("{node}.log")), output.stdout)?;
        }
        Ok(())
    }
}

fn daemon(system: &System, context: &Value) -> Result<Daemon> {
    let definition = &system.definition.daemon;
    let argv = argument::render(&system.engine, &definition.argv, &NODE, context)
        .map_err(|why| anyhow!("{}: daemon: {why}", system.definition.name))?;
    let mut env = BTreeMap::new();
    for (name, value) in &definition.env {
        let text = system
            .engine
            .text(value, &NODE)
            .map_err(|why| anyhow!(why))?;
        env.insert(
            name.clone(),
            text.render(context)
                .map_err(|why| anyhow!(why))?
                .into_owned(),
        );
    }
    let name = system.definition.name.clone();
    Ok(Daemon {
        argv,
        env,
        cwd: "/".into(),
        log: definition.log.clone(),
        pidfile: Daemon::pidfile_of(&name),
        name,
    })
}

/// The file to upload and the path it goes to.
fn resolve(system: &System, upload: &Upload, node: &Node, kind: Kind) -> Result<(PathBuf, String)> {
    let context = system.node_context(node);
    let fill = |text: &str| -> Result<String> {
        let text = system
            .engine
            .text(text, &NODE)
            .map_err(|why| anyhow!(why))?;
        Ok(text
            .render(&context)
            .map_err(|why| anyhow!(why))?
            .into_owned())
    };
    let from = fill(&upload.from)?;
    Ok((
        find_program(&from, &system.folder, kind)?,
        fill(&upload.to)?,
    ))
}

/// A path from the system file's folder; or a bare name, beside this program or in the PATH. For
/// hosts whose libc may be another, one that was linked statically counts first.
fn find_program(name: &str, folder: &Path, kind: Kind) -> Result<PathBuf> {
    if name.contains('/') {
        let file = folder.join(name);
        if file.is_file() {
            return Ok(file);
        }
        bail!("there is no file {}", file.display());
    }
    let here = std::env::current_exe().context("cannot find out where this program lies")?;
    let beside = here.parent().map(Path::to_owned).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = if kind == Kind::Lab {
        Vec::new()
    } else {
        static_builds(&here)
    };
    let folders: Vec<PathBuf> = elsewhere
        .into_iter()
        .chain(beside)
        .chain(std::env::split_paths(&path))
        .collect();
    folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()).with_context(|| {
        format!(
            "there is no {name} beside {} nor in the PATH; build it first: cargo build --workspace",
            here.display()
        )
    })
}

/// Where cargo puts what is built for a target that is named (`--target`): `target/TARGET/release`
/// beside the `target/release` that this program lies in. musl is always linked statically there,
/// gnu when it was asked for.
fn static_builds(here: &Path) -> Vec<PathBuf> {
    let Some(target) = here.parent().and_then(Path::parent) else {
        return Vec::new();
    };
    let architecture = std::env::consts::ARCH;
    ["musl", "gnu"]
        .map(|libc| target.join(format!("{architecture}-unknown-linux-{libc}/release")))
        .to_vec()
}

fn digest(file: &Path) -> Result<String> {
    use std::fmt::Write;

    use sha2::{Digest, Sha256};

    let mut hasher = Sha256::new();
    let mut content =
        std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut content, &mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

async fn install(session: &Session, package: &str, program: &str) -> Result<()> {
    let found = session
        .attempt(Call::script("command -v -- \"$1\"", [program]))
        .await?;
    if found.code == Some(0) {
        return Ok(());
    }
    let script =
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -- \"$1\"";
    session
        .run_with(Call::script(script, [package]).limit(INSTALL_LIMIT))
        .await
        .map(drop)
        .with_context(|| format!("cannot install {package} on {}", session.name()))
}
