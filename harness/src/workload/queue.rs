//! Queues: items go in and come out; at the end all that is left is taken out.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::Making;
use crate::generator::{Draft, Ended, Generator, Keys, Mix, Unique};

#[derive(Debug)]
pub(super) struct Queue {
    random: ChaCha8Rng,
    mix: Mix,
    keys: Keys,
    items: Unique,
}

impl Queue {
    pub(super) fn new(making: Making<'_>) -> Queue {
        Queue {
            random: making.random(),
            mix: making.mix(),
            keys: making.keys(),
            items: Unique::new(making.slot),
        }
    }
}

impl Generator for Queue {
    fn next(&mut self) -> Option<Draft> {
        let f = self.mix.choose(&mut self.random);
        let key = self.keys.choose(&mut self.random);
        let value = match f {
            "enqueue" => self.items.take().into(),
            _ => Value::Null,
        };
        Some(Draft::new(f, value).on(self.keys.name(key)))
    }
}

/// How many empty or failed answers in a row end the draining of a queue.
const MISSES: u32 = 5;

/// Takes out until a queue is empty, queue after queue.
#[derive(Debug)]
pub(super) struct Drain {
    left: Vec<Arc<str>>,
    misses: u32,
}

impl Drain {
    pub(super) fn new(making: Making<'_>) -> Drain {
        let keys = making.keys();
        Drain {
            left: (0..keys.count()).map(|at| keys.name(at)).collect(),
            misses: 0,
        }
    }
}

impl Generator for Drain {
    fn next(&mut self) -> Option<Draft> {
        self.left
            .last()
            .map(|key| Draft::new("dequeue", Value::Null).on(Arc::clone(key)))
    }

    fn ended(&mut self, _: &Draft, ended: Ended<'_>) {
        let empty = !matches!(ended, Ended::Ok(value) if !value.is_null());
        self.misses = if empty { self.misses + 1 } else { 0 };
        if self.misses == MISSES {
            self.left.pop();
            self.misses = 0;
        }
    }
}
