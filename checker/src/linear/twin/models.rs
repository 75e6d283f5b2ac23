//! Every model: what its structure decides, the search and the frontier, against the twin.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use super::objects::{
    counter_of_amounts, counter_of_ones, lease, owned_lock, recorded, registers, set_of_answers,
};
use super::{linearizable, purse, rounds, seed, the_rest_could_not_help};
use crate::history::generate::Object as Drawn;
use crate::history::{History, Op, Type};
use crate::linear::budget::Meter;
use crate::linear::frontier::Told;
use crate::linear::object::{self, Object};
use crate::linear::space::{Numbered, Timed};
use crate::linear::structure::{Outcome, Structured};
use crate::linear::{certificate, frontier, search, shrink};
use crate::model::multi_register::MultiRegister;
use crate::model::register::Register;
use crate::model::sequence::{Discipline, Log, Queue};
use crate::model::{Specification, aggregate, kv, lock};

/// The engines against the twin on objects of one model, and what `also` looks at; how many were illegal.
fn engines_agree<M: Specification>(
    model: &M,
    draw: impl Fn(&mut StdRng, f64) -> History,
    mut also: impl FnMut(&Object<M::Op>, bool, &History),
) -> usize {
    let mut rng = StdRng::seed_from_u64(seed());
    let mut illegal = 0;
    for round in 0..rounds(4000) {
        let purse = purse();
        let history = draw(&mut rng, [0.0, 0.15, 0.4][round % 3]);
        let calls = history.calls().expect("it was recorded whole");
        let objects = object::split(model, &history, &calls, true, &purse);
        for object in objects.into_iter().flatten() {
            let timed = &object.operations;
            let mut space = Numbered::new(model, object.classes.as_slice());
            let legal = linearizable(&mut space, timed);
            illegal += usize::from(!legal);
            also(&object, legal, &history);
            // The rest is the same for all draws of a model.
            if round > 4000 {
                continue;
            }
            let meter = || Meter::new(&purse, u64::MAX);
            match frontier::check(&mut space, timed, &mut meter()).unwrap() {
                Told::Legal(order) => {
                    let replayed = certificate::replay(&mut space, timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {}", told(&history));
                }
                Told::Stuck(at) => {
                    assert!(!legal, "frontier: {}", told(&history));
                    let core = shrink::shrink(&mut space, timed, &[at], &purse);
                    the_rest_could_not_help(&mut space, timed, &core);
                }
            }
            match search::search(&mut space, timed, &mut meter()).unwrap() {
                search::Answer::Linearization(order) => {
                    let replayed = certificate::replay(&mut space, timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {}", told(&history));
                }
                _ => assert!(!legal, "search: {}", told(&history)),
            }
        }
    }
    illegal
}

fn told(history: &History) -> String {
    format!("{:#?}", history.ops().collect::<Vec<_>>())
}

/// The structure too; how many were illegal, and how many it decided, legal and illegal, and did not.
fn structure_agrees<M: Structured>(
    model: &M,
    draw: impl Fn(&mut StdRng, f64) -> History,
) -> [usize; 4] {
    let (purse, mut found, mut contradicted, mut undecided) = (purse(), 0, 0, 0);
    let illegal = engines_agree(model, draw, |object, legal, history| {
        let (timed, classes) = (&object.operations, &object.classes);
        match model.decide(timed, classes, &mut Meter::new(&purse, u64::MAX)) {
            Outcome::Valid(order) => {
                let mut space = Numbered::new(model, classes.as_slice());
                let replayed = certificate::replay(&mut space, timed, &order);
                assert_eq!(replayed, Ok(()), "{order:?} of {}", told(history));
                found += 1;
            }
            Outcome::Invalid(contradiction) => {
                assert!(!legal, "{contradiction:?} of {}", told(history));
                let (mut operations, about) = (contradiction.operations, &contradiction.about);
                operations.sort_unstable();
                operations.dedup();
                let alone: Vec<Timed> = operations.iter().map(|&it| timed[it as usize]).collect();
                let narrowed = classes.iter().map(|op| {
                    if about.is_empty() {
                        op.clone()
                    } else {
                        model.narrow(op, about)
                    }
                });
                let mut space = Numbered::new(model, narrowed.collect::<Vec<_>>());
                assert!(
                    !linearizable(&mut space, &alone),
                    "{operations:?}, about {about:?}, of {}",
                    told(history)
                );
                contradicted += 1;
            }
            Outcome::Illegal(involved) => {
                assert!(!legal && !involved.is_empty(), "{}", told(history));
                contradicted += 1;
            }
            Outcome::Undecided => undecided += 1,
        }
    });
    println!("{illegal} illegal; by structure {found} legal, {contradicted} not, {undecided} open");
    [illegal, found, contradicted, undecided]
}

/// What is drawn as the object.
fn structured<M: Structured>(model: &M, drawn: Drawn) {
    println!("{drawn:?}:");
    let counts = structure_agrees(model, |rng, unknown| recorded(rng, drawn, unknown));
    has_bite(counts, [50, 8, 200]);
}

/// Of so many drawn at least one was illegal, decided to be legal, decided to be illegal.
fn has_bite([illegal, found, contradicted, _]: [usize; 4], one_in: [usize; 3]) {
    let enough = |(count, one_in)| count > rounds(4000) / one_in;
    assert!(
        [illegal, found, contradicted]
            .into_iter()
            .zip(one_in)
            .all(enough),
        "the draw has lost its bite"
    );
}

fn by_search<M: Specification>(model: &M, draw: impl Fn(&mut StdRng, f64) -> History) {
    let illegal = engines_agree(model, draw, |_, _, _| {});
    let enough = illegal > rounds(4000) / 40;
    assert!(enough, "the draw has lost its bite: {illegal}");
}

#[test]
fn queues_agree_with_the_twin() {
    structured(&Queue(Discipline::Queue), Drawn::Queue);
}

#[test]
fn queues_of_unique_elements_are_always_decided() {
    let unique = |rng: &mut StdRng, unknown| loop {
        let history = recorded(rng, Drawn::Queue, unknown);
        let mut put: Vec<Value> = history.ops().filter(is_put).map(|op| op.value).collect();
        put.sort_by_key(Value::to_string);
        if put.windows(2).all(|pair| pair[0] != pair[1]) {
            return history;
        }
    };
    let [.., undecided] = structure_agrees(&Queue(Discipline::Queue), unique);
    assert_eq!(undecided, 0);
}

fn is_put(op: &Op) -> bool {
    op.type_ == Type::Invoke && op.f == "enqueue"
}

#[test]
fn stacks_agree_with_the_twin() {
    structured(&Queue(Discipline::Stack), Drawn::Stack);
}

#[test]
fn priority_queues_agree_with_the_twin() {
    structured(&Queue(Discipline::Priority), Drawn::PriorityQueue);
}

#[test]
fn strings_agree_with_the_twin() {
    structured(&kv::Kv, Drawn::Kv);
}

#[test]
fn sets_agree_with_the_twin() {
    structured(&aggregate::Set::default(), Drawn::Set);
    println!("with answers:");
    let draw = |rng: &mut StdRng, unknown| set_of_answers(rng, unknown, true);
    let counts = structure_agrees(&aggregate::Set::default(), draw);
    has_bite(counts, [20; 3]);
    assert!(
        counts[3] < rounds(4000) / 100,
        "whole reads go to the search"
    );
}

#[test]
fn sets_that_nobody_reads_whole_are_always_decided() {
    let draw = |rng: &mut StdRng, unknown| set_of_answers(rng, unknown, false);
    let counts = structure_agrees(&aggregate::Set::default(), draw);
    assert_eq!(counts[3], 0, "some were left undecided");
    has_bite(counts, [20; 3]);
}

#[test]
fn logs_agree_with_the_twin() {
    structured(&Log::default(), Drawn::AppendLog);
}

#[test]
fn counters_agree_with_the_twin() {
    let model = aggregate::Counter { initial: 0 };
    let draw = |rng: &mut StdRng, unknown| recorded(rng, Drawn::Counter, unknown);
    has_bite(structure_agrees(&model, draw), [20, 2, 80]);
}

#[test]
fn counters_of_several_amounts_agree_with_the_twin() {
    let model = aggregate::Counter { initial: 0 };
    has_bite(structure_agrees(&model, counter_of_amounts), [10, 2, 10]);
}

#[test]
fn counters_of_one_amount_are_always_decided() {
    let model = aggregate::Counter { initial: 0 };
    let counts = structure_agrees(&model, counter_of_ones);
    assert_eq!(counts[3], 0, "some were left undecided");
    has_bite(counts, [10, 2, 10]);
}

#[test]
fn other_objects_agree_with_the_twin() {
    let recorded = |drawn| move |rng: &mut StdRng, unknown| recorded(rng, drawn, unknown);
    by_search(&lock::Lock { owned: false }, recorded(Drawn::Mutex));
    by_search(&lock::Lock { owned: true }, owned_lock);
    by_search(&lock::Lease, lease);
    let initial = Value::Null;
    by_search(&MultiRegister { initial }, registers);
    let register = Register {
        initial: Value::Null,
        failed_cas_differs: false,
    };
    by_search(&register, recorded(Drawn::Register));
}
