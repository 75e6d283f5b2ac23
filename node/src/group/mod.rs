//! A command's whole life, for many groups at once.
//!
//! One loop ([`engine`]) owns every group of the node. It takes what has come in since the last turn
//! (requests of clients, messages of peers, completions of the disk, ticks), feeds it to the groups'
//! protocol cores, and then does what they ask for: entries go to the log and to the peers at the
//! same time, committed entries go to the [`apply`] task, whose answers wake the clients. Whatever
//! came in together is written together: batching needs no timer.
//!
//! ```text
//! http ─ Request ─┐                       ┌─ log (its own thread) ── stable ──┐
//! peers ─ Frame ──┼─► engine ─► core ─► ready ─► peers                        ├─► engine
//! ticks ──────────┘                       └─ apply (its own task) ─ applied ──┘
//! ```
//!
//! Nothing here blocks: the queue of requests is bounded and refuses, the core bounds what is
//! proposed and not committed, and what is committed and not applied.

mod address;
mod apply;
mod clock;
mod completions;
mod engine;
mod forward;
mod inbox;
mod member;
mod snapshots;
mod status;
mod timeouts;

use std::str::FromStr;
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::RwLock;
use raft::{MembershipChange, NodeId, Refused, Term};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

pub use crate::encoding::GroupId;
use crate::state_machine::{Answer, State};
pub use address::AddressBook;
pub use engine::{Engine, Parts, Settings};
pub use forward::{Forwarded, Recognition, Task, decode_answer};
pub use inbox::{Arrivals, Inbox};
pub use snapshots::load as load_snapshot;
pub use status::{GroupStatus, NodeStatus};

/// What is logged of a group stands in its span.
fn group_span(group: GroupId, term: Term) -> tracing::Span {
    tracing::info_span!("group", group, term)
}

/// What the rest of the node sees of a group without asking its loop.
#[derive(Debug, Default)]
pub struct Shared {
    /// The applied state.
    pub state: RwLock<State>,
    /// Who leads, as far as this node knows.
    pub leader: watch::Sender<Option<NodeId>>,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Linearizable: a quorum confirms the leader for each round of reads.
    Index,
    /// Linearizable while clocks drift less than the configured bound: no round.
    Lease,
    /// Linearizable, answered by whichever node was asked.
    Follower,
    /// Whatever this node has applied.
    Stale,
}

impl FromStr for ReadMode {
    type Err = String;

    fn from_str(text: &str) -> Result<ReadMode, String> {
        match text {
            "index" => Ok(ReadMode::Index),
            "lease" => Ok(ReadMode::Lease),
            "follower" => Ok(ReadMode::Follower),
            "stale" => Ok(ReadMode::Stale),
            _ => Err(format!(
                "read must be one of index, lease, follower, stale, not {text:?}"
            )),
        }
    }
}

/// Whether a node that does not lead may pass a request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// To the leader, once.
    ToLeader,
    /// No: refuse and name the leader.
    No,
}

/// An operator's verb on one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdminVerb {
    /// Changes the members; answered when the last configuration of the change has committed.
    Change(MembershipChange),
    /// Hands leadership to this voter; answered when the leader has changed.
    Transfer(NodeId),
    /// Makes this node stand for election.
    Campaign,
    /// Writes a snapshot now; answered when it is stable.
    Snapshot,
}

/// What the HTTP side asks of the groups.
#[derive(Debug)]
pub enum Request {
    /// Put a command into the log.
    Propose {
        /// In which group.
        group: GroupId,
        /// The encoded command, not yet stamped.
        command: BytesMut,
        /// Where the answer goes.
        reply: Reply<Answer>,
    },
    /// Say when the state may be read.
    Read {
        /// In which group.
        group: GroupId,
        /// How fresh.
        mode: ReadMode,
        /// Whether a node that does not lead may serve it.
        forward: Forward,
        /// Where the answer goes.
        reply: Reply<()>,
    },
    /// Carry out an operator's verb.
    Admin {
        /// In which group.
        group: GroupId,
        /// What to do.
        verb: AdminVerb,
        /// Where the answer goes: the log index of the effect, 0 if it has none.
        reply: Reply<u64>,
    },
    /// Describe the node.
    Status {
        /// Where the answer goes.
        reply: oneshot::Sender<NodeStatus>,
    },
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Why there is no answer, and with that whether the operation certainly did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// Another node leads.
    #[error("this node does not lead the group")]
    NotLeader {
        /// The leader, as far as known.
        leader: Option<NodeId>,
    },
    /// Nobody leads, as far as this node knows.
    #[error("the group has no leader now; try again")]
    NoLeader,
    /// Leadership is being handed over.
    #[error("leadership is being handed over; try again")]
    Transferring,
    /// Too much is waiting.
    #[error("too much is waiting already; try again later")]
    Overloaded,
    /// The disk has no room for new entries.
    #[error("the disk is full: writes are refused until there is room")]
    DiskFull,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// A later leader's entry committed where the command stood: it never will.
    #[error("leadership changed and the command was discarded")]
    Superseded,
    /// The leader that was to confirm the read lost its office.
    #[error("leadership changed before the read was confirmed; try again")]
    Deposed,
    /// The verb cannot be carried out as things stand.
    #[error("{0}")]
    Refused(String),
    /// No answer in time: the operation may have happened, or may yet.
    #[error("no answer in time: the operation may or may not take effect")]
    Timeout,
    /// The answer was lost with the leader, or in a snapshot.
    #[error("the answer was lost: the operation may or may not have taken effect")]
    Lost,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused {
            Refused::NotLeader { leader } => Failure::NotLeader { leader },
            Refused::Transferring { .. } => Failure::Transferring,
            Refused::Full => Failure::Overloaded,
            other => Failure::Refused(other.to_string()),
        }
    }
}

/// The groups' shared parts, by id.
pub type Groups = Vec<Arc<Shared>>;
