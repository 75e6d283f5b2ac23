//! What sets and logs hold, each element kept once: a read of ten thousand members is as many numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
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
