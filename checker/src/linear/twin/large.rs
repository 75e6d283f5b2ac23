//! Histories that no twin could try: whether they are legal is known from how they were made.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::objects::{amounts, comings_and_goings, ones};
use super::seed;
use crate::history::generate::{Object, Recipe, generate};
use crate::history::{History, Op, Type};
use crate::options::{Model, Options};
use crate::verdict::Verdict;

/// Checks a sound history, and the same with one answer that `spoil` made illegal.
fn both_decided(
    model: Model,
    draw: impl Fn(&mut StdRng) -> Vec<Op>,
    spoil: impl Fn(&mut Vec<Op>, &mut StdRng),
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
fn containers_that_are_often_empty_are_decided_with_many_operations_open() {
    for (object, model, takes, unknown) in [
        (Object::Queue, Model::Queue, "dequeue", 0.0),
        (Object::Queue, Model::Queue, "dequeue", 0.05),
        (Object::Stack, Model::Stack, "pop", 0.0),
        (Object::PriorityQueue, Model::PriorityQueue, "extract", 0.0),
    ] {
        let draw = |rng: &mut StdRng| {
            let recipe = Recipe {
                object,
                operations: 400,
                clients: 30,
                unknown,
                seed: rng.random(),
                ..Recipe::default()
            };
            generate(&recipe).ops().collect()
        };
        both_decided(model, draw, |ops, rng| {
            // An element comes out a second time.
            let taken = late_answer(ops, rng, takes).clone();
            let is_other =
                |op: &&mut Op| op.f == takes && op.type_ == Type::Ok && op.value != taken.value;
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

#[test]
fn counters_of_several_amounts_are_decided_with_many_of_unknown_outcome() {
    for (clients, reads) in [(10, 0.5), (20, 0.3)] {
        let draw = |rng: &mut StdRng| amounts(rng, clients, 4000, 0.05, reads, 5);
        both_decided(Model::Counter, draw, |ops, rng| {
            let read = late_answer(ops, rng, "read");
            read.value = json!(read.value.as_i64().unwrap_or_default() - 150);
        });
    }
}

#[test]
fn sets_whose_members_come_and_go_are_decided() {
    let draw = |rng: &mut StdRng| comings_and_goings(rng, 20, 4000, 0.05);
    both_decided(Model::Set, draw, |ops, rng| {
        // Nobody but this process has to do with this member.
        let at = rng.random_range(0..ops.len() - 3);
        let mine = |type_, f, value| Op::new(1_000_000, type_, f, value);
        let own = [
            mine(Type::Invoke, "add", json!("mine")),
            mine(Type::Ok, "add", json!("mine")),
            mine(Type::Invoke, "contains", json!("mine")),
            mine(Type::Ok, "contains", json!(false)),
        ];
        ops.splice(at..at, own);
    });
}
