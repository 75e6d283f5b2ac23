//! Long forks: two readers that see two independent writes in opposite orders.
//!
//! Ops: `txn` (`[["w",k,v]]` writes a key that nobody else writes, `[["r",k,null],…]` reads a group of
//! keys). As each key changes once, a read says of each two of its keys which of their writes it saw;
//! under snapshot isolation and above no two reads see one each, and not the same one. Groups may
//! overlap and need not be the same.

use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::history::History;
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    let options = Options {
        by_key: false,
        ..options.clone()
    };
    check_keys(history, &options, forks)
}

/// Two keys, the lesser first, and who saw only the first and only the second.
type Pairs<'a> = HashMap<(u32, u32), [Option<Entry<'a>>; 2]>;

fn forks(tally: &mut Tally, entries: &[Entry]) {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut pairs = Pairs::new();
    for call in entries
        .iter()
        .filter(|entry| entry.f == "txn" && entry.is_ok())
    {
        let Value::Array(ops) = tally.value(call.answer) else {
            continue;
        };
        if ops.iter().any(|op| op[0] != "r") {
            continue;
        }
        tally.count("reads", 1);
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for op in &ops {
            let key = *numbers.entry(op[1].to_string()).or_insert_with_key(|key| {
                names.push(key.clone());
                names.len() as u32 - 1
            });
            let side = if op[2].is_null() {
                &mut unseen
            } else {
                &mut seen
            };
            side.push(key);
        }
        for (&seen, &unseen) in seen.iter().flat_map(|s| unseen.iter().map(move |u| (s, u))) {
            let sides = pairs
                .entry((seen.min(unseen), seen.max(unseen)))
                .or_default();
            let own = usize::from(seen > unseen);
            sides[own].get_or_insert(*call);
            if let Some(other) = sides[1 - own] {
                let details =
                    || json!({"one": names[seen as usize], "other": names[unseen as usize]});
                tally.wrong("long-fork", &[*call, other], details);
            }
        }
    }
    tally.count("keys", names.len() as u64);
}
