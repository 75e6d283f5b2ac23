//! What can go wrong with a data directory, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Where stored bytes went bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// Byte offset in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// An error of the data directory.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error(
        "{} is in use by another process; stop it first, or give this node a directory of its own",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory belongs to another node or cluster.
    #[error(
        "{} belongs to node {found_id} of cluster {found_cluster:?}, not to node {id} of cluster \
         {cluster:?}; give each node a directory of its own",
        path.display()
    )]
    Foreign {
        /// The identity file.
        path: PathBuf,
        /// The node id found.
        found_id: u64,
        /// The cluster found.
        found_cluster: String,
        /// The node id expected.
        id: u64,
        /// The cluster expected.
        cluster: String,
    },
    /// A newer program wrote this.
    #[error(
        "{} has format version {found}, this program reads versions up to {supported}; start it \
         with the program that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version that is understood.
        supported: u32,
    },
    /// Acknowledged bytes went bad. Cutting the log there would forget votes or entries that the
    /// cluster relies on.
    #[error(
        "{} is damaged at offset {}: {}. What stands there had been acknowledged, so it is not cut \
         off. To rebuild this node from the others: remove it from the cluster's membership, move \
         its data directory away, and add it again",
        .0.path.display(), .0.offset, .0.what
    )]
    Damaged(Damage),
    /// A segment between others is gone.
    #[error(
        "{} is missing though later segments are there. To rebuild this node from the others: \
         remove it from the cluster's membership, move its data directory away, and add it again",
        path.display()
    )]
    Missing {
        /// The segment that should be there.
        path: PathBuf,
    },
    /// One record would not fit a segment.
    #[error("an entry of {len} bytes does not fit a log segment, which takes {max}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most that fits.
        max: usize,
    },
}

impl StorageError {
    /// Wraps what the system said.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> StorageError {
        StorageError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the disk has no room: this passes when something is deleted.
    pub fn is_full(&self) -> bool {
        matches!(self, StorageError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
