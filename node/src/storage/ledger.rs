//! What the log holds of each group, and in which segments.
//!
//! The writer and recovery push every record through the same ledger: recovery to learn what is
//! there, the writer to know which segments are still needed. It keeps the live entries (their
//! bytes are shared with the protocol's own copy), so that what keeps an old segment alive can be
//! written again at the log's end without reading a file.

use super::record::Record;
use crate::encoding::{self, GroupId};
use raft::{Entry, HardState, Index, Restored, SnapshotMeta};
use std::collections::{BTreeMap, VecDeque};

/// A value and the segment that it was last written to.
#[derive(Clone, Debug)]
struct Placed<T> {
    value: T,
    segment: u64,
}

/// One group's live records.
#[derive(Clone, Debug, Default)]
struct GroupLog {
    hard_state: Option<Placed<HardState>>,
    snapshot: Option<Placed<SnapshotMeta>>,
    wiped: Option<Placed<bool>>,
    /// Ordered by index. Without holes once the whole log has been read; while it is read, what
    /// was restated further on is missing.
    entries: VecDeque<Placed<Entry>>,
    /// Bytes of `entries`.
    len: u64,
}

/// All groups' live records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<GroupId, GroupLog>,
}

impl Ledger {
    /// Takes account of a record written to, or found in, a segment.
    pub(crate) fn apply(&mut self, group: GroupId, record: &Record, segment: u64) {
        if matches!(record, Record::Opened(_) | Record::Closed | Record::Sealed) {
            return;
        }
        let log = self.groups.entry(group).or_default();
        match record {
            Record::HardState(value) => {
                log.hard_state = Some(Placed {
                    value: *value,
                    segment,
                });
            }
            Record::Wiped(value) => {
                log.wiped = Some(Placed {
                    value: *value,
                    segment,
                });
            }
            Record::Snapshot(value) => {
                log.drop_to(value.index);
                log.snapshot = Some(Placed {
                    value: value.clone(),
                    segment,
                });
            }
            Record::Truncate(from) => log.drop_from(*from),
            Record::Entries(entries) => {
                if let Some(first) = entries.first() {
                    log.drop_from(first.index);
                    for entry in entries {
                        log.push(entry, segment);
                    }
                }
            }
            Record::Restated(entries) => {
                for entry in entries {
                    log.restate(entry, segment);
                }
            }
            Record::Opened(_) | Record::Closed | Record::Sealed => {}
        }
    }

    /// The oldest segment that something still lives in.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.groups.values().filter_map(GroupLog::oldest).min()
    }

    /// About how many bytes the live records take.
    pub(crate) fn len(&self) -> u64 {
        self.groups.values().map(|log| log.len + 128).sum()
    }

    /// The records that say again what lives in segments up to this one, at most about so many
    /// bytes of them (but one at least).
    pub(crate) fn restate(&self, upto: u64, len_max: u64) -> Vec<(GroupId, Record)> {
        let mut records = Vec::new();
        let mut len = 0;
        for (&group, log) in &self.groups {
            if len >= len_max {
                break;
            }
            if log.oldest().is_some_and(|oldest| oldest <= upto) {
                len += log.restated(group, upto, len_max - len, &mut records);
            }
        }
        records
    }

    /// What the protocol starts from, group by group; an error names the group and what is wrong.
    pub(crate) fn restored(&self) -> Result<BTreeMap<GroupId, Restored>, (GroupId, &'static str)> {
        let restored = |(&group, log): (&GroupId, &GroupLog)| {
            log.restored()
                .map(|restored| (group, restored))
                .map_err(|what| (group, what))
        };
        self.groups.iter().map(restored).collect()
    }
}

impl GroupLog {
    fn drop_to(&mut self, index: Index) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.value.index <= index)
        {
            let entry = self.entries.pop_front().expect("there is a front");
            self.len -= encoding::entry_len(&entry.value) as u64;
        }
    }

    fn drop_from(&mut self, index: Index) {
        while self
            .entries
            .back()
            .is_some_and(|entry| entry.value.index >= index)
        {
            let entry = self.entries.pop_back().expect("there is a back");
            self.len -= encoding::entry_len(&entry.value) as u64;
        }
    }

    fn push(&mut self, entry: &Entry, segment: u64) {
        self.len += encoding::entry_len(entry) as u64;
        self.entries.push_back(Placed {
            value: entry.clone(),
            segment,
        });
    }

    /// An entry that was written before: it is known already, or its first place was recycled.
    fn restate(&mut self, entry: &Entry, segment: u64) {
        let at = self
            .entries
            .partition_point(|known| known.value.index < entry.index);
        match self.entries.get_mut(at) {
            Some(known) if known.value.index == entry.index => known.segment = segment,
            _ => {
                self.len += encoding::entry_len(entry) as u64;
                self.entries.insert(
                    at,
                    Placed {
                        value: entry.clone(),
                        segment,
                    },
                );
            }
        }
    }

    fn oldest(&self) -> Option<u64> {
        // Entries are placed in ascending segments but for what was restated, so all count; a
        // run of one segment is the rule, and this is asked once a segment.
        let entries = self.entries.iter().map(|entry| entry.segment).min();
        let hard_state = self.hard_state.as_ref().map(|placed| placed.segment);
        let snapshot = self.snapshot.as_ref().map(|placed| placed.segment);
        let wiped = self.wiped.as_ref().map(|placed| placed.segment);
        [entries, hard_state, snapshot, wiped]
            .into_iter()
            .flatten()
            .min()
    }

    fn restated(
        &self,
        group: GroupId,
        upto: u64,
        len_max: u64,
        records: &mut Vec<(GroupId, Record)>,
    ) -> u64 {
        let mut len = 0;
        let mut push = |record| {
            records.push((group, record));
            len += 64;
        };
        if let Some(placed) = self
            .hard_state
            .as_ref()
            .filter(|placed| placed.segment <= upto)
        {
            push(Record::HardState(placed.value));
        }
        if let Some(placed) = self
            .snapshot
            .as_ref()
            .filter(|placed| placed.segment <= upto)
        {
            push(Record::Snapshot(placed.value.clone()));
        }
        if let Some(placed) = self.wiped.as_ref().filter(|placed| placed.segment <= upto) {
            push(Record::Wiped(placed.value));
        }
        let mut run: Vec<Entry> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.segment <= upto) {
            let follows = run
                .last()
                .is_none_or(|last| last.index + 1 == entry.value.index);
            if !follows {
                records.push((group, Record::Restated(std::mem::take(&mut run))));
            }
            run.push(entry.value.clone());
            len += encoding::entry_len(&entry.value) as u64;
            if len >= len_max {
                break;
            }
        }
        if !run.is_empty() {
            records.push((group, Record::Restated(run)));
        }
        len
    }

    fn restored(&self) -> Result<Restored, &'static str> {
        let snapshot = self.snapshot.as_ref().map(|placed| placed.value.clone());
        let start = snapshot.as_ref().map_or(0, |meta| meta.index);
        let indexes = self.entries.iter().map(|entry| entry.value.index);
        if !indexes.eq((start + 1..).take(self.entries.len())) {
            return Err("entries of the log are missing");
        }
        Ok(Restored {
            hard_state: self
                .hard_state
                .as_ref()
                .map(|placed| placed.value)
                .unwrap_or_default(),
            snapshot,
            entries: self
                .entries
                .iter()
                .map(|entry| entry.value.clone())
                .collect(),
            wiped: self.wiped.as_ref().is_some_and(|placed| placed.value),
        })
    }
}
