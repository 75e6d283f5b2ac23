//! A leader: brings every peer's log to equal its own, and commits what a majority holds.

use std::collections::BTreeMap;

use crate::bugs::Bug;
use crate::core::Core;
use crate::error::Refused;
use crate::log::{Index, NodeId, Payload, Position};
use crate::membership::{Change, Configuration, Transition};
use crate::message::Body;
use crate::progress::{CatchUp, Progress, ReplicationState};
use crate::quorum::Ballot;
use crate::raft::Next;
use crate::read::{ReadId, ReadMode, Rounds, Waiter};
use crate::snapshot::SnapshotRequest;

/// Leadership is being handed over.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    started_at: u64,
    told: bool,
}

/// A leader's own state.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The index of the no-op; once it commits, the leader knows what is committed.
    noop: Index,
    heartbeat_at: u64,
    /// The tick at which there was last something to do.
    pub(crate) busy_at: u64,
    pub(crate) reads: Rounds,
    pub(crate) transfer: Option<Transfer>,
}

impl Leader {
    pub(crate) fn new(core: &mut Core) -> Leader {
        core.uncommitted_bytes = core.log.size_bytes(core.commit, core.log.last_index());
        core.campaigned = false;
        let mut leader = Leader {
            progress: BTreeMap::new(),
            noop: if core.bug(Bug::NoNoop) {
                core.log.last_index()
            } else {
                core.append_own(Payload::Empty)
            },
            heartbeat_at: core.now,
            busy_at: core.now,
            reads: Rounds::default(),
            transfer: None,
        };
        leader.follow_membership(core);
        leader
    }

    /// Keeps one progress for each peer of the configuration in force.
    pub(crate) fn follow_membership(&mut self, core: &Core) {
        let configuration = core.configuration();
        self.progress.retain(|id, _| configuration.is_member(*id));
        for id in configuration.members().filter(|&id| id != core.id()) {
            let next = core.log.last_index();
            self.progress
                .entry(id)
                .or_insert_with(|| Progress::new(next, core.now));
        }
        if let Some(transfer) = &self.transfer
            && !configuration.voters.contains(&transfer.to)
        {
            self.transfer = None;
        }
    }

    /// Whether an entry of the own term is committed: until then nobody knows what is.
    pub(crate) fn has_committed(&self, core: &Core) -> bool {
        core.commit >= self.noop
    }

    // --- time -------------------------------------------------------------------------------

    pub(crate) fn tick(&mut self, core: &mut Core) -> Next {
        let patience = u64::from(core.config.election_ticks_max);
        if self
            .transfer
            .as_ref()
            .is_some_and(|it| core.now >= it.started_at + patience)
        {
            self.transfer = None;
        }
        if core.now < self.heartbeat_at + u64::from(core.config.heartbeat_ticks) {
            return Next::Stay;
        }
        // Heartbeats would hide that nothing can be written here any more.
        // A leader that never asks whether it still leads does not ask here either.
        let asks = core.config.check_quorum && !core.bug(Bug::StaleReads);
        if core.disk_is_stalled() || asks && self.active(core) != Ballot::Won {
            return Next::Follow;
        }
        if self.may_sleep(core) {
            self.heartbeat(core, true);
            core.asleep = true;
            return Next::Stay;
        }
        self.heartbeat_at = core.now;
        for progress in self.progress.values_mut() {
            progress.quiet = true;
        }
        self.begin_round(core);
        self.promote_caught_up(core);
        Next::Stay
    }

    /// Gives a joining learner its vote once a round of catching up was shorter than an election
    /// timeout.
    fn promote_caught_up(&mut self, core: &mut Core) {
        let configuration = core.configuration();
        let busy = core.membership.index() > core.commit || !self.has_committed(core);
        if busy || configuration.is_joint() {
            return;
        }
        let (now, last) = (core.now, core.log.last_index());
        let patience = u64::from(core.config.election_ticks_min);
        let caught_up = configuration.joining.iter().copied().find(|id| {
            let Some(peer) = self.progress.get_mut(id) else {
                return false;
            };
            let round = *peer.catch_up.get_or_insert(CatchUp {
                target: last,
                started_at: now,
            });
            if peer.matched < round.target {
                return false;
            }
            peer.catch_up = Some(CatchUp {
                target: last,
                started_at: now,
            });
            now < round.started_at + patience
        });
        if let Some(id) = caught_up
            && let Ok(next) =
                configuration.changed(&[Change::Promote { id }], Transition::Automatic)
        {
            self.append_configuration(core, next);
        }
    }

