//! What a node has whatever its role: term and vote, log, configuration, commit, and the effects
//! that gather until the caller asks for them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::applying::Applying;
use crate::bugs::Bug;
use crate::config::{Config, ConfigError, Priority};
use crate::log::{Entry, HardState, Index, Log, NodeId, Payload, Position, Term};
use crate::membership::{Configuration, Membership};
use crate::message::{Body, Envelope, Message};
use crate::quorum::Ballot;
use crate::raft::Restored;
use crate::read::{ReadId, ReadReady};
use crate::ready::{Ready, Write, WriteTag};
use crate::snapshot::SnapshotMeta;
use crate::writes::Writes;

/// The part of a node that does not depend on its role.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    rng: ChaCha8Rng,
    hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) membership: Membership,
    pub(crate) commit: Index,
    pub(crate) applying: Applying,
    pub(crate) snapshot: SnapshotMeta,
    /// The snapshot being installed; nothing is applied and no campaign begun meanwhile.
    installing: Option<SnapshotMeta>,
    /// No vote until readmitted.
    pub(crate) wiped: bool,
    /// Ticks so far; asleep, none are counted.
    pub(crate) now: u64,
    pub(crate) asleep: bool,
    /// How long a lease holds; rests on the election minimum that the node was set up with.
    pub(crate) lease_ticks: Option<u64>,
    election_ticks_floor: u32,
    /// Until this tick the node keeps to the leader that it heard.
    pub(crate) sticky_until: u64,
    /// Whether the node has campaigned since it last heard a leader, or led.
    pub(crate) campaigned: bool,
    /// Bytes appended by this leader, or found by it, and not committed.
    pub(crate) uncommitted_bytes: usize,
    /// The number of this node's last question for a read index.
    pub(crate) read_round: u64,

    /// What gathers for the next [`Ready`].
    pub(crate) effects: Ready,
    writes: Writes,
}

impl Core {
    pub(crate) fn new(config: Config, restored: Restored) -> Result<Core, ConfigError> {
        config.check()?;
        let fresh = restored.is_fresh();
        let snapshot = restored.snapshot.unwrap_or_default();
        let entries: Vec<Entry> = restored
            .entries
            .into_iter()
            .filter(|entry| entry.index > snapshot.index)
            .collect();
        let mut membership = Membership::new(snapshot.index, snapshot.configuration.clone());
        for (index, entry) in (snapshot.index + 1..).zip(&entries) {
            if entry.index != index {
                return Err(ConfigError::Gap { index });
            }
            membership.appended(entry);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut core = Core {
            // A question of an earlier life must not be answered in this one.
            read_round: rng.random::<u64>() >> 1,
            rng,
            hard_state: restored.hard_state,
            writes: Writes::after(restored.hard_state),
            log: Log::restored(snapshot.position(), entries),
            membership,
            commit: snapshot.index,
            applying: Applying::after(snapshot.index),
            snapshot,
            installing: None,
            wiped: restored.wiped,
            now: 0,
            asleep: false,
            lease_ticks: config.lease_ticks(),
            election_ticks_floor: config.election_ticks_min,
            // Before the restart this node may have sworn to a leader that holds a lease.
            sticky_until: match config.lease_drift_percent {
                Some(_) => u64::from(config.election_ticks_min),
                None => 0,
            },
            campaigned: false,
            uncommitted_bytes: 0,
            effects: Ready::default(),
            config,
        };
        if fresh && !core.config.configuration.voters.is_empty() {
            core.bootstrap();
        }
        Ok(core)
    }

    /// The first configuration is the log's first entry, the same on each of the first members.
    fn bootstrap(&mut self) {
        self.hard_state.term = 1;
        let configuration = Box::new(self.config.configuration.clone());
        self.append_entry(Entry {
            index: 1,
            term: 1,
            payload: Payload::Configuration(configuration),
        });
    }

    pub(crate) fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn term(&self) -> Term {
        self.hard_state.term
    }

    pub(crate) fn vote(&self) -> Option<NodeId> {
        self.hard_state.vote
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        self.membership.current()
    }

    /// Whether the bug is switched on.
    #[cfg(feature = "bugs")]
    pub(crate) fn bug(&self, bug: Bug) -> bool {
        self.config.bugs.contains(bug)
    }

    /// Whether the bug is switched on: never.
    #[cfg(not(feature = "bugs"))]
    #[allow(clippy::unused_self, reason = "the same face as with bugs")]
    pub(crate) const fn bug(&self, _: Bug) -> bool {
        false
    }

    /// A new term begins, with no vote cast.
    pub(crate) fn begin_term(&mut self, term: Term) {
        assert!(term > self.hard_state.term, "terms only grow");
        self.hard_state = HardState { term, vote: None };
    }

    pub(crate) fn cast_vote(&mut self, vote: Option<NodeId>) {
        self.hard_state.vote = vote;
    }

    /// Whether the current term is on disk.
    pub(crate) fn term_is_durable(&self) -> bool {
        self.writes.durable_term() == self.hard_state.term
    }

    /// A new election timeout, from now. A node of low priority lets the others go first, and once: it
    /// may be the only one that can be elected, and be behind for ever while the others campaign in vain.
    pub(crate) fn draw_deadline(&mut self) -> u64 {
        let (min, max) = (
            self.config.election_ticks_min,
            self.config.election_ticks_max,
        );
        let ticks = self.rng.random_range(min..max);
        let extra = if self.config.priority == Priority::Low && !self.campaigned {
            max - min
        } else {
            0
        };
        self.now + u64::from(ticks + extra)
    }

    /// Whether the node may campaign at all. One that leaves the voters still may until it knows that
    /// to be committed: those who keep their vote may lack the entry, and none of them be electable
    /// but with the votes of those who have it (thesis 4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        let mut in_force = self.membership.since(self.commit);
        in_force.any(|configuration| configuration.is_voter(self.id()))
            && self.installing.is_none()
            && (!self.wiped || self.bug(Bug::WipedVotes))
    }

