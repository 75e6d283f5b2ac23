//! The lab: a cluster of namespaces on this machine, which needs nothing but root.
//!
//! # What it is made of
//!
//! Everything hangs on processes. A **keeper** is the first process of an outer PID namespace and
//! lives in the **control network**, which has a bridge and is joined to nothing else. Each node
//! is an **init**, the first process of a PID, network, mount, UTS and IPC namespace of its own,
//! nested in the keeper's, with an `sshd` below it. So the kernel does the tidying: when the keeper
//! dies, all nodes die with all that runs on them, and with the last process of a namespace its
//! mounts, interfaces and firewall rules are gone. Nothing is pinned under `/run/netns`, nothing
//! is mounted where the machine could see it, and the machine's own interfaces, routes, firewall
//! and resolver are never written to. [`down`] kills the keeper and removes two folders.
//!
//! Who belongs to a lab is read from `/proc` (see [`processes`]), not from a file that may be lost.
//!
//! # What a node sees
//!
//! The machine's file system, read-only, with folders of its own in the places that daemons write
//! to. `/var/lib`, `/var/log` and the like lie on the machine's disk, below `/var/lib/ordeal/lab`,
//! because a replicated log on a tmpfs would make `fsync` free and every figure a lie. `/run`,
//! `/tmp` and `/dev/shm` are tmpfs, as on any host. A node's root may not set the clock, load
//! modules or reboot: those are the machine's.
//!
//! With `--disk`, `/var/lib` is a small ext4 of the node's own in a file on that disk: it can be
//! filled up, and can lose what was not synced.
//!
//! Killing a node's init is a power cut: the node is gone, its disk is not.

mod control;
mod keys;
mod node;
mod processes;

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use serde::{Deserialize, Serialize};

use super::{Cluster, ClusterError, Host, Kind, Ssh};
use processes::Step;

/// The name of the lab when none is given.
pub const DEFAULT_NAME: &str = "lab";

/// The most nodes that a lab can have.
pub const NODES_MAX: u16 = 64;

/// The name of the control network among the nodes, for [`exec`].
pub const CONTROL: &str = "control";

const RUN: &str = "/run/ordeal/lab";
const DISK: &str = "/var/lib/ordeal/lab";
const TOOLS: [&str; 6] = ["sshd", "ssh", "ssh-keygen", "ip", "setpriv", "nsenter"];
const UP_TIMEOUT: Duration = Duration::from_secs(30);
const DOWN_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// How many looks in a row must find no process before a lab counts as dead: a process that is
/// just being started has no arguments for a moment.
const UNSEEN_MAX: u32 = 5;

/// What is on disk about a lab that is up.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    nodes: u16,
    /// The size of each node's own disk for `/var/lib`; without it, a folder of the machine's.
    #[serde(default)]
    disk_mb: Option<u32>,
}

/// What can be seen of a lab.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Whether it is up with all its nodes.
    pub up: bool,
    /// The machine's number of the keeper's process.
    pub keeper: Option<i32>,
    /// Its nodes, in order.
    pub nodes: Vec<NodeStatus>,
}

/// What can be seen of a node.
#[derive(Debug, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its address inside the lab.
    pub address: IpAddr,
    /// The machine's number of the node's first process, while it lives.
    pub init: Option<i32>,
}

/// A lab's name and the places that follow from it.
#[derive(Clone, Debug)]
struct Lab {
    name: String,
}

impl Lab {
    fn named(name: &str) -> Result<Self, ClusterError> {
        let fits = (1..=24).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if fits {
            Ok(Self { name: name.into() })
        } else {
            Err(ClusterError::BadName(name.into()))
        }
    }

    /// Sockets, keys and what else need not survive a reboot.
    fn run(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// The nodes' disks.
    fn disk(&self) -> PathBuf {
        Path::new(DISK).join(&self.name)
    }

    fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.run().join("lab.json")).ok()?).ok()
    }

    /// Serialises `up` and `down` of the same lab. The lock goes with the returned file.
    fn lock(&self) -> Result<fs::File, ClusterError> {
        let path = Path::new(RUN).join(format!(".{}.lock", self.name));
        fs::create_dir_all(RUN).map_err(ClusterError::path("create", Path::new(RUN)))?;
        let file = fs::File::create(&path).map_err(ClusterError::path("create", &path))?;
        file.lock().map_err(ClusterError::path("lock", &path))?;
        Ok(file)
    }

    fn status(&self) -> Option<Status> {
        let record = self.record()?;
        let inits = processes::of_lab(&self.name);
        let keeper = inits
            .iter()
            .find(|init| init.step == Step::Control)
            .map(|init| init.pid);
        let nodes: Vec<NodeStatus> = (1..=record.nodes)
            .map(|id| NodeStatus {
                name: node_name(id),
                address: node_address(id),
                init: processes::node(&inits, &node_name(id)),
            })
            .collect();
        Some(Status {
            name: self.name.clone(),
            up: keeper.is_some() && nodes.iter().all(|node| node.init.is_some()),
            keeper,
            nodes,
        })
    }
}

