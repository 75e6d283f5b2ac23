//! Memory: other work takes some of the host's memory.
//!
//! A file of that size in `/dev/shm`. Where less is free than that and a little more, the fault is
//! refused: a host that kills its own SSH server cannot be healed.
//!
//! Runs everywhere. In a lab it is the machine's memory.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};

/// Other work takes memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {size_mb: 64}")]
pub struct Memory {
    /// The hosts that lose memory.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How much, in megabytes.
    #[schemars(range(min = 1))]
    pub size_mb: u32,
}

impl Memory {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let take = |_: &str| Action::Agent {
            verb: "memory",
            arguments: vec![self.size_mb.to_string()],
        };
        Ok(Plan::on_each(
            targets,
            take,
            &format!("with {} MB of memory less", self.size_mb),
        ))
    }
}
