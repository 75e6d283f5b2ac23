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

/// The greatest value that a process read and wrote; none: nothing, or nothing was there yet.
#[derive(Clone, Copy, Default)]
struct Session<'a> {
    read: Option<(i64, Entry<'a>)>,
    written: Option<(i64, Entry<'a>)>,
}

/// A value; none: that of a key before its first write, which is below all.
type Value = Option<i64>;

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
        let value = tally.integer(told);
        if value.is_none() && (writes || !told.is_null()) {
            let value = tally.value(told);
            tally.unknown(format!("{} of {value}: expected a whole number", call.f));
            continue;
        }
        let session = sessions.entry(call.process).or_default();
        let mut against = |name, earlier: Option<(i64, Entry)>, back: fn(Value, Value) -> bool| {
            let back = |(before, _): &(i64, Entry)| back(value, Some(*before));
            if let Some((before, earlier)) = earlier.filter(back) {
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
                raise(&mut session.read, value, *call);
            }
            "inc" => {
                against("non-monotonic-write", session.read, |now, before| {
                    now <= before
                });
                against("non-monotonic-write", session.written, |now, before| {
                    now <= before
                });
                raise(&mut session.written, value, *call);
            }
            _ => raise(&mut session.written, value, *call),
        }
    }
}

/// Keeps the greater value.
fn raise<'a>(kept: &mut Option<(i64, Entry<'a>)>, value: Value, by: Entry<'a>) {
    if value > kept.map(|(kept, _)| kept) {
        *kept = value.map(|value| (value, by));
    }
}
