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
use crate::linear::structure::{self, Outcome};
use crate::linear::{certificate, frontier, search, shrink};
use crate::model::multi_register::MultiRegister;
use crate::model::register::Register;
use crate::model::sequence::{Discipline, Log, Queue};
use crate::model::{Specification, aggregate, kv, lock};

/// All engines against the twin on objects of one model; how many were illegal, and how many the
/// structure decided, legal and illegal.
fn engines_agree<M: Specification>(
    model: &M,
    draw: impl Fn(&mut StdRng, f64) -> History,
    decide: impl Fn(&Object<M::Op>) -> Outcome,
    narrow: impl Fn(&M::Op, &[String]) -> M::Op,
) -> [usize; 3] {
    let (mut rng, purse) = (StdRng::seed_from_u64(seed()), purse());
    let (mut invalid, mut found, mut contradicted) = (0, 0, 0);
    for round in 0..rounds(4000) {
        let history = draw(&mut rng, [0.0, 0.15, 0.4][round % 3]);
        let calls = history.calls().expect("it was recorded whole");
        let objects = object::split(model, &history, &calls, true, || true);
        for object in objects.unwrap_or_default().into_iter().flatten() {
            let timed = &object.operations;
            let mut space = Numbered::new(model, object.classes.as_slice());
            let expected = linearizable(&mut space, timed);
            invalid += usize::from(!expected);
            let ops = || history.ops().collect::<Vec<_>>();
            match decide(&object) {
                Outcome::Valid(order) => {
                    let replayed = certificate::replay(&mut space, timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {:#?}", ops());
                    found += 1;
                }
                Outcome::Invalid(contradiction) => {
                    assert!(!expected, "{contradiction:?} of {:#?}", ops());
                    let (mut operations, about) = (contradiction.operations, &contradiction.about);
                    operations.sort_unstable();
                    operations.dedup();
                    let alone: Vec<Timed> =
                        operations.iter().map(|&it| timed[it as usize]).collect();
                    let narrowed = object.classes.iter();
                    let narrowed = narrowed.map(|op| {
                        if about.is_empty() {
                            op.clone()
                        } else {
                            narrow(op, about)
                        }
                    });
                    let mut space = Numbered::new(model, narrowed.collect::<Vec<_>>());
                    assert!(
                        !linearizable(&mut space, &alone),
                        "{operations:?}, about {about:?}, of {:#?}",
                        ops()
                    );
                    contradicted += 1;
                }
                Outcome::Undecided => {}
            }
            // The rest is the same for all draws of a model.
            if round > 4000 {
                continue;
            }
            let meter = || Meter::new(&purse, u64::MAX);
            let stuck = frontier::check(&mut space, timed, &mut meter()).unwrap();
            assert_eq!(stuck.is_none(), expected, "frontier: {:#?}", ops());
            if let Some(stuck) = stuck {
                let core = shrink::shrink(&mut space, timed, &[stuck], &purse);
                the_rest_could_not_help(&mut space, timed, &core);
            }
            match search::search(&mut space, timed, &mut meter()).unwrap() {
                search::Answer::Linearization(order) => {
                    let replayed = certificate::replay(&mut space, timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {:#?}", ops());
                }
                _ => assert!(!expected, "search: {:#?}", ops()),
            }
        }
    }
    println!("{invalid} illegal; {found} legal and {contradicted} illegal decided by structure");
    [invalid, found, contradicted]
}

/// What is drawn as the object, decided by its structure.
fn structured<M: Specification>(
    model: &M,
    drawn: Drawn,
    decide: impl Fn(&Object<M::Op>) -> Outcome,
    narrow: impl Fn(&M::Op, &[String]) -> M::Op,
) {
    println!("{drawn:?}:");
    let draw = |rng: &mut StdRng, unknown| recorded(rng, drawn, unknown);
    let [invalid, found, contradicted] = engines_agree(model, draw, decide, narrow);
    assert!(
        invalid > 80 && found > 500 && contradicted > 20,
        "the draw has lost its bite"
    );
}

fn by_search<M: Specification>(model: &M, draw: impl Fn(&mut StdRng, f64) -> History) {
    let none = |_: &Object<M::Op>| Outcome::Undecided;
    let [invalid, ..] = engines_agree(model, draw, none, |op, _| op.clone());
    assert!(invalid > 100, "the draw has lost its bite: {invalid}");
}

#[test]
fn queues_agree_with_the_twin() {
    for (discipline, drawn) in [
        (Discipline::Queue, Drawn::Queue),
        (Discipline::Stack, Drawn::Stack),
        (Discipline::Priority, Drawn::PriorityQueue),
    ] {
        let decide = |object: &Object<_>| {
            structure::queues::check(discipline, &object.operations, &object.classes)
        };
        structured(&Queue(discipline), drawn, decide, |op, _| op.clone());
    }
}

#[test]
fn strings_agree_with_the_twin() {
    let purse = purse();
    let decide = |object: &Object<_>| {
        let mut meter = Meter::new(&purse, u64::MAX);
        structure::text::check(&object.operations, &object.classes, &mut meter)
    };
    structured(&kv::Kv, Drawn::Kv, decide, |op, _| op.clone());
}

#[test]
fn sets_agree_with_the_twin() {
    let decide = |object: &Object<_>| structure::set::check(&object.operations, &object.classes);
    structured(&aggregate::Set, Drawn::Set, decide, structure::set::narrow);
    println!("with answers:");
    let found = engines_agree(
        &aggregate::Set,
        set_of_answers,
        decide,
        structure::set::narrow,
    );
    assert!(
        found.into_iter().min() > Some(200),
        "the draw has lost its bite"
    );
}

#[test]
fn logs_agree_with_the_twin() {
    let decide = |object: &Object<_>| structure::log::check(&object.operations, &object.classes);
    structured(&Log, Drawn::AppendLog, decide, structure::log::narrow);
}

#[test]
fn counters_agree_with_the_twin() {
    let decide =
        |object: &Object<_>| structure::counter::check(0, &object.operations, &object.classes);
    let model = aggregate::Counter { initial: 0 };
    let draw = |rng: &mut StdRng, unknown| recorded(rng, Drawn::Counter, unknown);
    let [invalid, _, contradicted] = engines_agree(&model, draw, decide, |op, _| op.clone());
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
