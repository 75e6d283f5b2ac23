//! A disk that fails or is full.

use super::*;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Fails on demand, and counts how often it was asked to sync.
#[derive(Default)]
struct Faulty {
    sync_fails: AtomicBool,
    full: AtomicBool,
    syncs: AtomicU32,
}

impl Disk for Faulty {
    fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.sync_fails.swap(false, Ordering::Relaxed) {
            // As a kernel does it: once, and then it claims that all is well.
            return Err(io::Error::other("input/output error"));
        }
        RealDisk.sync(file)
    }

    fn prepare(
        &self,
        dir: &Path,
        sequence: u64,
        len: u64,
        spare: Option<&Path>,
    ) -> Result<File, StorageError> {
        // A spare takes no new room.
        if spare.is_none() && self.full.load(Ordering::Relaxed) {
            let path = segment::path(dir, sequence);
            let error = io::Error::from(io::ErrorKind::StorageFull);
            return Err(StorageError::io("prepare", &path, error));
        }
        RealDisk.prepare(dir, sequence, len, spare)
    }
}

fn start(dir: &Path, disk: &Arc<Faulty>, options: WalOptions) -> Wal {
    let recovered = recover(dir).expect("sound");
    let disk: Arc<dyn Disk> = disk.clone();
    Wal::start(dir, disk, &recovered.position, recovered.ledger, options).expect("starts")
}

#[test]
fn a_failed_fsync_is_never_tried_again_and_nothing_is_acknowledged_after_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Faulty::default());
    let (failed, failure) = mpsc::channel();
    let on_failure = Box::new(move |error: &StorageError| {
        failed.send(error.to_string()).expect("the test waits");
    });
    let options = WalOptions {
        segment_len: 64 << 10,
        on_failure,
    };
    let wal = start(dir.path(), &disk, options);
    append(&wal, 1, entries(vec![entry(1, 1, 10)]));
    disk.sync_fails.store(true, Ordering::Relaxed);
    let (done, stable) = mpsc::channel();
    for index in 2..=3 {
        let done = done.clone();
        wal.append(1, entries(vec![entry(index, 1, 10)]), move || {
            done.send(index).expect("the test waits");
        });
    }
    drop(done);
    assert!(failure.recv().expect("is told").contains(".wal"));
    let syncs = disk.syncs.load(Ordering::Relaxed);
    wal.append(1, entries(vec![entry(4, 1, 10)]), || panic!("acknowledged"));
    wal.close();
    assert!(wal.has_failed());
    assert_eq!(disk.syncs.load(Ordering::Relaxed), syncs);
    drop(wal);
    assert_eq!(stable.iter().collect::<Vec<_>>(), [0; 0]);
}

/// The bug `sync-error-ignored`, seen: what never became stable is acknowledged.
#[test]
fn who_takes_a_failed_fsync_for_done_acknowledges_what_is_not_stable() {
    let dir = tempfile::tempdir().expect("a folder");
    let faulty = Faulty::default();
    faulty.sync_fails.store(true, Ordering::Relaxed);
    let recovered = recover(dir.path()).expect("sound");
    let disk: Arc<dyn Disk> = Arc::new(HeedlessDisk(faulty));
    let (position, ledger) = (&recovered.position, recovered.ledger);
    let wal = Wal::start(dir.path(), disk, position, ledger, options(64 << 10)).expect("starts");
    append(&wal, 1, entries(vec![entry(1, 1, 10)]));
    wal.close();
    assert!(!wal.has_failed());
}

#[test]
fn a_full_disk_is_told_early_and_overcome_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Faulty::default());
    let wal = start(dir.path(), &disk, options(16 << 10));
    disk.full.store(true, Ordering::Relaxed);
    let mut index = 0;
    while !wal.is_full() {
        index += 1;
        append(&wal, 1, entries(vec![entry(index, 1, 100)]));
    }
    // The protocol itself can still write: a vote, say.
    let vote = HardState {
        term: 9,
        vote: Some(3),
    };
    let hard_state = Some(vote);
    append(
        &wal,
        1,
        Append {
            hard_state,
            ..Append::default()
        },
    );
    // What does not fit waits, and is not lost.
    let (done, stable) = mpsc::channel();
    for _ in 0..400 {
        index += 1;
        let (index, done) = (index, done.clone());
        wal.append(1, entries(vec![entry(index, 1, 100)]), move || {
            done.send(index).expect("the test waits");
        });
    }
    disk.full.store(false, Ordering::Relaxed);
    assert_eq!(stable.iter().take(400).last(), Some(index));
    wal.close();
    assert!(!wal.is_full());
    let restored = recover(dir.path()).expect("sound").ledger.restored();
    let restored = &restored.expect("no holes")[&1];
    assert_eq!(restored.entries.len() as u64, index);
    assert_eq!(restored.hard_state, vote);
}

#[test]
fn compaction_makes_room_on_a_full_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Faulty::default());
    let wal = start(dir.path(), &disk, options(16 << 10));
    let mut index = 0;
    for _ in 0..1000 {
        index += 1;
        append(&wal, 1, entries(vec![entry(index, 1, 100)]));
    }
    disk.full.store(true, Ordering::Relaxed);
    while !wal.is_full() {
        index += 1;
        append(&wal, 1, entries(vec![entry(index, 1, 100)]));
    }
    append(&wal, 1, Append::compacted(meta(index, 1)));
    while wal.is_full() {
        std::thread::yield_now();
    }
    for _ in 0..1000 {
        index += 1;
        append(&wal, 1, entries(vec![entry(index, 1, 100)]));
        append(&wal, 1, Append::compacted(meta(index, 1)));
    }
    wal.close();
}

#[test]
fn stopping_does_not_wait_for_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Faulty::default());
    let wal = start(dir.path(), &disk, options(16 << 10));
    disk.full.store(true, Ordering::Relaxed);
    for index in 1..=1000 {
        wal.append(1, entries(vec![entry(index, 1, 100)]), || {});
    }
    wal.close();
    let restored = recover(dir.path()).expect("sound").ledger.restored();
    assert!(restored.expect("no holes")[&1].entries.len() < 1000);
}
