//! Raft as a pure state machine: no clock, no disk, no socket, no thread.
//!
//! Ticks, messages, requests and completions go in; what is to be written, sent, applied and
//! answered comes out of [`Raft::ready`]. Whoever calls this crate has all the effects, and the same
//! inputs always have the same outcome.
//!
//! # The protocol
//!
//! A group of nodes keeps one log. Whatever is committed in it stays, at its place, on every node,
//! for as long as a majority of the voters keep their disks; it suffices that a majority can speak
//! to each other for the log to grow. The state machines that apply it are equal at equal indexes.
//!
//! **Terms.** Time is cut into terms, numbered upwards. A term has one leader or none. Every message
//! carries its sender's term; a higher one makes everybody a follower in it, a lower one is refused.
//!
//! **Election.** A follower that hears from no leader within its election timeout, drawn anew each
//! time, campaigns. It first asks whether it would be elected (the pre-vote, which binds nobody and
//! raises no term), then raises its term, votes for itself and asks for votes. A voter gives one vote
//! in a term, first come, and none to a candidate whose last entry is older than its own or, of the
//! same term, at a lower index. A majority of votes makes a leader. Since any two majorities share a
//! voter, there is one leader in a term, and it holds every entry that was ever committed.
//!
//! **Replication.** A leader appends what is proposed to its own log, and sends each follower what
//! that lacks, together with the index and term of the entry before. A follower that has this entry
//! takes the rest over, cutting what conflicts; one that has not says where the logs may meet. So
//! the logs of two nodes are equal up to any entry that they share. Entries leave beside the leader's
//! own write, several messages at a time ([`progress`](ReplicationState) tells how far each peer is).
//!
//! **Commit.** An entry of the leader's own term that is on the disks of a majority is committed, and
//! with it all before it. Entries of older terms are never committed by counting (Figure 8 of the
//! paper): they wait for the no-op with which every leader begins.
//!
//! **Reads** need no entry. A leader knows that it still leads when a majority answers a heartbeat
//! that it sent after the read began; all reads that wait share one such round. An answered round is
//! also a lease: who answered gives nobody else a vote for an election timeout. A follower asks the
//! leader for the index that its state must have reached.
//!
//! **Membership** is an entry like any other, in force from the moment it is in the log. One voter
//! more or less needs no more than that; several at once go through a joint configuration, where
//! elections, commits and reads need both majorities.
//!
//! **Snapshots** replace what has been applied. A follower that needs what is gone gets one.
//!
//! # What always holds
//!
//! - There is at most one leader in a term, and it never changes or cuts its own log.
//! - A node's term and commit index never go back; it votes for at most one candidate in a term.
//! - Two logs that hold an entry of the same index and term are equal up to there.
//! - What is committed is on the disks of a majority, in the log of every later leader, and never cut.
//! - `applied ≤ commit`, and what is applied is on the node's own disk.
//! - Configurations follow each other one at a time, and any two neighbours' majorities share a voter.
//!
//! The simulation in `tests/simulation` asserts each after every step, under storms of lost messages,
//! crashes, lost writes, pauses and membership changes; and is itself tried on cores that are wrong on
//! purpose. The scripts in `tests/scripts` tell each behaviour as a story.
//!
//! # Duties of the caller
//!
//! 1. Call [`Raft::tick`] at a steady pace, [`Raft::step`] for each message that comes in, and
//!    [`Raft::ready`] after any of the calls, until it [is empty](Ready::is_empty); do what it says.
//! 2. [`Ready::snapshot_install`] comes before the write beside it and all later ones, and after all
//!    that was given to apply before. Call [`Raft::snapshot_installed`] when it is durable and loaded.
//!    A snapshot that was announced by [`Body::Snapshot`] and is not asked for so may be discarded.
//! 3. Writes reach stable storage in the order of their tags. When one is there, send its
//!    [`after`](Write::after), and not before, and call [`Raft::persisted`] with its tag. Several may
//!    be under way; one call may stand for several. **A write that fails stops the node.**
//! 4. [`Ready::messages`] may leave at once. The network may lose, double, delay and reorder them; it
//!    must not invent or change them, and must say truly who sent them.
//! 5. Apply [`Ready::apply`] in order, each once, and call [`Raft::applied`]. A proposal has taken
//!    effect when an entry of its index *and term* is applied; another term at its index means that it
//!    never will. A proposal that was [`Refused`] certainly did not happen.
//! 6. After a restart, give [`Raft::new`] what is on disk: the last hard state, the latest snapshot
//!    that the state machine was loaded from, and all entries after it. [`Ready::apply`] begins there.
//! 7. Give each life of a node a new [`Config::seed`]: an answer to a question of an earlier life must
//!    not be taken for one to this life's.
//! 8. Before a read by lease, deliver every tick that the clock owes; or, where time may have gone by
//!    unobserved, call [`Raft::lapse`]. Between any two nodes a tick's length differs by no more than
//!    [`Config::lease_drift_percent`].
//! 9. Report each [`Ready::snapshot_send`] by [`Raft::snapshot_sent`], whatever became of it; and, with
//!    sleeping groups, a peer whose link is broken by [`Raft::unreachable`].
//! 10. Snapshot what is applied, and let the log go by [`Raft::compact`]: it is held in memory.
//!
//! # Caveats
//!
//! - The whole log since the last compaction is in memory. That is what makes every look-up O(1) and
//!   the core free of reads from disk; how much it is, the caller decides.
//! - A committed entry is applied on a node only when it is on that node's disk, too. A leader with
//!   the slowest disk commits with its followers' but answers with its own; one whose disk hangs for
//!   an election timeout steps down.
//! - Followers learn of a commit with the next message or heartbeat, not by a message of its own. A
//!   read on a follower brings the commit index with it.
//! - A leader that handed over in vain has no lease for the rest of its term: the one who was told to
//!   campaign may do so late, and overrides what others promised.
//! - A clock that stops with the machine makes leases unsafe; where that can be, use
//!   [`ReadMode::Index`], which rests on no clock at all.
//! - A node that lost its disk must say so ([`Restored::wiped`]); the core cannot know. It takes no part
//!   in votes until it was removed, added again, and told so ([`Raft::readmit`]).
//! - No defence against nodes that lie.
//!
//! Sources: D. Ongaro and J. Ousterhout, *In Search of an Understandable Consensus Algorithm*, extended
//! version (sections 5 to 8); D. Ongaro, *Consensus: Bridging Theory and Practice* (the "thesis").

mod applying;
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
mod voter;
mod writes;

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
