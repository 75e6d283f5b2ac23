//! A lab for one test: up when made, down when dropped, however the test ends.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod scene;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use ordeal::cluster::{self, Cluster};
use ordeal::control::Control;

/// The `ordeal` that cargo has built for the tests.
pub(crate) fn ordeal(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args(arguments)
        .output()
        .expect("ordeal runs")
}

/// Runs `ordeal`, insists that it does what it is told, and returns what it prints.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = ordeal(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ordeal {}: {stderr}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A lab with a name that no other test has.
pub(crate) struct Lab {
    pub(crate) name: String,
}

impl Lab {
    /// Brings a lab up; `None`, with a word to whoever reads the log, where there is no root.
    pub(crate) fn up(test: &str, nodes: u16) -> Option<Self> {
        Self::up_with(test, nodes, &[])
    }

    /// The same, with more arguments for `ordeal lab up`.
    pub(crate) fn up_with(test: &str, nodes: u16, more: &[&str]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED {test}: a lab takes root; type: sudo -E cargo test");
            return None;
        }
        let lab = Self {
            name: format!("t{}-{test}", std::process::id()),
        };
        lab.succeed(&[&["lab", "up", "--nodes", &nodes.to_string()], more].concat());
        Some(lab)
    }

    /// Runs a verb of `ordeal lab` on this lab.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let mut arguments = arguments.to_vec();
        arguments.splice(2..2, ["--name", &self.name]);
        succeed(&arguments)
    }

    /// What a command on a node prints.
    pub(crate) fn exec(&self, node: &str, command: &[&str]) -> Output {
        let lab = ["lab", "exec", "--name", &self.name, node, "--"];
        ordeal(&[&lab, command].concat())
    }

    pub(crate) fn selector(&self) -> String {
        format!("lab:{}", self.name)
    }

    /// Enters the lab with this test's thread, connects to its nodes, and does something there.
    pub(crate) fn with_control<T>(&self, work: impl AsyncFnOnce(&Cluster, Control) -> T) -> T {
        let cluster = cluster::open(&self.selector()).expect("the lab is up");
        cluster.enter().expect("the lab can be entered");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let control = Control::connect(&cluster).await.expect("all nodes answer");
            work(&cluster, control).await
        })
    }

    /// The processes (by the machine's numbers) that hold the lab up: keeper and nodes.
    pub(crate) fn inits(&self) -> Vec<(String, i32)> {
        pids()
            .filter_map(|pid| {
                let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
                let words: Vec<&str> = line.split('\0').collect();
                let at = words.iter().position(|word| *word == "lab-init")?;
                let ours = words.get(at + 2) == Some(&self.name.as_str());
                ours.then(|| (format!("{} {}", words[at + 1], words[at + 3]), pid))
            })
            .collect()
    }

    /// Every namespace that the lab has and the machine has not.
    pub(crate) fn namespaces(&self) -> BTreeSet<u64> {
        let machine = namespaces_of("self");
        let inits = self.inits();
        let all = inits
            .iter()
            .flat_map(|(_, pid)| namespaces_of(&pid.to_string()));
        all.filter(|inode| !machine.contains(inode)).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        ordeal(&["lab", "down", "--name", &self.name]);
    }
}

/// The inodes of the namespaces that a process lives in.
pub(crate) fn namespaces_of(pid: &str) -> BTreeSet<u64> {
    ["net", "mnt", "uts", "ipc", "pid"]
        .iter()
        .filter_map(|kind| Some(fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino()))
        .collect()
}

/// The processes that live in any of these namespaces.
pub(crate) fn processes_in(namespaces: &BTreeSet<u64>) -> Vec<i32> {
    pids()
        .filter(|pid| !namespaces_of(&pid.to_string()).is_disjoint(namespaces))
        .collect()
}

/// All processes of this machine.
pub(crate) fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
