//! Statistics: did every kind of operation ever succeed?
//!
//! A history in which no write was ever acknowledged proves little. So each function must have at
//! least one acknowledged call; the numbers of each are in the report.

use std::collections::BTreeMap;

use serde_json::json;

use crate::history::{History, Outcome};
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    let options = Options {
        by_key: false,
        ..options.clone()
    };
    check_keys(history, &options, count)
}

fn count(tally: &mut Tally, entries: &[Entry]) {
    let mut functions: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for entry in entries {
        let place = match entry.outcome {
            Outcome::Ok => 0,
            Outcome::Fail => 1,
            Outcome::Info => 2,
        };
        functions.entry(entry.f).or_default()[place] += 1;
    }
    for (f, [ok, fail, info]) in functions {
        tally.fact(f, json!({"ok": ok, "fail": fail, "info": info}));
        if ok == 0 {
            tally.wrong(
                "never-ok",
                &[],
                || json!({"f": f, "fail": fail, "info": info}),
            );
        }
    }
}
