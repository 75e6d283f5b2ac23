//! What the log's thread says is stable, on its way to the loop.
//!
//! A leader's loop is woken for each such word: an entry may commit. A follower's is not: its
//! acknowledgement leaves from the log's thread, and the rest can wait for the loop's next turn,
//! which saves a wake-up for each write.

use parking_lot::Mutex;
use raft::WriteTag;
use tokio::sync::Notify;

use super::GroupId;

/// Writes that became stable and that the loop has not heard of.
#[derive(Debug, Default)]
pub(super) struct Completions {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    done: Vec<(GroupId, WriteTag)>,
    awaited: bool,
}

impl Completions {
    /// This write, and all of the group before it, are stable.
    pub(super) fn add(&self, group: GroupId, tag: WriteTag) {
        let mut state = self.state.lock();
        state.done.push((group, tag));
        if state.awaited {
            self.wake.notify_one();
        }
    }

    /// All that came since the last look.
    pub(super) fn take(&self, into: &mut Vec<(GroupId, WriteTag)>) {
        into.append(&mut self.state.lock().done);
    }

    /// Whether the loop is to be woken for the next one, or for one that came meanwhile.
    pub(super) fn set_awaited(&self, awaited: bool) {
        let mut state = self.state.lock();
        state.awaited = awaited;
        if awaited && !state.done.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Returns when one came that is awaited.
    pub(super) async fn awaited(&self) {
        self.wake.notified().await;
    }
}
