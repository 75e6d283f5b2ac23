//! What the checker found, read back from `results.json`.
//!
//! Like everything else in the folder it may come from another version, so what is missing is
//! empty and what is unknown is skipped.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The checker's report on one property.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Findings {
    pub(super) keys: Vec<KeyFinding>,
    pub(super) anomalies: Vec<Anomaly>,
    pub(super) counterexample: Vec<Op>,
    pub(super) explanation: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) figures: Figures,
    pub(super) details: Value,
}

impl Findings {
    /// Reads the checker's report; empty when it is not one.
    pub(super) fn of(report: &Value) -> Self {
        Self::deserialize(report).unwrap_or_default()
    }

    /// The op with which the proof was complete: the last answer in the counterexample.
    pub(super) fn last_answer(&self) -> Option<&Op> {
        let ok = self.counterexample.iter().filter(|op| op.type_ == "ok");
        ok.max_by_key(|op| (op.time, op.index))
    }

    /// The index of an op that is impossible by itself. A counterexample without anomalies is
    /// minimal: without its last answer it could be explained. A cycle has no guilty part.
    pub(super) fn stuck(&self) -> Option<u64> {
        self.last_answer()
            .filter(|_| self.anomalies.is_empty())
            .map(|op| op.index)
    }
}

/// A key whose part of the history is not valid.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct KeyFinding {
    pub(super) key: Value,
    pub(super) verdict: String,
    pub(super) reason: Option<String>,
}

/// Something that must not be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Anomaly {
    pub(super) name: String,
    pub(super) count: u64,
    pub(super) explanation: Vec<String>,
    pub(super) ops: Vec<Op>,
    pub(super) details: Value,
}

/// Sizes and times of the check.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) ops: u64,
    pub(super) elapsed_ms: f64,
}

/// An op of a counterexample.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(super) struct Op {
    pub(super) index: u64,
    pub(super) time: u64,
    pub(super) process: Value,
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) f: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) key: Value,
    pub(super) value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
}

impl Op {
    /// The op as a line of a history.
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).expect("an op of strings and JSON values is JSON")
    }
}
