//! Rate: what a node sends to the others goes through a narrow line.
//!
//! Runs where the kernel has netem; see [`netem`].

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NemesisError, Plan, Target, View, netem};

/// The line is narrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rate {
    /// The nodes whose line it is.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How much goes through it, in kilobits a second.
    #[schemars(range(min = 1))]
    pub kbit: u32,
}

impl Rate {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let arguments = ["rate".into(), format!("{}kbit", self.kbit.max(1))];
        let done = format!("held to {} kbit/s", self.kbit);
        netem::plan(&self.on, &arguments, &done, view, rng)
    }
}
