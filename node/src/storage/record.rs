//! Records of the write-ahead log and the batches that they come in, as pure functions of bytes.
//!
//! No file is touched here, so that whatever simulates a disk can run the very code that a real
//! one will be read with.
//!
//! ```text
//! record  = crc32c u32 | payload length u32 | batch u64 | group u32 | kind u8 | flags u8 | 0 u16
//!           | payload | zeros up to a multiple of 8                          (little endian)
//! batch   = record+ , the last one flagged LAST
//! ```
//!
//! A **batch** is what one write and one fsync put on the disk: it is there whole or it is not
//! there. Batches are numbered without gaps over the whole log, and only one is in flight at any
//! time. That is what tells a torn tail from damage: after a crash only the batch with the next
//! number may be broken, so an intact record of a *later* batch behind a broken one proves that
//! bytes went bad which had been acknowledged.
//!
//! The checksum starts from the segment's number: what a recycled file still holds of its former
//! life never passes.

use crate::encoding::{self, GroupId, Malformed, Reader};
use bytes::Bytes;
use raft::{Entry, HardState, Index, SnapshotMeta};

/// The bytes before a record's payload.
pub(crate) const HEADER_LEN: usize = 24;
/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// Flag of a batch's last record.
const LAST: u8 = 1;

/// One thing that the log remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The group's term and vote.
    HardState(HardState),
    /// The group's entries from this index on are gone.
    Truncate(Index),
    /// Entries that replace whatever the log held from the first one's index on.
    Entries(Vec<Entry>),
    /// Entries that the log already held, written once more so that an old segment can go.
    /// They replace nothing.
    Restated(Vec<Entry>),
    /// A snapshot up to this point is stable in a file of its own; entries up to it are gone.
    Snapshot(SnapshotMeta),
    /// Whether the node lost its disk and may not vote in this group until readmitted.
    Wiped(bool),
    /// A process opened the log: the version of the program.
    Opened(String),
    /// The process closed the log in good order; nothing was in flight.
    Closed,
    /// The segment is complete: what follows is in the next one.
    Sealed,
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Record::HardState(_) => 1,
            Record::Truncate(_) => 2,
            Record::Entries(_) => 3,
            Record::Restated(_) => 4,
            Record::Snapshot(_) => 5,
            Record::Wiped(_) => 6,
            Record::Opened(_) => 7,
            Record::Closed => 8,
            Record::Sealed => 9,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::HardState(hard_state) => encoding::put_hard_state(out, *hard_state),
            Record::Truncate(from) => encoding::put_varint(out, *from),
            Record::Entries(entries) | Record::Restated(entries) => {
                encoding::put_entries(out, entries);
            }
            Record::Snapshot(meta) => encoding::put_snapshot_meta(out, meta),
            Record::Wiped(wiped) => out.push(u8::from(*wiped)),
            Record::Opened(version) => out.extend_from_slice(version.as_bytes()),
            Record::Closed | Record::Sealed => {}
        }
    }

    fn decode(kind: u8, payload: Bytes) -> Result<Record, Malformed> {
        let mut reader = Reader::new(payload);
        let record = match kind {
            1 => Record::HardState(encoding::hard_state(&mut reader)?),
            2 => Record::Truncate(reader.varint()?),
            3 => Record::Entries(encoding::entries(&mut reader)?),
            4 => Record::Restated(encoding::entries(&mut reader)?),
            5 => Record::Snapshot(encoding::snapshot_meta(&mut reader)?),
            6 => Record::Wiped(reader.flag()?),
            7 => Record::Opened(
                String::from_utf8(reader.rest().to_vec()).map_err(|_| Malformed("version"))?,
            ),
            8 => Record::Closed,
            9 => Record::Sealed,
            _ => return Err(Malformed("record kind")),
        };
        reader.finish()?;
        Ok(record)
    }

    /// Room that the record takes in a segment, rounded up; never less than it really takes.
    pub(crate) fn len_max(&self) -> usize {
        let payload = match self {
            Record::Entries(entries) | Record::Restated(entries) => {
                20 + entries.iter().map(encoding::entry_len).sum::<usize>()
            }
            Record::Snapshot(_) => {
                let mut out = Vec::new();
                self.encode(&mut out);
                out.len()
            }
            Record::Opened(version) => version.len(),
            _ => 24,
        };
        HEADER_LEN + payload.next_multiple_of(ALIGNMENT)
    }
}

