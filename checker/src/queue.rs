//! Queues as bags: what went in comes out, once.
//!
//! Ops: `enqueue` with an item, `dequeue` answered with one (null when the queue was empty), `drain`
//! answered with all that were left. Nothing is said of order. An enqueue of unknown outcome may come
//! out and need not; a dequeue of unknown outcome may have taken one item with it, a drain any number.

use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::history::{History, ValueId};
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

#[derive(Default)]
struct Item<'a> {
    /// Rows at which enqueues of it began, in order.
    began: Vec<u32>,
    acknowledged: usize,
    taken: usize,
    enqueue: Option<Entry<'a>>,
    dequeue: Option<Entry<'a>>,
}

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, bag)
}

fn bag(tally: &mut Tally, entries: &[Entry]) {
    let mut items: HashMap<ValueId, Item> = HashMap::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.f == "enqueue" && entry.may_have_happened())
    {
        let item = items.entry(entry.argument).or_default();
        item.began.push(entry.invoked);
        item.acknowledged += usize::from(entry.is_ok());
        item.enqueue = item.enqueue.filter(Entry::is_ok).or(Some(*entry));
    }
    // In order of their ends: what began too late for one is there for the next.
    let mut takes: Vec<&Entry> = entries.iter().filter(|entry| entry.is_ok()).collect();
    takes.sort_unstable_by_key(|entry| entry.ended);
    for entry in takes {
        match entry.f {
            "dequeue" if !entry.answer.is_null() => {
                take(tally, &mut items, *entry, Some(entry.answer), &Value::Null);
            }
            "drain" => {
                let Value::Array(list) = tally.value(entry.answer) else {
                    continue;
                };
                for value in &list {
                    let id = tally.history.values().find(value);
                    take(tally, &mut items, *entry, id, value);
                }
            }
            _ => {}
        }
    }
    settle(tally, entries, &items);
}

fn take<'a>(
    tally: &mut Tally,
    items: &mut HashMap<ValueId, Item<'a>>,
    by: Entry<'a>,
    id: Option<ValueId>,
    value: &Value,
) {
    let item = id.and_then(|id| items.get_mut(&id));
    let Some(item) = item.filter(|item| item.began[0] < by.ended) else {
        let value = id.map_or_else(|| value.clone(), |id| tally.value(id));
        return tally.wrong("unexpected", &[by], || json!({"item": value}));
    };
    item.taken += 1;
    if item.taken > item.began.partition_point(|began| *began < by.ended) {
        let value = tally.value(id.expect("the item is known"));
        let calls: Vec<Entry> = item
            .enqueue
            .into_iter()
            .chain(item.dequeue)
            .chain([by])
            .collect();
        tally.wrong(
            "duplicated",
            &calls,
            || json!({"item": value, "taken": item.taken}),
        );
    }
    item.dequeue = Some(by);
}

/// Decides what became of the items that were acknowledged and not taken.
fn settle(tally: &mut Tally, entries: &[Entry], items: &HashMap<ValueId, Item>) {
    let mut missing: Vec<(ValueId, Entry)> = Vec::new();
    for (id, item) in items {
        let left = item.acknowledged.saturating_sub(item.taken);
        let enqueue = item.enqueue.into_iter();
        missing.extend(enqueue.flat_map(|entry| (0..left).map(move |_| (*id, entry))));
    }
    missing.sort_unstable_by_key(|(_, enqueue)| enqueue.invoked);
    tally.count("items", items.len() as u64);
    tally.count("missing", missing.len() as u64);
    let Some((id, enqueue)) = missing.first().copied() else {
        return;
    };
    let open = |f: &str| {
        entries
            .iter()
            .filter(|e| e.f == f && !e.is_ok() && e.may_have_happened())
            .count()
    };
    let (dequeues, drains) = (open("dequeue"), open("drain"));
    if !emptied(tally, entries) {
        tally.unknown(format!(
            "{} acknowledged items did not come out, and the queue was not seen empty after them",
            missing.len()
        ));
    } else if drains > 0 {
        tally.unknown(format!(
            "{} acknowledged items did not come out, and a drain of unknown outcome may have taken them",
            missing.len()
        ));
    } else {
        // As many as dequeues of unknown outcome may have gone with them.
        let Item {
            acknowledged: put,
            taken,
            ..
        } = items[&id];
        for _ in dequeues..missing.len() {
            let (value, time_ns) = (tally.value(id), tally.time_ns(enqueue.invoked));
            tally.wrong(
                "lost",
                &[enqueue],
                || json!({"item": value, "enqueued_ns": time_ns, "put": put, "taken": taken}),
            );
        }
    }
}

/// Whether the queue was seen empty after the last acknowledged enqueue had ended.
fn emptied(tally: &Tally, entries: &[Entry]) -> bool {
    let enqueues = entries
        .iter()
        .filter(|entry| entry.f == "enqueue" && entry.is_ok());
    let last = enqueues.map(|entry| entry.ended).max().unwrap_or(0);
    entries
        .iter()
        .filter(|entry| entry.invoked > last)
        .any(|entry| match entry.f {
            "drain" => entry.is_ok(),
            "dequeue" => {
                (entry.is_ok() && entry.answer.is_null()) || tally.failed_with(entry, "empty")
            }
            _ => false,
        })
}