    /// Whether a quorum was heard within an election timeout.
    fn active(&self, core: &Core) -> Ballot {
        core.ballot(|id| Some(id == core.id() || self.is_active(core, id)))
    }

    pub(crate) fn is_active(&self, core: &Core, id: NodeId) -> bool {
        let patience = u64::from(core.config.election_ticks_max);
        self.progress
            .get(&id)
            .is_some_and(|peer| core.now <= peer.heard_at + patience)
    }

    // --- messages ---------------------------------------------------------------------------

    /// A message of this term.
    pub(crate) fn step(&mut self, core: &mut Core, from: NodeId, body: &Body) -> Next {
        let now = core.now;
        if let Body::ReadRequest { round } = *body {
            if self.reads.len() < core.config.reads_max {
                self.reads.wait(Waiter::Peer(from, round));
            }
            return Next::Stay;
        }
        let Some(peer) = self.progress.get_mut(&from) else {
            return Next::Stay;
        };
        peer.heard_at = now;
        match *body {
            Body::Accepted { matched } | Body::Held { matched } => {
                if matched > core.log.last_index() {
                    return Next::Stay;
                }
                if core.bug(Bug::StaleAckEndsProbe) {
                    peer.ask_nothing();
                }
                let counts = matches!(body, Body::Accepted { .. });
                if peer.accepted(matched, core.log.start().index, counts) {
                    return self.peer_advanced(core, from);
                }
            }
            Body::Rejected { at, hint } => {
                if core.bug(Bug::MatchOverReported) {
                    peer.accepted(hint.index, 0, true);
                }
                let meeting = core.log.meeting_point(hint.index, hint.term);
                peer.rejected(at, meeting);
            }
            Body::HeartbeatReply { round } => {
                peer.confirmed_round = peer.confirmed_round.max(round);
                let lacks = peer.counted < core.log.last_index() && !core.bug(Bug::NeverRevived);
                if peer.quiet && lacks {
                    peer.quiet = false;
                    peer.revive(window(core), core.config.inflight_max_bytes);
                    self.send_to(core, from, true);
                }
                self.confirm_rounds(core);
            }
            _ => {}
        }
        Next::Stay
    }

    fn peer_advanced(&mut self, core: &mut Core, from: NodeId) -> Next {
        let next = self.advance_commit(core);
        self.hand_over(core, from);
        next
    }

    /// Sends what has gathered: entries to each peer, a round when reads wait.
    pub(crate) fn flush(&mut self, core: &mut Core) {
        let peers: smallvec::SmallVec<[NodeId; 8]> = self.progress.keys().copied().collect();
        for id in peers {
            self.send_to(core, id, false);
        }
        if self.reads.wants_round() && self.vouches(core) {
            self.begin_round(core);
        }
    }

    /// Sends entries while there are any and the peer's window has room. `must`: at least one
    /// message, be it empty, to learn where the peer stands.
    fn send_to(&mut self, core: &mut Core, to: NodeId, mut must: bool) {
        let (last, active) = (core.log.last_index(), self.is_active(core, to));
        let limit = if core.config.parallel_append {
            last
        } else {
            core.log.stable()
        };
        let max_bytes = if core.config.batching {
            core.config.max_batch_bytes
        } else {
            1
        };
        let peer = self.progress.get_mut(&to).expect("only peers are sent to");
        while peer.may_send(window(core), core.config.inflight_max_bytes) {
            if peer.next > limit && !must {
                return;
            }
            let Some(previous) = core.log.position(peer.next - 1) else {
                if active {
                    peer.snapshot();
                    let at_least = core.log.start().index;
                    let request = SnapshotRequest {
                        to,
                        term: core.term(),
                        at_least,
                    };
                    core.effects.snapshot_send.push(request);
                }
                return;
            };
            let (entries, bytes) = core.log.slice(peer.next, limit, max_bytes);
            peer.sent(previous.index + entries.len() as u64, bytes);
            core.send(
                to,
                Body::Append {
                    previous,
                    entries,
                    commit: core.commit,
                },
            );
            must = false;
        }
    }

