//! One node as its runtime would run it: a core, a disk, a state machine, and those who wait.

use std::collections::{BTreeMap, VecDeque};

use raft::{Entry, Index, Message, NodeId, Raft, Term};

use super::disk::{Disk, Image, Tape};
use super::machine::Machine;

/// A clock and where it stands.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How long this node's clock takes for what it calls a tick.
    pub(crate) tick_us: u64,
    pub(crate) next_tick_us: u64,
}

/// A process: what a crash takes away.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    /// The log as all writes so far leave it, finished or not.
    pub(crate) log: Tape,
    pub(crate) applying: VecDeque<Entry>,
    pub(crate) apply_scheduled: bool,
    /// A snapshot that arrived and waits for the core's word.
    pub(crate) incoming: Option<Image>,
    /// The disks that peers were last heard to have.
    pub(crate) known: BTreeMap<NodeId, u8>,
    /// Who waits for the entry at an index: the term it must have, the operation and the attempt.
    pub(crate) proposals: BTreeMap<Index, (Term, u64, u64)>,
    pub(crate) commit_seen: Index,
    pub(crate) term_seen: Term,
    pub(crate) snapshot_queued: Index,
}

impl Process {
    /// A message arrives, as a link would bring it: none from before the sender lost its disk, once
    /// it was heard since.
    pub(crate) fn hear(&mut self, from: NodeId, generation: u8, message: Message) {
        let known = self.known.entry(from).or_insert(generation);
        if generation < *known {
            return;
        }
        if generation > *known {
            *known = generation;
            self.raft.disk_lost(from);
        }
        self.raft.step(from, message);
    }
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) disk: Disk,
    /// Grows with each start; events of an earlier life are void.
    pub(crate) life: u64,
    pub(crate) process: Option<Process>,
    pub(crate) clock: Clock,
    /// The process stands still until then.
    pub(crate) paused_until_us: u64,
}

impl Host {
    pub(crate) fn leads(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.raft.is_leader())
    }
}
