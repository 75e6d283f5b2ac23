//! What a check has to say, as data. Nothing here is formatted for a reader but single sentences.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::Op;

/// Whether the property held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It held.
    Valid,
    /// It did not.
    Invalid,
    /// It could not be decided. Never passes.
    Unknown,
}

impl Verdict {
    /// The verdict over both parts: a violation outweighs doubt, doubt outweighs success.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Invalid, _) | (_, Verdict::Invalid) => Verdict::Invalid,
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
            _ => Verdict::Valid,
        }
    }

    /// `valid`, `invalid` or `unknown`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Invalid => "invalid",
            Verdict::Unknown => "unknown",
        }
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the property held.
    pub verdict: Verdict,
    /// What was checked, by name.
    pub model: String,
    /// Why, in a sentence. Always there when the verdict is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The keys that are not valid, each on its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyReport>,
    /// What was found, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// A least part of the history that is invalid on its own; empty when there is none to show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counterexample: Vec<Op>,
    /// Paragraphs that make the reader believe the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<String>,
    /// What was odd and tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Sizes and times.
    pub figures: Figures,
    /// What a model has to add, by its own rules.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// One key's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyReport {
    /// The key; null when the history has but one object.
    pub key: Value,
    /// Whether the property held for it.
    pub verdict: Verdict,
    /// Why not, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Its name in the field: `lost`, `G1c` …
    pub name: String,
    /// How often it was found.
    pub count: u64,
    /// One instance told step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<String>,
    /// The ops of that instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<Op>,
    /// The instance as data.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// Sizes and times of a check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Operations, an invocation and its completion being one.
    pub ops: u64,
    /// Keys.
    pub keys: u64,
    /// Time the check took.
    pub elapsed_ms: f64,
    /// The most memory that the engines held, the history apart.
    pub memory_bytes: u64,
}

impl Report {
    /// A report with nothing but its verdict.
    pub fn new(model: &str, verdict: Verdict) -> Self {
        Report {
            verdict,
            model: model.to_owned(),
            reason: None,
            keys: Vec::new(),
            anomalies: Vec::new(),
            counterexample: Vec::new(),
            explanation: Vec::new(),
            notes: Vec::new(),
            figures: Figures::default(),
            details: Value::Null,
        }
    }

    /// A report of what could not be decided.
    pub fn unknown(model: &str, reason: impl Into<String>) -> Self {
        Report {
            reason: Some(reason.into()),
            ..Self::new(model, Verdict::Unknown)
        }
    }
}
