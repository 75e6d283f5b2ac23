//! What is on its way to the disk, and what waits for it to get there.

use std::collections::VecDeque;

use crate::log::{HardState, Term};
use crate::message::Envelope;
use crate::ready::WriteTag;

/// The writes of one life.
#[derive(Debug)]
pub(crate) struct Writes {
    /// Messages that leave when all that is in memory now is on disk.
    pub(crate) waiting: Vec<Envelope>,
    /// The hard state as last handed to the disk.
    hard_state: HardState,
    in_flight: VecDeque<InFlight>,
    last_tag: WriteTag,
    durable_term: Term,
}

/// A write that is not done.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    tag: WriteTag,
    /// The term that will be durable with it.
    term: Term,
    /// The tick at which it was handed out.
    since: u64,
}

impl Writes {
    /// The disk holds this hard state.
    pub(crate) fn after(hard_state: HardState) -> Writes {
        Writes {
            waiting: Vec::new(),
            hard_state,
            in_flight: VecDeque::new(),
            last_tag: WriteTag::default(),
            durable_term: hard_state.term,
        }
    }

    /// Whether the disk was not given this hard state.
    pub(crate) fn has_changed(&self, hard_state: HardState) -> bool {
        self.hard_state != hard_state
    }

    /// The term that is on disk.
    pub(crate) fn durable_term(&self) -> Term {
        self.durable_term
    }

    /// The tick at which the oldest write that is not done was handed out.
    pub(crate) fn oldest_since(&self) -> Option<u64> {
        self.in_flight.front().map(|oldest| oldest.since)
    }

    /// Hands a write out, with this hard state: its tag, and what waits for it.
    pub(crate) fn begin(&mut self, hard_state: HardState, now: u64) -> (WriteTag, Vec<Envelope>) {
        self.hard_state = hard_state;
        self.last_tag = WriteTag(self.last_tag.0 + 1);
        self.in_flight.push_back(InFlight {
            tag: self.last_tag,
            term: hard_state.term,
            since: now,
        });
        (self.last_tag, std::mem::take(&mut self.waiting))
    }

    /// Takes note of one write that is done, if any is up to this tag.
    pub(crate) fn end_oldest(&mut self, tag: WriteTag) -> bool {
        match self.in_flight.front() {
            Some(oldest) if oldest.tag <= tag => self.durable_term = oldest.term,
            _ => return false,
        }
        self.in_flight.pop_front();
        true
    }
}
