//! The faults, as a playbook names them.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::partition::Partition;
use super::{NemesisError, Plan, Target, View, kill, pause, stop};

/// Something bad that is done to some nodes, and undone later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The daemon is killed; healed by starting it again.
    Kill(Target),
    /// The daemon is asked to end; healed by starting it again.
    Stop(Target),
    /// The daemon stands still; healed by letting it go on.
    Pause(Target),
    /// Packets between some nodes are dropped.
    Partition(Partition),
}

impl Fault {
    /// The kinds of faults, as they are written.
    pub const KINDS: &[&str] = &["kill", "stop", "pause", "partition"];

    /// This fault's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::Pause(_) => "pause",
            Self::Partition(_) => "partition",
        }
    }

    /// The nodes that it names, to be checked against a cluster before anything runs.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Kill(target) | Self::Stop(target) | Self::Pause(target) => target.unknown(&[]),
            Self::Partition(partition) => partition
                .groups
                .iter()
                .flatten()
                .map(String::as_str)
                .collect(),
        }
    }

    /// Whether it takes knowing who leads.
    pub(super) fn asks_for_leader(&self) -> bool {
        match self {
            Self::Kill(target) | Self::Stop(target) | Self::Pause(target) => {
                target.asks_for_leader()
            }
            Self::Partition(partition) => partition.asks_for_leader(),
        }
    }

    /// Decides what is done to whom. All chance is here.
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        match self {
            Self::Kill(target) => kill::plan(target, view, rng),
            Self::Stop(target) => stop::plan(target, view, rng),
            Self::Pause(target) => pause::plan(target, view, rng),
            Self::Partition(partition) => partition.plan(view, rng),
        }
    }

    /// The same fault with all chance taken out, so that it can be repeated on the same nodes.
    pub(super) fn settled(&self, plan: &Plan) -> Self {
        let names = || Target::Names(plan.targets.clone());
        match self {
            Self::Kill(_) => Self::Kill(names()),
            Self::Stop(_) => Self::Stop(names()),
            Self::Pause(_) => Self::Pause(names()),
            Self::Partition(partition) => Self::Partition(Partition {
                grudge: plan.grudge.clone(),
                ..partition.clone()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_those_that_a_playbook_may_write() {
        let schema = schemars::schema_for!(Fault);
        let variants = schema.get("oneOf").and_then(|all| all.as_array()).unwrap();
        let kinds: Vec<&str> = variants
            .iter()
            .filter_map(|variant| variant["properties"].as_object()?.keys().next())
            .map(String::as_str)
            .collect();
        assert_eq!(kinds, Fault::KINDS);
    }
}
