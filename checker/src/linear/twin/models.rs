//! Every model: what its structure decides, the search and the frontier, against the twin.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::objects::{
    counter_of_amounts, counter_of_at_least, counter_of_ones, lease, log_of_answers, owned_lock,
    priorities, recorded, registers, set_of_answers, strings_of_few_texts,
};
use super::{linearizable, purse, rounds, seed, the_rest_could_help};
use crate::history::generate::Object as Drawn;
use crate::history::{History, Op, Type};
use crate::linear::budget::Meter;
use crate::linear::frontier::Told;
use crate::linear::object::{self, Object};
use crate::linear::space::{Numbered, Space, Timed};
use crate::linear::structure::{Outcome, Structured};
use crate::linear::{certificate, frontier, search, shrink};
use crate::model::aggregate::{CounterOp, SetOp};
use crate::model::multi_register::MultiRegister;
use crate::model::register::{NEVER, Register};
use crate::model::sequence::{Discipline, Log, LogOp, Queue, QueueOp, Taken};
use crate::model::{Effect, Specification, aggregate, kv, lock};

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
        let objects = object::split(model, &history, &calls, true, &purse, |_, _, _| None);
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
                    let helped = the_rest_could_help(&mut space, timed, &core);
                    assert!(!helped, "{core:?} says too much about {}", told(&history));
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

/// The structure against the twin when some operations that were answered may or may not have happened, as it is
/// asked while a part that is illegal is made small.
fn weakened_agrees<M: Structured>(
    model: &M,
    object: &Object<M::Op>,
    history: &History,
    rng: &mut StdRng,
) {
    let (purse, classes) = (purse(), &object.classes);
    let mut space = Numbered::new(model, classes.as_slice());
    let mut timed = object.operations.clone();
    timed.retain_mut(|it| {
        if rng.random_bool(0.3) {
            it.ret = NEVER;
        }
        !it.is_open() || space.effect(it.class) != Effect::Observes
    });
    let claims = match model.decide(&timed, classes, &mut Meter::new(&purse, u64::MAX)) {
        Outcome::Valid(_) => true,
        Outcome::Invalid(_) | Outcome::Illegal(_) => false,
        Outcome::Undecided => return,
    };
    let legal = linearizable(&mut space, &timed);
    assert_eq!(claims, legal, "{timed:?} of {}", told(history));
}

/// What an illegal history shrinks to with the help of its structure is illegal, whatever else happened.
fn shrinks<M: Structured>(model: &M, object: &Object<M::Op>, involved: &[u32], history: &History) {
    let decide = |timed: &[Timed], classes: &[M::Op], meter: &mut Meter<'_>| {
        model.decide(timed, classes, meter)
    };
    let (purse, timed) = (purse(), &object.operations);
    let mut space = Numbered::new(model, object.classes.as_slice()).decided_by(&decide);
    let core = shrink::shrink(&mut space, timed, involved, &purse);
    let helped = the_rest_could_help(&mut space, timed, &core);
    assert!(!helped, "{core:?} says too much about {}", told(history));
}

fn told(history: &History) -> String {
    format!("{:#?}", history.ops().collect::<Vec<_>>())
}

