//! Several registers at once: `txn [[f key value] …]`, each a read or a write.

use std::collections::BTreeMap;

use serde_json::Value;

use super::specification::{Effect, Observed, Specification};
use crate::history::Outcome;

/// Registers by key. One that was never written holds the initial value.
pub(crate) struct MultiRegister {
    pub(crate) initial: Value,
}

/// A transaction: reads and writes in order, by key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Txn(Vec<(bool, String, Value)>);

impl Specification for MultiRegister {
    type State = BTreeMap<String, Value>;
    type Op = Txn;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn decode(&self, call: &Observed<'_>) -> Result<Option<Txn>, String> {
        let told = match call.outcome {
            Outcome::Fail => return Ok(None),
            Outcome::Info => &call.argument,
            Outcome::Ok => &call.answer,
        };
        let wrong = || "a list of [read|write, key, value]".to_owned();
        let mut steps = Vec::new();
        for step in told.as_array().ok_or_else(wrong)? {
            let [f, key, value] = step.as_array().ok_or_else(wrong)?.as_slice() else {
                return Err(wrong());
            };
            let write = match f.as_str() {
                Some("read" | "r") => false,
                Some("write" | "w") => true,
                _ => return Err(wrong()),
            };
            // What a transaction of unknown outcome would have read is not known.
            if write || call.outcome == Outcome::Ok {
                steps.push((write, key.to_string(), value.clone()));
            }
        }
        Ok((!steps.is_empty()).then_some(Txn(steps)))
    }

    fn step(&self, state: &Self::State, txn: &Txn) -> Option<Self::State> {
        let mut state = state.clone();
        for (write, key, value) in &txn.0 {
            if *write {
                state.insert(key.clone(), value.clone());
            } else if state.get(key).unwrap_or(&self.initial) != value {
                return None;
            }
        }
        // What was written and never written hold the same when the values are the same.
        state.retain(|_, value| *value != self.initial);
        Some(state)
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        state.keys().map(|key| 96 + key.len()).sum()
    }

    fn show(&self, state: &Self::State) -> Value {
        state
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn effect(&self, txn: &Txn) -> Effect {
        if txn.0.iter().all(|(write, ..)| !write) {
            Effect::Observes
        } else {
            Effect::Updates
        }
    }
}
