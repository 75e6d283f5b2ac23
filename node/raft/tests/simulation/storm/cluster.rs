//! A whole cluster in one thread: one seed, one heap of events, nothing else decides what happens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use raft::{
    Body, Config, Configuration, Entry, Envelope, Message, NodeId, Payload, Raft, Ready, Refused,
    SnapshotMeta, Term,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::clients::Clients;
use super::disk::{Disk, Image, Job};
use super::host::{Clock, Host, Process};
use super::laws::Laws;
use super::machine::{Command, Machine, digest_of};
use super::network::Network;
use super::setup::Setup;

pub(crate) const TICK_US: u64 = 10_000;

/// After how long a link that carries nothing is found to be broken; longer than any message takes.
const LINK_TIMEOUT_US: u64 = 1_000_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node's clock ticks.
    Tick {
        node: NodeId,
        life: u64,
    },
    Deliver {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    DiskDone {
        node: NodeId,
        life: u64,
    },
    Apply {
        node: NodeId,
        life: u64,
    },
    SnapshotArrives {
        from: NodeId,
        to: NodeId,
        term: Term,
        image: Image,
    },
    SnapshotSent {
        from: NodeId,
        life: u64,
        to: NodeId,
        meta: Option<SnapshotMeta>,
    },
    Restart {
        node: NodeId,
    },
    /// A node's link layer finds that a peer does not answer.
    PeerLost {
        node: NodeId,
        peer: NodeId,
    },
    /// A client's request reaches a node.
    Request {
        node: NodeId,
        operation: u64,
    },
    ClientActs {
        client: usize,
    },
    ClientGivesUp {
        client: usize,
        operation: u64,
    },
    /// Something goes wrong, or an operator acts.
    Mischief,
}

impl Event {
    /// The node that must be running and awake for this.
    fn node(&self) -> Option<NodeId> {
        match *self {
            Event::Tick { node, .. }
            | Event::DiskDone { node, .. }
            | Event::Apply { node, .. }
            | Event::PeerLost { node, .. }
            | Event::Request { node, .. } => Some(node),
            Event::Deliver { to, .. } | Event::SnapshotArrives { to, .. } => Some(to),
            Event::SnapshotSent { from, .. } => Some(from),
            _ => None,
        }
    }

    fn life(&self) -> Option<u64> {
        match *self {
            Event::Tick { life, .. }
            | Event::DiskDone { life, .. }
            | Event::Apply { life, .. }
            | Event::SnapshotSent { life, .. } => Some(life),
            _ => None,
        }
    }
}

struct Scheduled {
    at_us: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

pub(crate) struct Cluster {
    pub(crate) now_us: u64,
    order: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    pub(crate) network: Network,
    pub(crate) laws: Laws,
    pub(crate) clients: Clients,
    pub(crate) setup: Setup,
    /// Whether faults happen and clients work.
    pub(crate) stormy: bool,
    pub(crate) events_done: u64,
    /// Of everything that happened: equal for equal runs.
    pub(crate) digest: u64,
}

impl Cluster {
    pub(crate) fn new(seed: u64, adjust: &dyn Fn(&mut Setup)) -> Cluster {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut setup = Setup::draw(&mut rng);
        adjust(&mut setup);
        let mut cluster = Cluster {
            now_us: 0,
            order: 0,
            events: BinaryHeap::new(),
            hosts: BTreeMap::new(),
            network: Network::default(),
            laws: Laws::new(setup.only),
            clients: Clients::new(4),
            stormy: true,
            events_done: 0,
            digest: 0,
            rng,
            setup,
        };
        let members = cluster.setup.voters + cluster.setup.learners;
        for id in 1..=members + 2 {
            cluster.add_host(id);
        }
        for client in 0..4 {
            cluster.schedule(0, Event::ClientActs { client });
        }
        cluster.schedule(0, Event::Mischief);
        cluster
    }

    fn add_host(&mut self, id: NodeId) {
        let drift = self
            .rng
            .random_range(0..=TICK_US * self.setup.drift_percent / 100);
        let clock = Clock {
            tick_us: TICK_US + drift,
            next_tick_us: 0,
        };
        let host = Host {
            id,
            disk: Disk::default(),
            life: 0,
            process: None,
            clock,
            paused_until_us: 0,
        };
        self.hosts.insert(id, host);
        self.start(id);
    }

