//! The log's writing end: batches into segments, and segments round in a circle.
//!
//! Only the sync thread owns a writer. The next segment is made ready beside it, by a thread of
//! its own, so that going over to it costs one fsync more and no more.

use super::disk::Disk;
use super::error::StorageError;
use super::ledger::Ledger;
use super::record::{BatchEncoder, HEADER_LEN as RECORD_HEADER_LEN, Record};
use super::recovery::Position;
use super::segment;
use crate::encoding::{self, GroupId};
use raft::Entry;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room kept in a segment for the record that seals it and the empty one behind.
const RESERVE_LEN: u64 = 3 * RECORD_HEADER_LEN as u64;
/// Old segments kept to be overwritten; more are deleted.
const SPARES_MAX: usize = 2;
/// Below so many segments the log is not worth tidying.
const TIDY_SEGMENTS_MIN: usize = 4;
/// How much is written again at a time: others wait for this long.
const RESTATE_LEN_MAX: u64 = 1 << 20;
/// How long a full disk is left alone before it is asked again.
const FULL_RETRY_MS: u64 = 100;
/// A batch's buffer above this size is given back.
const BUFFER_LEN_MAX: usize = 4 << 20;

/// Why a write did not come to an end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The disk failed: nothing may be written or believed any more.
    Failed(StorageError),
    /// The node stops while the log waits for room on a full disk.
    Abandoned,
}

impl From<StorageError> for Stopped {
    fn from(error: StorageError) -> Stopped {
        Stopped::Failed(error)
    }
}

/// What the writer tells the rest of the node while it works.
pub(crate) trait Observer {
    /// A batch of so many bytes became stable.
    fn synced(&self, took: Duration, len: usize);
    /// The log has, or has no longer, room for another segment.
    fn full(&self, full: bool);
    /// Whether the node wants to stop.
    fn stopping(&self) -> bool;
}

struct Active {
    file: File,
    sequence: u64,
    at: u64,
    len: u64,
}

/// Writes batches.
pub(crate) struct Writer {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    segment_len: u64,
    active: Active,
    sealed: VecDeque<u64>,
    spares: Vec<PathBuf>,
    preparer: Preparer,
    batch: u64,
    ledger: Ledger,
    buffer: Vec<u8>,
    /// Segments up to this one are being emptied by writing what lives in them again.
    tidying: Option<u64>,
}

