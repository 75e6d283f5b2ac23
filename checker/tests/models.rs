//! Models by name, through the face: what is legal, what is not, and what the report says of it.

use std::time::Duration;

use ordeal_checker::history::generate::{Anomaly, Object, Recipe, generate};
use ordeal_checker::history::{History, Op, Type, jsonl, text};
use ordeal_checker::{Budget, Model, Online, Options, Report, Verdict, check};
use serde_json::{Value, json};

fn told(lines: &str) -> History {
    text::read(lines.as_bytes(), false).expect("it is well-formed")
}

/// What one process did, one after the other: `f argument → answer`.
fn in_turn(calls: &str) -> History {
    let lines = calls.split(", ").map(|call| {
        let (asked, answer) = call.split_once(" → ").unwrap_or((call, ""));
        let (f, argument) = asked.split_once(' ').unwrap_or((asked, "nil"));
        let answer = if answer.is_empty() { argument } else { answer };
        format!("0 :invoke :{f} {argument}\n0 :ok :{f} {answer}\n")
    });
    told(&lines.collect::<String>())
}

fn explained(history: &History, model: Model) -> Report {
    check(history, &Options::new(model))
}

#[test]
fn each_model_by_its_name_tells_what_is_legal_from_what_is_not() {
    let table = [
        (
            "register",
            "write 1, read → 1",
            "write 1, write 2, read → 1",
        ),
        (
            "kv",
            r#"put "a", append "b", get → "ab""#,
            r#"put "a", append "b", get → "b""#,
        ),
        (
            "multi-register",
            r#"txn [["write" "x" 1]], txn [["read" "x" 1] ["read" "y" nil]]"#,
            r#"txn [["write" "x" 1]], txn [["read" "x" nil]]"#,
        ),
        (
            "set",
            "add 1, add 2, remove 1, read → [2]",
            "add 1, add 2, remove 1, read → [1 2]",
        ),
        (
            "counter",
            "add 2, add -1, read → 1",
            "add 2, add -1, read → 2",
        ),
        (
            "counter",
            "add 9223372036854775807, inc, dec 1, read → 9223372036854775807",
            "add 9223372036854775807, inc, dec 1, read → -9223372036854775808",
        ),
        (
            "queue",
            "enqueue 2, enqueue 1, dequeue → 2",
            "enqueue 2, enqueue 1, dequeue → 1",
        ),
        (
            "stack",
            "push 1, push 2, pop → 2",
            "push 1, push 2, pop → 1",
        ),
        (
            "priority-queue",
            "insert 2, insert 1, extract → 1",
            "insert 2, insert 1, extract → 2",
        ),
        // Apart, though no float tells them so.
        (
            "priority-queue",
            "insert 9007199254740993, insert 9007199254740992, extract → 9007199254740992",
            "insert 9007199254740993, insert 9007199254740992, extract → 9007199254740993",
        ),
        (
            "priority-queue",
            "insert -1, insert -1.5, insert -2, extract → -2, extract → -1.5",
            "insert -1, insert -1.5, extract → -1",
        ),
        (
            "mutex",
            "acquire 1, release 2, acquire 1",
            "acquire 1, acquire 2",
        ),
        (
            "lock",
            "acquire 1, release 1, acquire 2",
            "acquire 1, release 2",
        ),
        (
            "lease",
            "acquire → 1, renew 1, acquire → 2",
            "acquire → 1, acquire → 2, renew 1",
        ),
        ("lease", "acquire → 0, release 0", "release 0"),
        (
            "append-log",
            "append 1, append 2, read → [1 2]",
            "append 1, append 2, read → [2 1]",
        ),
    ];
    for (name, legal, illegal) in table {
        let model: Model = name.parse().expect("there is such a model");
        let report = explained(&in_turn(legal), model);
        assert_eq!(report.verdict, Verdict::Valid, "{name}: {legal}");
        let report = explained(&in_turn(illegal), model);
        assert_eq!(report.verdict, Verdict::Invalid, "{name}: {illegal}");
        assert_eq!(report.model, name);
        assert!(!report.counterexample.is_empty());
        assert_eq!(
            report.details["confirmed_by_second_engine"], true,
            "{name}: {illegal}"
        );
        for (calls, at) in [(legal, None), (illegal, Some(in_turn(illegal).len() - 1))] {
            let mut online = Online::new(&Options::new(model)).expect("it is followed");
            let told = in_turn(calls)
                .ops()
                .position(|op| online.push(&op).is_some());
            assert_eq!(told, at, "{name}: {calls}");
        }
    }
}