/// Builds the bytes of one batch.
#[derive(Debug)]
pub(crate) struct BatchEncoder {
    bytes: Vec<u8>,
    segment: u64,
    batch: u64,
    /// Where the last record starts: it is closed when it is known whether another follows.
    open: Option<usize>,
}

impl BatchEncoder {
    /// Starts a batch in a segment, reusing a buffer.
    pub(crate) fn new(mut buffer: Vec<u8>, segment: u64, batch: u64) -> BatchEncoder {
        buffer.clear();
        BatchEncoder {
            bytes: buffer,
            segment,
            batch,
            open: None,
        }
    }

    /// How many bytes the batch has so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was pushed yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, group: GroupId, record: &Record) {
        self.close(0);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_LEN]);
        record.encode(&mut self.bytes);
        let len = (self.bytes.len() - start - HEADER_LEN) as u32;
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let header = &mut self.bytes[start..start + HEADER_LEN];
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[8..16].copy_from_slice(&self.batch.to_le_bytes());
        header[16..20].copy_from_slice(&group.to_le_bytes());
        header[20] = record.kind();
        self.open = Some(start);
    }

    /// Closes the batch; its bytes end with an empty header, which marks the end of the log until
    /// the next batch overwrites it. Returns the bytes and how many of them are the batch's own.
    pub(crate) fn finish(mut self) -> (Vec<u8>, usize) {
        self.close(LAST);
        let len = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_LEN]);
        (self.bytes, len)
    }

    fn close(&mut self, flags: u8) {
        if let Some(start) = self.open.take() {
            self.bytes[start + 21] = flags;
            let crc = checksum(self.segment, &self.bytes[start + 4..]);
            self.bytes[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), bytes)
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) group: GroupId,
    pub(crate) batch: u64,
    pub(crate) last: bool,
    pub(crate) record: Record,
    /// Where the next record would start.
    pub(crate) end: usize,
}

/// What stands at an offset of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// An intact record.
    Record(Found),
    /// Nothing was written here: an empty header, or less room than one takes.
    Empty,
    /// Bytes that are no intact record.
    Broken(&'static str),
}

/// Reads what stands at an offset of a segment's bytes.
pub(crate) fn read(bytes: &Bytes, segment: u64, at: usize) -> Slot {
    let Some(header) = bytes.get(at..at + HEADER_LEN) else {
        return Slot::Empty;
    };
    if header.iter().all(|&byte| byte == 0) {
        return Slot::Empty;
    }
    let Some((end, payload_end)) = extent(bytes, at) else {
        return Slot::Broken("record length");
    };
    if checksum(segment, &bytes[at + 4..end]) != number(&header[..4]) as u32 {
        return Slot::Broken("checksum");
    }
    if header[21] > LAST || header[22..24] != [0, 0] {
        return Slot::Broken("record flags");
    }
    match Record::decode(header[20], bytes.slice(at + HEADER_LEN..payload_end)) {
        Ok(record) => Slot::Record(Found {
            group: number(&header[16..20]) as u32,
            batch: number(&header[8..16]),
            last: header[21] == LAST,
            record,
            end,
        }),
        Err(Malformed(what)) => Slot::Broken(what),
    }
}

/// Looks for an intact record of this batch or a later one, from an offset on: its offset and
/// its batch, the latest batch first.
pub(crate) fn find_from(
    bytes: &Bytes,
    segment: u64,
    from: usize,
    batch_min: u64,
) -> Option<(usize, u64)> {
    let mut found: Option<(usize, u64)> = None;
    let mut at = from.next_multiple_of(ALIGNMENT);
    while let Some(header) = bytes.get(at..at + HEADER_LEN) {
        let batch = number(&header[8..16]);
        // Cheap tests first: nearly all of a tail is zeros, or records of a former life.
        let plausible = batch >= batch_min && header[21] <= LAST && header[22..24] == [0, 0];
        if plausible
            && let Some((end, _)) = extent(bytes, at)
            && checksum(segment, &bytes[at + 4..end]) == number(&header[..4]) as u32
        {
            if found.is_none_or(|(_, latest)| batch > latest) {
                found = Some((at, batch));
            }
            at = end;
        } else {
            at += ALIGNMENT;
        }
    }
    found
}

/// Where the record at this offset ends, with and without its padding, if that is in the segment.
fn extent(bytes: &Bytes, at: usize) -> Option<(usize, usize)> {
    let len = number(bytes.get(at + 4..at + 8)?) as usize;
    let payload_end = at + HEADER_LEN + len;
    let end = payload_end.next_multiple_of(ALIGNMENT);
    (end <= bytes.len()).then_some((end, payload_end))
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}
