//! How Raft's values become bytes, once for the log and once more for the wire.
//!
//! Both the write-ahead log and the peer links carry entries and configurations, and both must be
//! read back by a later version of this program, so their shape is written down here by hand
//! rather than left to a derive: integers are LEB128 varints, byte strings are length-prefixed,
//! and a decoder never allocates more than the bytes it was handed.

use bytes::Bytes;
use raft::{Configuration, Entry, HardState, Index, NodeId, Payload, SnapshotMeta, Term};
use std::collections::{BTreeMap, BTreeSet};

/// Names one of the Raft groups that a node runs.
pub type GroupId = u32;

/// Bytes that are not what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Appends an unsigned integer as a LEB128 varint: 1 byte below 128, 10 at most.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-prefixed byte string.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over bytes that were received or read; what it hands out shares their allocation.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    /// How many bytes are still unread.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Refuses what is left over, so that two different byte strings never mean the same.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(Malformed("trailing bytes"))
        }
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed("end of bytes"))?;
        self.at += 1;
        Ok(byte)
    }

    /// A flag: 0 or 1 and nothing else.
    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("flag")),
        }
    }

    /// A varint; one that would not fit 64 bits is refused.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Malformed("varint"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("varint"))
    }

    /// A count of things that take at least `least_len` bytes each, checked against what is left.
    pub(crate) fn count(&mut self, least_len: usize) -> Result<usize, Malformed> {
        let count = self.varint()?;
        if count > (self.remaining() / least_len.max(1)) as u64 {
            return Err(Malformed("count"));
        }
        Ok(count as usize)
    }

    /// A length-prefixed byte string, shared and not copied.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let len = self.count(1)?;
        let bytes = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Ok(bytes)
    }

    /// All that is left, shared and not copied.
    pub(crate) fn rest(&mut self) -> Bytes {
        let bytes = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        bytes
    }
}

/// Appends term and vote.
pub(crate) fn put_hard_state(out: &mut Vec<u8>, hard_state: HardState) {
    put_varint(out, hard_state.term);
    match hard_state.vote {
        None => out.push(0),
        Some(vote) => {
            out.push(1);
            put_varint(out, vote);
        }
    }
}

/// Reads term and vote.
pub(crate) fn hard_state(reader: &mut Reader) -> Result<HardState, Malformed> {
    let term = reader.varint()?;
    let vote = if reader.flag()? {
        Some(reader.varint()?)
    } else {
        None
    };
    Ok(HardState { term, vote })
}

const EMPTY: u8 = 0;
const COMMAND: u8 = 1;
const CONFIGURATION: u8 = 2;

/// The bytes that an entry takes at most beside its command: a term, a kind and a length.
pub(crate) const ENTRY_OVERHEAD_MAX: usize = 10 + 1 + 10;

/// Appends entries whose indexes follow one another; only the first index is written.
pub(crate) fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(out, entries.first().map_or(0, |entry| entry.index));
    put_varint(out, entries.len() as u64);
    for (offset, entry) in entries.iter().enumerate() {
        assert_eq!(
            entry.index,
            entries[0].index + offset as u64,
            "entries must be contiguous"
        );
        put_varint(out, entry.term);
        match &entry.payload {
            Payload::Empty => out.push(EMPTY),
            Payload::Command(command) => {
                out.push(COMMAND);
                put_bytes(out, command);
            }
            Payload::Configuration(configuration) => {
                out.push(CONFIGURATION);
                put_configuration(out, configuration);
            }
        }
    }
}

/// Reads entries; their commands share the reader's allocation.
pub(crate) fn entries(reader: &mut Reader) -> Result<Vec<Entry>, Malformed> {
    let first: Index = reader.varint()?;
    let count = reader.count(2)?;
    if first == 0 && count > 0 || first.checked_add(count as u64).is_none() {
        return Err(Malformed("entry index"));
    }
    let mut entries = Vec::with_capacity(count.min(4096));
    for offset in 0..count as u64 {
        let term: Term = reader.varint()?;
        let payload = match reader.byte()? {
            EMPTY => Payload::Empty,
            COMMAND => Payload::Command(reader.bytes()?),
            CONFIGURATION => Payload::Configuration(Box::new(configuration(reader)?)),
            _ => return Err(Malformed("entry kind")),
        };
        entries.push(Entry {
            index: first + offset,
            term,
            payload,
        });
    }
    Ok(entries)
}

/// An entry's size on the wire, near enough to cut batches by.
pub(crate) fn entry_len(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_MAX
        + match &entry.payload {
            Payload::Empty => 0,
            Payload::Command(command) => command.len(),
            Payload::Configuration(configuration) => {
                let members = configuration.voters.len()
                    + configuration.outgoing.len()
                    + configuration.learners.len()
                    + configuration.learners_next.len()
                    + configuration.joining.len();
                let context: usize = configuration
                    .context
                    .values()
                    .map(|value| value.len() + 20)
                    .sum();
                64 + members * 10 + context
            }
        }
}

/// Appends a configuration with its context.
pub(crate) fn put_configuration(out: &mut Vec<u8>, configuration: &Configuration) {
    let Configuration {
        voters,
        outgoing,
        learners,
        learners_next,
        joining,
        auto_leave,
        context,
    } = configuration;
    for ids in [voters, outgoing, learners, learners_next, joining] {
        put_varint(out, ids.len() as u64);
        for &id in ids {
            put_varint(out, id);
        }
    }
    out.push(u8::from(*auto_leave));
    put_varint(out, context.len() as u64);
    for (&id, value) in context {
        put_varint(out, id);
        put_bytes(out, value);
    }
}

/// Reads a configuration.
pub(crate) fn configuration(reader: &mut Reader) -> Result<Configuration, Malformed> {
    let mut ids = || -> Result<BTreeSet<NodeId>, Malformed> {
        let count = reader.count(1)?;
        (0..count).map(|_| reader.varint()).collect()
    };
    let (voters, outgoing, learners) = (ids()?, ids()?, ids()?);
    let (learners_next, joining) = (ids()?, ids()?);
    let auto_leave = reader.flag()?;
    let mut context = BTreeMap::new();
    for _ in 0..reader.count(2)? {
        let id = reader.varint()?;
        // Copied: a configuration lives long and must not pin the frame it came in.
        let value = Bytes::copy_from_slice(&reader.bytes()?);
        context.insert(id, value);
    }
    Ok(Configuration {
        voters,
        outgoing,
        learners,
        learners_next,
        joining,
        auto_leave,
        context,
    })
}

/// Appends what a snapshot says about itself.
pub(crate) fn put_snapshot_meta(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    put_varint(out, meta.index);
    put_varint(out, meta.term);
    put_configuration(out, &meta.configuration);
}

/// Reads what a snapshot says about itself.
pub(crate) fn snapshot_meta(reader: &mut Reader) -> Result<SnapshotMeta, Malformed> {
    let (index, term) = (reader.varint()?, reader.varint()?);
    Ok(SnapshotMeta {
        index,
        term,
        configuration: configuration(reader)?,
    })
}
