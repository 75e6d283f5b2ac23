//! The dumb twin: tries every order. Small histories only; all engines must agree with it.

mod large;
mod models;
mod objects;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::budget::{Meter, Purse};
use super::space::{Space, Timed};
use crate::model::Effect;
use crate::model::register::{Action, NEVER, Operation};
use crate::options::Budget;

/// Whether some order of the operations is legal, by trying them all.
pub(super) fn linearizable(space: &mut impl Space, operations: &[Timed]) -> bool {
    fn go(space: &mut impl Space, operations: &[Timed], state: u32, done: u32) -> bool {
        let left = |number: usize| done >> number & 1 == 0;
        let mut pending = (0..operations.len()).filter(|&number| left(number));
        if pending.clone().all(|number| operations[number].is_open()) {
            return true;
        }
        let first_return = pending
            .clone()
            .map(|number| operations[number].ret)
            .min()
            .unwrap();
        pending.any(|number| {
            operations[number].invoke < first_return
                && space
                    .step(state, operations[number].class)
                    .is_some_and(|state| go(space, operations, state, done | 1 << number))
        })
    }
    let initial = space.initial();
    go(space, operations, initial, 0)
}

/// The seed of a random test: given by `ORDEAL_SEED`, or the one here; printed either way.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("ORDEAL_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(0x0dea1);
    println!("ORDEAL_SEED={seed}");
    seed
}

/// How a small history is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) operations: usize,
    pub(super) clients: usize,
    pub(super) unique: bool,
    pub(super) differs: bool,
    /// One in so many completed operations has an unknown outcome.
    pub(super) unknown_one_in: u32,
    /// So many in ten are writes, of the rest somewhat more reads than `cas`.
    pub(super) writes: u32,
}

/// A small random register history. It is legal as run, then mutated in half of the cases.
pub(super) fn draw(rng: &mut StdRng, shape: Shape) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut open: Vec<Option<(usize, bool)>> = vec![None; shape.clients];
    let (mut state, mut position, mut fresh) = (0u32, 0u32, 0u32);
    while operations.len() < shape.operations || open.iter().any(Option::is_some) {
        let client = rng.random_range(0..shape.clients);
        position += 1;
        match open[client] {
            None if operations.len() < shape.operations => {
                fresh += 1;
                let value = if shape.unique {
                    fresh
                } else {
                    rng.random_range(0..3)
                };
                let action = if rng.random_range(0..10) < shape.writes {
                    Action::Write(value)
                } else if rng.random_range(0..7) < 4 {
                    Action::Read(u32::MAX)
                } else {
                    Action::Cas(u32::MAX, value)
                };
                open[client] = Some((operations.len(), false));
                operations.push(Operation {
                    invoke: position,
                    ret: NEVER,
                    action,
                });
            }
            None => {}
            Some((number, false)) => {
                let operation = &mut operations[number];
                operation.action = match operation.action {
                    Action::Read(_) => Action::Read(state),
                    Action::Cas(_, new) if shape.differs && rng.random_range(0..3) == 0 => {
                        let other = if new == state { new + 1 } else { new };
                        Action::Differs(other)
                    }
                    Action::Cas(_, new) => Action::Cas(state, new),
                    other => other,
                };
                state = operation.action.step(state).expect("drawn to be legal");
                open[client] = Some((number, true));
                if rng.random_range(0..shape.unknown_one_in) == 0 {
                    open[client] = None;
                }
            }
            Some((number, true)) => {
                operations[number].ret = position;
                open[client] = None;
            }
        }
    }
    if rng.random_bool(0.6) {
        mutate(rng, &mut operations);
    }
    let observes = |action| matches!(action, Action::Read(_) | Action::Differs(_));
    operations.retain(|it| it.ret != NEVER || !observes(it.action));
    operations
}

/// Stale read, phantom, lost write, reordering, duplicate.
fn mutate(rng: &mut StdRng, operations: &mut Vec<Operation>) {
    if operations.is_empty() {
        return;
    }
    let at = rng.random_range(0..operations.len());
    let other = operations[rng.random_range(0..operations.len())].action;
    match rng.random_range(0..5) {
        0 | 1 => {
            let seen = match other {
                Action::Write(value) | Action::Cas(_, value) | Action::Read(value) => value,
                Action::Differs(_) => 0,
            };
            match &mut operations[at].action {
                Action::Read(value) | Action::Cas(value, _) | Action::Differs(value) => {
                    *value = seen;
                }
                Action::Write(_) => {}
            }
        }
        2 => {
            operations.remove(at);
        }
        3 => operations[at].action = other,
        _ => {
            if operations[at].ret != NEVER {
                operations[at].ret = (operations[at].ret / 2).max(operations[at].invoke + 1);
                spread(operations);
            }
        }
    }
}

/// Gives each end a position of its own again.
fn spread(operations: &mut [Operation]) {
    let mut ends: Vec<(u32, bool, usize)> = Vec::new();
    for (number, it) in operations.iter().enumerate() {
        ends.push((it.invoke, false, number));
        if it.ret != NEVER {
            ends.push((it.ret, true, number));
        }
    }
    ends.sort_unstable();
    for (position, (_, is_return, number)) in ends.into_iter().enumerate() {
        let end = if is_return {
            &mut operations[number].ret
        } else {
            &mut operations[number].invoke
        };
        *end = position as u32 + 1;
    }
    operations.sort_unstable_by_key(|it| it.invoke);
}

fn purse() -> Purse {
    let time = std::time::Duration::from_secs(3600);
    Purse::new(
        &Budget {
            time,
            ..Budget::default()
        },
        std::time::Instant::now(),
    )
}

