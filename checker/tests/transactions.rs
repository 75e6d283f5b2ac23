//! Each anomaly of transactions in its smallest form, and what it rules out.

use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::txn::Expect;
use ordeal_checker::txn::level::Level;
use ordeal_checker::txn::register::Assume;
use ordeal_checker::{Model, Options, Report, Verdict, check};
use serde_json::{Value, json};

/// Reads lines of `process type value`.
fn history(text: &str) -> History {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(index, line)| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("process, type and value");
            let process = word().parse().expect("a process number");
            let type_ = match word() {
                "invoke" => Type::Invoke,
                "ok" => Type::Ok,
                "fail" => Type::Fail,
                "info" => Type::Info,
                other => panic!("no type: {other}"),
            };
            let value: Value = serde_json::from_str(word()).expect("JSON");
            Op {
                index: index as u64,
                ..Op::new(process, type_, "txn", value)
            }
        })
        .collect()
}

/// Transactions that all run at the same time and all commit, each by a process of its own.
fn concurrent(transactions: &[&str]) -> History {
    let mut text = String::new();
    for type_ in ["invoke", "ok"] {
        for (process, value) in transactions.iter().enumerate() {
            text.extend([&process.to_string(), " ", type_, " ", value, "\n"]);
        }
    }
    history(&text)
}

fn lists(history: &History) -> Report {
    check(history, &Options::new(Model::ListAppend))
}

fn names(report: &Report) -> Vec<&str> {
    report
        .anomalies
        .iter()
        .map(|anomaly| anomaly.name.as_str())
        .collect()
}

#[track_caller]
fn broken(history: &History, anomalies: &[&str], weakest: &[&str]) {
    let report = lists(history);
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    assert_eq!(names(&report), anomalies, "{report:#?}");
    assert_eq!(
        report.details["weakest_violated"],
        Value::from(weakest),
        "{report:#?}"
    );
    assert!(!report.explanation.is_empty());
}

#[test]
fn reads_in_order_are_strict_serializable() {
    let report = lists(&history(
        r#"0 invoke [["append","x",1]]
           0 ok [["append","x",1]]
           1 invoke [["r","x",null],["append","y",1]]
           1 ok [["r","x",[1]],["append","y",1]]
           0 invoke [["r","y",null],["r","x",null]]
           0 ok [["r","y",[1]],["r","x",[1]]]"#,
    ));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    assert_eq!(report.details["levels"]["strict-serializable"], "holds");
}

#[test]
fn writes_in_a_circle_are_g0() {
    let all = concurrent(&[
        r#"[["append","x",1],["append","y",1]]"#,
        r#"[["append","x",2],["append","y",2]]"#,
        r#"[["r","x",[1,2]]]"#,
        r#"[["r","y",[2,1]]]"#,
    ]);
    broken(&all, &["G0"], &["read-uncommitted"]);
}

