//! Refusals: what was asked for has certainly not happened and never will.

use thiserror::Error;

use crate::log::{Index, NodeId};

/// Why the core refused. A refusal is definite: the request left no trace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Only a leader can do this.
    #[error("not the leader{}", match leader { Some(id) => format!("; node {id} is"), None => String::new() })]
    NotLeader {
        /// The leader, as far as known.
        leader: Option<NodeId>,
    },
    /// Leadership is being handed over.
    #[error("leadership is being handed to node {to}")]
    Transferring {
        /// Whom it goes to.
        to: NodeId,
    },
    /// Too much is waiting already.
    #[error("too much is waiting to be committed or read")]
    Full,
    /// A membership change is under way: the configuration entry has not committed, or is joint.
    #[error("the membership change at index {index} is still under way")]
    ChangeInProgress {
        /// The index of the configuration entry.
        index: Index,
    },
    /// The leader has not committed an entry of its own term yet.
    #[error("the leader has not committed an entry of its own term yet")]
    TooEarly,
    /// The change names a node that is a member already, in that very role.
    #[error("node {id} is already that kind of member")]
    AlreadyMember {
        /// The node.
        id: NodeId,
    },
    /// The change, or the transfer, names a node that is no member of the needed kind.
    #[error("node {id} is no such member")]
    NotMember {
        /// The node.
        id: NodeId,
    },
    /// The node lost its disk: it cannot be elected.
    #[error("node {id} lost its disk and has no vote until it is readmitted")]
    HasNoVote {
        /// The node.
        id: NodeId,
    },
    /// The change would leave no voter.
    #[error("the change would leave no voter")]
    LastVoter,
    /// The node's log is too far behind for what it is meant to become.
    #[error("node {id} is {lag} entries behind")]
    TooFarBehind {
        /// The node.
        id: NodeId,
        /// How many committed entries it lacks.
        lag: u64,
    },
    /// The change changes nothing, or there is no joint configuration to leave.
    #[error("nothing to change")]
    NothingToChange,
}
