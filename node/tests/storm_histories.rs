//! What clients saw of simulated clusters under a storm, judged by the checker alone.
//!
//! The simulation is the one of the `raft` crate; there an own oracle judges by log indexes, which it
//! knows from within. Here nothing is known but the histories. `ORDEAL_SEED=n` replays one seed;
//! `ORDEAL_SEEDS=n` runs so many.

// Not every test of the storm looks at all of it.
#[allow(dead_code)]
#[path = "../raft/tests/simulation/storm/mod.rs"]
mod storm;

use ordeal_checker::history::{History, Op, Type};
use ordeal_checker::{Model, Options, Verdict, check};
use serde_json::{Value, json};

use storm::clients::{Line, Outcome};
use storm::machine::Action;

/// The invocation and the completion of an operation, each with its place in the order of all.
fn ops(line: &Line) -> Vec<(u64, Op)> {
    let (f, asked) = match line.action {
        Action::Read => ("read", Value::Null),
        Action::Write(value) => ("write", json!(value)),
        Action::Cas(old, new) => ("cas", json!([old, new])),
    };
    let op = |type_, value| {
        let mut op = Op::new(line.process as u32, type_, f, value);
        op.key = json!(line.key);
        op
    };
    let mut ops = vec![(line.invoked, op(Type::Invoke, asked.clone()))];
    let Some(ended) = line.ended else { return ops };
    ops.push(match line.outcome {
        Outcome::Ok(value) if line.action == Action::Read => (ended, op(Type::Ok, json!(value))),
        Outcome::Ok(_) => (ended, op(Type::Ok, asked)),
        Outcome::Failed => (ended, op(Type::Fail, asked)),
        Outcome::Unknown => (ended, op(Type::Info, asked)),
        Outcome::Mismatch => {
            let mut differs = op(Type::Fail, asked);
            differs.error = Some("mismatch".to_owned());
            (ended, differs)
        }
    });
    ops
}

fn history(lines: &[Line]) -> History {
    let linearizable = lines.iter().filter(|line| !line.stale);
    let mut ops: Vec<(u64, Op)> = linearizable.flat_map(ops).collect();
    ops.sort_by_key(|(instant, _)| *instant);
    ops.into_iter().map(|(_, op)| op).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn clients_see_one_register_for_each_key() {
    let seeds = match number("ORDEAL_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("ORDEAL_SEEDS").unwrap_or(100),
    };
    let mut judged = 0;
    for seed in seeds {
        let cluster = storm::run(seed, &|_| {});
        let history = history(&cluster.clients.lines);
        let report = check(&history, &Options::new(Model::Register));
        assert_eq!(
            report.verdict,
            Verdict::Valid,
            "seed {seed}: {:?}; replay: ORDEAL_SEED={seed} cargo test -p ordeal-node --test storm_histories",
            report.reason
        );
        judged += cluster.clients.lines.len();
    }
    assert!(judged > 0);
    println!("{judged} operations judged");
}
