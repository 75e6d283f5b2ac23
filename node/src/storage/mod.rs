//! What a node keeps on its disk: one log for all groups, snapshots, and whose they are.
//!
//! ```text
//! DIR/identity.json             cluster, node, incarnation: written once
//! DIR/lock                      held by the process that uses the directory
//! DIR/log/SEQUENCE.wal          segments of the log; SEQUENCE.spare wait to be overwritten
//! DIR/snapshots/GROUP-INDEX-TERM.snap
//! ```
//!
//! Everything is checksummed; nothing is believed after a crash that was not synced before; and
//! what was acknowledged and cannot be read any more stops the node rather than be forgotten.

mod disk;
mod error;
mod identity;
mod inspect;
mod ledger;
mod record;
mod recovery;
mod segment;
pub mod snapshot;
mod wal;
mod writer;

#[cfg(test)]
mod tests;

pub use crate::encoding::GroupId;
pub use error::{Damage, StorageError};
pub use identity::Identity;
pub use inspect::{Inspection, SegmentReport, SnapshotReport, inspect};
pub use record::Record;
pub use recovery::{Place, RecoveryReport, TornTail};
pub use snapshot::Snapshots;
pub use wal::{Append, Wal, WalOptions};

pub(crate) use disk::{Disk, HeedlessDisk, RealDisk, UnsyncedDisk};
use identity::Lock;
use raft::Restored;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An opened data directory.
#[derive(Debug)]
pub struct Storage {
    /// Whose it is.
    pub identity: Identity,
    /// The log.
    pub wal: Wal,
    /// The snapshots.
    pub snapshots: Snapshots,
    /// What the log held of each group; a group that never wrote anything is missing.
    pub restored: BTreeMap<GroupId, Restored>,
    /// How reading the log went.
    pub report: RecoveryReport,
    /// Keeps others out for as long as this lives.
    pub lock: DirectoryLock,
}

/// Holds the directory's lock; drop it last.
#[derive(Debug)]
pub struct DirectoryLock(#[allow(dead_code, reason = "held, not read")] Lock);

impl Storage {
    /// Opens a node's directory, or makes a new one: reads the log, cuts off what a crash tore,
    /// refuses what is damaged, starts the log's thread.
    pub fn open(
        dir: &Path,
        cluster: &str,
        node: u64,
        options: WalOptions,
    ) -> Result<Storage, StorageError> {
        Storage::open_on(Arc::new(RealDisk), dir, cluster, node, options)
    }

    /// The same on a disk of one's choice.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        cluster: &str,
        node: u64,
        options: WalOptions,
    ) -> Result<Storage, StorageError> {
        let log_dir = log_dir(dir);
        for dir in [dir, &log_dir] {
            fs::create_dir_all(dir).map_err(|e| StorageError::io("make", dir, e))?;
        }
        let lock = Lock::take(dir)?;
        let identity = Identity::claim(dir, cluster, node)?;
        let snapshots = Snapshots::open(&snapshots_dir(dir))?;
        segment::sync_dir(dir)?;
        let recovered = recovery::recover(&log_dir, |_, _, _| {})?;
        let restored = recovered.ledger.restored().map_err(|(group, what)| {
            tracing::error!(group, "{what}");
            StorageError::Damaged(Damage {
                path: log_dir.clone(),
                offset: 0,
                what,
            })
        })?;
        for (&group, restored) in &restored {
            if let Some(meta) = &restored.snapshot {
                snapshots.require(group, meta)?;
            }
        }
        let wal = Wal::start(
            &log_dir,
            disk,
            &recovered.position,
            recovered.ledger,
            options,
        )?;
        let report = recovered.report;
        Ok(Storage {
            identity,
            wal,
            snapshots,
            restored,
            report,
            lock: DirectoryLock(lock),
        })
    }
}

fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn snapshots_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}
