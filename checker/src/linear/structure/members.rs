//! Sets from which something is removed, member by member.
//!
//! Whether a member is there is an object of its own: `add` and `remove` write it (an answer says what it was
//! before), `contains` reads it. Linearizability is local (Herlihy and Wing, 1990): where nobody reads
//! the whole set, the set is linearizable exactly when each member is. Their orders fit together: an operation
//! takes effect at the latest first gap of those up to it in its member's order, which is within its time.
//!
//! A read of the whole set reads each member. So a member whose history is illegal makes the set's illegal;
//! but when all are legal, the reads may still disagree, and it takes a search.
//!
//! A member has few operations that are open at once, so a search decides it quickly.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::set::{odd, replay};
use super::{Contradiction, Gaps, Outcome};
use crate::linear::budget::Meter;
use crate::linear::search::{self, Answer};
use crate::linear::shrink;
use crate::linear::space::{RegisterSpace, Timed};
use crate::model::aggregate::{Set, SetOp};
use crate::model::register::{Action, Operation};

const ABSENT: u32 = 0;
const PRESENT: u32 = 1;

/// A member may cost so many steps, and the members be read so often.
const STEPS_MAX: u64 = 100_000;
const READ_MAX: usize = 4_000_000;

/// What was done to a member, and by which operation.
type Done = Vec<(u32, Action)>;

pub(super) fn decide(
    set: &Set,
    operations: &[Timed],
    classes: &[SetOp],
    meter: &mut Meter<'_>,
) -> Outcome {
    let mut done: HashMap<u32, Done, FixedState> = HashMap::default();
    let mut reads: Vec<(u32, &[u32])> = Vec::new();
    for (number, it) in (0..).zip(operations) {
        match &classes[it.class as usize] {
            SetOp::Read(members) => reads.push((number, members)),
            SetOp::Add(member, told) => {
                let action = change(ABSENT, PRESENT, *told);
                done.entry(*member).or_default().push((number, action));
            }
            SetOp::Remove(member, told) => {
                let action = change(PRESENT, ABSENT, *told);
                done.entry(*member).or_default().push((number, action));
            }
            SetOp::Contains(member, there) => {
                let action = Action::Read(u32::from(*there));
                done.entry(*member).or_default().push((number, action));
            }
        }
    }
    for (number, members) in &reads {
        if let Some(why) = odd(set, members, |it| done.contains_key(&it)) {
            return Outcome::Invalid(Contradiction {
                operations: vec![*number],
                ..why
            });
        }
    }
    if done.len().saturating_mul(reads.len()) > READ_MAX {
        return Outcome::Undecided;
    }
    let gaps = Gaps::new(operations);
    let mut placed: Vec<(u32, usize, usize, u32)> = Vec::with_capacity(operations.len());
    let mut done: Vec<(u32, Done)> = done.into_iter().collect();
    done.sort_by_cached_key(|&(member, _)| set.members.text(member));
    for (at, (member, mut done)) in done.into_iter().enumerate() {
        let sees = |members: &[u32]| members.binary_search(&member).is_ok();
        done.extend(
            reads
                .iter()
                .map(|&(number, it)| (number, Action::Read(u32::from(sees(it))))),
        );
        done.sort_unstable_by_key(|&(number, _)| number);
        let presence = done.iter().map(|&(number, action)| Operation {
            invoke: operations[number as usize].invoke,
            ret: operations[number as usize].ret,
            action,
        });
        let presence: Vec<Operation> = presence.collect();
        let (mut space, timed) = RegisterSpace::new(&presence, ABSENT);
        let purse = meter.purse();
        match search::search(&mut space, &timed, &mut Meter::new(purse, STEPS_MAX)) {
            Ok(Answer::Linearization(order)) => {
                let mut moment = 0;
                for (place, it) in order.into_iter().enumerate() {
                    let number = done[it as usize].0;
                    moment = moment.max(gaps.first[number as usize]);
                    placed.push((moment, at, place, number));
                }
            }
            Ok(Answer::Stuck(stuck)) => {
                let core = shrink::shrink(&mut space, &timed, &[stuck], purse);
                return Outcome::Invalid(Contradiction {
                    operations: core.iter().map(|&(it, _)| done[it as usize].0).collect(),
                    about: vec![set.members.text(member)],
                    why: None,
                });
            }
            _ => return Outcome::Undecided,
        }
    }
    if !reads.is_empty() {
        return Outcome::Undecided;
    }
    placed.sort_unstable();
    let order: Vec<u32> = placed.into_iter().map(|(.., number)| number).collect();
    if replay(operations, classes, &order) {
        Outcome::Valid(order)
    } else {
        Outcome::Undecided
    }
}

/// An operation that makes something of what was there, and told whether it did.
fn change(from: u32, to: u32, told: Option<bool>) -> Action {
    match told {
        Some(true) => Action::Cas(from, to),
        Some(false) => Action::Read(to),
        None => Action::Write(to),
    }
}
