//! Unique ids: no id is given out twice.
//!
//! Ops: `generate`, answered with an id. Only acknowledged ids count, as nobody holds the others.

use hashbrown::HashMap;
use serde_json::json;

use crate::history::{History, ValueId};
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, ids)
}

fn ids(tally: &mut Tally, entries: &[Entry]) {
    let mut first: HashMap<ValueId, Entry> = HashMap::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.f == "generate" && entry.is_ok())
    {
        tally.count("ids", 1);
        if entry.answer.is_null() {
            tally.wrong("missing", &[*entry], || json!({}));
        } else if let Some(earlier) = first.insert(entry.answer, *entry) {
            let id = tally.value(entry.answer);
            tally.wrong("duplicated", &[earlier, *entry], || json!({"id": id}));
        }
    }
}
