//! What a leader knows of each peer's log, and how much it may send.
//!
//! ```text
//!            accepted                        rejected, unreachable
//!   Probe ─────────────► Replicate ─────────────────────────────► Probe
//!     ▲  one message at a time   a window of messages              │
//!     └──────── installed ◄──── Snapshot ◄──── entries compacted ──┘
//! ```
//!
//! `matched < next` always. While replicating, `next` runs ahead of what is acknowledged.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::log::{Index, Position};

/// How a peer is being replicated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicationState {
    /// Looking for the point where the logs meet; one message at a time.
    Probe,
    /// The logs meet; messages are pipelined.
    Replicate,
    /// The peer needs a snapshot; no entries are sent meanwhile.
    Snapshot,
}

/// Messages on their way: the last index of each and its size.
#[derive(Debug, Default)]
pub(crate) struct Window {
    messages: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Window {
    pub(crate) fn add(&mut self, last: Index, bytes: usize) {
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    pub(crate) fn free_to(&mut self, index: Index) {
        while self
            .messages
            .front()
            .is_some_and(|(last, _)| *last <= index)
        {
            self.free_first();
        }
    }

    fn free_first(&mut self) {
        if let Some((_, bytes)) = self.messages.pop_front() {
            self.bytes -= bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    pub(crate) fn is_full(&self, max: usize, max_bytes: usize) -> bool {
        self.messages.len() >= max || self.bytes >= max_bytes
    }
}

/// A learner's way to a vote, in rounds (thesis 4.2.1): each round sends what had come in by its
/// start; when one is shorter than an election timeout, the rest will not hold up the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchUp {
    pub(crate) target: Index,
    pub(crate) started_at: u64,
}

/// One peer, as its leader sees it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The logs are known to be equal up to here, on the peer's disk.
    pub(crate) matched: Index,
    /// What of that counts towards a quorum: not what a node acknowledges that lost its disk.
    pub(crate) counted: Index,
    /// The next entry to send.
    pub(crate) next: Index,
    pub(crate) state: ReplicationState,
    /// In `Probe`: a probe is out. In `Snapshot`: always.
    waiting: bool,
    /// In `Probe`: how far the probe reaches. What tells of less answers something older, and to send a
    /// window upon each such answer would multiply what is on its way where messages overtake each other.
    asked: Index,
    window: Window,
    /// The tick at which the peer was last heard.
    pub(crate) heard_at: u64,
    /// The last heartbeat round that the peer confirmed.
    pub(crate) confirmed_round: u64,
    /// No append was answered since the last heartbeat went out.
    pub(crate) quiet: bool,
    pub(crate) catch_up: Option<CatchUp>,
}

impl Progress {
    pub(crate) fn new(next: Index, now: u64) -> Progress {
        Progress {
            matched: 0,
            counted: 0,
            next,
            state: ReplicationState::Probe,
            waiting: false,
            asked: 0,
            window: Window::default(),
            heard_at: now,
            confirmed_round: 0,
            quiet: false,
            catch_up: None,
        }
    }

    /// Whether the peer holds entries and its word does not count: it lost its disk.
    pub(crate) fn only_holds(&self) -> bool {
        self.counted < self.matched
    }

    /// Whether a message with entries may leave now.
    pub(crate) fn may_send(&self, max: usize, max_bytes: usize) -> bool {
        match self.state {
            ReplicationState::Probe | ReplicationState::Snapshot => !self.waiting,
            ReplicationState::Replicate => !self.window.is_full(max, max_bytes),
        }
    }

    /// A message with entries up to `last` has left.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize) {
        match self.state {
            ReplicationState::Replicate if last >= self.next => {
                self.next = last + 1;
                self.window.add(last, bytes);
            }
            ReplicationState::Replicate => {}
            ReplicationState::Probe => (self.waiting, self.asked) = (true, last),
            ReplicationState::Snapshot => self.waiting = true,
        }
    }

    /// The peer holds everything up to `matched`, and that counts or not. Returns whether it is news.
    pub(crate) fn accepted(&mut self, matched: Index, log_start: Index, counts: bool) -> bool {
        self.quiet = false;
        let news = matched > self.matched || counts && matched > self.counted;
        self.matched = self.matched.max(matched);
        if counts {
            self.counted = self.counted.max(matched);
        }
        self.next = self.next.max(self.matched + 1);
        match self.state {
            ReplicationState::Replicate => self.window.free_to(matched),
            ReplicationState::Probe if matched < self.asked.max(self.matched) => {}
            ReplicationState::Snapshot if self.matched < log_start => {}
            ReplicationState::Probe | ReplicationState::Snapshot => self.replicate(),
        }
        news
    }

    /// Forgets how far the probe reaches.
    pub(crate) fn ask_nothing(&mut self) {
        self.asked = 0;
    }

    /// The peer refused the entry at `at`; `meeting` is where the logs may meet. A refusal of
    /// anything but what is being asked now is stale and changes nothing; so does the refusal of
    /// what the peer once held, which only the loss of its disk explains.
    pub(crate) fn rejected(&mut self, at: Index, meeting: Position) {
        self.quiet = false;
        let stale = match self.state {
            ReplicationState::Replicate => false,
            ReplicationState::Probe => at + 1 != self.next,
            ReplicationState::Snapshot => true,
        };
        if stale || at <= self.matched {
            return;
        }
        self.probe((meeting.index + 1).min(at));
    }

    /// Goes back to sending one message at a time, from `next`.
    pub(crate) fn probe(&mut self, next: Index) {
        self.state = ReplicationState::Probe;
        self.next = next.max(self.matched + 1);
        self.asked = self.next - 1;
        self.waiting = false;
        self.window.clear();
    }

    fn replicate(&mut self) {
        self.state = ReplicationState::Replicate;
        self.next = self.matched + 1;
        self.waiting = false;
        self.window.clear();
    }

    /// Waits for a snapshot to arrive.
    pub(crate) fn snapshot(&mut self) {
        self.state = ReplicationState::Snapshot;
        self.waiting = true;
        self.window.clear();
    }

    /// The snapshot at `index` was sent; whether it was installed, a probe will tell.
    pub(crate) fn snapshot_sent(&mut self, index: Index, arrived: bool) {
        if self.state == ReplicationState::Snapshot {
            self.probe(if arrived { index + 1 } else { self.matched + 1 });
            self.waiting = true;
        }
    }

    /// The peer answered a heartbeat: what was in flight may be lost, let one more go.
    pub(crate) fn revive(&mut self, max: usize, max_bytes: usize) {
        match self.state {
            ReplicationState::Probe => self.waiting = false,
            ReplicationState::Replicate if self.window.is_full(max, max_bytes) => {
                self.window.free_first();
            }
            ReplicationState::Replicate | ReplicationState::Snapshot => {}
        }
    }
}