    pub(crate) fn schedule(&mut self, after_us: u64, event: Event) {
        self.order += 1;
        let at_us = self.now_us + after_us;
        self.events.push(Reverse(Scheduled {
            at_us,
            order: self.order,
            event,
        }));
    }

    /// Runs until simulated time `until_us`.
    pub(crate) fn run(&mut self, until_us: u64) {
        while let Some(Reverse(next)) = self.events.peek()
            && next.at_us <= until_us
        {
            let Reverse(next) = self.events.pop().expect("just seen");
            self.now_us = next.at_us;
            self.happen(next.event);
        }
        self.now_us = until_us;
    }

    fn happen(&mut self, event: Event) {
        let Some(node) = event.node() else {
            return self.happen_outside(&event);
        };
        let host = self.hosts.get_mut(&node).expect("events name known nodes");
        if host.process.is_none() || event.life().is_some_and(|life| life != host.life) {
            if let Event::Request { operation, .. } = event {
                self.client_failed(operation);
            }
            return;
        }
        if host.paused_until_us > self.now_us {
            let wait = host.paused_until_us - self.now_us;
            return self.schedule(wait, event);
        }
        self.catch_up(node);
        self.happen_on(node, event);
        self.pump(node);
        self.events_done += 1;
        let process = self.hosts[&node].process.as_ref().expect("it runs");
        let (term, commit) = (process.raft.term(), process.raft.commit());
        self.digest = digest_of(&(self.digest, self.now_us, node, term, commit));
    }

    /// Delivers the ticks that the node's clock owes.
    fn catch_up(&mut self, node: NodeId) {
        let host = self.hosts.get_mut(&node).expect("known");
        let process = host.process.as_mut().expect("it runs");
        let owed = (self.now_us + host.clock.tick_us).saturating_sub(host.clock.next_tick_us)
            / host.clock.tick_us;
        if owed > 3 && !self.setup.catches_up {
            process.raft.lapse();
            host.clock.next_tick_us = self.now_us + host.clock.tick_us;
        }
        while host.clock.next_tick_us <= self.now_us {
            process.raft.tick();
            host.clock.next_tick_us += host.clock.tick_us;
        }
    }

    fn happen_on(&mut self, node: NodeId, event: Event) {
        let host = self.hosts.get_mut(&node).expect("known");
        let process = host.process.as_mut().expect("it runs");
        match event {
            Event::Tick { life, .. } => {
                let wait = host.clock.next_tick_us - self.now_us;
                self.schedule(wait, Event::Tick { node, life });
                self.keep_snapshot(node);
            }
            Event::Deliver { from, message, .. } => process.raft.step(from, message),
            Event::DiskDone { .. } => self.disk_done(node),
            Event::Apply { .. } => self.apply(node),
            Event::SnapshotArrives {
                from, term, image, ..
            } => {
                let meta = image.meta.clone();
                process.incoming = Some(image);
                let body = Body::Snapshot {
                    meta: Box::new(meta.clone()),
                };
                process.raft.step(from, Message { term, body });
                let life = self.hosts[&from].life;
                let sent = Event::SnapshotSent {
                    from,
                    life,
                    to: node,
                    meta: Some(meta),
                };
                self.schedule(1_000, sent);
            }
            Event::SnapshotSent { to, meta, .. } => process.raft.snapshot_sent(to, meta.as_ref()),
            Event::PeerLost { peer, .. } => process.raft.unreachable(peer),
            Event::Request { operation, .. } => self.request(node, operation),
            _ => unreachable!("not an event of a node"),
        }
    }

    fn happen_outside(&mut self, event: &Event) {
        match *event {
            Event::Restart { node } => self.start(node),
            Event::ClientActs { client } => self.client_acts(client),
            Event::ClientGivesUp { client, operation } => self.client_gives_up(client, operation),
            Event::Mischief if self.stormy => self.mischief(),
            _ => {}
        }
    }

    // --- a node's life ----------------------------------------------------------------------

