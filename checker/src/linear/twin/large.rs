//! Histories that no twin could try: whether they are legal is known from how they were made.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::objects::ones;
use super::seed;
use crate::history::generate::{Object, Recipe, generate};
use crate::history::{History, Op, Type};
use crate::options::{Model, Options};
use crate::verdict::Verdict;

/// Checks a sound history, and the same with one answer that `spoil` made illegal.
fn both_decided(
    model: Model,
    draw: impl Fn(&mut StdRng) -> Vec<Op>,
    spoil: impl Fn(&mut [Op], &mut StdRng),
) {
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..3 {
        let mut ops = draw(&mut rng);
        for verdict in [Verdict::Valid, Verdict::Invalid] {
            if verdict == Verdict::Invalid {
                spoil(&mut ops, &mut rng);
            }
            let history: History = ops.iter().cloned().collect();
            let report = crate::check(&history, &Options::new(model));
            println!(
                "{model}: {verdict:?} in {:.1} ms",
                report.figures.elapsed_ms
            );
            assert_eq!(report.verdict, verdict, "{:?}", report.reason);
        }
    }
}

/// Of the answers to `f` one in the second half.
fn late_answer<'a>(ops: &'a mut [Op], rng: &mut StdRng, f: &str) -> &'a mut Op {
    let is_answer = |op: &Op| op.f == f && op.type_ == Type::Ok;
    let answers: Vec<usize> = (ops.len() / 2..ops.len())
        .filter(|&at| is_answer(&ops[at]))
        .collect();
    &mut ops[answers[rng.random_range(0..answers.len())]]
}

#[test]
fn queues_that_are_often_empty_are_decided_with_many_operations_open() {
    for unknown in [0.0, 0.05] {
        let draw = |rng: &mut StdRng| {
            let recipe = Recipe {
                object: Object::Queue,
                operations: 400,
                clients: 30,
                unknown,
                seed: rng.random(),
                ..Recipe::default()
            };
            generate(&recipe).ops().collect()
        };
        both_decided(Model::Queue, draw, |ops, rng| {
            // An element comes out a second time.
            let taken = late_answer(ops, rng, "dequeue").clone();
            let is_other =
                |op: &&mut Op| op.f == "dequeue" && op.type_ == Type::Ok && op.value != taken.value;
            let other = ops.iter_mut().find(is_other);
            other.expect("there are many").value = taken.value;
        });
    }
}

#[test]
fn counters_of_ones_are_decided_with_many_of_unknown_outcome() {
    let draw = |rng: &mut StdRng| ones(rng, 10, 4000, 0.05);
    both_decided(Model::Counter, draw, |ops, rng| {
        // No less than what surely was added, but less than what others saw before.
        let read = late_answer(ops, rng, "read");
        read.value = json!(read.value.as_i64().unwrap_or_default() - 30);
    });
}
