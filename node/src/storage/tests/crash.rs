//! Crashes of a disk that forgets, sector by sector, any part of what was not synced.

use super::*;
use parking_lot::Mutex;
use rand::RngExt;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

const SECTOR_LEN: usize = 512;
const SEGMENT_LEN: u64 = 16 << 10;

/// Remembers what was synced of each file; loses power after so many operations.
struct Forgetful {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations_left: u32,
    /// By inode: what is stable.
    stable: HashMap<u64, Vec<u8>>,
}

impl Forgetful {
    fn new(operations_left: u32) -> Forgetful {
        let state = State {
            operations_left,
            stable: HashMap::new(),
        };
        Forgetful {
            state: Mutex::new(state),
        }
    }

    fn operate(&self, file: &File) -> io::Result<(u64, Vec<u8>)> {
        let mut state = self.state.lock();
        let inode = file.metadata()?.ino();
        let mut bytes = vec![0; file.metadata()?.len() as usize];
        file.read_exact_at(&mut bytes, 0)?;
        if state.operations_left == 0 {
            return Err(io::Error::other("no power"));
        }
        state.operations_left -= 1;
        state.stable.entry(inode).or_insert_with(|| bytes.clone());
        Ok((inode, bytes))
    }

    /// What is on the disk after the crash: of each sector that was written since the last sync
    /// the old or the new content.
    fn crash(&self, dir: &Path, random: &mut StdRng) {
        let state = self.state.lock();
        for file in fs::read_dir(dir).expect("a folder") {
            let path = file.expect("an entry").path();
            let inode = fs::metadata(&path).expect("a file").ino();
            let Some(stable) = state.stable.get(&inode) else {
                continue;
            };
            let mut bytes = fs::read(&path).expect("readable");
            for (new, old) in bytes.chunks_mut(SECTOR_LEN).zip(stable.chunks(SECTOR_LEN)) {
                if random.random_bool(0.5) {
                    new.copy_from_slice(old);
                }
            }
            fs::write(&path, &bytes).expect("writable");
        }
    }
}

impl Disk for Forgetful {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.operate(file)?;
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let (inode, bytes) = self.operate(file)?;
        self.state.lock().stable.insert(inode, bytes);
        Ok(())
    }

    fn prepare(
        &self,
        dir: &Path,
        sequence: u64,
        len: u64,
        spare: Option<&Path>,
    ) -> Result<File, StorageError> {
        let file = RealDisk.prepare(dir, sequence, len, spare)?;
        // What is prepared is synced, also when the file had a former life.
        let inode = file.metadata().expect("just made").ino();
        self.state.lock().stable.remove(&inode);
        Ok(file)
    }
}

/// What a group's protocol might write next.
fn random_record(random: &mut StdRng, last: &mut [u64; 4], group: usize) -> Record {
    let len = random.random_range(0..1500);
    match random.random_range(0..20) {
        0 => Record::HardState(HardState {
            term: random.random_range(1..1000),
            vote: Some(1),
        }),
        1 if last[group] > 2 => Record::Snapshot(meta(last[group] - 1, 1)),
        2 if last[group] > 0 => {
            // Conflicting entries replace the last one.
            Record::Entries(vec![entry(last[group], random.random(), len)])
        }
        _ => {
            let first = last[group] + 1;
            last[group] += random.random_range(1..4);
            Record::Entries((first..=last[group]).map(|i| entry(i, 1, len)).collect())
        }
    }
}

#[test]
fn nothing_stable_is_lost_by_a_crash_at_any_point() {
    let mut random = seeded();
    for _ in 0..30 {
        one_life_after_another(&mut random);
    }
}

fn one_life_after_another(random: &mut StdRng) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut stable = Ledger::default();
    let mut last = [0; 4];
    for _ in 0..6 {
        let disk = Arc::new(Forgetful::new(random.random_range(1..80)));
        let recovered = recover(dir.path()).expect("sound");
        let (position, ledger) = (recovered.position, recovered.ledger);
        assert_eq!(ledger.restored(), stable.restored());
        let opened = Writer::open(
            dir.path(),
            disk.clone(),
            SEGMENT_LEN,
            &position,
            ledger,
            &Quiet,
        );
        let mut possible = vec![stable.clone()];
        if let Ok(mut writer) = opened {
            loop {
                let mut records = Vec::new();
                let mut after = stable.clone();
                possible = vec![stable.clone()];
                for _ in 0..random.random_range(1..6) {
                    let group = random.random_range(0..4);
                    let record = random_record(random, &mut last, group);
                    after.apply(group as GroupId, &record, 0);
                    possible.push(after.clone());
                    records.push((group as GroupId, record));
                }
                if writer.write(records, &Quiet).is_err() {
                    break;
                }
                stable = after;
                possible = vec![stable.clone()];
                if writer.tidy(&Quiet).is_err() {
                    break;
                }
            }
        }
        disk.crash(dir.path(), random);
        let found = recover(dir.path()).expect("a crash is no damage").ledger;
        let found = found.restored().expect("no holes");
        let known = possible
            .into_iter()
            .find(|state| state.restored().as_ref() == Ok(&found));
        stable = known.expect("what was stable is there, and of the rest a beginning");
        for (group, last) in last.iter_mut().enumerate() {
            let restored = found.get(&(group as GroupId));
            let snapshot = restored.and_then(|restored| restored.snapshot.as_ref());
            let entries = restored.and_then(|restored| restored.entries.last());
            *last = entries
                .map(|entry| entry.index)
                .or(snapshot.map(|meta| meta.index))
                .unwrap_or(0);
        }
    }
}
