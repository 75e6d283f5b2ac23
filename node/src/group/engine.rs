//! The loop that drives every group of the node.

mod requests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use raft::{NodeId, Payload, Priority, Raft, Ready, WriteTag};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::apply::{self, Work};
use super::completions::Completions;
use super::inbox::{Arrivals, Inbound};
use super::member::Member;
use super::snapshots::Snapshotter;
use super::timeouts::{RoundTrips, Ticks};
use super::{AddressBook, Failure, GroupId, Groups, Request};
use crate::storage::{Append, Wal};
use crate::transport::{self, Transport};

/// Things taken from one queue in one turn.
const TURN_MAX: usize = 4_096;
/// So many times a turn that is due lets whatever else the sockets hold come in first: fewer turns
/// with more in each cost less, and make fewer and longer writes.
const GATHER: usize = 2;
/// Ticks between two looks at who has given up waiting.
const SWEEP_TICKS: u64 = 100;
/// Ticks between two looks at how large the data directory is.
const MEASURE_TICKS: u64 = 500;

/// Completions of what the loop set off.
#[derive(Debug)]
pub(super) enum Event {
    /// The state machine has come this far.
    Applied {
        group: GroupId,
        index: u64,
        clock_ms: u64,
    },
    /// The state machine was replaced by a snapshot's state.
    Installed {
        group: GroupId,
        index: u64,
        clock_ms: u64,
    },
    /// Something about snapshots.
    Snapshot(super::snapshots::Done),
}

/// What the loop is made of.
#[derive(Debug)]
pub struct Parts {
    /// The cores, by group, with the replicated time of the state that each was restored with.
    pub rafts: Vec<(Raft, u64)>,
    /// The groups' states.
    pub groups: Groups,
    /// The log.
    pub wal: Wal,
    /// The snapshots on disk.
    pub snapshots: crate::storage::Snapshots,
    /// The way to the peers.
    pub links: Arc<Transport>,
    /// What peers send.
    pub arrivals: Arrivals,
    /// What clients ask.
    pub requests: mpsc::Receiver<Request>,
    /// Where members are reached.
    pub addresses: Arc<AddressBook>,
    /// The node's settings.
    pub settings: Settings,
}

/// The loop's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub id: NodeId,
    /// The incarnation of its disk.
    pub incarnation: u64,
    /// The cluster's name.
    pub cluster: String,
    /// How eager this node is to lead.
    pub priority: Priority,
    /// Move leadership to members that lead fewer groups.
    pub rebalance: bool,
    /// Length of a tick.
    pub tick: Duration,
    /// The least election timeout in ticks.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u32,
    /// Stretch both on slow links.
    pub timeouts_follow: bool,
    /// Apply on the loop itself.
    pub apply_inline: bool,
    /// Proposals in one group's log that wait for their entries; more are turned away.
    pub proposals_max: usize,
    /// Applied entries between two snapshots of a group.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot.
    pub keep_entries: u64,
    /// Bytes of entries in a group's log that make a snapshot due.
    pub log_bytes_max: usize,
    /// Where the data lives, to tell how large it is.
    pub data: std::path::PathBuf,
}

impl Settings {
    /// The protocol's times, when peers take so long to answer.
    fn ticks_for(&self, trip: Duration) -> Ticks {
        Ticks::for_round_trip(trip, self.tick, self.heartbeat_ticks, self.election_ticks)
    }
}

/// Drives every group of the node.
#[derive(Debug)]
pub struct Engine {
    members: Vec<Member>,
    dirty: Vec<GroupId>,
    groups: Groups,
    wal: Wal,
    links: Arc<Transport>,
    inbound: mpsc::Receiver<Inbound>,
    requests: mpsc::Receiver<Request>,
    completions: Arc<Completions>,
    /// Groups in which something waits for the disk.
    waiting: BTreeSet<GroupId>,
    events: mpsc::UnboundedReceiver<Event>,
    work: mpsc::UnboundedSender<Work>,
    snapshots: Snapshotter,
    addresses: Arc<AddressBook>,
    strangers: BTreeMap<NodeId, u32>,
    /// When timeouts follow them: the round trips, and the times last set.
    round_trips: Option<(RoundTrips, Ticks)>,
    stalled: bool,
    /// As last measured, beside the loop.
    disk_bytes: Arc<AtomicU64>,
    settings: Settings,
    started: Instant,
    ticked: Instant,
    ticks: u64,
}