/// The structure too, which must not leave open what it `always` decides; how many were illegal, and how
/// many it decided, legal and illegal, and did not.
fn structure_agrees<M: Structured>(
    model: &M,
    draw: impl Fn(&mut StdRng, f64) -> History,
    always: impl Fn(&[M::Op]) -> bool,
) -> [usize; 4] {
    let (purse, mut found, mut contradicted, mut undecided) = (purse(), 0, 0, 0);
    let mut rng = StdRng::seed_from_u64(seed() + 1);
    let illegal = engines_agree(model, draw, |object, legal, history| {
        weakened_agrees(model, object, history, &mut rng);
        let (timed, classes) = (&object.operations, &object.classes);
        let meter = || Meter::new(&purse, u64::MAX);
        let decided = model.decide(timed, classes, &mut meter());
        let order = match &decided {
            Outcome::Valid(order) => order.clone(),
            _ => (0..timed.len() as u32).collect(),
        };
        let mut space = Numbered::new(model, classes.as_slice());
        let ops = timed.iter().map(|it| classes[it.class as usize].clone());
        let always = always(&ops.collect::<Vec<_>>());
        for order in slips(&order) {
            let legal = certificate::replay(&mut space, timed, &order).is_ok();
            let allowed = model.allows(timed, classes, &order, &meter());
            // What it cannot decide it may refuse.
            let fits = allowed == legal || (legal && !always);
            assert!(fits, "{order:?} of {}", told(history));
        }
        match decided {
            Outcome::Valid(order) => {
                let replayed = certificate::replay(&mut space, timed, &order);
                assert_eq!(replayed, Ok(()), "{order:?} of {}", told(history));
                found += 1;
            }
            Outcome::Invalid(contradiction) => {
                assert!(!legal, "{contradiction:?} of {}", told(history));
                let (mut operations, about) = (contradiction.operations, &contradiction.about);
                operations.sort_unstable();
                operations.dedup();
                let alone: Vec<(u32, Timed)> = operations
                    .iter()
                    .map(|&it| (it, timed[it as usize]))
                    .collect();
                let narrowed = classes.iter().map(|op| {
                    if about.is_empty() {
                        op.clone()
                    } else {
                        model.narrow(op, about)
                    }
                });
                let mut space = Numbered::new(model, narrowed.collect::<Vec<_>>());
                assert!(
                    !the_rest_could_help(&mut space, timed, &alone),
                    "{operations:?}, about {about:?}, of {}",
                    told(history)
                );
                contradicted += 1;
            }
            Outcome::Illegal(involved) => {
                assert!(!legal && !involved.is_empty(), "{}", told(history));
                shrinks(model, object, &involved, history);
                contradicted += 1;
            }
            Outcome::Undecided => {
                assert!(!always, "left undecided: {}", told(history));
                if let Ok(Told::Stuck(at)) = frontier::check(&mut space, timed, &mut meter()) {
                    shrinks(model, object, &[at], history);
                }
                undecided += 1;
            }
        }
    });
    println!("{illegal} illegal; by structure {found} legal, {contradicted} not, {undecided} open");
    [illegal, found, contradicted, undecided]
}

/// Orders that differ from one in that one is left out, stands there twice, or goes after the next one.
fn slips(order: &[u32]) -> impl Iterator<Item = Vec<u32>> {
    (0..order.len()).flat_map(|at| {
        let (mut without, mut twice, mut after) = (order.to_vec(), order.to_vec(), order.to_vec());
        without.remove(at);
        twice.insert(at, order[at]);
        after.swap(at, (at + 1) % order.len());
        [without, twice, after]
    })
}

/// What is drawn as the object.
fn structured<M: Structured>(model: &M, drawn: Drawn, always: impl Fn(&[M::Op]) -> bool) {
    println!("{drawn:?}:");
    let counts = structure_agrees(model, |rng, unknown| recorded(rng, drawn, unknown), always);
    has_bite(counts, [100, 8, 200], 4);
}

/// Draws a history in which so great a part of the operations has an unknown outcome.
type Draw = fn(&mut StdRng, f64) -> History;

fn all_differ<T: Eq + Hash>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    items.into_iter().all(|it| seen.insert(it))
}

/// Whether each element is put once.
fn elements_differ(ops: &[QueueOp]) -> bool {
    all_differ(ops.iter().filter_map(|op| match op {
        QueueOp::Put(element) => Some(element.to_string()),
        QueueOp::Take(_) => None,
    }))
}

/// Containers whose elements differ, with takes of unknown outcome too: few are left open.
fn unique(discipline: Discipline, drawn: Drawn, open_one_in: usize) {
    let puts = ["push", "insert"];
    let draw = |rng: &mut StdRng, unknown| loop {
        let history = recorded(rng, drawn, unknown);
        let is_put = |op: &Op| op.type_ == Type::Invoke && puts.contains(&op.f.as_str());
        if all_differ(history.ops().filter(is_put).map(|op| op.value.to_string())) {
            return history;
        }
    };
    let counts = structure_agrees(&Queue(discipline), draw, priorities_differ);
    has_bite(counts, [100, 8, 200], open_one_in);
}

/// Whether it is known what each take came to, too.
fn takes_are_known(ops: &[QueueOp]) -> bool {
    elements_differ(ops) && !ops.contains(&QueueOp::Take(Taken::Unknown))
}

/// Whether no two elements have the same priority, either.
fn priorities_differ(ops: &[QueueOp]) -> bool {
    let priorities = ops.iter().filter_map(|op| match op {
        QueueOp::Put(element) => element.as_f64().map(f64::to_bits),
        QueueOp::Take(_) => None,
    });
    takes_are_known(ops) && all_differ(priorities)
}

fn texts_differ(ops: &[kv::Op]) -> bool {
    all_differ(ops.iter().filter_map(|op| match op {
        kv::Op::Put(text) | kv::Op::Append(text) => Some(text),
        kv::Op::Get(_) => None,
    }))
}

