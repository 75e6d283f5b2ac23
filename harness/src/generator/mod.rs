//! Generators: what a process does next, as a value that depends on nothing but its seed and the
//! completions it has been told.
//!
//! A generator knows no clock, no network and no other process. Each process has its own, seeded
//! from the run's seed and its number, so one seed fixes what every process does and in which
//! order; only what the system answers can change a generator that listens to answers. The
//! interpreter has all the effects.

mod choice;
mod pace;
mod plan;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

pub use choice::{Keys, Mix};
pub use pace::Pace;
pub use plan::{Due, Schedule, plan};

/// An operation to be invoked.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The function.
    pub f: Cow<'static, str>,
    /// The object, when the workload has more than one.
    pub key: Option<Arc<str>>,
    /// The argument.
    pub value: Value,
}

impl Draft {
    /// An operation without a key.
    pub fn new(f: &'static str, value: impl Into<Value>) -> Draft {
        Draft {
            f: Cow::Borrowed(f),
            key: None,
            value: value.into(),
        }
    }

    /// The same on a key.
    #[must_use]
    pub fn on(self, key: Arc<str>) -> Draft {
        Draft {
            key: Some(key),
            ..self
        }
    }
}

/// How an operation ended, as far as a generator may know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ended<'a> {
    /// It happened, with this value.
    Ok(&'a Value),
    /// It certainly did not happen.
    Fail,
    /// Nobody knows; the process that asked is gone.
    Info,
}

/// One process's source of operations.
pub trait Generator: Send + std::fmt::Debug {
    /// The next operation; none when there is nothing more to do.
    fn next(&mut self) -> Option<Draft>;

    /// Tells how the operation that was given out last has ended.
    fn ended(&mut self, draft: &Draft, ended: Ended<'_>) {
        let _ = (draft, ended);
    }
}

/// Which of all processes a generator works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its number, from 0.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// Numbers that no other slot gives out: 1 + slot, 1 + slot + all, …
#[derive(Debug, Clone)]
pub struct Unique {
    next: u64,
    step: u64,
}

impl Unique {
    /// The numbers of a slot.
    pub fn new(slot: Slot) -> Unique {
        Unique {
            next: 1 + slot.number as u64,
            step: slot.of as u64,
        }
    }

    /// The next one.
    pub fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += self.step;
        number
    }
}

/// A random source for one purpose: the same run, purpose and number give the same numbers.
pub fn random(seed: u64, purpose: &str, number: u64) -> rand_chacha::ChaCha8Rng {
    use rand::SeedableRng;
    // FNV-1a over the purpose keeps the streams of different purposes apart.
    let purpose = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&purpose.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    rand_chacha::ChaCha8Rng::from_seed(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_slots_ever_give_out_the_same_number() {
        let mut seen = BTreeSet::new();
        for number in 0..7 {
            let mut unique = Unique::new(Slot { number, of: 7 });
            assert!((0..100).all(|_| seen.insert(unique.take())));
        }
    }
}
