//! A disk that takes its time, and forgets in a crash what it had not finished.

use std::collections::VecDeque;

use raft::{Entry, HardState, Index, Position, Restored, SnapshotMeta, Write};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::machine::Machine;

/// A log as a sequence of writes leaves it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    start: Index,
    entries: Vec<Entry>,
}

impl Tape {
    pub(crate) fn start(&self) -> Index {
        self.start
    }

    pub(crate) fn last_index(&self) -> Index {
        self.start + self.entries.len() as u64
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        self.entries
            .get(index.checked_sub(self.start + 1)? as usize)
    }

    pub(crate) fn cut(&mut self, from: Index) {
        self.entries
            .truncate(from.saturating_sub(self.start + 1) as usize);
    }

    pub(crate) fn append(&mut self, entry: &Entry) {
        assert_eq!(
            entry.index,
            self.last_index() + 1,
            "[log without holes] {entry:?}"
        );
        self.entries.push(entry.clone());
    }

    /// Begins anew after `at`, or drops what a snapshot up to there covers when the log reaches it.
    pub(crate) fn skip_to(&mut self, at: Position) {
        if self
            .get(at.index)
            .is_some_and(|entry| entry.term == at.term)
        {
            self.entries.drain(..(at.index - self.start) as usize);
        } else {
            self.entries.clear();
        }
        self.start = at.index;
    }
}

/// A snapshot: what it covers, and the state machine.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) meta: SnapshotMeta,
    pub(crate) machine: Machine,
}

/// What the disk has to do.
#[derive(Debug)]
pub(crate) enum Job {
    Write(Write),
    /// Take over a snapshot that came from the leader; the log begins anew after it.
    Install(Image),
    /// Keep an own snapshot, and the log from this index on.
    Keep(Image, Index),
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) image: Option<Image>,
    pub(crate) log: Tape,
    /// Which disk this is: grows when one is lost and replaced.
    pub(crate) generation: u8,
    /// It has no room for anything new until then.
    pub(crate) full_until_us: u64,
    /// The disk replaces a lost one and the node has not been readmitted.
    pub(crate) wiped: bool,
    jobs: VecDeque<Job>,
    /// How many of them the sync that is under way will finish.
    syncing: usize,
}

impl Disk {
    pub(crate) fn queue(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Begins a sync of all that is queued, when there is something and none is under way.
    pub(crate) fn begin_sync(&mut self) -> bool {
        let begins = self.syncing == 0 && !self.jobs.is_empty();
        if begins {
            self.syncing = self.jobs.len();
        }
        begins
    }

    /// The sync is done, and these jobs with it.
    pub(crate) fn finish(&mut self) -> Vec<Job> {
        let jobs: Vec<Job> = self.jobs.drain(..self.syncing).collect();
        self.syncing = 0;
        for job in &jobs {
            self.carry_out(job, usize::MAX);
        }
        jobs
    }

    /// What is on disk of the entry at `index`.
    pub(crate) fn holds(&self, index: Index, term: u64) -> bool {
        self.image
            .as_ref()
            .is_some_and(|image| image.meta.index >= index)
            || self.log.get(index).is_some_and(|entry| entry.term == term)
    }

    fn carry_out(&mut self, job: &Job, parts: usize) {
        match job {
            Job::Write(write) => self.write(write, parts),
            Job::Install(image) => {
                let at = Position {
                    index: image.meta.index,
                    term: image.meta.term,
                };
                self.log.skip_to(at);
                self.image = Some(image.clone());
            }
            Job::Keep(image, _) => {
                let newer = self
                    .image
                    .as_ref()
                    .is_none_or(|old| old.meta.index < image.meta.index);
                if newer {
                    self.image = Some(image.clone());
                }
            }
        }
    }

    /// The first `parts` of a write: hard state, cut, then each entry.
    fn write(&mut self, write: &Write, parts: usize) {
        if parts > 0 {
            self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        }
        if parts > 1
            && let Some(from) = write.truncate_from
        {
            self.log.cut(from);
        }
        for entry in write.entries.iter().take(parts.saturating_sub(2)) {
            self.log.append(entry);
        }
    }

    /// The power fails: of what is queued, some was done and the next thing may be torn.
    pub(crate) fn crash(&mut self, rng: &mut ChaCha8Rng) {
        let done = rng.random_range(0..=self.jobs.len());
        let jobs: Vec<Job> = self.jobs.drain(..).collect();
        self.syncing = 0;
        for job in &jobs[..done] {
            self.carry_out(job, usize::MAX);
        }
        if let Some(Job::Write(write)) = jobs.get(done) {
            self.write(write, rng.random_range(0..4));
        }
    }

    /// The disk is lost and replaced by an empty one.
    pub(crate) fn lose(&mut self) {
        *self = Disk {
            generation: self.generation + 1,
            wiped: true,
            ..Disk::default()
        };
    }

    pub(crate) fn restore(&self) -> Restored {
        Restored {
            hard_state: self.hard_state,
            snapshot: self.image.as_ref().map(|image| image.meta.clone()),
            entries: self.log.entries().to_vec(),
            wiped: self.wiped,
        }
    }
}
