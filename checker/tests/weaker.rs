//! What a register still is when it is not linearizable.

use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::{Model, Options, Report, Verdict, check};
use serde_json::{Value, json};

/// Ops of `process type f value`, a millisecond apart.
fn report(text: &str) -> Report {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let history: History = lines
        .enumerate()
        .map(|(index, line)| {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let type_: Type = serde_json::from_value(Value::from(words[1])).expect("a type");
            let value: Value = serde_json::from_str(words[3]).expect("JSON");
            let (index, time) = (index as u64, index as u64 * 1_000_000);
            let process = words[0].parse().expect("a process");
            Op {
                index,
                time,
                ..Op::new(process, type_, words[2], value)
            }
        })
        .collect();
    let report = check(&history, &Options::new(Model::Register));
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    report
}

const TWO_WRITES: &str = "0 invoke write 1
    0 ok write 1
    0 invoke write 2
    0 ok write 2\n";

#[test]
fn a_stale_read_of_another_process_is_sequentially_consistent() {
    let report = report(&format!("{TWO_WRITES} 1 invoke read null\n 1 ok read 1"));
    assert_eq!(
        report.details["weaker"],
        json!({
            "sequential": "holds",
            "causal": "holds",
            "regular_reads": false,
            "stale_reads": 1,
            "stale_max_ms": 1,
            "versions_behind_max": 1,
        })
    );
    assert!(
        report
            .explanation
            .last()
            .unwrap()
            .contains("sequential consistency holds")
    );
}

#[test]
fn a_stale_read_of_the_writer_itself_is_not_even_causal() {
    let weaker =
        &report(&format!("{TWO_WRITES} 0 invoke read null\n 0 ok read 1")).details["weaker"];
    assert_eq!(weaker["sequential"], "violated");
    assert_eq!(weaker["causal"], "violated");
}

#[test]
fn reads_that_flicker_during_a_write_are_regular() {
    let weaker = &report(
        "0 invoke write 1
         1 invoke read null
         1 ok read 1
         2 invoke read null
         2 ok read null
         0 ok write 1",
    )
    .details["weaker"];
    assert_eq!(weaker["regular_reads"], true);
    assert_eq!(weaker["sequential"], "holds");
}

#[test]
fn two_orders_of_two_writes_are_regular_and_no_more() {
    let weaker = &report(
        "0 invoke write 1
         1 invoke write 2
         0 ok write 1
         1 ok write 2
         2 invoke read null
         2 ok read 1
         2 invoke read null
         2 ok read 2
         3 invoke read null
         3 ok read 2
         3 invoke read null
         3 ok read 1",
    )
    .details["weaker"];
    assert_eq!(weaker["sequential"], "violated");
    assert_eq!(weaker["causal"], "violated");
    assert_eq!(weaker["regular_reads"], true);
}

#[test]
fn staleness_is_told_in_time_and_in_versions() {
    let text = "0 invoke write 1\n0 ok write 1\n0 invoke write 2\n0 ok write 2\n0 invoke write 3\n\
                0 ok write 3\n1 invoke read null\n1 ok read 1";
    let weaker = &report(text).details["weaker"];
    assert_eq!(weaker["versions_behind_max"], 2);
    assert_eq!(weaker["stale_max_ms"], 3);
}

#[test]
fn a_value_from_nowhere_holds_nothing() {
    let report = report("1 invoke read null\n1 ok read 7");
    assert!(
        report
            .explanation
            .last()
            .unwrap()
            .contains("nobody had begun to write")
    );
}
