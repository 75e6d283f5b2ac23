//! The replicated state: a handful of registers, and a digest of all that was applied.

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

/// A command, with the number of the attempt that proposed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Command {
    pub(crate) attempt: u64,
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
        Command {
            attempt: number(0),
            key: bytes[8],
            action,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) applied: Index,
    pub(crate) digest: u64,
    pub(crate) registers: BTreeMap<u8, u64>,
}

impl Machine {
    /// Applies the next entry. Returns whether its command took effect, and the value before.
    pub(crate) fn apply(&mut self, entry: &Entry) -> (bool, Option<u64>) {
        assert_eq!(
            entry.index,
            self.applied + 1,
            "[applied in order] {entry:?}"
        );
        self.applied = entry.index;
        self.digest = digest_of(&(self.digest, digest_entry(entry)));
        let Payload::Command(bytes) = &entry.payload else {
            return (true, None);
        };
        let command = Command::decode(bytes);
        let value = self.registers.get(&command.key).copied();
        match command.action {
            Action::Read => {}
            Action::Write(new) => {
                self.registers.insert(command.key, new);
            }
            Action::Cas(old, new) if value == Some(old) => {
                self.registers.insert(command.key, new);
            }
            Action::Cas(..) => return (false, value),
        }
        (true, value)
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
