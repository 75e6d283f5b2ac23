//! Reading the log back: what survived, where it goes on, and what must be refused.
//!
//! Two things look alike and must not be confused. A crash may tear the batch that was in flight:
//! nobody was told that it is stable, so it is cut off. A disk may lose bytes that were
//! acknowledged: cutting there would take back a vote or an entry, so the node must not start.
//! The rule is in [`record`]: only the batch with the next number may be torn.

use super::error::{Damage, StorageError};
use super::ledger::Ledger;
use super::record::{self, Record, Slot};
use super::segment;
use crate::encoding::GroupId;
use bytes::Bytes;
use raft::Payload;
use std::fs;
use std::path::{Path, PathBuf};

/// A batch that a crash tore, and that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Segment file.
    pub path: PathBuf,
    /// Where its intact part ends.
    pub offset: u64,
}

/// What reading the log found, for the node's own log lines and for inspection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments with at least one batch.
    pub segments: usize,
    /// Intact records.
    pub records: u64,
    /// Bytes of intact records.
    pub bytes: u64,
    /// What was cut off.
    pub torn: Option<TornTail>,
    /// Whether the log was closed in good order.
    pub closed: bool,
}

/// Where the log goes on.
#[derive(Debug)]
pub(crate) struct Position {
    /// All segments with records, but for the active one.
    pub(crate) sealed: Vec<u64>,
    /// The segment to go on in; it may not exist yet.
    pub(crate) active: u64,
    /// The offset to go on at.
    pub(crate) at: u64,
    /// The number of the next batch.
    pub(crate) batch: u64,
    /// Intact records of the torn batch stand behind the cut: the rest of the segment must be
    /// overwritten, so that they are never taken for part of a later batch.
    pub(crate) leftovers: bool,
    /// Segments after the active one, prepared and not yet used.
    pub(crate) prepared: Vec<u64>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) ledger: Ledger,
    pub(crate) position: Position,
    pub(crate) report: RecoveryReport,
}

/// A record's place, for those who look at the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Segment number.
    pub segment: u64,
    /// Offset in the segment's file, in bytes.
    pub offset: u64,
    /// Batch number.
    pub batch: u64,
}

/// Reads the whole log and hands every record of every complete batch to `visit`.
pub(crate) fn recover(
    dir: &Path,
    mut visit: impl FnMut(Place, GroupId, &Record),
) -> Result<Recovered, StorageError> {
    let (sequences, _) = segment::list(dir)?;
    for pair in sequences.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(StorageError::Missing {
                path: segment::path(dir, pair[0] + 1),
            });
        }
    }
    let first = sequences.first().copied().unwrap_or(1);
    let mut recovered = Recovered {
        ledger: Ledger::default(),
        position: Position {
            sealed: Vec::new(),
            active: first,
            at: segment::HEADER_LEN,
            batch: 1,
            leftovers: false,
            prepared: Vec::new(),
        },
        report: RecoveryReport::default(),
    };
    let mut batch = None;
    for (position, &sequence) in sequences.iter().enumerate() {
        let path = segment::path(dir, sequence);
        let bytes = load(&path)?;
        segment::check_header(&path, sequence, &bytes)?;
        let scan = scan(&bytes, sequence, batch, &mut recovered, &mut visit);
        batch = scan.next_batch;
        recovered.position.batch = batch.unwrap_or(1);
        if scan.sealed {
            recovered.position.sealed.push(sequence);
            recovered.position.active = sequence + 1;
            recovered.position.at = segment::HEADER_LEN;
            continue;
        }
        let later = &sequences[position + 1..];
        finish(dir, &path, sequence, later, &bytes, &scan, &mut recovered)?;
        break;
    }
    Ok(recovered)
}

/// Reads a whole file.
fn load(path: &Path) -> Result<Bytes, StorageError> {
    fs::read(path)
        .map(Bytes::from)
        .map_err(|e| StorageError::io("read", path, e))
}

