//! What nodes say to each other.
//!
//! All fields are public: the runtime encodes them for the wire as it likes. A message says nothing
//! of its sender or addressee; [`Envelope`] carries the addressee, the link knows the sender.

use serde::{Deserialize, Serialize};

use crate::log::{Entry, Index, NodeId, Position, Term};
use crate::snapshot::SnapshotMeta;

/// A message and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The addressee.
    pub to: NodeId,
    /// What to deliver.
    pub message: Message,
}

/// A message between two nodes of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender's term. A pre-vote's request and its grant name the term that would be begun.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// Which of the two ballots of an election (thesis 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// "Would you vote for me?" Binds nobody and raises no term.
    Pre,
    /// The vote itself.
    Real,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A candidate asks for a vote.
    VoteRequest {
        /// Pre-vote or vote.
        stage: Stage,
        /// The candidate's last log entry.
        last: Position,
        /// Set when the leader itself asked for this election: who hears that leader votes too.
        forced: bool,
    },
    /// The answer to a request for a vote.
    VoteReply {
        /// The stage that is answered.
        stage: Stage,
        /// Whether the vote is given.
        granted: bool,
    },
    /// The leader sends entries that follow `previous`; none when it only probes.
    Append {
        /// The entry just before the first of `entries`.
        previous: Position,
        /// Contiguous entries.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
    },
    /// The follower's log equals the leader's up to here, on stable storage.
    Accepted {
        /// The last index known to be equal.
        matched: Index,
    },
    /// As [`Body::Accepted`], from a node that lost its disk: the leader may send on from here, but
    /// this counts for nothing, for the node cannot know what it promised before.
    Held {
        /// The last index known to be equal.
        matched: Index,
    },
    /// The follower has no entry like `previous`.
    Rejected {
        /// The index of the `previous` that was refused.
        at: Index,
        /// The follower's last entry at or below `at` whose term is not above that of the refused
        /// one: the leader skips the whole of the term that disagrees.
        hint: Position,
    },
    /// The leader lives.
    Heartbeat {
        /// The commit index, as far as the follower's log is known to match.
        commit: Index,
        /// The round that the reply will confirm; grows within a term.
        round: u64,
        /// Set when nothing is left to do: the group falls asleep until it is woken.
        sleep: bool,
    },
    /// The follower still follows the leader of this term.
    HeartbeatReply {
        /// The round that is confirmed; 0, which is none, from a node that lost its disk.
        round: u64,
    },
    /// A snapshot has arrived and lies, complete and verified, beside the follower's own. The
    /// follower's runtime says this to its own core, in the name of the leader that sent it.
    Snapshot {
        /// What the snapshot covers.
        meta: Box<SnapshotMeta>,
    },
    /// The leader asks a voter that is up to date to campaign at once (thesis 3.10).
    TimeoutNow,
    /// A follower asks for a read index, for all the reads that it has gathered.
    ReadRequest {
        /// The follower's own number, echoed.
        round: u64,
    },
    /// The read index: a state that has applied it is fresh enough.
    ReadReply {
        /// The request's number.
        round: u64,
        /// The read index.
        index: Index,
        /// The commit index, as far as the follower's log is known to match.
        commit: Index,
    },
}

impl Body {
    /// Whether only the leader of the message's term can have sent this.
    pub(crate) fn is_from_leader(&self) -> bool {
        matches!(
            self,
            Body::Append { .. }
                | Body::Heartbeat { .. }
                | Body::Snapshot { .. }
                | Body::TimeoutNow
                | Body::ReadReply { .. }
        )
    }

    /// Whether the message promises something that must be on disk first: a vote, a term that a
    /// vote is asked for, or entries that are held.
    ///
    /// A request for a vote waits, too. Left earlier, it could outlive a crash that takes the tail
    /// of the log, and its late grants would then elect a candidate that holds less than it said.
    pub(crate) fn waits_for_disk(&self) -> bool {
        matches!(
            self,
            Body::VoteRequest {
                stage: Stage::Real,
                ..
            } | Body::VoteReply { .. }
                | Body::Accepted { .. }
                | Body::Held { .. }
                | Body::Rejected { .. }
        )
    }
}
