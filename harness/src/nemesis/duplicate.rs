//! Duplicate: some of what a node sends to the others arrives twice.
//!
//! Runs where the kernel has netem; see [`netem`].

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NemesisError, Plan, Target, View, netem};
use crate::playbook::units::Share;

/// Packets arrive twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {share: 5%}")]
pub struct Duplicate {
    /// The nodes whose packets are doubled.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How many of them.
    pub share: Share,
}

impl Duplicate {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let arguments = ["duplicate".into(), netem::percent(self.share)];
        let done = format!("with {} of the packets sent twice", self.share);
        netem::plan(&self.on, &arguments, &done, view, rng)
    }
}
