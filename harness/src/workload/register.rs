//! Registers: read, write and compare-and-set on many keys.
//!
//! A compare-and-set expects the value that its process saw last on that key, so that some of them
//! succeed.

use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::Making;
use crate::generator::{Draft, Ended, Generator, Keys, Mix, Unique};

#[derive(Debug)]
pub(super) struct Registers {
    random: ChaCha8Rng,
    mix: Mix,
    keys: Keys,
    values: Unique,
    /// What this process saw last, by key.
    seen: Vec<Value>,
    /// The key that the last draft was about.
    at: usize,
}

impl Registers {
    pub(super) fn new(making: Making<'_>) -> Registers {
        let keys = making.keys();
        Registers {
            random: making.random(),
            mix: making.mix(),
            values: Unique::new(making.slot),
            seen: vec![Value::Null; keys.count()],
            keys,
            at: 0,
        }
    }
}

impl Generator for Registers {
    fn next(&mut self) -> Option<Draft> {
        let f = self.mix.choose(&mut self.random);
        self.at = self.keys.choose(&mut self.random);
        let value = match f {
            "read" => Value::Null,
            "write" => self.values.take().into(),
            _ => json!([self.seen[self.at], self.values.take()]),
        };
        Some(Draft::new(f, value).on(self.keys.name(self.at)))
    }

    fn ended(&mut self, draft: &Draft, ended: Ended<'_>) {
        let Ended::Ok(value) = ended else { return };
        self.seen[self.at] = match draft.f.as_ref() {
            "cas" => draft.value[1].clone(),
            _ => value.clone(),
        };
    }
}