#[test]
fn registers_that_are_changed_together_are_one_object_whatever_their_keys() {
    let op = |type_, key: &str, value: &Value| Op {
        key: json!(key),
        ..Op::new(0, type_, "txn", value.clone())
    };
    let steps = [
        ("a", json!([["write", "x", 1]])),
        ("b", json!([["read", "x", 1]])),
    ];
    let ops = steps
        .iter()
        .flat_map(|(key, value)| [Type::Invoke, Type::Ok].map(|it| op(it, key, value)));
    let history: History = ops.collect();
    assert_eq!(
        explained(&history, Model::MultiRegister).verdict,
        Verdict::Valid
    );
}

/// Keys of a register each, of which some read what was never written.
fn keyed(bad: &[&str]) -> History {
    let of_key = |key: &&str| {
        let seen = if bad.contains(key) { 9 } else { 1 };
        let ops = [
            ("invoke", "write", 1),
            ("ok", "write", 1),
            ("invoke", "read", 0),
            ("ok", "read", seen),
        ];
        ops.map(|(type_, f, value)| {
            json!({ "process": 0, "type": type_, "f": f, "value": value, "key": key }).to_string()
        })
    };
    let lines: Vec<String> = ["a", "b", "c", "d"].iter().flat_map(of_key).collect();
    let lines = lines.join("\n");
    jsonl::read(lines.as_bytes()).expect("it is well-formed")
}

#[test]
fn the_reason_names_the_first_key_and_counts_the_others() {
    let reason = |bad: &[&str]| explained(&keyed(bad), Model::Register).reason;
    let no_order = "no order of its operations is legal";
    assert_eq!(reason(&[]), None);
    assert_eq!(reason(&["b"]), Some(format!("key \"b\": {no_order}")));
    assert_eq!(
        reason(&["b", "c", "d"]),
        Some(format!("key \"b\": {no_order}; 2 more keys likewise"))
    );
    let report = explained(&keyed(&["c"]), Model::Register);
    assert_eq!((report.figures.ops, report.figures.keys), (8, 4));
    assert_eq!(report.details["key"], "c");
    let keys: Vec<&Value> = report.keys.iter().map(|it| &it.key).collect();
    assert_eq!(keys, ["c"]);
    // Without keys there is none to name.
    let whole = in_turn("write 1, read → 2");
    assert_eq!(
        explained(&whole, Model::Register).reason.as_deref(),
        Some(no_order)
    );
}

#[test]
fn an_explanation_shows_how_far_each_order_gets_and_where_it_is_stuck() {
    let history = told(
        "1 :invoke :write 1\n 2 :invoke :write 2\n 1 :ok :write 1\n 2 :ok :write 2\n\
         3 :invoke :read nil\n 3 :ok :read 1\n 3 :invoke :read nil\n 3 :ok :read 2\n",
    );
    let report = explained(&history, Model::Register);
    let expected = json!([
        { "order": [1, 0, 4], "state": 1, "stuck": 6 },
        { "order": [0, 1], "state": 2, "stuck": 4 },
    ]);
    assert_eq!(report.details["partial_linearizations"], expected);
    let words = report.explanation.join("\n");
    for said in [
        "These 4 operations cannot be put in any legal order, whatever else happened:",
        "process 3: read → 1, from op 4 to op 5",
        "After write 2, then write 1, then read → 1 it holds 1: but \"read → 2\" (op 6) returned",
        "A second, independent engine finds the same.",
    ] {
        assert!(words.contains(said), "{words}");
    }
    // Of a long answer the ends are told.
    let seen: Vec<String> = (1..=20).map(|it| it.to_string()).collect();
    let set = in_turn(&format!("add 1, read → [{}]", seen.join(" ")));
    let words = explained(&set, Model::Set).explanation.join("\n");
    assert!(
        words.contains("[1,2,3,4,… 12 more …,17,18,19,20]"),
        "{words}"
    );
}

