//! Sets from which something is removed, member by member.
//!
//! Whether a member is there is an object of its own: `add` and `remove` write it (an answer says what it was
//! before), `contains` reads it. Linearizability is local (Herlihy and Wing, 1990): where nobody reads
//! the whole set, the set is linearizable exactly when each member is. Their orders fit together: an operation
//! takes effect at the latest first gap of those up to it in its member's order, which is within its time.
//!
//! A read of the whole set reads each member. So a member whose history is illegal makes the set's illegal.
//! When all are legal the reads may still disagree. Each is pinned to the latest of the moments at which it
//! takes effect in its members' orders: what is pinned the same for all members is local again, so when each
//! member has an order around the pins, these orders fit together. When one has none it takes a search.
//!
//! A member has few operations that are open at once, so a search decides it quickly.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::set::odd;
use super::{Contradiction, Outcome, Structured};
use crate::linear::budget::{Meter, Purse};
use crate::linear::search::{self, Answer};
use crate::linear::shrink;
use crate::linear::space::{RegisterSpace, Timed};
use crate::model::aggregate::{Set, SetOp};
use crate::model::register::{Action, NEVER, Operation};

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
    let mut members: Vec<(u32, Done)> = done.into_iter().collect();
    members.sort_by_cached_key(|&(member, _)| set.members.text(member));
    let presences = Presences {
        set,
        members,
        reads,
        purse: meter.purse(),
    };
    let spans: Vec<Span> = operations.iter().map(|it| (it.invoke, it.ret)).collect();
    let placed = presences.place(&spans).and_then(|alone| {
        if presences.reads.is_empty() {
            return Ok(alone.placed);
        }
        presences.pinned(spans, &alone.moments)
    });
    let order: Vec<u32> = match placed {
        Ok(mut placed) => {
            placed.sort_unstable();
            placed.into_iter().map(|(.., number)| number).collect()
        }
        Err(outcome) => return outcome,
    };
    if set.allows(operations, classes, &order, meter) {
        Outcome::Valid(order)
    } else {
        Outcome::Undecided
    }
}

/// After the first and before the second an operation takes effect.
type Span = (u32, u32);

/// A moment, a member, a place in its order, an operation: together they stand in the order of all.
type Place = (u32, usize, usize, u32);

struct Presences<'a> {
    set: &'a Set,
    members: Vec<(u32, Done)>,
    reads: Vec<(u32, &'a [u32])>,
    purse: &'a Purse,
}

/// The orders of all members.
struct Placed {
    /// All operations but reads of the whole set.
    placed: Vec<Place>,
    /// When each operation takes effect, in the order of the member in which it does last.
    moments: Vec<u32>,
}

impl Presences<'_> {
    /// Finds an order for each member by itself.
    fn place(&self, spans: &[Span]) -> Result<Placed, Outcome> {
        let mut all = Placed {
            placed: Vec::with_capacity(spans.len()),
            moments: vec![0; spans.len()],
        };
        for (at, (member, own)) in (1..).zip(&self.members) {
            let seen = |&(number, members): &(u32, &[u32])| {
                let there = members.binary_search(member).is_ok();
                (number, Action::Read(u32::from(there)), true)
            };
            let own = own.iter().map(|&(number, action)| (number, action, false));
            let mut done: Vec<_> = own.chain(self.reads.iter().map(seen)).collect();
            done.sort_unstable_by_key(|&(number, ..)| spans[number as usize]);
            let presence = done.iter().map(|&(number, action, _)| {
                let (invoke, ret) = spans[number as usize];
                Operation {
                    invoke,
                    ret,
                    action,
                }
            });
            let presence: Vec<Operation> = presence.collect();
            let (mut space, timed) = RegisterSpace::new(&presence, ABSENT);
            let mut meter = Meter::new(self.purse, STEPS_MAX);
            let order = match search::search(&mut space, &timed, &mut meter) {
                Ok(Answer::Linearization(order)) => order,
                Ok(Answer::Stuck(stuck)) => {
                    let core = shrink::shrink(&mut space, &timed, &[stuck], self.purse);
                    return Err(Outcome::Invalid(Contradiction {
                        operations: core.iter().map(|&(it, _)| done[it as usize].0).collect(),
                        about: vec![self.set.members.text(*member)],
                        why: None,
                    }));
                }
                _ => return Err(Outcome::Undecided),
            };
            let mut moment = 0;
            for (place, it) in order.into_iter().enumerate() {
                let (number, _, whole) = done[it as usize];
                moment = moment.max(spans[number as usize].0);
                let last = &mut all.moments[number as usize];
                *last = moment.max(*last);
                if !whole {
                    all.placed.push((moment, at, place, number));
                }
            }
        }
        Ok(all)
    }

    /// Pins each read of the whole set to a moment, and finds an order for each member again.
    fn pinned(&self, mut spans: Vec<Span>, moments: &[u32]) -> Result<Vec<Place>, Outcome> {
        let mut pins: Vec<(u32, u32)> = Vec::with_capacity(self.reads.len());
        let moment = |&(number, _): &(u32, &[u32])| (moments[number as usize], number);
        pins.extend(self.reads.iter().map(moment));
        pins.sort_unstable();
        let at_once = pins.chunk_by(|one, other| one.0 == other.0);
        let most = at_once.clone().map(<[_]>::len).max().unwrap_or(0);
        // There is room for as many reads between two ends of operations.
        let room = u32::try_from(2 * most + 1).map_err(|_| Outcome::Undecided)?;
        let latest = spans.iter().map(|&(invoke, _)| invoke).max().unwrap_or(0);
        let ends = spans.iter().map(|&(_, ret)| ret).filter(|&it| it != NEVER);
        let latest = ends.fold(latest, u32::max).saturating_add(1);
        if latest.checked_mul(room).is_none() {
            return Err(Outcome::Undecided);
        }
        for (invoke, ret) in &mut spans {
            *invoke *= room;
            if *ret != NEVER {
                *ret *= room;
            }
        }
        let mut placed = Vec::with_capacity(spans.len());
        for reads in at_once {
            for (&(moment, number), nth) in reads.iter().zip(0..) {
                let from = moment * room + 2 * nth + 1;
                spans[number as usize] = (from, from + 1);
                placed.push((from, 0, 0, number));
            }
        }
        match self.place(&spans) {
            Ok(others) => placed.extend(others.placed),
            // Elsewhere the reads may fit.
            Err(_) => return Err(Outcome::Undecided),
        }
        Ok(placed)
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
