//! The replicated state: keys, leases and sessions of one group.
//!
//! Everything here is a pure function of the log. No clock, no randomness, no floating point, no
//! iteration over a hash table: two replicas that applied the same entries are equal, and a replica
//! that restarts from a snapshot is equal to one that never stopped.
//!
//! The maps are persistent (they share structure), so [`State::clone`] is O(1) and gives a frozen
//! view: a snapshot is written from a clone while the original goes on.

mod command;
mod kv;
mod lease;
mod session;
mod snapshot;
mod value;

use bytes::Bytes;
use imbl::OrdMap;
use raft::{Index, NodeId, Term};
use serde::{Deserialize, Serialize};

pub use command::{
    Action, Answer, Command, Expect, Kind, MicroOp, Operation, Outcome, Refusal, Ticket, stamp,
};
pub use kv::Page;
pub use snapshot::SnapshotError;
pub use value::Value;

use lease::Lease;
use session::Sessions;

/// The state of one group at one log index.
#[derive(Clone, Debug, Default)]
pub struct State {
    applied: Index,
    clock_ms: u64,
    revision: u64,
    size_bytes: u64,
    records: OrdMap<Bytes, Record>,
    leases: OrdMap<Bytes, Lease>,
    sessions: Sessions,
    /// The members by the incarnation of their disks: who comes back with another one has lost
    /// what it had promised.
    incarnations: OrdMap<NodeId, u64>,
    /// The bug `no-dedup`, and never true without the feature `bugs`.
    forgets_sessions: bool,
}

/// A key's value and when it last changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What the key holds.
    pub value: Value,
    /// The group's revision when it was written; no two changes of a group share one.
    pub revision: u64,
}

impl State {
    /// Index of the last entry that is reflected here.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The group's replicated time in milliseconds: it grows only while a leader proposes.
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Bytes of keys and values held, without the maps' own overhead.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.records.len()
    }

    /// Passes over an entry that carries no command.
    pub fn skip(&mut self, index: Index) {
        self.advance(index);
    }

    /// Passes over an entry that names the members: who is none is forgotten, and may come back as
    /// somebody new.
    pub fn configure(&mut self, index: Index, is_member: impl Fn(NodeId) -> bool) {
        self.advance(index);
        let gone: Vec<NodeId> = self
            .incarnations
            .keys()
            .copied()
            .filter(|node| !is_member(*node))
            .collect();
        for node in gone {
            self.incarnations.remove(&node);
        }
    }

    /// The incarnation by which a member is known.
    pub fn incarnation(&self, node: NodeId) -> Option<u64> {
        self.incarnations.get(&node).copied()
    }

    /// Applies the command of the entry at `index`, which must be the next one.
    ///
    /// # Errors
    /// If the bytes are no command. Every replica fails alike, so the caller may pass over it.
    pub fn apply(
        &mut self,
        index: Index,
        term: Term,
        bytes: &[u8],
    ) -> Result<Answer, postcard::Error> {
        self.advance(index);
        let (now_ms, Command { session, operation }) = Command::decode(bytes)?;
        self.clock_ms = self.clock_ms.max(now_ms);
        self.sessions.sweep(self.clock_ms);
        let Some(ticket) = session.filter(|_| !self.forgets_sessions) else {
            let outcome = self.perform(index, operation);
            return Ok(Answer {
                index,
                term,
                outcome,
            });
        };
        match self.sessions.find(ticket, self.clock_ms) {
            Ok(Some(earlier)) => Ok(earlier),
            Ok(None) => {
                let outcome = self.perform(index, operation);
                let answer = Answer {
                    index,
                    term,
                    outcome,
                };
                self.sessions.remember(ticket, &answer);
                Ok(answer)
            }
            Err(refusal) => Ok(Answer {
                index,
                term,
                outcome: Outcome::Refused(refusal),
            }),
        }
    }

    fn advance(&mut self, index: Index) {
        assert_eq!(
            index,
            self.applied + 1,
            "entries are applied in order, each once"
        );
        self.applied = index;
    }

    fn perform(&mut self, index: Index, operation: Operation) -> Outcome {
        match operation {
            Operation::Put { key, value } => self.put(key, value),
            Operation::Delete { key } => self.delete(&key),
            Operation::Cas { key, expect, value } => self.cas(key, &expect, value),
            Operation::Txn(steps) => self.transact(steps),
            Operation::Acquire {
                name,
                owner,
                ttl_ms,
            } => self.acquire(index, name, owner, ttl_ms),
            Operation::Renew { name, owner, token } => self.renew(&name, &owner, token),
            Operation::Release { name, owner, token } => self.release(&name, &owner, token),
            Operation::OpenSession { id } => self.sessions.open(id.unwrap_or(index), self.clock_ms),
            Operation::TouchSession { id } => self.sessions.touch(id, self.clock_ms),
            Operation::Register {
                node,
                incarnation,
                readmit,
            } => match self.incarnation(node).filter(|_| !readmit) {
                Some(known) if known != incarnation => Outcome::Refused(Refusal::Wiped),
                _ => {
                    self.incarnations.insert(node, incarnation);
                    Outcome::Registered
                }
            },
        }
    }

    /// The bug `no-dedup`: a retry in a session is applied again.
    pub fn forget_sessions(&mut self) {
        self.forgets_sessions = true;
    }
}

#[cfg(test)]
mod tests;
