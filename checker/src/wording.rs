//! What the one-pass checks found, in sentences.
//!
//! A sentence is a template; `{name}` stands for a detail of the finding.

use serde_json::Value;

/// The sentence for a finding of a check.
pub(crate) fn tell(check: &str, name: &str, details: &Value) -> String {
    let mut sentence = String::new();
    let mut rest = template(check, name);
    while let Some((before, after)) = rest.split_once('{') {
        let (field, after) = after.split_once('}').unwrap_or((after, ""));
        sentence.push_str(before);
        sentence.push_str(&details[field].to_string());
        rest = after;
    }
    sentence.push_str(rest);
    if let Some(key) = details.get("key") {
        sentence = format!("key {key}: {sentence}");
    }
    sentence
}

/// A whole number as JSON; as text when it has more than 64 bits.
pub(crate) fn whole(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number.to_string()), Value::from)
}

fn template(check: &str, name: &str) -> &'static str {
    match (check, name) {
        ("set-full", "lost") => {
            "element {element} was in the set, and the last reads, which began {after_ms} ms later, miss it"
        }
        ("set-full", "stale") => {
            "element {element} was in the set, a read that began {after_ms} ms later misses it, and later ones see it"
        }
        ("set-full", "unexpected") => "element {element} was read and nobody had begun to add it",
        ("set-full", "duplicated") => "one read holds element {element} twice",
        ("total-queue", "lost") => {
            "item {item} was enqueued {put} times and came out {taken} times"
        }
        ("total-queue", "unexpected") => "item {item} came out and nobody had begun to put it in",
        ("total-queue", "duplicated") => {
            "item {item} came out {taken} times, more often than it was put in"
        }
        ("counter-bounds", "out-of-bounds") => {
            "a read gave {value}, and with what was added by then it can only be from {least} to {most}"
        }
        ("counter-bounds", "not-a-number") => "a read gave {value}, which is no whole number",
        ("unique-ids", "duplicated") => "id {id} was given out twice",
        ("unique-ids", "missing") => "no id was given out",
        ("bank", "wrong-total") => "the balances of a read add up to {total}, not to {expected}",
        ("bank", "negative-balance") => "account {account} stands at {balance}",
        ("bank", "no-balance") => "account {account} has {balance} for a balance",
        ("bank", "unreadable") => "a read gave {value}: expected an object of account and balance",
        ("long-fork", _) => {
            "one read saw the write of {one} and not that of {other}, and another saw it the other way"
        }
        ("monotonic", "non-monotonic-read") => {
            "process {process} read {before}, and later {after}, which is older"
        }
        ("monotonic", "own-write-unread") => {
            "process {process} wrote {before}, and later read {after}, which is older"
        }
        ("monotonic", "non-monotonic-write") => {
            "process {process} had seen {before}, and its later increment made {after}"
        }
        ("fenced-lock", "held-twice") => {
            "the holder of token {first} had not let go when the holder of token {second} got the lock"
        }
        ("fenced-lock", "token-twice") => "token {token} was given out twice",
        ("fenced-lock", "token-order") => {
            "token {earlier} was given out before token {later}, which is not greater"
        }
        ("fenced-lock", "fence-broken") => {
            "a write with token {older} was accepted after one with token {newer}"
        }
        ("fenced-lock", "no-token") => "the lock was acquired without a token",
        ("log", "inconsistent-offset") => "offset {offset} holds {value} and {other}",
        ("log", "duplicate") => "value {value} stands at offset {offset} and at {other}",
        ("log", "aborted-read") => {
            "value {value} was polled at offset {offset} though its send failed"
        }
        ("log", "garbage-read") => "value {value} was polled at offset {offset} and nobody sent it",
        ("log", "lost") => {
            "value {value} stands at offset {offset}; polls went on to {highest} and none delivered it"
        }
        ("log", "order") => "a send got offset {earlier}, and one that began after it got {later}",
        ("log", "poll-order") => "one poll delivered offset {before} and then {after}",
        ("log", "poll-back") => {
            "process {process} polled up to {before} and then from {after} again"
        }
        ("log", "poll-skip") => "process {process} polled up to {before} and then from {after} on",
        ("log", "unreadable") => "a poll delivered {record}: expected [offset, value]",
        ("stats", _) => {
            "no {f} was ever acknowledged: {fail} failed, of {info} the outcome is unknown"
        }
        _ => "this must not be",
    }
}
