//! The node and its groups as `/status` shows them.

use std::collections::BTreeSet;

use raft::{Index, NodeId, Status, Term};
use serde::Serialize;

use super::GroupId;

/// How the node stands.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// The node.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// The program's version.
    pub version: &'static str,
    /// Group 0's role.
    pub role: String,
    /// Group 0's term.
    pub term: Term,
    /// Group 0's leader.
    pub leader: Option<NodeId>,
    /// Group 0's commit index.
    pub commit: Index,
    /// Group 0's applied index.
    pub applied: Index,
    /// Each group.
    pub groups: Vec<GroupStatus>,
    /// Everyone's addresses.
    pub members: Vec<MemberAddress>,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Bytes in the data directory.
    pub disk_bytes: u64,
}

/// A member and where it is reached.
#[derive(Clone, Debug, Serialize)]
pub struct MemberAddress {
    /// The member.
    pub id: NodeId,
    /// By its peers.
    pub peer: String,
    /// By clients.
    pub http: String,
}

/// How a group stands on this node.
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// This node's role in it.
    pub role: String,
    /// The term.
    pub term: Term,
    /// The leader, as far as known.
    pub leader: Option<NodeId>,
    /// Everything up to here is committed.
    pub commit: Index,
    /// Everything up to here is applied.
    pub applied: Index,
    /// The first entry in the log.
    pub first_index: Index,
    /// The last entry in the log.
    pub last_index: Index,
    /// The members.
    pub configuration: ConfigurationStatus,
    /// On the leader: how far each peer is.
    pub progress: Vec<PeerProgress>,
    /// The last entry in the latest snapshot.
    pub snapshot_index: Index,
    /// Whether the group sleeps for want of traffic.
    pub asleep: bool,
    /// Whether the node lost its disk and has no vote until it is readmitted.
    pub wiped: bool,
}

/// The members of a group.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigurationStatus {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who votes too while the configuration is joint.
    pub outgoing: BTreeSet<NodeId>,
    /// Who only receives.
    pub learners: BTreeSet<NodeId>,
    /// Learners that will vote as soon as they have caught up.
    pub joining: BTreeSet<NodeId>,
    /// The entry that put it in force.
    pub index: Index,
}

/// How far a peer is, as its leader sees it.
#[derive(Clone, Debug, Serialize)]
pub struct PeerProgress {
    /// The peer.
    pub id: NodeId,
    /// It has everything up to here.
    #[serde(rename = "match")]
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How it is being replicated to.
    pub state: String,
    /// Committed entries that it is not known to have.
    pub lag: u64,
    /// Whether it was heard within an election timeout.
    pub active: bool,
}

impl GroupStatus {
    pub(super) fn new(group: GroupId, status: Status) -> GroupStatus {
        let configuration = ConfigurationStatus {
            voters: status.configuration.voters,
            outgoing: status.configuration.outgoing,
            learners: status.configuration.learners,
            joining: status.configuration.joining,
            index: status.configuration_index,
        };
        let progress = status
            .progress
            .iter()
            .map(|peer| PeerProgress {
                id: peer.id,
                matched: peer.matched,
                next: peer.next,
                state: format!("{:?}", peer.state).to_lowercase(),
                lag: peer.lag,
                active: peer.active,
            })
            .collect();
        GroupStatus {
            group,
            role: status.role.to_string(),
            term: status.term,
            leader: status.leader,
            commit: status.commit,
            applied: status.applied,
            first_index: status.first,
            last_index: status.last,
            configuration,
            progress,
            snapshot_index: status.snapshot,
            asleep: status.asleep,
            wiped: status.wiped,
        }
    }
}
