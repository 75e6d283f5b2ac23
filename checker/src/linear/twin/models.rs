//! Every model: what its structure decides, the search and the frontier, against the twin.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use super::objects::{lease, owned_lock, recorded, registers, set_of_answers};
use super::{linearizable, purse, rounds, seed, the_rest_could_not_help};
use crate::history::History;
use crate::history::generate::Object as Drawn;
use crate::linear::budget::Meter;
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
    let (mut rng, purse) = (StdRng::seed_from_u64(seed()), purse());
    let mut illegal = 0;
    for round in 0..rounds(4000) {
        let history = draw(&mut rng, [0.0, 0.15, 0.4][round % 3]);
        let calls = history.calls().expect("it was recorded whole");
        let objects = object::split(model, &history, &calls, true, || true);
        for object in objects.unwrap_or_default().into_iter().flatten() {
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
            let stuck = frontier::check(&mut space, timed, &mut meter()).unwrap();
            assert_eq!(stuck.is_none(), legal, "frontier: {}", told(&history));
            if let Some(stuck) = stuck {
                let core = shrink::shrink(&mut space, timed, &[stuck], &purse);
                the_rest_could_not_help(&mut space, timed, &core);
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

/// The structure too; how many were illegal, and how many it decided, legal and illegal.
fn structure_agrees<M: Structured>(
    model: &M,
    draw: impl Fn(&mut StdRng, f64) -> History,
) -> [usize; 3] {
    let (purse, mut found, mut contradicted) = (purse(), 0, 0);
    let illegal = engines_agree(model, draw, |object, legal, history| {
        let (timed, classes) = (&object.operations, &object.classes);
        match model.decide(object, &mut Meter::new(&purse, u64::MAX)) {
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
            Outcome::Undecided => {}
        }
    });
    println!("{illegal} illegal; {found} legal and {contradicted} illegal decided by structure");
    [illegal, found, contradicted]
}

/// What is drawn as the object; at least so many are illegal, and decided, legal and illegal.
fn structured<M: Structured>(model: &M, drawn: Drawn, least: [usize; 3]) {
    println!("{drawn:?}:");
    let counts = structure_agrees(model, |rng, unknown| recorded(rng, drawn, unknown));
    has_bite(counts, least);
}

fn has_bite(counts: [usize; 3], least: [usize; 3]) {
    let enough = counts.iter().zip(least).all(|(&it, least)| it > least);
    assert!(enough, "the draw has lost its bite: {counts:?}");
}

fn by_search<M: Specification>(model: &M, draw: impl Fn(&mut StdRng, f64) -> History) {
    let illegal = engines_agree(model, draw, |_, _, _| {});
    assert!(illegal > 100, "the draw has lost its bite: {illegal}");
}

const USUAL: [usize; 3] = [80, 500, 20];

#[test]
fn queues_agree_with_the_twin() {
    structured(&Queue(Discipline::Queue), Drawn::Queue, USUAL);
}

#[test]
fn stacks_agree_with_the_twin() {
    structured(&Queue(Discipline::Stack), Drawn::Stack, USUAL);
}

#[test]
fn priority_queues_agree_with_the_twin() {
    structured(&Queue(Discipline::Priority), Drawn::PriorityQueue, USUAL);
}

#[test]
fn strings_agree_with_the_twin() {
    structured(&kv::Kv, Drawn::Kv, USUAL);
}

#[test]
fn sets_agree_with_the_twin() {
    structured(&aggregate::Set, Drawn::Set, USUAL);
    println!("with answers:");
    has_bite(structure_agrees(&aggregate::Set, set_of_answers), [200; 3]);
}

#[test]
fn logs_agree_with_the_twin() {
    structured(&Log, Drawn::AppendLog, USUAL);
}

#[test]
fn counters_agree_with_the_twin() {
    let model = aggregate::Counter { initial: 0 };
    let draw = |rng: &mut StdRng, unknown| recorded(rng, Drawn::Counter, unknown);
    let [invalid, _, contradicted] = structure_agrees(&model, draw);
    assert!(
        invalid > 200 && contradicted > 50,
        "the draw has lost its bite"
    );
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
