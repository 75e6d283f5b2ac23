//! Raft as a pure state machine: no clock, no disk, no socket, no thread.
//!
//! Ticks, messages, requests and completions go in; what is to be written, sent, applied and
//! answered comes out of [`Raft::ready`].
//!
//! # Duties of the caller
//!
//! 1. Call [`Raft::tick`] at a steady pace, [`Raft::step`] for each message that comes in, and
//!    [`Raft::ready`] after any of the calls; do what it says.
//! 2. [`Ready::snapshot_install`] comes first: before the write beside it and all later ones.
//! 3. Writes reach stable storage in the order of their tags. When one is there, send its
//!    [`after`](Write::after) and call [`Raft::persisted`]. Several may be under way. A write that
//!    fails stops the node.
//! 4. [`Ready::messages`] may leave at once. Messages may be lost, doubled and reordered.
//! 5. Apply [`Ready::apply`] in order, and call [`Raft::applied`].
//! 6. Give each life of a node a new [`Config::seed`].
//! 7. Before a read by lease, deliver every tick that the clock owes, or call [`Raft::lapse`].
//! 8. Report [`Raft::snapshot_sent`] for each [`Ready::snapshot_send`], whatever became of it.

mod bugs;
mod candidate;
mod config;
mod core;
mod error;
mod follower;
mod leader;
mod log;
mod membership;
mod message;
mod progress;
mod quorum;
mod raft;
mod read;
mod ready;
mod recovery;
mod sleep;
mod snapshot;
mod status;

#[cfg(feature = "bugs")]
pub use bugs::{Bug, Bugs};
pub use config::{Config, ConfigError, Priority};
pub use error::Refused;
pub use log::{Entry, HardState, Index, NodeId, Payload, Position, Term};
pub use membership::{Change, Configuration, MembershipChange, Transition};
pub use message::{Body, Envelope, Message, Stage};
pub use progress::ReplicationState;
pub use raft::{Raft, Restored};
pub use read::{ReadId, ReadMode, ReadReady};
pub use ready::{Ready, RoleChange, Write, WriteTag};
pub use recovery::sole_voter;
pub use snapshot::{SnapshotMeta, SnapshotRequest};
pub use status::{PeerStatus, RoleName, Status};
