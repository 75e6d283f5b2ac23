//! Registers: read, write and compare-and-set on many keys.
//!
//! Every written value is unique in the whole run: with few values a stale read is
//! indistinguishable from a fresh one and the bug stays invisible. A compare-and-set expects the
//! value that its process saw last on that key, so that some of them succeed.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::Making;
use crate::generator::{Draft, Ended, Generator, Keys, Mix, Unique};

pub(super) const FUNCTIONS: [(&str, u32); 3] = [("read", 5), ("write", 4), ("cas", 1)];

/// How many keys there are unless the playbook says.
const KEYS: usize = 20;

#[derive(Debug)]
pub(super) struct Main {
    random: ChaCha8Rng,
    mix: Mix,
    keys: Keys,
    values: Unique,
    /// What this process saw last, by key.
    seen: Vec<Value>,
    /// The key that the last draft was about.
    at: usize,
}

impl Main {
    pub(super) fn new(making: Making<'_>) -> Main {
        let keys = making.keys(KEYS);
        Main {
            random: making.random("register"),
            mix: making.mix(),
            values: Unique::new(making.slot),
            seen: vec![Value::Null; keys.count()],
            keys,
            at: 0,
        }
    }
}

impl Generator for Main {
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

/// Reads every key once.
#[derive(Debug)]
pub(super) struct Finale {
    left: VecDeque<usize>,
    keys: Keys,
}

impl Finale {
    pub(super) fn new(making: Making<'_>) -> Finale {
        let keys = making.keys(KEYS);
        let left = (making.slot.number..keys.count())
            .step_by(making.slot.of)
            .collect();
        Finale { left, keys }
    }
}

impl Generator for Finale {
    fn next(&mut self) -> Option<Draft> {
        let at = self.left.pop_front()?;
        Some(Draft::new("read", Value::Null).on(self.keys.name(at)))
    }
}
