//! Monotonic keys: no process ever goes back.
//!
//! For keys whose values only grow: `read` answered with the value, `write` of a value that is greater
//! than all before it, `inc` answered with the value that it made. Within one process
//! - **monotonic reads**: no read is below an earlier read;
//! - **read your writes**: no read is below what the process wrote before;
//! - **monotonic writes**: no increment makes a value that is not above what the process saw before.
//!
//! A write of unknown outcome ends its process, so it binds nobody.

use hashbrown::HashMap;
use serde_json::json;

use crate::history::History;
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, sessions)
}

#[derive(Clone, Copy, Default)]
struct Session<'a> {
    read: Option<(i64, Entry<'a>)>,
    written: Option<(i64, Entry<'a>)>,
}

fn sessions(tally: &mut Tally, entries: &[Entry]) {
    let mut sessions: HashMap<u32, Session> = HashMap::new();
    for call in entries.iter().filter(|entry| entry.is_ok()) {
        let writes = matches!(call.f, "write" | "inc");
        if !writes && call.f != "read" {
            continue;
        }
        let told = if call.f == "write" {
            call.argument
        } else {
            call.answer
        };
        if told.is_null() && !writes {
            continue; // nothing was written yet, as far as this read saw
        }
        let Some(value) = tally.integer(told) else {
            let value = tally.value(told);
            return tally.unknown(format!("{} of {value}: expected a whole number", call.f));
        };
        let session = sessions.entry(call.process).or_default();
        let mut against = |name, earlier: Option<(i64, Entry)>, back: fn(i64, i64) -> bool| {
            if let Some((before, earlier)) = earlier.filter(|(before, _)| back(value, *before)) {
                let details = || json!({"process": call.process, "before": before, "after": value});
                tally.wrong(name, &[earlier, *call], details);
            }
        };
        match call.f {
            "read" => {
                against("non-monotonic-read", session.read, |now, before| {
                    now < before
                });
                against("own-write-unread", session.written, |now, before| {
                    now < before
                });
                session.read = Some((value, *call));
            }
            "inc" => {
                against("non-monotonic-write", session.read, |now, before| {
                    now <= before
                });
                against("non-monotonic-write", session.written, |now, before| {
                    now <= before
                });
                session.written = Some((value, *call));
            }
            _ => session.written = Some((value, *call)),
        }
    }
}