    pub(crate) fn start(&mut self, node: NodeId) {
        let setup = self.setup.clone();
        let members = setup.voters + setup.learners;
        let mut first = Configuration::default();
        if node <= members && self.hosts[&node].disk.generation == 0 {
            first = Configuration::of_voters(1..=setup.voters);
            first.learners = (setup.voters + 1..=members).collect();
            first.context = (1..=members).map(|id| (id, vec![0].into())).collect();
        }
        let seed = self.rng.random();
        let config = Config {
            id: node,
            seed,
            configuration: first,
            ..setup.config
        };
        let host = self.hosts.get_mut(&node).expect("known");
        if host.process.is_some() {
            return;
        }
        host.life += 1;
        let log = host.disk.log.clone();
        let machine = match &host.disk.image {
            Some(image) => image.machine.clone(),
            None => Machine::default(),
        };
        let raft = Raft::new(config, host.disk.restore()).expect("the configuration is good");
        let (commit_seen, term_seen) = (raft.commit(), raft.term());
        host.process = Some(Process {
            raft,
            machine,
            log,
            applying: VecDeque::new(),
            apply_scheduled: false,
            incoming: None,
            proposals: BTreeMap::new(),
            commit_seen,
            term_seen,
            snapshot_queued: commit_seen,
        });
        host.clock.next_tick_us = self.now_us + host.clock.tick_us;
        let (wait, life) = (host.clock.tick_us, host.life);
        self.schedule(wait, Event::Tick { node, life });
        self.pump(node);
    }

    pub(crate) fn crash(&mut self, node: NodeId) {
        let host = self.hosts.get_mut(&node).expect("known");
        let Some(process) = host.process.take() else {
            return;
        };
        host.life += 1;
        host.disk.crash(&mut self.rng);
        host.paused_until_us = 0;
        // Whoever waited here will never know.
        drop(process);
        let others: Vec<NodeId> = self
            .hosts
            .keys()
            .copied()
            .filter(|id| *id != node)
            .collect();
        self.lose_sight(&others, &[node]);
    }

    /// The links between some nodes and others are found to be broken, after a while.
    pub(crate) fn lose_sight(&mut self, some: &[NodeId], others: &[NodeId]) {
        for &node in some {
            for &peer in others {
                self.schedule(LINK_TIMEOUT_US, Event::PeerLost { node, peer });
                self.schedule(
                    LINK_TIMEOUT_US,
                    Event::PeerLost {
                        node: peer,
                        peer: node,
                    },
                );
            }
        }
    }

    // --- effects ----------------------------------------------------------------------------

    /// Does what the core says until it has nothing to say, and checks every law.
    pub(crate) fn pump(&mut self, node: NodeId) {
        loop {
            let host = self.hosts.get_mut(&node).expect("known");
            let Some(process) = &mut host.process else {
                return;
            };
            let ready = process.raft.ready();
            if ready.is_empty() {
                break;
            }
            self.carry_out(node, ready);
        }
        self.check(node);
    }

    fn carry_out(&mut self, node: NodeId, ready: Ready) {
        let host = self.hosts.get_mut(&node).expect("known");
        let process = host.process.as_mut().expect("it runs");
        if let Some(meta) = ready.snapshot_install {
            let image = process.incoming.take().expect("the snapshot lies beside");
            assert_eq!(image.meta, meta, "[snapshot announced]");
            process.log.skip_to(raft::Position {
                index: meta.index,
                term: meta.term,
            });
            process.proposals.clear();
            self.queue(node, Job::Install(image));
        }
        if let Some(write) = ready.write {
            let host = self.hosts.get_mut(&node).expect("known");
            let process = host.process.as_mut().expect("it runs");
            self.laws.writes(&process.raft, &write, &process.log);
            if let Some(from) = write.truncate_from {
                process.log.cut(from);
            }
            for entry in &write.entries {
                process.log.append(entry);
            }
            if write.truncate_from.is_some() {
                let process = self.hosts[&node].process.as_ref().expect("it runs");
                self.laws.cut(&process.raft, &process.log);
            }
            self.queue(node, Job::Write(write));
        }
        let process = self.hosts[&node].process.as_ref().expect("it runs");
        if ready.role.is_some() && process.raft.is_leader() {
            self.laws.leads(node, process.raft.term(), &process.log);
        }
        for envelope in ready.messages {
            self.post(node, envelope);
        }
        for request in ready.snapshot_send {
            self.stream(node, request.to, request.term);
        }
        self.apply_later(node, ready.apply);
        for read in ready.reads {
            self.read_served(node, read.id, read.index);
        }
        for (id, refused) in ready.reads_failed {
            self.client_refused(id, &refused);
        }
    }

