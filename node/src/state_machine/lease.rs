//! Leases: locks that end by themselves, with a token that tells a late holder apart.
//!
//! A lease alone does not exclude: its holder may be paused past its end. The token (the log index
//! of the acquisition, so it only grows) lets the guarded resource refuse whoever comes too late.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::State;
use super::command::{Outcome, Refusal};

/// Who holds a lease, and until when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    owner: String,
    token: u64,
    ttl_ms: u64,
    deadline_ms: u64,
}

impl State {
    pub(super) fn acquire(
        &mut self,
        index: u64,
        name: Bytes,
        owner: String,
        ttl_ms: u64,
    ) -> Outcome {
        let mut token = index;
        if let Some(held) = self
            .leases
            .get(&name)
            .filter(|held| held.deadline_ms > self.clock_ms)
        {
            if held.owner != owner {
                return Outcome::Refused(Refusal::LeaseHeld {
                    owner: held.owner.clone(),
                    remaining_ms: held.deadline_ms - self.clock_ms,
                });
            }
            token = held.token;
        }
        let deadline_ms = self.clock_ms.saturating_add(ttl_ms);
        self.leases.insert(
            name,
            Lease {
                owner,
                token,
                ttl_ms,
                deadline_ms,
            },
        );
        Outcome::Held { token, ttl_ms }
    }

    pub(super) fn renew(&mut self, name: &Bytes, owner: &str, token: u64) -> Outcome {
        let now_ms = self.clock_ms;
        match self.leases.get_mut(name) {
            Some(held) if held.is_of(owner, token, now_ms) => {
                held.deadline_ms = now_ms.saturating_add(held.ttl_ms);
                Outcome::Held {
                    token,
                    ttl_ms: held.ttl_ms,
                }
            }
            _ => Outcome::Refused(Refusal::LeaseLost),
        }
    }

    pub(super) fn release(&mut self, name: &Bytes, owner: &str, token: u64) -> Outcome {
        match self.leases.get(name) {
            Some(held) if held.is_of(owner, token, self.clock_ms) => {
                self.leases.remove(name);
                Outcome::Released
            }
            _ => Outcome::Refused(Refusal::LeaseLost),
        }
    }
}

impl Lease {
    fn is_of(&self, owner: &str, token: u64, now_ms: u64) -> bool {
        self.owner == owner && self.token == token && self.deadline_ms > now_ms
    }
}