fn node_name(id: u16) -> String {
    format!("n{id}")
}

// A lab's network is joined to nothing, so all labs can have the same addresses.
fn node_address(id: u16) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, id as u8).into()
}

fn control_address() -> IpAddr {
    Ipv4Addr::new(10, 77, 0, 254).into()
}

/// What `/etc/hosts` says inside a lab.
fn hosts(nodes: u16) -> String {
    let mut hosts = format!("127.0.0.1 localhost\n{} {CONTROL}\n", control_address());
    for id in 1..=nodes {
        writeln!(hosts, "{} {}", node_address(id), node_name(id))
            .expect("a string takes all that is written");
    }
    hosts
}

/// Brings a lab up, and returns true; or finds it up as asked, and returns false.
///
/// A lab that is up in part (something was killed) is taken down first.
pub fn up(name: &str, nodes: u16) -> Result<bool, ClusterError> {
    up_with_disks(name, nodes, None)
}

/// The same, where each node gets a disk of its own for `/var/lib`, of so many megabytes: one that
/// can be filled up and can lose power.
pub fn up_with_disks(name: &str, nodes: u16, disk_mb: Option<u32>) -> Result<bool, ClusterError> {
    let lab = Lab::named(name)?;
    require_root("lab up")?;
    if !(1..=NODES_MAX).contains(&nodes) {
        return Err(ClusterError::BadSize { asked: nodes });
    }
    if disk_mb.is_some_and(|size| !(16..=65_536).contains(&size)) {
        return Err(ClusterError::BadDisk);
    }
    if let Some(tool) = TOOLS.into_iter().find(|tool| !installed(tool)) {
        return Err(ClusterError::MissingTool(tool));
    }
    let _lock = lab.lock()?;
    match lab.status() {
        Some(status) if status.up && status.nodes.len() == usize::from(nodes) => return Ok(false),
        Some(status) if status.up => {
            return Err(ClusterError::OtherSize {
                name: name.into(),
                nodes: status.nodes.len() as u16,
            });
        }
        _ => tear_down(&lab)?,
    };
    let built = build(&lab, &Record { nodes, disk_mb });
    if built.is_err() {
        tear_down(&lab)?;
    }
    built.map(|()| true)
}

fn build(lab: &Lab, record: &Record) -> Result<(), ClusterError> {
    let run = lab.run();
    fs::create_dir_all(&run).map_err(ClusterError::path("create", &run))?;
    keys::generate(&run, record.nodes)?;
    let path = run.join("lab.json");
    let text = serde_json::to_vec(record).expect("a record is plain data");
    fs::write(&path, text).map_err(ClusterError::path("write", &path))?;

    let path = run.join("log");
    let log = fs::File::create(&path).map_err(ClusterError::path("create", &path))?;
    let mut starter = processes::command(Step::EnterControl, &lab.name, &record.nodes.to_string())?
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(ClusterError::path("open", &path))?)
        .stderr(log)
        .spawn()
        .map_err(ClusterError::io("cannot start the lab's keeper"))?;
    let outcome = starter
        .wait()
        .map_err(ClusterError::io("cannot wait for the lab's keeper"))?;
    wait_until_ready(lab, outcome)
}

/// Waits for the keeper to say that every node answers on its SSH port.
fn wait_until_ready(lab: &Lab, starter: ExitStatus) -> Result<(), ClusterError> {
    let deadline = Instant::now() + UP_TIMEOUT;
    let mut unseen = 0;
    loop {
        if lab.run().join("ready").exists() {
            return Ok(());
        }
        let inits = processes::of_lab(&lab.name);
        unseen = if inits.is_empty() { unseen + 1 } else { 0 };
        if !starter.success() || unseen == UNSEEN_MAX || Instant::now() > deadline {
            let log = fs::read_to_string(lab.run().join("log")).unwrap_or_default();
            return Err(ClusterError::failed(
                format!("lab {} did not come up", lab.name),
                if log.trim().is_empty() {
                    "no node said why".into()
                } else {
                    log.trim().replace('\n', "; ")
                },
            ));
        }
        thread::sleep(POLL);
    }
}

/// Takes a lab down, whatever is left of it. Returns whether there was anything.
pub fn down(name: &str) -> Result<bool, ClusterError> {
    let lab = Lab::named(name)?;
    require_root("lab down")?;
    let _lock = lab.lock()?;
    tear_down(&lab)
}

