//! The keeper: the control network, the bridge, and the process that all nodes live and die with.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::processes::{self, Step};
use super::{ClusterError, Lab, control_address, node_address, node_name};

const BRIDGE: &str = "ordeal0";
const SSHD_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes the namespaces, starts the keeper in them, and ends.
pub(super) fn enter(lab: &Lab, nodes: &str) -> Result<(), ClusterError> {
    // The lab outlives the terminal that brought it up.
    setsid().map_err(|errno| ClusterError::failed("cannot leave the terminal", errno.desc()))?;
    let namespaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    make_namespaces(namespaces)?;
    processes::command(Step::Control, &lab.name, nodes)?
        .spawn()
        .map(drop)
        .map_err(ClusterError::io("cannot start the lab's keeper"))
}

/// The keeper's whole life: build the network, start the nodes, then bury the dead.
pub(super) fn keep(lab: &Lab, nodes: u16) -> Result<(), ClusterError> {
    mount_proc()?;
    nix::unistd::sethostname(super::CONTROL)
        .map_err(|errno| ClusterError::failed("cannot set the host name", errno.desc()))?;
    let hosts = lab.run().join("hosts");
    fs::write(&hosts, super::hosts(nodes)).map_err(ClusterError::path("write", &hosts))?;
    bind(&hosts, Path::new("/etc/hosts"))?;
    forbid_ipv6();
    ip(&format!(
        "link set lo up\n\
         link add {BRIDGE} type bridge\n\
         addr add {}/24 dev {BRIDGE}\n\
         link set {BRIDGE} up\n",
        control_address()
    ))?;
    let starters = (1..=nodes)
        .map(|id| {
            processes::command(Step::EnterNode, &lab.name, &id.to_string())?
                .spawn()
                .map_err(ClusterError::io("cannot start a node"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    for (mut starter, id) in starters.into_iter().zip(1..) {
        let name = node_name(id);
        let status = starter
            .wait()
            .map_err(ClusterError::io("cannot wait for a node"))?;
        if !status.success() {
            return Err(ClusterError::failed(format!("node {name}"), "not started"));
        }
        ip(&format!(
            "link set {name} master {BRIDGE}\nlink set {name} up\n"
        ))?;
    }
    let deadline = Instant::now() + SSHD_TIMEOUT;
    for id in 1..=nodes {
        wait_for_sshd(id, deadline)?;
    }
    let path = lab.run().join("ready");
    fs::write(&path, "").map_err(ClusterError::path("write", &path))?;
    loop {
        // Ends of nodes, and of what was orphaned in the control network.
        if waitpid(None::<Pid>, None) == Err(nix::Error::ECHILD) {
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A node is up when its `sshd` has said its first word.
fn wait_for_sshd(id: u16, deadline: Instant) -> Result<(), ClusterError> {
    let address = SocketAddr::new(node_address(id), 22);
    let greets = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting)?;
        Ok(&greeting == b"SSH-")
    };
    while !greets().unwrap_or(false) {
        if Instant::now() > deadline {
            return Err(ClusterError::failed(
                format!("node {}", node_name(id)),
                format!("no sshd answers on {address}"),
            ));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Leaves namespaces for new ones, and keeps what is mounted later from being seen outside.
pub(super) fn make_namespaces(flags: CloneFlags) -> Result<(), ClusterError> {
    unshare(flags).map_err(|errno| ClusterError::failed("cannot make namespaces", errno.desc()))?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|errno| ClusterError::failed("cannot make mounts private", errno.desc()))
}

/// Mounts the `/proc` of the PID namespace that this process is the first of.
pub(super) fn mount_proc() -> Result<(), ClusterError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
        .map_err(|errno| ClusterError::failed("cannot mount /proc", errno.desc()))
}

/// Switches IPv6 off in this network: a link-local address would be a way around every partition.
pub(super) fn forbid_ipv6() {
    for scope in ["all", "default"] {
        // A kernel without IPv6 has no such file, which is just as well.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
}

/// Shows one place in another as well.
pub(super) fn bind(source: &Path, place: &Path) -> Result<(), ClusterError> {
    let (kind, flags) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(source), place, kind, flags, None::<&str>)
        .map_err(ClusterError::path("mount", place))
}

/// Runs commands of `ip`, all or none of them being reported as done.
pub(super) fn ip(commands: &str) -> Result<(), ClusterError> {
    let what = || "cannot run ip".to_owned();
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ClusterError::io(what()))?;
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(commands.as_bytes())
        .map_err(ClusterError::io(what()))?;
    let output = child.wait_with_output().map_err(ClusterError::io(what()))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(ClusterError::failed("ip failed", complaint.trim()))
}

/// Waits for any child to end, and returns which.
pub(super) fn reap() -> Option<Pid> {
    match waitpid(None::<Pid>, None) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => Some(pid),
        _ => None,
    }
}
