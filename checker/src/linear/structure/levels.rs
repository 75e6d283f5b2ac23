//! The values that a counter passes through, when nothing is taken away from it.
//!
//! Such a counter only rises, so what was answered stands in order: each value that was seen is a
//! *level*, with the moments in which it must be reached and left. Between two levels go `add`s that make
//! up the difference. An `add` of known outcome goes in one of the *steps* between levels that its time
//! allows, one of unknown outcome in one that it had begun before, or in none.
//!
//! # When there is no order
//!
//! Whatever the order, each step takes some of the `add`s of known outcome that its time allows, and
//! those of unknown outcome make up the rest. So look for that alone, as if one of unknown outcome could
//! go in many steps, and forget that `add`s also precede each other: if no choice does even then, there is no
//! order. Of `add`s of one amount that may go in a step those go that may go in the fewest later ones: when
//! another goes, and this one later, they can be exchanged. So a choice is so many of each amount, and what
//! can be left over at a level are few sets, all of which are kept.
//!
//! [`climb`](super::climb) looks for an order.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::sums::{Counts, Stock, Sums, takings};
use super::{Gaps, NO_GAP};
use crate::linear::budget::{Meter, Spent};
use crate::linear::space::Timed;
use crate::model::aggregate::CounterOp;

/// So many sets of what is left over are kept at a level, and so many choices are looked at in all; with
/// more than that nothing is claimed.
const SETS_MAX: usize = 1 << 12;
const LOOKS_MAX: usize = 1 << 22;

/// A value that was seen.
#[derive(Default)]
pub(super) struct Level {
    pub(super) value: i128,
    /// Who answered it and added nothing, by invocation.
    pub(super) reads: Vec<u32>,
    /// Who went on from it, and answered the next one.
    pub(super) leaver: Option<u32>,
    /// Not left before the first of these gaps, and reached in the second at the latest.
    pub(super) from: u32,
    pub(super) upto: u32,
}

impl Level {
    /// Who saw it.
    fn seers(&self) -> impl Iterator<Item = u32> {
        self.reads.iter().copied().chain(self.leaver)
    }
}

/// `add`s of one amount.
#[derive(Default)]
pub(super) struct Amount {
    pub(super) by: i128,
    /// Those of unknown outcome, by invocation.
    pub(super) unknown: Vec<u32>,
}

/// `add`s of known outcome that have begun and are left over, those first that must go first.
pub(super) type Left = SmallVec<[u32; 8]>;

pub(super) struct Levels<'a> {
    pub(super) gaps: &'a Gaps,
    /// The least first.
    pub(super) seen: Vec<Level>,
    /// The least first.
    pub(super) amounts: Vec<Amount>,
    /// The place in `amounts` of each operation that only adds.
    amount_of: Vec<u32>,
    /// Those of known outcome, by invocation.
    pub(super) known: Vec<u32>,
}

