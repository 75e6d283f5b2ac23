//! The operator's verbs on a live cluster, as an operator types them.

mod lab;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lab::Lab;

/// A lab with a cluster on its first three hosts. None, with a word, where there is no root or no
/// node to deploy.
fn three(test: &str, nodes: u16) -> Option<Lab> {
    let node = Path::new(env!("CARGO_BIN_EXE_ordeal")).with_file_name("ordeal-node");
    if !node.is_file() {
        eprintln!(
            "SKIPPED {test}: there is no {}; type: cargo build",
            node.display()
        );
        return None;
    }
    let lab = Lab::up(test, nodes)?;
    done(&lab, &["cluster", "deploy", "n1", "n2", "n3"]);
    Some(lab)
}

fn typed(lab: &Lab, arguments: &[&str], answer: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args(arguments)
        .args(["--on", &lab.selector()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ordeal runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A verb that asks nothing does not read it.
    let _ = writeln!(stdin, "{answer}");
    drop(stdin);
    child.wait_with_output().expect("ordeal ends")
}

/// What a verb prints that asks for the cluster's name before it does what it is told.
fn forced(lab: &Lab, arguments: &[&str]) -> String {
    let output = typed(lab, &[arguments, &["--force"]].concat(), &lab.name);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ordeal {} --force: {stderr}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).expect("text")
}

/// What a verb prints that does what it is told.
fn done(lab: &Lab, arguments: &[&str]) -> String {
    let output = typed(lab, arguments, "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ordeal {}: {stderr}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Why a verb refuses.
fn refused(lab: &Lab, arguments: &[&str], answer: &str) -> String {
    let output = typed(lab, arguments, answer);
    assert_eq!(
        output.status.code(),
        Some(3),
        "ordeal {} was not refused",
        arguments.join(" ")
    );
    String::from_utf8(output.stderr).expect("text")
}

fn json(lab: &Lab, arguments: &[&str]) -> serde_json::Value {
    let text = done(lab, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).expect("--json prints JSON")
}

#[test]
fn members_come_and_go_and_the_data_stays() {
    let Some(lab) = three("members", 4) else {
        return;
    };
    done(&lab, &["kv", "put", "greeting", "\"hello\""]);

    let silent = refused(&lab, &["members", "add", "n4"], "");
    assert!(silent.contains("deploy --join n4"), "{silent}");
    done(&lab, &["cluster", "deploy", "n4", "--join"]);
    let added = done(&lab, &["members", "add", "n4"]);
    assert!(
        added.contains("after   n1 n2 n3 vote; n4 listen"),
        "synced first: {added}"
    );
    assert!(
        added.contains("after   n1 n2 n3 n4 vote: 3 of 4 decide"),
        "{added}"
    );

    done(&lab, &["members", "transfer", "n1"]);
    let leaves = done(&lab, &["members", "remove", "n1"]);
    assert!(
        leaves.contains("leader  n1 →"),
        "a leader hands over before it goes: {leaves}"
    );
    assert!(
        leaves.contains("after   n2 n3 n4 vote: 2 of 3 decide"),
        "{leaves}"
    );

    done(&lab, &["members", "demote", "n2"]);
    done(&lab, &["members", "promote", "n2"]);
    let members = json(&lab, &["members", "list"]);
    assert_eq!(
        members["configuration"]["voters"],
        serde_json::json!([2, 3, 4])
    );
    assert_eq!(members["failures_survived"], 1);
    assert_eq!(members["quorum_reachable"], true);
    assert_eq!(
        json(&lab, &["kv", "get", "greeting", "--node", "n4"])["value"],
        "hello"
    );
}

#[test]
fn what_would_lose_the_quorum_is_refused() {
    let Some(lab) = three("refusals", 3) else {
        return;
    };
    let majority = refused(&lab, &["cluster", "kill", "n1", "n2"], "");
    assert!(
        majority.contains("of 3 voters 1 would be left, and 2 decide"),
        "{majority}"
    );

    done(&lab, &["cluster", "kill", "n1"]);
    let second = refused(&lab, &["cluster", "stop", "n2"], "");
    assert!(
        second.contains("would be left"),
        "one is down already: {second}"
    );
    let removal = refused(&lab, &["members", "remove", "n3"], "");
    assert!(removal.contains("would lose the quorum"), "{removal}");
    let unconfirmed = refused(&lab, &["members", "remove", "n3", "--force"], "yes");
    assert!(unconfirmed.contains("at stake") && unconfirmed.contains("nothing was done"));

    // The one that is down is the one to remove.
    done(&lab, &["members", "remove", "n1"]);
    let gone = refused(&lab, &["members", "remove", "n1"], "");
    assert!(gone.contains("1 is no member"), "{gone}");
}

#[test]
fn a_cluster_is_restarted_one_by_one_and_keeps_what_it_was_told() {
    let Some(lab) = three("restart", 3) else {
        return;
    };
    done(&lab, &["kv", "put", "a/1", "1"]);
    done(&lab, &["kv", "put", "a/2", "2"]);
    done(&lab, &["cluster", "restart"]);
    done(&lab, &["cluster", "pause", "n2"]);
    done(&lab, &["cluster", "resume", "n2"]);
    assert_eq!(
        done(&lab, &["kv", "range", "--prefix", "a/"]),
        "a/1\t1\na/2\t2\n"
    );
    done(&lab, &["kv", "cas", "a/1", "1", "10"]);
    let stale = refused(&lab, &["kv", "cas", "a/1", "1", "11"], "");
    assert!(stale.contains("it did not happen"), "{stale}");

    let status = done(&lab, &["cluster", "status"]);
    assert!(
        status.contains("leader") && status.contains("survives 1 failure"),
        "{status}"
    );
    assert!(done(&lab, &["cluster", "logs", "n1", "--lines", "3"]).contains("==> n1"));

    let wipe = refused(&lab, &["cluster", "wipe", "n1"], "");
    assert!(wipe.contains("all that n1 stored would be lost"), "{wipe}");
    forced(&lab, &["cluster", "wipe", "n1"]);
}

#[test]
fn a_cluster_is_upgraded_under_way_and_faults_by_hand_find_its_leader() {
    let Some(lab) = three("upgrade", 3) else {
        return;
    };
    done(&lab, &["kv", "put", "a", "1"]);
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("ordeal-node");
    let node = Path::new(env!("CARGO_BIN_EXE_ordeal")).with_file_name("ordeal-node");
    std::fs::copy(node, &program).expect("copied");
    let upgraded = done(
        &lab,
        &[
            "cluster",
            "upgrade",
            "--binary",
            program.to_str().expect("text"),
        ],
    );
    assert_eq!(upgraded.matches("running").count(), 3, "{upgraded}");
    assert_eq!(json(&lab, &["kv", "get", "a"])["value"], 1);
    let nothing = typed(&lab, &["cluster", "upgrade", "--binary", "no/such"], "");
    assert_eq!(nothing.status.code(), Some(64));

    let leader = json(&lab, &["members", "list"])["leader"].to_string();
    let store = folder.path().to_str().expect("text");
    let fault = [
        "fault", "kill", "leader", "--for", "500ms", "--store", store,
    ];
    let said = typed(&lab, &fault, "");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains(&format!("n{leader} killed")), "{said}");
}

#[test]
fn what_is_watched_is_shown_until_it_is_interrupted() {
    let Some(lab) = three("watch", 3) else {
        return;
    };
    let mut watch = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args([
            "cluster",
            "watch",
            "--every",
            "100ms",
            "--on",
            &lab.selector(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ordeal runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let heads = lines
        .by_ref()
        .map_while(Result::ok)
        .filter(|line| line.trim_start().starts_with("node "));
    assert_eq!(heads.take(2).count(), 2, "the table comes again");
    let pid = nix::unistd::Pid::from_raw(watch.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    lines.for_each(drop);
    assert!(watch.wait().expect("it ends").success());
}

#[test]
fn leadership_is_spread_over_the_voters() {
    let Some(lab) = Lab::up("rebalance", 3) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let system = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks/systems/raft-node.yaml");
    let system = std::fs::read_to_string(system).expect("it is there");
    let four = folder.path().join("four.yaml");
    // The nodes themselves would spread it too.
    let four_groups = system
        .replace("groups: 1\n", "groups: 4\n")
        .replace("flags: []", "flags: [--no-rebalance]");
    std::fs::write(&four, four_groups).expect("written");
    done(
        &lab,
        &[
            "cluster",
            "deploy",
            "--system",
            four.to_str().expect("text"),
        ],
    );
    for group in ["0", "1", "2", "3"] {
        done(&lab, &["members", "transfer", "n1", "--group", group]);
    }
    let spread = json(&lab, &["members", "rebalance"]);
    assert_eq!(
        spread["moves"].as_array().map(Vec::len),
        Some(2),
        "{spread}"
    );
}

#[test]
fn a_lost_majority_is_recovered_from_one_survivor() {
    let Some(lab) = three("recover", 3) else {
        return;
    };
    done(&lab, &["kv", "put", "kept", "\"yes\""]);
    let healthy = refused(&lab, &["cluster", "recover", "n1", "--force"], &lab.name);
    assert!(
        healthy.contains("a quorum of the voters answers"),
        "{healthy}"
    );

    forced(&lab, &["cluster", "kill", "n2", "n3"]);
    let warned = refused(&lab, &["cluster", "recover", "n1"], "");
    assert!(
        warned.contains("first try to bring back a majority"),
        "{warned}"
    );
    let alone = forced(&lab, &["cluster", "recover", "n1"]);
    assert!(alone.contains("n1 votes alone"), "{alone}");
    assert_eq!(json(&lab, &["kv", "get", "kept"])["value"], "yes");

    // The others come back as new nodes.
    for node in ["n2", "n3"] {
        forced(&lab, &["cluster", "wipe", node]);
        done(&lab, &["cluster", "deploy", "--join", node]);
        done(&lab, &["members", "add", node]);
    }
    let members = json(&lab, &["members", "list"]);
    assert_eq!(members["failures_survived"], 1, "{members}");
    done(&lab, &["cluster", "stop", "n1"]);
    assert_eq!(
        json(&lab, &["kv", "get", "kept", "--node", "n3"])["value"],
        "yes"
    );
}

#[test]
fn a_backup_holds_what_was_committed_and_founds_a_new_cluster() {
    let Some(lab) = three("backup", 3) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("b.tgz");
    let file = file.to_str().expect("text");
    done(&lab, &["kv", "put", "before", "1"]);
    done(&lab, &["cluster", "backup", file, "--node", "n2"]);
    let there = typed(&lab, &["cluster", "backup", file], "");
    assert_eq!(there.status.code(), Some(64), "a backup is not overwritten");
    done(&lab, &["kv", "put", "after", "2"]);

    let living = refused(&lab, &["cluster", "restore", file, "n2", "n3"], "");
    assert!(living.contains("a daemon is running"), "{living}");
    let other = typed(&lab, &["cluster", "restore", file, "n1"], "");
    assert_eq!(
        other.status.code(),
        Some(64),
        "the backup is another node's"
    );
    forced(&lab, &["cluster", "wipe"]);
    let next = done(&lab, &["cluster", "restore", file, "n2", "n3"]);
    assert!(next.contains("ordeal members add n3"), "{next}");
    assert_eq!(json(&lab, &["kv", "get", "before"])["value"], 1);
    let absent = refused(&lab, &["kv", "get", "after"], "");
    assert!(absent.contains("not_found"), "{absent}");
    done(&lab, &["cluster", "deploy", "--join", "n3"]);
    done(&lab, &["members", "add", "n3"]);
    assert_eq!(
        json(&lab, &["kv", "get", "before", "--node", "n3"])["value"],
        1
    );
}

#[test]
fn a_cluster_that_is_chosen_is_the_one_that_is_meant() {
    let Some(lab) = Lab::up("use", 1) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let ordeal = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ordeal"));
        command
            .args(arguments)
            .env("XDG_STATE_HOME", home.path())
            .env_remove("ORDEAL_ON");
        let output = command.output().expect("ordeal runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(ordeal(&["use", "lab:there-is-no-such-lab"]).0, Some(64));
    assert_eq!(ordeal(&["use", &lab.selector()]).0, Some(0));
    assert_eq!(ordeal(&["use"]).1.trim(), lab.selector());
    let (code, status) = ordeal(&["cluster", "status", "--json"]);
    assert_eq!(code, Some(0));
    assert!(status.contains(&lab.name), "{status}");
    assert_eq!(ordeal(&["use", "--forget"]).0, Some(0));
    assert!(ordeal(&["use"]).1.contains("no cluster is remembered"));
}
