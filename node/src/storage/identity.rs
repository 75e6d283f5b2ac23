//! Whose directory this is, and that only one process uses it.

use super::error::StorageError;
use super::segment::sync_dir;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The layout of the whole directory that this program writes.
const DIRECTORY_VERSION: u32 = 1;

/// Who a data directory belongs to. Written once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node's id.
    pub node: u64,
    /// Drawn at random with the directory: a node that shows its old id with another incarnation
    /// has lost its disk, and with it the votes that it gave.
    pub incarnation: u64,
}

#[derive(Serialize, Deserialize)]
struct Versioned {
    version: u32,
    #[serde(flatten)]
    identity: Identity,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("identity.json")
}

impl Identity {
    /// Reads the identity of a directory, if it has one.
    pub fn read(dir: &Path) -> Result<Option<Identity>, StorageError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = path(dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StorageError::io("read", &path, e)),
        };
        let invalid = |e: serde_json::Error| StorageError::io("understand", &path, e.into());
        let Version { version } = serde_json::from_slice(&text).map_err(invalid)?;
        if version > DIRECTORY_VERSION {
            let supported = DIRECTORY_VERSION;
            return Err(StorageError::Newer {
                path,
                found: version,
                supported,
            });
        }
        let versioned: Versioned = serde_json::from_slice(&text).map_err(invalid)?;
        Ok(Some(versioned.identity))
    }

    /// Makes sure that the directory is this node's, and marks a new one as such.
    pub(crate) fn claim(dir: &Path, cluster: &str, node: u64) -> Result<Identity, StorageError> {
        if let Some(found) = Identity::read(dir)? {
            if found.cluster == cluster && found.node == node {
                return Ok(found);
            }
            return Err(StorageError::Foreign {
                path: path(dir),
                found_id: found.node,
                found_cluster: found.cluster,
                id: node,
                cluster: cluster.into(),
            });
        }
        let identity = Identity {
            cluster: cluster.into(),
            node,
            incarnation: rand::random(),
        };
        let versioned = Versioned {
            version: DIRECTORY_VERSION,
            identity: identity.clone(),
        };
        let text = serde_json::to_vec_pretty(&versioned).expect("plain data becomes JSON");
        replace(&path(dir), &text)?;
        Ok(identity)
    }
}

/// Writes a small file so that after a crash either the old or the new one is there, whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let aside = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|e| StorageError::io("write", path, e))?;
    sync_dir(path.parent().expect("a file stands in a folder"))
}

/// Keeps other processes out of a directory for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held, not read")] File);

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Lock, StorageError> {
        let path = dir.join("lock");
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = open.map_err(|e| StorageError::io("open", &path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StorageError::Locked { path }),
            Err(e) => Err(StorageError::io("lock", &path, e.into())),
        }
    }
}
