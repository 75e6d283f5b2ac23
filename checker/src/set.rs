//! Sets that only grow: is every acknowledged element still there?
//!
//! Ops: `add` with the element, `read` answered with the list of elements. An element is *known* once
//! its add is acknowledged or a read that saw it has ended; each read that begins after that must see
//! it. If the reads that begin last do not, it is **lost**; if some do not but later ones do, those
//! were **stale**. Whether stale reads break a promise depends on what was promised: they are told,
//! and do not fail this check (the model `set` asks for linearizability).
//!
//! An add of unknown outcome owes nothing until a read has seen its element.

use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::history::{Call, History, ValueId};
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, |tally, entries| {
        Elements::of(tally, entries).judge(tally);
    })
}

struct Element<'a> {
    value: ValueId,
    /// Row at which the first add of it began.
    began: u32,
    /// An acknowledged add, when there is one.
    add: Entry<'a>,
    /// Where it was surely in the set: [`Call::OPEN`] when that is not known.
    known: u32,
    /// The reads that saw it, by their number.
    seen: Vec<u32>,
}

struct Elements<'a> {
    elements: Vec<Element<'a>>,
    reads: Vec<Entry<'a>>,
}

impl<'a> Elements<'a> {
    fn of(tally: &mut Tally, entries: &[Entry<'a>]) -> Self {
        let mut all = Self {
            elements: Vec::new(),
            reads: Vec::new(),
        };
        let mut places: HashMap<ValueId, usize> = HashMap::new();
        for entry in entries
            .iter()
            .filter(|entry| entry.f == "add" && entry.may_have_happened())
        {
            let place = *places.entry(entry.argument).or_insert(all.elements.len());
            match all.elements.get_mut(place) {
                Some(element) => {
                    element.known = element.known.min(entry.ended);
                    if entry.is_ok() && !element.add.is_ok() {
                        element.add = *entry;
                    }
                }
                None => all.elements.push(Element {
                    value: entry.argument,
                    began: entry.invoked,
                    add: *entry,
                    known: entry.ended,
                    seen: Vec::new(),
                }),
            }
        }
        for read in entries
            .iter()
            .filter(|entry| entry.f == "read" && entry.is_ok())
        {
            all.enter(tally, *read, &places);
        }
        all
    }

    /// Marks the elements that a read saw.
    fn enter(&mut self, tally: &mut Tally, read: Entry<'a>, places: &HashMap<ValueId, usize>) {
        let number = self.reads.len() as u32;
        self.reads.push(read);
        let list = match tally.value(read.answer) {
            Value::Array(list) => list,
            Value::Null => Vec::new(),
            other => return tally.unknown(format!("a read is answered {other}: expected a list")),
        };
        for value in list {
            let known = tally.history.values().find(&value);
            let place = known.and_then(|id| places.get(&id));
            let begun = place.filter(|&&place| self.elements[place].began < read.ended);
            let Some(&place) = begun else {
                tally.wrong("unexpected", &[read], || json!({"element": value}));
                continue;
            };
            let element = &mut self.elements[place];
            if element.seen.last() == Some(&number) {
                tally.wrong("duplicated", &[read], || json!({"element": value}));
                continue;
            }
            element.seen.push(number);
            element.known = element.known.min(read.ended);
        }
    }

    fn judge(&self, tally: &mut Tally) {
        tally.count("elements", self.elements.len() as u64);
        tally.count("reads", self.reads.len() as u64);
        let mut never_read = 0_u64;
        for element in self
            .elements
            .iter()
            .filter(|element| element.known != Call::OPEN)
        {
            let owed = self
                .reads
                .partition_point(|read| read.invoked < element.known);
            let met =
                element.seen.len() - element.seen.partition_point(|&read| (read as usize) < owed);
            if owed == self.reads.len() && element.seen.is_empty() {
                never_read += 1;
            }
            if met < self.reads.len() - owed {
                self.absent(tally, element, owed);
            }
        }
        if never_read > 0 {
            tally.count("never_read", never_read);
            tally.unknown(format!(
                "{never_read} acknowledged elements were never looked for: no read began after them"
            ));
        }
    }

    /// An element that some read should have seen and did not.
    fn absent(&self, tally: &mut Tally, element: &Element, owed: usize) {
        let mut seen = element.seen.iter().rev().copied().peekable();
        let last = (0..self.reads.len() as u32).rev();
        let absent = last
            .into_iter()
            .find(|read| seen.next_if_eq(read).is_none());
        let absent = absent.expect("an owed read misses the element") as usize;
        let calls = [element.add, self.reads[absent]];
        let later = element
            .seen
            .last()
            .is_some_and(|&read| read as usize > absent);
        let missed = if later {
            first_absent(element, owed)
        } else {
            absent
        };
        let known_ns = tally.time_ns(element.known);
        let missed_ns = tally.time_ns(self.reads[missed].invoked);
        let value = tally.value(element.value);
        let details = || {
            json!({
                "element": value,
                "known_ns": known_ns,
                "missed_ns": missed_ns,
                "after_ms": missed_ns.saturating_sub(known_ns) / 1_000_000,
                "acknowledged": element.add.is_ok(),
            })
        };
        if later {
            tally.noted("stale", &[element.add, self.reads[missed]], details);
        } else {
            tally.wrong("lost", &calls, details);
        }
    }
}

/// The first of the owed reads that misses an element.
fn first_absent(element: &Element, owed: usize) -> usize {
    let mut seen = element.seen.iter().copied().peekable();
    while seen.next_if(|&read| (read as usize) < owed).is_some() {}
    let mut reads = owed as u32..;
    reads
        .find(|read| seen.next_if_eq(read).is_none())
        .expect("some read misses it") as usize
}
