//! Run folders for the report's tests, as a real run leaves them: clients that queue up during an
//! outage, operations that time out, faults that overlap, and, on demand, a stale read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ordeal_checker::history::{History, Op};
use ordeal_checker::{Model, Options};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000_000;
const CLIENTS: u64 = 20;

/// What the system did wrong.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Broken {
    Nothing,
    StaleRead,
    LostOrder,
}

/// What the run is to look like.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) seconds: u64,
    pub(crate) broken: Broken,
    pub(crate) coverage_met: bool,
    pub(crate) harness_ok: bool,
}

impl Plan {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            seconds: 40,
            broken: Broken::Nothing,
            coverage_met: true,
            harness_ok: true,
        }
    }

    /// Writes the folder and says where it is.
    pub(crate) fn write(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("report")
            .join(self.name);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be made");
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).expect("the temporary folder can be written");
        };
        let faults = faults(self.seconds);
        write("history.jsonl", history(self.seconds, &faults));
        write("results.json", self.results(&faults).to_string());
        write("run.json", run(self.seconds).to_string());
        write(
            "playbook.yaml",
            "name: quickstart\nsystem: raft-node\nseed: 42\n".into(),
        );
        folder
    }

    fn results(&self, faults: &[Value]) -> Value {
        let mut properties = vec![json!({
            "name": "no acknowledged write is lost", "verdict": "valid", "reason": "",
            "report": {"verdict": "valid", "model": "set", "figures": {"ops": 812, "elapsed_ms": 3.2}},
        })];
        if self.broken == Broken::LostOrder {
            properties.insert(0, lost_order());
        }
        if self.broken == Broken::StaleRead {
            properties.insert(0, stale_read());
        } else {
            properties.insert(
                0,
                json!({
                    "name": "linearizable registers", "verdict": "valid", "reason": "",
                    "report": {"verdict": "valid", "model": "register",
                               "figures": {"ops": 9_341, "elapsed_ms": 18.7}},
                }),
            );
        }
        let errors: &[&str] = if self.harness_ok {
            &[]
        } else {
            &["n3: cannot heal partition 2: ssh: connection refused; run `ordeal heal latest`"]
        };
        json!({
            "verdict": if self.broken == Broken::Nothing { "valid" } else { "invalid" },
            "properties": properties,
            "coverage": [
                {"name": "ok reads during faults", "wanted": 500, "got": 3_120, "met": true, "line": 31},
                {"name": "partitions installed", "wanted": 2, "got": if self.coverage_met { 2 } else { 1 },
                 "met": self.coverage_met, "line": 34},
            ],
            "harness": {"ok": self.harness_ok, "errors": errors},
            "faults": faults,
        })
    }
}

/// A counterexample as the checker gives it: 41 was acknowledged, then read over.
fn stale_read() -> Value {
    let op = |index: u64, ms: u64, process: u64, type_: &str, f: &str, value: Value, node: &str| {
        json!({"index": index, "time": 17 * SECOND + ms * 1_000_000, "process": process, "type": type_,
               "f": f, "key": "k3", "value": value, "node": node})
    };
    let counterexample = json!([
        op(8_801, 0, 4, "invoke", "write", json!(17), "n1"),
        op(8_803, 3, 4, "ok", "write", json!(17), "n1"),
        op(8_810, 401, 11, "invoke", "cas", json!([17, 29]), "n2"),
        op(8_811, 402, 7, "invoke", "write", json!(41), "n2"),
        op(8_815, 409, 7, "ok", "write", json!(41), "n2"),
        op(8_816, 1_409, 11, "info", "cas", json!([17, 29]), "n2"),
        op(8_820, 1_411, 2, "invoke", "read", Value::Null, "n3"),
        op(8_822, 1_413, 2, "ok", "read", json!(41), "n3"),
        op(8_824, 1_420, 9, "invoke", "read", Value::Null, "n5"),
        op(8_826, 1_421, 9, "ok", "read", json!(17), "n5"),
    ]);
    json!({
        "name": "linearizable registers",
        "verdict": "invalid",
        "reason": "key k3: process 9 read 17 at 18.421 s, although 41 had been written and read before it began.",
        "report": {
            "verdict": "invalid", "model": "register",
            "figures": {"ops": 9_341, "keys": 10, "elapsed_ms": 21.3},
            "keys": [{"key": "k3", "verdict": "invalid", "reason": "a stale read"}],
            "explanation": [
                "Process 4 wrote 17 and was told so at 17.003 s.",
                "Process 7 then wrote 41, acknowledged at 17.409 s; so from there on the register holds 41, or 29 if the cas of process 11 took effect before it.",
                "Process 2 read 41 between 18.411 s and 18.413 s.",
                "Process 9 began its read at 18.420 s, after all of them had ended, and got 17: a value that had been replaced for more than a second.",
            ],
            "counterexample": counterexample,
        },
    })
}