    /// Whether the node campaigns when it hears from no leader.
    pub(crate) fn campaigns_by_itself(&self) -> bool {
        self.may_campaign() && self.config.priority != Priority::Never
    }

    pub(crate) fn set_ticks(
        &mut self,
        heartbeat: u32,
        min: u32,
        max: u32,
    ) -> Result<(), ConfigError> {
        let floor = self.election_ticks_floor;
        if min < floor {
            return Err(ConfigError::BelowFloor { min, floor });
        }
        self.config.heartbeat_ticks = heartbeat;
        self.config.election_ticks_min = min;
        self.config.election_ticks_max = max;
        Ok(())
    }

    /// The leader was heard.
    pub(crate) fn heard_leader(&mut self) {
        self.campaigned = false;
        self.sticky_until = self.now + u64::from(self.config.election_ticks_min);
    }

    // --- quorums ----------------------------------------------------------------------------

    /// The greatest value that the configuration in force has reached.
    pub(crate) fn reached(&self, value_of: impl Fn(NodeId) -> u64) -> u64 {
        let configuration = self.configuration();
        if self.bug(Bug::QuorumMiscounted) {
            let mut values: Vec<u64> = configuration
                .voters
                .iter()
                .map(|&id| value_of(id))
                .collect();
            values.sort_unstable();
            return values[values.len() - (values.len() / 2).max(1)];
        }
        if self.bug(Bug::LearnerCounts) {
            return Configuration::of_voters(configuration.members()).reached(value_of);
        }
        configuration.reached(value_of)
    }

    /// How a ballot stands in the configuration in force.
    pub(crate) fn ballot(&self, vote_of: impl Fn(NodeId) -> Option<bool>) -> Ballot {
        if self.bug(Bug::QuorumMiscounted) {
            let voters = &self.configuration().voters;
            let yes = voters
                .iter()
                .filter(|id| vote_of(**id) == Some(true))
                .count();
            return if 2 * yes >= voters.len() {
                Ballot::Won
            } else {
                Ballot::Open
            };
        }
        self.configuration().ballot(vote_of)
    }

