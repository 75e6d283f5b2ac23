//! Locks and leases with fencing tokens: one holder at a time, and tokens in the order of holders.
//!
//! Ops, by key:
//! - `acquire`, asked with null or `{"ttl_ms":N}`, answered with a token: a number, or `{"token":N}`;
//! - `renew` of a token, asked like the answer to `acquire`, with its own `ttl_ms`;
//! - `release` of a token;
//! - `write` of `{"token":N,…}`: a write that the fenced resource accepted.
//!
//! A holder *surely* holds from the end of its acquire to the beginning of its release, whatever the
//! release came to; a lease also at most until its time to live has passed since its acquire, or the
//! last acknowledged renewal, *began*. Two holders that surely hold at once break mutual exclusion.
//! An acquire of unknown outcome makes no holder: nobody knows the token.
//!
//! Tokens must grow from one holder to the next in real time, no two holders may have the same, and
//! after the resource accepted a token it must refuse older ones.

use hashbrown::HashMap;
use serde_json::{Value, json};

use crate::history::{Call, History, ValueId};
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, holders)
}

/// One surely held span: rows for order, time for the lease's end.
#[derive(Clone, Copy)]
struct Hold<'a> {
    token: i64,
    acquire: Entry<'a>,
    /// Row of the release's invocation.
    released: u32,
    /// When the lease surely still held, at most.
    until_ns: u64,
}

fn holders(tally: &mut Tally, entries: &[Entry]) {
    let mut holds: Vec<Hold> = Vec::new();
    let mut by_token: HashMap<i64, usize> = HashMap::new();
    for call in entries {
        match call.f {
            "acquire" if call.is_ok() => {
                let Some(token) = token(tally, call.answer) else {
                    tally.wrong("no-token", &[*call], || json!({}));
                    continue;
                };
                if let Some(earlier) = by_token.insert(token, holds.len()) {
                    let calls = [holds[earlier].acquire, *call];
                    tally.wrong("token-twice", &calls, || json!({"token": token}));
                }
                let until_ns = lease_end(tally, call);
                holds.push(Hold {
                    token,
                    acquire: *call,
                    released: Call::OPEN,
                    until_ns,
                });
            }
            "renew" if call.is_ok() => {
                let hold = token(tally, call.argument).and_then(|token| by_token.get(&token));
                if let Some(&hold) = hold {
                    holds[hold].until_ns = holds[hold].until_ns.max(lease_end(tally, call));
                }
            }
            "release" => {
                let hold = token(tally, call.argument).and_then(|token| by_token.get(&token));
                if let Some(&hold) = hold {
                    holds[hold].released = holds[hold].released.min(call.invoked);
                }
            }
            _ => {}
        }
    }
    tally.count("holders", holds.len() as u64);
    exclusion(tally, &holds);
    order(tally, &holds);
    fence(tally, entries);
}

/// A token, told as a number or within an object.
fn token(tally: &Tally, id: ValueId) -> Option<i64> {
    tally
        .integer(id)
        .or_else(|| tally.value(id)["token"].as_i64())
}

/// When the lease that this call asked for ends at the earliest.
fn lease_end(tally: &Tally, call: &Entry) -> u64 {
    let ttl_ms = tally.value(call.argument)["ttl_ms"].as_u64();
    ttl_ms.map_or(u64::MAX, |ttl| {
        tally.time_ns(call.invoked).saturating_add(ttl * 1_000_000)
    })
}

/// No two holders hold at once. Who let go once holds no more, so it is enough to carry on those who
/// still do.
fn exclusion(tally: &mut Tally, holds: &[Hold]) {
    let mut holds = holds.to_vec();
    holds.sort_unstable_by_key(|hold| hold.acquire.ended);
    let mut holding: Vec<Hold> = Vec::new();
    for hold in holds {
        let began = hold.acquire.ended;
        let began_ns = tally.time_ns(began);
        holding.retain(|other| other.released > began && other.until_ns > began_ns);
        if let Some(other) = holding.first() {
            let details = || json!({"first": other.token, "second": hold.token, "at_ns": began_ns});
            tally.wrong("held-twice", &[other.acquire, hold.acquire], details);
        }
        holding.push(hold);
        holding.truncate(HOLDING_MAX);
    }
}

/// How many holders at once are carried on: the second is a violation already.
const HOLDING_MAX: usize = 16;

/// Who acquired later in real time has the greater token.
fn order(tally: &mut Tally, holds: &[Hold]) {
    let mut ended: Vec<&Hold> = holds.iter().collect();
    ended.sort_unstable_by_key(|hold| hold.acquire.ended);
    let mut ended = ended.into_iter().peekable();
    let mut greatest: Option<&Hold> = None;
    for hold in holds {
        while let Some(earlier) = ended.next_if(|e| e.acquire.ended < hold.acquire.invoked) {
            greatest = greatest
                .filter(|g| g.token >= earlier.token)
                .or(Some(earlier));
        }
        if let Some(earlier) = greatest.filter(|earlier| earlier.token >= hold.token) {
            let details = || json!({"earlier": earlier.token, "later": hold.token});
            tally.wrong("token-order", &[earlier.acquire, hold.acquire], details);
        }
    }
}

/// After a write with a token was accepted, none with an older one may be.
fn fence(tally: &mut Tally, entries: &[Entry]) {
    let accepted = entries
        .iter()
        .filter(|entry| entry.f == "write" && entry.is_ok());
    let fenced = |entry: &Entry| match tally.value(entry.argument) {
        Value::Object(fields) => fields.get("token").and_then(Value::as_i64),
        _ => None,
    };
    let writes: Vec<(i64, Entry)> = accepted
        .filter_map(|entry| fenced(entry).map(|token| (token, *entry)))
        .collect();
    let mut ended = writes.clone();
    ended.sort_unstable_by_key(|(_, write)| write.ended);
    let mut ended = ended.into_iter().peekable();
    let mut greatest: Option<(i64, Entry)> = None;
    for (token, write) in writes {
        while let Some(earlier) = ended.next_if(|(_, earlier)| earlier.ended < write.invoked) {
            greatest = greatest
                .filter(|(token, _)| *token >= earlier.0)
                .or(Some(earlier));
        }
        if let Some((newer, earlier)) = greatest.filter(|(newer, _)| *newer > token) {
            let details = || json!({"newer": newer, "older": token});
            tally.wrong("fence-broken", &[earlier, write], details);
        }
    }
}
