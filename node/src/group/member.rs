//! This node's part in one group: the protocol core, and who waits for what.

use std::collections::{HashMap, VecDeque};

use bytes::BytesMut;
use raft::{Entry, Index, NodeId, Raft, ReadId, Refused, RoleChange, RoleName, Term};
use tracing::Span;

use super::clock::Clock;
use super::forward::Waiter;
use super::{Failure, GroupId, Reply, group_span};
use crate::state_machine::{Answer, stamp};

/// A proposal whose entry is in the log and not yet applied.
#[derive(Debug)]
struct Proposal {
    index: Index,
    term: Term,
    waiter: Waiter<Answer>,
}

/// This node's part in one group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: GroupId,
    pub(super) raft: Raft,
    pub(super) clock: Clock,
    /// The replicated time as of the last entry applied.
    applied_ms: u64,
    pub(super) leads: bool,
    pub(super) leader: Option<NodeId>,
    proposals: VecDeque<Proposal>,
    gathered: [Vec<Reply<()>>; 2],
    asked: HashMap<ReadId, Vec<Reply<()>>>,
    last_read: ReadId,
    pub(super) changes: Vec<(Index, Waiter<u64>)>,
    pub(super) transfer: Option<(NodeId, Waiter<u64>)>,
    /// Whether the node lost its disk and has no vote in the group.
    pub(super) wiped: bool,
    /// Whether the core may have something to do.
    pub(super) dirty: bool,
}

impl Member {
    pub(super) fn new(id: GroupId, raft: Raft, applied_ms: u64) -> Member {
        let wiped = raft.status().wiped;
        Member {
            id,
            raft,
            clock: Clock::new(applied_ms),
            applied_ms,
            leads: false,
            leader: None,
            proposals: VecDeque::new(),
            gathered: Default::default(),
            asked: HashMap::new(),
            last_read: 0,
            changes: Vec::new(),
            transfer: None,
            wiped,
            dirty: true,
        }
    }

    /// Where the group stands, for what is logged of it.
    pub(super) fn span(&self) -> Span {
        group_span(self.id, self.raft.term())
    }

    /// Stamps a command with the replicated time and puts it into the log; the waiter comes back
    /// with the reason if that is refused.
    pub(super) fn propose(
        &mut self,
        mut command: BytesMut,
        waiter: Waiter<Answer>,
    ) -> Result<(), (Waiter<Answer>, Failure)> {
        if !stamp(&mut command, self.clock.now_ms()) {
            return Err((waiter, Failure::Refused("the command is too short".into())));
        }
        match self.raft.propose(command.freeze()) {
            Ok((term, index)) => {
                self.proposals.push_back(Proposal {
                    index,
                    term,
                    waiter,
                });
                Ok(())
            }
            Err(refused) => Err((waiter, refused.into())),
        }
    }

    /// Keeps a read until the turn's reads are asked for together.
    pub(super) fn gather_read(&mut self, lease: bool, reply: Reply<()>) {
        self.gathered[usize::from(lease)].push(reply);
    }

    /// Asks the core for all reads that came in during this turn, under one number per mode.
    pub(super) fn ask_reads(&mut self) {
        for (at, mode) in [raft::ReadMode::Index, raft::ReadMode::Lease]
            .into_iter()
            .enumerate()
        {
            if self.gathered[at].is_empty() {
                continue;
            }
            let replies = std::mem::take(&mut self.gathered[at]);
            self.last_read += 1;
            match self.raft.read(self.last_read, mode) {
                Ok(()) => {
                    self.asked.insert(self.last_read, replies);
                }
                Err(refused) => fail_reads(replies, &read_failure(refused)),
            }
        }
    }

    /// The state here is fresh enough for these reads.
    pub(super) fn serve_read(&mut self, id: ReadId) {
        for reply in self.asked.remove(&id).into_iter().flatten() {
            let _ = reply.send(Ok(()));
        }
    }

    /// These reads will never be served.
    pub(super) fn fail_read(&mut self, id: ReadId, refused: Refused) {
        fail_reads(
            self.asked.remove(&id).unwrap_or_default(),
            &read_failure(refused),
        );
    }

    /// Finds who waits for each committed entry, and hands back whose entry will never commit:
    /// an entry of a later term stands at or before its place.
    pub(super) fn match_waiters(
        &mut self,
        entries: &[Entry],
    ) -> (Vec<Option<Waiter<Answer>>>, Vec<Waiter<Answer>>) {
        let mut superseded = Vec::new();
        let mut matched = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut waiter = None;
            while let Some(front) = self.proposals.front() {
                if front.index > entry.index && front.term >= entry.term {
                    break;
                }
                let front = self.proposals.pop_front().expect("just seen");
                if (front.index, front.term) == (entry.index, entry.term) {
                    waiter = Some(front.waiter);
                } else {
                    superseded.push(front.waiter);
                }
            }
            matched.push(waiter);
        }
        (matched, superseded)
    }

    /// A snapshot took the place of entries up to `index`: what became of proposals there is in
    /// the snapshot, without a word on each.
    pub(super) fn overtaken(&mut self, index: Index) -> Vec<Waiter<Answer>> {
        let mut lost = Vec::new();
        while self
            .proposals
            .front()
            .is_some_and(|front| front.index <= index)
        {
            lost.extend(self.proposals.pop_front().map(|front| front.waiter));
        }
        lost
    }

    /// The state machine has come this far.
    pub(super) fn applied(&mut self, index: Index, clock_ms: u64) {
        self.applied_ms = clock_ms;
        self.clock.observe(clock_ms);
        self.raft.applied(index);
        self.dirty = true;
    }

    /// Takes notice of a change of role, term or leader. The waiters of verbs that are thereby
    /// done come back.
    pub(super) fn role_changed(&mut self, change: RoleChange) -> Option<Waiter<u64>> {
        let leads = change.role == RoleName::Leader;
        if leads && !self.leads {
            self.clock.restart(self.applied_ms);
        }
        self.leads = leads;
        self.leader = change.leader;
        match &self.transfer {
            Some((to, _)) if change.leader == Some(*to) => {
                self.transfer.take().map(|(_, waiter)| waiter)
            }
            _ => None,
        }
    }

    /// Requests in the log that wait for their entries.
    pub(super) fn proposals(&self) -> usize {
        self.proposals.len()
    }

    /// Forgets whose clients have given up, at the far end of a queue that does not move.
    pub(super) fn sweep(&mut self) {
        while self
            .proposals
            .back()
            .is_some_and(|last| last.waiter.is_gone())
        {
            self.proposals.pop_back();
        }
        self.changes.retain(|(_, waiter)| !waiter.is_gone());
        self.transfer.take_if(|(_, waiter)| waiter.is_gone());
    }
}

fn read_failure(refused: Refused) -> Failure {
    match refused {
        Refused::NotLeader { leader: None } => Failure::NoLeader,
        Refused::NotLeader { leader: Some(_) } => Failure::Deposed,
        other => other.into(),
    }
}

fn fail_reads(replies: Vec<Reply<()>>, failure: &Failure) {
    for reply in replies {
        let _ = reply.send(Err(failure.clone()));
    }
}
