//! What the data directory promises, tried on real files.

mod crash;
mod faults;
mod recycling;
mod snapshots;
mod tail;

use super::disk::{Disk, RealDisk};
use super::ledger::Ledger;
use super::recovery::{self, Recovered};
use super::writer::{Observer, Writer};
use super::*;
use bytes::Bytes;
use raft::{Configuration, Entry, HardState, Payload, SnapshotMeta};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::mpsc;
use std::time::Duration;

/// A generator whose seed is printed, and taken back from `ORDEAL_SEED`.
fn seeded() -> StdRng {
    let seed = match std::env::var("ORDEAL_SEED") {
        Ok(seed) => seed.parse().expect("ORDEAL_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("ORDEAL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn options(segment_len: u64) -> WalOptions {
    let on_failure = Box::new(|error: &StorageError| panic!("the disk failed: {error}"));
    WalOptions {
        segment_len,
        on_failure,
    }
}

fn open(dir: &Path) -> Result<Storage, StorageError> {
    Storage::open(dir, "test", 1, options(64 << 10))
}

fn entry(index: u64, term: u64, len: usize) -> Entry {
    let payload = Payload::Command(Bytes::from(vec![index as u8; len]));
    Entry {
        index,
        term,
        payload,
    }
}

fn entries(entries: Vec<Entry>) -> Append {
    Append {
        entries,
        ..Append::default()
    }
}

fn meta(index: u64, term: u64) -> SnapshotMeta {
    let configuration = Configuration::of_voters([1, 2, 3]);
    SnapshotMeta {
        index,
        term,
        configuration,
    }
}

fn append(wal: &Wal, group: GroupId, append: Append) {
    let (done, stable) = mpsc::channel();
    wal.append(group, append, move || {
        done.send(()).expect("the test waits");
    });
    stable.recv().expect("the write becomes stable");
}

/// Nobody watches, and nobody stops.
struct Quiet;

impl Observer for Quiet {
    fn synced(&self, _: Duration, _: usize) {}
    fn full(&self, _: bool) {}
    fn stopping(&self) -> bool {
        false
    }
}

fn recover(dir: &Path) -> Result<Recovered, StorageError> {
    recovery::recover(dir, |_, _, _| {})
}

fn writer(dir: &Path, segment_len: u64, disk: Arc<dyn Disk>) -> Writer {
    let recovered = recover(dir).expect("the log is sound");
    let (position, ledger) = (recovered.position, recovered.ledger);
    Writer::open(dir, disk, segment_len, &position, ledger, &Quiet).expect("the log opens")
}

#[test]
fn what_was_stable_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    let hard_state = HardState {
        term: 3,
        vote: Some(2),
    };
    let first = Append {
        hard_state: Some(hard_state),
        entries: vec![entry(1, 3, 10), entry(2, 3, 10)],
        wiped: Some(true),
        ..Append::default()
    };
    append(&storage.wal, 7, first);
    append(&storage.wal, 7, entries(vec![entry(2, 4, 5)]));
    storage.wal.close();
    drop(storage);
    let storage = open(dir.path()).expect("opens again");
    let restored = &storage.restored[&7];
    assert_eq!(restored.hard_state, hard_state);
    assert_eq!(restored.entries, [entry(1, 3, 10), entry(2, 4, 5)]);
    assert!(restored.wiped && storage.report.closed);
    storage.wal.close();
}

#[test]
fn writes_of_many_threads_complete_in_the_order_of_each_group() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    let (done, stable) = mpsc::channel();
    std::thread::scope(|scope| {
        for group in 0..8 {
            let (wal, done) = (storage.wal.clone(), done.clone());
            scope.spawn(move || {
                for index in 1..=100 {
                    let done = done.clone();
                    wal.append(group, entries(vec![entry(index, 1, 50)]), move || {
                        done.send((group, index)).expect("the test waits");
                    });
                }
            });
        }
    });
    let mut next = [1; 8];
    for (group, index) in stable.iter().take(800) {
        assert_eq!(index, next[group as usize]);
        next[group as usize] += 1;
    }
    storage.wal.close();
    drop(storage);
    let storage = open(dir.path()).expect("opens again");
    assert!((0..8).all(|group| storage.restored[&group].entries.len() == 100));
    storage.wal.close();
}

#[test]
fn a_directory_serves_one_process_and_one_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    let second = open(dir.path()).expect_err("it is locked");
    assert!(matches!(second, StorageError::Locked { .. }), "{second}");
    storage.wal.close();
    drop(storage);
    let other = Storage::open(dir.path(), "test", 2, options(64 << 10)).expect_err("not its own");
    assert!(matches!(other, StorageError::Foreign { .. }), "{other}");
    let other = Storage::open(dir.path(), "prod", 1, options(64 << 10)).expect_err("not its own");
    assert!(matches!(other, StorageError::Foreign { .. }), "{other}");
}

#[test]
fn an_entry_as_large_as_allowed_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    let len = storage.wal.command_len_max();
    for index in 1..=5 {
        append(&storage.wal, 0, entries(vec![entry(index, 1, len)]));
    }
    storage.wal.close();
    drop(storage);
    let storage = open(dir.path()).expect("opens again");
    assert_eq!(storage.restored[&0].entries.len(), 5);
    assert_eq!(storage.restored[&0].entries[4], entry(5, 1, len));
    storage.wal.close();
}

#[test]
fn inspection_shows_records_and_finds_the_directory_sound() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    append(&storage.wal, 3, entries(vec![entry(1, 1, 10)]));
    storage.wal.close();
    drop(storage);
    let mut kinds = Vec::new();
    let inspection = inspect(dir.path(), |_, group, record| {
        kinds.push((group, std::mem::discriminant(record)));
    });
    let inspection = inspection.expect("can be read");
    assert!(inspection.is_sound());
    assert_eq!(inspection.identity.expect("has one").node, 1);
    let records = [
        (0, Record::Opened(String::new())),
        (3, Record::Entries(Vec::new())),
        (0, Record::Closed),
    ];
    let expected = records.map(|(group, record)| (group, std::mem::discriminant(&record)));
    assert_eq!(kinds, expected);
}
