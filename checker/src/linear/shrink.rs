//! From an illegal history to the few operations that make it so.
//!
//! Leaving an operation out can make a legal history illegal (a read of what was written by it), so a
//! part that is merely illegal by itself proves little. What is left out here is only what makes no
//! difference even when it *may or may not have happened, at any time after its invocation*: the
//! history is illegal with the operation weakened to an unknown outcome, and only then without it.
//! Observers may go unconditionally: a legal history stays legal without them.

use super::budget::{Meter, Purse};
use super::frontier::Told;
use super::space::{Space, Timed};
use super::{frontier, search};
use crate::model::Effect;
use crate::model::register::NEVER;

/// Steps that one attempt may cost.
const TRIAL_STEPS: u64 = 200_000;

/// The operations left, by number, each with the return that is left of it.
pub(crate) fn shrink(
    space: &mut impl Space,
    operations: &[Timed],
    involved: &[u32],
    purse: &Purse,
) -> Vec<(u32, Timed)> {
    let end = |number: &u32| {
        let it = operations[*number as usize];
        if it.is_open() { it.invoke } else { it.ret }
    };
    let upto = involved.iter().map(end).max().unwrap_or(NEVER);
    let mut left = prefix(space, operations, upto);
    if let Some(focus) = space.focus(operations, involved) {
        let mut focused = left.clone();
        focused.retain(|(number, _)| focus.binary_search(number).is_ok());
        if is_illegal(space, &focused, purse) {
            left = focused;
        }
    }
    let mut chunk = left.len().div_ceil(2);
    while chunk > 0 && purse.time_left().is_ok() {
        let before = left.len();
        let mut end = left.len();
        while end > 0 && purse.time_left().is_ok() {
            let start = end.saturating_sub(chunk);
            if let Some(fewer) = without(space, &left, start..end, purse) {
                left = fewer;
            }
            end = start.min(left.len());
        }
        if left.len() == before || chunk > 1 {
            chunk /= 2;
        }
    }
    left
}

/// The history up to a moment: what returned later has an unknown outcome.
fn prefix(space: &impl Space, operations: &[Timed], upto: u32) -> Vec<(u32, Timed)> {
    let numbered = operations
        .iter()
        .enumerate()
        .take_while(|(_, it)| it.invoke <= upto);
    let mut left: Vec<(u32, Timed)> = numbered.map(|(number, &it)| (number as u32, it)).collect();
    for (_, it) in &mut left {
        if it.ret > upto {
            it.ret = NEVER;
        }
    }
    left.retain(|(_, it)| !it.is_open() || space.effect(it.class) != Effect::Observes);
    left
}

/// The operations without a range of them, if those make no difference.
fn without(
    space: &mut impl Space,
    left: &[(u32, Timed)],
    range: std::ops::Range<usize>,
    purse: &Purse,
) -> Option<Vec<(u32, Timed)>> {
    let mut weakened = Vec::with_capacity(left.len());
    let mut changed = false;
    for (at, &(number, mut it)) in left.iter().enumerate() {
        if range.contains(&at) {
            if space.effect(it.class) == Effect::Observes {
                changed = true;
                continue;
            }
            changed |= !it.is_open();
            it.ret = NEVER;
        }
        weakened.push((number, it));
    }
    // Without what nothing needs it is legal or not as with it, and sooner known.
    let fewer = drop_unneeded(space, &weakened);
    let smaller = changed || fewer.len() < left.len();
    (smaller && is_illegal(space, &fewer, purse)).then_some(fewer)
}

/// Leaves out operations of unknown outcome that nothing left could have needed.
fn drop_unneeded(space: &impl Space, operations: &[(u32, Timed)]) -> Vec<(u32, Timed)> {
    let mut left = operations.to_vec();
    loop {
        let needed = |it: &Timed| {
            !it.is_open()
                || left.iter().any(|(_, other)| {
                    other.invoke != it.invoke && space.feeds(it.class, other.class)
                })
        };
        let fewer: Vec<_> = left.iter().copied().filter(|(_, it)| needed(it)).collect();
        if fewer.len() == left.len() {
            return fewer;
        }
        left = fewer;
    }
}

/// Whether the operations are known to be illegal.
fn is_illegal(space: &mut impl Space, operations: &[(u32, Timed)], purse: &Purse) -> bool {
    let operations: Vec<Timed> = operations.iter().map(|&(_, it)| it).collect();
    let mut meter = Meter::new(purse, TRIAL_STEPS);
    if let Some(legal) = space.quick(&operations, &mut meter) {
        return !legal;
    }
    matches!(
        search::search(space, &operations, &mut meter),
        Ok(search::Answer::Stuck(_))
    )
}

/// Whether the second engine finds the operations illegal too; none when it gives up.
pub(crate) fn confirmed(
    space: &mut impl Space,
    operations: &[(u32, Timed)],
    purse: &Purse,
) -> Option<bool> {
    let operations: Vec<Timed> = operations.iter().map(|&(_, it)| it).collect();
    let mut meter = Meter::new(purse, TRIAL_STEPS * 10);
    frontier::check(space, &operations, &mut meter)
        .ok()
        .map(|told| matches!(told, Told::Stuck(_)))
}
