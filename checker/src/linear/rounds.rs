//! Many objects, one purse: keys take turns, with budgets that grow from round to round.
//!
//! So a key that is quickly found illegal is found before a hard legal one eats the time. What a
//! round decides depends on its step budget only, never on the clock, the threads or the order of
//! keys; only the end of time or memory can cut it short.

use rayon::prelude::*;

use super::budget::{Purse, Spent};
use super::structure::Contradiction;
use crate::verdict::Verdict;

/// What is known of one object.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is linearizable; in this order, if one was asked for.
    Valid(Option<Vec<u32>>),
    /// It is linearizable in this order, which was replayed on the object.
    Replayed(Vec<u32>),
    /// It is not.
    Invalid(Culprits),
    /// It was not decided.
    Unknown(String),
}

/// What is known of an invalid object.
#[derive(Debug)]
pub(crate) enum Culprits {
    /// Operations to look at first.
    Involved(Vec<u32>),
    /// Operations that contradict each other by themselves, whatever the others do.
    Alone(Contradiction),
}

impl Decision {
    pub(crate) fn invalid(involved: Vec<u32>) -> Self {
        Decision::Invalid(Culprits::Involved(involved))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Decision::Valid(_) | Decision::Replayed(_) => Verdict::Valid,
            Decision::Invalid(_) => Verdict::Invalid,
            Decision::Unknown(_) => Verdict::Unknown,
        }
    }
}

pub(crate) const FIRST_STEPS: u64 = 50_000;
const GROWTH: u64 = 10;

/// Decides each of `count` objects.
pub(crate) fn decide(
    count: usize,
    purse: &Purse,
    solve: impl Fn(usize, u64) -> Result<Decision, Spent> + Sync,
) -> Vec<Decision> {
    let mut decisions: Vec<Option<Decision>> = (0..count).map(|_| None).collect();
    let mut left: Vec<usize> = (0..count).collect();
    let mut steps = FIRST_STEPS;
    let mut starved: Vec<usize> = Vec::new();
    while !left.is_empty() {
        let one = |&object: &usize| {
            let alive = purse.time_left();
            (object, alive.and_then(|()| solve(object, steps)))
        };
        let round: Vec<(usize, Result<Decision, Spent>)> = if left.len() == 1 {
            // To wake a thread takes longer than to decide a short history.
            left.iter().map(one).collect()
        } else {
            let least = (left.len() / 64).clamp(1, 16);
            left.par_iter().with_min_len(least).map(one).collect()
        };
        left.clear();
        for (object, result) in round {
            match result {
                Ok(decision) => decisions[object] = Some(decision),
                Err(Spent::Steps) => left.push(object),
                Err(Spent::Memory) => starved.push(object),
                Err(Spent::Time) => decisions[object] = Some(out_of(Spent::Time)),
            }
        }
        if decisions
            .iter()
            .any(|it| matches!(it, Some(Decision::Invalid(_))))
        {
            break;
        }
        steps = steps.saturating_mul(GROWTH);
    }
    let found = decisions
        .iter()
        .any(|it| matches!(it, Some(Decision::Invalid(_))));
    for object in starved {
        // Beside others the memory did not suffice; alone it may.
        let result = if found {
            Err(Spent::Steps)
        } else {
            solve(object, u64::MAX)
        };
        decisions[object] = Some(result.unwrap_or_else(out_of));
    }
    decisions
        .into_iter()
        .map(|it| it.unwrap_or_else(|| out_of(Spent::Steps)))
        .collect()
}

fn out_of(spent: Spent) -> Decision {
    Decision::Unknown(match spent {
        Spent::Time => "the time budget ended before the search did".into(),
        Spent::Memory => "the memory budget ended before the search did".into(),
        Spent::Steps => {
            "another key was found invalid first; this one needs a longer search".into()
        }
    })
}
