//! Why a fault could not be installed or healed: always the harness's failure, never the system's.

use crate::control::ControlError;
use crate::journal::JournalError;

/// What kept the nemesis from its work.
#[derive(Debug, thiserror::Error)]
pub enum NemesisError {
    /// A name that is no node of the cluster.
    #[error("there is no node {name}, expected one of {nodes}")]
    UnknownNode {
        /// The name.
        name: String,
        /// The cluster's nodes.
        nodes: String,
    },
    /// Nobody leads, for longer than a fault waits.
    #[error("there was no leader to aim at")]
    NoLeader,
    /// No node is left that the fault could be done to.
    #[error("no node is left for `{0}`: other faults hold the rest down, or the cluster has none")]
    NobodyLeft(String),
    /// The cluster is too small for the fault.
    #[error("{nodes} nodes are too few to be divided like that")]
    TooFew {
        /// How many there are.
        nodes: usize,
    },
    /// The fault is about a daemon, and on this host there is none that we started.
    #[error("host {host} has no daemon that ordeal started there: deploy the system first")]
    NoDaemon {
        /// The host.
        host: String,
    },
    /// This host cannot be done that to.
    #[error("host {host}: {said}")]
    Unsupported {
        /// The host.
        host: String,
        /// Why, and what would help.
        said: String,
    },
    /// Another fault is in the way.
    #[error("host {host}: {said}")]
    Busy {
        /// The host.
        host: String,
        /// Which.
        said: String,
    },
    /// The fault was gone before it was healed: a watchdog did not hear of us, or the host went down.
    #[error("fault {id} ended by itself on {hosts}, before it was healed")]
    EndedEarly {
        /// Its number.
        id: u64,
        /// Where.
        hosts: String,
    },
    /// We cannot cut a host off without cutting ourselves off.
    #[error(
        "host {host}: the address that we come from is not known or is one of the cluster's own; \
         run ordeal from a host outside the cluster"
    )]
    NoControlAddress {
        /// The host.
        host: String,
    },
    /// The agent did what it was told and something else came of it.
    #[error("host {host}: the fault was installed but does not work: {said}")]
    Ineffective {
        /// The host.
        host: String,
        /// What was seen.
        said: String,
    },
    /// It could be installed only in part, and that part could not be undone.
    #[error("{install}; and what was installed could not be undone ({heal}); type: ordeal heal")]
    Stuck {
        /// Why it could not be installed.
        install: Box<NemesisError>,
        /// Why it could not be undone.
        heal: Box<NemesisError>,
    },
    /// The members are to be changed and nobody says who they are.
    #[error("no node tells who the members are")]
    NoRoster,
    /// The change would leave no quorum, as far as can be seen from here.
    #[error("the change is not safe now: {0}")]
    Unsafe(String),
    /// The system did not do it.
    #[error("the members were not changed: {0}")]
    Members(String),
    /// No fault of this number is there.
    #[error("there is no fault {0}")]
    NoSuchFault(u64),
    /// A host could not be reached or a command failed there.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The journal could not be written: without it no fault is installed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl NemesisError {
    /// Whether nothing is wrong but the moment: there was no leader, or nobody left to torment.
    /// The fault was not installed, and another time it may be.
    pub fn is_only_bad_timing(&self) -> bool {
        matches!(
            self,
            Self::NoLeader
                | Self::NobodyLeft(_)
                | Self::Busy { .. }
                | Self::NoRoster
                | Self::Unsafe(_)
                | Self::Members(_)
        )
    }
}
