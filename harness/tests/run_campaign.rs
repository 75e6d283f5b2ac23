//! Campaigns: all shards together are the whole plan, whoever runs them.

mod lab;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::Lab;
use serde_json::Value;

fn matrix() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks/campaigns/smoke.yaml")
}

fn ordeal(arguments: &[&str], store: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ordeal"))
        .args(arguments)
        .arg("--json")
        .arg("--store")
        .arg(store)
        .output()
        .expect("ordeal runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What each run was about: its number, seed, labels and what it was found.
fn plan(summary: &Value) -> BTreeSet<String> {
    let runs = summary["runs"].as_array().expect("runs").iter();
    let about = |run: &Value| {
        let of = |key: &str| run[key].to_string();
        [of("number"), of("seed"), of("labels"), of("verdict")].join(" ")
    };
    runs.map(about).collect()
}

#[test]
fn all_shards_merged_are_the_whole_campaign() {
    let Some(lab) = Lab::up("campaign", 3) else {
        return;
    };
    let stores = tempfile::tempdir().expect("a folder");
    let store = |name: &str| stores.path().join(name);
    let (matrix, on) = (matrix(), lab.selector());
    let run = ["run", "--seed", "5", "--on", &on, "--matrix"];
    let run = [&run[..], &[matrix.to_str().expect("text")]].concat();
    let whole = ordeal(&run, &store("whole"));
    assert_eq!(plan(&whole).len(), 4, "{whole}");
    for shard in ["1/3", "2/3", "3/3"] {
        let of_shard = store(shard.trim_end_matches("/3"));
        ordeal(&[&run[..], &["--shard", shard]].concat(), &of_shard);
        let path = of_shard.to_str().expect("text").to_owned();
        ordeal(&["runs", "merge", &path], &store("all"));
    }
    let merged = ordeal(&["runs", "--campaign", "smoke"], &store("all"));
    assert_eq!(plan(&merged), plan(&whole));
    assert_eq!(merged["combinations"].as_array().expect("groups").len(), 4);
}
