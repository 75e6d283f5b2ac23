//! A network that drops, delays, doubles and reorders, and that can be cut one way or both.

use std::collections::BTreeSet;

use raft::NodeId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

#[derive(Debug)]
pub(crate) struct Network {
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Of a thousand messages.
    pub(crate) drop_permille: u32,
    pub(crate) double_permille: u32,
    pub(crate) delay_max_us: u64,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            cut: BTreeSet::new(),
            drop_permille: 0,
            double_permille: 0,
            delay_max_us: 2_000,
        }
    }
}

impl Network {
    /// After how long each copy of a message arrives; none when it is lost.
    pub(crate) fn send(&self, from: NodeId, to: NodeId, rng: &mut ChaCha8Rng) -> Vec<u64> {
        if self.cut.contains(&(from, to)) || rng.random_range(0..1_000) < self.drop_permille {
            return Vec::new();
        }
        let copies = if rng.random_range(0..1_000) < self.double_permille {
            2
        } else {
            1
        };
        (0..copies).map(|_| self.delay_us(rng)).collect()
    }

    /// Mostly short, sometimes long: messages overtake each other.
    fn delay_us(&self, rng: &mut ChaCha8Rng) -> u64 {
        if rng.random_range(0..20) == 0 {
            rng.random_range(100..self.delay_max_us * 20)
        } else {
            rng.random_range(100..self.delay_max_us)
        }
    }

    /// Draws the weather anew.
    pub(crate) fn weather(&mut self, rng: &mut ChaCha8Rng) {
        self.drop_permille = *pick(rng, &[0, 0, 10, 50, 200]);
        self.double_permille = *pick(rng, &[0, 10, 100]);
        self.delay_max_us = *pick(rng, &[500, 2_000, 10_000, 40_000]);
    }

    /// Cuts the links between two sides, or only those from the first to the second.
    pub(crate) fn cut(&mut self, from: &[NodeId], to: &[NodeId], both_ways: bool) {
        for &a in from {
            for &b in to {
                self.cut.insert((a, b));
                if both_ways {
                    self.cut.insert((b, a));
                }
            }
        }
    }

    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn calm(&mut self) {
        *self = Network::default();
    }
}

pub(crate) fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}