impl<'a> Levels<'a> {
    /// Of answers that are not out of bounds, and leave each other room. Who adds nothing and was told nothing
    /// is left out. None where something is taken away.
    pub(super) fn new(
        initial: i64,
        operations: &[Timed],
        classes: &[CounterOp],
        gaps: &'a Gaps,
    ) -> Option<Self> {
        let mut levels: BTreeMap<i128, Level> = BTreeMap::new();
        let mut amounts: BTreeMap<i128, Amount> = BTreeMap::new();
        let (mut adds, mut known) = (Vec::new(), Vec::new());
        levels.entry(initial.into()).or_default();
        for (number, it) in operations.iter().enumerate() {
            let number = number as u32;
            match classes[it.class as usize] {
                CounterOp::Add(by, _) if by < 0 => return None,
                CounterOp::Add(0, Some(answer)) if !it.is_open() => {
                    levels.entry(answer.into()).or_default().reads.push(number);
                }
                CounterOp::Add(0, _) => {}
                CounterOp::Add(by, Some(answer)) if !it.is_open() => {
                    let (by, answer) = (i128::from(by), i128::from(answer));
                    levels.entry(answer).or_default();
                    levels.entry(answer - by).or_default().leaver = Some(number);
                }
                CounterOp::Add(by, _) => {
                    let by = i128::from(by);
                    adds.push((number, by));
                    let amount = amounts.entry(by).or_default();
                    if it.is_open() {
                        amount.unknown.push(number);
                    } else {
                        known.push(number);
                    }
                }
                CounterOp::Read(seen) => levels.entry(seen.into()).or_default().reads.push(number),
            }
        }
        let places: BTreeMap<i128, u32> = amounts.keys().copied().zip(0..).collect();
        let mut amount_of = vec![u32::MAX; operations.len()];
        for (number, by) in adds {
            amount_of[number as usize] = places[&by];
        }
        let levels = levels
            .into_iter()
            .map(|(value, level)| Level { value, ..level });
        let mut it = Levels {
            gaps,
            seen: levels.collect(),
            amount_of,
            amounts: amounts
                .into_iter()
                .map(|(by, amount)| Amount { by, ..amount })
                .collect(),
            known,
        };
        it.bound();
        Some(it)
    }

    /// When each level is reached at the latest, as are all before it, and left at the earliest, as are
    /// all after it.
    fn bound(&mut self) {
        let gaps = self.gaps;
        let mut upto = NO_GAP;
        for level in self.seen.iter_mut().rev() {
            let last = level.seers().map(|it| gaps.last[it as usize]).min();
            upto = upto.min(last.unwrap_or(NO_GAP));
            level.upto = upto;
        }
        let mut from = 0;
        for level in &mut self.seen {
            let first = level.seers().map(|it| gaps.first[it as usize]).max();
            from = from.max(first.unwrap_or(0));
            level.from = from;
        }
    }

    /// What is held, the gaps too.
    pub(super) fn bytes(&self) -> u64 {
        let seers: usize = self.seen.iter().map(|it| it.reads.capacity()).sum();
        let unknown: usize = self.amounts.iter().map(|it| it.unknown.capacity()).sum();
        let numbers = self.amount_of.capacity() + self.known.capacity() + seers + unknown;
        let gaps = self.gaps.first.capacity() + self.gaps.last.capacity();
        let bytes = (numbers + gaps) * size_of::<u32>() + self.seen.capacity() * size_of::<Level>();
        bytes as u64
    }

    pub(super) fn amount(&self, add: u32) -> usize {
        self.amount_of[add as usize] as usize
    }

    pub(super) fn by(&self, add: u32) -> i128 {
        self.amounts[self.amount(add)].by
    }

    pub(super) fn first(&self, operation: u32) -> u32 {
        self.gaps.first[operation as usize]
    }

    pub(super) fn last(&self, operation: u32) -> u32 {
        self.gaps.last[operation as usize]
    }

    /// How many of these have begun by then.
    pub(super) fn begun(&self, adds: &[u32], upto: u32) -> usize {
        adds.partition_point(|&it| self.first(it) <= upto)
    }

    /// What is left over, with what has begun since.
    pub(super) fn with_begun(&self, left: &Left, since: &[u32]) -> Left {
        let mut left = left.clone();
        left.extend_from_slice(since);
        left.sort_unstable_by_key(|&it| (self.last(it), it));
        left
    }

    /// How many of each amount there are among some.
    pub(super) fn stocks(&self, adds: &[u32]) -> SmallVec<[Stock; 8]> {
        let mut stocks: SmallVec<[Stock; 8]> = self
            .amounts
            .iter()
            .map(|it| Stock {
                by: it.by,
                count: 0,
            })
            .collect();
        for &add in adds {
            stocks[self.amount(add)].count += 1;
        }
        stocks
    }

