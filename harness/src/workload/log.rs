//! Logs: values are appended, and read back with their offsets.

use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::Making;
use crate::generator::{Draft, Generator, Keys, Mix, Unique};

#[derive(Debug)]
pub(super) struct Log {
    random: ChaCha8Rng,
    mix: Mix,
    keys: Keys,
    values: Unique,
}

impl Log {
    pub(super) fn new(making: Making<'_>) -> Log {
        Log {
            random: making.random(),
            mix: making.mix(),
            keys: making.keys(),
            values: Unique::new(making.slot),
        }
    }
}

impl Generator for Log {
    fn next(&mut self) -> Option<Draft> {
        let f = self.mix.choose(&mut self.random);
        let key = self.keys.choose(&mut self.random);
        let value = match f {
            "send" => self.values.take().into(),
            _ => Value::Null,
        };
        Some(Draft::new(f, value).on(self.keys.name(key)))
    }
}
