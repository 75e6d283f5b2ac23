//! The one-pass checks: what each accepts, and what it finds.

use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::{Bank, Model, Options, Report, Verdict, check};
use serde_json::Value;

/// Reads lines of `process type f value`; a line is a millisecond.
fn history(text: &str) -> History {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(index, line)| {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().expect("process, type, f and value");
            let process = word().parse().expect("a process number");
            let type_: Type = serde_json::from_value(Value::from(word())).expect("a type");
            let f = word();
            let told = word();
            let (value, error) = match told.strip_prefix('!') {
                Some(error) => (Value::Null, Some(error.to_owned())),
                None => (serde_json::from_str(told).expect("JSON"), None),
            };
            let (index, time) = (index as u64, index as u64 * 1_000_000);
            Op {
                index,
                time,
                error,
                ..Op::new(process, type_, f, value)
            }
        })
        .collect()
}

fn run(model: Model, text: &str) -> Report {
    check(&history(text), &Options::new(model))
}

#[track_caller]
fn valid(model: Model, text: &str) -> Report {
    let report = run(model, text);
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    report
}

#[track_caller]
fn invalid(model: Model, anomaly: &str, text: &str) -> Report {
    let report = run(model, text);
    assert_eq!(report.verdict, Verdict::Invalid, "{report:#?}");
    assert_eq!(report.anomalies[0].name, anomaly, "{report:#?}");
    let reason = report.reason.as_deref().unwrap();
    assert!(
        !reason.contains("null") && !reason.contains("this must not be"),
        "{reason}"
    );
    report
}

#[track_caller]
fn unknown(model: Model, reason: &str, text: &str) {
    let report = run(model, text);
    assert_eq!(report.verdict, Verdict::Unknown, "{report:#?}");
    assert!(
        report.reason.as_deref().unwrap().contains(reason),
        "{report:#?}"
    );
}

const TWO_ADDED: &str = "0 invoke add 1\n0 ok add 1\n0 invoke add 2\n0 ok add 2\n";

#[test]
fn a_set_whose_last_read_has_all_is_valid() {
    valid(
        Model::SetFull,
        &format!("{TWO_ADDED}1 invoke read null\n1 ok read [2,1]"),
    );
}

#[test]
fn an_element_that_the_last_read_misses_is_lost() {
    let text = format!("{TWO_ADDED}1 invoke read null\n1 ok read [2]");
    let report = invalid(Model::SetFull, "lost", &text);
    assert_eq!(report.anomalies[0].details["after_ms"], 3);
}

#[test]
fn an_element_that_comes_back_was_stale_only() {
    let text = format!(
        "{TWO_ADDED}1 invoke read null\n1 ok read [2]\n1 invoke read null\n1 ok read [1,2]"
    );
    let report = valid(Model::SetFull, &text);
    assert_eq!(report.anomalies[0].name, "stale");
}

#[test]
fn an_element_seen_and_gone_is_lost_though_its_add_is_unknown() {
    invalid(
        Model::SetFull,
        "lost",
        "0 invoke add 1\n0 info add 1\n1 invoke read null\n1 ok read [1]\n1 invoke read null\n1 ok read []",
    );
}

#[test]
fn an_unknown_add_owes_nothing() {
    valid(
        Model::SetFull,
        "0 invoke add 1\n0 info add 1\n1 invoke read null\n1 ok read []",
    );
}

#[test]
fn an_element_that_nobody_added_is_unexpected() {
    invalid(
        Model::SetFull,
        "unexpected",
        "1 invoke read null\n1 ok read [9]",
    );
    invalid(
        Model::SetFull,
        "unexpected",
        "0 invoke add 9\n0 fail add 9\n1 invoke read null\n1 ok read [9]",
    );
}

#[test]
fn an_element_twice_in_a_read_is_duplicated() {
    invalid(
        Model::SetFull,
        "duplicated",
        "0 invoke add 1\n0 ok add 1\n1 invoke read null\n1 ok read [1,1]",
    );
}

