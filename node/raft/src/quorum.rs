//! Majorities: what a set of voters has agreed on. A pure leaf that imports no sibling.

use std::collections::BTreeSet;

use smallvec::SmallVec;

/// How many of `voters` are a majority; of an empty set, none is needed.
pub(crate) fn majority(voters: usize) -> usize {
    if voters == 0 { 0 } else { voters / 2 + 1 }
}

/// The greatest value that a majority of `voters` has reached.
///
/// An empty set reaches every value (`u64::MAX`): a joint configuration whose other half is empty
/// is then decided by the one half alone.
pub(crate) fn reached(voters: &BTreeSet<u64>, value_of: impl Fn(u64) -> u64) -> u64 {
    let mut values: SmallVec<[u64; 8]> = voters.iter().map(|&id| value_of(id)).collect();
    if values.is_empty() {
        return u64::MAX;
    }
    values.sort_unstable();
    values[values.len() - majority(values.len())]
}

/// How a ballot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ballot {
    /// A majority said yes.
    Won,
    /// No majority can say yes any more.
    Lost,
    /// Still open.
    Open,
}

impl Ballot {
    /// Two ballots that must both be won.
    pub(crate) fn and(self, other: Ballot) -> Ballot {
        match (self, other) {
            (Ballot::Won, Ballot::Won) => Ballot::Won,
            (Ballot::Lost, _) | (_, Ballot::Lost) => Ballot::Lost,
            _ => Ballot::Open,
        }
    }
}

/// The ballot among `voters`, where `vote_of` is `None` for those not heard yet.
pub(crate) fn ballot(voters: &BTreeSet<u64>, vote_of: impl Fn(u64) -> Option<bool>) -> Ballot {
    let needed = majority(voters.len());
    let yes = voters
        .iter()
        .filter(|&&id| vote_of(id) == Some(true))
        .count();
    let no = voters
        .iter()
        .filter(|&&id| vote_of(id) == Some(false))
        .count();
    if yes >= needed {
        Ballot::Won
    } else if voters.len() - no < needed {
        Ballot::Lost
    } else {
        Ballot::Open
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The obvious, slow version: try every value, count who has reached it.
    fn reached_by_counting(values: &BTreeMap<u64, u64>) -> u64 {
        let mut best = 0;
        for &candidate in values.values() {
            let count = values.values().filter(|&&value| value >= candidate).count();
            if 2 * count > values.len() {
                best = best.max(candidate);
            }
        }
        best
    }

    /// The obvious, slow version: does every (no) way to cast the open votes win?
    fn ballot_by_enumeration(votes: &BTreeMap<u64, Option<bool>>) -> Ballot {
        let open = votes.values().filter(|vote| vote.is_none()).count();
        let yes = votes.values().filter(|vote| **vote == Some(true)).count();
        let wins: Vec<bool> = (0..=open)
            .map(|more_yes| 2 * (yes + more_yes) > votes.len())
            .collect();
        if wins.iter().all(|&win| win) {
            Ballot::Won
        } else if wins.iter().any(|&win| win) {
            Ballot::Open
        } else {
            Ballot::Lost
        }
    }

    proptest! {
        #[test]
        fn reached_agrees_with_counting(
            values in prop::collection::btree_map(0_u64..20, 0_u64..10, 1..10)
        ) {
            let voters: BTreeSet<u64> = values.keys().copied().collect();
            prop_assert_eq!(reached(&voters, |id| values[&id]), reached_by_counting(&values));
        }

        #[test]
        fn ballot_agrees_with_enumeration(
            votes in prop::collection::btree_map(0_u64..20, prop::option::of(any::<bool>()), 1..10)
        ) {
            let voters: BTreeSet<u64> = votes.keys().copied().collect();
            prop_assert_eq!(ballot(&voters, |id| votes[&id]), ballot_by_enumeration(&votes));
        }

        #[test]
        fn two_majorities_share_a_voter(size in 1_usize..30) {
            prop_assert!(2 * majority(size) > size);
        }
    }

    #[test]
    fn an_empty_half_decides_nothing() {
        let nobody = BTreeSet::new();
        assert_eq!(reached(&nobody, |_| 0), u64::MAX);
        assert_eq!(ballot(&nobody, |_| None), Ballot::Won);
    }
}