    pub(crate) fn process(&self, node: NodeId) -> &Process {
        self.hosts[&node].process.as_ref().expect("it runs")
    }

    pub(crate) fn process_mut(&mut self, node: NodeId) -> &mut Process {
        self.hosts
            .get_mut(&node)
            .expect("known")
            .process
            .as_mut()
            .expect("it runs")
    }

    fn post(&mut self, from: NodeId, envelope: Envelope) {
        self.laws.sends(from, &envelope);
        let Envelope { to, message } = envelope;
        if !self.hosts.contains_key(&to) {
            return;
        }
        for delay in self.network.send(from, to, &mut self.rng) {
            let message = message.clone();
            self.schedule(delay, Event::Deliver { from, to, message });
        }
    }

    fn queue(&mut self, node: NodeId, job: Job) {
        self.hosts.get_mut(&node).expect("known").disk.queue(job);
        self.sync(node);
    }

    /// One sync serves all that was queued when it began.
    fn sync(&mut self, node: NodeId) {
        let host = self.hosts.get_mut(&node).expect("known");
        if host.disk.begin_sync() {
            let stalls = self.stormy && self.rng.random_range(0..1_000) == 0;
            let most = if stalls {
                3_000_000
            } else {
                self.setup.disk_us_max
            };
            let wait = self.rng.random_range(50..most);
            let life = host.life;
            self.schedule(wait, Event::DiskDone { node, life });
        }
    }

    fn disk_done(&mut self, node: NodeId) {
        let mut last_tag = None;
        let jobs = self.hosts.get_mut(&node).expect("known").disk.finish();
        for job in jobs {
            match job {
                Job::Write(write) => {
                    last_tag = Some(write.tag);
                    for envelope in write.after {
                        self.post(node, envelope);
                    }
                }
                Job::Install(image) => {
                    let process = self.process_mut(node);
                    process.applying.clear();
                    process.machine = image.machine;
                    process.raft.snapshot_installed();
                    self.readmit(node, &image.meta.configuration);
                }
                Job::Keep(image, keep_from) => {
                    self.process_mut(node).raft.compact(image.meta, keep_from);
                }
            }
        }
        if let Some(tag) = last_tag {
            self.process_mut(node).raft.persisted(tag);
        }
        self.sync(node);
    }

    /// Takes a snapshot now and then.
    fn keep_snapshot(&mut self, node: NodeId) {
        let every = self.setup.snapshot_every;
        let tail = self.rng.random_range(0..every);
        let process = self.process_mut(node);
        let applied = process.machine.applied;
        if applied < process.snapshot_queued + every {
            return;
        }
        let Some(meta) = process.raft.snapshot_meta(applied) else {
            return;
        };
        process.snapshot_queued = applied;
        let image = Image {
            meta,
            machine: process.machine.clone(),
        };
        self.queue(node, Job::Keep(image, applied.saturating_sub(tail)));
    }

    fn stream(&mut self, from: NodeId, to: NodeId, term: Term) {
        let life = self.hosts[&from].life;
        let image = self.hosts[&from].disk.image.clone();
        let arrives = self.network.send(from, to, &mut self.rng);
        match (image, arrives.first()) {
            (Some(image), Some(delay)) if self.hosts.contains_key(&to) => {
                let wait = delay * 5;
                self.schedule(
                    wait,
                    Event::SnapshotArrives {
                        from,
                        to,
                        term,
                        image,
                    },
                );
                // If it is lost on the way, the sender finds out in the end.
                let sent = Event::SnapshotSent {
                    from,
                    life,
                    to,
                    meta: None,
                };
                self.schedule(wait + 2_000_000, sent);
            }
            _ => {
                let sent = Event::SnapshotSent {
                    from,
                    life,
                    to,
                    meta: None,
                };
                self.schedule(100_000, sent);
            }
        }
    }

    // --- applying ---------------------------------------------------------------------------

    fn apply_later(&mut self, node: NodeId, entries: Vec<Entry>) {
        let process = self.process_mut(node);
        process.applying.extend(entries);
        if !process.applying.is_empty() && !process.apply_scheduled {
            process.apply_scheduled = true;
            let wait = self.rng.random_range(1..self.setup.apply_us_max);
            let life = self.hosts[&node].life;
            self.schedule(wait, Event::Apply { node, life });
        }
    }

