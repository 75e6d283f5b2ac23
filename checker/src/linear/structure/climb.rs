//! An order for a counter that nothing is taken away from, looked for from level to level.
//!
//! What is added between two [`levels`](super::levels) makes up the difference, with all those that return
//! before the next level is left. Of equal `add`s the one that returns first goes first, those of unknown
//! outcome last. Where few sets do, all are looked at; where there are many, for each sum that those of
//! unknown outcome could leave over the one that leaves the least that must soon go. Of the ways that differ
//! in what is left over as many are kept as are bearable, those first that leave the least that must soon go;
//! and of ways with the same left over those that use few large ones of unknown outcome rather than many
//! small ones, for these can do later what the large one can.
//!
//! With one amount there is but one set, and an order is found whenever there is one. What is found is
//! replayed; when none is found, that says nothing.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::levels::{Left, Level, Levels};
use super::sums::{Counts, Item, Stock, most_wanted, takings};
use crate::linear::budget::{Meter, grown, spilled};

/// How much is looked at.
#[derive(Clone, Copy)]
pub(super) struct Width {
    /// So many ways are kept at each level, and of those with the same left over so many.
    ways: usize,
    alike: usize,
    /// Of a choice of those of known outcome, so many of unknown outcome are tried beside.
    fills: usize,
    /// So many opinions are had of what is to go soon.
    opinions: u64,
    /// So many horizons are looked at, that of all that can have begun apart.
    horizons: usize,
}

pub(super) const NARROW: Width = Width {
    ways: 32,
    alike: 4,
    fills: 4,
    opinions: 1,
    horizons: 0,
};

/// To be tried when that did not do.
pub(super) const WIDER: [Width; 3] = [
    Width {
        horizons: 3,
        ..NARROW
    },
    Width {
        ways: 256,
        alike: 8,
        fills: 8,
        opinions: 3,
        horizons: 3,
    },
    Width {
        ways: 2048,
        alike: 32,
        fills: 16,
        opinions: 5,
        horizons: 5,
    },
];

/// With more ways to choose than this not all are looked at.
const CHOICES_MAX: usize = 256;
const FILL_LOOKS_MAX: usize = 500;

/// The largest difference that is divided in all ways.
const DIFFERENCE_MAX: i128 = 1 << 12;

type Used = Counts;

/// A way to a level.
struct Way {
    /// When it is reached.
    at: u32,
    /// Of each amount how many of unknown outcome were used.
    used: Used,
    left: Left,
    come: Come,
}

impl Way {
    /// What it holds outside itself.
    fn bytes(&self) -> usize {
        spilled(&self.used) + spilled(&self.left) + spilled(&self.come.added)
    }
}

/// What sorting takes of each way.
const KEY_BYTES: usize = 32;

/// The way to the level before, and what was added after that.
struct Come {
    before: u32,
    added: SmallVec<[u32; 4]>,
}

/// A step that is to be made from a way.
struct Step<'a> {
    begin: u32,
    before: u32,
    to: &'a Level,
    hurried: &'a [u32],
    left: &'a [u32],
    difference: i128,
}

/// All operations in order.
pub(super) fn order(levels: &Levels<'_>, width: Width, meter: &mut Meter<'_>) -> Option<Vec<u32>> {
    Climb { levels, width }.climb(meter)
}

/// The ways to a level, and what there is of them is told while they become more.
struct Ways<'m, 'p> {
    all: Vec<Way>,
    /// What they hold outside themselves.
    outside: usize,
    /// What is held beside them.
    beside: usize,
    meter: &'m mut Meter<'p>,
    /// The budget ended; no more is taken.
    spent: bool,
}

impl Ways<'_, '_> {
    fn push(&mut self, way: Way) {
        const TOLD_EVERY: usize = 256;
        if self.spent {
            return;
        }
        self.outside += way.bytes();
        let fills = self.all.len() + 1 >= self.all.capacity();
        self.all.push(way);
        if fills || self.all.len().is_multiple_of(TOLD_EVERY) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let sorting = self.all.capacity() * KEY_BYTES;
        let bytes = self.beside + grown(&self.all) + sorting + self.outside;
        let held = self.meter.hold(bytes as u64);
        self.spent |= held.and_then(|()| self.meter.time_left()).is_err();
    }
}

struct Climb<'a> {
    levels: &'a Levels<'a>,
    width: Width,
}

