//! When an operation is meant to start.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Slot;

/// The intended starts of one process under an open-loop rate: a Poisson process of its own, so
/// that all processes together make one of the whole rate.
#[derive(Debug, Clone)]
pub struct Pace {
    mean_ns: f64,
    next_ns: f64,
    random: ChaCha8Rng,
}

impl Pace {
    /// The pace of one slot when all together start `per_second`.
    pub fn new(per_second: f64, slot: Slot, random: ChaCha8Rng) -> Pace {
        let mut pace = Pace {
            mean_ns: slot.of as f64 / per_second * 1e9,
            next_ns: 0.0,
            random,
        };
        pace.step();
        pace
    }

    /// Nanoseconds from the start of the run to the next operation's intended start.
    pub fn take(&mut self) -> u64 {
        let now = self.next_ns;
        self.step();
        now as u64
    }

    fn step(&mut self) {
        let uniform: f64 = self.random.random();
        self.next_ns -= self.mean_ns * (1.0 - uniform).ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::random;

    #[test]
    fn all_slots_together_keep_the_rate() {
        let started: usize = (0..4)
            .map(|number| {
                let random = random(3, "pace", number as u64);
                let mut pace = Pace::new(1000.0, Slot { number, of: 4 }, random);
                std::iter::from_fn(|| Some(pace.take()))
                    .take_while(|at| *at < 10_000_000_000)
                    .count()
            })
            .sum();
        assert!((9_600..10_400).contains(&started), "{started}");
    }
}
