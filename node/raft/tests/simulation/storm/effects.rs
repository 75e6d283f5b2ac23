//! A node's runtime: does what its core asks for, and tells the core when that is done.

use raft::{Configuration, Entry, Envelope, NodeId, Payload, Ready, Term};
use rand::RngExt;

use super::cluster::Cluster;
use super::disk::{Image, Job};
use super::event::Event;

impl Cluster {
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
            self.laws.installs(&process.raft, &meta);
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

    fn post(&mut self, from: NodeId, envelope: Envelope) {
        self.laws.sends(from, &envelope);
        let Envelope { to, message } = envelope;
        if !self.hosts.contains_key(&to) {
            return;
        }
        let generation = self.hosts[&from].disk.generation;
        for delay in self.network.send(from, to, &mut self.rng) {
            let deliver = Event::Deliver {
                from,
                to,
                generation,
                message: message.clone(),
            };
            self.schedule(delay, deliver);
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
            // On a full disk it waits until there is room.
            let room = host.disk.full_until_us.saturating_sub(self.now_us);
            let wait = room + self.rng.random_range(50..most);
            let life = host.life;
            self.schedule(wait, Event::DiskDone { node, life });
        }
    }

    pub(super) fn disk_done(&mut self, node: NodeId) {
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
    pub(super) fn keep_snapshot(&mut self, node: NodeId) {
        let every = self.setup.snapshot_every;
        let tail = self.rng.random_range(0..every);
        let forgotten = self.setup.sessions_forgotten;
        let process = self.process_mut(node);
        let applied = process.machine.applied;
        if applied < process.snapshot_queued + every {
            return;
        }
        let Some(meta) = process.raft.snapshot_meta(applied) else {
            return;
        };
        process.snapshot_queued = applied;
        let mut machine = process.machine.clone();
        if forgotten {
            machine.sessions.clear();
        }
        let image = Image { meta, machine };
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

    pub(super) fn apply(&mut self, node: NodeId) {
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
        let answer = process.machine.apply(entry);
        let waiter = process.proposals.remove(&entry.index);
        let process = self.hosts[&node].process.as_ref().expect("it runs");
        self.laws.applies(&process.raft, entry, &process.machine);
        self.laws.carries_out(entry, answer.index);
        if let Payload::Configuration(configuration) = &entry.payload {
            self.readmit(node, configuration);
        }
        match waiter {
            Some((term, operation, _)) if term == entry.term => {
                self.client_done(operation, answer);
            }
            Some((_, operation, attempt)) => self.attempt_failed(operation, attempt),
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
            self.laws.readmitted(node);
        }
    }
}
