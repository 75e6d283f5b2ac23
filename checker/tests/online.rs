//! The online engine says what the check of the whole says, and says it with the op that decides.

use ordeal_checker::history::generate::{Anomaly, Object, Recipe, generate};
use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::{Model, Online, Options, Verdict, check};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

fn seed() -> u64 {
    let given = std::env::var("ORDEAL_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(11);
    println!("ORDEAL_SEED={seed}");
    seed
}

fn rounds(usual: usize) -> usize {
    let given = std::env::var("ORDEAL_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

const MODELS: [(Object, Model); 9] = [
    (Object::Register, Model::Register),
    (Object::Kv, Model::Kv),
    (Object::Queue, Model::Queue),
    (Object::Stack, Model::Stack),
    (Object::PriorityQueue, Model::PriorityQueue),
    (Object::Set, Model::Set),
    (Object::Counter, Model::Counter),
    (Object::AppendLog, Model::AppendLog),
    (Object::Mutex, Model::Mutex),
];

fn options(model: Model) -> Options {
    Options {
        explain: false,
        threads: None,
        ..Options::new(model)
    }
}

/// Breaks a history in some way, or in none.
fn mutate(rng: &mut StdRng, ops: &mut Vec<Op>) {
    let answers: Vec<usize> = (0..ops.len())
        .filter(|&at| ops[at].type_ == Type::Ok)
        .collect();
    if answers.is_empty() {
        return;
    }
    let mut draw = || answers[rng.random_range(0..answers.len())];
    let (one, other) = (draw(), draw());
    match rng.random_range(0..6) {
        0 | 1 => {
            let same = answers
                .iter()
                .filter(|&&at| ops[at].f == ops[one].f)
                .copied();
            let from = same.max_by_key(|&at| at ^ other).unwrap_or(one);
            ops[one].value = ops[from].value.clone();
        }
        2 if ops[one].value.is_array() => ops[one].value = json!([77]),
        2 => ops[one].value = json!(77),
        3 => ops[one].type_ = Type::Fail,
        4 => {
            // It never completes; its process is retired.
            let process = ops[one].process;
            let mut at = 0;
            ops.retain(|op| {
                at += 1;
                at <= one || op.process != process
            });
        }
        _ => {}
    }
}

/// Number of ops of the least prefix that the whole check finds invalid.
fn first_invalid(ops: &[Op], options: &Options) -> Option<usize> {
    let invalid = |len: usize| {
        let history: History = ops[..len].iter().cloned().collect();
        let report = check(&history, options);
        assert_ne!(report.verdict, Verdict::Unknown, "{:?}", report.reason);
        report.verdict == Verdict::Invalid
    };
    if !invalid(ops.len()) {
        return None;
    }
    let (mut valid, mut found) = (0, ops.len());
    while found - valid > 1 {
        let middle = usize::midpoint(valid, found);
        if invalid(middle) {
            found = middle;
        } else {
            valid = middle;
        }
    }
    Some(found)
}

#[test]
fn a_violation_is_told_with_the_op_that_completes_it() {
    let mut rng = StdRng::seed_from_u64(seed());
    for (object, model) in MODELS {
        let options = options(model);
        let (mut invalid, mut doubted) = (0, 0);
        for round in 0..rounds(600) {
            let recipe = Recipe {
                object,
                operations: rng.random_range(3..14),
                clients: rng.random_range(1..6),
                unknown: [0.0, 0.1, 0.3][round % 3],
                values: [None, Some(3), Some(2)][round % 7 % 3],
                cas: if round % 2 == 0 { 0.3 } else { 0.0 },
                seed: rng.random(),
                ..Recipe::default()
            };
            let mut ops: Vec<Op> = generate(&recipe).ops().collect();
            mutate(&mut rng, &mut ops);
            let expected = first_invalid(&ops, &options);
            let mut online = Online::new(&options).unwrap();
            let mut in_doubt = false;
            let told = ops.iter().position(|op| {
                let told = online.push(op).is_some();
                in_doubt |= !online.unfollowed().is_empty();
                told
            });
            let told = told.map(|at| at + 1);
            if in_doubt {
                // Late or silent, and it says so; never a false alarm.
                assert!(told.is_none() || expected.is_some_and(|it| told >= Some(it)));
                doubted += 1;
                continue;
            }
            assert_eq!(told, expected, "{model}: {ops:#?}");
            invalid += usize::from(expected.is_some());
        }
        println!("{model}: {invalid} invalid, {doubted} in doubt");
        assert!(doubted * 20 < rounds(600), "too much is left in doubt");
        assert!(invalid * 40 > rounds(600), "the draw has lost its bite");
    }
}

#[test]
fn long_runs_are_followed_with_little_kept() {
    for (anomaly, valid) in [(None, true), (Some(Anomaly::StaleRead), false)] {
        for (keys, clients, values) in [(1, 6, None), (20, 20, None), (1, 6, Some(4))] {
            if values.is_some() && !valid {
                continue;
            }
            let recipe = Recipe {
                operations: 20_000,
                keys,
                clients,
                values,
                unknown: 0.002,
                cas: 0.1,
                anomaly,
                seed: seed(),
                ..Recipe::default()
            };
            let ops: Vec<Op> = generate(&recipe).ops().collect();
            let mut online = Online::new(&options(Model::Register)).unwrap();
            let mut most = 0;
            let mut told = None;
            for op in &ops {
                told = told.or(online.push(op));
                most = most.max(online.held());
            }
            told = told.or(online.catch_up());
            assert_eq!(online.unfollowed(), []);
            assert_eq!(told.is_none(), valid, "{keys} keys: {told:?}");
            println!("{keys} keys, {clients} clients: {most} operations kept at most");
            assert!(most < 400, "{most} operations were kept");
        }
    }
}

#[test]
fn writes_of_unknown_outcome_may_take_effect_as_late_as_they_are_seen() {
    let crash =
        |process, value| [Type::Invoke, Type::Info].map(|it| Op::new(process, it, "write", value));
    let write =
        |process, value| [Type::Invoke, Type::Ok].map(|it| Op::new(process, it, "write", value));
    let asks = |process| Op::new(process, Type::Invoke, "read", ());
    let sees = |process, value| Op::new(process, Type::Ok, "read", value);
    // Two that were seen while one read was open, the first one by that read.
    let both = [crash(0, 1), crash(1, 2)].concat();
    let both = [
        both,
        vec![
            asks(2),
            asks(3),
            sees(3, 2),
            sees(2, 1),
            asks(2),
            sees(2, 2),
        ],
    ];
    // Of two of the same value one was seen before the cut, the other one after.
    let same = [crash(0, 1), crash(1, 1)].concat();
    let same = [
        same,
        vec![asks(2), sees(2, 1)],
        write(2, 2).to_vec(),
        vec![asks(3), asks(2), sees(2, 1)],
    ];
    for (ops, used_up) in [(both.concat(), 2), (same.concat(), 1)] {
        let mut online = Online::new(&options(Model::Register)).unwrap();
        assert!(ops.iter().all(|op| online.push(op).is_none()), "{ops:#?}");
        assert_eq!(online.unfollowed(), []);
        let more = [write(4, 5).to_vec(), vec![asks(4), sees(4, used_up)]];
        let told = more
            .concat()
            .iter()
            .position(|op| online.push(op).is_some());
        assert_eq!(told, Some(3), "{ops:#?}");
    }
}

#[test]
fn what_was_put_off_is_judged_when_it_is_asked_for() {
    for seen in [600, 7] {
        let mut online = Online::new(&options(Model::Register)).unwrap();
        // One client hangs, so that the cut stays; more returns than are judged at once.
        let mut told = online.push(&Op::new(0, Type::Invoke, "write", 0));
        let mut push = |f, asked, answer| {
            for (type_, value) in [(Type::Invoke, asked), (Type::Ok, answer)] {
                told = told.take().or(online.push(&Op::new(1, type_, f, value)));
            }
        };
        (1..=600).for_each(|value| push("write", json!(value), json!(value)));
        push("read", json!(null), json!(seen));
        assert_eq!(told, None);
        assert_eq!(online.held(), 602);
        assert_eq!(online.catch_up().is_some(), seen == 7);
        // It is told once, and the key is let go.
        assert_eq!(online.catch_up(), None);
        assert_eq!(online.held(), if seen == 7 { 0 } else { 602 });
        assert_eq!(online.unfollowed(), []);
    }
}

#[test]
fn a_doubt_ends_when_the_next_answers_can_be_judged_and_what_was_kept_for_it_is_let_go() {
    const ADDS: u32 = 18;
    let mut online = Online::new(&options(Model::Counter)).unwrap();
    let by = |process: u32| 1_i64 << process;
    for process in 0..ADDS {
        online.push(&Op::new(process, Type::Invoke, "add-and-get", by(process)));
    }
    // Which of them make up what is seen takes too long to find out, until they answer.
    let (seen, unseen): (Vec<u32>, Vec<u32>) = (0..ADDS).partition(|it| it % 3 == 1);
    let read = |online: &mut Online, sum| {
        online.push(&Op::new(ADDS, Type::Invoke, "read", ()));
        online.push(&Op::new(ADDS, Type::Ok, "read", sum))
    };
    let made: i64 = seen.iter().copied().map(by).sum();
    assert_eq!(read(&mut online, made), None);
    assert_eq!(online.unfollowed().len(), 1);
    assert_eq!(online.held(), ADDS as usize + 1);
    let mut sum = 0;
    for process in seen.into_iter().chain(unseen) {
        sum += by(process);
        let told = Op::new(process, Type::Ok, "add-and-get", sum);
        assert_eq!(online.push(&told), None);
    }
    assert_eq!(online.unfollowed(), []);
    assert_eq!(online.held(), 0);
    assert!(read(&mut online, sum - 1).is_some());
}

#[test]
fn a_key_that_cannot_be_followed_is_named_and_is_no_violation() {
    let mut online = Online::new(&options(Model::Register)).unwrap();
    // One client hangs, and others go on.
    let mut push = |op: Op| assert_eq!(online.push(&op), None);
    push(Op::new(0, Type::Invoke, "write", 0));
    for value in 1..6000 {
        push(Op::new(1, Type::Invoke, "write", value));
        push(Op::new(1, Type::Ok, "write", value));
    }
    let left = online.unfollowed();
    assert_eq!(left.len(), 1);
    assert!(left[0].reason.as_ref().unwrap().contains("open for long"));
    let mut online = Online::new(&options(Model::Register)).unwrap();
    assert_eq!(online.push(&Op::new(3, Type::Ok, "read", 1)), None);
    let left = online.unfollowed();
    assert!(left[0].reason.as_ref().unwrap().contains("malformed"));
}