#[test]
fn elements_after_the_last_read_prove_nothing() {
    unknown(
        Model::SetFull,
        "never looked for",
        "0 invoke add 1\n0 ok add 1",
    );
}

#[test]
fn a_read_that_overlaps_the_add_may_miss_it() {
    valid(
        Model::SetFull,
        "0 invoke add 1\n1 invoke read null\n0 ok add 1\n1 ok read []\n2 invoke read null\n2 ok read [1]",
    );
}

#[test]
fn a_queue_that_gives_back_everything_is_valid() {
    valid(
        Model::TotalQueue,
        "0 invoke enqueue 1\n0 ok enqueue 1\n0 invoke enqueue 2\n0 ok enqueue 2\n\
         1 invoke dequeue null\n1 ok dequeue 2\n1 invoke drain null\n1 ok drain [1]",
    );
}

#[test]
fn an_item_that_never_comes_out_is_lost() {
    invalid(
        Model::TotalQueue,
        "lost",
        "0 invoke enqueue 1\n0 ok enqueue 1\n1 invoke dequeue null\n1 fail dequeue !empty",
    );
}

#[test]
fn of_an_item_that_was_put_in_twice_it_is_told_how_often_it_came_out() {
    let report = invalid(
        Model::TotalQueue,
        "lost",
        "0 invoke enqueue 1\n0 ok enqueue 1\n0 invoke enqueue 1\n0 ok enqueue 1\n\
         1 invoke dequeue null\n1 ok dequeue 1\n1 invoke dequeue null\n1 fail dequeue !empty",
    );
    let reason = report.reason.unwrap_or_default();
    assert!(reason.contains("2 times and came out 1"), "{reason}");
}

#[test]
fn an_item_may_have_gone_with_a_dequeue_of_unknown_outcome() {
    valid(
        Model::TotalQueue,
        "0 invoke enqueue 1\n0 ok enqueue 1\n1 invoke dequeue null\n1 info dequeue null\n\
         2 invoke drain null\n2 ok drain []",
    );
}

#[test]
fn items_of_a_queue_that_was_not_emptied_may_be_in_it() {
    unknown(
        Model::TotalQueue,
        "not seen empty",
        "0 invoke enqueue 1\n0 ok enqueue 1",
    );
}

#[test]
fn an_item_that_comes_out_twice_is_duplicated() {
    invalid(
        Model::TotalQueue,
        "duplicated",
        "0 invoke enqueue 1\n0 ok enqueue 1\n1 invoke dequeue null\n1 ok dequeue 1\n\
         1 invoke dequeue null\n1 ok dequeue 1",
    );
}

#[test]
fn an_item_that_failed_to_go_in_is_unexpected() {
    invalid(
        Model::TotalQueue,
        "unexpected",
        "0 invoke enqueue 1\n0 fail enqueue 1\n1 invoke dequeue null\n1 ok dequeue 1",
    );
}

#[test]
fn a_counter_read_must_lie_within_its_bounds() {
    let adds = "0 invoke add 5\n0 ok add 5\n0 invoke add 3\n0 info add 3\n1 invoke read null\n";
    for fine in [5, 8] {
        valid(Model::CounterBounds, &format!("{adds}1 ok read {fine}"));
    }
    for wrong in [4, 9] {
        invalid(
            Model::CounterBounds,
            "out-of-bounds",
            &format!("{adds}1 ok read {wrong}"),
        );
    }
}

#[test]
fn a_counter_may_have_gone_down_by_what_is_not_sure() {
    let adds = "0 invoke add 5\n0 ok add 5\n1 invoke read null\n2 invoke add -2\n";
    for fine in [3, 5] {
        valid(
            Model::CounterBounds,
            &format!("{adds}1 ok read {fine}\n2 ok add -2"),
        );
    }
    let failed = format!("{adds}1 ok read 3\n2 fail add -2");
    invalid(Model::CounterBounds, "out-of-bounds", &failed);
}

