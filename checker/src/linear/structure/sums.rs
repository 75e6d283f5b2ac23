//! Which sums some of a number of amounts make up, and how.

/// Sums up to here are told exactly.
const EXACT: usize = 1 << 12;

/// The sums that a growing number of amounts can make up.
pub(super) struct Sums {
    bits: [u64; EXACT / 64],
    total: i128,
}

impl Sums {
    /// Of nothing.
    pub(super) fn new() -> Self {
        let mut bits = [0; EXACT / 64];
        bits[0] = 1;
        Sums { bits, total: 0 }
    }

    /// One more amount, at least one.
    pub(super) fn add(&mut self, by: i128) {
        self.total += by;
        let Ok(by) = usize::try_from(by) else { return };
        let (words, bits) = (by / 64, by % 64);
        for at in (words..self.bits.len()).rev() {
            let low = self.bits[at - words] << bits;
            let high = match (at - words).checked_sub(1) {
                Some(below) if bits > 0 => self.bits[below] >> (64 - bits),
                _ => 0,
            };
            self.bits[at] |= low | high;
        }
    }

    /// Whether some of the amounts make up this sum; of large sums, whether they might.
    pub(super) fn may_make(&self, sum: i128) -> bool {
        if !(0..=self.total).contains(&sum) {
            return false;
        }
        match usize::try_from(sum) {
            Ok(sum) if sum < EXACT => self.bits[sum / 64] >> (sum % 64) & 1 == 1,
            _ => true,
        }
    }
}

/// Some of equal amounts, so many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stock {
    pub(super) by: i128,
    pub(super) count: usize,
}

/// How often each amount is taken.
pub(super) type Counts = smallvec::SmallVec<[u32; 8]>;

/// Ways to take some of each, the least amount first, that leave of a sum a rest which `fits`: each is
/// given to `found` with its rest, until that says stop. Those of large amounts come first. False: not
/// all ways were looked at.
pub(super) fn takings(
    stocks: &[Stock],
    sum: i128,
    looks: &mut usize,
    fits: &impl Fn(i128) -> bool,
    found: &mut impl FnMut(&Counts, i128) -> bool,
) -> bool {
    let mut counts: Counts = stocks.iter().map(|_| 0).collect();
    go(stocks, sum, &mut counts, looks, fits, found)
}

fn go(
    stocks: &[Stock],
    sum: i128,
    counts: &mut Counts,
    looks: &mut usize,
    fits: &impl Fn(i128) -> bool,
    found: &mut impl FnMut(&Counts, i128) -> bool,
) -> bool {
    if *looks == 0 {
        return false;
    }
    *looks -= 1;
    let Some((greatest, lesser)) = stocks.split_last() else {
        return !fits(sum) || found(counts, sum);
    };
    let most =
        usize::try_from(sum / greatest.by).map_or(greatest.count, |it| it.min(greatest.count));
    for count in (0..=most).rev() {
        counts[lesser.len()] = count as u32;
        let rest = sum - greatest.by * count as i128;
        if !go(lesser, rest, counts, looks, fits, found) {
            return false;
        }
    }
    counts[lesser.len()] = 0;
    true
}

/// A thing of some amount, and how much it is wanted.
pub(super) struct Item {
    pub(super) by: usize,
    pub(super) weight: u64,
}

/// For each sum up to a bound the most wanted of at most 64 items that make it up, as bits.
pub(super) fn most_wanted(items: &[Item], upto: usize) -> Vec<Option<(u64, u64)>> {
    let mut best: Vec<Option<(u64, u64)>> = vec![None; upto + 1];
    best[0] = Some((0, 0));
    for (at, item) in items.iter().take(64).enumerate() {
        for sum in (item.by..=upto).rev() {
            if let Some((weight, set)) = best[sum - item.by] {
                let weight = weight.saturating_add(item.weight);
                if best[sum].is_none_or(|(least, _)| least < weight) {
                    best[sum] = Some((weight, set | 1 << at));
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_some_of_the_amounts() {
        let mut sums = Sums::new();
        for by in [3, 70, 3, 200] {
            sums.add(by);
        }
        let made: Vec<i128> = (-1..300).filter(|&sum| sums.may_make(sum)).collect();
        let of_three = |from: i128| [from, from + 3, from + 6];
        let expected: Vec<i128> = [0, 70, 200, 270].into_iter().flat_map(of_three).collect();
        assert_eq!(made, expected);
    }

    #[test]
    fn of_all_that_make_a_sum_the_most_wanted_are_taken() {
        let items = [(2, 1), (3, 9), (1, 3), (2, 5)].map(|(by, weight)| Item { by, weight });
        let expected = [Some(0), Some(0b100), Some(0b1000), Some(0b10), Some(0b110)];
        let best = most_wanted(&items, 4);
        assert_eq!(
            best.into_iter()
                .map(|it| it.map(|(_, set)| set))
                .collect::<Vec<_>>(),
            expected
        );
        assert_eq!(most_wanted(&items[1..2], 1), [Some((0, 0)), None]);
    }

    #[test]
    fn a_sum_is_taken_in_all_ways_the_large_amounts_first() {
        let stocks = [(1, 2), (2, 1), (5, 1)].map(|(by, count)| Stock { by, count });
        let mut all = Vec::new();
        let mut looks = 100;
        let whole = takings(
            &stocks,
            4,
            &mut looks,
            &|rest| rest == 0,
            &mut |counts, _| {
                all.push(counts.to_vec());
                true
            },
        );
        assert!(whole);
        assert_eq!(all, [[2, 1, 0]]);
        let mut few = 2;
        assert!(!takings(&stocks, 4, &mut few, &|_| true, &mut |_, _| true));
    }
}
