//! The members change while clients work: by a playbook, and by hand, on the run's record.

mod lab;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, ordeal};
use serde_json::Value;

const GROWS: &str = "\
name: grows
system: {use: raft-node}
nodes: 3
founders: 1
seed: 4
time: {before: 1s, during: 18s, after: 2s}
workloads: [{kind: register, clients: 1n, keys: 5}]
faults:
  - membership: add
    at: 0s
  - membership: add
    at: 3s
    after: {voters: 2}
  - membership: {do: remove, on: leader}
    at: 6s
    after: {voters: 3}
  - membership: add-learner
    at: 10s
    after: {voters: 2}
  - kill: learners
    at: 14s
    for: 500ms
faults_at_once: 2
expect: {ok: {after: {read: 1}}, faults: {membership: 4, kill: 1}, recovery: 20s}
";

const BY_HAND: &str = "\
name: by-hand
system: {use: raft-node}
nodes: 3
founders: 2
time: {before: 1s, during: 1s, after: 2s}
workloads: [{kind: register, clients: 1n, keys: 5}]
faults:
  - manual: add n3
    at: 0s
    for: 60s
    until: {voters: 3}
expect: {faults: {manual: 1}}
";

const WAITS: &str = "\
name: waits
system: {use: raft-node}
nodes: 3
founders: 2
time: {before: 1s, during: 6s, after: 1s}
workloads: [{kind: register, clients: 1n, keys: 5}]
faults:
  - kill: leader
    at: 0s
    for: 500ms
    after: {caught-up: n3}
  - pause: leader
    at: 0s
    after: {voters: 9}
  - membership: {do: add-learner, on: n3}
    at: 1s
faults_at_once: 3
expect: {faults: {kill: 1, membership: 1}}
";

fn results(store: &Path) -> Value {
    let file = store.join("latest/results.json");
    serde_json::from_slice(&std::fs::read(file).expect("results")).expect("JSON")
}

/// Runs a playbook on a lab: the exit code, what was said, and the results.
fn run(lab: &Lab, playbook: &str) -> (Option<i32>, String, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, playbook).expect("written");
    let (file, store) = (file.to_str(), folder.path().to_str());
    let (file, store) = (file.expect("text"), store.expect("text"));
    let output = ordeal(&["run", file, "--on", &lab.selector(), "--store", store]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said, results(folder.path()))
}

fn described(results: &Value, kind: &str) -> Vec<String> {
    let faults = results["faults"].as_array().expect("faults");
    let of_kind = faults.iter().filter(|fault| fault["kind"] == kind);
    of_kind
        .map(|fault| fault["description"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_cluster_grows_and_loses_its_leader_while_the_register_stays_one() {
    let Some(lab) = Lab::up("grows", 3) else {
        return;
    };
    let (code, said, results) = run(&lab, GROWS);
    assert_eq!(code, Some(0), "{said}\n{results:#}");
    let changes = described(&results, "membership");
    assert!(changes[1].contains("after: n1 n2 n3 vote"), "{changes:?}");
    assert!(changes[2].contains("removed"), "{changes:?}");
    let learner = changes[3].split(' ').next().expect("a name");
    assert!(
        described(&results, "kill")[0].starts_with(&format!("{learner} killed")),
        "{results:#}"
    );
}

#[test]
fn a_fault_comes_after_what_it_waits_for_or_not_at_all() {
    let Some(lab) = Lab::up("waits", 3) else {
        return;
    };
    let (code, said, results) = run(&lab, WAITS);
    // A fault that is planned and never comes is too little coverage.
    assert_eq!(code, Some(2), "{said}\n{results:#}");
    let start = |kind: &str| {
        let faults = results["faults"].as_array().expect("faults");
        let fault = faults.iter().find(|fault| fault["kind"] == kind);
        fault.expect(kind)["start_ns"].as_u64().expect("a time")
    };
    assert!(start("kill") > start("membership"), "{results:#}");
    let in_vain = "did not come: it waited in vain for 9 voters";
    assert_eq!(described(&results, "pause"), [in_vain]);
}

#[test]
fn what_is_done_by_hand_stands_in_the_runs_history_and_report() {
    let Some(lab) = Lab::up("hands", 3) else {
        return;
    };
    let (store, home) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let playbook = store.path().join("p.yaml");
    std::fs::write(&playbook, BY_HAND).expect("written");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ordeal"));
        command
            .args(arguments)
            .args(["--on", &lab.selector(), "--store"])
            .arg(store.path());
        command
            .env("XDG_STATE_HOME", home.path())
            .stdin(Stdio::null());
        command
    };
    let run = command(&["run", playbook.to_str().expect("text")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ordeal runs");
    let history = store.path().join("latest/history.jsonl");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !std::fs::read_to_string(&history).is_ok_and(|text| text.contains("start-manual")) {
        assert!(Instant::now() < deadline, "the step never came");
        std::thread::sleep(Duration::from_millis(100));
    }
    let added = command(&["members", "add", "n3"])
        .output()
        .expect("ordeal runs");
    assert!(
        added.status.success(),
        "{}",
        String::from_utf8_lossy(&added.stderr)
    );
    let ended = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(
        said.contains("BY HAND: add n3") && said.contains("n3: waits to be added"),
        "{said}"
    );

    let results = results(store.path());
    assert!(described(&results, "manual")[0].contains("done (3 voters)"));
    let by_hand = described(&results, "by hand");
    assert!(by_hand[0].starts_with("members add n3"), "{by_hand:?}");
    let history = std::fs::read_to_string(&history).expect("a history");
    assert!(history.contains("start-by-hand") && history.contains("stop-by-hand"));
    let report =
        std::fs::read_to_string(store.path().join("latest/report.html")).expect("a report");
    assert!(report.contains("members add n3"));
}

#[test]
fn a_step_by_hand_without_a_condition_is_refused_where_nobody_sits() {
    let folder = tempfile::tempdir().expect("a folder");
    let playbook = folder.path().join("p.yaml");
    std::fs::write(&playbook, BY_HAND.replace("    until: {voters: 3}\n", "")).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args([
            "run",
            playbook.to_str().expect("text"),
            "--on",
            "lab:there-is-no-such-lab",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("ordeal runs");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("p.yaml:8:") && said.contains("until: {voters: 4}"),
        "{said}"
    );
}

#[test]
fn changes_that_a_system_cannot_make_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let playbook = folder.path().join("p.yaml");
    let system = "name: s\ndaemon: {argv: [/bin/x], log: /l}\nready: {http: {path: /}, answer: 'true'}\n\
                  client: {http: {address: 'http://x'}, outcome: [{info: true}]}\n\
                  operations: {read: {request: {path: /}}, write: {request: {path: /}}, cas: {request: {path: /}}}\n";
    std::fs::write(folder.path().join("s.yaml"), system).expect("written");
    std::fs::write(&playbook, GROWS.replace("raft-node", "s.yaml")).expect("written");
    let output = ordeal(&["playbook", "lint", playbook.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("does not say how a node joins"), "{said}");
}
