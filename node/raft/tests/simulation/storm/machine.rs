//! The replicated state: a handful of registers, what each session asked for last, and a digest of all
//! that was applied.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{BufMut, Bytes, BytesMut};
use raft::{Entry, Index, Payload};

/// What a client asks of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Read,
    Write(u64),
    Cas(u64, u64),
}

/// What makes a command the same when it is proposed again: who asks, and for the how manieth time.
pub(crate) type Request = (u64, u64);

/// A command, with the number of the attempt that proposed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Command {
    pub(crate) attempt: u64,
    /// The request of a session; none, when it is to take effect each time.
    pub(crate) request: Option<Request>,
    pub(crate) key: u8,
    pub(crate) action: Action,
}

impl Command {
    pub(crate) fn encode(self, padding: usize) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64(self.attempt);
        bytes.put_u8(self.key);
        let (kind, first, second) = match self.action {
            Action::Read => (0, 0, 0),
            Action::Write(value) => (1, value, 0),
            Action::Cas(old, new) => (2, old, new),
        };
        bytes.put_u8(kind);
        bytes.put_u64(first);
        bytes.put_u64(second);
        let (session, sequence) = self.request.unwrap_or_default();
        bytes.put_u64(session);
        bytes.put_u64(sequence);
        bytes.put_bytes(0, padding);
        bytes.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Command {
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let action = match bytes[9] {
            0 => Action::Read,
            1 => Action::Write(number(10)),
            _ => Action::Cas(number(10), number(18)),
        };
        let request = (number(26), number(34));
        Command {
            attempt: number(0),
            request: (request != Request::default()).then_some(request),
            key: bytes[8],
            action,
        }
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Where it was carried out: for a request that was there before, then.
    pub(crate) index: Index,
    pub(crate) effect: bool,
    /// The value before.
    pub(crate) value: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) applied: Index,
    pub(crate) digest: u64,
    pub(crate) registers: BTreeMap<u8, u64>,
    /// The latest request of each session, and its answer.
    pub(crate) sessions: BTreeMap<u64, (u64, Answer)>,
}

impl Machine {
    /// Applies the next entry.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Answer {
        assert_eq!(
            entry.index,
            self.applied + 1,
            "[applied in order] {entry:?}"
        );
        self.applied = entry.index;
        self.digest = digest_of(&(self.digest, digest_entry(entry)));
        let Payload::Command(bytes) = &entry.payload else {
            return Answer {
                index: entry.index,
                effect: true,
                value: None,
            };
        };
        let command = Command::decode(bytes);
        if let Some((session, sequence)) = command.request
            && let Some((latest, answer)) = self.sessions.get(&session)
            && sequence <= *latest
        {
            // Who asked for something later waits for no earlier answer.
            return *answer;
        }
        let answer = self.carry_out(command, entry.index);
        if let Some((session, sequence)) = command.request {
            self.sessions.insert(session, (sequence, answer));
        }
        answer
    }

    fn carry_out(&mut self, command: Command, index: Index) -> Answer {
        let value = self.registers.get(&command.key).copied();
        let new = match command.action {
            Action::Read => value,
            Action::Write(new) => Some(new),
            Action::Cas(old, new) => (value == Some(old)).then_some(new),
        };
        if let Some(new) = new {
            self.registers.insert(command.key, new);
        }
        Answer {
            index,
            effect: new.is_some() || command.action == Action::Read,
            value,
        }
    }
}

pub(crate) fn digest_entry(entry: &Entry) -> u64 {
    match &entry.payload {
        Payload::Empty => digest_of(&(entry.index, entry.term)),
        Payload::Command(bytes) => digest_of(&(entry.index, entry.term, bytes)),
        Payload::Configuration(configuration) => digest_of(&(
            entry.index,
            entry.term,
            &configuration.voters,
            &configuration.outgoing,
            &configuration.learners,
            &configuration.context,
        )),
    }
}

pub(crate) fn digest_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
