//! What the log promises, tried on real files.

use super::*;
use bytes::Bytes;
use raft::{Entry, HardState, Payload};
use std::sync::mpsc;

fn options(segment_len: u64) -> WalOptions {
    WalOptions {
        segment_len,
        on_failure: Box::new(|error| panic!("the disk failed: {error}")),
    }
}

fn open(dir: &Path) -> Storage {
    Storage::open(dir, "test", 1, options(64 << 10)).expect("the directory opens")
}

fn entry(index: u64, term: u64, len: usize) -> Entry {
    let payload = Payload::Command(Bytes::from(vec![index as u8; len]));
    Entry {
        index,
        term,
        payload,
    }
}

fn append(wal: &Wal, group: GroupId, append: Append) {
    let (done, stable) = mpsc::channel();
    wal.append(group, append, move || {
        done.send(()).expect("the test waits");
    });
    stable.recv().expect("the write becomes stable");
}

fn entries(entries: Vec<Entry>) -> Append {
    Append {
        entries,
        ..Append::default()
    }
}

#[test]
fn what_was_stable_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path());
    let hard_state = HardState {
        term: 3,
        vote: Some(2),
    };
    append(
        &storage.wal,
        7,
        Append {
            hard_state: Some(hard_state),
            entries: vec![entry(1, 3, 10), entry(2, 3, 10)],
            ..Append::default()
        },
    );
    append(&storage.wal, 7, entries(vec![entry(2, 4, 5)]));
    storage.wal.close();
    drop(storage);
    let storage = open(dir.path());
    let restored = &storage.restored[&7];
    assert_eq!(restored.hard_state, hard_state);
    assert_eq!(restored.entries, [entry(1, 3, 10), entry(2, 4, 5)]);
    assert!(storage.report.closed);
    storage.wal.close();
}