impl Engine {
    /// Puts the parts together and starts the task that applies.
    pub fn new(parts: Parts) -> Engine {
        let (event_sender, events) = mpsc::unbounded_channel();
        let (work, work_receiver) = mpsc::unbounded_channel();
        tokio::spawn(apply::run(
            work_receiver,
            parts.groups.clone(),
            event_sender.clone(),
        ));
        let members: Vec<Member> = parts
            .rafts
            .into_iter()
            .enumerate()
            .map(|(id, (raft, clock_ms))| Member::new(id as GroupId, raft, clock_ms))
            .collect();
        let snapshots = Snapshotter::new(
            parts.snapshots,
            parts.links.clone(),
            event_sender,
            &parts.settings,
            &members,
        );
        let round_trips = parts.settings.timeouts_follow.then(|| {
            let settings = &parts.settings;
            let (links, addresses) = (parts.links.clone(), parts.addresses.clone());
            let trips = RoundTrips::measure(settings.id, links, addresses);
            (trips, settings.ticks_for(Duration::ZERO))
        });
        let now = Instant::now();
        let mut engine = Engine {
            dirty: (0..members.len() as GroupId).collect(),
            members,
            groups: parts.groups,
            wal: parts.wal,
            links: parts.links,
            inbound: parts.arrivals.0,
            requests: parts.requests,
            completions: Arc::default(),
            waiting: BTreeSet::new(),
            events,
            work,
            snapshots,
            addresses: parts.addresses,
            strangers: BTreeMap::new(),
            round_trips,
            stalled: false,
            disk_bytes: Arc::default(),
            settings: parts.settings,
            started: now,
            ticked: now,
            ticks: 0,
        };
        for at in 0..engine.members.len() {
            engine.learn_addresses(at);
        }
        engine
    }

