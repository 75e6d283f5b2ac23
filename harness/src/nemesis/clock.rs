//! Clock: a host's wall clock jumps.
//!
//! Its time service is switched off meanwhile. Healed by setting the clock to what it would show by
//! now, by the time since boot, which no fault changes; and the time service is switched on again.
//!
//! Runs on hosts with a clock of their own: virtual machines, rented hosts. A lab's nodes share the
//! machine's, and may not touch it.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};
use crate::playbook::units::Span;

/// The wall clock jumps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {by: 1min}")]
pub struct Clock {
    /// The hosts whose clock jumps.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// By how much.
    pub by: Span,
    /// It jumps back instead of ahead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub back: bool,
}

impl Clock {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let (sign, way) = if self.back {
            ("-", "slow")
        } else {
            ("", "fast")
        };
        let jump = vec![format!("{sign}{}", self.by.0.as_millis())];
        let set = |_: &str| Action::Agent {
            verb: "clock",
            arguments: jump.clone(),
        };
        Ok(Plan::on_each(
            targets,
            set,
            &format!("with the clock {} {way}", self.by),
        ))
    }
}
