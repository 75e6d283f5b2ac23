//! The write-ahead log of all groups, as the rest of the node sees it.
//!
//! One thread owns the log. Whatever groups hand over while it is busy with the disk waits in a
//! queue; the thread then takes all of it, puts it into one write and one fsync, and tells each
//! group in the order of handing over. So the number of fsyncs does not grow with the load, and a
//! second file is never involved: votes, entries and snapshot markers are in one order.

use super::disk::Disk;
use super::error::StorageError;
use super::ledger::Ledger;
use super::record::Record;
use super::recovery::Position;
use super::writer::{self, Observer, Stopped, Writer};
use crate::encoding::GroupId;
use metrics::{Counter, Gauge, Histogram};
use parking_lot::{Condvar, Mutex};
use raft::{Entry, HardState, Index, SnapshotMeta, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How the log is kept.
pub struct WalOptions {
    /// Length of a segment in bytes; an entry must fit one.
    pub segment_len: u64,
    /// Called once, from the log's thread, when the disk failed. No callback runs after it: the
    /// only right thing to do is to stop the process, since what a failed fsync left on the disk
    /// is unknown, and a second one would claim success.
    pub on_failure: Box<dyn FnOnce(&StorageError) + Send>,
}

impl WalOptions {
    /// The default length of a segment: 16 MiB.
    pub const SEGMENT_LEN: u64 = 16 << 20;
}

/// Changes of one group that become stable together, in this order of fields.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Term and vote.
    pub hard_state: Option<HardState>,
    /// A snapshot that is stable in its own file: entries up to it leave the log.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries from here on leave the log.
    pub truncate_from: Option<Index>,
    /// Contiguous entries that replace what stands at their indexes and behind.
    pub entries: Vec<Entry>,
    /// Whether the node lost its disk and may not vote until readmitted.
    pub wiped: Option<bool>,
}

impl Append {
    /// What the protocol wants on the disk; takes the entries out of it.
    pub fn write(write: &mut Write) -> Append {
        Append {
            hard_state: write.hard_state,
            truncate_from: write.truncate_from,
            entries: std::mem::take(&mut write.entries),
            ..Append::default()
        }
    }

    /// The log starts behind a snapshot of the node's own making.
    pub fn compacted(snapshot: SnapshotMeta) -> Append {
        Append {
            snapshot: Some(snapshot),
            ..Append::default()
        }
    }

    /// The log is replaced by a snapshot that the leader sent.
    pub fn installed(snapshot: SnapshotMeta) -> Append {
        let truncate_from = Some(snapshot.index + 1);
        Append {
            snapshot: Some(snapshot),
            truncate_from,
            ..Append::default()
        }
    }

    fn records(self, group: GroupId, out: &mut Vec<(GroupId, Record)>) {
        out.extend(
            self.hard_state
                .map(|value| (group, Record::HardState(value))),
        );
        out.extend(self.snapshot.map(|value| (group, Record::Snapshot(value))));
        out.extend(
            self.truncate_from
                .map(|value| (group, Record::Truncate(value))),
        );
        if !self.entries.is_empty() {
            out.push((group, Record::Entries(self.entries)));
        }
        out.extend(self.wiped.map(|value| (group, Record::Wiped(value))));
    }
}

type Done = Box<dyn FnOnce(bool) + Send>;

#[derive(Default)]
struct Queue {
    appends: Vec<(GroupId, Append, Done)>,
    stop: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    epoch: Instant,
    /// Microseconds from the epoch to the begin of the write in progress, plus one; 0 when idle.
    busy_since_us: AtomicU64,
    full: AtomicBool,
    failed: AtomicBool,
    stopping: AtomicBool,
    command_len_max: usize,
    meters: Meters,
}

struct Meters {
    sync_seconds: Histogram,
    batch_bytes: Histogram,
    bytes: Counter,
    segments: Gauge,
}

impl Meters {
    fn new() -> Meters {
        metrics::describe_histogram!(
            "ordeal_wal_sync_seconds",
            metrics::Unit::Seconds,
            "time of one write and fsync of the log"
        );
        metrics::describe_histogram!(
            "ordeal_wal_batch_bytes",
            metrics::Unit::Bytes,
            "bytes that one fsync of the log made stable"
        );
        metrics::describe_counter!(
            "ordeal_wal_bytes_total",
            metrics::Unit::Bytes,
            "bytes written to the log"
        );
        metrics::describe_gauge!("ordeal_wal_segments", "log segments in use");
        Meters {
            sync_seconds: metrics::histogram!("ordeal_wal_sync_seconds"),
            batch_bytes: metrics::histogram!("ordeal_wal_batch_bytes"),
            bytes: metrics::counter!("ordeal_wal_bytes_total"),
            segments: metrics::gauge!("ordeal_wal_segments"),
        }
    }
}

impl Observer for Shared {
    fn synced(&self, took: Duration, len: usize) {
        self.meters.sync_seconds.record(took);
        self.meters.batch_bytes.record(len as f64);
        self.meters.bytes.increment(len as u64);
    }

