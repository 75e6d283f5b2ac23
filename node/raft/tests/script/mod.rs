//! The stage on which the scripts play.

mod command;
mod show;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use raft::{
    Body, Config, Configuration, Entry, Message, NodeId, Payload, Priority, Raft, Ready, Restored,
    SnapshotMeta, Write,
};

/// A node, its disk and what it applied.
struct Node {
    raft: Option<Raft>,
    disk: Restored,
    /// Writes that the disk holds back; `None` when it finishes them at once.
    held: Option<VecDeque<Write>>,
    /// Entries that the state machine holds back.
    unapplied: Option<VecDeque<Entry>>,
    lives: u64,
}

/// A message on the wire.
#[derive(Clone)]
struct Flying {
    from: NodeId,
    to: NodeId,
    message: Message,
}

/// A cluster, and what has happened since the last command.
#[derive(Default)]
pub(crate) struct Script {
    nodes: BTreeMap<NodeId, Node>,
    config: Option<Config>,
    /// Who has low priority.
    low: Option<NodeId>,
    wire: Vec<Flying>,
    held: Vec<Flying>,
    cut: BTreeSet<(NodeId, NodeId)>,
    told: String,
}

impl Script {
    fn add_node(&mut self, id: NodeId, first: Configuration) {
        let node = Node {
            raft: None,
            disk: Restored::default(),
            held: None,
            unapplied: None,
            lives: 0,
        };
        self.nodes.insert(id, node);
        self.start(id, first);
    }

    fn start(&mut self, id: NodeId, first: Configuration) {
        let node = self.nodes.get_mut(&id).expect("a known node");
        node.lives += 1;
        let config = Config {
            id,
            configuration: first,
            priority: if self.low == Some(id) {
                Priority::Low
            } else {
                Priority::Normal
            },
            seed: id * 1_000 + node.lives,
            ..self.config.clone().expect("a cluster was started")
        };
        node.raft = Some(Raft::new(config, node.disk.clone()).expect("a good configuration"));
        self.pump();
    }

    fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a known node");
        node.raft = None;
        node.held = None;
        node.unapplied = None;
    }

    fn raft(&mut self, id: NodeId) -> Result<&mut Raft, String> {
        let node = self
            .nodes
            .get_mut(&id)
            .ok_or_else(|| format!("no node {id}"))?;
        node.raft.as_mut().ok_or_else(|| format!("n{id} is down"))
    }

    /// Does what the cores say until they have nothing to say.
    fn pump(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        let mut busy = true;
        while busy {
            busy = false;
            for &id in &ids {
                let Ok(raft) = self.raft(id) else { continue };
                let ready = raft.ready();
                if !ready.is_empty() {
                    busy = true;
                    self.carry_out(id, ready);
                }
            }
        }
    }

    fn carry_out(&mut self, id: NodeId, ready: Ready) {
        if let Some(meta) = ready.snapshot_install {
            let _ = writeln!(
                self.told,
                "n{id} installs snapshot {}@{}",
                meta.index, meta.term
            );
            let disk = &mut self.nodes.get_mut(&id).expect("known").disk;
            disk.entries.clear();
            disk.snapshot = Some(meta);
            self.raft(id).expect("it runs").snapshot_installed();
        }
        if let Some(role) = ready.role {
            let leader = role.leader.map_or(String::new(), |it| format!(" of n{it}"));
            let leader = if role.leader == Some(id) {
                String::new()
            } else {
                leader
            };
            let _ = writeln!(
                self.told,
                "n{id} is {}{leader} in term {}",
                role.role, role.term
            );
        }
        for envelope in ready.messages {
            self.send(id, envelope);
        }
        if let Some(write) = ready.write {
            match &mut self.nodes.get_mut(&id).expect("known").held {
                Some(held) => held.push_back(write),
                None => self.write(id, write),
            }
        }
        self.apply(id, ready.apply);
        for read in ready.reads {
            let _ = writeln!(self.told, "n{id} serves read {} at {}", read.id, read.index);
        }
        for (read, refused) in ready.reads_failed {
            let _ = writeln!(self.told, "n{id} fails read {read}: {refused}");
        }
        for request in ready.snapshot_send {
            let snapshot = self.nodes[&id].disk.snapshot.clone();
            let meta = Box::new(snapshot.expect("the log was compacted behind a snapshot"));
            let message = Message {
                term: request.term,
                body: Body::Snapshot { meta },
            };
            self.send(
                id,
                raft::Envelope {
                    to: request.to,
                    message,
                },
            );
        }
    }

    fn send(&mut self, from: NodeId, envelope: raft::Envelope) {
        let raft::Envelope { to, message } = envelope;
        if !self.cut.contains(&(from, to)) {
            self.wire.push(Flying { from, to, message });
        }
    }

    /// The disk finishes a write.
    fn write(&mut self, id: NodeId, write: Write) {
        let disk = &mut self.nodes.get_mut(&id).expect("known").disk;
        disk.hard_state = write.hard_state.unwrap_or(disk.hard_state);
        if let Some(from) = write.truncate_from {
            let _ = writeln!(self.told, "n{id} cuts its log from {from}");
            disk.entries.retain(|entry| entry.index < from);
        }
        disk.entries.extend(write.entries);
        for envelope in write.after {
            self.send(id, envelope);
        }
        self.raft(id).expect("it runs").persisted(write.tag);
    }

    fn apply(&mut self, id: NodeId, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return;
        };
        if let Some(unapplied) = &mut self.nodes.get_mut(&id).expect("known").unapplied {
            unapplied.extend(entries);
            return;
        }
        let said: Vec<String> = entries.iter().map(show::entry).collect();
        let _ = writeln!(self.told, "n{id} applies {}", said.join(", "));
        self.raft(id).expect("it runs").applied(last);
    }

    /// Delivers one message.
    fn deliver(&mut self, flying: Flying) {
        let Flying { from, to, message } = flying;
        let _ = writeln!(self.told, "n{from} → n{to} {}", show::message(&message));
        let meta = match &message.body {
            Body::Snapshot { meta } => Some(meta.clone()),
            _ => None,
        };
        if let Ok(raft) = self.raft(to) {
            raft.step(from, message);
        } else {
            let _ = writeln!(self.told, "n{to} is down");
        }
        self.pump();
        if meta.is_some() {
            self.snapshot_ended(from, to, meta.as_deref());
        }
    }

    fn snapshot_ended(&mut self, from: NodeId, to: NodeId, meta: Option<&SnapshotMeta>) {
        if let Ok(raft) = self.raft(from) {
            raft.snapshot_sent(to, meta);
        }
        self.pump();
    }

    /// Takes a snapshot of all that is applied.
    fn snapshot(&mut self, id: NodeId, keep: u64) -> Result<(), String> {
        let raft = self.raft(id)?;
        let applied = raft.status().applied;
        let meta = raft.snapshot_meta(applied).ok_or("nothing to snapshot")?;
        raft.compact(meta.clone(), (applied + 1).saturating_sub(keep));
        let disk = &mut self.nodes.get_mut(&id).expect("known").disk;
        disk.entries.retain(|entry| entry.index > meta.index);
        let _ = writeln!(
            self.told,
            "n{id} takes snapshot {}@{}",
            meta.index, meta.term
        );
        disk.snapshot = Some(meta);
        Ok(())
    }
}

/// What an entry carries, in a word.
fn payload(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Empty => "-".to_owned(),
        Payload::Command(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Payload::Configuration(configuration) => show::configuration(configuration),
    }
}
