//! An order for a counter that nothing is taken away from.
//!
//! Such a counter only rises, so what was answered stands in order: each value that was seen is a
//! *level*, with the moments in which it must be reached and left. Between two levels goes a set of `add`s
//! that makes up the difference, with all those that return before the next level is left. Of equal
//! `add`s the one that returns first goes first, those of unknown outcome last. Where several sets
//! do, all are kept, up to a number, those first that leave the least that must soon go; and with the
//! same left those that use few large ones of unknown outcome rather than many small ones, for these can
//! do later what the large one can.
//!
//! With one amount there is but one set, and an order is found whenever there is one; with several, of short
//! histories nearly always, of long ones seldom. What is found is replayed; when none is found, that
//! says nothing.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{Gaps, NO_GAP, keeps_to_time};
use crate::linear::budget::Meter;
use crate::linear::space::Timed;
use crate::model::aggregate::CounterOp;

/// So many ways are kept at each level, of those with the same left so many, and so many sets are looked
/// at between two.
const WAYS_MAX: usize = 32;
const WAYS_ALIKE_MAX: usize = 4;
const SETS_MAX: usize = 32;
const LOOKS_MAX: usize = 2_000;

/// Finds an order of the operations, which are sorted by invocation.
pub(super) fn order(
    initial: i64,
    operations: &[Timed],
    classes: &[CounterOp],
    gaps: &Gaps,
    meter: &mut Meter<'_>,
) -> Option<Vec<u32>> {
    let rise = Rise::new(initial, operations, classes, gaps)?;
    let order = rise.climb(meter)?;
    let mut sum = i128::from(initial);
    let legal = order.iter().all(|&number| {
        let class = &classes[operations[number as usize].class as usize];
        let (by, answer) = match *class {
            CounterOp::Add(by, answer) => (by, answer),
            CounterOp::Read(answer) => (0, Some(answer)),
        };
        sum += i128::from(by);
        answer.is_none_or(|it| i128::from(it) == sum)
    });
    (legal && keeps_to_time(operations, &order)).then_some(order)
}

/// A value that was seen.
#[derive(Default)]
struct Level {
    value: i128,
    /// Who answered it without adding, by invocation.
    reads: Vec<u32>,
    /// Who went on from it, and answered the next one.
    leaver: Option<u32>,
    /// Not left before the first of these gaps, and reached in the second at the latest.
    from: u32,
    upto: u32,
}

type Used = SmallVec<[u32; 8]>;

/// A way to a level.
struct Way {
    /// When it is reached.
    at: u32,
    /// Of each amount how many of unknown outcome were used.
    used: Used,
    /// `add`s of known outcome that have begun and are left.
    left: Vec<u32>,
    /// The way to the level before, and what was added after that.
    before: usize,
    added: Vec<u32>,
}

impl Way {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + (self.left.len() + self.added.len()) * size_of::<u32>()
    }
}

/// `add`s of one amount.
#[derive(Default)]
struct Amount {
    by: i128,
    /// Those of unknown outcome, by invocation.
    unknown: Vec<u32>,
}

struct Rise<'a> {
    gaps: &'a Gaps,
    levels: Vec<Level>,
    amounts: Vec<Amount>,
    /// The place in `amounts` of each operation that only adds.
    amount_of: HashMap<u32, usize, FixedState>,
    /// Those of known outcome, by invocation.
    known: Vec<u32>,
}

