//! The node: one face over three roles.
//!
//! What comes in is first measured by its term, then handed to the role's own rules
//! ([`crate::follower`], [`crate::candidate`], [`crate::leader`]), which say what is [`Next`].

use bytes::Bytes;

use crate::bugs::Bug;
use crate::candidate::Candidate;
use crate::config::{self, Config, ConfigError};
use crate::core::Core;
use crate::error::Refused;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::log::{Entry, HardState, Index, NodeId, Payload, Term};
use crate::membership::{Change, Configuration, MembershipChange};
use crate::message::{Body, Message, Stage};
use crate::read::{ReadId, ReadMode};
use crate::ready::{Ready, RoleChange, WriteTag};
use crate::snapshot::SnapshotMeta;
use crate::status::RoleName;

/// What the disk remembers of an earlier life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The hard state that was last written.
    pub hard_state: HardState,
    /// The latest snapshot; the state machine has been loaded from it.
    pub snapshot: Option<SnapshotMeta>,
    /// The entries after the snapshot, without a gap. Earlier ones are skipped.
    pub entries: Vec<Entry>,
    /// The node was a member before and its disk was lost: it gives no vote, and does not campaign,
    /// until [`Raft::readmit`].
    pub wiped: bool,
}

impl Restored {
    /// Whether there was no earlier life, or it ended before the very first write was whole.
    pub fn is_fresh(&self) -> bool {
        self.hard_state.term <= 1
            && self.hard_state.vote.is_none()
            && self.snapshot.is_none()
            && self.entries.is_empty()
            && !self.wiped
    }
}

/// One node of one group.
#[derive(Debug)]
pub struct Raft {
    pub(crate) core: Core,
    pub(crate) role: Role,
    told: RoleChange,
}

/// What a node is in its term, with all that it needs to know as such.
#[derive(Debug)]
pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// What a role's rules ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing changes.
    Stay,
    /// Become a follower in the same term, of nobody yet.
    Follow,
    /// Campaign.
    Campaign(Campaign),
    /// The election is won.
    Lead,
}

/// How a campaign begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// With the question whether it would succeed, if so configured.
    Usual,
    /// That question was answered with yes.
    Elected,
    /// The leader asked for it.
    Forced,
}

impl Raft {
    /// A node with what its disk remembers.
    ///
    /// A fresh node with an initial configuration writes it as its first entry; from then on the
    /// configuration is the log's.
    pub fn new(config: Config, restored: Restored) -> Result<Raft, ConfigError> {
        let mut core = Core::new(config, restored)?;
        let role = Role::Follower(Follower::new(&mut core, None));
        let told = RoleChange {
            role: RoleName::Follower,
            term: 0,
            leader: None,
        };
        Ok(Raft { core, role, told })
    }

    // --- what comes in ----------------------------------------------------------------------

    /// A tick of the clock has passed.
    pub fn tick(&mut self) {
        if self.core.asleep {
            return;
        }
        self.core.now += 1;
        let next = match &mut self.role {
            Role::Follower(follower) => follower.tick(&mut self.core),
            Role::Candidate(candidate) => candidate.tick(&self.core),
            Role::Leader(leader) => leader.tick(&mut self.core),
        };
        self.turn(next);
    }

    /// Time went by that no tick told of (the process was stopped, the machine was paused): no
    /// lease from before is good any more.
    pub fn lapse(&mut self) {
        if let Role::Leader(leader) = &mut self.role
            && !self.core.bug(Bug::LeaseForever)
        {
            leader.reads.void_lease();
        }
    }

    /// A message has come from a peer.
    pub fn step(&mut self, from: NodeId, message: Message) {
        let Message { term, body } = message;
        if !matches!(
            body,
            Body::Heartbeat { sleep: true, .. } | Body::HeartbeatReply { .. }
        ) {
            self.wake();
        }
        if let Body::VoteRequest {
            stage,
            last,
            forced,
        } = body
        {
            return self.vote_requested(from, term, stage, last, forced);
        }
        let pre_granted = matches!(
            body,
            Body::VoteReply {
                stage: Stage::Pre,
                granted: true
            }
        );
        if term < self.core.term() {
            return self.answer_older(from, &body);
        }
        if pre_granted {
            // The grant names the term that would be begun.
            if term != self.core.term() + 1 {
                return;
            }
        } else if term > self.core.term() {
            self.follow(term, None);
        }
        if body.is_from_leader() {
            match &mut self.role {
                Role::Follower(follower) if follower.leader == Some(from) => {}
                Role::Follower(follower) if follower.leader.is_none() => {
                    follower.leader = Some(from);
                }
                Role::Leader(_) => return,
                _ => self.follow(term, Some(from)),
            }
        }
        let next = match &mut self.role {
            Role::Follower(follower) => follower.step(&mut self.core, from, body),
            Role::Candidate(candidate) => candidate.step(&self.core, from, &body),
            Role::Leader(leader) => leader.step(&mut self.core, from, &body),
        };
        self.turn(next);
    }