    /// Which of those left over go when so many of each amount do: the first ones.
    pub(super) fn first_of_each(
        &self,
        left: &[u32],
        counts: &Counts,
    ) -> impl Iterator<Item = bool> {
        let mut counts = counts.clone();
        left.iter().map(move |&it| {
            let count = &mut counts[self.amount(it)];
            let goes = *count > 0;
            *count -= u32::from(goes);
            goes
        })
    }

    /// Who says that a level cannot be reached: who saw it or one below it, and who bounds it from above.
    pub(super) fn seers(&self, level: usize) -> Vec<u32> {
        let (upto, beyond) = (&self.seen[..=level], &self.seen[level..]);
        let first = beyond.iter().flat_map(Level::seers);
        let first = first.min_by_key(|&it| self.last(it));
        upto.iter().flat_map(Level::seers).chain(first).collect()
    }

    /// The level that cannot be reached, or be left in time; none: all can, for all that is known.
    pub(super) fn unreachable(&self, meter: &mut Meter<'_>) -> Result<Option<usize>, Spent> {
        let mut unknown: Vec<u32> = self
            .amounts
            .iter()
            .flat_map(|it| &it.unknown)
            .copied()
            .collect();
        unknown.sort_unstable();
        let (mut supply, mut supplied, mut entered) = (Sums::new(), 0, 0);
        // What is left over, and the sum of those of unknown outcome that were used.
        let mut sets: Vec<(Left, i128)> = vec![(Left::new(), 0)];
        let mut looks = LOOKS_MAX;
        for (at, pair) in self.seen.windows(2).enumerate() {
            let (from, to) = (&pair[0], &pair[1]);
            meter.time_left()?;
            let begun = self.begun(&unknown, to.upto).max(supplied);
            unknown[supplied..begun]
                .iter()
                .for_each(|&it| supply.add(self.by(it)));
            supplied = begun;
            let begun = self.begun(&self.known, to.upto).max(entered);
            let fresh = &self.known[entered..begun];
            entered = begun;
            let mut next: HashSet<(Left, i128), FixedState> = HashSet::default();
            for (left, used) in &sets {
                let left = self.with_begun(left, fresh);
                if !self.step(from, to, (left, *used), &supply, &mut looks, &mut next) {
                    return Ok(None);
                }
            }
            if next.is_empty() {
                return Ok(Some(at + 1));
            }
            sets = next.into_iter().collect();
        }
        let top = self.seen.last().expect("there is a first one");
        let in_time =
            |(left, _): &(Left, i128)| left.first().is_none_or(|&it| self.last(it) >= top.from);
        let reached = sets.iter().any(in_time);
        Ok((!reached).then(|| self.seen.len() - 1))
    }

    /// All that can be left over after a step; false when these are too many.
    fn step(
        &self,
        from: &Level,
        to: &Level,
        (left, used): (Left, i128),
        supply: &Sums,
        looks: &mut usize,
        next: &mut HashSet<(Left, i128), FixedState>,
    ) -> bool {
        if left.first().is_some_and(|&it| self.last(it) < from.from) {
            return true;
        }
        if let Some(leaver) = from.leaver {
            if self.first(leaver) <= to.upto && self.last(leaver) >= from.from {
                next.insert((left, used));
            }
            return true;
        }
        let hurried = left.partition_point(|&it| self.last(it) < to.from);
        let hurry: i128 = left[..hurried].iter().map(|&it| self.by(it)).sum();
        let difference = to.value - from.value - hurry;
        if difference < 0 {
            return true;
        }
        let left = &left[hurried..];
        let fits = |rest| supply.may_make(rest) && supply.may_make(used + rest);
        takings(
            &self.stocks(left),
            difference,
            looks,
            &fits,
            &mut |counts, rest| {
                let goes = self.first_of_each(left, counts);
                let stay = left.iter().zip(goes).filter(|(_, goes)| !goes);
                next.insert((stay.map(|(&it, _)| it).collect(), used + rest));
                next.len() <= SETS_MAX
            },
        )
    }
}
