//! A look at a node from outside.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;
use crate::log::{Index, NodeId, Term};
use crate::membership::Configuration;
use crate::message::Stage;
use crate::progress::{Progress, ReplicationState};
use crate::raft::{Raft, Role};

/// What a node is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Follows, or waits for, a leader; has a vote.
    Follower,
    /// Follows without a vote.
    Learner,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Leads.
    Leader,
}

impl fmt::Display for RoleName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            RoleName::Follower => "follower",
            RoleName::Learner => "learner",
            RoleName::PreCandidate => "pre-candidate",
            RoleName::Candidate => "candidate",
            RoleName::Leader => "leader",
        })
    }
}

/// A node, seen from outside.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The node.
    pub id: NodeId,
    /// Its role.
    pub role: RoleName,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in it.
    pub vote: Option<NodeId>,
    /// The leader, when known.
    pub leader: Option<NodeId>,
    /// Everything up to here is committed.
    pub commit: Index,
    /// Everything up to here is applied.
    pub applied: Index,
    /// The first entry still kept.
    pub first: Index,
    /// The last entry.
    pub last: Index,
    /// Everything up to here is on the node's disk.
    pub stable: Index,
    /// The last entry that the latest snapshot covers.
    pub snapshot: Index,
    /// The members.
    pub configuration: Configuration,
    /// The index of the entry that named them.
    pub configuration_index: Index,
    /// On a leader: its peers.
    pub progress: Vec<PeerStatus>,
    /// Whether the group sleeps: no tick changes anything.
    pub asleep: bool,
    /// Whether the node lost its disk and has no vote until it is readmitted.
    pub wiped: bool,
}

/// A peer, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// Its log is known to equal the leader's up to here.
    pub matched: Index,
    /// The next entry to send to it.
    pub next: Index,
    /// How it is being replicated to.
    pub state: ReplicationState,
    /// How many committed entries it is not known to have.
    pub lag: u64,
    /// Whether it was heard within an election timeout.
    pub active: bool,
}

impl Raft {
    /// A look at everything.
    pub fn status(&self) -> Status {
        let core = &self.core;
        Status {
            id: core.id(),
            role: self.role_name(),
            term: core.term(),
            vote: core.vote(),
            leader: self.leader(),
            commit: core.commit,
            applied: core.applying.applied,
            first: core.log.first_index(),
            last: core.log.last_index(),
            stable: core.log.stable(),
            snapshot: core.snapshot.index,
            configuration: core.configuration().clone(),
            configuration_index: core.membership.index(),
            progress: self.progress(),
            asleep: core.asleep,
            wiped: core.wiped,
        }
    }

    fn progress(&self) -> Vec<PeerStatus> {
        let Role::Leader(leader) = &self.role else {
            return Vec::new();
        };
        let of = |(&id, peer): (&NodeId, &Progress)| PeerStatus {
            id,
            matched: peer.matched,
            next: peer.next,
            state: peer.state,
            lag: self.core.commit.saturating_sub(peer.matched),
            active: leader.is_active(&self.core, id),
        };
        leader.progress.iter().map(of).collect()
    }

    /// What the node is in its term.
    pub(crate) fn role_name(&self) -> RoleName {
        match &self.role {
            Role::Follower(_) if self.core.configuration().is_voter(self.core.id()) => {
                RoleName::Follower
            }
            Role::Follower(_) => RoleName::Learner,
            Role::Candidate(Candidate {
                stage: Stage::Pre, ..
            }) => RoleName::PreCandidate,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        }
    }
}