    fn apply(&mut self, node: NodeId) {
        let mut batch = self.rng.random_range(1..=8);
        while batch > 0
            && let Some(entry) = self.process_mut(node).applying.pop_front()
        {
            batch -= 1;
            self.apply_one(node, &entry);
        }
        let process = self.process_mut(node);
        process.apply_scheduled = false;
        process.raft.applied(process.machine.applied);
        self.apply_later(node, Vec::new());
    }

    fn apply_one(&mut self, node: NodeId, entry: &Entry) {
        let process = self.process_mut(node);
        if entry.index <= process.machine.applied {
            return;
        }
        let (effect, value) = process.machine.apply(entry);
        let digest = process.machine.digest;
        let waiter = process.proposals.remove(&entry.index);
        let raft = &self.hosts[&node].process.as_ref().expect("it runs").raft;
        self.laws.applies(raft, entry, digest);
        if let Payload::Configuration(configuration) = &entry.payload {
            self.readmit(node, configuration);
        }
        match waiter {
            Some((term, operation)) if term == entry.term => {
                self.client_done(operation, entry.index, effect, value);
            }
            Some((_, operation)) => self.client_superseded(operation),
            None => {}
        }
    }

    /// A node that lost its disk has its vote back once the cluster has named its new one.
    fn readmit(&mut self, node: NodeId, configuration: &Configuration) {
        let host = self.hosts.get_mut(&node).expect("known");
        let named = configuration
            .context
            .get(&node)
            .is_some_and(|it| it[0] == host.disk.generation);
        if host.disk.wiped && named {
            host.disk.wiped = false;
            host.process.as_mut().expect("it runs").raft.readmit();
        }
    }

    // --- requests ---------------------------------------------------------------------------

    fn request(&mut self, node: NodeId, operation: u64) {
        let Some(open) = self.clients.open(operation) else {
            return;
        };
        let (command, mode) = (open.command(), open.mode);
        let padding = self.rng.random_range(0..200);
        let process = self.process_mut(node);
        let asked = match mode {
            Some(mode) => process.raft.read(operation, mode),
            None => process
                .raft
                .propose(command.encode(padding))
                .map(|(term, index)| {
                    process.proposals.insert(index, (term, operation));
                }),
        };
        if let Err(refused) = asked {
            if mode.is_none() {
                self.laws.refuses(command.attempt);
            }
            self.client_refused(operation, &refused);
        }
    }

    fn read_served(&mut self, node: NodeId, operation: u64, index: u64) {
        let machine = &self.process(node).machine;
        let Some(open) = self.clients.open(operation) else {
            return;
        };
        let value = machine.registers.get(&open.key).copied();
        assert!(
            machine.applied >= index,
            "[read waits for its index] {open:?}"
        );
        let at = machine.applied;
        self.client_done(operation, at, true, value);
    }

    pub(crate) fn client_refused(&mut self, operation: u64, refused: &Refused) {
        let hint = match refused {
            Refused::NotLeader { leader } => *leader,
            _ => None,
        };
        self.clients.hint(hint);
        self.client_failed(operation);
    }

    // --- laws -------------------------------------------------------------------------------

    fn check(&mut self, node: NodeId) {
        let process = self.process(node);
        let (term, commit) = (process.raft.term(), process.raft.commit());
        let (term_seen, commit_seen) = (process.term_seen, process.commit_seen);
        assert!(
            term >= term_seen,
            "[terms grow] {node} went from {term_seen} to {term}"
        );
        assert!(
            commit >= commit_seen,
            "[commit grows] {node}: {commit_seen} to {commit}"
        );
        if commit > commit_seen {
            let disks = self
                .hosts
                .iter()
                .map(|(id, host)| (*id, &host.disk))
                .collect();
            let process = self.hosts[&node].process.as_ref().expect("it runs");
            self.laws
                .commits(&process.raft, commit_seen, &process.log, &disks);
        }
        let process = self.process_mut(node);
        process.term_seen = term;
        process.commit_seen = commit;
    }
}

/// What a command attempt carries, kept here so that clients need not know of encodings.
impl super::clients::Operation {
    pub(crate) fn command(&self) -> Command {
        Command {
            attempt: self.attempt,
            key: self.key,
            action: self.action,
        }
    }
}
