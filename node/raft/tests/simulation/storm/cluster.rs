//! A whole cluster in one thread: one seed, one heap of events, nothing else decides what happens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use raft::{Body, Config, Configuration, Message, NodeId, Raft};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::clients::Clients;
use super::disk::Disk;
use super::event::{Event, Scheduled};
use super::host::{Clock, Host, Process};
use super::laws::Laws;
use super::machine::{Machine, digest_of};
use super::network::Network;
use super::setup::Setup;

pub(crate) const TICK_US: u64 = 10_000;

/// After how long a link that carries nothing is found to be broken; longer than any message takes.
const LINK_TIMEOUT_US: u64 = 1_000_000;

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
        self.laws.awaits(self.events.len());
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
            if let Event::Request {
                operation, attempt, ..
            } = event
            {
                self.attempt_failed(operation, attempt);
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
            Event::Deliver {
                from,
                generation,
                message,
                ..
            } => process.hear(from, generation, message),
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
            Event::Request {
                operation, attempt, ..
            } => self.request(node, operation, attempt),
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
            known: BTreeMap::new(),
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

    // --- laws -------------------------------------------------------------------------------

    pub(super) fn check(&mut self, node: NodeId) {
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
