//! The replicated time of a group, by which leases and sessions end.
//!
//! It is no wall clock. A leader lets it run on, by its own monotonic clock, from the latest time
//! that it found in the log; it stands still while nobody leads. So setting a node's clock changes
//! nothing, and what is leased is held a little too long at a change of leader, never too short.

use std::time::Instant;

/// The leader's reading of the replicated time.
#[derive(Debug)]
pub(super) struct Clock {
    base_ms: u64,
    since: Instant,
}

impl Clock {
    pub(super) fn new(base_ms: u64) -> Clock {
        Clock {
            base_ms,
            since: Instant::now(),
        }
    }

    /// The time to stamp on a command.
    pub(super) fn now_ms(&self) -> u64 {
        self.base_ms + self.since.elapsed().as_millis() as u64
    }

    /// Takes over as leader: time goes on from what the log says.
    pub(super) fn restart(&mut self, applied_ms: u64) {
        *self = Clock::new(applied_ms);
    }

    /// Catches up with a stamp that was applied and lies ahead.
    pub(super) fn observe(&mut self, applied_ms: u64) {
        if applied_ms > self.now_ms() {
            self.restart(applied_ms);
        }
    }
}
