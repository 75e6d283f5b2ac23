//! Reorder: some of what a node sends to the others overtakes the rest.
//!
//! Runs where the kernel has netem; see [`netem`].

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NemesisError, Plan, Target, View, netem};
use crate::playbook::units::{Share, Span};

/// Packets overtake each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {share: 5%, by: 10ms}")]
pub struct Reorder {
    /// The nodes whose packets are held back.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How many of them overtake the others.
    pub share: Share,
    /// For how long the others are held back.
    pub by: Span,
}

impl Reorder {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let share = netem::percent(self.share);
        let arguments = [
            "delay".into(),
            netem::span(self.by),
            "reorder".into(),
            share,
        ];
        let done = format!(
            "with all but {} of the packets sent {} late",
            self.share, self.by
        );
        netem::plan(&self.on, &arguments, &done, view, rng)
    }
}
