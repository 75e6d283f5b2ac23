//! From committed to applied: what was handed out, how much of it may be under way, and the reads
//! that are sure of their index and wait for it.

use std::collections::VecDeque;

use crate::config::Config;
use crate::log::{Entry, Index, Log};
use crate::progress::Window;
use crate::read::ReadReady;

/// How far the state machine is, and what it was given.
#[derive(Debug)]
pub(crate) struct Applying {
    pub(crate) applied: Index,
    /// Handed out to be applied.
    handed: Index,
    window: Window,
    /// By index.
    reads: VecDeque<ReadReady>,
}

impl Applying {
    /// The state machine holds everything up to `index`.
    pub(crate) fn after(index: Index) -> Applying {
        Applying {
            applied: index,
            handed: index,
            window: Window::default(),
            reads: VecDeque::new(),
        }
    }

    /// What comes next, up to `end` and no more than is bounded.
    pub(crate) fn take(&mut self, log: &Log, end: Index, config: &Config) -> Vec<Entry> {
        let busy = !config.asynchronous_apply && self.applied < self.handed;
        let full = self
            .window
            .is_full(usize::MAX, config.apply_inflight_max_bytes);
        if self.handed >= end || busy || full {
            return Vec::new();
        }
        let (entries, bytes) = log.slice(self.handed + 1, end, config.apply_max_bytes);
        self.handed += entries.len() as u64;
        self.window.add(self.handed, bytes);
        entries
    }

    /// A snapshot up to `index` takes the place of what was handed out.
    pub(crate) fn skip_to(&mut self, index: Index) {
        self.handed = index;
        self.window.clear();
    }

    /// The state machine has come this far; reads that waited for it may be served.
    pub(crate) fn done(&mut self, index: Index, served: &mut Vec<ReadReady>) {
        assert!(
            index <= self.handed,
            "only what was handed out can have been applied"
        );
        self.applied = self.applied.max(index);
        self.window.free_to(index);
        let ready = self
            .reads
            .iter()
            .take_while(|read| read.index <= self.applied);
        let ready = ready.count();
        served.extend(self.reads.drain(..ready));
    }

    /// A read is sure of its index: it comes back when it may be served now (or `early`).
    pub(crate) fn read(&mut self, mut read: ReadReady, early: bool) -> Option<ReadReady> {
        // Indexes come in order but across a change of leader; a later one is as good.
        if let Some(last) = self.reads.back() {
            read.index = read.index.max(last.index);
        }
        if read.index <= self.applied || early {
            return Some(read);
        }
        self.reads.push_back(read);
        None
    }
}
