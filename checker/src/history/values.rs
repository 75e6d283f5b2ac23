//! Interned JSON values: two values are equal exactly when their ids are.
//!
//! A history of a million operations repeats few shapes. Null and small integers live in the id
//! itself; all else is kept once, as canonical JSON text (no blanks, keys sorted), in one arena.
//! The steps of transactions hardly ever repeat, and nobody compares them whole: they are kept as they
//! come, and their ids say nothing of equality.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use serde_json::Value;

use super::scan::Scanner;

/// A value of a history, four bytes wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

const INTEGER: u32 = 1 << 31;
const SMALL: std::ops::Range<i64> = -(1 << 30)..(1 << 30);

impl ValueId {
    /// JSON's null.
    pub const NULL: ValueId = ValueId(0);

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        self == Self::NULL
    }

    /// The integer, when it is a small one (31 bits).
    pub fn small_integer(self) -> Option<i64> {
        (self.0 & INTEGER != 0).then(|| i64::from((self.0 << 1).cast_signed() >> 1))
    }

    pub(crate) fn of_small(integer: i64) -> Option<ValueId> {
        SMALL
            .contains(&integer)
            .then_some(ValueId(INTEGER | (integer as u32 & !INTEGER)))
    }

    /// The bare number: dense among interned values, dense among small integers.
    pub(crate) fn raw(self) -> u32 {
        self.0
    }
}

/// The arena.
#[derive(Clone, Debug)]
pub struct Values {
    text: Vec<u8>,
    /// Where the text of value `id` ends; value 0 is null.
    ends: Vec<usize>,
    /// A part of the hash, and the id: a table that grows need not read the texts again.
    table: HashTable<(u32, u32)>,
    hasher: FixedState,
}

impl Default for Values {
    fn default() -> Self {
        Values {
            text: b"null".to_vec(),
            ends: vec![4],
            table: HashTable::new(),
            hasher: FixedState::default(),
        }
    }
}

impl Values {
    /// The id of an integer.
    pub fn integer(&mut self, integer: i64) -> ValueId {
        ValueId::of_small(integer).unwrap_or_else(|| self.canonical(integer.to_string().as_bytes()))
    }

    /// The id of any value.
    pub fn intern(&mut self, value: &Value) -> ValueId {
        match value {
            Value::Null => ValueId::NULL,
            Value::Number(number) if number.is_i64() => {
                self.integer(number.as_i64().expect("it is one"))
            }
            _ => {
                let mut text = Vec::with_capacity(32);
                write_canonical(value, &mut text);
                self.canonical(&text)
            }
        }
    }

    /// The id of a value given as canonical JSON text that is neither null nor a small integer.
    pub(crate) fn canonical(&mut self, text: &[u8]) -> ValueId {
        let tag = self.tag(text);
        if let Some(id) = self.tagged(tag, text) {
            return id;
        }
        let id = self.keep(text);
        self.table
            .insert_unique(spread(tag), (tag, id.0), |&(tag, _)| spread(tag));
        id
    }

    /// A new id for canonical text that is not looked for among what is there, and is never found.
    pub(crate) fn keep(&mut self, text: &[u8]) -> ValueId {
        let id = u32::try_from(self.ends.len()).expect("fewer than 2^31 distinct values");
        assert!(id < INTEGER, "fewer than 2^31 distinct values");
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len());
        ValueId(id)
    }

    /// The id of a value that may never have been seen: none then.
    pub fn find(&self, value: &Value) -> Option<ValueId> {
        if value.is_null() {
            return Some(ValueId::NULL);
        }
        if let Some(small) = value.as_i64().and_then(ValueId::of_small) {
            return Some(small);
        }
        let mut text = Vec::new();
        write_canonical(value, &mut text);
        self.tagged(self.tag(&text), &text)
    }

    fn tag(&self, text: &[u8]) -> u32 {
        (self.hasher.hash_one(text) >> 32) as u32
    }

    fn tagged(&self, tag: u32, text: &[u8]) -> Option<ValueId> {
        let same =
            |&(other, id): &(u32, u32)| other == tag && slice(&self.text, &self.ends, id) == text;
        let found = self.table.find(spread(tag), same);
        found.map(|&(_, id)| ValueId(id))
    }

    /// Its canonical JSON text.
    pub fn json(&self, id: ValueId) -> Cow<'_, str> {
        match id.small_integer() {
            Some(integer) => Cow::Owned(integer.to_string()),
            None => String::from_utf8_lossy(slice(&self.text, &self.ends, id.0)),
        }
    }

    /// The canonical text of a value that is kept, bytes that nobody looks at twice; none for small
    /// integers.
    pub(crate) fn json_bytes(&self, id: ValueId) -> Option<&[u8]> {
        let small = id.small_integer().is_some();
        (!small).then(|| slice(&self.text, &self.ends, id.0))
    }

    /// The value itself.
    pub fn value(&self, id: ValueId) -> Value {
        match id.small_integer() {
            Some(integer) => Value::from(integer),
            None if id.is_null() => Value::Null,
            None => serde_json::from_slice(slice(&self.text, &self.ends, id.0))
                .expect("the arena holds JSON only"),
        }
    }

    /// The elements of a list of two.
    pub(crate) fn pair(&self, id: ValueId) -> Option<[Value; 2]> {
        let text = self
            .json_bytes(id)
            .filter(|text| text.first() == Some(&b'['))?;
        serde_json::from_slice(text).ok()
    }

    /// The same, without a detour over the parser, when they are small integers or null.
    pub(crate) fn small_pair(&self, id: ValueId) -> Option<[ValueId; 2]> {
        Scanner::new(self.json_bytes(id)?).small_pair()
    }

    /// The value with this bare number; null for numbers that are no value's.
    pub(crate) fn value_of_raw(&self, raw: u32) -> Value {
        let id = ValueId(raw);
        let kept = id.small_integer().is_some() || (raw as usize) < self.ends.len();
        if kept { self.value(id) } else { Value::Null }
    }

    /// How many values are kept: ids from here on are free.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 8 + self.table.capacity() * 9
    }
}

/// A whole hash of a part of one, as good for as many values as there can be.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn slice<'a>(text: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let start = if id == 0 { 0 } else { ends[id as usize - 1] };
    &text[start..ends[id as usize]]
}

/// JSON without blanks and with sorted keys, whatever map `serde_json` was built with.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push(b'{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key).expect("a string is always JSON");
                out.push(b':');
                write_canonical(item, out);
            }
            out.push(b'}');
        }
        scalar => serde_json::to_writer(out, scalar).expect("a scalar is always JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_equal_exactly_when_values_are() {
        let mut values = Values::default();
        let samples = [
            json!(null),
            json!(0),
            json!(-1),
            json!((1 << 30) - 1),
            json!(1 << 30),
            json!(-(1 << 30)),
            json!(i64::MIN),
            json!(u64::MAX),
            json!("a"),
            json!("1"),
            json!(1.5),
            json!(true),
            json!([1, 2]),
            json!([null, 2]),
            json!({"b": 1, "a": [2]}),
            json!(""),
        ];
        let ids: Vec<_> = samples.iter().map(|value| values.intern(value)).collect();
        for (i, value) in samples.iter().enumerate() {
            assert_eq!(values.value(ids[i]), *value);
            assert_eq!(values.intern(value), ids[i]);
            assert_eq!(values.find(value), Some(ids[i]));
            for j in 0..i {
                assert_ne!(ids[i], ids[j], "{} and {}", samples[i], samples[j]);
            }
        }
    }
}
