//! Transactions of reads and appends, or of reads and writes.
//!
//! A list shows in which order it was appended to. A register does not, so a transaction reads it
//! before it writes it for the first time: what was overwritten stands in the history.
//!
//! Keys come and go: a key is used for a while by all processes, then never again, so that lists
//! stay short and what happened to a key can be told. As each process goes forward by its own
//! count, what it does depends on nobody else.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::Making;
use crate::generator::{Draft, Generator, Unique};

/// How many transactions of all processes together a key lives.
const KEY_LIVES: u64 = 100;

#[derive(Debug)]
pub(super) struct Transactions {
    write: &'static str,
    random: ChaCha8Rng,
    values: Unique,
    prefix: String,
    /// How many keys are in use at a time.
    width: u64,
    length_max: usize,
    processes: u64,
    count: u64,
}

impl Transactions {
    pub(super) fn new(making: Making<'_>, write: &'static str) -> Transactions {
        Transactions {
            write,
            random: making.random(),
            values: Unique::new(making.slot),
            prefix: making.prefix(),
            width: making.key_count() as u64,
            length_max: making.load.transaction_length,
            processes: making.slot.of as u64,
            count: 0,
        }
    }
}

impl Generator for Transactions {
    fn next(&mut self) -> Option<Draft> {
        let oldest = self.count * self.processes / KEY_LIVES;
        self.count += 1;
        let length = self.random.random_range(1..=self.length_max);
        let mut operations: Vec<Value> = Vec::with_capacity(length + 1);
        while operations.len() < length {
            let key = oldest + self.random.random_range(0..self.width);
            let key = format!("{}{key}", self.prefix);
            if self.random.random_bool(0.5) {
                operations.push(json!(["r", key, null]));
                continue;
            }
            if self.write == "w" && operations.iter().all(|before| before[1] != *key) {
                operations.push(json!(["r", key, null]));
            }
            operations.push(json!([self.write, key, self.values.take()]));
        }
        Some(Draft::new("txn", operations))
    }
}