    /// The write of this tag, and all before it, are on stable storage.
    pub fn persisted(&mut self, tag: WriteTag) {
        self.core.persisted(tag);
        let next = match &mut self.role {
            Role::Follower(_) => Next::Stay,
            Role::Candidate(candidate) => candidate.count(&self.core),
            Role::Leader(leader) => leader.advance_commit(&mut self.core),
        };
        self.turn(next);
    }

    /// The state machine has applied everything up to `index`.
    pub fn applied(&mut self, index: Index) {
        self.core.applied(index);
    }

    /// A snapshot of the state machine is on stable storage; entries before `keep_from` that it
    /// covers may go. What is kept below it saves slow followers a snapshot.
    pub fn compact(&mut self, snapshot: SnapshotMeta, keep_from: Index) {
        self.core.compact(snapshot, keep_from);
    }

    /// The snapshot of [`Ready::snapshot_install`] is installed.
    pub fn snapshot_installed(&mut self) {
        let matched = self.core.installed();
        if let Role::Follower(Follower {
            leader: Some(leader),
            ..
        }) = self.role
        {
            self.core.send(leader, Body::Accepted { matched });
        }
    }

    /// The snapshot asked for by [`Ready::snapshot_send`] was sent and acknowledged (`Some` of what
    /// it covered), or the sending failed.
    pub fn snapshot_sent(&mut self, to: NodeId, sent: Option<&SnapshotMeta>) {
        if let Role::Leader(leader) = &mut self.role {
            leader.snapshot_sent(to, sent.map(SnapshotMeta::position));
        }
    }

    /// The link to this peer is broken, and messages to it were lost.
    pub fn unreachable(&mut self, peer: NodeId) {
        if self.is_leader() || self.leader() == Some(peer) {
            self.wake();
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.unreachable(peer);
        }
    }

    /// This peer came back with another disk than the one it acknowledged on. To be told once for
    /// each such disk, and before any message from it; later ones from before must be kept away.
    pub fn disk_lost(&mut self, peer: NodeId) {
        self.wake();
        if let Role::Leader(leader) = &mut self.role {
            leader.disk_lost(&self.core, peer);
        }
    }

    // --- what is asked ----------------------------------------------------------------------

    /// Appends a command. It has taken effect when the entry of this term and index is applied;
    /// when that index is applied with another term, it never will.
    pub fn propose(&mut self, command: Bytes) -> Result<(Term, Index), Refused> {
        if self.core.bug(Bug::RefusedYetProposed) && self.is_leader() {
            self.core.append_own(Payload::Command(command.clone()));
        }
        self.wake();
        let (leader, core) = self.leading()?;
        if core.uncommitted_bytes >= core.config.uncommitted_max_bytes {
            return Err(Refused::Full);
        }
        let index = core.append_own(Payload::Command(command));
        if !core.config.batching {
            leader.flush(core);
        }
        Ok((core.term(), index))
    }

    /// Changes the members. One change at a time.
    pub fn change_membership(
        &mut self,
        change: &MembershipChange,
    ) -> Result<(Term, Index), Refused> {
        self.wake();
        let (leader, core) = self.leading()?;
        let under_way = core.membership.index();
        if under_way > core.commit && !core.bug(Bug::ChangesOverlap) {
            return Err(Refused::ChangeInProgress { index: under_way });
        }
        if !leader.has_committed(core) && !core.bug(Bug::ChangeBeforeCommit) {
            return Err(Refused::TooEarly);
        }
        let next = match change {
            MembershipChange::LeaveJoint if core.configuration().is_joint() => {
                core.configuration().left()
            }
            MembershipChange::LeaveJoint => return Err(Refused::NothingToChange),
            MembershipChange::Apply { .. } if core.configuration().is_joint() => {
                return Err(Refused::ChangeInProgress { index: under_way });
            }
            MembershipChange::Apply {
                changes,
                transition,
            } => {
                for change in changes {
                    if let Change::Promote { id } = *change {
                        leader.check_lag(core, id)?;
                    }
                }
                let next = core.configuration().changed(changes, *transition)?;
                if core.bug(Bug::JointSkipped) {
                    next.left()
                } else {
                    next
                }
            }
        };
        let index = leader.append_configuration(core, next);
        Ok((core.term(), index))
    }

