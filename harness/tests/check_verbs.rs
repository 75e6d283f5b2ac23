//! `ordeal check` and `ordeal history`, as a user runs them: files in, words and exit codes out.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Runs the binary in a folder: its exit code, what it printed, what it complained about.
fn ordeal(folder: &Path, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who complains about its arguments reads nothing.
    let _ = stdin.write_all(input);
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn folder_with(name: &str, content: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    folder
}

#[test]
fn what_is_generated_is_valid_in_every_format_and_packing() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| ordeal(folder.path(), arguments, b"");
    let made = "history generate --ops 300 --keys 3 --cas 0.2 --unknown 0.05 -o a.jsonl";
    assert_eq!(run(&made.split(' ').collect::<Vec<_>>()).0, 0);
    for name in ["a.edn", "a.jsonl.gz", "a.jsonl.zst", "a.edn.gz"] {
        assert_eq!(run(&["history", "convert", "a.jsonl", name]).0, 0, "{name}");
        let (code, out, error) = run(&["check", name]);
        assert_eq!(code, 0, "{name}: {out}{error}");
        assert!(
            out.starts_with("valid: register, 300 operations, 3 keys"),
            "{out}"
        );
    }
    let bytes = std::fs::read(folder.path().join("a.jsonl.gz")).unwrap();
    assert_eq!(ordeal(folder.path(), &["check", "-"], &bytes).0, 0);
    let (_, stats, _) = run(&["history", "stats", "a.edn", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((&stats["ops"], &stats["keys"]), (&600.into(), &3.into()));
    let (_, head, _) = run(&["history", "head", "a.jsonl", "-n", "2"]);
    assert_eq!(head.lines().count(), 3, "{head}");
    let (_, reads, _) = run(&["history", "filter", "a.jsonl", "--f", "read", "--key", "k1"]);
    let mut ops = reads.lines().skip(1);
    assert!(ops.all(|op| op.contains("\"read\"") && op.contains("\"k1\"")));
}

#[test]
fn a_planted_anomaly_is_found_explained_and_proved() {
    let folder = TempDir::new().unwrap();
    let run = |line: &str| ordeal(folder.path(), &line.split(' ').collect::<Vec<_>>(), b"");
    for (model, anomaly, ops) in [
        ("register", "stale-read", 400),
        ("register", "lost-write", 400),
        ("register", "phantom", 400),
        ("kv", "phantom", 60),
        ("queue", "phantom", 400),
    ] {
        let made = format!("history generate --model {model} --anomaly {anomaly} --ops {ops}");
        assert_eq!(run(&format!("{made} -o bad.jsonl")).0, 0);
        let (code, out, _) = run(&format!("check bad.jsonl --model {model}"));
        assert_eq!(code, 1, "{model} {anomaly}: {out}");
        assert!(out.contains("whatever else happened"), "{out}");
        assert!(out.contains("A second, independent engine"), "{out}");
    }
    let (code, out, _) = run("check bad.jsonl --model queue --json --certify proof.json");
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["details"]["confirmed_by_second_engine"], true);
    let proof = std::fs::read(folder.path().join("proof.json")).unwrap();
    let proof: serde_json::Value = serde_json::from_slice(&proof).unwrap();
    assert_eq!(proof["counterexample"], report["counterexample"]);
}

#[test]
fn a_planted_anomaly_of_transactions_is_found_by_its_name() {
    let folder = TempDir::new().unwrap();
    let run = |line: &str| ordeal(folder.path(), &line.split(' ').collect::<Vec<_>>(), b"");
    for (model, anomaly) in [
        ("list-append", "G0"),
        ("list-append", "G-single"),
        ("list-append", "lost-update"),
        ("rw-register", "G1c"),
        ("rw-register", "G2-item"),
    ] {
        let made = format!("history generate --model {model} --ops 300 -o t.jsonl");
        assert_eq!(run(&made).0, 0);
        let (code, out, _) = run(&format!("check t.jsonl --model {model}"));
        assert_eq!(code, 0, "{model}: {out}");
        assert_eq!(run(&format!("{made} --anomaly {anomaly}")).0, 0);
        let (code, out, _) = run(&format!("check t.jsonl --model {model}"));
        assert_eq!(code, 1, "{model} {anomaly}: {out}");
        assert!(out.contains(anomaly), "{out}");
    }
}

#[test]
fn bad_input_is_named_with_its_place_and_what_was_expected() {
    let invoke = "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n";
    let cases = [
        (
            format!("{invoke}{}", invoke.replace("invoke", "begin")),
            64,
            "line 2, column 2",
        ),
        (
            "[{:process 0 :type :begin}]".to_owned(),
            64,
            "line 1, column 2",
        ),
        ("what is this".to_owned(), 64, "no such line"),
        (invoke.replace("invoke", "ok"), 2, "invoked nothing"),
        (invoke.repeat(2), 2, "still open"),
        (String::new(), 2, "not one operation"),
        (invoke.replace("read", "steal"), 2, "expected one of read"),
    ];
    for (content, code, words) in cases {
        let folder = folder_with("h", content.as_bytes());
        let (found, out, error) = ordeal(folder.path(), &["check", "h"], b"");
        assert_eq!(found, code, "{content:?}: {out}{error}");
        assert!(format!("{out}{error}").contains(words), "{out}{error}");
    }
    let folder = folder_with("cut.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let (code, _, error) = ordeal(folder.path(), &["check", "cut.gz"], b"");
    assert_eq!(code, 64, "{error}");
    assert!(error.contains("cut or damaged"), "{error}");
}

#[test]
fn arguments_out_of_range_are_refused() {
    let folder = folder_with("a.jsonl", b"");
    for (line, words) in [
        ("check nowhere.jsonl", "is not there"),
        ("check a.jsonl --model foo", "must be one of register"),
        ("check a.jsonl --budget soon", "60s"),
        ("history generate --unknown 3", "from 0 to 1"),
        ("history generate --clients 0", "from 1"),
        (
            "history generate --model queue --anomaly stale-read",
            "phantom",
        ),
        ("history generate --contention 0", "nobody would ever begin"),
        (
            "history generate --model rw-register --anomaly G0",
            "what can: G1a",
        ),
        (
            "history generate --model list-append --cas 0.5",
            "--cas does not go with transactions",
        ),
        ("history convert a.jsonl a.txt", ".jsonl or .edn"),
        ("history convert a.jsonl a.foo", ".jsonl or .edn"),
    ] {
        let line: Vec<&str> = line.split(' ').collect();
        let (code, out, error) = ordeal(folder.path(), &line, b"");
        assert_eq!(code, 64, "{line:?}: {out}{error}");
        assert!(error.contains(words), "{line:?}: {error}");
    }
}

#[test]
fn the_time_budget_is_for_reading_too() {
    let op = r#"{"index":0,"time":0,"process":0,"type":"invoke","f":"read","value":null}"#;
    let folder = folder_with("a.jsonl", format!("{op}\n").as_bytes());
    let line = ["check", "a.jsonl", "--budget", "0s"];
    let (code, out, error) = ordeal(folder.path(), &line, b"");
    assert_eq!(code, 2, "{out}{error}");
    assert!(out.contains("while the history was read"), "{out}{error}");
}