    /// Runs until told to stop; then hands leadership over, as far as that goes in time.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut ticker = tokio::time::interval(self.settings.tick);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut events, mut inbound, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        let mut stable = Vec::new();
        // How much came in together lately: what comes alone need not wait for company.
        let mut crowd = 0;
        let mut deadline = None;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop), if deadline.is_none() => {
                    deadline = Some(Instant::now() + 2 * self.election_timeout());
                    self.leave();
                }
                _ = ticker.tick() => {}
                () = self.completions.awaited() => {}
                _ = self.events.recv_many(&mut events, TURN_MAX) => {}
                _ = self.inbound.recv_many(&mut inbound, TURN_MAX) => {}
                _ = self.requests.recv_many(&mut requests, TURN_MAX) => {}
            }
            if crowd > 1 {
                for _ in 0..GATHER {
                    tokio::task::yield_now().await;
                }
            }
            // Whatever else has come in by now shares the turn, and with that the write.
            self.completions.take(&mut stable);
            drain(&mut inbound, || self.inbound.try_recv().ok());
            drain(&mut events, || self.events.try_recv().ok());
            drain(&mut requests, || self.requests.try_recv().ok());
            crowd = (crowd / 2).max(stable.len() + inbound.len() + events.len() + requests.len());
            stable
                .drain(..)
                .for_each(|(group, tag)| self.persisted(group, tag));
            self.tick();
            inbound.drain(..).for_each(|message| self.receive(message));
            events.drain(..).for_each(|event| self.complete(event));
            requests.drain(..).for_each(|request| self.request(request));
            self.flush();
            if let Some(deadline) = deadline
                && (Instant::now() >= deadline || !self.members.iter().any(|group| group.leads))
            {
                return;
            }
        }
    }

    /// The least election timeout, as it is now.
    fn election_timeout(&self) -> Duration {
        let set = self.round_trips.as_ref().map(|(_, ticks)| ticks);
        self.settings.tick * set.map_or(self.settings.election_ticks, |ticks| ticks.election_min)
    }

    fn touch(&mut self, group: GroupId) -> Option<&mut Member> {
        let member = self.members.get_mut(group as usize)?;
        if !member.dirty {
            member.dirty = true;
            self.dirty.push(group);
        }
        Some(member)
    }

    fn every(&mut self, mut tell: impl FnMut(&mut Raft)) {
        for group in 0..self.members.len() as GroupId {
            if let Some(member) = self.touch(group) {
                tell(&mut member.raft);
            }
        }
    }

    /// Delivers the ticks that the clock owes. After a pause a leader gets no more than a few and
    /// loses its lease; a follower gets few, so that it first hears what waited for it.
    fn tick(&mut self) {
        let owed = self.ticked.elapsed().as_nanos() / self.settings.tick.as_nanos().max(1);
        if owed == 0 {
            return;
        }
        self.ticked += self.settings.tick * u32::try_from(owed).unwrap_or(u32::MAX);
        let most = u128::from(self.settings.election_ticks / 4).max(1);
        for group in 0..self.members.len() as GroupId {
            if self.members[group as usize].raft.is_asleep() {
                continue;
            }
            let Some(member) = self.touch(group) else {
                continue;
            };
            if owed > most {
                member.raft.lapse();
            }
            for _ in 0..owed.min(most) {
                member.raft.tick();
            }
        }
        self.watch_disk();
        if self.ticks.is_multiple_of(MEASURE_TICKS) {
            self.measure_disk();
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            self.members.iter_mut().for_each(Member::sweep);
            self.forget_strangers();
            self.follow_round_trips();
            if self.settings.rebalance {
                self.rebalance();
            }
        }
    }

    // --- what comes in ----------------------------------------------------------------------

    fn receive(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Messages { from, messages } => {
                for (group, message) in messages {
                    if let Some(member) = self.touch(group) {
                        member.raft.step(from, message);
                    }
                }
            }
            Inbound::Request {
                from,
                request: transport::Request::Forward(body),
                reply,
            } => {
                self.serve_peer(from, &body, reply);
            }
            Inbound::Request {
                from,
                request: transport::Request::Snapshot(piece),
                reply,
            } => {
                self.snapshots.receive(from, piece, reply);
            }
            Inbound::OtherDisk { peer } => {
                tracing::warn!(peer, "a peer came back with another disk");
                self.every(|raft| raft.disk_lost(peer));
            }
            Inbound::Unreachable { peer } => self.every(|raft| raft.unreachable(peer)),
        }
    }

    fn persisted(&mut self, group: GroupId, tag: WriteTag) {
        if let Some(member) = self.touch(group) {
            member.raft.persisted(tag);
        }
    }

    fn complete(&mut self, event: Event) {
        match event {
            Event::Applied {
                group,
                index,
                clock_ms,
            } => {
                if let Some(member) = self.touch(group) {
                    member.applied(index, clock_ms);
                }
                self.readmit(group);
                let member = &self.members[group as usize];
                self.snapshots
                    .applied(member, index, &self.groups[group as usize]);
            }
            Event::Installed {
                group,
                index,
                clock_ms,
            } => {
                if let Some(member) = self.touch(group) {
                    tracing::info!(parent: &member.span(), index, "snapshot installed");
                    member.raft.snapshot_installed();
                    member.applied(index, clock_ms);
                }
                self.learn_addresses(group as usize);
            }
            Event::Snapshot(done) => {
                let (members, wal, work) = (&mut self.members, &self.wal, &self.work);
                if let Some(group) = self.snapshots.complete(done, members, wal, work) {
                    self.touch(group);
                }
            }
        }
    }

    // --- what goes out ----------------------------------------------------------------------

    /// Does what the cores ask for until they ask for nothing.
    fn flush(&mut self) {
        for group in std::mem::take(&mut self.dirty) {
            let member = &mut self.members[group as usize];
            member.dirty = false;
            member.ask_reads();
            loop {
                let ready = self.members[group as usize].raft.ready();
                if ready.is_empty() {
                    break;
                }
                self.carry_out(group, ready);
            }
            if self.members[group as usize].raft.waits_for_disk() {
                self.waiting.insert(group);
            } else {
                self.waiting.remove(&group);
            }
        }
        self.completions.set_awaited(!self.waiting.is_empty());
        self.links.flush();
    }

    fn carry_out(&mut self, group: GroupId, ready: Ready) {
        let at = group as usize;
        if let Some(change) = ready.role {
            let span = self.members[at].span();
            tracing::info!(parent: &span, role = %change.role, leader = change.leader, "role");
            self.groups[at].leader.send_replace(change.leader);
            if let Some(done) = self.members[at].role_changed(change) {
                done.answer(Ok(0));
            }
        }
        if let Some(meta) = ready.snapshot_install {
            for lost in self.members[at].overtaken(meta.index) {
                lost.answer(Err(Failure::Lost));
            }
            self.snapshots.install(group, meta, &self.wal);
        }
        self.links.queue(group, &ready.messages);
        if let Some(write) = ready.write {
            let configured = write
                .entries
                .iter()
                .any(|entry| matches!(entry.payload, Payload::Configuration(_)));
            let append = Append {
                hard_state: write.hard_state,
                truncate_from: write.truncate_from,
                entries: write.entries,
                ..Append::default()
            };
            let (tag, after) = (write.tag, write.after);
            let (completions, links) = (Arc::clone(&self.completions), Arc::clone(&self.links));
            self.wal.append_in_batch(group, append, move |last| {
                // What waited for the disk leaves from here: the way over the loop costs a turn.
                links.queue(group, &after);
                if last {
                    links.flush();
                }
                completions.add(group, tag);
            });
            if configured {
                self.learn_addresses(at);
            }
        }
        if !ready.apply.is_empty() {
            self.apply(group, ready.apply);
        }
        for read in ready.reads {
            self.members[at].serve_read(read.id);
        }
        for (id, refused) in ready.reads_failed {
            self.members[at].fail_read(id, refused);
        }
        for request in ready.snapshot_send {
            self.snapshots
                .send(request, &self.members[at], &self.groups[at]);
        }
    }

    fn apply(&mut self, group: GroupId, entries: Vec<raft::Entry>) {
        let member = &mut self.members[group as usize];
        let (waiters, superseded) = member.match_waiters(&entries);
        for entry in &entries {
            if let Payload::Configuration(configuration) = &entry.payload
                && !configuration.is_joint()
            {
                let index = entry.index;
                for (_, waiter) in member.changes.extract_if(.., |(from, _)| *from <= index) {
                    waiter.answer(Ok(index));
                }
            }
        }
        for waiter in superseded {
            waiter.answer(Err(Failure::Superseded));
        }
        let work = Work::Entries {
            group,
            entries,
            waiters,
        };
        if self.settings.apply_inline {
            let done = apply::perform(work, &self.groups);
            self.complete(done);
        } else {
            let _ = self.work.send(work);
        }
    }

    /// Takes up the addresses that a group's configuration names, and tells the links.
    fn learn_addresses(&mut self, at: usize) {
        self.addresses.learn(self.members[at].raft.configuration());
        self.call_peers();
    }

    fn call_peers(&self) {
        let peers = self.addresses.all();
        let peers = peers
            .into_iter()
            .map(|(id, addresses)| (id, addresses.peer))
            .collect();
        self.links.set_peers(&peers);
    }
}

/// Takes what waits in a queue, up to the bound of a turn.
fn drain<T>(into: &mut Vec<T>, mut next: impl FnMut() -> Option<T>) {
    while into.len() < TURN_MAX {
        let Some(item) = next() else { return };
        into.push(item);
    }
}
