//! JSON written by hand where a request's time goes, and read strictly where it comes in.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;

use crate::state_machine::{Answer, Outcome, Record, Value};

/// The value as JSON text: JSON as it is, text as a string, other bytes as `{"hex":"…"}`.
pub(crate) fn value_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Json(text) => String::from_utf8_lossy(text),
        Value::Raw(raw) => {
            if let Ok(text) = std::str::from_utf8(raw) {
                Cow::Owned(quoted(text))
            } else {
                let mut text = String::with_capacity(2 * raw.len() + 10);
                text.push_str("{\"hex\":\"");
                raw.iter().for_each(|byte| {
                    let _ = write!(text, "{byte:02x}");
                });
                text.push_str("\"}");
                Cow::Owned(text)
            }
        }
    }
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always has a JSON form")
}

/// The answer to a write that took effect, or `None` if it was refused.
pub(crate) fn answer(answer: &Answer) -> Option<Bytes> {
    let Answer {
        index,
        term,
        outcome,
    } = answer;
    let text = match outcome {
        Outcome::Written { revision } => {
            format!("{{\"index\":{index},\"term\":{term},\"revision\":{revision}}}")
        }
        Outcome::Deleted { existed } => {
            format!("{{\"index\":{index},\"term\":{term},\"existed\":{existed}}}")
        }
        Outcome::Held { token, ttl_ms } => {
            format!("{{\"index\":{index},\"token\":{token},\"ttl_ms\":{ttl_ms}}}")
        }
        Outcome::Released | Outcome::Registered => format!("{{\"index\":{index}}}"),
        Outcome::Session { id } => format!("{{\"session\":{id},\"index\":{index}}}"),
        Outcome::Committed(_) | Outcome::Refused(_) => return None,
    };
    Some(text.into())
}

/// The answer to a read that found something.
pub(crate) fn record(key: &str, record: &Record, index: u64) -> Bytes {
    let value = value_text(&record.value);
    let mut text = String::with_capacity(key.len() + value.len() + 64);
    text.push_str("{\"key\":");
    text.push_str(&quoted(key));
    text.push_str(",\"value\":");
    text.push_str(&value);
    let _ = write!(
        text,
        ",\"revision\":{},\"index\":{index}}}",
        record.revision
    );
    text.into()
}

/// The answer to a range read.
pub(crate) fn page(items: &[(Bytes, Record)], index: u64, more: bool) -> Bytes {
    let mut text = String::from("{\"items\":[");
    for (at, (key, record)) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str("{\"key\":");
        text.push_str(&quoted(&String::from_utf8_lossy(key)));
        text.push_str(",\"value\":");
        text.push_str(&value_text(&record.value));
        let _ = write!(text, ",\"revision\":{}}}", record.revision);
    }
    let _ = write!(text, "],\"index\":{index},\"more\":{more}}}");
    text.into()
}
