//! Clients: each does one operation after another, and their record is what is judged.

use std::collections::HashMap;

use raft::{Index, NodeId, ReadMode, Refused};
use rand::RngExt;

use super::cluster::Cluster;
use super::event::Event;
use super::machine::{Action, Answer, Command, Request};
use super::network::pick;

const GIVES_UP_US: u64 = 800_000;
/// How often a request of a session is sent at most.
const ATTEMPTS_MAX: u32 = 4;

/// An operation under way.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) key: u8,
    pub(crate) action: Action,
    /// How it is read, when it is a read that writes no entry.
    pub(crate) mode: Option<Mode>,
    /// What it is in the client's session, when it has one: it may be sent again.
    pub(crate) request: Option<Request>,
    /// The number of the latest attempt.
    pub(crate) attempt: u64,
    /// How many there were, and whether the fate of one of them is unknown.
    pub(crate) attempts: u32,
    pub(crate) uncertain: bool,
    /// The greatest index that had taken effect for sure when this began.
    pub(crate) floor: Index,
    /// Where it stands in the record.
    pub(crate) recorded_at: usize,
}

/// How fresh a read that writes no entry must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As the core sees to.
    Linearizable(ReadMode),
    /// Whatever the node has applied: the core is not asked.
    Stale,
}

/// The modes that a client may draw.
const MODES: [Mode; 3] = [
    Mode::Linearizable(ReadMode::Index),
    Mode::Linearizable(ReadMode::Lease),
    Mode::Stale,
];

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
    /// A read that promises no more than a state of the past.
    pub(crate) stale: bool,
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
    next_attempt: u64,
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
            next_attempt: 1,
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
    fn command(&self, attempt: u64) -> Command {
        Command {
            attempt,
            request: self.request,
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
            stale: mode == Some(Mode::Stale),
            outcome: Outcome::Unknown,
            invoked,
            ended: None,
        });
        // A process is a session, and its operations are the requests in it.
        let in_session = mode.is_none() && self.rng.random_range(0..2) == 0;
        let session = clients.processes[client] as u64 + 1;
        let open = Operation {
            client,
            key,
            action,
            mode,
            request: in_session.then_some((session, operation)),
            attempt: 0,
            attempts: 0,
            uncertain: false,
            floor: self.laws.floor,
            recorded_at,
        };
        clients.open.insert(operation, open);
        clients.busy[client] = Some(operation);
        self.attempt(client, operation);
    }

    /// Sends an operation, for the first time or again.
    fn attempt(&mut self, client: usize, operation: u64) {
        let clients = &mut self.clients;
        let open = clients.open.get_mut(&operation).expect("it is open");
        let attempt = clients.next_attempt;
        clients.next_attempt += 1;
        open.attempt = attempt;
        open.attempts += 1;
        let hinted = clients.leader.filter(|_| self.rng.random_range(0..3) != 0);
        let nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        let node = hinted.unwrap_or_else(|| *pick(&mut self.rng, &nodes));
        let delay = self.rng.random_range(50..2_000);
        let request = Event::Request {
            node,
            operation,
            attempt,
        };
        self.schedule(delay, request);
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
    pub(crate) fn client_done(&mut self, operation: u64, answer: Answer) {
        let Answer {
            index,
            effect,
            value,
        } = answer;
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

    /// The operation certainly did not and will not happen, or its latest attempt did not.
    fn client_failed(&mut self, operation: u64) {
        if let Some(open) = self.clients.open(operation)
            && open.uncertain
        {
            // One before it may have, or may yet.
            return self.client_gives_up(open.client, operation);
        }
        if let Some(open) = self.clients.close(operation, Outcome::Failed) {
            self.act_again(open.client);
        }
    }

    /// The attempt certainly did not and will not take effect: it reached nobody who would take it, or
    /// another entry stands where its own would be.
    pub(crate) fn attempt_failed(&mut self, operation: u64, attempt: u64) {
        self.laws.refuses(attempt);
        let open = self.clients.open(operation);
        if open.is_some_and(|open| open.attempt == attempt) {
            self.client_failed(operation);
        }
    }

    /// The client has waited for long enough. In a session it asks again: whatever became of that
    /// before, it is carried out once.
    pub(crate) fn client_gives_up(&mut self, client: usize, operation: u64) {
        if let Some(open) = self.clients.open.get_mut(&operation)
            && open.request.is_some()
            && open.attempts < ATTEMPTS_MAX
            && self.stormy
        {
            open.uncertain = true;
            return self.attempt(client, operation);
        }
        if self.clients.close(operation, Outcome::Unknown).is_some() {
            self.act_again(client);
        }
    }

    pub(super) fn request(&mut self, node: NodeId, operation: u64, attempt: u64) {
        let Some(open) = self.clients.open(operation) else {
            return;
        };
        match open.mode {
            Some(Mode::Stale) => return self.stale_read_served(node, operation),
            Some(Mode::Linearizable(mode)) => {
                if let Err(refused) = self.process_mut(node).raft.read(operation, mode) {
                    self.client_refused(operation, &refused);
                }
                return;
            }
            None => {}
        }
        let command = open.command(attempt);
        let padding = self.rng.random_range(0..200);
        if self.hosts[&node].disk.full_until_us > self.now_us {
            return self.attempt_failed(operation, attempt);
        }
        let process = self.process_mut(node);
        match process.raft.propose(command.encode(padding)) {
            Ok((term, index)) => {
                process.proposals.insert(index, (term, operation, attempt));
            }
            Err(refused) => {
                self.take_hint(&refused);
                self.attempt_failed(operation, attempt);
            }
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
        let answer = Answer {
            index: at,
            effect: true,
            value,
        };
        self.client_done(operation, answer);
    }

    fn stale_read_served(&mut self, node: NodeId, operation: u64) {
        let machine = &self.process(node).machine;
        let open = self.clients.open(operation).expect("it was just asked");
        let (client, key) = (open.client, open.key);
        let value = machine.registers.get(&key).copied();
        self.laws.shows(node, machine.applied, key, value);
        self.clients.close(operation, Outcome::Ok(value));
        self.clients.finished += 1;
        self.act_again(client);
    }

    pub(crate) fn client_refused(&mut self, operation: u64, refused: &Refused) {
        self.take_hint(refused);
        self.client_failed(operation);
    }

    /// Who leads, as far as who refused knows.
    fn take_hint(&mut self, refused: &Refused) {
        self.clients.leader = match refused {
            Refused::NotLeader { leader } => *leader,
            _ => None,
        };
    }

    fn act_again(&mut self, client: usize) {
        let pause = self.rng.random_range(100..20_000);
        self.schedule(pause, Event::ClientActs { client });
    }
}
