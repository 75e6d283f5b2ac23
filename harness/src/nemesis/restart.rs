//! Restart: the daemons are asked to end and started again, one after the other, as in an upgrade.
//!
//! It is over when the last one runs, and there is nothing to heal then.
//!
//! Runs everywhere.

use std::time::Duration;

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};
use crate::playbook::units::Span;

/// The daemons are restarted one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {on: all}")]
pub struct Restart {
    /// The nodes that are restarted.
    #[serde(default = "Target::all")]
    pub on: Target,
    /// How long after the one the next begins.
    #[serde(default = "two_seconds")]
    pub between: Span,
}

fn two_seconds() -> Span {
    Span::seconds(2)
}

impl Restart {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let later = |turn: u32| Action::Restart {
            after: self.between.0.saturating_mul(turn),
        };
        Ok(Plan {
            description: format!("{} restarted one after the other", targets.join(" ")),
            actions: targets.iter().cloned().zip((0..).map(later)).collect(),
            targets,
            ..Plan::default()
        })
    }

    /// How long it takes at least, for so many nodes.
    pub fn lasts(&self, nodes: u32) -> Duration {
        self.between.0.saturating_mul(nodes.saturating_sub(1))
    }
}
