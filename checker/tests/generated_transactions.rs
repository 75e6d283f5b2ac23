//! Larger histories from a simulated database: sound ones hold, planted anomalies are found.

use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::txn::generate::{Database, Plan, generate, plants};
use ordeal_checker::txn::level::Level;
use ordeal_checker::txn::{Data, Expect};
use ordeal_checker::{Model, Options, Report, Verdict, check};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

fn history(plan: &Plan) -> History {
    let mut history = History::new();
    generate(plan, |op| history.push(&op));
    history
}

fn seed() -> u64 {
    let given = std::env::var("ORDEAL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("ORDEAL_SEED={seed}");
    seed
}

fn judge(plan: &Plan, level: Level) -> Report {
    let model = if plan.data == Data::Lists {
        Model::ListAppend
    } else {
        Model::RwRegister
    };
    let mut options = Options::new(model);
    options.transactions = Expect {
        level,
        ..Expect::default()
    };
    check(&history(plan), &options)
}

#[test]
fn a_strict_serializable_database_is_found_so() {
    let plan = Plan {
        unknown: 0.05,
        failed: 0.05,
        ..Plan::new(Data::Lists, 5_000, seed())
    };
    let report = judge(&plan, Level::StrictSerializable);
    assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.reason);
    assert!(report.anomalies.is_empty());
}

#[test]
fn registers_written_blindly_are_never_blamed() {
    // The order of such writes is searched for within a bound: it may stay unknown.
    let plan = Plan::new(Data::Registers, 500, seed());
    let report = judge(&plan, Level::StrictSerializable);
    assert_ne!(report.verdict, Verdict::Invalid, "{:?}", report.reason);
    assert!(report.anomalies.is_empty());
}

#[test]
fn snapshots_are_never_blamed_for_more_than_write_skew() {
    for data in [Data::Lists, Data::Registers] {
        let database = Database::SnapshotIsolation;
        let plan = Plan {
            database,
            keys: 4,
            ..Plan::new(data, 2_000, seed())
        };
        let report = judge(&plan, Level::StrongSnapshotIsolation);
        assert_ne!(report.verdict, Verdict::Invalid, "{data:?}: {report:#?}");
        let skew_only = report
            .anomalies
            .iter()
            .all(|found| found.name.starts_with("G2-item"));
        assert!(skew_only, "{data:?}: {:?}", report.reason);
    }
}

#[test]
fn every_planted_anomaly_is_found_in_the_crowd() {
    let seed = seed();
    for data in [Data::Lists, Data::Registers] {
        for name in plants(data) {
            let plan = Plan {
                plant: Some(name),
                ..Plan::new(data, 1_000, seed)
            };
            let report = judge(&plan, Level::StrictSerializable);
            assert_eq!(report.verdict, Verdict::Invalid, "{data:?} {name}");
            let found: Vec<&str> = report
                .anomalies
                .iter()
                .map(|found| found.name.as_str())
                .collect();
            assert!(found.contains(&name), "{data:?} {name}: {found:?}");
            for anomaly in &report.anomalies {
                let of_plant = anomaly
                    .ops
                    .iter()
                    .all(|op| op.value.to_string().contains("planted"));
                assert!(of_plant, "{data:?} {name}: {anomaly:#?}");
            }
        }
    }
}

#[test]
fn what_is_planted_far_into_a_long_history_is_found() {
    // So long that each pass cuts it into parts.
    let seed = seed();
    for name in plants(Data::Lists).step_by(3) {
        let plan = Plan {
            plant: Some(name),
            ..Plan::new(Data::Lists, 40_000, seed)
        };
        let report = judge(&plan, Level::StrictSerializable);
        let found = report.anomalies.iter().any(|found| found.name == name);
        assert!(found, "{name}: {:?}", report.reason);
    }
}

