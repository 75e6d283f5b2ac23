//! Bank transfers: money moves between accounts, and every read sees all of it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::Making;
use crate::generator::{Draft, Generator, Keys, Mix};

/// The most that one transfer moves.
const AMOUNT_MAX: u32 = 10;

#[derive(Debug)]
pub(super) struct Bank {
    random: ChaCha8Rng,
    mix: Mix,
    accounts: Keys,
}

impl Bank {
    pub(super) fn new(making: Making<'_>) -> Bank {
        Bank {
            random: making.random(),
            mix: making.mix(),
            accounts: making.keys(),
        }
    }
}

/// A read of all accounts. Its argument names them; its answer maps them to their balances.
pub(super) fn read(accounts: &Keys) -> Draft {
    let names: Vec<Value> = (0..accounts.count())
        .map(|at| json!(*accounts.name(at)))
        .collect();
    Draft::new("read", names)
}

impl Generator for Bank {
    fn next(&mut self) -> Option<Draft> {
        if self.mix.choose(&mut self.random) == "read" {
            return Some(read(&self.accounts));
        }
        let count = self.accounts.count();
        let from = self.random.random_range(0..count);
        // Any other account than the one it comes from; with one account, that one.
        let to = (from + self.random.random_range(1..count.max(2))) % count;
        let amount = self.random.random_range(1..=AMOUNT_MAX);
        let (from, to) = (self.accounts.name(from), self.accounts.name(to));
        Some(Draft::new(
            "transfer",
            json!({"from": *from, "to": *to, "amount": amount}),
        ))
    }
}
