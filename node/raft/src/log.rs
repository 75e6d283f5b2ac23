//! The log since the last snapshot, in memory, and how much of it is on disk.
//!
//! Indexes grow by one and never skip. Three marks divide the log:
//!
//! ```text
//!   start │ first ……… stable ……… written ……… last
//!         │           └ on disk  └ handed to the disk
//! ```
//!
//! 1. `start < first ≤ last + 1`; `start` is the compacted entry just before the first one kept.
//! 2. `stable ≤ written ≤ last`.
//! 3. Truncation pulls `written` and `stable` back, and with them the claim of every write still
//!    in flight: the completion of an overwritten write can therefore never mark its successor as
//!    stable, even when a later truncation puts back an entry of the same index and term.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::membership::Configuration;

/// Names a node for its whole life; never given to another.
pub type NodeId = u64;
/// A leader's reign. 0 is before the first.
pub type Term = u64;
/// A position in the log. The first entry has index 1; 0 is "none".
pub type Index = u64;

/// What an entry costs beside its payload, in every bound that counts bytes.
const ENTRY_OVERHEAD_BYTES: usize = 24;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place.
    pub index: Index,
    /// The term of the leader that made it; index and term together identify an entry for ever.
    pub term: Term,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Empty,
    /// A command for the state machine.
    Command(Bytes),
    /// The members from this entry on.
    Configuration(Box<Configuration>),
}

impl Entry {
    /// What the entry counts for in every bound of bytes.
    pub fn size_bytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Empty => 0,
            Payload::Command(bytes) => bytes.len(),
            Payload::Configuration(configuration) => 32 * configuration.members().count(),
        };
        payload + ENTRY_OVERHEAD_BYTES
    }

    /// Index and term.
    pub fn position(&self) -> Position {
        Position {
            index: self.index,
            term: self.term,
        }
    }
}

/// Index and term of an entry. Ordered as logs are compared (5.4.1): by term, then by length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The entry's index.
    pub index: Index,
    /// The entry's term.
    pub term: Term,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.term, self.index).cmp(&(other.term, other.index))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a node must not forget beside its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The current term.
    pub term: Term,
    /// Whom the node voted for in it.
    pub vote: Option<NodeId>,
}

/// The log. See the module's invariants.
#[derive(Debug)]
pub(crate) struct Log {
    start: Position,
    entries: VecDeque<Entry>,
    /// What all of them count for.
    bytes: usize,
    written: Index,
    stable: Index,
    /// For each write in flight, the last index that will be stable when it is done.
    in_flight: VecDeque<Index>,
    /// Where the disk must cut before it appends what is not written yet.
    cut: Option<Index>,
}

/// What the disk must do to catch up with the log.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    pub(crate) truncate_from: Option<Index>,
    pub(crate) entries: Vec<Entry>,
}