    /// Asks for a linearizable read; the answer is in a later [`Ready`], under this id. On a
    /// follower or learner the leader is asked.
    pub fn read(&mut self, id: ReadId, mode: ReadMode) -> Result<(), Refused> {
        self.wake();
        match &mut self.role {
            Role::Leader(leader) => leader.read(&mut self.core, id, mode),
            Role::Follower(follower) if follower.leader.is_some() => {
                if follower.reads.len() >= self.core.config.reads_max {
                    return Err(Refused::Full);
                }
                follower.reads.wait(id);
                Ok(())
            }
            Role::Follower(_) | Role::Candidate(_) => Err(Refused::NotLeader { leader: None }),
        }
    }

    /// Hands leadership to a voter. Proposals are refused until it is done or has failed.
    pub fn transfer_leadership(&mut self, to: NodeId) -> Result<(), Refused> {
        self.wake();
        match &mut self.role {
            Role::Leader(leader) => leader.transfer(&mut self.core, to),
            _ => Err(Refused::NotLeader {
                leader: self.leader(),
            }),
        }
    }

    /// Campaigns now, if the node is a voter that does not lead. Where leases are used it keeps its
    /// word to the leader that it heard, and does nothing within the least election timeout.
    pub fn campaign(&mut self) {
        self.wake();
        let sworn = self.core.lease_ticks.is_some() && self.core.now < self.core.sticky_until;
        if self.core.may_campaign() && !self.is_leader() && !sworn {
            self.turn(Next::Campaign(Campaign::Usual));
        }
    }

    /// The cluster has taken the node back after the loss of its disk: it has a vote again.
    pub fn readmit(&mut self) {
        self.core.wiped = false;
    }

    /// Sets the times anew, to follow what the network is measured to be. Never below the election
    /// minimum that the node was set up with: leases rest on it.
    pub fn set_ticks(&mut self, heartbeat: u32, min: u32, max: u32) -> Result<(), ConfigError> {
        config::check_ticks(heartbeat, min, max)?;
        self.core.set_ticks(heartbeat, min, max)
    }

    // --- what comes out ---------------------------------------------------------------------

    /// Everything to be done since the last call.
    pub fn ready(&mut self) -> Ready {
        match &mut self.role {
            Role::Leader(leader) => leader.flush(&mut self.core),
            Role::Follower(follower) => follower.flush(&mut self.core),
            Role::Candidate(_) => {}
        }
        let mut ready = self.core.take_ready();
        let role = RoleChange {
            role: self.role_name(),
            term: self.core.term(),
            leader: self.leader(),
        };
        if role != self.told {
            self.told = role;
            ready.role = Some(role);
        }
        ready
    }

