//! The commands of the scripts.

use std::error::Error;
use std::fmt::Write as _;

use goldenscript::{Argument, Command, Context};
use raft::{
    Change, Config, Configuration, Entry, HardState, MembershipChange, NodeId, Payload, ReadMode,
    Transition,
};

use super::{Flying, Script, show};

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let outcome = self.perform(command);
        self.pump();
        let told = std::mem::take(&mut self.told);
        outcome.map(|()| told)
    }
}

/// Which messages a command means.
struct Filter {
    from: Option<NodeId>,
    to: Option<NodeId>,
    kind: Option<String>,
}

impl Filter {
    fn takes(&self, flying: &Flying) -> bool {
        self.from.is_none_or(|from| flying.from == from)
            && self.to.is_none_or(|to| flying.to == to)
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| show::kind(&flying.message.body) == kind)
    }
}

fn words(command: &Command) -> Vec<&str> {
    let mut words = Vec::new();
    for argument in &command.args {
        if let Argument::Positional(word) = argument {
            words.push(word.as_str());
        }
    }
    words
}

fn pairs(command: &Command) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for argument in &command.args {
        if let Argument::KeyValue(key, value) = argument {
            pairs.push((key.as_str(), value.as_str()));
        }
    }
    pairs
}

fn number(command: &Command, at: usize) -> Result<u64, Box<dyn Error>> {
    let words = words(command);
    let word = words
        .get(at)
        .ok_or_else(|| format!("{} needs more arguments", command.name))?;
    Ok(word.parse()?)
}

fn named(command: &Command, wanted: &str) -> Option<String> {
    let found = pairs(command).into_iter().find(|(key, _)| *key == wanted);
    found.map(|(_, value)| value.to_owned())
}

fn named_number(command: &Command, key: &str) -> Result<Option<u64>, Box<dyn Error>> {
    Ok(named(command, key).map(|value| value.parse()).transpose()?)
}

fn switch(config: &mut Config, key: &str, value: &str) -> Result<(), Box<dyn Error>> {
    match key {
        "pre_vote" => config.pre_vote = value.parse()?,
        "check_quorum" => config.check_quorum = value.parse()?,
        "batching" => config.batching = value.parse()?,
        "pipelining" => config.pipelining = value.parse()?,
        "parallel_append" => config.parallel_append = value.parse()?,
        "asynchronous_apply" => config.asynchronous_apply = value.parse()?,
        "lease" => config.lease_drift_percent = Some(value.parse()?),
        "sleep" => config.sleep_after_ticks = Some(value.parse()?),
        "batch_bytes" => config.max_batch_bytes = value.parse()?,
        "inflight" => config.inflight_max = value.parse()?,
        "inflight_bytes" => config.inflight_max_bytes = value.parse()?,
        "apply_bytes" => config.apply_max_bytes = value.parse()?,
        "uncommitted_bytes" => config.uncommitted_max_bytes = value.parse()?,
        "promote_lag" => config.promote_lag_max = value.parse()?,
        "nodes" | "learners" | "spare" | "low" => {}
        _ => return Err(format!("no switch {key}").into()),
    }
    Ok(())
}

