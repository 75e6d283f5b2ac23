//! Cut and flip at every byte: a torn tail is cut off, damage before it is refused.

use super::*;
use std::fs;

const SEGMENT_LEN: u64 = 8 << 10;

/// A log of six batches in one segment, the first of which says that it was opened: the file's
/// bytes, where each batch ends, and what the log holds up to there.
fn six_batches(dir: &Path) -> (Vec<u8>, Vec<usize>, Vec<BTreeMap<GroupId, raft::Restored>>) {
    let mut writer = writer(dir, SEGMENT_LEN, Arc::new(RealDisk));
    let mut ends = vec![segment::HEADER_LEN as usize];
    let mut states = vec![BTreeMap::new()];
    ends.push(recover(dir).expect("sound").position.at as usize);
    states.push(BTreeMap::new());
    for index in 1..=5 {
        let records = [
            (
                1,
                Record::Entries(vec![entry(index, 1, 20 + index as usize)]),
            ),
            (
                2,
                Record::HardState(HardState {
                    term: index,
                    vote: Some(1),
                }),
            ),
        ];
        writer.write(records, &Quiet).expect("written");
        let recovered = recover(dir).expect("sound");
        ends.push(recovered.position.at as usize);
        states.push(recovered.ledger.restored().expect("no holes"));
    }
    let bytes = fs::read(segment::path(dir, 1)).expect("readable");
    (bytes, ends, states)
}

#[test]
fn a_log_cut_at_any_byte_holds_what_came_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let (bytes, ends, states) = six_batches(dir.path());
    let path = segment::path(dir.path(), 1);
    for cut in ends[0]..ends[6] {
        // What was never written is zeros, as the segment was prepared.
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).expect("writable");
        let recovered = recover(dir.path()).expect("a torn tail is no damage");
        let whole = ends
            .iter()
            .rposition(|&end| end <= cut)
            .expect("the first is");
        // The last bytes of a batch may be zeros anyway.
        let found = recovered.ledger.restored().expect("no holes");
        let zeros = bytes[cut..ends[whole + 1]].iter().all(|&byte| byte == 0);
        assert_eq!(found, states[whole + usize::from(zeros)], "cut at {cut}");
    }
}

#[test]
fn a_flip_at_any_byte_is_cut_off_in_the_last_batch_and_refused_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let (bytes, ends, states) = six_batches(dir.path());
    let path = segment::path(dir.path(), 1);
    for at in ends[0]..ends[6] {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, &flipped).expect("writable");
            match recover(dir.path()) {
                Ok(recovered) => {
                    assert!(at >= ends[5], "a flip at {at} went unnoticed");
                    assert_eq!(recovered.ledger.restored().expect("no holes"), states[5]);
                    assert!(recovered.report.torn.is_some());
                }
                Err(StorageError::Damaged(damage)) => {
                    assert!(at < ends[5], "a torn tail at {at} was refused");
                    assert!((damage.offset as usize) <= at && damage.path == path);
                }
                Err(other) => panic!("flip at {at}: {other}"),
            }
        }
    }
}

#[test]
fn a_flip_after_a_clean_stop_is_always_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = open(dir.path()).expect("opens");
    append(&storage.wal, 1, entries(vec![entry(1, 1, 30)]));
    storage.wal.close();
    drop(storage);
    let log = log_dir(dir.path());
    let end = recover(&log).expect("sound").position.at as usize;
    let closed_len = record::HEADER_LEN;
    let path = segment::path(&log, 1);
    let bytes = fs::read(&path).expect("readable");
    for at in segment::HEADER_LEN as usize..end - closed_len {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).expect("writable");
        let error = open(dir.path()).expect_err("damaged");
        assert!(matches!(error, StorageError::Damaged(_)), "{error}");
    }
}

