//! Every playbook and system file that is shipped can be run as it stands, and what is wrong in a
//! playbook is shown where it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ordeal::playbook::matrix;
use ordeal::runner::Plan;

fn playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks")
}

/// All playbooks below a folder; system files are no playbooks.
fn all(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let apart = |name: &std::ffi::OsStr| ["systems", "campaigns"].iter().any(|it| name == *it);
        if path.is_dir() && !path.file_name().is_some_and(apart) {
            all(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_playbook_that_is_shipped_is_right() {
    let mut found = Vec::new();
    all(&playbooks(), &mut found);
    assert!(found.len() > 1);
    for file in found {
        if let Err(mistake) = Plan::read(&file, &BTreeMap::new(), Some(1)) {
            panic!("{mistake}");
        }
    }
}

#[test]
fn a_playbook_that_is_written_again_makes_the_same_plan() {
    let mut found = Vec::new();
    all(&playbooks(), &mut found);
    for file in found {
        let plan = Plan::read(&file, &BTreeMap::new(), Some(7)).unwrap();
        let again = plan.loaded.written_again();
        let again = again.unwrap_or_else(|mistake| panic!("{}\n{mistake}", file.display()));
        let again = Plan::of(again, 7).unwrap();
        assert_eq!(again.faults, plan.faults, "{}", file.display());
        let load = |plan: &Plan| serde_json::to_value(&plan.loaded.playbook.workloads).unwrap();
        assert_eq!(load(&again), load(&plan), "{}", file.display());
    }
}

#[test]
fn every_run_of_every_campaign_that_is_shipped_can_be_begun() {
    for entry in std::fs::read_dir(playbooks().join("campaigns")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let sheet = matrix::read(&file).unwrap_or_else(|mistake| panic!("{mistake}"));
        let cells = sheet.cells(&BTreeMap::new(), 1);
        let cells = cells.unwrap_or_else(|mistake| panic!("{mistake}"));
        assert!(cells.len() > 1);
        let mut seen = std::collections::BTreeSet::new();
        for cell in &cells {
            if seen.insert(&cell.labels) {
                Plan::of_cell(cell, "all", cells.len()).unwrap_or_else(|it| panic!("{it}"));
            }
        }
    }
}

/// What is said about a playbook of this text.
fn mistake(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, text).unwrap();
    let said = Plan::read(&file, &BTreeMap::new(), Some(1))
        .unwrap_err()
        .to_string();
    said.replace(&folder.path().display().to_string(), ".")
}

const HEAD: &str = "name: x\nsystem: {use: raft-node}\nworkloads: [{kind: register}]\n";

#[test]
fn an_unknown_key_is_shown_where_it_is() {
    insta::assert_snapshot!(mistake(&format!("{HEAD}fautls: []\n")), @r"
    ./p.yaml:4:1: unknown field `fautls`, expected one of `name`, `about`, `include`, `parameters`, `system`, `nodes`, `founders`, `seed`, `time`, `workloads`, `faults`, `faults_at_once`, `expect`
      |
    4 | fautls: []
      | ^
      = did you mean `faults`?
    ");
}

#[test]
fn a_fault_that_is_misspelt_is_shown_where_it_is() {
    let said = mistake(&format!(
        "{HEAD}faults:\n  - partitoin: one\n    every: 5s\n"
    ));
    // The list of faults grows; what stands around it does not.
    let (what, rest) = said.split_once(", expected one of `kill`").unwrap();
    let (_, shown) = rest.split_once('\n').unwrap();
    insta::assert_snapshot!(format!("{what}\n{shown}"), @r"
    ./p.yaml:5:5: faults[0]: unknown fault `partitoin`
      |
    5 |   - partitoin: one
      |     ^
      = did you mean `partition`?
    ");
}

#[test]
fn a_shape_that_is_misspelt_is_shown_where_it_is() {
    insta::assert_snapshot!(mistake(&format!("{HEAD}faults:\n  - partition: majorty\n    every: 5s\n")), @r"
    ./p.yaml:5:16: faults[0].partition: unknown word `majorty`, expected one of `one`, `minority`, `majority`, `halves`, `ring`, `bridge`, `leader`, `random`, `one-way`, `link`, `groups`
      |
    5 |   - partition: majorty
      |                ^
      = did you mean `majority`?
    ");
}

#[test]
fn a_target_that_is_neither_a_word_nor_a_node_is_shown_where_it_is() {
    insta::assert_snapshot!(mistake(&format!("{HEAD}faults:\n  - kill: minorty\n    every: 5s\n")), @r"
    ./p.yaml:5:5: no node is called `minorty`; there are n1, n2, n3, n4, n5
      |
    5 |   - kill: minorty
      |     ^
      = did you mean `minority`?
    ");
    for wrong in [
        "kill: n9, every: 5s",
        "kill: one, at: 1s, after: {caught-up: n9}",
    ] {
        let said = mistake(&format!("{HEAD}faults: [{{{wrong}}}]\n"));
        assert!(said.contains("called `n9`"), "{said}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_shown_where_it_comes_again() {
    insta::assert_snapshot!(mistake(&format!("{HEAD}nodes: 3\nseed: 1\nnodes: 5\n")), @r"
    ./p.yaml:6:1: duplicate field `nodes`
      |
    6 | nodes: 5
      | ^
    ");
}

#[test]
fn a_model_that_does_not_exist_is_refused() {
    let text = HEAD.replace("kind: register", "kind: register, check: linearisable");
    assert!(mistake(&text).starts_with("./p.yaml:3:30: no model is called"));
}

#[test]
fn a_line_without_end_is_shown_in_part() {
    let text = HEAD.replace("name: x", &format!("name: {{{}: 1}}", "x".repeat(5_000)));
    assert!(mistake(&text).len() < 1_000);
}

#[test]
fn a_duration_without_a_unit_is_shown_where_it_is() {
    insta::assert_snapshot!(mistake(&format!("{HEAD}time: {{before: 3}}\n")), @r"
    ./p.yaml:4:16: time.before: `3` has no unit; expected a span of time with its unit, such as `500ms`, `10s` or `2m`
      |
    4 | time: {before: 3}
      |                ^
    ");
}

#[test]
fn a_system_that_does_not_exist_is_named() {
    insta::assert_snapshot!(mistake(&HEAD.replace("raft-node", "raft-nod")), @r"
    ./p.yaml:2:10: no system is called `raft-nod` in a `systems` folder here or above; did you mean `raft-node`?
      |
    2 | system: {use: raft-nod}
      |          ^
    ");
}

#[test]
fn a_parameter_that_the_system_has_not_is_named() {
    insta::assert_snapshot!(mistake(&HEAD.replace("raft-node", "raft-node, with: {read: stale}")), @r"
    ./p.yaml:2:33: the system `raft-node` has no parameter `read`; did you mean `reads`?
      |
    2 | system: {use: raft-node, with: {read: stale}}
      |                                 ^
    ");
}

#[test]
fn a_coverage_that_nothing_can_reach_is_refused() {
    insta::assert_snapshot!(mistake(&format!("{HEAD}expect:\n  faults: {{kill: 1}}\n")), @r"
    ./p.yaml:5:12: this playbook has no fault `kill`; those it has: none
      |
    5 |   faults: {kill: 1}
      |            ^
    ");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = Plan::read(Path::new("nowhere.yaml"), &BTreeMap::new(), None).unwrap_err();
    assert_eq!(
        said.to_string(),
        "nowhere.yaml: cannot be read: No such file or directory (os error 2)"
    );
}
