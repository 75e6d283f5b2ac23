//! Snapshots, as far as the core cares: what they cover and who needs one. Their bytes never pass
//! through here; the runtime writes, streams and loads them.

use serde::{Deserialize, Serialize};

use crate::log::{Index, NodeId, Position, Term};
use crate::membership::Configuration;

/// What a snapshot covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that the snapshot contains.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// The configuration in force at that entry, joint or not.
    pub configuration: Configuration,
}

impl SnapshotMeta {
    pub(crate) fn position(&self) -> Position {
        Position {
            index: self.index,
            term: self.term,
        }
    }
}

/// A follower needs a snapshot: entries that it lacks are compacted away.
///
/// The runtime streams its latest one, with this `term`, and reports
/// [`snapshot_sent`](crate::Raft::snapshot_sent) whatever becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Who needs it.
    pub to: NodeId,
    /// The leader's term; the receiver's [`Body::Snapshot`](crate::Body::Snapshot) carries it.
    pub term: Term,
    /// The least index that the snapshot must cover to be of use.
    pub at_least: Index,
}
