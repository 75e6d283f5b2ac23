//! A look into a data directory that changes nothing, for `ordeal-node inspect`.

use super::error::StorageError;
use super::identity::Identity;
use super::record::Record;
use super::recovery::{self, Place, RecoveryReport};
use super::snapshot::{Snapshot, Snapshots};
use super::{log_dir, segment, snapshots_dir};
use crate::encoding::GroupId;
use raft::{Restored, SnapshotMeta};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// The layout it was written in.
    pub format_version: u32,
    /// Its length in bytes, used or not.
    pub len: u64,
}

/// A snapshot file.
#[derive(Debug)]
pub struct SnapshotReport {
    /// Its file.
    pub path: PathBuf,
    /// Whose it is and what it covers, when every sum was right.
    pub verified: Result<(GroupId, SnapshotMeta), StorageError>,
}

/// What a data directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// Whose it is.
    pub identity: Option<Identity>,
    /// The log's segments.
    pub segments: Vec<SegmentReport>,
    /// What the log holds of each group, or why it cannot be read to its end.
    pub log: Result<(BTreeMap<GroupId, Restored>, RecoveryReport), StorageError>,
    /// The snapshots, every sum verified.
    pub snapshots: Vec<SnapshotReport>,
}

impl Inspection {
    /// Whether a node would start from this directory.
    pub fn is_sound(&self) -> bool {
        self.log.is_ok()
            && self
                .snapshots
                .iter()
                .all(|snapshot| snapshot.verified.is_ok())
    }
}

/// Looks at a directory, and hands each record of the log to `visit` in order.
pub fn inspect(
    dir: &Path,
    visit: impl FnMut(Place, GroupId, &Record),
) -> Result<Inspection, StorageError> {
    let log_dir = log_dir(dir);
    let segments = match segment::list(&log_dir) {
        Ok((sequences, _)) => sequences
            .into_iter()
            .map(|sequence| report(&log_dir, sequence))
            .collect::<Result<_, _>>()?,
        Err(_) if !log_dir.exists() => Vec::new(),
        Err(error) => return Err(error),
    };
    let log = if segments.is_empty() {
        Ok((BTreeMap::new(), RecoveryReport::default()))
    } else {
        recovery::recover(&log_dir, visit).and_then(|recovered| {
            let restored = recovered.ledger.restored().map_err(|(_, what)| {
                let path = log_dir.clone();
                StorageError::Damaged(super::Damage {
                    path,
                    offset: 0,
                    what,
                })
            })?;
            Ok((restored, recovered.report))
        })
    };
    let mut snapshots = Vec::new();
    if snapshots_dir(dir).exists() {
        for path in Snapshots::at(&snapshots_dir(dir)).paths()? {
            let verified = Snapshot::open(&path).and_then(|snapshot| {
                snapshot.verify()?;
                Ok((snapshot.group, snapshot.meta))
            });
            snapshots.push(SnapshotReport { path, verified });
        }
    }
    Ok(Inspection {
        identity: Identity::read(dir)?,
        segments,
        log,
        snapshots,
    })
}

fn report(log_dir: &Path, sequence: u64) -> Result<SegmentReport, StorageError> {
    let path = segment::path(log_dir, sequence);
    let bytes = fs::read(&path).map_err(|e| StorageError::io("read", &path, e))?;
    let format_version = segment::version(&bytes);
    Ok(SegmentReport {
        path,
        format_version,
        len: bytes.len() as u64,
    })
}