#[test]
fn reading_an_aborted_write_is_g1a() {
    let all = history(
        r#"0 invoke [["append","x",1]]
           0 fail [["append","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[1]]]"#,
    );
    broken(&all, &["G1a"], &["read-committed"]);
}

#[test]
fn reading_a_write_that_its_writer_replaced_is_g1b() {
    let all = concurrent(&[
        r#"[["append","x",1],["append","x",2]]"#,
        r#"[["r","x",[1]]]"#,
        r#"[["r","x",[1,2]]]"#,
    ]);
    // The reader stands after the first and before the second append of one transaction.
    broken(&all, &["G1b", "G-single"], &["read-committed"]);
}

#[test]
fn each_reading_the_other_is_g1c() {
    let all = concurrent(&[
        r#"[["append","x",1],["r","y",[1]]]"#,
        r#"[["append","y",1],["r","x",[1]]]"#,
    ]);
    broken(&all, &["G1c"], &["read-committed"]);
}

#[test]
fn seeing_half_of_a_transaction_is_g_single() {
    let all = concurrent(&[
        r#"[["append","x",1],["append","y",1]]"#,
        r#"[["r","x",[1]],["r","y",[]]]"#,
        r#"[["r","y",[1]]]"#,
    ]);
    let report = lists(&all);
    assert!(names(&report).contains(&"G-single"), "{report:#?}");
}

#[test]
fn a_long_fork_is_g_nonadjacent() {
    let all = concurrent(&[
        r#"[["append","x",1]]"#,
        r#"[["append","y",1]]"#,
        r#"[["r","x",[1]],["r","y",[]]]"#,
        r#"[["r","x",[]],["r","y",[1]]]"#,
    ]);
    broken(
        &all,
        &["G-nonadjacent"],
        &["repeatable-read", "snapshot-isolation"],
    );
}

#[test]
fn write_skew_is_g2_item_and_snapshot_isolation_allows_it() {
    let all = concurrent(&[
        r#"[["r","x",[]],["append","y",1]]"#,
        r#"[["r","y",[]],["append","x",1]]"#,
        r#"[["r","x",[1]],["r","y",[1]]]"#,
    ]);
    broken(&all, &["G2-item"], &["repeatable-read"]);
    let mut options = Options::new(Model::ListAppend);
    options.transactions = Expect {
        level: Level::SnapshotIsolation,
        ..Expect::default()
    };
    let report = check(&all, &options);
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    let strongest = Value::from(vec!["strong-snapshot-isolation"]);
    assert_eq!(report.details["strongest_possible"], strongest);
}

#[test]
fn two_updates_of_one_version_are_a_lost_update() {
    let all = concurrent(&[
        r#"[["r","x",[]],["append","x",1]]"#,
        r#"[["r","x",[]],["append","x",2]]"#,
        r#"[["r","x",[1,2]]]"#,
    ]);
    broken(&all, &["lost-update", "G-single"], &["cursor-stability"]);
}

#[test]
fn a_blind_write_between_a_read_and_its_update_is_lost() {
    let all = concurrent(&[
        r#"[["r","x",[]],["append","x",2]]"#,
        r#"[["append","x",1]]"#,
        r#"[["r","x",[1,2]]]"#,
    ]);
    broken(&all, &["lost-update", "G-single"], &["cursor-stability"]);
}

#[test]
fn an_update_of_an_aborted_write_is_dirty() {
    let all = history(
        r#"0 invoke [["append","x",1]]
           1 invoke [["append","x",2]]
           0 fail [["append","x",1]]
           1 ok [["append","x",2]]
           2 invoke [["r","x",null]]
           2 ok [["r","x",[1,2]]]"#,
    );
    broken(&all, &["dirty-update", "G1a"], &["read-uncommitted"]);
}

#[test]
fn forgetting_ones_own_write_is_internal() {
    let all = concurrent(&[r#"[["append","x",1],["r","x",[]]]"#, r#"[["r","x",[1]]]"#]);
    let report = lists(&all);
    assert!(names(&report).contains(&"internal"), "{report:#?}");
}

#[test]
fn reads_in_different_orders_are_incompatible() {
    let all = concurrent(&[
        r#"[["append","x",1]]"#,
        r#"[["append","x",2]]"#,
        r#"[["r","x",[1,2]]]"#,
        r#"[["r","x",[2,1]]]"#,
    ]);
    let report = lists(&all);
    assert!(
        names(&report).contains(&"incompatible-order"),
        "{report:#?}"
    );
    assert!(!names(&report).contains(&"duplicate-elements"));
    assert_eq!(report.details["weakest_violated"][0], "read-uncommitted");
}

#[test]
fn what_only_a_read_out_of_order_saw_was_not_aborted() {
    let report = lists(&history(
        r#"0 invoke [["append","x",9]]
           0 info [["append","x",9]]
           1 invoke [["append","x",1],["append","x",2]]
           1 ok [["append","x",1],["append","x",2]]
           2 invoke [["r","x",null]]
           2 ok [["r","x",[1,2]]]
           3 invoke [["r","x",null]]
           3 ok [["r","x",[9]]]"#,
    ));
    assert!(names(&report).contains(&"incompatible-order"));
    assert!(!names(&report).contains(&"G1a"), "{:?}", names(&report));
}

#[test]
fn real_time_is_not_blamed_for_what_the_data_tell() {
    let all = history(
        r#"0 invoke [["r","x",null],["r","y",null]]
           0 ok [["r","x",[]],["r","y",[1]]]
           1 invoke [["append","x",1],["append","y",1]]
           1 ok [["append","x",1],["append","y",1]]
           2 invoke [["r","x",null]]
           2 ok [["r","x",[1]]]"#,
    );
    let report = lists(&all);
    let cycles = names(&report)
        .into_iter()
        .filter(|name| name.starts_with('G'));
    assert_eq!(cycles.collect::<Vec<_>>(), ["G-single"]);
}

#[test]
fn a_value_twice_is_a_duplicate() {
    let all = concurrent(&[r#"[["append","x",1]]"#, r#"[["r","x",[1,1]]]"#]);
    broken(&all, &["duplicate-elements"], &["read-uncommitted"]);
}

#[test]
fn a_value_from_nowhere_is_garbage() {
    broken(
        &concurrent(&[r#"[["r","x",[7]]]"#]),
        &["garbage-read"],
        &["read-uncommitted"],
    );
}

#[test]
fn a_stale_read_breaks_real_time_only() {
    let all = history(
        r#"0 invoke [["append","x",1]]
           0 ok [["append","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[]]]
           2 invoke [["r","x",null]]
           2 ok [["r","x",[1]]]"#,
    );
    broken(&all, &["G-single-realtime"], &["strong-snapshot-isolation"]);
}

#[test]
fn forgetting_what_the_process_saw_breaks_its_session() {
    let all = history(
        r#"0 invoke [["append","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[1]]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[]]]
           0 ok [["append","x",1]]"#,
    );
    let report = lists(&all);
    assert!(names(&report).contains(&"G-single-process"), "{report:#?}");
}

#[test]
fn a_client_that_goes_on_after_an_unknown_outcome_knows_what_it_did() {
    let report = lists(&history(
        r#"0 invoke [["append","x",1]]
           0 info [["append","x",1]]
           0 invoke [["r","x",null]]
           1 invoke [["r","x",null]]
           0 ok [["r","x",[]]]
           1 ok [["r","x",[1]]]"#,
    ));
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    assert!(
        names(&report).contains(&"G-single-process"),
        "{:?}",
        names(&report)
    );
    assert_eq!(report.details["levels"]["serializable"], "holds");
}

#[test]
fn every_instance_is_counted() {
    let read = r#"[["r","x",[1]]]"#;
    let append = [r#"[["append","x",1],["append","x",2]]"#];
    let report = lists(&concurrent(&[&append[..], &[read; 20]].concat()));
    let counts = report.anomalies.iter().map(|found| found.count);
    assert_eq!(names(&report)[0], "G1b", "{:?}", names(&report));
    assert_eq!(counts.collect::<Vec<_>>()[0], 20);
}

#[test]
fn an_unknown_transaction_that_was_seen_happened_whole() {
    let all = history(
        r#"0 invoke [["append","x",1],["append","y",1]]
           0 info [["append","x",1],["append","y",1]]
           1 invoke [["r","x",null],["r","y",null]]
           1 ok [["r","x",[1]],["r","y",[]]]"#,
    );
    let report = lists(&all);
    assert!(names(&report).contains(&"G-single"), "{report:#?}");
}

#[test]
fn an_unknown_transaction_that_nobody_saw_may_not_have_happened() {
    let report = lists(&history(
        r#"0 invoke [["append","x",1]]
           0 info [["append","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[]]]"#,
    ));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
}

#[test]
fn an_append_that_no_read_saw_comes_after_all_that_were_read() {
    let all = history(
        r#"0 invoke [["append","x",1]]
           0 ok [["append","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[]]]"#,
    );
    broken(&all, &["G-single-realtime"], &["strong-snapshot-isolation"]);
}

#[test]
fn one_value_written_twice_cannot_be_told_apart() {
    let all = concurrent(&[r#"[["append","x",1]]"#, r#"[["append","x",1]]"#]);
    let report = lists(&all);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.reason.unwrap().contains("twice"));
}

#[test]
fn a_malformed_transaction_is_named_with_its_place() {
    let report = lists(&concurrent(&[r#"[["append","x",1],["push","x",2]]"#]));
    assert_eq!(report.verdict, Verdict::Unknown);
    let reason = report.reason.unwrap();
    assert!(
        reason.contains("op 1 ") && reason.contains("column"),
        "{reason}"
    );
}

#[test]
fn registers_updated_in_a_chain_are_decided() {
    let all = history(
        r#"0 invoke [["w","x",1]]
           0 ok [["w","x",1]]
           1 invoke [["r","x",null],["w","x",2]]
           1 ok [["r","x",1],["w","x",2]]
           2 invoke [["r","x",null]]
           2 ok [["r","x",2]]"#,
    );
    let report = check(&all, &Options::new(Model::RwRegister));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
}

fn registers(history: &History, level: Level, assume: Assume) -> Report {
    let mut options = Options::new(Model::RwRegister);
    options.transactions = Expect { level, assume };
    options.certify = true;
    check(history, &options)
}

#[test]
fn what_needs_no_search_is_certified_too() {
    let all = history(
        r#"0 invoke [["w","x",1]]
           0 ok [["w","x",1]]
           1 invoke [["r","x",null],["w","x",2]]
           1 ok [["r","x",1],["w","x",2]]"#,
    );
    let report = registers(&all, Level::Serializable, Assume::default());
    let certificate = &report.details["certificate"];
    assert_eq!(certificate["level"], "strict-serializable", "{report:#?}");
    assert_eq!(certificate["order"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_register_whose_versions_go_round_is_told() {
    let all = concurrent(&[
        r#"[["r","x",2],["w","x",1]]"#,
        r#"[["r","x",1],["w","x",2]]"#,
    ]);
    let report = registers(&all, Level::ReadCommitted, Assume::default());
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    let found = report.anomalies.iter();
    let circle: Vec<_> = found
        .filter(|found| found.name == "cyclic-versions")
        .collect();
    assert_eq!((circle.len(), circle[0].count), (1, 1));
    let all_round = |line: &String| line.matches("is before").count() == 2;
    assert!(circle[0].explanation.iter().any(all_round), "{report:#?}");
}

#[test]
fn keys_are_taken_for_sequential_only_when_told_so() {
    let all = history(
        r#"0 invoke [["w","x",1]]
           0 ok [["w","x",1]]
           0 invoke [["w","x",2]]
           0 ok [["w","x",2]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",2]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",1]]"#,
    );
    for sequential_keys in [false, true] {
        let assume = Assume {
            sequential_keys,
            ..Assume::default()
        };
        let report = registers(&all, Level::ReadCommitted, assume);
        let told = names(&report).contains(&"cyclic-versions");
        assert_eq!(told, sequential_keys, "{:?}", names(&report));
    }
}

#[test]
fn register_writes_in_a_circle_break_read_committed_and_nothing_weaker() {
    let all = concurrent(&[
        r#"[["w","x",1],["r","y",2],["w","y",1]]"#,
        r#"[["w","y",2],["r","x",1],["w","x",2]]"#,
    ]);
    let report = registers(&all, Level::ReadCommitted, Assume::default());
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    assert!(names(&report).contains(&"G0"), "{:?}", names(&report));
    assert_eq!(report.details["weakest_violated"][0], "read-committed");
}

#[test]
fn a_register_is_never_written_null() {
    let all = concurrent(&[r#"[["w","x",null]]"#, r#"[["r","x",null]]"#]);
    let report = check(&all, &Options::new(Model::RwRegister));
    assert_eq!(report.verdict, Verdict::Unknown);
    let reason = report.reason.unwrap();
    assert!(reason.contains("before it is written"), "{reason}");
}

#[test]
fn what_was_found_before_a_budget_ended_stands() {
    let all = history(
        r#"0 invoke [["append","x",1]]
           0 fail [["append","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",[1]]]"#,
    );
    let mut options = Options::new(Model::ListAppend);
    let with = |memory_bytes: u64| {
        options.budget.memory_bytes = memory_bytes;
        check(&all, &options)
    };
    let reports: Vec<Report> = (0..4096).step_by(64).map(with).collect();
    let cut = |report: &&Report| report.notes.iter().any(|note| note.contains("budget"));
    let invalid = |report: &&Report| report.verdict == Verdict::Invalid;
    assert!(reports.iter().filter(invalid).any(|report| cut(&report)));
    assert!(
        reports
            .iter()
            .all(|report| report.verdict != Verdict::Valid)
    );
    assert!(reports.last().is_some_and(|report| !cut(&report)));
}

#[test]
fn a_stale_read_of_a_register_breaks_real_time() {
    let all = history(
        r#"0 invoke [["w","x",1]]
           0 ok [["w","x",1]]
           1 invoke [["r","x",null]]
           1 ok [["r","x",null]]"#,
    );
    let report = check(&all, &Options::new(Model::RwRegister));
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    assert_eq!(names(&report), ["G-single-realtime"]);
}

#[test]
fn many_who_update_one_version_cost_memory_each_and_not_each_with_every_other() {
    const MANY: usize = 500;
    for (model, write, nothing) in [
        (Model::ListAppend, "append", json!([])),
        (Model::RwRegister, "w", Value::Null),
    ] {
        let ops = (0..MANY).flat_map(|value| {
            let txn = |seen: &Value| json!([["r", "x", seen], [write, "x", value]]);
            [(Type::Invoke, txn(&Value::Null)), (Type::Ok, txn(&nothing))]
                .map(|(type_, txn)| Op::new(0, type_, "txn", txn))
        });
        let report = check(&ops.collect(), &Options::new(model));
        let lost = report.anomalies.iter().find(|it| it.name == "lost-update");
        assert_eq!(lost.map(|it| it.count), Some(MANY as u64 - 1), "{model}");
        let bytes = report.figures.memory_bytes;
        assert!(bytes < MANY as u64 * 1000, "{model}: {bytes} bytes");
    }
}

#[test]
fn what_nobody_wrote_is_garbage_even_where_it_is_all_that_was_read() {
    let all = history(
        r#"0 invoke [["r","x",null]]
           0 ok [["r","x",[7,8]]]"#,
    );
    broken(&all, &["garbage-read"], &["read-uncommitted"]);
}

#[test]
fn a_write_between_any_read_of_a_key_and_its_update_is_lost() {
    let all = concurrent(&[
        r#"[["append","x",1]]"#,
        r#"[["r","x",[1]],["r","x",[]],["append","x",2]]"#,
        r#"[["r","x",[1,2]]]"#,
    ]);
    let report = lists(&all);
    assert_eq!(report.details["levels"]["cursor-stability"], "violated");
    // What it wrote itself only afterwards is no version that it updates.
    let own = concurrent(&[
        r#"[["append","x",1]]"#,
        r#"[["r","x",[2]],["append","x",2]]"#,
    ]);
    assert_eq!(lists(&own).details["levels"]["cursor-stability"], "holds");
}

#[test]
fn what_no_anomaly_shows_is_shown_by_the_few_transactions_that_no_order_explains() {
    let all = history(
        r#"2 invoke [["w","y",7]]
           2 ok [["w","y",7]]
           0 invoke [["w","x",1]]
           0 ok [["w","x",1]]
           0 invoke [["w","x",2]]
           0 ok [["w","x",2]]
           1 invoke [["r","x",null],["r","y",null]]
           1 ok [["r","x",1],["r","y",7]]"#,
    );
    let report = check(&all, &Options::new(Model::RwRegister));
    assert_eq!(report.verdict, Verdict::Invalid);
    assert!(report.anomalies.is_empty(), "{:?}", names(&report));
    let refused = &report.details["refused"];
    assert_eq!(refused["level"], "strong-snapshot-isolation");
    assert_eq!(refused["transactions"].as_array().map(Vec::len), Some(4));
    assert_eq!(refused["confirmed_by_second_engine"], true);
    let told = report.explanation.join("\n");
    assert!(told.contains("saw 1 of key \"x\""), "{told}");
    assert!(told.contains("when T4 began"), "{told}");
    let allowed = registers(&all, Level::Serializable, Assume::default());
    assert_eq!(allowed.verdict, Verdict::Valid);
    assert!(allowed.explanation.is_empty() && allowed.counterexample.is_empty());
    let mut quiet = Options::new(Model::RwRegister);
    quiet.explain = false;
    assert!(check(&all, &quiet).explanation.is_empty());
}