#[test]
fn the_refusal_names_segment_and_offset_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut bytes, ends, _) = six_batches(dir.path());
    bytes[ends[2] + 30] ^= 1;
    let path = segment::path(dir.path(), 1);
    fs::write(&path, &bytes).expect("writable");
    let text = recover(dir.path()).expect_err("damaged").to_string();
    let offset = format!("at offset {}", ends[2]);
    for part in [
        path.to_str().expect("plain"),
        &offset,
        "remove it from the cluster",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_damaged_or_missing_segment_between_others_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = writer(dir.path(), SEGMENT_LEN, Arc::new(RealDisk));
    for index in 1..=40 {
        let record = Record::Entries(vec![entry(index, 1, 500)]);
        writer.write([(1, record)], &Quiet).expect("written");
    }
    drop(writer);
    let path = segment::path(dir.path(), 2);
    let bytes = fs::read(&path).expect("readable");
    for at in [
        0,
        9,
        13,
        21,
        segment::HEADER_LEN as usize + 3,
        bytes.len() / 2,
    ] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).expect("writable");
        let error = recover(dir.path()).expect_err("damaged");
        let named = matches!(&error, StorageError::Damaged(damage) if damage.path == path);
        assert!(
            named || matches!(error, StorageError::Newer { .. }),
            "{at}: {error}"
        );
    }
    fs::remove_file(&path).expect("deletable");
    let error = recover(dir.path()).expect_err("missing");
    assert!(matches!(error, StorageError::Missing { path: missing } if missing == path));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut bytes, ..) = six_batches(dir.path());
    bytes[8..12].copy_from_slice(&(segment::FORMAT_VERSION + 1).to_le_bytes());
    fs::write(segment::path(dir.path(), 1), &bytes).expect("writable");
    let error = recover(dir.path()).expect_err("newer");
    assert!(
        matches!(
            error,
            StorageError::Newer {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}

/// A segment written by format version 1. It must be read for as long as there is a version.
#[test]
fn format_version_1_is_read() {
    let mut bytes = include_bytes!("format_1.wal").to_vec();
    bytes.resize(16 << 10, 0);
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(segment::path(dir.path(), 1), &bytes).expect("writable");
    let recovered = recover(dir.path()).expect("sound");
    let restored = &recovered.ledger.restored().expect("no holes")[&9];
    assert_eq!(
        restored.hard_state,
        HardState {
            term: 5,
            vote: Some(2)
        }
    );
    assert_eq!(restored.snapshot, Some(meta(10, 4)));
    let mut configuration = Configuration::of_voters([1, 2]);
    configuration.outgoing = [1, 2, 3].into();
    configuration.learners = [4].into();
    configuration.learners_next = [3].into();
    configuration.joining = [4].into();
    configuration.auto_leave = true;
    configuration.context = BTreeMap::from([(4, Bytes::from_static(b"address"))]);
    let change = Payload::Configuration(Box::new(configuration));
    assert_eq!(
        restored.entries,
        [
            Entry {
                index: 11,
                term: 4,
                payload: Payload::Empty
            },
            Entry {
                index: 12,
                term: 5,
                payload: change
            },
            entry(13, 5, 40),
        ]
    );
    assert!(restored.wiped);
}

/// Writes the file of the test above: to be run once for each format version, never again.
#[test]
#[ignore = "makes the fixture of the current format version"]
fn write_fixture() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut writer = writer(dir.path(), 16 << 10, Arc::new(RealDisk));
    let mut configuration = Configuration::of_voters([1, 2]);
    configuration.outgoing = [1, 2, 3].into();
    configuration.learners = [4].into();
    configuration.learners_next = [3].into();
    configuration.joining = [4].into();
    configuration.auto_leave = true;
    configuration.context = BTreeMap::from([(4, Bytes::from_static(b"address"))]);
    let change = Payload::Configuration(Box::new(configuration));
    let all = vec![
        Entry {
            index: 11,
            term: 4,
            payload: Payload::Empty,
        },
        Entry {
            index: 12,
            term: 5,
            payload: change,
        },
        entry(13, 5, 40),
    ];
    let records = [
        Record::HardState(HardState {
            term: 5,
            vote: Some(2),
        }),
        Record::Snapshot(meta(10, 4)),
        Record::Entries(vec![entry(11, 3, 10), entry(12, 3, 10)]),
        Record::Truncate(11),
        Record::Entries(all.clone()),
        Record::Restated(all),
        Record::Wiped(true),
        Record::Closed,
    ];
    for record in records {
        writer.write([(9, record)], &Quiet).expect("written");
    }
    let end = recover(dir.path()).expect("sound").position.at as usize;
    let bytes = fs::read(segment::path(dir.path(), 1)).expect("readable");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage/tests/format_1.wal");
    fs::write(fixture, &bytes[..end]).expect("writable");
}
