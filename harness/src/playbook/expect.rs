//! What a run must have reached for its verdict to mean anything.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Share, Span};

/// The coverage that is asked for. What is not named is not asked for, but for one thing: a run
/// without a single ok operation never passes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// At least so many ok operations of each kind, in each part of the run.
    #[serde(skip_serializing_if = "Least::is_empty")]
    pub ok: Least,
    /// At least so many faults of each kind installed and verified.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, u64>,
    /// After the final heal, an ok operation on every node's clients within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Span>,
    /// The longest time without any ok operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<Span>,
    /// At most this share of all operations ends as `fail`, as `info`, or with a named error.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, Share>,
}

/// Least numbers of ok operations.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Least {
    /// Before the first fault.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, u64>,
    /// While faults come and go.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub during: BTreeMap<String, u64>,
    /// After the final heal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, u64>,
}

impl Least {
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.during.is_empty() && self.after.is_empty()
    }
}