#[test]
fn a_counter_goes_by_all_that_adds_however_far() {
    let max = i64::MAX;
    let calls = [
        format!("add {max}"),
        "inc null".to_owned(),
        "add-and-get 2".to_owned(),
        "dec 3".to_owned(),
    ];
    let calls = calls
        .map(|it| format!("0 invoke {it}\n0 ok {it}\n"))
        .concat();
    let read = |value: i64| format!("{calls}0 invoke read null\n0 ok read {value}");
    valid(Model::CounterBounds, &read(max));
    invalid(Model::CounterBounds, "out-of-bounds", &read(max - 1));
}

#[test]
fn an_id_given_twice_is_duplicated() {
    let once = "0 invoke generate null\n0 ok generate \"a\"\n1 invoke generate null\n";
    valid(Model::UniqueIds, &format!("{once}1 ok generate \"b\""));
    invalid(
        Model::UniqueIds,
        "duplicated",
        &format!("{once}1 ok generate \"a\""),
    );
}

#[test]
fn balances_keep_their_sum() {
    let first = "0 invoke read null\n0 ok read {\"a\":5,\"b\":5}\n1 invoke read null\n";
    let overdrawn = format!("{first}1 ok read {{\"a\":-1,\"b\":11}}");
    valid(
        Model::Bank,
        &format!("{first}1 ok read {{\"a\":3,\"b\":7}}"),
    );
    valid(Model::Bank, &overdrawn);
    invalid(
        Model::Bank,
        "wrong-total",
        &format!("{first}1 ok read {{\"a\":3,\"b\":6}}"),
    );
    let judge = |bank: Bank| {
        let report = check(
            &history(&overdrawn),
            &Options {
                bank,
                ..Options::new(Model::Bank)
            },
        );
        report.anomalies.first().map(|found| found.name.clone())
    };
    let no_overdraft = Bank {
        no_overdraft: true,
        ..Bank::default()
    };
    assert_eq!(judge(no_overdraft).as_deref(), Some("negative-balance"));
    let total = Bank {
        total: Some(11),
        ..Bank::default()
    };
    assert_eq!(judge(total).as_deref(), Some("wrong-total"));
}

#[test]
fn two_writes_seen_in_opposite_orders_are_a_long_fork() {
    let one =
        "0 invoke txn [[\"r\",1,null],[\"r\",2,null]]\n0 ok txn [[\"r\",1,1],[\"r\",2,null]]\n";
    let other = "1 invoke txn [[\"r\",2,null],[\"r\",1,null]]\n";
    valid(
        Model::LongFork,
        &format!("{one}{other}1 ok txn [[\"r\",2,1],[\"r\",1,1]]"),
    );
    invalid(
        Model::LongFork,
        "long-fork",
        &format!("{one}{other}1 ok txn [[\"r\",2,1],[\"r\",1,null]]"),
    );
}

#[test]
fn a_process_never_goes_back() {
    let two = "0 invoke read null\n0 ok read 2\n";
    valid(
        Model::Monotonic,
        &format!("{two}1 invoke read null\n1 ok read 1"),
    );
    invalid(
        Model::Monotonic,
        "non-monotonic-read",
        &format!("{two}0 invoke read null\n0 ok read 1"),
    );
    invalid(
        Model::Monotonic,
        "non-monotonic-write",
        &format!("{two}0 invoke inc null\n0 ok inc 2"),
    );
    invalid(
        Model::Monotonic,
        "own-write-unread",
        "0 invoke write 5\n0 ok write 5\n0 invoke read null\n0 ok read 4",
    );
}

#[test]
fn a_lock_has_one_holder() {
    let held = "0 invoke acquire null\n0 ok acquire 1\n";
    let again = "1 invoke acquire null\n1 ok acquire 2\n";
    valid(
        Model::FencedLock,
        &format!("{held}0 invoke release 1\n0 info release 1\n{again}"),
    );
    invalid(Model::FencedLock, "held-twice", &format!("{held}{again}"));
}

