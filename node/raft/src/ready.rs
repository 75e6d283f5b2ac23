//! Effects: what the caller must write, send, apply and answer.
//!
//! Each effect says by its place what it waits for: [`Ready::messages`] wait for nothing,
//! [`Write::after`] waits for its write, [`Ready::apply`] holds only what is committed and on the
//! node's own disk.

use crate::error::Refused;
use crate::log::{Entry, HardState, Index, NodeId, Term};
use crate::message::Envelope;
use crate::read::ReadReady;
use crate::snapshot::{SnapshotMeta, SnapshotRequest};
use crate::status::RoleName;

/// Everything that is to be done since the last call.
#[derive(Debug, Default)]
#[must_use = "what is in here is said once"]
pub struct Ready {
    /// First: make this snapshot, which was announced by [`Body::Snapshot`](crate::Body::Snapshot),
    /// the node's own, let the log on disk begin anew after it, load the state machine from it; then
    /// call [`snapshot_installed`](crate::Raft::snapshot_installed). Later writes come after it.
    pub snapshot_install: Option<SnapshotMeta>,
    /// Give to the log, in the order of the tags.
    pub write: Option<Write>,
    /// Send at once.
    pub messages: Vec<Envelope>,
    /// Apply in order; answer with [`applied`](crate::Raft::applied).
    pub apply: Vec<Entry>,
    /// Reads that may be served now from the state machine.
    pub reads: Vec<ReadReady>,
    /// Reads that will never be served; their callers may ask again, here or elsewhere.
    pub reads_failed: Vec<(u64, Refused)>,
    /// Peers to stream the latest snapshot to.
    pub snapshot_send: Vec<SnapshotRequest>,
    /// The node's role, term or leader has changed.
    pub role: Option<RoleChange>,
}

impl Ready {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.snapshot_install.is_none()
            && self.write.is_none()
            && self.messages.is_empty()
            && self.apply.is_empty()
            && self.reads.is_empty()
            && self.reads_failed.is_empty()
            && self.snapshot_send.is_empty()
            && self.role.is_none()
    }
}

/// Identifies a write; grows, and is never used twice in one life of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteTag(pub(crate) u64);

impl WriteTag {
    /// The tag's number: 1 for the first write of a life, then one more for each.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// A write to the log: first the cut, then the entries, and the hard state with them.
///
/// It may be empty but for `after`: those messages then wait for the writes before it.
#[derive(Debug)]
pub struct Write {
    /// To be given to [`persisted`](crate::Raft::persisted) when this is on stable storage.
    pub tag: WriteTag,
    /// The new hard state, when it changed.
    pub hard_state: Option<HardState>,
    /// Drop what the log holds from this index on.
    pub truncate_from: Option<Index>,
    /// Then append these.
    pub entries: Vec<Entry>,
    /// Send when, and only when, this write and all before it are on stable storage.
    pub after: Vec<Envelope>,
}

/// Who the node is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// Its role.
    pub role: RoleName,
    /// The term.
    pub term: Term,
    /// The leader, when known.
    pub leader: Option<NodeId>,
}