impl Log {
    /// A log that is wholly on disk.
    pub(crate) fn restored(start: Position, entries: Vec<Entry>) -> Log {
        let last = entries.last().map_or(start.index, |entry| entry.index);
        Log {
            start,
            bytes: entries.iter().map(Entry::size_bytes).sum(),
            entries: entries.into(),
            written: last,
            stable: last,
            in_flight: VecDeque::new(),
            cut: None,
        }
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn first_index(&self) -> Index {
        self.start.index + 1
    }

    pub(crate) fn last_index(&self) -> Index {
        self.start.index + self.entries.len() as u64
    }

    pub(crate) fn last(&self) -> Position {
        self.entries.back().map_or(self.start, Entry::position)
    }

    /// The last index on disk.
    pub(crate) fn stable(&self) -> Index {
        self.stable
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        self.entries
            .get(index.checked_sub(self.first_index())? as usize)
    }

    /// The entry's index and term, when it is kept or the one just compacted away.
    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == self.start.index {
            return Some(self.start);
        }
        self.get(index).map(Entry::position)
    }

    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        self.position(index).map(|position| position.term)
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.position(position.index) == Some(position)
    }

    /// The last entry at or below `at` whose term is not above `term`: where two logs may meet.
    pub(crate) fn meeting_point(&self, at: Index, term: Term) -> Position {
        let mut index = at.min(self.last_index());
        while let Some(position) = self.position(index) {
            if position.term <= term || index == 0 {
                return position;
            }
            index -= 1;
        }
        self.start
    }

    /// Entries from `from` up to `to`, at least one and no more than about `max_bytes`.
    pub(crate) fn slice(&self, from: Index, to: Index, max_bytes: usize) -> (Vec<Entry>, usize) {
        let low = (from.max(self.first_index()) - self.first_index()) as usize;
        let high = (to.min(self.last_index()) + 1).saturating_sub(self.first_index()) as usize;
        if low >= high {
            return (Vec::new(), 0);
        }
        let mut bytes = 0;
        let mut count = 0;
        for entry in self.entries.range(low..high) {
            let size = entry.size_bytes();
            if count > 0 && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            count += 1;
        }
        (
            self.entries.range(low..low + count).cloned().collect(),
            bytes,
        )
    }

    /// What the entries after `from` up to `to` count for.
    pub(crate) fn size_bytes(&self, from: Index, to: Index) -> usize {
        (from + 1..=to)
            .filter_map(|index| self.get(index))
            .map(Entry::size_bytes)
            .sum()
    }

    /// What all entries that are kept count for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first of the entries up to `index` that are at most so many, and count for at most so
    /// much.
    pub(crate) fn tail(&self, index: Index, entries_max: u64, bytes_max: usize) -> Index {
        let oldest = (index + 1).saturating_sub(entries_max);
        let (mut from, mut bytes) = (index + 1, 0);
        while from > oldest
            && let Some(entry) = self.get(from - 1)
            && bytes + entry.size_bytes() <= bytes_max
        {
            bytes += entry.size_bytes();
            from -= 1;
        }
        from
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index() + 1, "the log has no holes");
        self.bytes += entry.size_bytes();
        self.entries.push_back(entry);
    }

    /// Drops the entries from `index` on.
    pub(crate) fn truncate(&mut self, index: Index) {
        assert!(
            index > self.start.index,
            "a compacted entry is never truncated"
        );
        let kept = (index - self.first_index()) as usize;
        let cut = self.entries.drain(kept.min(self.entries.len())..);
        self.bytes -= cut.map(|entry| entry.size_bytes()).sum::<usize>();
        if index <= self.written {
            self.cut = Some(self.cut.map_or(index, |cut| cut.min(index)));
            self.written = index - 1;
            self.stable = self.stable.min(index - 1);
            for claim in &mut self.in_flight {
                *claim = (*claim).min(index - 1);
            }
        }
    }

    /// Drops the entries up to `index`, which a snapshot covers.
    pub(crate) fn compact(&mut self, index: Index) {
        let index = index.min(self.stable);
        let Some(start) = self.position(index) else {
            return;
        };
        let gone = self.entries.drain(..(index - self.start.index) as usize);
        self.bytes -= gone.map(|entry| entry.size_bytes()).sum::<usize>();
        self.start = start;
    }

    /// Begins anew after a snapshot that the log does not reach. The disk is told by the
    /// installation of the snapshot itself.
    pub(crate) fn reset(&mut self, start: Position) {
        self.start = start;
        self.entries.clear();
        self.bytes = 0;
        self.written = start.index;
        self.stable = start.index;
        self.cut = None;
        self.in_flight.iter_mut().for_each(|claim| *claim = 0);
    }

    /// Whether something waits to be handed to the disk.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.written < self.last_index() || self.cut.is_some()
    }

    /// Hands over what the disk lacks, as one write in flight.
    pub(crate) fn take_unwritten(&mut self) -> Unwritten {
        let (entries, _) = self.slice(self.written + 1, self.last_index(), usize::MAX);
        self.written = self.last_index();
        self.in_flight.push_back(self.written);
        Unwritten {
            truncate_from: self.cut.take(),
            entries,
        }
    }

    /// The oldest write in flight is done.
    pub(crate) fn write_done(&mut self) {
        let claim = self.in_flight.pop_front().expect("a write is in flight");
        self.stable = self.stable.max(claim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(indexes: std::ops::RangeInclusive<Index>, term: Term) -> Vec<Entry> {
        indexes
            .map(|index| Entry {
                index,
                term,
                payload: Payload::Empty,
            })
            .collect()
    }

    #[test]
    fn an_overwritten_write_vouches_for_nothing_it_lost() {
        let mut log = Log::restored(Position::default(), entries(1..=4, 1));
        for entry in entries(5..=7, 2) {
            log.append(entry);
        }
        assert_eq!(log.take_unwritten().entries.len(), 3);
        // Another leader overwrites them, and a third one puts the very same entries back.
        log.truncate(6);
        for entry in entries(6..=6, 3) {
            log.append(entry);
        }
        assert_eq!(log.take_unwritten().truncate_from, Some(6));
        log.truncate(6);
        for entry in entries(6..=7, 2) {
            log.append(entry);
        }
        assert_eq!(log.take_unwritten().truncate_from, Some(6));

        log.write_done();
        assert_eq!(log.stable(), 5);
        log.write_done();
        assert_eq!(log.stable(), 5);
        log.write_done();
        assert_eq!(log.stable(), 7);
    }

    #[test]
    fn what_the_entries_count_for_follows_them() {
        let mut log = Log::restored(Position::default(), entries(1..=9, 1));
        let each = log.bytes() / 9;
        log.truncate(8);
        log.append(entries(8..=8, 2).remove(0));
        log.compact(3);
        assert_eq!(log.bytes(), 5 * each);
        assert_eq!(log.tail(7, 100, 3 * each), 5);
        assert_eq!(log.tail(7, 2, 3 * each), 6);
        assert_eq!(log.tail(7, 100, usize::MAX), 4);
        assert_eq!(log.tail(7, 0, usize::MAX), 8);
        log.reset(Position { index: 20, term: 2 });
        assert_eq!(log.bytes(), 0);
    }

    #[test]
    fn the_meeting_point_skips_a_term_at_a_time() {
        let mut all = entries(1..=3, 1);
        all.extend(entries(4..=6, 4));
        let log = Log::restored(Position::default(), all);
        assert_eq!(log.meeting_point(9, 5), Position { index: 6, term: 4 });
        assert_eq!(log.meeting_point(9, 3), Position { index: 3, term: 1 });
        assert_eq!(log.meeting_point(9, 0), Position::default());
    }

    #[test]
    fn compaction_keeps_the_position_before_the_first_entry() {
        let mut log = Log::restored(Position::default(), entries(1..=9, 1));
        log.compact(4);
        assert_eq!(log.first_index(), 5);
        assert_eq!(log.term(4), Some(1));
        assert_eq!(log.term(3), None);
        assert_eq!(log.slice(1, 6, usize::MAX).0.len(), 2);
    }
}
