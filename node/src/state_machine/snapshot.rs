//! The state as a stream of bytes and back.
//!
//! A header, then each table as a count and length-prefixed records in key order, so neither side
//! ever holds more than one record beside the state itself. The sums that guard the bytes are the
//! storage's business.

use std::io::{self, Read, Write};

use imbl::OrdMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;
use super::session::Sessions;

/// Raised with every change of the layout; an older one is read, a newer one refused.
const VERSION: u32 = 1;
/// No record is larger: a longer length is damage, not a reason to allocate.
const RECORD_LEN_MAX: u32 = 256 << 20;

/// Why bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Reading or writing failed, or the bytes ended early.
    #[error("the snapshot's bytes could not be read or written")]
    Io(#[from] io::Error),
    /// A record does not decode.
    #[error("a record of the snapshot does not decode")]
    Record(#[from] postcard::Error),
    /// Written by a newer node.
    #[error("the snapshot has format version {0}, this node reads up to {VERSION}: upgrade it")]
    Newer(u32),
    /// A record claims to be larger than any can be.
    #[error("a record of the snapshot claims {0} bytes")]
    Oversized(u32),
}

impl State {
    /// Writes the whole state.
    pub fn write_to(&self, out: &mut impl Write) -> Result<(), SnapshotError> {
        out.write_all(&VERSION.to_le_bytes())?;
        let mut scratch = Vec::new();
        write_record(
            out,
            &mut scratch,
            &(self.applied, self.clock_ms, self.revision),
        )?;
        write_record(out, &mut scratch, &self.sessions.swept_ms)?;
        write_map(out, &mut scratch, &self.sessions.open)?;
        write_map(out, &mut scratch, &self.incarnations)?;
        write_map(out, &mut scratch, &self.leases)?;
        write_map(out, &mut scratch, &self.records)?;
        Ok(())
    }

    /// Reads what [`State::write_to`] wrote.
    pub fn read_from(input: &mut impl Read) -> Result<State, SnapshotError> {
        let mut version = [0; 4];
        input.read_exact(&mut version)?;
        let version = u32::from_le_bytes(version);
        if version > VERSION {
            return Err(SnapshotError::Newer(version));
        }
        let mut scratch = Vec::new();
        let (applied, clock_ms, revision) = read_record(input, &mut scratch)?;
        let swept_ms = read_record(input, &mut scratch)?;
        let sessions = Sessions {
            swept_ms,
            open: read_map(input, &mut scratch)?,
        };
        let incarnations = read_map(input, &mut scratch)?;
        let leases = read_map(input, &mut scratch)?;
        let records: OrdMap<bytes::Bytes, super::Record> = read_map(input, &mut scratch)?;
        let size_bytes = records
            .iter()
            .map(|(key, record)| (key.len() + record.value.bytes().len()) as u64)
            .sum();
        Ok(State {
            applied,
            clock_ms,
            revision,
            size_bytes,
            records,
            leases,
            sessions,
            incarnations,
            forgets_sessions: false,
        })
    }
}

fn write_map<K: Serialize + Ord, V: Serialize>(
    out: &mut impl Write,
    scratch: &mut Vec<u8>,
    map: &OrdMap<K, V>,
) -> Result<(), SnapshotError> {
    out.write_all(&(map.len() as u64).to_le_bytes())?;
    map.iter()
        .try_for_each(|entry| write_record(out, scratch, &entry))
}

fn read_map<K, V>(
    input: &mut impl Read,
    scratch: &mut Vec<u8>,
) -> Result<OrdMap<K, V>, SnapshotError>
where
    K: DeserializeOwned + Ord + Clone,
    V: DeserializeOwned + Clone,
{
    let mut count = [0; 8];
    input.read_exact(&mut count)?;
    (0..u64::from_le_bytes(count))
        .map(|_| read_record(input, scratch))
        .collect()
}

fn write_record<T: Serialize>(
    out: &mut impl Write,
    scratch: &mut Vec<u8>,
    record: &T,
) -> Result<(), SnapshotError> {
    scratch.clear();
    postcard::to_io(record, &mut *scratch)?;
    out.write_all(&(scratch.len() as u32).to_le_bytes())?;
    out.write_all(scratch)?;
    Ok(())
}

fn read_record<T: DeserializeOwned>(
    input: &mut impl Read,
    scratch: &mut Vec<u8>,
) -> Result<T, SnapshotError> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > RECORD_LEN_MAX {
        return Err(SnapshotError::Oversized(length));
    }
    scratch.clear();
    if input
        .by_ref()
        .take(u64::from(length))
        .read_to_end(scratch)?
        < length as usize
    {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(postcard::from_bytes(scratch)?)
}
