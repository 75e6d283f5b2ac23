//! The operator's verbs on a live cluster, as an operator types them.

mod lab;

use std::io::Write;
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
    let typed = typed(&lab, &["cluster", "wipe", "n1", "--force"], &lab.name);
    assert!(
        typed.status.success(),
        "{}",
        String::from_utf8_lossy(&typed.stderr)
    );
}
