//! The workloads whose operations do not depend on each other: sets, counters, ids.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{Kind, Making};
use crate::generator::{Draft, Generator, Keys, Mix, Unique};

/// The largest number that is added to a counter.
const ADD_MAX: i64 = 5;

#[derive(Debug)]
pub(super) struct Single {
    kind: Kind,
    random: ChaCha8Rng,
    mix: Mix,
    keys: Keys,
    elements: Unique,
}

impl Single {
    pub(super) fn new(making: Making<'_>) -> Single {
        Single {
            kind: making.load.kind,
            random: making.random(),
            mix: making.mix(),
            keys: making.keys(),
            elements: Unique::new(making.slot),
        }
    }
}

impl Generator for Single {
    fn next(&mut self) -> Option<Draft> {
        let f = self.mix.choose(&mut self.random);
        let key = self.keys.choose(&mut self.random);
        let value = match (self.kind, f) {
            (Kind::Set, "add") => self.elements.take().into(),
            (Kind::Counter, "add") => self.random.random_range(1..=ADD_MAX).into(),
            _ => Value::Null,
        };
        Some(Draft::new(f, value).on(self.keys.name(key)))
    }
}
