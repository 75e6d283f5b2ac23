//! How a node is set up.

use thiserror::Error;

#[cfg(feature = "bugs")]
use crate::bugs::Bugs;
use crate::log::{Index, NodeId};
use crate::membership::Configuration;

/// How eager a node is to lead; the most eager first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Campaigns when its election timeout has passed.
    #[default]
    Normal,
    /// At first waits longer than any normal node does, so it leads only when no normal node can.
    Low,
    /// Campaigns only when told to, by its caller or by a leader that hands over.
    Never,
}

/// The set-up of a node. Times are counted in ticks; how long a tick is, only the caller knows.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// The first members, the same on each of them; used when nothing was restored. Empty for a
    /// node that waits to be added to a cluster.
    pub configuration: Configuration,
    /// Where randomness comes from. Must differ between nodes and from one start to the next.
    pub seed: u64,

    /// The least election timeout, above `heartbeat_ticks`. Who heard a leader within it grants no
    /// vote. The same on all nodes where leases are used.
    pub election_ticks_min: u32,
    /// The greatest election timeout.
    pub election_ticks_max: u32,
    /// The time from one heartbeat to the next; about a tenth of the election timeout.
    pub heartbeat_ticks: u32,
    /// Ask before campaigning, so that a node cut off raises no term.
    pub pre_vote: bool,
    /// A leader that hears no majority steps down; a follower that hears a leader grants no vote.
    pub check_quorum: bool,
    /// How eager the node is to lead.
    pub priority: Priority,
    /// Lease reads, when the clocks of any two nodes drift apart by no more than this, in percent.
    pub lease_drift_percent: Option<u32>,
    /// A leader with nothing to do for so long puts its group to sleep.
    pub sleep_after_ticks: Option<u32>,

    /// Entries wait for [`ready`](crate::Raft::ready) and leave together. Off: one message for each.
    pub batching: bool,
    /// Messages leave before the last one is answered. Off: one at a time for each peer.
    pub pipelining: bool,
    /// Entries leave beside the leader's own write. Off: they wait for it.
    pub parallel_append: bool,
    /// Entries are handed out while earlier ones are still being applied. Off: they wait.
    pub asynchronous_apply: bool,

    /// The most that one message carries (one entry at least).
    pub max_batch_bytes: usize,
    /// The most messages on their way to one peer.
    pub inflight_max: usize,
    /// The most bytes on their way to one peer.
    pub inflight_max_bytes: usize,
    /// The most that one [`Ready`](crate::Ready) hands out to apply (one entry at least).
    pub apply_max_bytes: usize,
    /// The most that is handed out and not yet applied.
    pub apply_inflight_max_bytes: usize,
    /// Proposals are refused while more than this waits to be committed.
    pub uncommitted_max_bytes: usize,
    /// Reads are refused while so many wait.
    pub reads_max: usize,
    /// A learner that lacks more committed entries than this is not promoted.
    pub promote_lag_max: Index,

    /// Historic bugs to be switched on.
    #[cfg(feature = "bugs")]
    pub bugs: Bugs,
}

impl Config {
    /// The defaults: everything that makes it safe and fast is on, for ticks of about 10 ms.
    pub fn new(id: NodeId, configuration: Configuration) -> Config {
        Config {
            id,
            configuration,
            seed: id,
            election_ticks_min: 50,
            election_ticks_max: 100,
            heartbeat_ticks: 5,
            pre_vote: true,
            check_quorum: true,
            priority: Priority::Normal,
            lease_drift_percent: None,
            sleep_after_ticks: None,
            batching: true,
            pipelining: true,
            parallel_append: true,
            asynchronous_apply: true,
            max_batch_bytes: 1 << 20,
            inflight_max: 64,
            inflight_max_bytes: 16 << 20,
            apply_max_bytes: 1 << 20,
            apply_inflight_max_bytes: 8 << 20,
            uncommitted_max_bytes: 64 << 20,
            reads_max: 1 << 16,
            promote_lag_max: 1_000,
            #[cfg(feature = "bugs")]
            bugs: Bugs::default(),
        }
    }

    /// How long after the sending of a confirmed round the leader may answer by itself.
    ///
    /// A tick says only that a moment lies between two, on either side; hence two less than the
    /// least time for which a follower stays true, and that over the drift.
    pub(crate) fn lease_ticks(&self) -> Option<u64> {
        let drift = u64::from(self.lease_drift_percent?);
        Some(u64::from(self.election_ticks_min).saturating_sub(2) * 100 / (100 + drift))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.id == 0 {
            return Err(ConfigError::NoId);
        }
        check_ticks(
            self.heartbeat_ticks,
            self.election_ticks_min,
            self.election_ticks_max,
        )?;
        if self.lease_drift_percent.is_some() && !self.check_quorum {
            return Err(ConfigError::LeaseWithoutCheckQuorum);
        }
        if self.configuration.is_joint() {
            return Err(ConfigError::JointAtFirst);
        }
        Ok(())
    }
}

pub(crate) fn check_ticks(heartbeat: u32, min: u32, max: u32) -> Result<(), ConfigError> {
    if heartbeat == 0 || heartbeat >= min || min >= max {
        return Err(ConfigError::Ticks {
            heartbeat,
            min,
            max,
        });
    }
    Ok(())
}

/// Why a node cannot be set up like this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Node ids begin at 1.
    #[error("node id 0 means none; ids begin at 1")]
    NoId,
    /// The times do not fit each other.
    #[error(
        "need 0 < heartbeat ({heartbeat}) < election minimum ({min}) < election maximum ({max}), in ticks"
    )]
    Ticks {
        /// The heartbeat interval.
        heartbeat: u32,
        /// The least election timeout.
        min: u32,
        /// The greatest election timeout.
        max: u32,
    },
    /// The times may be changed, but not below what the node was set up with.
    #[error("the election minimum ({min} ticks) must not fall below the one configured ({floor})")]
    BelowFloor {
        /// What was asked for.
        min: u32,
        /// What was configured.
        floor: u32,
    },
    /// A lease holds only where followers keep their word.
    #[error("lease reads need check_quorum")]
    LeaseWithoutCheckQuorum,
    /// A cluster does not begin in a joint configuration.
    #[error("the first configuration must not be joint")]
    JointAtFirst,
    /// The restored entries do not follow each other or the snapshot.
    #[error("the restored log breaks at index {index}")]
    Gap {
        /// Where the entry is missing.
        index: Index,
    },
}