impl Script {
    fn perform(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        match command.name.as_str() {
            "cluster" => self.cluster(command)?,
            "tick" => self.ticks(command)?,
            "deliver" => self.deliver_now(&filter(command)?),
            "settle" => self.settle(),
            "drop" => {
                for flying in self.take(&filter(command)?) {
                    let shown = show::message(&flying.message);
                    writeln!(self.told, "lost: n{} → n{} {shown}", flying.from, flying.to)?;
                    if matches!(flying.message.body, raft::Body::Snapshot { .. }) {
                        self.snapshot_ended(flying.from, flying.to, None);
                    }
                }
            }
            "hold" => {
                let taken = self.take(&filter(command)?);
                self.held.extend(taken);
            }
            "release" => self.wire.append(&mut self.held),
            "double" => {
                let taken = self.take(&filter(command)?);
                self.wire.extend(
                    taken
                        .iter()
                        .flat_map(|flying| [flying.clone(), flying.clone()]),
                );
            }
            "campaign" => self.raft(number(command, 0)?)?.campaign(),
            "elect" => {
                self.raft(number(command, 0)?)?.campaign();
                self.pump();
                self.settle();
            }
            "propose" => self.propose(command)?,
            "read" => self.read(command)?,
            "cut" => {
                self.cut.insert((number(command, 0)?, number(command, 1)?));
            }
            "isolate" => self.isolate(number(command, 0)?),
            "heal" => self.cut.clear(),
            "crash" => self.crash(number(command, 0)?),
            "restart" => self.start(number(command, 0)?, Configuration::default()),
            "wipe" => {
                let id = number(command, 0)?;
                self.crash(id);
                let disk = &mut self.nodes.get_mut(&id).expect("a known node").disk;
                *disk = raft::Restored {
                    wiped: true,
                    ..raft::Restored::default()
                };
            }
            "preset" => self.preset(command)?,
            "readmit" => self.raft(number(command, 0)?)?.readmit(),
            "disk" => self.disk(command)?,
            "machine" => self.machine(command)?,
            "snapshot" => {
                let keep = named_number(command, "keep")?.unwrap_or(0);
                self.snapshot(number(command, 0)?, keep)?;
            }
            "change" => self.change(command)?,
            "leave" => {
                self.raft(number(command, 0)?)?
                    .change_membership(&MembershipChange::LeaveJoint)?;
            }
            "transfer" => {
                self.raft(number(command, 0)?)?
                    .transfer_leadership(number(command, 1)?)?;
            }
            "unreachable" => self
                .raft(number(command, 0)?)?
                .unreachable(number(command, 1)?),
            "disk_lost" => self
                .raft(number(command, 0)?)?
                .disk_lost(number(command, 1)?),
            "lapse" => self.raft(number(command, 0)?)?.lapse(),
            "status" => self.show_status(command)?,
            "log" => self.show_log(command)?,
            "wire" => {
                for flying in &self.wire {
                    let shown = show::message(&flying.message);
                    writeln!(self.told, "n{} → n{} {shown}", flying.from, flying.to)?;
                }
            }
            other => return Err(format!("no command {other}").into()),
        }
        Ok(())
    }

    fn cluster(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        *self = Script::default();
        let mut config = Config::new(1, Configuration::default());
        (
            config.heartbeat_ticks,
            config.election_ticks_min,
            config.election_ticks_max,
        ) = (2, 10, 20);
        for (key, value) in pairs(command) {
            switch(&mut config, key, value)?;
        }
        self.config = Some(config);
        self.low = named_number(command, "low")?;
        let voters = named_number(command, "nodes")?.unwrap_or(3);
        let learners = named_number(command, "learners")?.unwrap_or(0);
        let spare = named_number(command, "spare")?.unwrap_or(0);
        let mut first = Configuration::of_voters(1..=voters);
        first.learners = (voters + 1..=voters + learners).collect();
        for id in 1..=voters + learners {
            self.add_node(id, first.clone());
        }
        for id in voters + learners + 1..=voters + learners + spare {
            self.add_node(id, Configuration::default());
        }
        Ok(())
    }

    /// What a node finds on its disk when it restarts.
    fn preset(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let id = number(command, 0)?;
        let members = self.nodes.len() as u64;
        let disk = &mut self.nodes.get_mut(&id).ok_or("no such node")?.disk;
        disk.hard_state = HardState {
            term: named_number(command, "term")?.unwrap_or(1),
            vote: None,
        };
        disk.entries.clear();
        for at in 1..words(command).len() {
            let payload = match at {
                1 => Payload::Configuration(Box::new(Configuration::of_voters(1..=members))),
                _ => Payload::Empty,
            };
            disk.entries.push(Entry {
                index: at as u64,
                term: number(command, at)?,
                payload,
            });
        }
        Ok(())
    }

    fn ticks(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let mut ids = Vec::new();
        for at in 1..words(command).len() {
            ids.push(number(command, at)?);
        }
        if ids.is_empty() {
            ids = self.nodes.keys().copied().collect();
        }
        for _ in 0..number(command, 0)? {
            for &id in &ids {
                if let Ok(raft) = self.raft(id) {
                    raft.tick();
                }
            }
            self.pump();
        }
        Ok(())
    }