    /// The leader, as far as known.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.core.id()),
            Role::Follower(follower) => follower.leader,
            Role::Candidate(_) => None,
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.core.term()
    }

    /// Everything up to here is committed.
    pub fn commit(&self) -> Index {
        self.core.commit
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether something here cannot go on before a write under way is stable. On a follower that
    /// has its leader that is only what is committed already: its word to the leader leaves with
    /// the write itself.
    pub fn waits_for_disk(&self) -> bool {
        let follows = matches!(&self.role, Role::Follower(it) if it.leader.is_some());
        self.core.is_writing() && (!follows || self.core.commit > self.core.log.stable())
    }

    /// Whether the group sleeps: ticks change nothing until something wakes it.
    pub fn is_asleep(&self) -> bool {
        self.core.asleep
    }

    /// The members, as of the log's end.
    pub fn configuration(&self) -> &Configuration {
        self.core.configuration()
    }

    /// What the entries that are kept count for, in bytes.
    pub fn log_bytes(&self) -> usize {
        self.core.log.bytes()
    }

    /// The first entry of a tail that ends with `index`, has at most so many entries and counts for
    /// at most so many bytes: what to keep behind a snapshot, see [`compact`](Self::compact).
    pub fn tail(&self, index: Index, entries_max: u64, bytes_max: usize) -> Index {
        self.core.log.tail(index, entries_max, bytes_max)
    }

    /// What a snapshot taken at `index` must say of itself; none when the log does not reach there.
    pub fn snapshot_meta(&self, index: Index) -> Option<SnapshotMeta> {
        let term = self.core.log.term(index)?;
        Some(SnapshotMeta {
            index,
            term,
            configuration: self.core.membership.at(index).clone(),
        })
    }

    // --- from role to role ------------------------------------------------------------------

    /// The leader, when it is this node and takes proposals.
    fn leading(&mut self) -> Result<(&mut Leader, &mut Core), Refused> {
        let leader = self.leader();
        match &mut self.role {
            Role::Leader(leader) => match &leader.transfer {
                Some(transfer) => Err(Refused::Transferring { to: transfer.to }),
                None => Ok((leader, &mut self.core)),
            },
            _ => Err(Refused::NotLeader { leader }),
        }
    }

    /// Something is to be done: a clock that stood still goes on.
    fn wake(&mut self) {
        let slept = std::mem::take(&mut self.core.asleep);
        match &mut self.role {
            Role::Leader(leader) if slept => leader.wake(&self.core),
            Role::Leader(leader) => leader.busy_at = self.core.now,
            Role::Follower(follower) if slept => follower.wake(&mut self.core),
            Role::Follower(_) | Role::Candidate(_) => {}
        }
    }

    fn turn(&mut self, next: Next) {
        match next {
            Next::Stay => {}
            Next::Follow => self.follow(self.core.term(), None),
            Next::Campaign(Campaign::Usual) if self.core.config.pre_vote => {
                self.begin_campaign(Stage::Pre, false);
            }
            Next::Campaign(campaign) => {
                self.begin_campaign(Stage::Real, campaign == Campaign::Forced);
            }
            Next::Lead => {
                let leader = Leader::new(&mut self.core);
                self.become_role(Role::Leader(Box::new(leader)));
            }
        }
    }

    /// Becomes a follower in this term.
    pub(crate) fn follow(&mut self, term: Term, leader: Option<NodeId>) {
        if term > self.core.term() {
            self.core.begin_term(term);
        } else if self.core.bug(Bug::VoteErased) {
            self.core.cast_vote(None);
        }
        let mut follower = Follower::new(&mut self.core, leader);
        if let (Role::Follower(before), None) = (&self.role, leader) {
            follower.goes_on_waiting(before);
        }
        self.become_role(Role::Follower(follower));
    }

    fn begin_campaign(&mut self, stage: Stage, forced: bool) {
        if stage == Stage::Real {
            self.core.begin_term(self.core.term() + 1);
            self.core.cast_vote(Some(self.core.id()));
        }
        let mut candidate = Candidate::new(&mut self.core, stage, forced);
        let next = candidate.count(&self.core);
        self.become_role(Role::Candidate(candidate));
        self.turn(next);
    }

    /// Takes up the new role; reads that hung on the old one fail.
    fn become_role(&mut self, role: Role) {
        let old = std::mem::replace(&mut self.role, role);
        let leader = self.leader();
        match old {
            Role::Leader(old) => old.reads.fail(&mut self.core, leader),
            Role::Follower(old) => old.reads.fail(&mut self.core, leader),
            Role::Candidate(_) => {}
        }
    }

    // --- terms ------------------------------------------------------------------------------

    /// A message of an older term: its sender learns of the newer one where silence would leave it
    /// stuck, as a leader that nobody follows.
    fn answer_older(&mut self, from: NodeId, body: &Body) {
        match body {
            Body::Append { previous, .. } => {
                let hint = self.core.log.last();
                self.core.send(
                    from,
                    Body::Rejected {
                        at: previous.index,
                        hint,
                    },
                );
            }
            // It confirms no round: those of the newer term, which the sender may lead by now, are
            // others.
            Body::Heartbeat { round, .. } => {
                let confused = self.core.bug(Bug::ReadRoundConfused);
                let round = if confused { *round } else { 0 };
                self.core.send(from, Body::HeartbeatReply { round });
            }
            _ => {}
        }
    }
}
