//! Loss: a node loses a share of the packets that the other nodes send it.
//!
//! By iptables' statistic match, in the same chains as a partition; the control host loses nothing.
//!
//! Runs wherever iptables does: the lab, virtual machines, rented hosts.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, NemesisError, Plan, Target, View};
use crate::playbook::units::Share;

/// A share of incoming packets is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {share: 20%}")]
pub struct Loss {
    /// The nodes that lose packets.
    #[serde(default = "Target::one")]
    pub on: Target,
    /// How many of their packets they lose.
    pub share: Share,
}

impl Loss {
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let mut actions = Vec::new();
        let targets = self.on.choose(view, rng)?;
        for name in &targets {
            let mut arguments = vec![
                view.control_of(name)?.to_string(),
                format!("{:.6}", self.share.0),
            ];
            arguments.extend(view.others(name));
            actions.push((
                name.clone(),
                Action::Agent {
                    verb: "drop",
                    arguments,
                },
            ));
        }
        let description = format!(
            "{} losing {} of what comes in",
            targets.join(" "),
            self.share
        );
        Ok(Plan {
            targets,
            description,
            actions,
            ..Plan::default()
        })
    }
}
