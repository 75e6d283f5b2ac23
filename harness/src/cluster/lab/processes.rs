//! Who belongs to a lab, as `/proc` tells it.
//!
//! Every process that holds a lab up was started as `ordeal lab-init STEP LAB ARGUMENT`, and the
//! kernel keeps a process's arguments as long as it lives. A file with process numbers can be
//! stale, lost, or point at a stranger; this cannot.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{ClusterError, node_name};

/// The hidden verb.
const VERB: &str = "lab-init";

/// The steps of bringing a lab up. Two of them make namespaces and end; two stay, as the first
/// process of what was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Makes the control network and the outer PID namespace, starts the keeper, ends.
    EnterControl,
    /// The keeper.
    Control,
    /// Makes a node's namespaces, starts its init, ends.
    EnterNode,
    /// A node's init.
    Node,
}

impl Step {
    const ALL: [Self; 4] = [
        Self::EnterControl,
        Self::Control,
        Self::EnterNode,
        Self::Node,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::EnterControl => "enter-control",
            Self::Control => "control",
            Self::EnterNode => "enter-node",
            Self::Node => "node",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

/// A process that holds a lab up.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) pid: i32,
    pub(super) step: Step,
    argument: String,
}

impl Init {
    pub(super) fn process(&self) -> Pid {
        Pid::from_raw(self.pid)
    }

    /// The inode that identifies its network namespace.
    fn network(&self) -> Option<u64> {
        network(&self.pid.to_string())
    }
}

/// The call that runs a step in a new process, by this very binary.
pub(super) fn command(step: Step, lab: &str, argument: &str) -> Result<Command, ClusterError> {
    let mut command = Command::new(binary()?);
    command.args([VERB, step.name(), lab, argument]);
    Ok(command)
}

/// The path of this very binary.
pub(super) fn binary() -> Result<PathBuf, ClusterError> {
    std::env::current_exe().map_err(ClusterError::io("cannot find the path of this program"))
}

/// All living processes of a lab.
pub(super) fn of_lab(lab: &str) -> Vec<Init> {
    pids()
        .filter_map(|pid| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let arguments: Vec<&str> = arguments
                .split(|byte| *byte == 0)
                .map(std::str::from_utf8)
                .collect::<Result<_, _>>()
                .ok()?;
            let verb = arguments.iter().position(|argument| *argument == VERB)?;
            match arguments[verb + 1..] {
                [step, its_lab, argument, ..] if its_lab == lab => Some(Init {
                    pid: pid.parse().ok()?,
                    step: Step::named(step)?,
                    argument: argument.to_owned(),
                }),
                _ => None,
            }
        })
        .collect()
}

/// The init of a node, by the node's name.
pub(super) fn node(inits: &[Init], name: &str) -> Option<i32> {
    let is_it = |init: &&Init| {
        init.step == Step::Node && init.argument.parse().map(node_name).as_deref() == Ok(name)
    };
    inits.iter().find(is_it).map(|init| init.pid)
}

/// Ends the SSH connections that a killed harness left behind in the lab's control network. They
/// would hold the network for as long as they wait for an answer.
pub(super) fn end_ssh_masters(inits: &[Init]) {
    let keeper = inits.iter().find(|init| init.step == Step::Control);
    let Some(lab_network) = keeper.and_then(Init::network) else {
        return;
    };
    for pid in pids().filter(|pid| network(pid) == Some(lab_network)) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if let ("ssh", Ok(pid)) = (name.trim(), pid.parse()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

fn network(pid: &str) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.ino())
}

fn pids() -> impl Iterator<Item = String> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}
