//! Busy: other work takes the host's processors.
//!
//! Runs everywhere. In a lab all nodes share the machine's processors, so all of them feel it.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};

/// Other work takes the processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {on: one}")]
pub struct Busy {
    /// The hosts that are busy.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How many threads work; by default as many as there are processors.
    #[serde(default)]
    #[schemars(range(max = 256))]
    pub threads: u8,
}

impl Busy {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let arguments = vec![self.threads.to_string()];
        let burn = |_: &str| Action::Agent {
            verb: "burn",
            arguments: arguments.clone(),
        };
        Ok(Plan::on_each(targets, burn, "busy with other work"))
    }
}
