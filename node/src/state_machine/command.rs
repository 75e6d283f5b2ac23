//! What enters the log and what comes out of applying it.
//!
//! A command's first eight bytes are the group's replicated time in milliseconds, stamped by the
//! leader when it proposes; the rest names the operation. Whatever depends on time (leases,
//! sessions) reads that stamp and no clock, so every replica expires the same things at the same
//! log index.

use bytes::{BufMut, Bytes, BytesMut};
use raft::{Index, NodeId, Term};
use serde::{Deserialize, Serialize};

use super::value::Value;

/// Bytes of the time stamp in front of every command.
const STAMP_LEN: usize = 8;

/// One command: an operation, and the session that makes its retries harmless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Set when the client asked for exactly-once.
    pub session: Option<Ticket>,
    /// What to do.
    pub operation: Operation,
}

/// A client's place in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The session.
    pub session: u64,
    /// The request's number in it; a retry keeps its number.
    pub sequence: u64,
}

/// Everything that can be done to a group's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Value,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Sets (or with `None` removes) a key if it is as expected.
    Cas {
        /// The key.
        key: Bytes,
        /// What must hold now.
        expect: Expect,
        /// The new value, or `None` to delete.
        value: Option<Value>,
    },
    /// Several micro-operations, all or nothing.
    Txn(Vec<MicroOp>),
    /// Takes a lease, or extends it when `owner` holds it already.
    Acquire {
        /// The lease.
        name: Bytes,
        /// Who wants it.
        owner: String,
        /// How long it holds without a renewal.
        ttl_ms: u64,
    },
    /// Extends a lease that is still held.
    Renew {
        /// The lease.
        name: Bytes,
        /// Who holds it.
        owner: String,
        /// The fencing token that `Acquire` gave.
        token: u64,
    },
    /// Gives a lease back.
    Release {
        /// The lease.
        name: Bytes,
        /// Who holds it.
        owner: String,
        /// The fencing token that `Acquire` gave.
        token: u64,
    },
    /// Opens a session; without an id, the log index becomes it (group 0 names sessions for all).
    OpenSession {
        /// The id that group 0 gave, in the other groups.
        id: Option<u64>,
    },
    /// Keeps an idle session alive.
    TouchSession {
        /// The session.
        id: u64,
    },
    /// A member shows the incarnation of its disk.
    Register {
        /// The member.
        node: NodeId,
        /// Drawn at random when its data directory was made.
        incarnation: u64,
        /// Whether an operator takes it back although its disk was lost.
        readmit: bool,
    },
}

/// The condition of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Expect {
    /// The key holds this value.
    Value(Value),
    /// The key is absent.
    Absent,
    /// The key was last changed at this revision.
    Revision(u64),
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MicroOp {
    /// The key it touches.
    pub key: Bytes,
    /// What it does there.
    pub action: Action,
}

/// What a step of a transaction does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Reads the key.
    Read,
    /// Sets the key (`None` removes it).
    Write(Option<Value>),
    /// Appends to the list there; an absent key is an empty list.
    Append(Value),
    /// Adds to the integer there; an absent key is 0.
    Add(i64),
    /// Refuses the whole transaction unless the key holds this (`None` = is absent).
    Compare(Option<Value>),
}

/// What became of a command, with where in the log it took effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Log index of the effect.
    pub index: Index,
    /// Term of that entry.
    pub term: Term,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened when a command was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The key has a new value (or is gone) as of this revision.
    Written {
        /// The group's revision after the change.
        revision: u64,
    },
    /// The key is gone.
    Deleted {
        /// Whether there was something to delete.
        existed: bool,
    },
    /// The transaction took effect; what each step saw or left, in order.
    Committed(Vec<Option<Value>>),
    /// The lease is held.
    Held {
        /// Grows with every new holder: a resource refuses smaller ones.
        token: u64,
        /// How long it holds from the entry's time on.
        ttl_ms: u64,
    },
    /// The lease was given back.
    Released,
    /// The session is open.
    Session {
        /// Its id.
        id: u64,
    },
    /// The member is known by this incarnation.
    Registered,
    /// Nothing changed.
    Refused(Refusal),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// The key was not as expected.
    Mismatch {
        /// The key that differed.
        key: Bytes,
        /// What it holds.
        actual: Option<Value>,
        /// The revision it has, 0 when absent.
        revision: u64,
    },
    /// A step of a transaction met a value of another kind.
    WrongKind {
        /// The key.
        key: Bytes,
        /// What the step needed.
        wanted: Kind,
    },
    /// Somebody else holds the lease.
    LeaseHeld {
        /// The holder.
        owner: String,
        /// How long it holds unless renewed.
        remaining_ms: u64,
    },
    /// The lease is no longer the caller's.
    LeaseLost,
    /// The session is unknown: it expired or never was.
    SessionExpired,
    /// So many later requests of the session were answered that this one's answer is gone.
    SequenceForgotten,
    /// The table of sessions is full.
    TooManySessions,
    /// The member is known by another incarnation: its disk was lost.
    Wiped,
}

/// What a step of a transaction needs to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A JSON list.
    List,
    /// An integer whose sum with the step's still fits 64 bits.
    Integer,
}

impl Command {
    /// The command as it enters the log, its time stamp still to be set.
    pub fn encode(&self) -> BytesMut {
        // The commonest command is allocated once, and no larger than it is: it stays in the log.
        let content = match &self.operation {
            Operation::Put { key, value } => key.len() + value.bytes().len(),
            _ => 0,
        };
        let mut bytes = BytesMut::with_capacity(STAMP_LEN + 32 + content);
        bytes.put_u64_le(0);
        let mut writer = bytes.writer();
        postcard::to_io(self, &mut writer).expect("a command always encodes");
        writer.into_inner()
    }

    /// The replicated time and the command of a log entry.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Command), postcard::Error> {
        let (stamp, rest) = bytes
            .split_first_chunk()
            .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        Ok((u64::from_le_bytes(*stamp), postcard::from_bytes(rest)?))
    }
}

/// Sets the replicated time of an encoded command. Says whether it was long enough to have one.
pub fn stamp(command: &mut [u8], now_ms: u64) -> bool {
    let Some(stamp) = command.first_chunk_mut::<STAMP_LEN>() else {
        return false;
    };
    *stamp = now_ms.to_le_bytes();
    true
}