#[test]
fn an_explanation_says_why_what_it_names_cannot_be() {
    let counter = "1 :invoke :add 5\n0 :invoke :read nil\n0 :ok :read 5\n\
                   0 :invoke :read nil\n0 :ok :read 3\n";
    let table = [
        (
            Model::Counter,
            told(counter),
            "Why: by then at least 5 had been reached.",
        ),
        (
            Model::Set,
            in_turn("add 1, read → [1 1]"),
            "Why: it has 1 twice.",
        ),
        (
            Model::Set,
            in_turn("add 1, read → [1 1]"),
            "They are about 1 only.",
        ),
        (
            Model::Set,
            in_turn("add 1, read → [1 2]"),
            "Why: nobody ever added 2.",
        ),
        (
            Model::AppendLog,
            in_turn("append 1 → {:offset 0}, append 2 → {:offset 0}"),
            "Why: both were told the same offset.",
        ),
        (
            Model::Kv,
            in_turn(r#"put "a", append "b", get → "ac""#),
            "Why: no texts that were put and appended make up what it saw.",
        ),
    ];
    for (model, history, why) in table {
        let words = explained(&history, model).explanation;
        assert!(
            words.iter().any(|it| it == why),
            "{model}, {why}: {words:#?}"
        );
    }
}

/// The same with the revisions that the order of its proof gives, and the order that they tell.
fn with_revisions(history: &History, order: &[u64]) -> (History, Vec<u64>) {
    let mut ops: Vec<Op> = history.ops().collect();
    let mut revision = 1;
    let mut told = Vec::new();
    for &at in order {
        let at = at as usize;
        revision += u64::from(ops[at].f != "read");
        let process = ops[at].process;
        let end = ops[at + 1..].iter_mut().find(|it| it.process == process);
        if let Some(end) = end.filter(|it| it.type_ == Type::Ok) {
            end.revision = Some(revision);
            told.push((revision, ops[at].f == "read", at as u64));
        }
    }
    told.sort_unstable();
    (
        ops.into_iter().collect(),
        told.into_iter().map(|(.., at)| at).collect(),
    )
}

#[test]
fn the_order_that_revisions_tell_is_taken_where_it_is_one_and_never_changes_a_verdict() {
    let options = Options {
        certify: true,
        explain: false,
        ..Options::new(Model::Register)
    };
    let order = |report: &Report| -> Vec<u64> {
        serde_json::from_value(report.details["certificate"][0]["linearization"].clone())
            .unwrap_or_default()
    };
    let mut differ = 0;
    for seed in 0..200 {
        let anomaly = (seed % 4 == 3).then_some(Anomaly::StaleRead);
        let recipe = Recipe {
            operations: 40,
            clients: 6,
            values: Some(3),
            seed,
            anomaly,
            object: Object::Register,
            ..Recipe::default()
        };
        let history = generate(&recipe);
        let report = check(&history, &options);
        if report.verdict == Verdict::Valid {
            let found = order(&report);
            let (with, told) = with_revisions(&history, &found);
            assert_eq!(order(&check(&with, &options)), told, "seed {seed}");
            differ += u64::from(found != told);
        }
        // Revisions that lie.
        let lies = history.ops().map(|op| Op {
            revision: (op.type_ == Type::Ok).then_some(op.index * 7 % 13),
            ..op
        });
        let lies: History = lies.collect();
        assert_eq!(
            check(&lies, &options).verdict,
            report.verdict,
            "seed {seed}"
        );
    }
    assert!(
        differ > 20,
        "the search finds what the revisions tell: {differ}"
    );
}

#[test]
fn who_goes_on_from_a_sum_of_a_counter_leaves_others_no_room_unless_something_is_taken_away() {
    let report = |before: &str, one: &str, other: &str| {
        let [(one, sum), (other, other_sum)] =
            [one, other].map(|it| it.split_once(" → ").expect("it was answered"));
        let invoked = format!("{before}0 :invoke :{one}\n1 :invoke :{other}\n");
        let [one, other] = [one, other].map(|it| it.split(' ').next().unwrap_or(it));
        let answered = format!("0 :ok :{one} {sum}\n1 :ok :{other} {other_sum}\n");
        explained(&told(&(invoked + &answered)), Model::Counter)
    };
    let (two, four) = ("add-and-get 2 → 2", "add-and-get 2 → 4");
    let others = "2 :invoke :add 1\n3 :invoke :add 3\n4 :invoke :add 2\n";
    for (one, other, why) in [
        (two, two, "one went from 0 to 2, the other went from 0 to 2"),
        (
            four,
            "add-and-get 1 → 4",
            "one went from 2 to 4, the other went from 3 to 4",
        ),
        (
            four,
            "add-and-get 3 → 6",
            "one went from 2 to 4, the other went from 3 to 6",
        ),
        (
            four,
            "read nil → 3",
            "one went from 2 to 4, the other saw 3",
        ),
        (
            four,
            "add-and-get 0 → 3",
            "one went from 2 to 4, the other saw 3",
        ),
    ] {
        let report = report(others, one, other);
        assert_eq!(report.verdict, Verdict::Invalid, "{one}, {other}");
        assert_eq!(report.counterexample.len(), 4, "{:?}", report.explanation);
        let why = format!("Why: {why}, and nothing was taken away.");
        assert!(
            report.explanation.contains(&why),
            "{:?}",
            report.explanation
        );
    }
    for (before, one, other) in [
        ("", two, "add-and-get 0 → 2"),
        ("", two, four),
        ("2 :invoke :dec 2\n", two, two),
        (
            "2 :invoke :add 1\n2 :ok :add 1\n",
            "add-and-get 2 → 3",
            "read nil → 1",
        ),
    ] {
        let report = report(before, one, other);
        assert_eq!(report.verdict, Verdict::Valid, "{before}{one}, {other}");
    }
}

#[test]
fn a_budget_that_ends_before_the_search_begins_is_named() {
    let recipe = Recipe {
        operations: 3000,
        object: Object::Queue,
        ..Recipe::default()
    };
    let history = generate(&recipe);
    let reason = |model, budget| {
        let report = check(
            &history,
            &Options {
                budget,
                ..Options::new(model)
            },
        );
        assert_eq!(report.verdict, Verdict::Unknown);
        report.reason.unwrap_or_default()
    };
    let (time, memory_bytes) = (Duration::from_secs(60), 1 << 30);
    let none = reason(
        Model::Queue,
        Budget {
            time: Duration::ZERO,
            memory_bytes,
        },
    );
    assert!(
        none.contains("time budget ended before the operations were decoded"),
        "{none}"
    );
    let little = reason(
        Model::Queue,
        Budget {
            time,
            memory_bytes: 1 << 12,
        },
    );
    assert!(
        little.contains("memory budget ended before the operations were decoded"),
        "{little}"
    );
    let misfit = reason(Model::Counter, Budget { time, memory_bytes });
    assert!(
        misfit.contains("does not fit the model: op 0 (row 0) is"),
        "{misfit}"
    );
}

#[test]
fn what_a_model_cannot_begin_with_is_refused_rather_than_passed_over() {
    let history = in_turn("read → 5");
    let of = |model, initial| {
        let mut options = Options::new(model);
        options.initial = initial;
        let report = check(&history, &options);
        (report.verdict, report.reason.unwrap_or_default())
    };
    assert_eq!(of(Model::Register, json!(5)).0, Verdict::Valid);
    assert_eq!(of(Model::Counter, json!(5)).0, Verdict::Valid);
    for (model, initial, expected) in [
        (Model::Queue, json!([5]), "takes no initial value"),
        (Model::Set, json!([5]), "takes no initial value"),
        (Model::Counter, json!("x"), "a whole number"),
    ] {
        let (verdict, reason) = of(model, initial);
        assert_eq!(verdict, Verdict::Unknown, "{model}");
        assert!(reason.contains(expected), "{model}: {reason}");
    }
}