    // --- messages ---------------------------------------------------------------------------

    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        self.send_in_term(self.hard_state.term, to, body);
    }

    pub(crate) fn send_in_term(&mut self, term: Term, to: NodeId, body: Body) {
        let body = if self.wiped && !self.bug(Bug::WipedVotes) {
            disclaimed(body)
        } else {
            body
        };
        let early = self.bug(Bug::AckBeforeFsync) && matches!(body, Body::Accepted { .. });
        let waits = body.waits_for_disk() && self.disk_is_behind() && !early;
        let queue = if waits {
            &mut self.writes.waiting
        } else {
            &mut self.effects.messages
        };
        if let (Body::Accepted { .. }, Some(last)) = (&body, queue.last_mut())
            && matches!(last.message.body, Body::Accepted { .. })
            && (last.to, last.message.term) == (to, term)
        {
            // The later acknowledgement in the same term says what the earlier one did, and more.
            last.message.body = body;
            return;
        }
        queue.push(Envelope {
            to,
            message: Message { term, body },
        });
    }

    /// Whether the disk has not caught up with what is in memory.
    fn disk_is_behind(&self) -> bool {
        self.writes.has_changed(self.hard_state)
            || self.log.has_unwritten()
            || self.is_writing()
            || self.installing.is_some()
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writes.oldest_since().is_some()
    }

    /// Whether a write has been under way for longer than an election timeout.
    pub(crate) fn disk_is_stalled(&self) -> bool {
        let patience = u64::from(self.config.election_ticks_max);
        let oldest = self.writes.oldest_since();
        oldest.is_some_and(|since| self.now > since + patience)
    }

    // --- log --------------------------------------------------------------------------------

    /// Appends what this leader says.
    pub(crate) fn append_own(&mut self, payload: Payload) -> Index {
        let entry = Entry {
            index: self.log.last_index() + 1,
            term: self.hard_state.term,
            payload,
        };
        let index = entry.index;
        self.uncommitted_bytes += entry.size_bytes();
        self.append_entry(entry);
        index
    }

    fn append_entry(&mut self, entry: Entry) {
        self.membership.appended(&entry);
        self.log.append(entry);
    }

    /// Takes over what the leader sent: cuts what conflicts, keeps what agrees, appends the rest.
    pub(crate) fn append_from(
        &mut self,
        leader: NodeId,
        previous: Position,
        mut entries: Vec<Entry>,
        commit: Index,
    ) {
        let end = previous.index + entries.len() as u64;
        if end <= self.commit {
            // Old news; what is committed agrees with every later leader.
            return self.send(
                leader,
                Body::Accepted {
                    matched: self.commit,
                },
            );
        }
        let committed = self.commit.saturating_sub(previous.index) as usize;
        if committed > 0 {
            entries.drain(..committed);
        } else if !self.log.contains(previous) {
            let hint = self.log.meeting_point(previous.index, previous.term);
            return self.send(
                leader,
                Body::Rejected {
                    at: previous.index,
                    hint,
                },
            );
        }
        for entry in entries {
            match self.log.term(entry.index) {
                Some(term) if term == entry.term || self.bug(Bug::NoTruncate) => continue,
                Some(_) => self.truncate(entry.index),
                None => {}
            }
            self.append_entry(entry);
        }
        self.commit_to(commit.min(end));
        self.send(leader, Body::Accepted { matched: end });
    }

    fn truncate(&mut self, from: Index) {
        assert!(from > self.commit, "a committed entry is never truncated");
        self.log.truncate(from);
        if !self.bug(Bug::ConfigurationKept) {
            self.membership.truncated(from);
        }
    }

    pub(crate) fn commit_to(&mut self, index: Index) {
        let index = index.min(self.log.last_index());
        self.commit = if self.bug(Bug::CommitGoesBack) {
            index
        } else {
            self.commit.max(index)
        };
    }

    // --- snapshots --------------------------------------------------------------------------

    /// A snapshot has arrived. It is taken when it says more than what is committed here.
    pub(crate) fn install(&mut self, leader: NodeId, meta: SnapshotMeta) {
        if self.installing.is_some() {
            return;
        }
        if meta.index <= self.commit || self.log.contains(meta.position()) {
            self.commit_to(meta.index);
            return self.send(
                leader,
                Body::Accepted {
                    matched: self.commit,
                },
            );
        }
        self.log.reset(meta.position());
        let configuration = if self.bug(Bug::SnapshotConfigurationDropped) {
            self.configuration().clone()
        } else {
            meta.configuration.clone()
        };
        self.membership = Membership::new(meta.index, configuration);
        self.commit = meta.index;
        self.applying.skip_to(meta.index);
        self.installing = Some(meta.clone());
        self.effects.snapshot_install = Some(meta);
    }

    /// The snapshot is installed. Returns its index.
    pub(crate) fn installed(&mut self) -> Index {
        let meta = self
            .installing
            .take()
            .expect("a snapshot is being installed");
        let index = meta.index;
        self.snapshot = meta;
        self.applied(index);
        index
    }

    pub(crate) fn compact(&mut self, meta: SnapshotMeta, keep_from: Index) {
        if meta.index <= self.snapshot.index || self.installing.is_some() {
            return;
        }
        assert!(
            meta.index <= self.applying.applied,
            "a snapshot holds only what is applied"
        );
        self.log
            .compact(meta.index.min(keep_from.saturating_sub(1)));
        self.membership.compacted(self.log.start().index);
        self.snapshot = meta;
    }

    // --- apply and reads --------------------------------------------------------------------

    pub(crate) fn applied(&mut self, index: Index) {
        self.applying.done(index, &mut self.effects.reads);
    }

    /// The read is sure of its index; it is served once that is applied.
    pub(crate) fn read_confirmed(&mut self, id: ReadId, index: Index) {
        let early = self.bug(Bug::ReadBeforeApply);
        let read = self.applying.read(ReadReady { id, index }, early);
        self.effects.reads.extend(read);
    }

    /// The next entries to apply: committed, and on this node's disk.
    fn take_apply(&mut self) -> Vec<Entry> {
        if self.installing.is_some() {
            return Vec::new();
        }
        let commit = if self.bug(Bug::ApplyUncommitted) {
            self.log.last_index()
        } else {
            self.commit
        };
        let end = commit.min(self.log.stable());
        self.applying.take(&self.log, end, &self.config)
    }

    // --- effects ----------------------------------------------------------------------------

    /// What has gathered.
    pub(crate) fn take_ready(&mut self) -> Ready {
        let mut ready = std::mem::take(&mut self.effects);
        ready.write = self.take_write();
        ready.apply = self.take_apply();
        ready
    }

    fn take_write(&mut self) -> Option<Write> {
        let changed = self.writes.has_changed(self.hard_state);
        if !changed && !self.log.has_unwritten() && self.writes.waiting.is_empty() {
            return None;
        }
        let (tag, after) = self.writes.begin(self.hard_state, self.now);
        let vote = if self.bug(Bug::VoteNotPersisted) {
            None
        } else {
            self.hard_state.vote
        };
        let unwritten = self.log.take_unwritten();
        Some(Write {
            tag,
            hard_state: (changed && !self.bug(Bug::TermNotPersisted)).then_some(HardState {
                vote,
                ..self.hard_state
            }),
            truncate_from: unwritten.truncate_from,
            entries: unwritten.entries,
            after,
        })
    }

    /// The write of this tag, and all before it, are on stable storage.
    pub(crate) fn persisted(&mut self, tag: WriteTag) {
        while self.writes.end_oldest(tag) {
            self.log.write_done();
        }
    }
}

/// What a node that lost its disk may say in place of this.
fn disclaimed(body: Body) -> Body {
    match body {
        Body::Accepted { matched } => Body::Held { matched },
        Body::HeartbeatReply { .. } => Body::HeartbeatReply { round: 0 },
        other => other,
    }
}
