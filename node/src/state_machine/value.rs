//! What a key holds: a JSON value or raw bytes, kept as the text it is answered with.
//!
//! JSON is brought into one canonical text at the door (no spaces, keys sorted), so that the state
//! machine compares and appends by bytes and never parses on its own path.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A value: canonical JSON text, or bytes that nobody interprets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Canonical JSON text.
    Json(Bytes),
    /// Bytes as they came.
    Raw(Bytes),
}

impl Value {
    /// A JSON value in its canonical text.
    pub fn json(value: &serde_json::Value) -> Value {
        Value::Json(Bytes::from(value.to_string()))
    }

    /// Parses JSON text into its canonical form.
    pub fn parse_json(text: &[u8]) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(text).map(|value| Value::json(&value))
    }

    /// The text or bytes as stored.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Value::Json(bytes) | Value::Raw(bytes) => bytes,
        }
    }

    /// Equal as a client sees it: raw bytes that are UTF-8 equal the JSON string of the same text.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Raw(raw), Value::Json(json)) | (Value::Json(json), Value::Raw(raw)) => {
                std::str::from_utf8(raw).is_ok_and(|text| {
                    serde_json::to_vec(text).is_ok_and(|quoted| quoted == json.as_ref())
                })
            }
            (left, right) => left.bytes() == right.bytes(),
        }
    }

    /// The integer that this is, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        std::str::from_utf8(self.bytes()).ok()?.parse().ok()
    }

    /// This list with `element` at its end, or `None` if this is not a list.
    pub fn appended(&self, element: &Value) -> Option<Value> {
        let Value::Json(list) = self else { return None };
        let head = list.strip_suffix(b"]").filter(|_| list.starts_with(b"["))?;
        let quoted;
        let element = match element {
            Value::Json(text) => text.as_ref(),
            Value::Raw(raw) => {
                quoted = serde_json::to_vec(&String::from_utf8_lossy(raw)).unwrap_or_default();
                quoted.as_slice()
            }
        };
        let mut text = Vec::with_capacity(list.len() + element.len() + 1);
        text.extend_from_slice(head);
        if head.len() > 1 {
            text.push(b',');
        }
        text.extend_from_slice(element);
        text.push(b']');
        Some(Value::Json(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::parse_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn json_is_brought_into_one_text() {
        assert_eq!(
            json(" { \"b\" : 1, \"a\" : [1 , 2] } "),
            json("{\"a\":[1,2],\"b\":1}")
        );
    }

    #[test]
    fn raw_text_equals_the_json_string_of_the_same_text() {
        assert!(Value::Raw("a\"b".into()).same(&json("\"a\\\"b\"")));
        assert!(!Value::Raw("1".into()).same(&json("1")));
        assert!(!Value::Raw(vec![0xff].into()).same(&json("\"\u{fffd}\"")));
    }

    #[test]
    fn a_list_grows_at_its_end_and_nothing_else_does() {
        let one = json("[]").appended(&json("1")).unwrap();
        assert_eq!(one, json("[1]"));
        assert_eq!(
            one.appended(&json("{\"x\":[]}")).unwrap(),
            json("[1,{\"x\":[]}]")
        );
        assert_eq!(json("\"]\"").appended(&json("1")), None);
        assert_eq!(Value::Raw("[]".into()).appended(&json("1")), None);
    }

    #[test]
    fn only_whole_numbers_are_integers() {
        assert_eq!(json("-7").as_integer(), Some(-7));
        assert_eq!(json("1.5").as_integer(), None);
        assert_eq!(json("\"1\"").as_integer(), None);
    }
}