/// Three transactions that each missed the other's append, as the checker itself explains them.
fn lost_order() -> Value {
    let mut lines = String::new();
    let mut op = |ms: u64, process: u64, type_: &str, value: Value| {
        let time = 17 * SECOND + ms * 1_000_000;
        let op = json!({"index": ms, "time": time, "process": process, "type": type_, "f": "txn",
                        "value": value, "node": format!("n{}", process % 5 + 1)});
        let _ = writeln!(lines, "{op}");
    };
    for (process, (mine, theirs)) in [("x", "y"), ("y", "z"), ("z", "x")].into_iter().enumerate() {
        let process = process as u64;
        op(
            process,
            process,
            "invoke",
            json!([["append", mine, process + 1], ["r", theirs, null]]),
        );
        op(
            10 + process,
            process,
            "ok",
            json!([["append", mine, process + 1], ["r", theirs, []]]),
        );
    }
    op(
        20,
        3,
        "invoke",
        json!([["r", "x", null], ["r", "y", null], ["r", "z", null]]),
    );
    op(
        21,
        3,
        "ok",
        json!([["r", "x", [1]], ["r", "y", [2]], ["r", "z", [3]]]),
    );
    let history: History = lines
        .lines()
        .map(|line| serde_json::from_str::<Op>(line).expect("an op"))
        .collect();
    let report = ordeal_checker::check(&history, &Options::new(Model::ListAppend));
    json!({"name": "serializable appends", "verdict": report.verdict,
           "reason": report.reason, "report": report})
}

fn run(seconds: u64) -> Value {
    let host = |id: u64| json!({"name": format!("n{id}"), "address": format!("10.77.0.{id}")});
    json!({
        "name": "quickstart", "seed": 42, "started": "2026-11-21T21:58:12Z",
        "system": {"name": "raft-node"}, "workload": {"name": "register"},
        "cluster": {"name": "lab", "hosts": (1..=5).map(host).collect::<Vec<_>>()},
        "versions": {"ordeal": "0.1.0", "kernel": "6.1.0-18-amd64"},
        "digests": {"ordeal-node": "sha256:5be1c9f0"},
        "phases": [
            {"name": "warm up", "start_ns": 0, "end_ns": 4 * SECOND},
            {"name": "ordeal", "start_ns": 4 * SECOND, "end_ns": (seconds - 6) * SECOND},
            {"name": "recovery", "start_ns": (seconds - 6) * SECOND, "end_ns": seconds * SECOND},
        ],
    })
}

/// Five kinds in turn, every four seconds, each for three.
fn faults(seconds: u64) -> Vec<Value> {
    let kinds: [(&str, &[&str], &str); 5] = [
        (
            "kill",
            &["n2"],
            "kill -9 of ordeal-node, then started again",
        ),
        (
            "partition",
            &["n1", "n4"],
            "minority {n1, n4} cut off from {n2, n3, n5}",
        ),
        ("pause", &["n5"], "SIGSTOP, then SIGCONT"),
        ("partition", &["n3"], "leader n3 cut off, one way"),
        (
            "packet-delay",
            &["n1", "n2", "n3", "n4", "n5"],
            "50 ms ± 20 ms on every link",
        ),
    ];
    let starts = (5..seconds.saturating_sub(9)).step_by(4);
    let fault = |(position, start): (usize, u64)| {
        let (kind, targets, description) = kinds[position % kinds.len()];
        json!({"id": position, "kind": kind, "targets": targets, "description": description,
               "start_ns": start * SECOND, "end_ns": (start + 3) * SECOND,
               "installed": true, "healed": true})
    };
    starts.enumerate().map(fault).collect()
}

/// Closed-loop clients: fast in good times, slow under faults, timing out in the first second of
/// a partition.
fn history(seconds: u64, faults: &[Value]) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(42);
    let mut lines: Vec<(u64, Value)> = Vec::new();
    for client in 0..CLIENTS {
        let mut process = client;
        let mut now_ns = client * 1_000_000;
        while now_ns < seconds * SECOND {
            let under = |fault: &&Value| {
                (fault["start_ns"].as_u64()..fault["end_ns"].as_u64()).contains(&Some(now_ns))
            };
            let fault = faults.iter().find(under);
            let since = fault.map_or(0, |fault| now_ns - fault["start_ns"].as_u64().unwrap_or(0));
            let (type_, latency_us) = match fault.and_then(|fault| fault["kind"].as_str()) {
                Some("partition") if since < SECOND => ("info", 1_000_000),
                Some("kill") if since < SECOND / 2 => {
                    ("fail", random.random_range(300_000..700_000))
                }
                Some("packet-delay") => ("ok", random.random_range(80_000..220_000)),
                Some(_) => ("ok", random.random_range(1_500..12_000)),
                None => ("ok", random.random_range(700..3_500)),
            };
            let (f, value) = match random.random_range(0..10) {
                0..5 => ("read", Value::Null),
                5..9 => ("write", json!(lines.len())),
                _ => ("cas", json!([1, lines.len()])),
            };
            let key = format!("k{}", random.random_range(0..10));
            let op = |type_: &str, value: Value, error: Option<&str>| json!({"process": process, "type": type_, "f": f, "key": key, "value": value, "error": error});
            let end_ns = now_ns + latency_us * 1_000;
            lines.push((now_ns, op("invoke", value.clone(), None)));
            let error = match type_ {
                "info" => Some("timeout after 1 s"),
                "fail" => Some("connection refused"),
                _ => None,
            };
            lines.push((
                end_ns,
                op(type_, if f == "read" { json!(7) } else { value }, error),
            ));
            if type_ == "info" {
                process += CLIENTS;
            }
            now_ns = end_ns + random.random_range(20_000_000..60_000_000);
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    let mut text = String::from("{\"ordeal\":\"history\",\"version\":1}\n");
    for (index, (time, mut op)) in lines.into_iter().enumerate() {
        op["index"] = json!(index);
        op["time"] = json!(time);
        let _ = writeln!(text, "{op}");
    }
    text
}
