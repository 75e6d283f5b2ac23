//! Long forks: two readers that see two independent writes in opposite orders.
//!
//! Ops: `txn` (`[["w",k,v]]` writes a key that nobody else writes, `[["r",k,null],…]` reads a group of
//! keys). As each key changes once, a read of a group is the set of keys that it saw written; under
//! snapshot isolation and above, of two such sets one holds the other. So sorted by size each must
//! hold the one before it.

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

struct Read<'a> {
    call: Entry<'a>,
    /// For each key of the group, in order of the keys, whether it was seen written.
    seen: Vec<bool>,
}

fn forks(tally: &mut Tally, entries: &[Entry]) {
    let mut groups: HashMap<Vec<String>, Vec<Read>> = HashMap::new();
    for call in entries
        .iter()
        .filter(|entry| entry.f == "txn" && entry.is_ok())
    {
        let Value::Array(ops) = tally.value(call.answer) else {
            continue;
        };
        let read = |op: &Value| (op[0] == "r").then(|| (op[1].to_string(), !op[2].is_null()));
        let Some(mut reads) = ops.iter().map(read).collect::<Option<Vec<_>>>() else {
            continue;
        };
        reads.sort_unstable();
        let (keys, seen) = reads.into_iter().unzip();
        groups
            .entry(keys)
            .or_default()
            .push(Read { call: *call, seen });
    }
    let mut groups: Vec<(Vec<String>, Vec<Read>)> = groups.into_iter().collect();
    groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    tally.count("groups", groups.len() as u64);
    for (keys, mut reads) in groups {
        tally.count("reads", reads.len() as u64);
        reads.sort_by_key(|read| read.seen.iter().filter(|seen| **seen).count());
        for pair in reads.windows(2) {
            let only = |a: &Read, b: &Read| (0..keys.len()).find(|&k| a.seen[k] && !b.seen[k]);
            if let (Some(first), Some(second)) =
                (only(&pair[0], &pair[1]), only(&pair[1], &pair[0]))
            {
                let details = || json!({"one": keys[first], "other": keys[second]});
                tally.wrong("long-fork", &[pair[0].call, pair[1].call], details);
            }
        }
    }
}
