//! Segments go round in a circle, whoever still has something in the oldest.
//!
//! No crash is part of these stories: nothing is synced.

use super::*;
use raft::Restored;

const SEGMENT_LEN: u64 = 16 << 10;

fn count(dir: &Path) -> usize {
    let (segments, spares) = segment::list(dir).expect("a folder");
    segments.len() + spares.len()
}

#[test]
fn a_log_that_is_compacted_stays_small_and_reuses_its_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = writer(dir.path(), SEGMENT_LEN, Arc::new(UnsyncedDisk));
    for index in 1..=1000 {
        let record = Record::Entries(vec![entry(index, 1, 200)]);
        writer.write([(1, record)], &Quiet).expect("written");
        if index % 20 == 0 {
            let marker = Record::Snapshot(meta(index, 1));
            writer.write([(1, marker)], &Quiet).expect("written");
        }
        writer.tidy(&Quiet).expect("tidied");
        assert!(writer.segments() <= 4);
    }
    drop(writer);
    assert!(count(dir.path()) <= 7);
    let recovered = recover(dir.path()).expect("sound");
    assert!(recovered.report.torn.is_none());
    let restored = &recovered.ledger.restored().expect("no holes")[&1];
    assert_eq!(restored.snapshot, Some(meta(1000, 1)));
}

/// Groups that wrote once, long ago, must not keep all that others wrote since.
#[test]
fn a_thousand_idle_groups_do_not_pin_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = writer(dir.path(), SEGMENT_LEN, Arc::new(UnsyncedDisk));
    let idle = |group: GroupId| Restored {
        hard_state: HardState {
            term: u64::from(group),
            vote: Some(1),
        },
        snapshot: (group.is_multiple_of(3)).then(|| meta(4, 1)),
        entries: (5..8)
            .map(|i| entry(i, 1, 1))
            .filter(|_| group.is_multiple_of(3))
            .collect(),
        wiped: group.is_multiple_of(7),
    };
    for group in 1..=1000 {
        let Restored {
            hard_state,
            snapshot,
            entries,
            wiped,
        } = idle(group);
        let mut records = vec![(group, Record::HardState(hard_state))];
        records.extend(snapshot.map(|meta| (group, Record::Snapshot(meta))));
        if !entries.is_empty() {
            records.push((group, Record::Entries(entries)));
        }
        if wiped {
            records.push((group, Record::Wiped(true)));
        }
        log.write(records, &Quiet).expect("written");
    }
    let mut most = 0;
    for index in 1..=4000 {
        let records = [
            (0, Record::Entries(vec![entry(index, 1, 200)])),
            (0, Record::Snapshot(meta(index, 1))),
        ];
        log.write(records, &Quiet).expect("written");
        while log.tidy(&Quiet).expect("tidied") {}
        most = most.max(log.segments());
        if index % 1000 == 0 {
            // Restarts in between find all of it, in whatever place it is.
            drop(log);
            let restored = recover(dir.path()).expect("sound").ledger.restored();
            let restored = restored.expect("no holes");
            assert!((1..=1000).all(|group| restored[&group] == idle(group)));
            assert_eq!(restored[&0].snapshot, Some(meta(index, 1)));
            log = writer(dir.path(), SEGMENT_LEN, Arc::new(UnsyncedDisk));
        }
    }
    // The idle groups live in about ten segments.
    assert!(most <= 36, "{most} segments");
}
