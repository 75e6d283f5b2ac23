//! Three nodes of a system on this machine, each with a directory of its own.

use crate::http::Http;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// This project's node.
    Ordeal,
    /// Debian's etcd-server.
    Etcd,
    /// Three logs and nothing else.
    Bare,
}

impl System {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Ordeal => "ordeal",
            System::Etcd => "etcd",
            System::Bare => "bare minimum",
        }
    }
}

/// How nodes are started.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// Which system.
    pub(crate) system: System,
    /// The program.
    pub(crate) program: PathBuf,
    /// More arguments for every node.
    pub(crate) arguments: Vec<String>,
    /// Where the directories are made.
    pub(crate) scratch: PathBuf,
}

/// A node and how it is reached.
pub(crate) struct Node {
    child: Option<Child>,
    client: SocketAddr,
    arguments: Vec<String>,
}

/// Three nodes that run; they are killed and their directories deleted at the end.
pub(crate) struct Cluster {
    recipe: Recipe,
    /// The nodes, node 1 first.
    pub(crate) nodes: Vec<Node>,
    dir: TempDir,
}

impl Cluster {
    /// Starts three nodes with empty directories, once the disk is done with what was before.
    pub(crate) fn start(recipe: &Recipe) -> Result<Cluster> {
        Command::new("sync").status().context("cannot run sync")?;
        let dir = tempfile::Builder::new()
            .prefix("versus-")
            .tempdir_in(&recipe.scratch)?;
        let ports = free_ports(6)?;
        let addresses: Vec<(SocketAddr, SocketAddr)> =
            (0..3).map(|i| (ports[2 * i], ports[2 * i + 1])).collect();
        let nodes = (1..=3)
            .map(|id| Node {
                child: None,
                client: addresses[id - 1].0,
                arguments: arguments(recipe, dir.path(), id, &addresses),
            })
            .collect();
        let mut cluster = Cluster {
            recipe: recipe.clone(),
            nodes,
            dir,
        };
        for id in 1..=3 {
            cluster.start_node(id)?;
        }
        Ok(cluster)
    }

    /// Starts a node that is down.
    pub(crate) fn start_node(&mut self, id: usize) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(id))?;
        let node = &mut self.nodes[id - 1];
        let program = &self.recipe.program;
        let child = Command::new(program)
            .args(&node.arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .env("RUST_LOG", "warn")
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        node.child = Some(child);
        Ok(())
    }

    /// What the node logs.
    pub(crate) fn log(&self, id: usize) -> PathBuf {
        self.dir.path().join(format!("{id}.log"))
    }

    /// The node's directory.
    pub(crate) fn data(&self, id: usize) -> PathBuf {
        self.dir.path().join(format!("node{id}"))
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, id: usize) -> Result<()> {
        if let Some(mut child) = self.nodes[id - 1].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Where the node serves clients.
    pub(crate) fn address(&self, id: usize) -> SocketAddr {
        self.nodes[id - 1].client
    }

    /// Waits until a leader is known, and says which node it is.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            for id in (1..=3).filter(|id| self.nodes[id - 1].child.is_some()) {
                if let Ok(Some(leader)) = self.leader_as_seen_by(id).await
                    && self.nodes[leader - 1].child.is_some()
                {
                    return Ok(leader);
                }
            }
            if Instant::now() > patience {
                bail!("no leader; see {}", self.log(1).display());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn leader_as_seen_by(&self, id: usize) -> Result<Option<usize>> {
        match self.recipe.system {
            System::Ordeal => {
                let status = Http::connect(self.address(id), "index")
                    .await?
                    .json("/status")
                    .await?;
                Ok(status["leader"]
                    .as_u64()
                    .map(|id| id as usize)
                    .filter(|id| *id > 0))
            }
            // It listens once the others have answered.
            System::Bare => Ok(TcpStream::connect(self.address(1)).await.ok().map(|_| 1)),
            System::Etcd => {
                let endpoints: Vec<String> = (1..=3)
                    .map(|id| format!("http://{}", self.address(id)))
                    .collect();
                let output = Command::new("etcdctl")
                    .env("ETCDCTL_API", "3")
                    .args(["endpoint", "status", "-w", "json", "--endpoints"])
                    .arg(endpoints.join(","))
                    .output()
                    .context("cannot run etcdctl")?;
                let status: serde_json::Value = serde_json::from_slice(&output.stdout)?;
                let leads = |member: &serde_json::Value| {
                    let status = &member["Status"];
                    status["leader"].as_u64().is_some_and(|leader| leader > 0)
                        && status["leader"] == status["header"]["member_id"]
                };
                let members = status.as_array().context("no list of members")?;
                let leader = members.iter().find(|member| leads(member));
                Ok(leader.and_then(|member| {
                    let endpoint = member["Endpoint"].as_str()?;
                    endpoints
                        .iter()
                        .position(|known| known == endpoint)
                        .map(|at| at + 1)
                }))
            }
        }
    }

    /// Processor time that the nodes have used, together.
    pub(crate) fn processor_time(&self) -> Duration {
        self.pids().map(processor_time).sum()
    }

    /// The process ids of the nodes that run.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.nodes
            .iter()
            .filter_map(|node| node.child.as_ref())
            .map(Child::id)
    }

    /// Resident memory of each node that runs, in bytes.
    pub(crate) fn memory(&self) -> Vec<u64> {
        self.pids().map(resident).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A process's user and system time.
fn processor_time(pid: u32) -> Duration {
    // Clock ticks are hundredths of a second wherever Linux is.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?))
        .collect()
}

fn arguments(
    recipe: &Recipe,
    dir: &Path,
    id: usize,
    addresses: &[(SocketAddr, SocketAddr)],
) -> Vec<String> {
    let (client, peer) = addresses[id - 1];
    let data = dir.join(format!("node{id}")).display().to_string();
    let mut arguments: Vec<String> = match recipe.system {
        System::Ordeal => {
            let text = format!(
                "serve --id {id} --data {data} --http {client} --peer {peer} --cluster versus"
            );
            let mut arguments: Vec<_> = text.split(' ').map(str::to_owned).collect();
            for (member, (client, peer)) in addresses.iter().enumerate() {
                arguments.push("--member".into());
                arguments.push(format!("{}={peer},{client}", member + 1));
            }
            arguments
        }
        System::Etcd => {
            let members: Vec<String> = addresses
                .iter()
                .enumerate()
                .map(|(member, (_, peer))| format!("n{}=http://{peer}", member + 1))
                .collect();
            let text = format!(
                "--name n{id} --data-dir {data} --log-level error --initial-cluster-state new \
                 --listen-client-urls http://{client} --advertise-client-urls http://{client} \
                 --listen-peer-urls http://{peer} --initial-advertise-peer-urls http://{peer} \
                 --initial-cluster {}",
                members.join(",")
            );
            text.split_whitespace().map(str::to_owned).collect()
        }
        System::Bare => {
            let listen = match (id, addresses) {
                (1, [_, (_, second), (_, third)]) => {
                    format!("{client} --follower {second} --follower {third}")
                }
                _ => peer.to_string(),
            };
            let text = format!("bare --log {data} --listen {listen}");
            text.split(' ').map(str::to_owned).collect()
        }
    };
    arguments.extend(recipe.arguments.iter().cloned());
    arguments
}
