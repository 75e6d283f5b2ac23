//! What operators do by hand while a run is on, so that it stands in the run's history and report.
//!
//! A run announces itself under its cluster in the user's state folder. A verb that acts on the
//! same cluster finds it there, sees by the lock on its journal that it lives, and appends a line
//! to [`FILE`] in the run's folder when it begins and when it ends; the run reads what is new.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::control::sha256;
use crate::{journal, remembered};

/// The name of the file in a run's folder.
pub const FILE: &str = "by-hand.jsonl";

/// Something that a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Ties an end to its beginning.
    pub id: u64,
    /// What was typed.
    pub command: String,
    /// When, in nanoseconds of the wall clock.
    pub at_ns: u64,
    /// How it ended; none when it begins.
    pub outcome: Option<Outcome>,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused, or failed, with these words.
    Failed(String),
}

/// Where the run on a cluster announces itself: by its hosts, however they were named.
fn announcement(cluster: &Cluster) -> Option<PathBuf> {
    let hosts = serde_json::to_vec(&(&cluster.name, &cluster.hosts)).ok()?;
    let name = &sha256(&hosts)[..16];
    Some(remembered::folder()?.join("running").join(name))
}

/// A run that operators' verbs can find; it is over when this is dropped.
#[derive(Debug)]
pub struct Announced {
    place: Option<PathBuf>,
    file: PathBuf,
    read: u64,
}

impl Announced {
    /// Announces a run on a cluster; its journal must have been begun.
    pub fn new(cluster: &Cluster, folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let place = announcement(cluster);
        if let Some(place) = &place {
            fs::create_dir_all(place.parent().unwrap_or(place))?;
            let draft = place.with_extension(std::process::id().to_string());
            fs::write(&draft, folder.as_os_str().as_encoded_bytes())?;
            fs::rename(&draft, place)?;
        }
        Ok(Self {
            place,
            file: folder.join(FILE),
            read: 0,
        })
    }

    /// What was done since the last time.
    pub fn news(&mut self) -> Vec<Event> {
        let Ok(mut file) = File::open(&self.file) else {
            return Vec::new();
        };
        if file.seek(SeekFrom::Start(self.read)).is_err() {
            return Vec::new();
        }
        let (mut reader, mut line, mut events) = (BufReader::new(file), String::new(), Vec::new());
        // A line without its end is still being written.
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            self.read += line.len() as u64;
            events.extend(serde_json::from_str::<Event>(&line).ok());
            line.clear();
        }
        events
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // What is left behind is recognised by its journal, which nobody holds.
            let _ = fs::remove_file(place);
        }
    }
}

/// The folder of the run that is on, if there is one.
fn running(cluster: &Cluster) -> Option<PathBuf> {
    let folder = fs::read_to_string(announcement(cluster)?).ok()?;
    let folder = PathBuf::from(folder);
    let journal = File::open(folder.join(journal::FILE)).ok()?;
    let is_held = matches!(journal.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
    is_held.then_some(folder)
}

/// Something that is being done by hand, on the record of the run that is on.
#[derive(Debug)]
pub struct Doing {
    folder: Option<PathBuf>,
    id: u64,
    command: String,
}

impl Doing {
    /// It begins. Without a run on this cluster nothing is written, now or later.
    pub fn begin(cluster: &Cluster, command: &str) -> io::Result<Self> {
        let doing = Self {
            folder: running(cluster),
            id: rand::random::<u64>() >> 11,
            command: command.to_owned(),
        };
        doing.write(None)?;
        Ok(doing)
    }

    /// It ends.
    pub fn end(self, outcome: Outcome) -> io::Result<()> {
        self.write(Some(outcome))
    }

    fn write(&self, outcome: Option<Outcome>) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let event = Event {
            id: self.id,
            command: self.command.clone(),
            at_ns: jiff::Timestamp::now().as_nanosecond() as u64,
            outcome,
        };
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        let mut options = File::options();
        // One write at the end of the file: two verbs at once do not tear each other's lines.
        options
            .create(true)
            .append(true)
            .open(folder.join(FILE))?
            .write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_once_and_a_line_that_is_being_written_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut announced = Announced {
            place: None,
            file: folder.path().join(FILE),
            read: 0,
        };
        assert!(announced.news().is_empty());
        let doing = |id| Doing {
            folder: Some(folder.path().to_owned()),
            id,
            command: "members add n4".into(),
        };
        doing(1).write(None).unwrap();
        doing(1).end(Outcome::Done).unwrap();
        let mut file = File::options().append(true).open(&announced.file).unwrap();
        file.write_all(b"{\"id\":2,").unwrap();
        let news = announced.news();
        assert_eq!(news.len(), 2);
        assert_eq!(news[1].outcome, Some(Outcome::Done));
        assert!(announced.news().is_empty());
        file.write_all(b"\"command\":\"x\",\"at_ns\":3,\"outcome\":null}\n")
            .unwrap();
        assert_eq!(announced.news()[0].id, 2);
    }
}
