//! Slow: the daemon stands still for a moment, again and again, as on a starved processor.
//!
//! SIGSTOP and SIGCONT in turns, by a helper on the host.
//!
//! Runs everywhere.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};
use crate::playbook::units::{Share, Span};

/// The daemon stands still again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {on: leader}")]
pub struct Slow {
    /// The nodes that are slow.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How much of the time it stands still.
    #[serde(default = "half")]
    pub share: Share,
    /// How long one standstill and the run after it take together.
    #[serde(default = "often")]
    pub every: Span,
}

fn half() -> Share {
    Share(0.5)
}

fn often() -> Span {
    Span(std::time::Duration::from_millis(200))
}

impl Slow {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let targets = self.on.choose(view, rng)?;
        let still = self.every.0.mul_f64(self.share.0);
        let seconds = [still, self.every.0.saturating_sub(still)]
            .map(|span| format!("{:.3}", span.as_secs_f64()));
        let mut actions = Vec::new();
        for name in &targets {
            let arguments = [view.pidfile(name)?.to_owned()]
                .into_iter()
                .chain(seconds.clone());
            actions.push((
                name.clone(),
                Action::Agent {
                    verb: "pulse",
                    arguments: arguments.collect(),
                },
            ));
        }
        let description = format!(
            "{} standing still for {} of every {}",
            targets.join(" "),
            self.share,
            self.every
        );
        Ok(Plan {
            targets,
            description,
            actions,
            ..Plan::default()
        })
    }
}
