//! Whole runs, on real labs: a sound cluster survives, a broken one is caught, and whatever ends a
//! run, nothing of it is left on the nodes.

mod lab;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lab::Lab;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// One run at a time: two on a small machine would only show how slow it is.
static ALONE: Mutex<()> = Mutex::new(());

/// A lab and a store for one test.
struct Scene {
    lab: Lab,
    store: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn new(test: &str, nodes: u16) -> Option<Self> {
        let alone = ALONE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let lab = Lab::up(test, nodes)?;
        let store = tempfile::tempdir().expect("a folder");
        Some(Self {
            lab,
            store,
            _alone: alone,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ordeal"));
        command
            .args(arguments)
            .args(["--on", &self.lab.selector(), "--store"]);
        command.arg(self.store.path());
        command
    }

    fn run(&self, playbook: &Path, more: &[&str]) -> Output {
        let playbook = playbook.to_str().expect("a path that is text");
        let output = self.command(&[&["run", playbook], more].concat()).output();
        let output = output.expect("ordeal runs");
        eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Starts a run that is partitioned for a long time, and waits until it is.
    fn partitioned(&self) -> Child {
        let playbook = self.store.path().join("long.yaml");
        std::fs::write(&playbook, LONG).expect("written");
        let mut run = self.command(&["run", playbook.to_str().expect("text")]);
        let run = run.stdout(Stdio::null()).spawn().expect("ordeal runs");
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.is_cut() {
            assert!(Instant::now() < deadline, "no partition has come");
            std::thread::sleep(Duration::from_millis(200));
        }
        run
    }

    /// Whether any node drops packets for a fault.
    fn is_cut(&self) -> bool {
        ["n1", "n2", "n3"].iter().any(|node| {
            let rules = self.lab.exec(node, &["iptables", "-S"]);
            String::from_utf8_lossy(&rules.stdout).contains("DROP")
        })
    }

    fn results(&self) -> Value {
        let file = self.store.path().join("latest/results.json");
        serde_json::from_slice(&std::fs::read(file).expect("results")).expect("JSON")
    }
}

const LONG: &str = "\
name: long
system: {use: raft-node}
nodes: 3
time: {before: 1s, during: 10m, after: 1s}
workloads: [{kind: register, clients: 1n}]
faults:
  - partition: one
    at: 0s
    for: 10m
";

fn playbook(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../playbooks")
        .join(name)
}

#[test]
fn a_sound_cluster_survives_its_ordeal() {
    let Some(scene) = Scene::new("sound", 5) else {
        return;
    };
    // How soon it has recovered is as much the machine's matter as the cluster's.
    let text = std::fs::read_to_string(playbook("quickstart.yaml")).expect("it is shipped");
    let file = scene.store.path().join("short.yaml");
    std::fs::write(&file, text.replace("recovery: 5s", "recovery: 30s")).expect("written");
    let short = ["--set", "during=12s", "--set", "after=3s"];
    let output = scene.run(&file, &short);
    let results = scene.results();
    assert_eq!(output.status.code(), Some(0), "{}", results["harness"]);
    assert_eq!(results["verdict"], "valid");
    // A pause finds nothing to pause when a kill was quicker: that one was not installed.
    let faults = results["faults"].as_array().expect("faults");
    let mut installed = faults.iter().filter(|it| it["installed"] == true);
    assert!(installed.clone().count() > 0 && installed.all(|it| it["healed"] == true));
    assert!(scene.store.path().join("latest/report.html").is_file());
}

#[test]
fn a_leader_that_reads_from_its_own_state_is_caught_and_the_run_ends_with_the_proof() {
    let Some(scene) = Scene::new("proof", 5) else {
        return;
    };
    // Ten minutes, if nobody ended it.
    let text = std::fs::read_to_string(playbook("canary/stale-reads.yaml")).expect("it is shipped");
    let file = scene.store.path().join("long.yaml");
    std::fs::write(&file, text.replace("during: 20s", "during: 10m")).expect("written");
    let output = scene.run(&file, &["--stop-on-violation"]);
    assert_eq!(output.status.code(), Some(1));
    let results = scene.results();
    assert_eq!(results["harness"]["ok"], true, "{}", results["harness"]);
    let report = &results["properties"][0]["report"];
    assert!(!report["counterexample"].as_array().expect("ops").is_empty());
    let run = scene.store.path().join("latest/run.json");
    let run: Value = serde_json::from_slice(&std::fs::read(run).expect("run.json")).expect("JSON");
    assert!(run["ended_early"].is_string(), "{run}");
    let phases = run["phases"].as_array().expect("phases");
    let worked = phases
        .iter()
        .find(|phase| phase["name"] == "faults")
        .expect("faults");
    assert!(
        worked["end_ns"].as_u64() < Some(300_000_000_000),
        "{worked}"
    );
}

#[test]
fn an_interrupted_run_is_healed_checked_and_reported() {
    let Some(scene) = Scene::new("interrupted", 3) else {
        return;
    };
    let mut run = scene.partitioned();
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).expect("it runs");
    run.wait().expect("it ends");
    assert!(!scene.is_cut());
    let results = scene.results();
    assert_eq!(results["harness"]["ok"], true, "{}", results["harness"]);
    assert_eq!(results["properties"][0]["verdict"], "valid");
}

#[test]
fn after_a_killed_harness_heal_leaves_nothing_behind() {
    let Some(scene) = Scene::new("killed", 3) else {
        return;
    };
    let mut run = scene.partitioned();
    run.kill().expect("it runs");
    run.wait().expect("it ends");
    let healed = scene
        .command(&["heal", "all"])
        .output()
        .expect("ordeal runs");
    assert!(
        healed.status.success(),
        "{}",
        String::from_utf8_lossy(&healed.stderr)
    );
    assert!(!scene.is_cut());
    let history = scene.store.path().join("latest/history.jsonl");
    let history = std::fs::read_to_string(history).expect("it was begun");
    assert!(history.contains("\"type\":\"invoke\""));
}

#[test]
fn a_playbook_with_a_mistake_starts_nothing() {
    let store = tempfile::tempdir().expect("a folder");
    let file = store.path().join("p.yaml");
    std::fs::write(&file, LONG.replace("partition", "partitoin")).expect("written");
    let lab = format!("t{}-mistake", std::process::id());
    let output = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args([
            "run",
            file.to_str().expect("text"),
            "--on",
            &format!("lab:{lab}"),
        ])
        .output()
        .expect("ordeal runs");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("p.yaml:7:5") && said.contains("did you mean `partition`?"),
        "{said}"
    );
    assert!(!lab::succeed(&["lab", "status"]).contains(&lab));
}
