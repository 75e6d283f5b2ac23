//! Locks with fencing tokens: a process that holds one gives it back, one that does not asks.

use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::Making;
use crate::generator::{Draft, Ended, Generator, Keys, Mix};

/// How long a lease lives when it is not renewed.
const TTL_MS: u64 = 2000;

#[derive(Debug)]
pub(super) struct Locks {
    random: ChaCha8Rng,
    mix: Mix,
    keys: Keys,
    /// The key that is held, and the token.
    held: Option<(usize, Value)>,
    /// The key that was asked for last.
    at: usize,
}

impl Locks {
    pub(super) fn new(making: Making<'_>) -> Locks {
        Locks {
            random: making.random(),
            mix: making.mix(),
            keys: making.keys(),
            held: None,
            at: 0,
        }
    }
}

impl Generator for Locks {
    fn next(&mut self) -> Option<Draft> {
        let chosen = self.mix.choose(&mut self.random);
        let key = self.keys.choose(&mut self.random);
        let (f, value) = match &self.held {
            None => {
                self.at = key;
                ("acquire", json!({"ttl_ms": TTL_MS}))
            }
            Some((at, token)) => {
                self.at = *at;
                let f = if chosen == "renew" {
                    "renew"
                } else {
                    "release"
                };
                (f, json!({"token": token, "ttl_ms": TTL_MS}))
            }
        };
        Some(Draft::new(f, value).on(self.keys.name(self.at)))
    }

    fn ended(&mut self, draft: &Draft, ended: Ended<'_>) {
        self.held = match (draft.f.as_ref(), ended) {
            ("acquire", Ended::Ok(answer)) => {
                Some((self.at, answer.get("token").unwrap_or(answer).clone()))
            }
            ("renew", Ended::Ok(_)) => self.held.take(),
            // Whatever became of it, the process no longer counts on holding the lock.
            _ => None,
        };
    }
}
