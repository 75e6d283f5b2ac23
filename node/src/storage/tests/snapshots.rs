//! Snapshot files: whole or not there.

use super::*;
use std::fs;
use std::io::{Read, Write};

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn write(snapshots: &Snapshots, group: GroupId, index: u64, content: &[u8]) -> snapshot::Snapshot {
    let mut writer = snapshots.create(group, &meta(index, 1)).expect("begun");
    writer.write_all(content).expect("written");
    writer.finish().expect("finished")
}

fn read(snapshot: &snapshot::Snapshot) -> Vec<u8> {
    let mut content = Vec::new();
    let mut reader = snapshot.read().expect("opens");
    reader.read_to_end(&mut content).expect("verifies");
    content
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let snapshots = Snapshots::open(dir.path()).expect("opens");
    for len in [0, 1, 1000, 256 << 10, (256 << 10) + 1, 1 << 20] {
        let snapshot = write(&snapshots, 5, len as u64 + 1, &content(len));
        assert_eq!(
            (snapshot.group, &snapshot.meta),
            (5, &meta(len as u64 + 1, 1))
        );
        assert!(read(&snapshot) == content(len));
    }
    let newest = snapshots.newest(5).expect("readable").expect("there");
    assert_eq!(newest.meta.index, (1 << 20) + 1);
    assert_eq!(snapshots.newest(4).expect("readable"), None);
    snapshots.prune(5, newest.meta.index).expect("deletable");
    assert_eq!(snapshots.paths().expect("a folder"), [newest.path]);
}

#[test]
fn a_half_written_one_is_never_seen() {
    let dir = tempfile::tempdir().expect("a folder");
    let snapshots = Snapshots::open(dir.path()).expect("opens");
    let mut writer = snapshots.create(1, &meta(9, 1)).expect("begun");
    writer.write_all(&content(1 << 20)).expect("written");
    assert_eq!(snapshots.newest(1).expect("readable"), None);
    // As a crash would: nothing cleans up.
    std::mem::forget(writer);
    let snapshots = Snapshots::open(dir.path()).expect("opens");
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    assert_eq!(snapshots.newest(1).expect("readable"), None);
    drop(snapshots.create(1, &meta(9, 1)).expect("begun"));
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
}

#[test]
fn a_flip_at_any_byte_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let snapshots = Snapshots::open(dir.path()).expect("opens");
    let snapshot = write(&snapshots, 1, 1, &content(300));
    let bytes = fs::read(&snapshot.path).expect("readable");
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&snapshot.path, &flipped).expect("writable");
        assert!(snapshot.verify().is_err(), "a flip at {at} went unnoticed");
    }
    for len in 0..bytes.len() {
        fs::write(&snapshot.path, &bytes[..len]).expect("writable");
        assert!(snapshot.verify().is_err(), "a cut at {len} went unnoticed");
    }
}

#[test]
fn a_transfer_is_taken_up_where_it_broke_off() {
    let (here, there) = (tempfile::tempdir(), tempfile::tempdir());
    let (here, there) = (here.expect("a folder"), there.expect("a folder"));
    let sender = Snapshots::open(here.path()).expect("opens");
    let snapshot = write(&sender, 3, 50, &content(1 << 20));
    let mut breaks = 0;
    let received = loop {
        // Each time as after a restart.
        let receiver = Snapshots::open(there.path()).expect("opens");
        let incoming = receiver.receive(3, 50, 1, snapshot.len, snapshot.digest);
        let mut incoming = incoming.expect("begun");
        assert_eq!(incoming.at(), breaks * 200_000);
        let piece = snapshot.piece(incoming.at(), 200_000).expect("readable");
        incoming.write(7_777_777, &piece).expect("left alone");
        incoming.write(incoming.at(), &piece).expect("written");
        incoming.write(0, &piece).expect("left alone");
        if incoming.is_complete() {
            break incoming.finish().expect("verifies");
        }
        breaks += 1;
    };
    assert!(breaks > 3);
    assert!(read(&received) == content(1 << 20));
    assert_eq!(received.meta, snapshot.meta);
}

#[test]
fn a_spoilt_transfer_starts_anew() {
    let (here, there) = (tempfile::tempdir(), tempfile::tempdir());
    let (here, there) = (here.expect("a folder"), there.expect("a folder"));
    let sender = Snapshots::open(here.path()).expect("opens");
    let snapshot = write(&sender, 3, 50, &content(5000));
    let receiver = Snapshots::open(there.path()).expect("opens");
    let begin = || {
        let incoming = receiver.receive(3, 50, 1, snapshot.len, snapshot.digest);
        incoming.expect("begun")
    };
    let mut incoming = begin();
    let mut piece = snapshot.piece(0, 1 << 20).expect("readable").to_vec();
    piece[2000] ^= 1;
    incoming.write(0, &piece).expect("written");
    let error = incoming.finish().expect_err("does not verify");
    assert!(error.to_string().contains("verify"), "{error}");
    assert_eq!(begin().at(), 0);
    assert_eq!(receiver.newest(3).expect("readable"), None);
}

#[test]
fn a_log_without_its_snapshot_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    let snapshot = write(&storage.snapshots, 1, 3, &content(10));
    append(
        &storage.wal,
        1,
        entries((1..=5).map(|i| entry(i, 1, 10)).collect()),
    );
    append(&storage.wal, 1, Append::compacted(meta(3, 1)));
    storage.wal.close();
    drop(storage);
    let storage = open(dir.path()).expect("opens again");
    assert_eq!(storage.restored[&1].snapshot, Some(meta(3, 1)));
    assert_eq!(
        storage.restored[&1].entries,
        [entry(4, 1, 10), entry(5, 1, 10)]
    );
    storage.wal.close();
    drop(storage);
    fs::remove_file(&snapshot.path).expect("deletable");
    let error = open(dir.path()).expect_err("refused");
    assert!(matches!(error, StorageError::Damaged(_)), "{error}");
}