impl<'a> Rise<'a> {
    /// None where something was taken away, or two went on from the same value.
    fn new(
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
                CounterOp::Add(by, _) if by < 1 => return None,
                CounterOp::Add(by, Some(answer)) => {
                    let (by, answer) = (i128::from(by), i128::from(answer));
                    levels.entry(answer).or_default();
                    let before = levels.entry(answer - by).or_default();
                    if before.leaver.replace(number).is_some() {
                        return None;
                    }
                }
                CounterOp::Add(by, None) => {
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
        let places: BTreeMap<i128, usize> = amounts.keys().copied().zip(0..).collect();
        let mut levels: Vec<Level> = levels
            .into_iter()
            .map(|(value, level)| Level { value, ..level })
            .collect();
        // A level is reached by the time that it is seen, and so are all before it.
        let mut upto = NO_GAP;
        for level in levels.iter_mut().rev() {
            let seers = level.reads.iter().chain(&level.leaver);
            let last = seers.map(|&it| gaps.last[it as usize]).min();
            upto = upto.min(last.unwrap_or(NO_GAP));
            let seers = level.reads.iter().chain(&level.leaver);
            let first = seers.map(|&it| gaps.first[it as usize]).max();
            (level.from, level.upto) = (first.unwrap_or(0), upto);
        }
        Some(Rise {
            gaps,
            levels,
            amount_of: adds.into_iter().map(|(it, by)| (it, places[&by])).collect(),
            amounts: amounts
                .into_iter()
                .map(|(by, amount)| Amount { by, ..amount })
                .collect(),
            known,
        })
    }

    /// All operations in order, from level to level.
    fn climb(&self, meter: &mut Meter<'_>) -> Option<Vec<u32>> {
        let (mut entered, mut bytes) = (0, 0);
        let start = Way {
            at: 0,
            used: self.amounts.iter().map(|_| 0).collect(),
            left: Vec::new(),
            before: 0,
            added: Vec::new(),
        };
        let mut ways: Vec<Vec<Way>> = vec![vec![start]];
        for pair in self.levels.windows(2) {
            let begun = self
                .known
                .partition_point(|&it| self.gaps.first[it as usize] <= pair[1].upto);
            let fresh = &self.known[entered.min(begun)..begun];
            entered = entered.max(begun);
            let mut next: Vec<Way> = Vec::new();
            for (before, way) in ways.last()?.iter().enumerate() {
                self.rise(&pair[0], &pair[1], before, way, fresh, &mut next);
            }
            next.sort_by_cached_key(|way| {
                let left = way.left.iter().map(|it| self.hurry(*it, &pair[1]));
                (left.sum::<i128>(), way.used.iter().sum::<u32>(), way.at)
            });
            let mut alike: HashMap<Vec<u32>, Vec<Used>, FixedState> = HashMap::default();
            next.retain(|way| {
                let alike = alike.entry(way.left.clone()).or_default();
                let fresh = alike.len() < WAYS_ALIKE_MAX && !alike.contains(&way.used);
                if fresh {
                    alike.push(way.used.clone());
                }
                fresh
            });
            next.truncate(WAYS_MAX);
            bytes += next.iter().map(Way::memory_bytes).sum::<usize>();
            meter
                .time_left()
                .and_then(|()| meter.hold(bytes as u64))
                .ok()?;
            ways.push(next);
        }
        let top = self.levels.last()?;
        let rest = &self.known[entered..];
        let in_time = |way: &&Way| {
            let at = way.at.max(top.from);
            way.at <= top.upto && way.left.iter().all(|&it| self.gaps.last[it as usize] >= at)
        };
        let last = ways.last()?.iter().position(|way| in_time(&way))?;
        Some(self.write_out(&ways, last, rest))
    }

    /// The ways from a level to the next one, from one way.
    fn rise(
        &self,
        from: &Level,
        to: &Level,
        before: usize,
        way: &Way,
        fresh: &[u32],
        next: &mut Vec<Way>,
    ) {
        let begin = way.at.max(from.from);
        let mut left = way.left.clone();
        left.extend(fresh);
        let returns = |it: &u32| self.gaps.last[*it as usize];
        if left.iter().any(|it| returns(it) < begin) {
            return;
        }
        let difference = to.value - from.value;
        if let Some(leaver) = from.leaver {
            let at = begin.max(self.gaps.first[leaver as usize]);
            if at <= to.upto && at <= returns(&leaver) {
                next.push(Way {
                    at,
                    used: way.used.clone(),
                    left,
                    before,
                    added: vec![leaver],
                });
            }
            return;
        }
        // What returns before the next level is left goes now.
        let by = |it: &u32| self.amounts[self.amount_of[it]].by;
        left.sort_by_key(returns);
        let hurried = left.partition_point(|it| returns(it) < begin.max(to.from));
        let rest = difference - left[..hurried].iter().map(by).sum::<i128>();
        let mut supply = vec![Vec::new(); self.amounts.len()];
        for &it in &left[hurried..] {
            supply[self.amount_of[&it]].push(it);
        }
        for ((supply, amount), &used) in supply.iter_mut().zip(&self.amounts).zip(&way.used) {
            let unused = amount.unknown[used as usize..].iter().copied();
            supply.extend(unused.take_while(|&it| self.gaps.first[it as usize] <= to.upto));
        }
        let counts: Vec<Supply> = self
            .amounts
            .iter()
            .zip(&supply)
            .map(|(amount, supply)| Supply {
                by: amount.by,
                known: supply.partition_point(|&it| !self.is_open(it)),
                all: supply.len(),
            })
            .collect();
        for set in sets(&counts, rest) {
            let mut added = left[..hurried].to_vec();
            let mut used = way.used.clone();
            for ((supply, count), used) in supply.iter().zip(set).zip(&mut used) {
                let taken = &supply[..count];
                added.extend(taken);
                let open = taken.iter().filter(|&&it| self.is_open(it)).count();
                *used += open as u32;
            }
            let firsts = added.iter().map(|&it| self.gaps.first[it as usize]);
            let at = firsts.fold(begin, u32::max);
            let left: Vec<u32> = left
                .iter()
                .copied()
                .filter(|it| !added.contains(it))
                .collect();
            if at <= to.upto && left.iter().all(|it| returns(it) >= at.max(to.from)) {
                next.push(Way {
                    at,
                    used,
                    left,
                    before,
                    added,
                });
            }
        }
    }

    /// How much an `add` that is left at a level weighs: the more it adds and the sooner it must go.
    fn hurry(&self, add: u32, level: &Level) -> i128 {
        let spare = self.gaps.last[add as usize].saturating_sub(level.from);
        self.amounts[self.amount_of[&add]].by * i128::from(u32::MAX) / i128::from(spare + 1)
    }

    fn is_open(&self, add: u32) -> bool {
        self.amounts[self.amount_of[&add]]
            .unknown
            .binary_search(&add)
            .is_ok()
    }

    fn write_out(&self, ways: &[Vec<Way>], mut last: usize, rest: &[u32]) -> Vec<u32> {
        let by_first = |numbers: &[u32]| {
            let mut numbers = numbers.to_vec();
            numbers.sort_unstable();
            numbers
        };
        let mut parts = vec![by_first(&[&ways[ways.len() - 1][last].left, rest].concat())];
        for (level, ways) in self.levels.iter().zip(ways).rev() {
            let way = &ways[last];
            parts.push(level.reads.clone());
            parts.push(by_first(&way.added));
            last = way.before;
        }
        parts.reverse();
        parts.concat()
    }
}

/// How many `add`s of an amount there are, those of known outcome and all.
struct Supply {
    by: i128,
    known: usize,
    all: usize,
}

/// How many of each amount make up the sum: some ways of it, those of known outcome used up first.
fn sets(supply: &[Supply], sum: i128) -> Vec<Vec<usize>> {
    fn go(
        supply: &[Supply],
        sum: i128,
        above: &mut Vec<usize>,
        looks: &mut usize,
        found: &mut Vec<Vec<usize>>,
    ) {
        let Some((greatest, lesser)) = supply.split_last() else {
            if sum == 0 {
                found.push(above.iter().rev().copied().collect());
            }
            return;
        };
        let most =
            usize::try_from(sum / greatest.by).map_or(greatest.all, |it| it.min(greatest.all));
        let known = greatest.known.min(most);
        for count in (0..=known).rev().chain(known + 1..=most) {
            if *looks == 0 || found.len() == SETS_MAX {
                return;
            }
            *looks -= 1;
            above.push(count);
            go(
                lesser,
                sum - greatest.by * count as i128,
                above,
                looks,
                found,
            );
            above.pop();
        }
    }
    let (mut found, mut looks) = (Vec::new(), LOOKS_MAX);
    if sum >= 0 {
        go(supply, sum, &mut Vec::new(), &mut looks, &mut found);
    }
    found
}
