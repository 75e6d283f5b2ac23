//! Random choices: of an operation by weight, of a key by how often each is used.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Chooses by weight.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Each choice with the sum of all weights up to and with its own.
    sums: Vec<(&'static str, u64)>,
}

impl Mix {
    /// The weights of each choice. At least one must be above 0.
    pub fn new(weights: impl IntoIterator<Item = (&'static str, u32)>) -> Mix {
        let mut sum = 0_u64;
        let sums: Vec<_> = weights
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(choice, weight)| {
                sum += u64::from(weight);
                (choice, sum)
            })
            .collect();
        assert!(!sums.is_empty(), "a mix needs at least one weight above 0");
        Mix { sums }
    }

    /// One of them.
    pub fn choose(&self, random: &mut ChaCha8Rng) -> &'static str {
        let total = self.sums.last().map_or(0, |(_, sum)| *sum);
        let at = random.random_range(0..total);
        self.sums[self.sums.partition_point(|(_, sum)| *sum <= at)].0
    }
}

/// Chooses among keys `0`, `1`, ….
#[derive(Debug, Clone)]
pub struct Keys {
    names: Arc<[Arc<str>]>,
    /// Sums of the keys' shares, up to 1; empty when all are used alike.
    shares: Arc<[f64]>,
}

impl Keys {
    /// Keys that are all used alike.
    pub fn uniform(prefix: &str, count: usize) -> Keys {
        Keys::with_shares(prefix, count, &[])
    }

    /// Keys of which the first is used most, the second half as often, and so on.
    pub fn zipf(prefix: &str, count: usize) -> Keys {
        let weights: Vec<f64> = (1..=count).map(|rank| 1.0 / rank as f64).collect();
        Keys::with_shares(prefix, count, &weights)
    }

    /// Keys of which the first gets half of everything.
    pub fn hot(prefix: &str, count: usize) -> Keys {
        let weights: Vec<f64> = (0..count)
            .map(|at| {
                if at == 0 {
                    count.max(2) as f64 - 1.0
                } else {
                    1.0
                }
            })
            .collect();
        Keys::with_shares(prefix, count, &weights)
    }

    fn with_shares(prefix: &str, count: usize, weights: &[f64]) -> Keys {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let shares = weights
            .iter()
            .map(|weight| {
                sum += weight / total;
                sum
            })
            .collect();
        Keys {
            names: (0..count)
                .map(|at| format!("{prefix}{at}").into())
                .collect(),
            shares,
        }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// A key by its number.
    pub fn name(&self, at: usize) -> Arc<str> {
        Arc::clone(&self.names[at])
    }

    /// One of them.
    pub fn choose(&self, random: &mut ChaCha8Rng) -> usize {
        if self.shares.is_empty() {
            return random.random_range(0..self.names.len());
        }
        let at: f64 = random.random();
        self.shares
            .partition_point(|share| *share <= at)
            .min(self.names.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::random;

    #[test]
    fn a_weight_of_nothing_is_never_chosen_and_others_by_their_weight() {
        let mix = Mix::new([("never", 0), ("rarely", 1), ("often", 9)]);
        let mut random = random(1, "mix", 0);
        let often = (0..1000)
            .filter(|_| mix.choose(&mut random) == "often")
            .count();
        assert!((850..950).contains(&often), "{often}");
    }

    #[test]
    fn a_hot_key_gets_half_and_zipf_halves() {
        let mut random = random(2, "keys", 0);
        let hot = Keys::hot("k", 10);
        let first = (0..10_000).filter(|_| hot.choose(&mut random) == 0).count();
        assert!((4700..5300).contains(&first), "{first}");
        let zipf = Keys::zipf("k", 10);
        let mut counts = [0; 10];
        (0..10_000).for_each(|_| counts[zipf.choose(&mut random)] += 1);
        assert!(
            counts[0] > counts[1] * 3 / 2 && counts[1] > counts[3] * 3 / 2,
            "{counts:?}"
        );
    }
}
