//! What sets and logs hold, each element kept once: a read of ten thousand members is as many numbers.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;

/// Elements by number: two are equal exactly when their numbers are. Which number an element has depends
/// on who met it first, and nothing that is told may depend on it.
#[derive(Debug, Default)]
pub(crate) struct Elements(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Value, u32, FixedState>,
    values: Vec<Value>,
}

impl Known {
    fn number(&mut self, value: &Value) -> u32 {
        if let Some(&number) = self.numbers.get(value) {
            return number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 elements");
        self.numbers.insert(value.clone(), number);
        self.values.push(value.clone());
        number
    }
}

impl Elements {
    pub(crate) fn number(&self, value: &Value) -> u32 {
        self.known().number(value)
    }

    pub(crate) fn numbers(&self, values: &[Value]) -> Vec<u32> {
        let mut known = self.known();
        values.iter().map(|it| known.number(it)).collect()
    }

    /// The numbers of a list told as text, put into a room that is used again: however long it is, it is
    /// never held as values. False: it is no list.
    pub(crate) fn number_list(&self, text: &[u8], numbers: &mut Vec<u32>) -> bool {
        numbers.clear();
        let mut known = self.known();
        let numbered = each_integer(text, |it| numbers.push(known.number(&it.into())));
        drop(known);
        if numbered.is_some() {
            return true;
        }
        numbers.clear();
        let into = Numbering {
            elements: self,
            numbers,
        };
        let mut text = serde_json::Deserializer::from_slice(text);
        text.deserialize_seq(into).is_ok()
    }

    pub(crate) fn value(&self, number: u32) -> Value {
        self.known().values[number as usize].clone()
    }

    /// Its JSON text.
    pub(crate) fn text(&self, number: u32) -> String {
        self.known().values[number as usize].to_string()
    }

    /// Of these the one whose text is the least.
    pub(crate) fn least(&self, numbers: impl Iterator<Item = u32>) -> Option<u32> {
        numbers.min_by_key(|&it| self.text(it))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives each item of a list of plain small integers, as most are. None: some item is something else.
fn each_integer(text: &[u8], mut each: impl FnMut(u64)) -> Option<()> {
    const DIGITS_MAX: usize = 18;
    let inside = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    for item in inside.split(|&byte| byte == b',') {
        if !(1..=DIGITS_MAX).contains(&item.len()) || !item.iter().all(u8::is_ascii_digit) {
            return None;
        }
        each(
            item.iter()
                .fold(0, |it, digit| 10 * it + u64::from(digit - b'0')),
        );
    }
    Some(())
}

/// Items of a list, numbered some at a time.
struct Numbering<'a> {
    elements: &'a Elements,
    numbers: &'a mut Vec<u32>,
}

impl<'de> Visitor<'de> for Numbering<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        const AT_ONCE: usize = 256;
        let mut some: Vec<Value> = Vec::with_capacity(AT_ONCE);
        loop {
            let item = list.next_element()?;
            let ended = item.is_none();
            some.extend(item);
            if ended || some.len() == AT_ONCE {
                let mut known = self.elements.known();
                let numbers = some.drain(..).map(|it| known.number(&it));
                self.numbers.extend(numbers);
            }
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_told_as_text_has_the_numbers_of_its_values() {
        let elements = Elements::default();
        let values: Vec<Value> = (0..1_000)
            .map(|it| serde_json::json!([it % 300, { "a": it % 7 }, "x"]))
            .collect();
        let mut integers: Vec<Value> = (0..1_000).map(|it| Value::from(it % 300)).collect();
        let all_integers = integers.clone();
        integers.extend([Value::from(-1), Value::from(u64::MAX), Value::from(1.0)]);
        let mut room = vec![7; 3];
        for values in [values, all_integers, integers] {
            let expected = elements.numbers(&values);
            let text = Value::from(values).to_string();
            assert!(elements.number_list(text.as_bytes(), &mut room));
            assert_eq!(room, expected);
        }
        assert!(elements.number_list(b"[]", &mut room) && room.is_empty());
        for other in ["null", "3", "{}", "\"[]\""] {
            assert!(
                !elements.number_list(other.as_bytes(), &mut room),
                "{other}"
            );
        }
    }
}
