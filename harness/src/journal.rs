//! What must be healed: a file that knows of every fault before the host does.
//!
//! A line is on the disk (fsynced) before a fault is installed, and another when it is healed and
//! that was verified. So whatever kills the harness, `ordeal heal` finds here which hosts may still
//! be under a fault, how to reach them, and which daemons have to be started again. While a harness
//! lives it holds a lock on its journal, so that nobody heals a run that is still going.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;

/// The journal's name in a run's folder.
pub const FILE: &str = "journal.jsonl";

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    tag: String,
}

/// A fault, as the journal knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the run.
    pub id: u64,
    /// What it does, in words.
    pub description: String,
    /// The hosts that it changes.
    pub hosts: Vec<String>,
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    /// The first line: whose faults these are, and where.
    Begin { tag: String, cluster: Cluster },
    /// A fault is about to be installed.
    Install(Entry),
    /// It was undone, and that was verified.
    Healed { id: u64 },
}

/// What a journal has left to heal.
#[derive(Debug)]
pub struct Outstanding {
    /// The mark that the run's faults bear on every host.
    pub tag: String,
    /// The hosts.
    pub cluster: Cluster,
    /// The faults that may still be there, in the order in which they came.
    pub faults: Vec<Entry>,
}

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk, most likely.
    #[error("the journal {path} cannot be {verb}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// The error.
        source: io::Error,
    },
    /// A line that no harness wrote.
    #[error("{path}:{line}: not a line of a journal")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The harness that writes it is alive.
    #[error("the run of {0} is still going; stop it first (Ctrl-C heals), or wait for its end")]
    Busy(PathBuf),
}

impl Journal {
    /// Begins the journal of a run in the run's folder.
    pub fn create(folder: &Path, cluster: &Cluster) -> Result<Self, JournalError> {
        let path = folder.join(FILE);
        let failed = |source| JournalError::Io {
            path: path.clone(),
            verb: "created",
            source,
        };
        let file = File::create(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        // The folder's entry must be on the disk too, or the file may be missing after a crash.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        let tag = format!("{:06x}", rand::random::<u32>() >> 8);
        let mut journal = Self { file, path, tag };
        let begin = Line::Begin {
            tag: journal.tag.clone(),
            cluster: cluster.clone(),
        };
        journal.append(&begin)?;
        Ok(journal)
    }

    /// Takes up the journal of a dead harness, to write what is healed.
    pub fn resume(path: &Path) -> Result<(Self, Outstanding), JournalError> {
        let outstanding = read(path)?;
        let failed = |source| JournalError::Io {
            path: path.to_owned(),
            verb: "opened",
            source,
        };
        let file = File::options().append(true).open(path).map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(JournalError::Busy(path.to_owned()));
        }
        let journal = Self {
            file,
            path: path.to_owned(),
            tag: outstanding.tag.clone(),
        };
        Ok((journal, outstanding))
    }

    /// The mark that this run's faults bear on every host.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Notes a fault that is about to be installed. It is on the disk when this returns.
    pub fn install(&mut self, entry: Entry) -> Result<(), JournalError> {
        self.append(&Line::Install(entry))
    }

    /// Notes that a fault is gone for certain.
    pub fn healed(&mut self, id: u64) -> Result<(), JournalError> {
        self.append(&Line::Healed { id })
    }

    fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        let mut bytes = serde_json::to_vec(line).expect("a line is plain data");
        bytes.push(b'\n');
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| JournalError::Io {
                path: self.path.clone(),
                verb: "written",
                source,
            })
    }
}

/// Reads what a journal has left to heal. A last line that was torn by a crash is ignored: the
/// fault that it tells of was not installed.
pub fn read(path: &Path) -> Result<Outstanding, JournalError> {
    let failed = |source| JournalError::Io {
        path: path.to_owned(),
        verb: "read",
        source,
    };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let mut found = None;
    let mut faults = BTreeMap::new();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        if lines.read_line(&mut text).map_err(failed)? == 0 || !text.ends_with('\n') {
            break;
        }
        let wrong = |source| JournalError::Line {
            path: path.to_owned(),
            line,
            source,
        };
        match serde_json::from_str(&text).map_err(wrong)? {
            Line::Begin { tag, cluster } => found = Some((tag, cluster)),
            Line::Install(entry) => drop(faults.insert(entry.id, entry)),
            Line::Healed { id } => drop(faults.remove(&id)),
        }
    }
    let (tag, cluster) = found.ok_or_else(|| {
        failed(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it has no first line",
        ))
    })?;
    let faults = faults.into_values().collect();
    Ok(Outstanding {
        tag,
        cluster,
        faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Kind;

    fn cluster() -> Cluster {
        Cluster {
            name: "test".into(),
            selector: "lab:test".into(),
            kind: Kind::Lab,
            hosts: Vec::new(),
            control_address: None,
        }
    }

    fn entry(id: u64) -> Entry {
        Entry {
            id,
            description: "pause n1".into(),
            hosts: vec!["n1".into()],
        }
    }

    #[test]
    fn what_was_not_healed_is_outstanding_even_behind_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), &cluster()).unwrap();
        for id in 1..=3 {
            journal.install(entry(id)).unwrap();
        }
        journal.healed(2).unwrap();
        journal.file.write_all(b"{\"event\":\"inst").unwrap();
        let outstanding = read(&folder.path().join(FILE)).unwrap();
        assert_eq!(outstanding.faults, [entry(1), entry(3)]);
        assert_eq!(outstanding.tag, journal.tag());
    }

    #[test]
    fn a_run_that_is_going_is_not_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let journal = Journal::create(folder.path(), &cluster()).unwrap();
        assert!(matches!(Journal::resume(&path), Err(JournalError::Busy(_))));
        drop(journal);
        assert!(Journal::resume(&path).is_ok());
    }
}