#[test]
fn neither_names_nor_the_order_of_keys_change_a_verdict() {
    let seed = seed();
    for (number, name) in plants(Data::Lists).enumerate() {
        let plan = Plan {
            plant: Some(name),
            ..Plan::new(Data::Lists, 200, seed + number as u64)
        };
        let mut renamed = History::new();
        generate(&plan, |mut op| {
            // Other keys and other values, in another order of first sight.
            for step in op.value.as_array_mut().expect("a transaction") {
                step[1] = format!("key {}", step[1]).into();
                let rename = |value: &serde_json::Value| match value.as_u64() {
                    Some(number) => format!("v{}", 1_000_000 - number).into(),
                    None => value.clone(),
                };
                step[2] = match step[2].as_array() {
                    Some(list) => list.iter().map(rename).collect(),
                    None => rename(&step[2]),
                };
            }
            renamed.push(&op);
        });
        let options = Options::new(Model::ListAppend);
        let (one, other) = (check(&history(&plan), &options), check(&renamed, &options));
        assert_eq!(one.details, other.details, "{name}");
        let counts = |report: &Report| -> Vec<(String, u64)> {
            report
                .anomalies
                .iter()
                .map(|found| (found.name.clone(), found.count))
                .collect()
        };
        assert_eq!(counts(&one), counts(&other), "{name}");
    }
}

#[test]
fn a_budget_that_is_spent_gives_no_verdict() {
    let mut options = Options::new(Model::ListAppend);
    options.budget.time = std::time::Duration::ZERO;
    let report = check(&history(&Plan::new(Data::Lists, 100, 1)), &options);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.reason.unwrap().contains("time budget"));
    options.budget = ordeal_checker::Budget::default();
    options.budget.memory_bytes = 1_000;
    let report = check(&history(&Plan::new(Data::Lists, 100, 1)), &options);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.reason.unwrap().contains("memory budget"));
}

#[test]
fn the_few_transactions_shown_are_refused_by_every_order_of_them() {
    const ROUNDS: usize = 2000;
    let mut rng = StdRng::seed_from_u64(seed());
    let mut shown = 0;
    for round in 0..ROUNDS {
        let all = registers_at_random(&mut rng);
        let report = check(&all, &Options::new(Model::RwRegister));
        if report.verdict != Verdict::Invalid || !report.anomalies.is_empty() {
            continue;
        }
        shown += 1;
        let refused = &report.details["refused"];
        assert_eq!(
            refused["confirmed_by_second_engine"], true,
            "round {round}: {:#?}",
            report.explanation
        );
    }
    assert!(shown > ROUNDS / 1000, "the draw has lost its bite: {shown}");
}

/// Three clients, each with transactions one after the other; reads give what some transaction wrote before.
fn registers_at_random(rng: &mut StdRng) -> History {
    let mut ops: Vec<Op> = Vec::new();
    let mut open: [Option<Value>; 3] = [None, None, None];
    let mut written = 0;
    for _ in 0..14 {
        let process = rng.random_range(0..3);
        let keys = ["x", "y"];
        match open[process].take() {
            None => {
                let step = |rng: &mut StdRng, written: &mut u64| {
                    let key = keys[rng.random_range(0..2)];
                    if rng.random_bool(0.5) {
                        *written += 1;
                        json!(["w", key, *written * 2 + u64::from(key == "y")])
                    } else {
                        json!(["r", key, null])
                    }
                };
                let value = Value::Array((0..2).map(|_| step(rng, &mut written)).collect());
                ops.push(Op::new(process as u32, Type::Invoke, "txn", value.clone()));
                open[process] = Some(value);
            }
            Some(mut value) => {
                for step in value.as_array_mut().into_iter().flatten() {
                    if step[0] == "r" {
                        let odd = u64::from(step[1] == "y");
                        let seen = rng.random_range(0..=written);
                        let is_there = |op: &Op| {
                            let all = op.value.as_array().into_iter().flatten();
                            all.into_iter()
                                .any(|it| it[0] == "w" && it[2] == seen * 2 + odd)
                        };
                        step[2] = if ops.iter().any(is_there) {
                            json!(seen * 2 + odd)
                        } else {
                            Value::Null
                        };
                    }
                }
                let type_ = [Type::Ok, Type::Ok, Type::Ok, Type::Info][rng.random_range(0..4)];
                ops.push(Op::new(process as u32, type_, "txn", value));
            }
        }
    }
    ops.into_iter().collect()
}