impl Writer {
    /// Goes on where recovery says, and says in the log that it was opened.
    ///
    /// That first batch fits a sector, so a crash cannot tear it: from then on recovery always
    /// knows the number that a torn batch must have. It also shows whether the disk takes writes.
    pub(crate) fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        segment_len: u64,
        position: &Position,
        ledger: Ledger,
        observer: &impl Observer,
    ) -> Result<Writer, Stopped> {
        let (existing, mut spares) = segment::list(dir)?;
        let path = segment::path(dir, position.active);
        let file = if existing.contains(&position.active) {
            let open = OpenOptions::new().read(true).write(true).open(&path);
            open.map_err(|e| StorageError::io("open", &path, e))?
        } else {
            disk.prepare(dir, position.active, segment_len, spares.pop().as_deref())?
        };
        let len = file
            .metadata()
            .map_err(|e| StorageError::io("look at", &path, e))?
            .len();
        if position.leftovers {
            clear(&*disk, &file, position.at, len)
                .map_err(|e| StorageError::io("clear the end of", &path, e))?;
        }
        let mut preparer = Preparer::start(dir.to_owned(), Arc::clone(&disk), segment_len);
        match position.prepared.first() {
            Some(&next) => preparer.adopt(&segment::path(dir, next))?,
            None => preparer.request(position.active + 1, spares.pop()),
        }
        let mut writer = Writer {
            dir: dir.to_owned(),
            disk,
            segment_len,
            active: Active {
                file,
                sequence: position.active,
                at: position.at,
                len,
            },
            sealed: position.sealed.iter().copied().collect(),
            spares,
            preparer,
            batch: position.batch,
            ledger,
            buffer: Vec::new(),
            tidying: None,
        };
        let opened = Record::Opened(env!("CARGO_PKG_VERSION").into());
        writer.write([(0, opened)], observer)?;
        Ok(writer)
    }

    /// The longest record that fits a segment.
    pub(crate) fn record_len_max(&self) -> usize {
        record_len_max(self.segment_len)
    }

    /// Writes records and returns when they are stable.
    pub(crate) fn write(
        &mut self,
        records: impl IntoIterator<Item = (GroupId, Record)>,
        observer: &impl Observer,
    ) -> Result<(), Stopped> {
        let mut encoder = self.encoder();
        for (group, record) in records {
            let len = record.len_max() as u64;
            let max = self.record_len_max();
            if len > max as u64 {
                return Err(StorageError::TooLarge {
                    len: len as usize,
                    max,
                }
                .into());
            }
            if self.active.at + encoder.len() as u64 + len + RESERVE_LEN > self.active.len {
                encoder.push(0, &Record::Sealed);
                self.flush(encoder, observer)?;
                self.roll(observer)?;
                encoder = self.encoder();
            }
            encoder.push(group, &record);
            self.ledger.apply(group, &record, self.active.sequence);
        }
        if encoder.is_empty() {
            return Ok(());
        }
        self.flush(encoder, observer)
    }

    /// Does a bounded piece of upkeep: takes in the next segment, empties the oldest ones.
    /// Returns whether there is more to do at once.
    pub(crate) fn tidy(&mut self, observer: &impl Observer) -> Result<bool, Stopped> {
        self.poll_next(Duration::ZERO, observer)?;
        let Some(upto) = self.tidying else {
            return Ok(false);
        };
        let records = self.ledger.restate(upto, RESTATE_LEN_MAX);
        if records.is_empty() {
            self.tidying = None;
            self.recycle()?;
            return Ok(false);
        }
        self.write(split(records, self.record_len_max()), observer)?;
        Ok(true)
    }

    /// Segments in use.
    pub(crate) fn segments(&self) -> usize {
        self.sealed.len() + 1
    }

    fn encoder(&mut self) -> BatchEncoder {
        BatchEncoder::new(
            std::mem::take(&mut self.buffer),
            self.active.sequence,
            self.batch,
        )
    }

    fn flush(&mut self, encoder: BatchEncoder, observer: &impl Observer) -> Result<(), Stopped> {
        let (bytes, len) = encoder.finish();
        let begun = Instant::now();
        let Active {
            file, sequence, at, ..
        } = &self.active;
        let path = || segment::path(&self.dir, *sequence);
        let written = self.disk.write(file, &bytes, *at);
        written.map_err(|e| StorageError::io("write", &path(), e))?;
        let synced = self.disk.sync(file);
        synced.map_err(|e| StorageError::io("sync", &path(), e))?;
        observer.synced(begun.elapsed(), len);
        self.active.at += len as u64;
        self.batch += 1;
        if bytes.capacity() <= BUFFER_LEN_MAX {
            self.buffer = bytes;
        }
        Ok(())
    }

    /// Goes over to the next segment, waiting for it if it is not ready.
    fn roll(&mut self, observer: &impl Observer) -> Result<(), Stopped> {
        self.sealed.push_back(self.active.sequence);
        self.recycle()?;
        let file = loop {
            if let Some(file) = self.preparer.take() {
                break file;
            }
            if observer.stopping() {
                return Err(Stopped::Abandoned);
            }
            self.poll_next(Duration::from_millis(FULL_RETRY_MS), observer)?;
        };
        let sequence = self.active.sequence + 1;
        let path = segment::path(&self.dir, sequence);
        let len = file
            .metadata()
            .map_err(|e| StorageError::io("look at", &path, e))?
            .len();
        self.active = Active {
            file,
            sequence,
            at: segment::HEADER_LEN,
            len,
        };
        self.preparer.request(sequence + 1, self.spares.pop());
        self.plan_tidying();
        Ok(())
    }

    /// Learns whether the next segment is ready, and asks again for it on a full disk.
    fn poll_next(&mut self, wait: Duration, observer: &impl Observer) -> Result<(), Stopped> {
        match self.preparer.poll(wait) {
            Next::Ready => observer.full(false),
            Next::Pending => {}
            Next::Full => {
                observer.full(true);
                self.recycle()?;
                if !self.spares.is_empty() || self.preparer.retry_due() {
                    self.preparer
                        .request(self.active.sequence + 1, self.spares.pop());
                }
            }
            Next::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes segments that nothing lives in out of the log.
    fn recycle(&mut self) -> Result<(), Stopped> {
        let oldest = self.ledger.oldest().unwrap_or(self.active.sequence);
        let mut changed = false;
        while let Some(&sequence) = self.sealed.front().filter(|&&sequence| sequence < oldest) {
            let path = segment::path(&self.dir, sequence);
            if self.spares.len() < SPARES_MAX {
                let spare = segment::spare_path(&self.dir, sequence);
                fs::rename(&path, &spare).map_err(|e| StorageError::io("rename", &path, e))?;
                self.spares.push(spare);
            } else {
                fs::remove_file(&path).map_err(|e| StorageError::io("delete", &path, e))?;
            }
            self.sealed.pop_front();
            changed = true;
        }
        if changed {
            segment::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// When less than half of the log lives, its oldest segment is emptied. Each segment that is
    /// filled frees one so, and the log stays below about twice what lives in it.
    fn plan_tidying(&mut self) {
        let len = self.segments() as u64 * self.segment_len;
        let worth_it = self.segments() >= TIDY_SEGMENTS_MIN && len > 2 * self.ledger.len();
        if self.tidying.is_none() && worth_it {
            self.tidying = self.sealed.front().copied();
        }
    }
}

/// The longest record that fits a segment of this length.
pub(crate) fn record_len_max(segment_len: u64) -> usize {
    (segment_len - segment::HEADER_LEN - RESERVE_LEN) as usize
}

/// Cuts records of many entries so that each fits a segment.
pub(crate) fn split(
    records: impl IntoIterator<Item = (GroupId, Record)>,
    len_max: usize,
) -> impl Iterator<Item = (GroupId, Record)> {
    records.into_iter().flat_map(move |(group, record)| {
        let parts = if record.len_max() <= len_max {
            vec![record]
        } else {
            match record {
                Record::Entries(entries) => {
                    cut(entries, len_max / 2).map(Record::Entries).collect()
                }
                Record::Restated(entries) => {
                    cut(entries, len_max / 2).map(Record::Restated).collect()
                }
                other => vec![other],
            }
        };
        parts.into_iter().map(move |part| (group, part))
    })
}

/// Cuts entries into runs of at most about so many bytes, each of one entry at least.
fn cut(entries: Vec<Entry>, len_max: usize) -> impl Iterator<Item = Vec<Entry>> {
    let mut entries = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut run = vec![entries.next()?];
        let mut len = encoding::entry_len(&run[0]);
        while let Some(entry) = entries.next_if(|entry| len + encoding::entry_len(entry) <= len_max)
        {
            len += encoding::entry_len(&entry);
            run.push(entry);
        }
        Some(run)
    })
}

fn clear(disk: &dyn Disk, file: &File, from: u64, to: u64) -> std::io::Result<()> {
    let zeros = vec![0; (to - from) as usize];
    disk.write(file, &zeros, from)?;
    disk.sync(file)
}

/// How the next segment stands.
enum Next {
    Ready,
    Pending,
    Full,
    Failed(StorageError),
}

/// Makes segments ready on a thread of its own, one at a time.
struct Preparer {
    /// Taken when dropped: that ends the thread.
    requests: Option<Sender<(u64, Option<PathBuf>)>>,
    thread: Option<JoinHandle<()>>,
    results: Receiver<Result<File, StorageError>>,
    ready: Option<File>,
    full_since: Option<Instant>,
}

impl Preparer {
    fn start(dir: PathBuf, disk: Arc<dyn Disk>, segment_len: u64) -> Preparer {
        let (requests, requested) = channel::<(u64, Option<PathBuf>)>();
        let (send, results) = channel();
        let thread = std::thread::Builder::new()
            .name("log-segments".into())
            .spawn(move || {
                while let Ok((sequence, spare)) = requested.recv() {
                    let file = disk.prepare(&dir, sequence, segment_len, spare.as_deref());
                    if send.send(file).is_err() {
                        return;
                    }
                }
            })
            .expect("a thread can be started");
        Preparer {
            requests: Some(requests),
            thread: Some(thread),
            results,
            ready: None,
            full_since: None,
        }
    }

    fn request(&mut self, sequence: u64, spare: Option<PathBuf>) {
        self.full_since = None;
        let requests = self.requests.as_ref().expect("taken when dropped");
        let sent = requests.send((sequence, spare));
        sent.expect("the thread lives as long as the sender");
    }

    fn adopt(&mut self, path: &Path) -> Result<(), StorageError> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        self.ready = Some(open.map_err(|e| StorageError::io("open", path, e))?);
        Ok(())
    }

    /// Waits so long for the thread at most.
    fn poll(&mut self, wait: Duration) -> Next {
        match self.results.recv_timeout(wait) {
            Ok(Ok(file)) => {
                self.ready = Some(file);
                self.full_since = None;
                Next::Ready
            }
            Ok(Err(error)) if error.is_full() => {
                self.full_since = Some(Instant::now());
                Next::Full
            }
            Ok(Err(error)) => Next::Failed(error),
            Err(_) if self.full_since.is_some() => Next::Full,
            Err(_) => Next::Pending,
        }
    }

    /// The next segment, if it is ready.
    fn take(&mut self) -> Option<File> {
        self.ready.take()
    }

    fn retry_due(&self) -> bool {
        self.full_since
            .is_some_and(|since| since.elapsed() >= Duration::from_millis(FULL_RETRY_MS))
    }
}

impl Drop for Preparer {
    /// Nothing touches the folder any more once the writer is gone.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then.
            let _ = thread.join();
        }
    }
}