    /// One heartbeat to all; what waits for a round joins it.
    fn begin_round(&mut self, core: &mut Core) {
        let vouches = self.vouches(core);
        self.reads.begin(core.now, core.commit, vouches);
        self.heartbeat(core, false);
        self.confirm_rounds(core);
    }

    fn heartbeat(&self, core: &mut Core, sleep: bool) {
        let round = self.reads.last();
        for (&id, peer) in &self.progress {
            // What lies beyond the match may be another leader's, and must not be committed.
            let verified = if core.bug(Bug::CommitUnverified) {
                core.commit
            } else {
                peer.matched
            };
            let commit = core.commit.min(verified);
            core.send(
                id,
                Body::Heartbeat {
                    commit,
                    round,
                    sleep,
                },
            );
        }
    }

    // --- commit -----------------------------------------------------------------------------

    /// Commits what a majority holds on disk, when it is of the own term (5.4.2).
    pub(crate) fn advance_commit(&mut self, core: &mut Core) -> Next {
        let own = if core.bug(Bug::OwnAppendCounts) {
            core.log.last_index()
        } else {
            core.log.stable()
        };
        let me = core.id();
        let held = core.reached(|id| match self.progress.get(&id) {
            Some(peer) => peer.counted,
            None if id == me => own,
            None => 0,
        });
        let of_own_term = held >= self.noop || core.bug(Bug::CommitOldTerm);
        if held <= core.commit || !of_own_term {
            return Next::Stay;
        }
        core.uncommitted_bytes = core
            .uncommitted_bytes
            .saturating_sub(core.log.size_bytes(core.commit, held));
        core.commit_to(held);
        self.membership_committed(core)
    }

    /// When the configuration in force has just committed: leaves it if it is joint, and steps down
    /// if this node has no part in it.
    fn membership_committed(&mut self, core: &mut Core) -> Next {
        if core.membership.index() > core.commit || !self.has_committed(core) {
            return Next::Stay;
        }
        let configuration = core.configuration();
        if configuration.is_joint() && configuration.auto_leave {
            let next = configuration.left();
            self.append_configuration(core, next);
        } else if !configuration.is_voter(core.id()) {
            self.farewell(core);
            return Next::Follow;
        }
        Next::Stay
    }

    /// Appends a configuration, which is in force at once.
    pub(crate) fn append_configuration(
        &mut self,
        core: &mut Core,
        configuration: Configuration,
    ) -> Index {
        let index = core.append_own(Payload::Configuration(Box::new(configuration)));
        self.follow_membership(core);
        index
    }

    /// The last words of a leader that is no voter any more: what is committed, and who is next.
    fn farewell(&mut self, core: &mut Core) {
        self.heartbeat(core, false);
        let voters = self
            .progress
            .iter()
            .filter(|(id, _)| core.configuration().is_voter(**id));
        if let Some((&heir, _)) = voters.max_by_key(|(_, peer)| peer.counted) {
            core.send(heir, Body::TimeoutNow);
        }
    }

    // --- reads ------------------------------------------------------------------------------

    /// Whether the leader knows what is committed.
    fn vouches(&self, core: &Core) -> bool {
        self.has_committed(core) || core.bug(Bug::ReadBeforeNoop)
    }

    pub(crate) fn read(
        &mut self,
        core: &mut Core,
        id: ReadId,
        mode: ReadMode,
    ) -> Result<(), Refused> {
        if core.bug(Bug::StaleReads) || (mode == ReadMode::Lease && self.lease_holds(core)) {
            core.read_confirmed(id, core.commit);
            return Ok(());
        }
        if self.reads.len() >= core.config.reads_max {
            return Err(Refused::Full);
        }
        self.reads.wait(Waiter::Own(id));
        Ok(())
    }