/// Whether each value is appended once, and it is known of all offsets below one that was told who stands there.
fn values_stand(ops: &[LogOp]) -> bool {
    let told = |op: &LogOp| match op {
        LogOp::Append(value, told) => Some((*value, *told)),
        LogOp::Read(_) => None,
    };
    let shown = ops.iter().map(|op| match op {
        LogOp::Read(seen) => seen.len() as u64,
        LogOp::Append(..) => 0,
    });
    let shown = shown.max().unwrap_or(0);
    let told_beyond = ops.iter().filter_map(told).filter_map(|(_, told)| told);
    let told_beyond: BTreeSet<u64> = told_beyond.filter(|&it| it >= shown).collect();
    all_differ(ops.iter().filter_map(told).map(|(value, _)| value))
        && told_beyond
            .into_iter()
            .zip(shown..)
            .all(|(told, next)| told == next)
}

/// Whether nothing is removed, or nobody reads the whole set.
fn is_apart(ops: &[SetOp]) -> bool {
    let removes = ops.iter().any(|op| matches!(op, SetOp::Remove(..)));
    let reads = ops.iter().any(|op| matches!(op, SetOp::Read(_)));
    !(removes && reads)
}

/// Whether there is one amount, that is added.
fn amount_is_one(ops: &[CounterOp]) -> bool {
    let amounts = ops.iter().filter_map(|op| match op {
        CounterOp::Add(by, _) => Some(*by),
        CounterOp::Read(_) => None,
    });
    let amounts: HashSet<i64> = amounts.collect();
    amounts.len() < 2 && amounts.into_iter().all(|it| it > 0)
}

/// Of so many drawn more than one was illegal, decided to be legal, decided to be illegal; and no more than one
/// was left open.
fn has_bite(
    [illegal, found, contradicted, open]: [usize; 4],
    one_in: [usize; 3],
    open_one_in: usize,
) {
    let drawn = rounds(4000);
    let enough = |(count, one_in)| count > drawn / one_in;
    assert!(
        [illegal, found, contradicted]
            .into_iter()
            .zip(one_in)
            .all(enough),
        "the draw has lost its bite"
    );
    assert!(
        open <= drawn / open_one_in,
        "too many are left to the search"
    );
}

fn by_search<M: Specification>(model: &M, draw: impl Fn(&mut StdRng, f64) -> History) {
    let illegal = engines_agree(model, draw, |_, _, _| {});
    let enough = illegal > rounds(4000) / 40;
    assert!(enough, "the draw has lost its bite: {illegal}");
}

#[test]
fn queues_agree_with_the_twin() {
    structured(&Queue(Discipline::Queue), Drawn::Queue, elements_differ);
}

#[test]
fn stacks_agree_with_the_twin() {
    structured(&Queue(Discipline::Stack), Drawn::Stack, takes_are_known);
    unique(Discipline::Stack, Drawn::Stack, 50);
}

#[test]
fn priority_queues_agree_with_the_twin() {
    let model = Queue(Discipline::Priority);
    structured(&model, Drawn::PriorityQueue, priorities_differ);
    unique(Discipline::Priority, Drawn::PriorityQueue, 50);
    let counts = structure_agrees(&model, priorities, priorities_differ);
    has_bite(counts, [100, 8, 200], 1);
}

#[test]
fn strings_agree_with_the_twin() {
    structured(&kv::Kv, Drawn::Kv, texts_differ);
    let counts = structure_agrees(&kv::Kv, strings_of_few_texts, texts_differ);
    has_bite(counts, [20, 4, 20], 2);
}

#[test]
fn sets_agree_with_the_twin() {
    let model = aggregate::Set::default();
    structured(&model, Drawn::Set, is_apart);
    for is_read in [true, false] {
        println!("with answers, read whole: {is_read}:");
        let draw = |rng: &mut StdRng, unknown| set_of_answers(rng, unknown, is_read);
        let counts = structure_agrees(&model, draw, is_apart);
        has_bite(counts, [20; 3], 100);
    }
}

#[test]
fn logs_agree_with_the_twin() {
    structured(&Log::default(), Drawn::AppendLog, values_stand);
    let counts = structure_agrees(&Log::default(), log_of_answers, values_stand);
    has_bite(counts, [10, 4, 10], 10);
}

#[test]
fn counters_agree_with_the_twin() {
    let model = aggregate::Counter { initial: 0 };
    structured(&model, Drawn::Counter, amount_is_one);
    for (draw, open_one_in) in [
        (counter_of_amounts as Draw, 200),
        (counter_of_ones, 200),
        (|rng, unknown| counter_of_at_least(0, rng, unknown), 200),
        (|rng, unknown| counter_of_at_least(-3, rng, unknown), 1),
    ] {
        has_bite(
            structure_agrees(&model, draw, amount_is_one),
            [10, 10, 20],
            open_one_in,
        );
    }
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