    fn full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!("the disk is full: writes are refused until there is room");
            } else {
                tracing::info!("the disk has room again");
            }
        }
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// A handle to the log; clones are handles to the same log.
#[derive(Clone)]
pub struct Wal {
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Wal {
    /// Opens the log where recovery says that it goes on, and starts its thread.
    pub(crate) fn start(
        dir: &Path,
        disk: Arc<dyn Disk>,
        position: &Position,
        ledger: Ledger,
        options: WalOptions,
    ) -> Result<Wal, StorageError> {
        let WalOptions {
            segment_len,
            on_failure,
        } = options;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            epoch: Instant::now(),
            busy_since_us: AtomicU64::new(0),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            command_len_max: writer::record_len_max(segment_len) / 2,
            meters: Meters::new(),
        });
        let writer = Writer::open(dir, disk, segment_len, position, ledger, &*shared);
        let writer = writer.map_err(|stopped| match stopped {
            Stopped::Failed(error) => error,
            Stopped::Abandoned => unreachable!("nothing asked the log to stop"),
        })?;
        let (of_thread, span) = (Arc::clone(&shared), tracing::Span::current());
        let thread = std::thread::Builder::new()
            .name("log-sync".into())
            .spawn(move || span.in_scope(|| run(&of_thread, writer, on_failure)))
            .map_err(|e| StorageError::io("start a thread for", &PathBuf::from(dir), e))?;
        Ok(Wal {
            shared,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Hands changes over. `done` runs on the log's thread when they, and all that was handed over
    /// before them, are stable; if that never happens it is dropped. It should be short: the next
    /// fsync waits for it.
    pub fn append(&self, group: GroupId, append: Append, done: impl FnOnce() + Send + 'static) {
        self.append_in_batch(group, append, move |_| done());
    }

    /// As [`append`](Self::append); `done` is told whether it is the last of those whose changes
    /// became stable together: a good moment to flush what all of them had to say.
    pub fn append_in_batch(
        &self,
        group: GroupId,
        append: Append,
        done: impl FnOnce(bool) + Send + 'static,
    ) {
        let mut queue = self.shared.queue.lock();
        let idle = queue.appends.is_empty();
        queue.appends.push((group, append, Box::new(done)));
        drop(queue);
        if idle {
            self.shared.wake.notify_one();
        }
    }

    /// The longest command that an entry may carry, in bytes.
    pub fn command_len_max(&self) -> usize {
        self.shared.command_len_max
    }

    /// Whether there is no room for another segment: refuse new commands, definitely. What the
    /// protocol itself must write still fits, for a while.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// Whether the disk failed. It stays so.
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// For how long the write in progress has been going on: a leader whose disk hangs is no good
    /// leader, however well it sends heartbeats.
    pub fn stalled_for(&self) -> Duration {
        match self.shared.busy_since_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self
                .shared
                .epoch
                .elapsed()
                .saturating_sub(Duration::from_micros(since - 1)),
        }
    }

    /// Writes what was handed over, marks the log as closed in good order, and ends the thread.
    /// On a full disk what still waits is dropped.
    pub fn close(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the log's thread has been printed by then.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal")
            .field("full", &self.is_full())
            .finish_non_exhaustive()
    }
}

fn run(shared: &Shared, mut writer: Writer, on_failure: Box<dyn FnOnce(&StorageError) + Send>) {
    match serve(shared, &mut writer) {
        Ok(()) => tracing::debug!("log closed"),
        Err(Stopped::Abandoned) => tracing::warn!("log abandoned while the disk was full"),
        Err(Stopped::Failed(error)) => {
            shared.failed.store(true, Ordering::Relaxed);
            tracing::error!(error = %chain(&error), "the log's disk failed: stopping");
            on_failure(&error);
        }
    }
}

fn serve(shared: &Shared, writer: &mut Writer) -> Result<(), Stopped> {
    let mut records = Vec::new();
    let mut taken = Vec::new();
    let mut more = false;
    loop {
        let stop = take(shared, more, &mut taken);
        if taken.is_empty() && stop {
            return writer.write([(0, Record::Closed)], shared);
        }
        let since_us = shared.epoch.elapsed().as_micros() as u64;
        shared.busy_since_us.store(since_us + 1, Ordering::Relaxed);
        let mut done = Vec::with_capacity(taken.len());
        for (group, append, callback) in taken.drain(..) {
            append.records(group, &mut records);
            done.push(callback);
        }
        let len_max = writer.record_len_max();
        writer.write(writer::split(records.drain(..), len_max), shared)?;
        shared.busy_since_us.store(0, Ordering::Relaxed);
        let last = done.len().saturating_sub(1);
        for (at, callback) in done.into_iter().enumerate() {
            callback(at == last);
        }
        more = writer.tidy(shared)?;
        shared.meters.segments.set(writer.segments() as f64);
    }
}

/// Takes all that waits, and waits for it unless there is upkeep to do; whether to stop.
fn take(shared: &Shared, upkeep: bool, taken: &mut Vec<(GroupId, Append, Done)>) -> bool {
    /// Upkeep that nobody's write sets off: a full disk is looked at again.
    const IDLE: Duration = Duration::from_millis(250);
    let mut queue = shared.queue.lock();
    if queue.appends.is_empty() && !queue.stop && !upkeep {
        if shared.full.load(Ordering::Relaxed) {
            shared.wake.wait_for(&mut queue, IDLE);
        } else {
            shared.wake.wait(&mut queue);
        }
    }
    std::mem::swap(&mut queue.appends, taken);
    queue.stop
}

fn chain(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