/// Whether what was left out of an explanation makes a difference, whenever it happened and whether.
fn the_rest_could_help(space: &mut impl Space, timed: &[Timed], core: &[(u32, Timed)]) -> bool {
    let with_the_rest = timed.iter().zip(0..).filter_map(|(&it, number)| {
        let kept = core.iter().find(|(left, _)| *left == number);
        let weakened = Timed { ret: NEVER, ..it };
        let matters = space.effect(it.class) != Effect::Observes;
        kept.map(|&(_, kept)| kept).or(matters.then_some(weakened))
    });
    let with_the_rest: Vec<Timed> = with_the_rest.collect();
    linearizable(space, &with_the_rest)
}

/// How many histories are drawn: given by `ORDEAL_ROUNDS`, or as many as an ordinary run bears.
fn rounds(ordinary: usize) -> usize {
    let given = std::env::var("ORDEAL_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(ordinary)
}

mod tests {
    use super::*;
    use crate::linear::frontier::Told;
    use crate::linear::space::RegisterSpace;
    use crate::linear::{certificate, frontier, search, shrink, zones};

    #[test]
    fn engines_agree_with_the_twin_on_small_registers() {
        let mut rng = StdRng::seed_from_u64(seed());
        let purse = purse();
        let (mut decided, mut invalid) = (0, 0);
        let rounds = rounds(150_000);
        for round in 0..rounds {
            let crowded = round % 6 == 0;
            let shape = Shape {
                operations: rng.random_range(if crowded { 6 } else { 1 }..11),
                clients: if crowded { 6 } else { rng.random_range(1..7) },
                unknown_one_in: [2, 4, 8, 100][round % 5 % 4],
                unique: !crowded && round % 4 != 0,
                differs: round % 7 == 0,
                writes: if crowded { 6 } else { 3 },
            };
            let operations = draw(&mut rng, shape);
            let (mut space, timed) = RegisterSpace::new(&operations, 0);
            let expected = linearizable(&mut space, &timed);
            invalid += usize::from(!expected);
            let told = frontier::check(&mut space, &timed, &mut Meter::new(&purse, u64::MAX));
            match told.expect("the purse is full") {
                Told::Legal(order) => {
                    let replayed = certificate::replay(&mut space, &timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {operations:?}");
                }
                Told::Stuck(_) => assert!(!expected, "frontier on {operations:?}"),
            }
            let answer = search::search(&mut space, &timed, &mut Meter::new(&purse, u64::MAX));
            match answer.expect("the purse is full") {
                search::Answer::Linearization(order) => {
                    assert!(expected, "search finds {order:?} on {operations:?}");
                    let replayed = certificate::replay(&mut space, &timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {operations:?}");
                }
                answer => assert!(!expected, "search finds {answer:?} on {operations:?}"),
            }
            if !expected && round % 3 == 0 {
                shrinks(&mut space, &timed, &purse);
            }
            if expected && round % 3 == 0 {
                let whole: Vec<(u32, Timed)> = (0..).zip(timed.iter().copied()).collect();
                let confirmed = shrink::confirmed(&mut space, &whole, &purse);
                assert_eq!(confirmed, Some(false), "{operations:?} is legal");
            }
            let mut meter = Meter::new(&purse, u64::MAX);
            match zones::check(&operations, 0, true, &mut meter) {
                zones::Outcome::Spent(spent) => panic!("the purse is full, and yet {spent:?}"),
                zones::Outcome::NotUnique => {}
                zones::Outcome::Valid(order) => {
                    decided += 1;
                    let order = order.expect("it was asked for");
                    let replayed = certificate::replay(&mut space, &timed, &order);
                    assert_eq!(replayed, Ok(()), "{order:?} of {operations:?}");
                }
                zones::Outcome::Invalid(why) => {
                    decided += 1;
                    assert!(!expected, "zones find {why:?}: {operations:?}");
                }
            }
        }
        println!("{decided} decided by zones, {invalid} invalid");
        assert!(
            decided > rounds / 4 && invalid > rounds / 13,
            "the draw has lost its bite"
        );
    }

    /// What an illegal history shrinks to is illegal, and nothing in it can be weakened further.
    fn shrinks(space: &mut RegisterSpace, timed: &[Timed], purse: &Purse) {
        let mut meter = Meter::new(purse, u64::MAX);
        let Ok(Told::Stuck(stuck)) = frontier::check(space, timed, &mut meter) else {
            panic!("{timed:?} is illegal");
        };
        let core = shrink::shrink(space, timed, &[stuck], purse);
        let left: Vec<Timed> = core.iter().map(|&(_, it)| it).collect();
        assert!(
            !linearizable(space, &left),
            "{timed:?} shrinks to the legal {left:?}"
        );
        assert_eq!(shrink::confirmed(space, &core, purse), Some(true));
        let helped = the_rest_could_help(space, timed, &core);
        assert!(!helped, "{core:?} says too much about {timed:?}");
        for it in left.iter().filter(|it| it.is_open()) {
            let feeds =
                |other: &Timed| other.invoke != it.invoke && space.feeds(it.class, other.class);
            assert!(
                left.iter().any(feeds),
                "nothing in {left:?} can have needed {it:?}"
            );
        }
        for at in 0..left.len() {
            let mut weaker = left.clone();
            match space.effect(weaker[at].class) {
                Effect::Observes => drop(weaker.remove(at)),
                _ if weaker[at].is_open() => continue,
                _ => weaker[at].ret = NEVER,
            }
            assert!(
                linearizable(space, &weaker),
                "{left:?} can do without its number {at}"
            );
        }
    }
}
