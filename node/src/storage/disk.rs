//! The three things that the log asks of a disk.
//!
//! They stand behind a trait for one reason: a disk that tears writes, loses what was not synced,
//! fills up or fails cannot be had to order, and the log's promises are about exactly those.

use super::error::StorageError;
use super::segment;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the log writes through. The defaults are the disk that is there; another one overrides that
/// in which it differs.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Writes bytes at an offset inside a prepared segment.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// Makes all that was written to a segment stable.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes a segment ready: see [`segment::prepare`].
    fn prepare(
        &self,
        dir: &Path,
        sequence: u64,
        len: u64,
        spare: Option<&Path>,
    ) -> Result<File, StorageError> {
        segment::prepare(dir, sequence, len, spare)
    }
}

/// The disk that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {}

/// The disk that is there, never asked to make anything stable: the bug `sync-skipped`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnsyncedDisk;

impl Disk for UnsyncedDisk {
    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a sync that failed for done: the bug `sync-error-ignored`.
pub(crate) struct HeedlessDisk<D>(pub(crate) D);

impl<D: Disk> Disk for HeedlessDisk<D> {
    fn sync(&self, file: &File) -> io::Result<()> {
        let _ = self.0.sync(file);
        Ok(())
    }
}