fn tear_down(lab: &Lab) -> Result<bool, ClusterError> {
    let deadline = Instant::now() + DOWN_TIMEOUT;
    let mut found = lab.run().exists();
    // Where not even a folder is, one look is enough.
    let mut looks = if found { UNSEEN_MAX } else { 1 };
    let mut masters_ended = false;
    while looks > 0 {
        let left = processes::of_lab(&lab.name);
        looks = if left.is_empty() {
            looks - 1
        } else {
            UNSEEN_MAX
        };
        if Instant::now() > deadline {
            let pids: Vec<_> = left.iter().map(|init| init.pid.to_string()).collect();
            return Err(ClusterError::failed(
                format!("lab {} cannot be taken down", lab.name),
                format!("these processes do not die: {}", pids.join(" ")),
            ));
        }
        if !masters_ended {
            processes::end_ssh_masters(&left);
            masters_ended = !left.is_empty();
        }
        found |= !left.is_empty();
        for init in &left {
            // It may be gone already: its keeper was killed a moment ago.
            let _ = kill(init.process(), Signal::SIGKILL);
        }
        thread::sleep(POLL);
    }
    for path in [lab.run(), lab.disk()] {
        match fs::remove_dir_all(&path) {
            Ok(()) => found = true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(ClusterError::path("remove", &path)(error)),
        }
    }
    Ok(found)
}

/// What can be seen of one lab; nothing when it was never brought up.
pub fn status(name: &str) -> Result<Option<Status>, ClusterError> {
    Ok(Lab::named(name)?.status())
}

/// The names of all labs of this machine.
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(RUN) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| Lab::named(name).is_ok())
        .collect();
    names.sort();
    names
}

/// Opens a lab that is up.
pub fn open(name: &str) -> Result<Cluster, ClusterError> {
    let lab = Lab::named(name)?;
    let status = lab
        .status()
        .filter(|status| status.keeper.is_some())
        .ok_or_else(|| ClusterError::NotUp(name.into()))?;
    let hosts = status.nodes.iter().zip(1..).map(|(node, id)| Host {
        name: node.name.clone(),
        id,
        address: node.address,
        ssh: Ssh {
            user: Some("root".into()),
            port: Some(22),
            identity: Some(lab.run().join("key")),
            known_hosts: Some(lab.run().join("known_hosts")),
            ..Ssh::to(&node.address.to_string())
        },
    });
    Ok(Cluster {
        name: name.into(),
        selector: format!("lab:{name}"),
        kind: Kind::Lab,
        hosts: hosts.collect(),
        control_address: Some(control_address()),
    })
}

/// Moves the calling thread into a lab's control network.
pub(super) fn enter(name: &str) -> Result<(), ClusterError> {
    require_root("… (the lab's network is root's)")?;
    let keeper = Lab::named(name)?
        .status()
        .and_then(|status| status.keeper)
        .ok_or_else(|| ClusterError::NotUp(name.into()))?;
    let path = PathBuf::from(format!("/proc/{keeper}/ns/net"));
    let namespace = fs::File::open(&path).map_err(ClusterError::path("open", &path))?;
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(ClusterError::path("enter", &path))
}

/// Runs a command on a node (or in the control network, for the name `control`) with this
/// process's own input and output, in place of this process. It returns only when that fails.
pub fn exec(name: &str, node: &str, command: &[String]) -> Result<(), ClusterError> {
    let lab = Lab::named(name)?;
    require_root("lab exec")?;
    let status = lab
        .status()
        .ok_or_else(|| ClusterError::NotUp(name.into()))?;
    let pid = if node == CONTROL {
        status.keeper
    } else {
        let found = status.nodes.iter().find(|status| status.name == node);
        found.and_then(|status| status.init)
    };
    let pid = pid.ok_or_else(|| ClusterError::NoNode {
        lab: name.into(),
        node: node.into(),
    })?;
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &pid.to_string()]);
    nsenter.args([
        "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
    ]);
    nsenter.args(["--", "setpriv", node::BOUNDING_SET, "--"]);
    nsenter.args(command);
    nsenter.env("PATH", node::PATH);
    let error = nsenter.exec();
    Err(ClusterError::io(format!("cannot run a command on {node}"))(
        error,
    ))
}

/// The hidden verb behind the lab: one step of bringing it up, run in a process of its own.
pub fn init(step: &str, name: &str, argument: &str) -> Result<(), ClusterError> {
    let lab = Lab::named(name)?;
    let bad_argument = || ClusterError::failed(format!("lab-init {step}"), "bad argument");
    match Step::named(step).ok_or_else(bad_argument)? {
        Step::EnterControl => control::enter(&lab, argument),
        Step::Control => control::keep(&lab, argument.parse().map_err(|_| bad_argument())?),
        Step::EnterNode => node::enter(&lab, argument.parse().map_err(|_| bad_argument())?),
        Step::Node => node::init(&lab, argument.parse().map_err(|_| bad_argument())?),
    }
}

/// Refuses to go on without root, with the command to type.
fn require_root(verb: &str) -> Result<(), ClusterError> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(ClusterError::NotRoot { verb: verb.into() })
    }
}

fn installed(tool: &str) -> bool {
    [
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        "/usr/local/sbin",
        "/usr/local/bin",
    ]
    .iter()
    .any(|folder| Path::new(folder).join(tool).exists())
}
