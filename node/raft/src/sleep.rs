//! Groups with nothing to do fall asleep, so that a thousand of them cost nothing.
//!
//! A leader whose peers all live and hold and know everything sends a last heartbeat that says so,
//! and stops its clock; a follower that holds everything too stops its own. Whatever then comes in
//! wakes a node: a message, a proposal, a read, a campaign, or the word that a peer cannot be
//! reached ([`Raft::unreachable`](crate::Raft::unreachable)), which the runtime must give, for no
//! heartbeat will. A node that is woken alone soon asks for votes, and that wakes the others.
//!
//! No lease outlives the sleep.

use crate::core::Core;
use crate::leader::Leader;
use crate::log::Index;

impl Core {
    /// Falls asleep behind a leader that does, when nothing is left to do here either.
    pub(crate) fn follow_to_sleep(&mut self, commit: Index) {
        self.asleep = commit == self.log.last_index()
            && commit == self.log.stable()
            && commit == self.applying.applied
            && self.config.sleep_after_ticks.is_some();
    }
}

impl Leader {
    /// Whether nothing has happened for long enough, and nothing is left to do anywhere.
    pub(crate) fn may_sleep(&self, core: &Core) -> bool {
        let Some(patience) = core.config.sleep_after_ticks else {
            return false;
        };
        let last = core.log.last_index();
        core.now >= self.busy_at + u64::from(patience)
            && core.commit == last
            && core.applying.applied == last
            && self.reads.is_idle()
            && self.transfer.is_none()
            && self
                .progress
                .iter()
                .all(|(&id, peer)| peer.matched == last && self.is_active(core, id))
    }

    /// Time went by that nobody counted: nobody is overdue, and no lease holds.
    pub(crate) fn wake(&mut self, core: &Core) {
        self.busy_at = core.now;
        self.reads.void_lease();
        for peer in self.progress.values_mut() {
            peer.heard_at = core.now;
        }
    }
}