#[test]
fn a_lease_ends_with_its_time() {
    let lease = "0 invoke acquire {\"ttl_ms\":3}\n0 ok acquire {\"token\":1}\n";
    let again = "1 invoke acquire {\"ttl_ms\":3}\n1 ok acquire {\"token\":2}\n";
    invalid(
        Model::FencedLock,
        "held-twice",
        &format!("{lease}{again}").replace('3', "4"),
    );
    valid(Model::FencedLock, &format!("{lease}{again}"));
    let renewed = "0 invoke renew {\"token\":1,\"ttl_ms\":9}\n0 ok renew null\n";
    invalid(
        Model::FencedLock,
        "held-twice",
        &format!("{lease}{renewed}{again}"),
    );
}

#[test]
fn fencing_tokens_grow() {
    let first = "0 invoke acquire null\n0 ok acquire 5\n0 invoke release 5\n0 ok release 5\n";
    let text = format!("{first}1 invoke acquire null\n1 ok acquire 4");
    invalid(Model::FencedLock, "token-order", &text);
    let text = "0 invoke write {\"token\":5}\n0 ok write null\n1 invoke write {\"token\":4}\n1 ok write null";
    invalid(Model::FencedLock, "fence-broken", text);
    valid(Model::FencedLock, &text.replace("1 ok", "1 fail"));
}

const TWO_SENT: &str = "0 invoke send \"a\"\n0 ok send 0\n0 invoke send \"b\"\n0 ok send [1,\"b\"]\n1 invoke poll null\n";

#[test]
fn a_log_that_delivers_what_was_sent_is_valid() {
    valid(
        Model::Log,
        &format!("{TWO_SENT}1 ok poll [[0,\"a\"],[1,\"b\"]]"),
    );
}

#[test]
fn what_is_wrong_with_a_log_is_named() {
    for (anomaly, polled) in [
        ("lost", "[[1,\"b\"]]"),
        ("duplicate", "[[0,\"a\"],[1,\"b\"],[2,\"a\"]]"),
        ("garbage-read", "[[0,\"a\"],[1,\"b\"],[2,\"z\"]]"),
        (
            "inconsistent-offset",
            "[[0,\"a\"],[1,\"b\"],[1,\"b\"],[1,\"a\"]]",
        ),
        ("poll-order", "[[1,\"b\"],[0,\"a\"]]"),
    ] {
        let report = run(Model::Log, &format!("{TWO_SENT}1 ok poll {polled}"));
        assert_eq!(report.verdict, Verdict::Invalid);
        assert!(
            report.anomalies.iter().any(|found| found.name == anomaly),
            "{anomaly}: {report:#?}"
        );
    }
    invalid(
        Model::Log,
        "aborted-read",
        "0 invoke send 1\n0 fail send 1\n1 invoke poll null\n1 ok poll [[0,1]]",
    );
    invalid(
        Model::Log,
        "order",
        "0 invoke send 1\n0 ok send 1\n0 invoke send 2\n0 ok send 0\n1 invoke poll null\n1 ok poll [[0,2],[1,1]]",
    );
    unknown(Model::Log, "never looked for", TWO_SENT);
}

#[test]
fn an_operation_that_never_succeeded_is_named() {
    let report = invalid(
        Model::Stats,
        "never-ok",
        "0 invoke a 1\n0 ok a 1\n0 invoke b 1\n0 fail b 1",
    );
    assert_eq!(report.details["a"]["ok"], 1);
    valid(Model::Stats, "0 invoke a 1\n0 ok a 1");
}

#[test]
fn sums_beyond_64_bits_with_a_sign_are_sums_all_the_same() {
    let adds = "0 invoke add 9223372036854775807\n0 ok add null\n\
                0 invoke add 9223372036854775807\n0 ok add null\n1 invoke read null\n";
    let read = |sum: &str| format!("{adds}1 ok read {sum}");
    valid(Model::CounterBounds, &read("18446744073709551614"));
    let wrong = read("18446744073709551613");
    invalid(Model::CounterBounds, "out-of-bounds", &wrong);
}

#[test]
fn balances_that_are_no_whole_numbers_are_not_judged() {
    let read = "0 invoke read null\n0 ok read {\"a\":0.5,\"b\":9.5}";
    unknown(Model::Bank, "whole balances", read);
}