    fn take(&mut self, filter: &Filter) -> Vec<Flying> {
        let (taken, kept) = std::mem::take(&mut self.wire)
            .into_iter()
            .partition(|it| filter.takes(it));
        self.wire = kept;
        taken
    }

    fn deliver_now(&mut self, filter: &Filter) {
        for flying in self.take(filter) {
            self.deliver(flying);
        }
    }

    fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.wire.is_empty() {
                return;
            }
            let flying = self.wire.remove(0);
            self.deliver(flying);
        }
        panic!("messages without end: {}", self.told);
    }

    fn propose(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let id = number(command, 0)?;
        for value in &words(command)[1..] {
            self.raft(id)?.propose(value.as_bytes().to_vec().into())?;
        }
        Ok(())
    }

    fn read(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let lease = words(command).get(2) == Some(&"lease");
        let mode = if lease {
            ReadMode::Lease
        } else {
            ReadMode::Index
        };
        let (node, id) = (number(command, 0)?, number(command, 1)?);
        self.raft(node)?.read(id, mode)?;
        Ok(())
    }

    fn isolate(&mut self, id: NodeId) {
        for &other in self.nodes.keys() {
            self.cut.extend([(id, other), (other, id)]);
        }
        self.wire
            .retain(|flying| flying.from != id && flying.to != id);
    }

    fn disk(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let id = number(command, 0)?;
        let node = self.nodes.get_mut(&id).ok_or("no such node")?;
        match words(command).get(1) {
            Some(&"hold") => node.held = Some(node.held.take().unwrap_or_default()),
            Some(_) => {
                for _ in 0..number(command, 1)? {
                    let held = self.nodes.get_mut(&id).expect("known").held.as_mut();
                    let write = held.and_then(std::collections::VecDeque::pop_front);
                    self.write(id, write.ok_or("no write is held")?);
                    self.pump();
                }
            }
            None => {
                for write in node.held.take().unwrap_or_default() {
                    self.write(id, write);
                }
            }
        }
        Ok(())
    }

    fn machine(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let id = number(command, 0)?;
        let node = self.nodes.get_mut(&id).ok_or("no such node")?;
        if words(command).get(1) == Some(&"hold") {
            node.unapplied = Some(node.unapplied.take().unwrap_or_default());
        } else {
            let entries = node.unapplied.take().unwrap_or_default();
            self.apply(id, entries.into());
        }
        Ok(())
    }

    fn change(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let mut changes = Vec::new();
        let mut transition = Transition::Automatic;
        for (key, value) in pairs(command) {
            if key == "way" {
                transition = match value {
                    "joint" => Transition::Joint,
                    _ => Transition::JointByHand,
                };
                continue;
            }
            let id = value.parse()?;
            let context = bytes::Bytes::new();
            changes.push(match key {
                "add" => Change::AddVoter { id, context },
                "learner" => Change::AddLearner { id, context },
                "join" => Change::Join { id, context },
                "promote" => Change::Promote { id },
                "demote" => Change::Demote { id },
                "remove" => Change::Remove { id },
                other => return Err(format!("no change {other}").into()),
            });
        }
        let change = MembershipChange::Apply {
            changes,
            transition,
        };
        self.raft(number(command, 0)?)?.change_membership(&change)?;
        Ok(())
    }

    fn shown(&self, command: &Command) -> Result<Vec<NodeId>, Box<dyn Error>> {
        let ids = words(command)
            .iter()
            .map(|word| word.parse())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(if ids.is_empty() {
            self.nodes.keys().copied().collect()
        } else {
            ids
        })
    }

    fn show_status(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        for id in self.shown(command)? {
            let shown = match self.raft(id) {
                Ok(raft) => show::status(&raft.status()),
                Err(down) => down,
            };
            writeln!(self.told, "{shown}")?;
        }
        Ok(())
    }

    fn show_log(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        for id in self.shown(command)? {
            let entries: Vec<String> = self.nodes[&id]
                .disk
                .entries
                .iter()
                .map(show::entry)
                .collect();
            writeln!(self.told, "n{id}: {}", entries.join(", "))?;
        }
        Ok(())
    }
}

fn filter(command: &Command) -> Result<Filter, Box<dyn Error>> {
    Ok(Filter {
        from: named_number(command, "from")?,
        to: named_number(command, "to")?,
        kind: named(command, "kind"),
    })
}
