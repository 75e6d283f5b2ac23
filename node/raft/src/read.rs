//! Linearizable reads without a log entry (6.4).
//!
//! A read is served from the state of index *i* or later, where *i* was the leader's commit index
//! at some moment after the read began at which the leader was still the leader. The leader makes
//! sure of that by a **round**: a heartbeat, sent after the read began, that a majority answers in
//! the same term. All reads that wait share the next round; one round with reads is under way at a
//! time. A round that was answered is also a **lease** from its sending on: who answered keeps
//! to this leader for an election timeout.
//!
//! A follower gathers its reads in the same way and sends one request for all of them.

use std::collections::VecDeque;

use crate::core::Core;
use crate::error::Refused;
use crate::log::{Index, NodeId};
use crate::message::Body;

/// The caller's name for a read.
pub type ReadId = u64;

/// How a read is made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// By asking a quorum.
    Index,
    /// By the lease, when there is one; else by asking a quorum. On a follower the same as `Index`.
    Lease,
}

/// A read may be served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadReady {
    /// The caller's name for it.
    pub id: ReadId,
    /// Its read index: the state machine has applied it.
    pub index: Index,
}

/// Who waits for a round.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiter {
    /// A read of this node.
    Own(ReadId),
    /// A follower's gathered reads, by the follower's number.
    Peer(NodeId, u64),
}

/// A heartbeat that is on its way to all.
#[derive(Debug)]
struct Round {
    number: u64,
    /// The tick of its sending; `None` when time passed unobserved since.
    sent_at: Option<u64>,
    /// The commit index at its sending.
    index: Index,
    waiters: Vec<Waiter>,
}

/// More rounds than this are not kept apart; the oldest joins the newest.
const ROUNDS_MAX: usize = 32;

/// A leader's reads.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    waiting: Vec<Waiter>,
    under_way: VecDeque<Round>,
    last: u64,
    lease_until: u64,
    lease_off: bool,
}

impl Rounds {
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.iter().all(|round| round.waiters.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
            + self
                .under_way
                .iter()
                .map(|round| round.waiters.len())
                .sum::<usize>()
    }

    pub(crate) fn wait(&mut self, waiter: Waiter) {
        self.waiting.push(waiter);
    }

    /// Whether reads wait and none are under way.
    pub(crate) fn wants_round(&self) -> bool {
        !self.waiting.is_empty() && self.under_way.iter().all(|round| round.waiters.is_empty())
    }

    /// A round is sent now. Reads join it only when the leader can vouch for its commit index.
    pub(crate) fn begin(&mut self, now: u64, commit: Index, vouches: bool) {
        self.last += 1;
        let mut waiters = if vouches {
            std::mem::take(&mut self.waiting)
        } else {
            Vec::new()
        };
        if self.under_way.len() == ROUNDS_MAX {
            let oldest = self.under_way.pop_front().expect("the queue is full");
            waiters.extend(oldest.waiters);
        }
        let sent_at = Some(now);
        self.under_way.push_back(Round {
            number: self.last,
            sent_at,
            index: commit,
            waiters,
        });
    }

    /// A quorum has confirmed all rounds up to `number`: those who waited, with their read index.
    pub(crate) fn confirmed(
        &mut self,
        number: u64,
        lease_ticks: Option<u64>,
    ) -> Vec<(Waiter, Index)> {
        let mut served = Vec::new();
        while self
            .under_way
            .front()
            .is_some_and(|round| round.number <= number)
        {
            let round = self.under_way.pop_front().expect("just seen");
            if let (Some(sent_at), Some(ticks)) = (round.sent_at, lease_ticks) {
                self.lease_until = self.lease_until.max(sent_at + ticks);
            }
            served.extend(
                round
                    .waiters
                    .into_iter()
                    .map(|waiter| (waiter, round.index)),
            );
        }
        served
    }

    /// Whether the leader may answer by itself.
    pub(crate) fn lease_holds(&self, now: u64) -> bool {
        !self.lease_off && now < self.lease_until
    }

    /// No lease from any round that was sent until now.
    pub(crate) fn void_lease(&mut self) {
        self.lease_until = 0;
        for round in &mut self.under_way {
            round.sent_at = None;
        }
    }

    /// No lease for the rest of the term: a successor was told to campaign, and nobody knows when
    /// it will.
    pub(crate) fn end_leases(&mut self) {
        self.lease_off = true;
    }

    /// The leader leads no more.
    pub(crate) fn fail(self, core: &mut Core, leader: Option<NodeId>) {
        let under_way = self.under_way.into_iter().flat_map(|round| round.waiters);
        for waiter in self.waiting.into_iter().chain(under_way) {
            if let Waiter::Own(id) = waiter {
                core.effects
                    .reads_failed
                    .push((id, Refused::NotLeader { leader }));
            }
        }
    }
}

/// A follower's reads, sent to the leader.
#[derive(Debug, Default)]
pub(crate) struct Forwarded {
    waiting: Vec<ReadId>,
    asked: Vec<ReadId>,
    asked_at: u64,
}

impl Forwarded {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.asked.len()
    }

    pub(crate) fn wait(&mut self, id: ReadId) {
        self.waiting.push(id);
    }

    /// Asks the leader, for all that wait, when no question is open; asks again when it is old.
    pub(crate) fn ask(&mut self, core: &mut Core, leader: NodeId) {
        if self.asked.is_empty() {
            if self.waiting.is_empty() {
                return;
            }
            self.asked = std::mem::take(&mut self.waiting);
            core.read_round += 1;
        } else if core.now < self.asked_at + u64::from(core.config.heartbeat_ticks) {
            return;
        }
        self.asked_at = core.now;
        core.send(
            leader,
            Body::ReadRequest {
                round: core.read_round,
            },
        );
    }

    /// The leader's answer.
    pub(crate) fn answered(&mut self, core: &mut Core, round: u64, index: Index) {
        if round == core.read_round {
            for id in self.asked.drain(..) {
                core.read_confirmed(id, index);
            }
        }
    }

    /// The leader is lost.
    pub(crate) fn fail(self, core: &mut Core, leader: Option<NodeId>) {
        for id in self.asked.into_iter().chain(self.waiting) {
            core.effects
                .reads_failed
                .push((id, Refused::NotLeader { leader }));
        }
    }
}
