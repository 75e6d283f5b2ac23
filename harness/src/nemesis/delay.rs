//! Delay: what a node sends to the others arrives later, and with jitter not evenly so.
//!
//! Runs where the kernel has netem; see [`netem`].

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NemesisError, Plan, Target, View, netem};
use crate::playbook::units::Span;

/// Packets arrive later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as {by: 100ms, jitter: 20ms}"
)]
pub struct Delay {
    /// The nodes whose packets are held back.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// For how long.
    pub by: Span,
    /// How much more or less it may be, by chance. Packets may overtake each other then.
    #[serde(default)]
    pub jitter: Span,
}

impl Delay {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let arguments = [
            "delay".into(),
            netem::span(self.by),
            netem::span(self.jitter),
        ];
        let done = format!(
            "with packets sent {} late, give or take {}",
            self.by, self.jitter
        );
        netem::plan(&self.on, &arguments, &done, view, rng)
    }
}