struct Scan {
    /// The end of the last complete batch.
    end: usize,
    /// Where the first record stands that is not intact, and what is wrong with it.
    stopped: (usize, &'static str),
    next_batch: Option<u64>,
    sealed: bool,
}

/// Reads a segment's complete batches into the ledger.
fn scan(
    bytes: &Bytes,
    segment: u64,
    mut next_batch: Option<u64>,
    recovered: &mut Recovered,
    visit: &mut impl FnMut(Place, GroupId, &Record),
) -> Scan {
    let mut end = segment::HEADER_LEN as usize;
    let mut at = end;
    let mut sealed = false;
    let mut pending = Vec::new();
    let what = loop {
        let mut found = match record::read(bytes, segment, at) {
            Slot::Record(found) => found,
            Slot::Empty => break "nothing is written there",
            Slot::Broken(what) => break what,
        };
        if next_batch.is_some_and(|next| found.batch != next) {
            break "a record of another batch";
        }
        next_batch = Some(found.batch);
        detach(&mut found.record);
        let (start, last) = (at, found.last);
        at = found.end;
        pending.push((start, found));
        if !last {
            continue;
        }
        if end == segment::HEADER_LEN as usize {
            recovered.report.segments += 1;
        }
        for (offset, found) in pending.drain(..) {
            let place = Place {
                segment,
                offset: offset as u64,
                batch: found.batch,
            };
            visit(place, found.group, &found.record);
            recovered.ledger.apply(found.group, &found.record, segment);
            recovered.report.records += 1;
            recovered.report.closed = found.record == Record::Closed;
            sealed |= found.record == Record::Sealed;
        }
        recovered.report.bytes += (at - end) as u64;
        end = at;
        next_batch = next_batch.map(|batch| batch + 1);
        if sealed {
            break "";
        }
    };
    Scan {
        end,
        stopped: (at, what),
        next_batch,
        sealed,
    }
}

/// The segment is not sealed, so it must be the last one that was written to: cuts off what was
/// torn, refuses what was damaged.
fn finish(
    dir: &Path,
    path: &Path,
    sequence: u64,
    later: &[u64],
    bytes: &Bytes,
    scan: &Scan,
    recovered: &mut Recovered,
) -> Result<(), StorageError> {
    let (stopped, what) = scan.stopped;
    let damaged = || {
        let damage = Damage {
            path: path.to_owned(),
            offset: stopped as u64,
            what,
        };
        Err(StorageError::Damaged(damage))
    };
    // With nothing intact before it, not even the log's first record, any later one is proof.
    let torn_batch = scan.next_batch.unwrap_or(0);
    let behind = record::find_from(bytes, sequence, scan.end, torn_batch.max(1));
    match behind {
        Some((_, batch)) if batch > torn_batch => return damaged(),
        Some(_) => recovered.position.leftovers = true,
        None => {}
    }
    for &sequence in later {
        let path = segment::path(dir, sequence);
        let bytes = load(&path)?;
        segment::check_header(&path, sequence, &bytes)?;
        let from = segment::HEADER_LEN as usize;
        if record::find_from(&bytes, sequence, from, torn_batch.max(1)).is_some() {
            return damaged();
        }
        recovered.position.prepared.push(sequence);
    }
    if stopped != scan.end || recovered.position.leftovers || what != "nothing is written there" {
        let torn = TornTail {
            path: path.to_owned(),
            offset: scan.end as u64,
        };
        recovered.report.torn = Some(torn);
    }
    recovered.position.active = sequence;
    recovered.position.at = scan.end as u64;
    Ok(())
}

/// Copies the commands out of the segment's bytes, which they would keep in memory as a whole.
fn detach(record: &mut Record) {
    if let Record::Entries(entries) | Record::Restated(entries) = record {
        for entry in entries {
            if let Payload::Command(command) = &mut entry.payload {
                *command = Bytes::copy_from_slice(command);
            }
        }
    }
}
