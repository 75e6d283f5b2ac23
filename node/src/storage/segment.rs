//! Segment files: their names, their header, and how they are made ready to be overwritten.
//!
//! A segment is written with zeros and synced before it is used, and recycled when nothing in it
//! is needed any more: overwriting blocks that the file system has already allocated makes a
//! `fdatasync` one write and no journal commit, which on the disks this was measured on takes
//! about two thirds of the time that an append takes.

use super::error::{Damage, StorageError};
use super::record;
use rustix::fs::fsync;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The layout of segments that this program writes; it also reads every older one.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The header has a page of its own, which is never written again.
pub(crate) const HEADER_LEN: u64 = 4096;
const MAGIC: &[u8; 8] = b"ORDEALWL";
/// Enough to write zeros quickly without holding much memory.
const ZEROS_LEN: usize = 1 << 18;

/// The path of a segment.
pub(crate) fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}.wal"))
}

/// The path of a segment that is kept to be overwritten.
pub(crate) fn spare_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}.spare"))
}

/// The segments and the spares in a folder, each in ascending order; what is half made is deleted.
pub(crate) fn list(dir: &Path) -> Result<(Vec<u64>, Vec<PathBuf>), StorageError> {
    let (mut segments, mut spares) = (Vec::new(), Vec::new());
    let entries = fs::read_dir(dir).map_err(|e| StorageError::io("list", dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| StorageError::io("list", dir, e))?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wal") => {
                let stem = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .unwrap_or_default();
                let sequence = u64::from_str_radix(stem, 16).map_err(|_| {
                    StorageError::io("recognise", &path, io::Error::other("not a segment's name"))
                })?;
                segments.push(sequence);
            }
            Some("spare") => spares.push(path),
            _ => {}
        }
    }
    segments.sort_unstable();
    spares.sort_unstable();
    Ok((segments, spares))
}

/// Makes the folder's entries durable: a new, renamed or deleted file survives a crash only then.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    let sync = || fsync(File::open(dir)?).map_err(io::Error::from);
    sync().map_err(|e| StorageError::io("sync", dir, e))
}

/// Makes a segment ready to be written: allocated, headed, synced and under its name.
///
/// A spare is renamed and keeps its old bytes, which the new number keeps from being believed;
/// without one a file is filled with zeros. On a full disk nothing is left behind.
pub(crate) fn prepare(
    dir: &Path,
    sequence: u64,
    len: u64,
    spare: Option<&Path>,
) -> Result<File, StorageError> {
    let target = path(dir, sequence);
    let aside = match spare {
        Some(spare) => spare.to_owned(),
        None => dir.join(format!("{sequence:016x}.new")),
    };
    let make = || -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&aside)?;
        // A spare of another size is filled up or cut to this one.
        let allocated = file.metadata()?.len();
        fill(&file, allocated.min(len), len)?;
        file.set_len(len)?;
        file.write_all_at(&header(sequence), 0)?;
        file.sync_all()?;
        fs::rename(&aside, &target)?;
        Ok(file)
    };
    let file = make().map_err(|e| {
        if spare.is_none() {
            let _ = fs::remove_file(&aside);
        }
        StorageError::io("prepare", &target, e)
    })?;
    sync_dir(dir)?;
    Ok(file)
}

fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    let mut at = from;
    while at < to {
        let len = (to - at).min(ZEROS_LEN as u64);
        file.write_all_at(&zeros[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

/// The header's page, and behind it the empty record that marks the log's end.
fn header(sequence: u64) -> Vec<u8> {
    let mut header = vec![0; HEADER_LEN as usize + record::HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32c::crc32c(&header[..20]);
    header[20..24].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The format version that a segment's header names; 0 when there is none.
pub(crate) fn version(bytes: &[u8]) -> u32 {
    let word = bytes.get(8..12).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}

/// Makes sure that a segment is one that this program reads.
pub(crate) fn check_header(path: &Path, sequence: u64, bytes: &[u8]) -> Result<(), StorageError> {
    let damaged = |offset, what| {
        StorageError::Damaged(Damage {
            path: path.to_owned(),
            offset,
            what,
        })
    };
    let header = bytes.get(..24).ok_or_else(|| damaged(0, "no header"))?;
    if &header[..8] != MAGIC {
        return Err(damaged(0, "not a log segment"));
    }
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    // The version comes before the checksum: a newer format may sum its header differently.
    let version = version(bytes);
    if version > FORMAT_VERSION {
        return Err(StorageError::Newer {
            path: path.to_owned(),
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    if crc32c::crc32c(&header[..20]) != word(20) {
        return Err(damaged(8, "header checksum"));
    }
    if u64::from_le_bytes(header[12..20].try_into().expect("eight bytes")) != sequence {
        return Err(damaged(12, "another segment's number"));
    }
    Ok(())
}