impl Climb<'_> {
    fn climb(&self, meter: &mut Meter<'_>) -> Option<Vec<u32>> {
        let Levels {
            seen: levels,
            known,
            amounts,
            ..
        } = self.levels;
        let base = self.levels.bytes() as usize;
        let (mut entered, mut bytes) = (0, 0);
        let mut ways = vec![Way {
            at: 0,
            used: amounts.iter().map(|_| 0).collect(),
            left: Left::new(),
            come: Come {
                before: 0,
                added: SmallVec::new(),
            },
        }];
        let mut come: Vec<Vec<Come>> = Vec::with_capacity(levels.len());
        for pair in levels.windows(2) {
            let begun = self.levels.begun(known, pair[1].upto).max(entered);
            let fresh = &known[entered..begun];
            entered = begun;
            let below = ways.capacity() * size_of::<Way>();
            let outside = ways.iter().map(Way::bytes).sum::<usize>();
            let mut next = Ways {
                all: Vec::new(),
                outside: 0,
                beside: base + bytes + below + outside,
                meter,
                spent: false,
            };
            next.tell();
            for (before, way) in ways.iter().enumerate() {
                self.rise(&pair[0], &pair[1], before as u32, way, fresh, &mut next);
                if next.spent {
                    return None;
                }
            }
            let mut next = next.all;
            self.choose(&mut next, &pair[1]);
            if next.is_empty() {
                return None;
            }
            next.shrink_to_fit();
            let come_bytes = |way: &Way| size_of::<Come>() + spilled(&way.come.added);
            bytes += next.iter().map(come_bytes).sum::<usize>();
            let before = std::mem::replace(&mut ways, next).into_iter();
            let mut before: Vec<Come> = before.map(|way| way.come).collect();
            // It was put where the ways were, which are larger.
            before.shrink_to_fit();
            come.push(before);
        }
        let top = levels.last()?;
        let in_time = |way: &Way| {
            let at = way.at.max(top.from);
            way.at <= top.upto && way.left.iter().all(|&it| self.levels.last(it) >= at)
        };
        let last = ways.iter().position(in_time)?;
        let rest = [ways[last].left.as_slice(), &known[entered..]].concat();
        come.push(ways.into_iter().map(|way| way.come).collect());
        Some(self.write_out(&come, last, rest))
    }

    /// The ways from a level to the next one, from one way.
    fn rise(
        &self,
        from: &Level,
        to: &Level,
        before: u32,
        way: &Way,
        fresh: &[u32],
        next: &mut Ways<'_, '_>,
    ) {
        let all = self.levels;
        let begin = way.at.max(from.from);
        let left = all.with_begun(&way.left, fresh);
        if left.first().is_some_and(|&it| all.last(it) < begin) {
            return;
        }
        if let Some(leaver) = from.leaver {
            let at = begin.max(all.first(leaver));
            if at <= to.upto && at <= all.last(leaver) {
                let come = Come {
                    before,
                    added: SmallVec::from_slice(&[leaver]),
                };
                next.push(Way {
                    at,
                    used: way.used.clone(),
                    left,
                    come,
                });
            }
            return;
        }
        // What returns before the next level is left goes now.
        let hurried = left.partition_point(|&it| all.last(it) < begin.max(to.from));
        let (hurried, left) = left.split_at(hurried);
        let difference = to.value - from.value - hurried.iter().map(|&it| all.by(it)).sum::<i128>();
        if difference < 0 {
            return;
        }
        let step = Step {
            begin,
            before,
            to,
            hurried,
            left,
            difference,
        };
        for horizon in self.horizons(left, to) {
            self.rise_before(horizon, &step, &way.used, next);
        }
    }

    /// What takes effect after an `add` that is left over has not begun when that must go. So what begins
    /// later is left aside, too, for some of those that are left over.
    fn horizons(&self, left: &[u32], to: &Level) -> SmallVec<[u32; 4]> {
        let latest = left
            .iter()
            .map(|&it| self.levels.first(it))
            .max()
            .unwrap_or(0);
        let lasts = left.iter().map(|&it| self.levels.last(it));
        let mut horizons: SmallVec<[u32; 4]> = lasts
            .take_while(|&last| last < latest)
            .take(self.width.horizons)
            .collect();
        horizons.push(to.upto);
        horizons.dedup();
        horizons
    }

    /// The ways that add only what has begun by then.
    fn rise_before(&self, horizon: u32, step: &Step<'_>, used: &Used, next: &mut Ways<'_, '_>) {
        let (all, to) = (self.levels, step.to);
        let unused = self.unused(used, horizon);
        let begun: Left = step
            .left
            .iter()
            .copied()
            .filter(|&it| all.first(it) <= horizon)
            .collect();
        self.divide(to, &begun, step.difference, |goes, rest| {
            let chosen = begun
                .iter()
                .enumerate()
                .filter(|&(at, _)| at < 64 && goes >> at & 1 == 1);
            let chosen: Left = chosen.map(|(_, &it)| it).collect();
            let stay: Left = step
                .left
                .iter()
                .copied()
                .filter(|it| !chosen.contains(it))
                .collect();
            let mut looks = FILL_LOOKS_MAX;
            let mut fills = self.width.fills;
            takings(
                &unused,
                rest,
                &mut looks,
                &|rest| rest == 0,
                &mut |fill, _| {
                    let mut added: SmallVec<[u32; 4]> =
                        step.hurried.iter().chain(&chosen).copied().collect();
                    let mut used = used.clone();
                    for ((amount, used), &count) in all.amounts.iter().zip(&mut used).zip(fill) {
                        added
                            .extend_from_slice(&amount.unknown[*used as usize..][..count as usize]);
                        *used += count;
                    }
                    let at = added
                        .iter()
                        .map(|&it| all.first(it))
                        .fold(step.begin, u32::max);
                    if at <= to.upto
                        && stay
                            .first()
                            .is_none_or(|&it| all.last(it) >= at.max(to.from))
                    {
                        next.push(Way {
                            at,
                            used,
                            left: stay.clone(),
                            come: Come {
                                before: step.before,
                                added,
                            },
                        });
                    }
                    fills -= 1;
                    fills > 0 && !next.spent
                },
            );
        });
    }

    /// Gives which of those left over may go, as bits, and what of a difference they leave.
    fn divide(&self, to: &Level, left: &[u32], difference: i128, mut found: impl FnMut(u64, i128)) {
        let all = self.levels;
        let left = &left[..left.len().min(64)];
        let stocks = all.stocks(left);
        let choices = stocks.iter().map(|it| it.count + 1);
        if difference > DIFFERENCE_MAX || choices.fold(1, usize::saturating_mul) <= CHOICES_MAX {
            let mut looks = CHOICES_MAX * 4;
            takings(
                &stocks,
                difference,
                &mut looks,
                &|_| true,
                &mut |counts, rest| {
                    let goes = all.first_of_each(left, counts).zip(0..);
                    found(
                        goes.fold(0, |set, (goes, at)| set | u64::from(goes) << at),
                        rest,
                    );
                    true
                },
            );
            return;
        }
        let mut seen = Vec::new();
        for opinion in 0..self.width.opinions {
            let item = |&it: &u32| Item {
                by: all.by(it) as usize,
                weight: self
                    .hurry(it, to)
                    .wrapping_mul(8 + (u64::from(it) * opinion * 7) % 8),
            };
            let items: Vec<Item> = left.iter().map(item).collect();
            let best = most_wanted(&items, difference as usize);
            for (&best, rest) in best.iter().zip((0..=difference).rev()) {
                if let Some((_, goes)) = best
                    && !seen.contains(&goes)
                {
                    seen.push(goes);
                    found(goes, rest);
                }
            }
        }
    }

    /// What is unused of those of unknown outcome that have begun.
    fn unused(&self, used: &Used, upto: u32) -> SmallVec<[Stock; 8]> {
        let amounts = self.levels.amounts.iter().zip(used);
        let stocks = amounts.map(|(amount, &used)| Stock {
            by: amount.by,
            count: self.levels.begun(&amount.unknown[used as usize..], upto),
        });
        stocks.collect()
    }

    /// Keeps the best ways.
    fn choose(&self, next: &mut Vec<Way>, level: &Level) {
        next.sort_by_cached_key(|way| {
            let left = way.left.iter().map(|&it| self.hurry(it, level));
            (left.sum::<u64>(), way.used.iter().sum::<u32>(), way.at)
        });
        let mut alike: HashMap<Left, Vec<Used>, FixedState> = HashMap::default();
        let mut kept = 0;
        next.retain(|way| {
            if kept == self.width.ways {
                return false;
            }
            let alike = alike.entry(way.left.clone()).or_default();
            let fresh = alike.len() < self.width.alike && !alike.contains(&way.used);
            if fresh {
                alike.push(way.used.clone());
                kept += 1;
            }
            fresh
        });
    }

    /// How much an `add` that is left at a level weighs: the more it adds and the sooner it must go.
    fn hurry(&self, add: u32, level: &Level) -> u64 {
        let spare = self.levels.last(add).saturating_sub(level.from);
        let by = self.levels.by(add).min(DIFFERENCE_MAX) as u64;
        (by << 24) / (u64::from(spare) + 1)
    }

    fn write_out(&self, come: &[Vec<Come>], mut last: usize, mut rest: Vec<u32>) -> Vec<u32> {
        rest.sort_unstable();
        let mut parts = vec![rest];
        for (level, come) in self.levels.seen.iter().zip(come).rev() {
            let Come { before, added } = &come[last];
            let mut added = added.to_vec();
            added.sort_unstable();
            parts.push(level.reads.clone());
            parts.push(added);
            last = *before as usize;
        }
        parts.reverse();
        parts.concat()
    }
}