    pub(crate) fn lease_holds(&self, core: &Core) -> bool {
        let now = if core.bug(Bug::LeaseForever) {
            0
        } else {
            core.now
        };
        let free = self.transfer.is_none() || core.bug(Bug::LeaseInTransfer);
        free && self.vouches(core) && self.reads.lease_holds(now)
    }

    fn confirm_rounds(&mut self, core: &mut Core) {
        let (me, last) = (core.id(), self.reads.last());
        let confirmed = core.reached(|id| match self.progress.get(&id) {
            Some(peer) => peer.confirmed_round,
            None if id == me => last,
            None => 0,
        });
        for (waiter, index) in self.reads.confirmed(confirmed, core.lease_ticks) {
            match waiter {
                Waiter::Own(id) => core.read_confirmed(id, index),
                Waiter::Peer(to, round) => {
                    let matched = self.progress.get(&to).map_or(0, |peer| peer.matched);
                    let commit = core.commit.min(matched);
                    core.send(
                        to,
                        Body::ReadReply {
                            round,
                            index,
                            commit,
                        },
                    );
                }
            }
        }
    }

    // --- handing over -----------------------------------------------------------------------

    /// Hands leadership to a voter: at once when its log is complete, else as soon as it is.
    pub(crate) fn transfer(&mut self, core: &mut Core, to: NodeId) -> Result<(), Refused> {
        if !core.configuration().voters.contains(&to) {
            return Err(Refused::NotMember { id: to });
        }
        if to == core.id() {
            self.transfer = None;
            return Ok(());
        }
        if self.progress.get(&to).is_some_and(Progress::only_holds) {
            return Err(Refused::HasNoVote { id: to });
        }
        self.transfer = Some(Transfer {
            to,
            started_at: core.now,
            told: false,
        });
        self.hand_over(core, to);
        Ok(())
    }

    /// Tells the successor to campaign once its log is complete.
    fn hand_over(&mut self, core: &mut Core, peer: NodeId) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let complete = self
            .progress
            .get(&transfer.to)
            .is_some_and(|it| it.counted == core.log.last_index());
        if transfer.to == peer && complete && !transfer.told {
            transfer.told = true;
            if !core.bug(Bug::LeaseInTransfer) {
                self.reads.end_leases();
            }
            core.send(peer, Body::TimeoutNow);
        }
    }

    /// Refuses to promote a learner that lacks too much.
    pub(crate) fn check_lag(&self, core: &Core, id: NodeId) -> Result<(), Refused> {
        let lag = self
            .progress
            .get(&id)
            .map_or(0, |peer| core.commit.saturating_sub(peer.matched));
        if lag > core.config.promote_lag_max {
            return Err(Refused::TooFarBehind { id, lag });
        }
        Ok(())
    }

    // --- completions ------------------------------------------------------------------------

    pub(crate) fn snapshot_sent(&mut self, to: NodeId, at: Option<Position>) {
        if let Some(peer) = self.progress.get_mut(&to) {
            peer.snapshot_sent(at.map_or(0, |position| position.index), at.is_some());
        }
    }

    pub(crate) fn unreachable(&mut self, id: NodeId) {
        if let Some(peer) = self.progress.get_mut(&id)
            && peer.state == ReplicationState::Replicate
        {
            peer.probe(peer.matched + 1);
        }
    }

    /// What this peer held is gone: it is met anew.
    pub(crate) fn disk_lost(&mut self, core: &Core, id: NodeId) {
        if let Some(peer) = self.progress.get_mut(&id)
            && !core.bug(Bug::LostDiskBelieved)
        {
            *peer = Progress::new(core.log.last_index() + 1, core.now);
        }
    }
}

/// How many messages may be on their way to one peer.
fn window(core: &Core) -> usize {
    if core.config.pipelining {
        core.config.inflight_max
    } else {
        1
    }
}
