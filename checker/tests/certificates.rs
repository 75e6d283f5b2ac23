//! Proofs stand by themselves: who knows nothing of the engines can follow them.

use std::collections::{BTreeSet, HashMap};

use ordeal_checker::history::generate::{Anomaly, Object, Recipe, generate};
use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::{Model, Options, Report, Verdict, check};
use serde_json::{Value, json};

const OBJECTS: [(Object, Model); 9] = [
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

/// One key or three, with and without unknown outcomes.
fn small(object: Object, seed: u64) -> Recipe {
    Recipe {
        object,
        operations: 120,
        clients: 4,
        keys: [1, 3][seed as usize % 2],
        unknown: [0.0, 0.05][seed as usize / 2 % 2],
        seed,
        ..Recipe::default()
    }
}

fn certified(history: &History, model: Model) -> Report {
    let mut options = Options::new(model);
    options.certify = true;
    check(history, &options)
}

/// What an object does, one operation at a time, on what it holds; whether it may answer so.
fn takes(object: Object, held: &mut Vec<Value>, call: &Op, ok: Option<&Value>) -> bool {
    let says = |expected: &Value| ok.is_none_or(|answer| answer == expected);
    let argument = &call.value;
    let last = held.last().cloned().unwrap_or_default();
    match (object, call.f.as_str()) {
        (Object::Set | Object::AppendLog, "read") => {
            let mut shown = ok.cloned().unwrap_or_else(|| json!(held));
            if let (Object::Set, Value::Array(members)) = (object, &mut shown) {
                members.sort_by_key(|it| held.iter().position(|other| other == it));
            }
            shown == json!(held)
        }
        (Object::Set, "add") => {
            if !held.contains(argument) {
                held.push(argument.clone());
            }
            true
        }
        (Object::AppendLog, "append") => {
            held.push(argument.clone());
            says(&json!({ "offset": held.len() - 1 }))
        }
        (Object::Kv, "append") => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            *held = vec![json!(text(&last) + &text(argument))];
            true
        }
        (Object::Counter, "read") => says(&json!(last.as_i64().unwrap_or(0))),
        (Object::Counter, f) => {
            let amount = argument.as_i64().expect("amounts are integers");
            *held = vec![json!(last.as_i64().unwrap_or(0) + amount)];
            f == "add" || says(&held[0])
        }
        (_, "read" | "get") => says(&last),
        (_, "write" | "put") => {
            *held = vec![argument.clone()];
            true
        }
        (_, "cas") => {
            *held = vec![argument[1].clone()];
            last == argument[0]
        }
        (_, "enqueue" | "push" | "insert") => {
            held.push(argument.clone());
            true
        }
        (_, "dequeue") => !held.is_empty() && says(&held.remove(0)),
        (_, "pop") => held.pop().is_some_and(|it| says(&it)),
        (_, "extract") => {
            let lowest = (0..held.len()).min_by_key(|&at| held[at].as_u64());
            lowest.is_some_and(|at| says(&held.remove(at)))
        }
        (_, "acquire") => {
            held.push(json!("held"));
            held.len() == 1
        }
        (_, "release") => held.pop().is_some(),
        (_, other) => panic!("{other} is not known here"),
    }
}

/// Whether the object may refuse the call for what it holds.
fn refuses(held: &[Value], call: &Op) -> bool {
    match call.f.as_str() {
        "acquire" => !held.is_empty(),
        "cas" => held.last().unwrap_or(&Value::Null) != &call.value[0],
        _ => held.is_empty(),
    }
}

/// Follows one key's order; says what is wrong with it.
fn follow(ops: &[Op], key: &Value, order: &[Value], object: Object) -> Result<(), String> {
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut completions: HashMap<usize, &Op> = HashMap::new();
    for (at, op) in ops.iter().enumerate() {
        if op.type_ == Type::Invoke {
            open.insert(op.process.to_string(), at);
        } else if let Some(invoked) = open.remove(&op.process.to_string()) {
            completions.insert(invoked, op);
        }
    }
    let ended = |at: usize, how: Type| completions.get(&at).filter(|op| op.type_ == how);
    let is_due = |at: &usize| ops[*at].key == *key && ended(*at, Type::Ok).is_some();
    let mut due: BTreeSet<usize> = (0..ops.len()).filter(is_due).collect();
    let (mut held, mut latest) = (Vec::new(), 0);
    for at in order {
        let at = at.as_u64().ok_or("an order has indices")? as usize;
        let call = &ops[at];
        if call.type_ != Type::Invoke || call.key != *key {
            return Err(format!("{at} is no invocation of {key}"));
        }
        let (ok, failed) = (ended(at, Type::Ok), ended(at, Type::Fail));
        if ok.or(failed).is_some_and(|end| end.index < latest) {
            return Err(format!("{at} had returned before {latest} was invoked"));
        }
        latest = latest.max(call.index);
        due.remove(&at);
        let legal = match failed {
            Some(_) => refuses(&held, call),
            None => takes(object, &mut held, call, ok.map(|op| &op.value)),
        };
        if !legal {
            return Err(format!(
                "{at} ({} {}) cannot stand there",
                call.f, call.value
            ));
        }
    }
    due.first()
        .map_or(Ok(()), |at| Err(format!("{at} returned and has no place")))
}

#[test]
fn an_order_for_each_key_can_be_followed_by_hand() {
    for (object, model) in OBJECTS {
        for seed in 0..8 {
            let recipe = Recipe {
                values: [None, Some(4)][seed as usize / 4 % 2],
                cas: if object == Object::Register { 0.3 } else { 0.0 },
                ..small(object, seed)
            };
            let history = generate(&recipe);
            let report = certified(&history, model);
            assert_eq!(
                report.verdict,
                Verdict::Valid,
                "{recipe:?}: {:?}",
                report.reason
            );
            let ops: Vec<Op> = history.ops().collect();
            let orders = report.details["certificate"]
                .as_array()
                .expect("it was asked for");
            assert_eq!(orders.len() as u64, report.figures.keys, "{recipe:?}");
            for order in orders {
                let places = order["linearization"].as_array().expect("an order");
                let followed = follow(&ops, &order["key"], places, object);
                assert_eq!(followed, Ok(()), "{recipe:?}: {order}");
                let backwards: Vec<Value> = places.iter().rev().cloned().collect();
                assert!(follow(&ops, &order["key"], &backwards, object).is_err());
            }
        }
    }
}

#[test]
fn a_counterexample_is_invalid_by_itself_and_the_second_engine_says_so() {
    for (object, model) in OBJECTS {
        if object == Object::Mutex {
            continue; // what is read is broken, and a mutex is not read
        }
        for seed in 0..8 {
            let recipe = Recipe {
                anomaly: Some(Anomaly::Phantom),
                ..small(object, seed)
            };
            let report = certified(&generate(&recipe), model);
            if report.verdict == Verdict::Valid {
                continue; // nobody read after the place for it
            }
            assert_eq!(
                report.verdict,
                Verdict::Invalid,
                "{recipe:?}: {:?}",
                report.reason
            );
            let confirmed = &report.details["confirmed_by_second_engine"];
            assert_eq!(*confirmed, json!(true), "{recipe:?}");
            let alone: History = report.counterexample.iter().cloned().collect();
            assert_eq!(
                check(&alone, &Options::new(model)).verdict,
                Verdict::Invalid
            );
        }
    }
}
