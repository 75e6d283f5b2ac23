//! Logs: per-key appends with offsets, as a partition of Kafka.
//!
//! Ops, by key: `send` of a value, answered with its offset (a number, or `[offset, value]`); `poll`
//! answered with a list of `[offset, value]`, in the order they were delivered. Values are unique.
//!
//! What must not be:
//! - **inconsistent-offset**: two values at one offset;
//! - **duplicate**: one value at two offsets;
//! - **aborted-read**, **garbage-read**: a value whose send surely failed, or that nobody sent;
//! - **lost**: a send was acknowledged, or its value polled, and polls went past its offset without it;
//! - **order**: of two sends of which one had ended before the other began, the later has the lower offset;
//! - **poll-order**: within one poll the offsets do not grow.
//!
//! That one consumer goes back or skips between its polls may be right (a rebalance) and is told only.
//! A send of unknown outcome may be in the log and need not.

use hashbrown::{HashMap, HashSet};
use serde_json::{Value, json};

use crate::history::{History, Outcome, ValueId};
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, |tally, entries| {
        Log::of(tally, entries).judge(tally, entries);
    })
}

#[derive(Default)]
struct Log<'a> {
    /// Who said first what stands at an offset.
    at: HashMap<i64, (ValueId, Entry<'a>)>,
    /// Where a value was said to stand first.
    place: HashMap<ValueId, (i64, Entry<'a>)>,
    sends: HashMap<ValueId, Entry<'a>>,
    polled: HashSet<i64>,
}

impl<'a> Log<'a> {
    fn of(tally: &mut Tally, entries: &[Entry<'a>]) -> Self {
        let mut log = Self::default();
        for send in entries.iter().filter(|entry| entry.f == "send") {
            log.sends.insert(send.argument, *send);
            if let Some(offset) = offset(tally, send) {
                log.stands(tally, offset, send.argument, *send);
            }
        }
        for poll in entries
            .iter()
            .filter(|entry| entry.f == "poll" && entry.is_ok())
        {
            log.poll(tally, *poll);
        }
        log
    }

    fn stands(&mut self, tally: &mut Tally, offset: i64, value: ValueId, by: Entry<'a>) {
        let json = tally.value(value);
        let (other, first) = *self.at.entry(offset).or_insert((value, by));
        if other != value {
            let other = tally.value(other);
            let details = || json!({"offset": offset, "value": json, "other": other});
            tally.wrong("inconsistent-offset", &[first, by], details);
        }
        let (before, first) = *self.place.entry(value).or_insert((offset, by));
        if before != offset {
            let details = || json!({"value": json, "offset": before, "other": offset});
            tally.wrong("duplicate", &[first, by], details);
        }
    }

    fn poll(&mut self, tally: &mut Tally, poll: Entry<'a>) {
        let Value::Array(records) = tally.value(poll.answer) else {
            return;
        };
        let mut last: Option<i64> = None;
        for record in &records {
            let Some(offset) = record[0].as_i64() else {
                tally.wrong("unreadable", &[poll], || json!({"record": record}));
                continue;
            };
            let value = &record[1];
            if let Some(before) = last.filter(|before| *before >= offset) {
                tally.wrong(
                    "poll-order",
                    &[poll],
                    || json!({"before": before, "after": offset}),
                );
            }
            last = Some(offset);
            self.polled.insert(offset);
            let id = tally.history.values().find(value);
            let sent = id.and_then(|id| self.sends.get(&id)).copied();
            match (id, sent) {
                (Some(id), Some(source)) => {
                    if source.outcome == Outcome::Fail {
                        let details = || json!({"value": value, "offset": offset});
                        tally.wrong("aborted-read", &[source, poll], details);
                    }
                    self.stands(tally, offset, id, poll);
                }
                _ => tally.wrong(
                    "garbage-read",
                    &[poll],
                    || json!({"value": value, "offset": offset}),
                ),
            }
        }
    }

    fn judge(&self, tally: &mut Tally, entries: &[Entry]) {
        tally.count("sends", self.sends.len() as u64);
        tally.count("polled", self.polled.len() as u64);
        self.lost(tally);
        real_time(tally, entries);
        between_polls(tally, entries);
    }

    /// Offsets that are known to hold a value, below the highest polled one, and were never polled.
    fn lost(&self, tally: &mut Tally) {
        let highest = self.polled.iter().max().copied().unwrap_or(i64::MIN);
        let mut missed: Vec<i64> = self
            .at
            .keys()
            .copied()
            .filter(|offset| !self.polled.contains(offset))
            .collect();
        missed.sort_unstable();
        let (lost, unread): (Vec<i64>, Vec<i64>) = missed.into_iter().partition(|o| *o < highest);
        for offset in lost {
            let (value, send) = self.at[&offset];
            let value = tally.value(value);
            tally.wrong(
                "lost",
                &[send],
                || json!({"value": value, "offset": offset, "highest": highest}),
            );
        }
        if !unread.is_empty() {
            tally.count("unread", unread.len() as u64);
            tally.unknown(format!(
                "{} acknowledged records were never looked for: no poll went past offset {}",
                unread.len(),
                unread[0] - 1,
            ));
        }
    }
}

/// Of two sends, one after the other, the later one has the higher offset.
fn real_time(tally: &mut Tally, entries: &[Entry]) {
    let sends = entries
        .iter()
        .filter(|entry| entry.f == "send" && entry.is_ok());
    let sends: Vec<(i64, Entry)> = sends
        .filter_map(|send| offset(tally, send).map(|offset| (offset, *send)))
        .collect();
    let mut ended = sends.clone();
    ended.sort_unstable_by_key(|(_, send)| send.ended);
    let mut ended = ended.into_iter().peekable();
    let mut highest: Option<(i64, Entry)> = None;
    for (offset, send) in sends {
        while let Some(earlier) = ended.next_if(|(_, earlier)| earlier.ended < send.invoked) {
            highest = highest
                .filter(|(offset, _)| *offset >= earlier.0)
                .or(Some(earlier));
        }
        if let Some((before, earlier)) = highest.filter(|(before, _)| *before > offset) {
            let details = || json!({"earlier": before, "later": offset});
            tally.wrong("order", &[earlier, send], details);
        }
    }
}

/// The offset that a send was answered with.
fn offset(tally: &Tally, send: &Entry) -> Option<i64> {
    tally
        .integer(send.answer)
        .or_else(|| tally.value(send.answer)[0].as_i64())
}

/// Tells of consumers that go back or skip from one poll to the next.
fn between_polls(tally: &mut Tally, entries: &[Entry]) {
    let mut last: HashMap<u32, (i64, Entry)> = HashMap::new();
    for poll in entries
        .iter()
        .filter(|entry| entry.f == "poll" && entry.is_ok())
    {
        let Value::Array(records) = tally.value(poll.answer) else {
            continue;
        };
        let offsets = || records.iter().filter_map(|record| record[0].as_i64());
        let (Some(first), Some(end)) = (offsets().next(), offsets().next_back()) else {
            continue;
        };
        if let Some((before, earlier)) = last.insert(poll.process, (end, *poll)) {
            let details = || json!({"process": poll.process, "before": before, "after": first});
            if first <= before {
                tally.noted("poll-back", &[earlier, *poll], details);
            } else if first > before + 1 {
                tally.noted("poll-skip", &[earlier, *poll], details);
            }
        }
    }
}
