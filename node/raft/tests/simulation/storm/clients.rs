//! Clients: each does one operation after another, and their record is what is judged.

use std::collections::HashMap;

use raft::{Index, NodeId, ReadMode, Refused};
use rand::RngExt;

use super::cluster::Cluster;
use super::event::Event;
use super::machine::{Action, Command};
use super::network::pick;

const GIVES_UP_US: u64 = 800_000;

/// An operation under way.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) key: u8,
    pub(crate) action: Action,
    /// How it is read, when it is a read that writes no entry.
    pub(crate) mode: Option<ReadMode>,
    /// The number of the latest attempt.
    pub(crate) attempt: u64,
    /// The greatest index that had taken effect for sure when this began.
    pub(crate) floor: Index,
    /// Where it stands in the record.
    pub(crate) recorded_at: usize,
}

/// How an operation ended, or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the value that was read, if it was a read.
    Ok(Option<u64>),
    /// A compare-and-set that found another value.
    Mismatch,
    /// It certainly did not and will not happen.
    Failed,
    Unknown,
}

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) process: usize,
    pub(crate) key: u8,
    pub(crate) action: Action,
    pub(crate) outcome: Outcome,
    pub(crate) invoked: u64,
    pub(crate) ended: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) lines: Vec<Line>,
    open: HashMap<u64, Operation>,
    busy: Vec<Option<u64>>,
    processes: Vec<usize>,
    next_operation: u64,
    next_value: u64,
    next_process: usize,
    /// Orders the ends and beginnings of operations.
    instant: u64,
    leader: Option<NodeId>,
    pub(crate) finished: u64,
}

impl Clients {
    pub(crate) fn new(count: usize) -> Clients {
        Clients {
            lines: Vec::new(),
            open: HashMap::new(),
            busy: vec![None; count],
            processes: (0..count).collect(),
            next_operation: 1,
            next_value: 1,
            next_process: count,
            instant: 0,
            leader: None,
            finished: 0,
        }
    }

    pub(crate) fn open(&self, operation: u64) -> Option<&Operation> {
        self.open.get(&operation)
    }

    pub(crate) fn hint(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
    }

    fn instant(&mut self) -> u64 {
        self.instant += 1;
        self.instant
    }

    fn close(&mut self, operation: u64, outcome: Outcome) -> Option<Operation> {
        let open = self.open.remove(&operation)?;
        let ended = self.instant();
        let line = &mut self.lines[open.recorded_at];
        line.outcome = outcome;
        line.ended = (outcome != Outcome::Unknown).then_some(ended);
        self.busy[open.client] = None;
        if outcome == Outcome::Unknown {
            self.processes[open.client] = self.next_process;
            self.next_process += 1;
        }
        Some(open)
    }
}

impl Operation {
    fn command(&self) -> Command {
        Command {
            attempt: self.attempt,
            key: self.key,
            action: self.action,
        }
    }
}

impl Cluster {
    pub(crate) fn client_acts(&mut self, client: usize) {
        if !self.stormy || self.clients.busy[client].is_some() {
            return;
        }
        let key = self.rng.random_range(0..3);
        let (action, mode) = match self.rng.random_range(0..10) {
            0..4 => (self.draw_write(), None),
            4 => (self.draw_cas(key), None),
            5 => (Action::Read, None),
            _ => (Action::Read, Some(*pick(&mut self.rng, &MODES))),
        };
        let clients = &mut self.clients;
        let operation = clients.next_operation;
        clients.next_operation += 1;
        let invoked = clients.instant();
        let recorded_at = clients.lines.len();
        clients.lines.push(Line {
            process: clients.processes[client],
            key,
            action,
            outcome: Outcome::Unknown,
            invoked,
            ended: None,
        });
        let floor = self.laws.floor;
        let open = Operation {
            client,
            key,
            action,
            mode,
            attempt: operation,
            floor,
            recorded_at,
        };
        clients.open.insert(operation, open);
        clients.busy[client] = Some(operation);
        let hinted = clients.leader.filter(|_| self.rng.random_range(0..3) != 0);
        let nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        let node = hinted.unwrap_or_else(|| *pick(&mut self.rng, &nodes));
        let delay = self.rng.random_range(50..2_000);
        self.schedule(delay, Event::Request { node, operation });
        self.schedule(GIVES_UP_US, Event::ClientGivesUp { client, operation });
    }

    fn draw_write(&mut self) -> Action {
        self.clients.next_value += 1;
        Action::Write(self.clients.next_value)
    }

    fn draw_cas(&mut self, key: u8) -> Action {
        let known = self.hosts.values().filter_map(|host| host.process.as_ref());
        let values: Vec<u64> = known
            .filter_map(|it| it.machine.registers.get(&key).copied())
            .collect();
        let old = if values.is_empty() {
            0
        } else {
            *pick(&mut self.rng, &values)
        };
        self.clients.next_value += 1;
        Action::Cas(old, self.clients.next_value)
    }

    /// The operation took effect, or saw the state, at `index`.
    pub(crate) fn client_done(
        &mut self,
        operation: u64,
        index: Index,
        effect: bool,
        value: Option<u64>,
    ) {
        let Some(open) = self.clients.open(operation).cloned() else {
            return;
        };
        let outcome = if effect {
            Outcome::Ok(value)
        } else {
            Outcome::Mismatch
        };
        self.clients.close(operation, outcome);
        self.clients.finished += 1;
        let what = format!("{open:?}");
        self.laws
            .finishes(&what, open.floor, index, open.mode.is_some());
        self.act_again(open.client);
    }

    /// The operation certainly did not and will not happen.
    pub(crate) fn client_failed(&mut self, operation: u64) {
        if let Some(open) = self.clients.close(operation, Outcome::Failed) {
            self.act_again(open.client);
        }
    }

    /// Another entry stands where this operation's would be.
    pub(crate) fn client_superseded(&mut self, operation: u64) {
        self.laws.refuses(operation);
        self.client_failed(operation);
    }

    pub(crate) fn client_gives_up(&mut self, client: usize, operation: u64) {
        if self.clients.close(operation, Outcome::Unknown).is_some() {
            self.act_again(client);
        }
    }

    pub(super) fn request(&mut self, node: NodeId, operation: u64) {
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

    pub(super) fn read_served(&mut self, node: NodeId, operation: u64, index: u64) {
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

    fn act_again(&mut self, client: usize) {
        let pause = self.rng.random_range(100..20_000);
        self.schedule(pause, Event::ClientActs { client });
    }
}

/// The ways to read that a client may draw.
const MODES: [ReadMode; 2] = [ReadMode::Index, ReadMode::Lease];
