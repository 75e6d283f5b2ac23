//! The faults, as a playbook names them.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::clock::Clock;
use super::damage::Damage;
use super::delay::Delay;
use super::duplicate::Duplicate;
use super::full_disk::FullDisk;
use super::loss::Loss;
use super::membership::Membership;
use super::memory::Memory;
use super::partition::{Partition, Shape};
use super::power_cut::PowerCut;
use super::rate::Rate;
use super::reorder::Reorder;
use super::restart::Restart;
use super::slow::Slow;
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
    /// The daemons are restarted one after the other.
    Restart(Restart),
    /// The daemon stands still for a moment, again and again.
    Slow(Slow),
    /// Other work takes the processors.
    Busy(Busy),
    /// Other work takes memory.
    Memory(Memory),
    /// Packets between some nodes are dropped.
    Partition(Partition),
    /// A share of the packets between nodes is lost.
    Loss(Loss),
    /// Packets between nodes arrive later.
    Delay(Delay),
    /// Packets between nodes overtake each other.
    Reorder(Reorder),
    /// Packets between nodes arrive twice.
    Duplicate(Duplicate),
    /// The line between nodes is narrow.
    Rate(Rate),
    /// The disk is full.
    FullDisk(FullDisk),
    /// The daemon dies and what it had not synced is gone.
    PowerCut(PowerCut),
    /// The daemon dies and a file of it is damaged.
    Damage(Damage),
    /// The wall clock jumps.
    Clock(Clock),
    /// The members are changed.
    Membership(Membership),
    /// A person is asked to do this by hand, and waited for.
    Manual(String),
}

impl Fault {
    /// The kinds of faults, as they are written.
    pub const KINDS: &[&str] = &[
        "kill",
        "stop",
        "pause",
        "restart",
        "slow",
        "busy",
        "memory",
        "partition",
        "loss",
        "delay",
        "reorder",
        "duplicate",
        "rate",
        "full-disk",
        "power-cut",
        "damage",
        "clock",
        "membership",
        "manual",
    ];

    /// The faults that every system should stand and every cluster can do: what `standard` means.
    pub fn standard() -> Vec<Self> {
        let partition = |shape| Self::Partition(Partition::of(shape));
        vec![
            Self::Kill(Target::Minority),
            Self::Kill(Target::Leader),
            Self::Pause(Target::One),
            partition(Shape::Majority),
            partition(Shape::Leader),
            partition(Shape::Ring),
            partition(Shape::OneWay),
        ]
    }

    /// This fault's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::Pause(_) => "pause",
            Self::Restart(_) => "restart",
            Self::Slow(_) => "slow",
            Self::Busy(_) => "busy",
            Self::Memory(_) => "memory",
            Self::Partition(_) => "partition",
            Self::Loss(_) => "loss",
            Self::Delay(_) => "delay",
            Self::Reorder(_) => "reorder",
            Self::Duplicate(_) => "duplicate",
            Self::Rate(_) => "rate",
            Self::FullDisk(_) => "full-disk",
            Self::PowerCut(_) => "power-cut",
            Self::Damage(_) => "damage",
            Self::Clock(_) => "clock",
            Self::Membership(_) => "membership",
            Self::Manual(_) => "manual",
        }
    }

    /// The nodes that it is done to; a partition has a shape instead, and the members a roster.
    fn target(&mut self) -> Option<&mut Target> {
        Some(match self {
            Self::Kill(target) | Self::Stop(target) | Self::Pause(target) => target,
            Self::Restart(fault) => &mut fault.on,
            Self::Slow(fault) => &mut fault.on,
            Self::Busy(fault) => &mut fault.on,
            Self::Memory(fault) => &mut fault.on,
            Self::Loss(fault) => &mut fault.on,
            Self::Delay(fault) => &mut fault.on,
            Self::Reorder(fault) => &mut fault.on,
            Self::Duplicate(fault) => &mut fault.on,
            Self::Rate(fault) => &mut fault.on,
            Self::FullDisk(fault) => &mut fault.on,
            Self::PowerCut(fault) => &mut fault.on,
            Self::Damage(fault) => &mut fault.on,
            Self::Clock(fault) => &mut fault.on,
            Self::Partition(_) | Self::Membership(_) | Self::Manual(_) => return None,
        })
    }

    /// The nodes that it names, to be checked against a cluster before anything runs.
    pub fn names(&self) -> Vec<String> {
        match (self, self.clone().target()) {
            (Self::Partition(partition), _) => partition.groups.concat(),
            (Self::Membership(membership), _) => membership.names(),
            (_, Some(Target::Names(names))) => names.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether it takes knowing who leads.
    pub(super) fn asks_for_leader(&self) -> bool {
        match self {
            Self::Partition(partition) => partition.asks_for_leader(),
            Self::Membership(_) => true,
            other => other
                .clone()
                .target()
                .is_some_and(|target| target.asks_for_leader()),
        }
    }

    /// Whether it takes knowing who the members are.
    pub(super) fn asks_for_roster(&self) -> bool {
        matches!(self, Self::Membership(_)) || self.clone().target() == Some(&mut Target::Learners)
    }

    /// Whether it is over when it was installed: nothing holds that could be healed.
    pub(super) fn is_over_at_once(&self) -> bool {
        matches!(self, Self::Membership(_) | Self::Manual(_))
    }

    /// The verb of the agent that not every host can carry out.
    pub(super) fn needs(&self) -> Option<&'static str> {
        match self {
            Self::Delay(_) | Self::Reorder(_) | Self::Duplicate(_) | Self::Rate(_) => Some("shape"),
            Self::PowerCut(_) => Some("cut-power"),
            Self::Clock(_) => Some("clock"),
            _ => None,
        }
    }

    /// Decides what is done to whom. All chance is here.
    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        match self {
            Self::Kill(target) => kill::plan(target, view, rng),
            Self::Stop(target) => stop::plan(target, view, rng),
            Self::Pause(target) => pause::plan(target, view, rng),
            Self::Restart(fault) => fault.plan(view, rng),
            Self::Slow(fault) => fault.plan(view, rng),
            Self::Busy(fault) => fault.plan(view, rng),
            Self::Memory(fault) => fault.plan(view, rng),
            Self::Partition(fault) => fault.plan(view, rng),
            Self::Loss(fault) => fault.plan(view, rng),
            Self::Delay(fault) => fault.plan(view, rng),
            Self::Reorder(fault) => fault.plan(view, rng),
            Self::Duplicate(fault) => fault.plan(view, rng),
            Self::Rate(fault) => fault.plan(view, rng),
            Self::FullDisk(fault) => fault.plan(view, rng),
            Self::PowerCut(fault) => fault.plan(view, rng),
            Self::Damage(fault) => fault.plan(view, rng),
            Self::Clock(fault) => fault.plan(view, rng),
            Self::Membership(fault) => fault.plan(view, rng),
            Self::Manual(what) => Ok(Plan {
                description: what.clone(),
                ..Plan::default()
            }),
        }
    }

    /// The same fault with its nodes settled, so that it can be done to the same ones again. What
    /// was done to the leader is to be done to the leader again, whoever that is then.
    pub(super) fn settled(&self, plan: &Plan) -> Self {
        if self.asks_for_leader() && !matches!(self, Self::Membership(_)) {
            return self.clone();
        }
        let mut settled = self.clone();
        if let Self::Partition(partition) = &mut settled {
            partition.grudge.clone_from(&plan.grudge);
        } else if let Self::Membership(membership) = &mut settled {
            membership.settle(plan);
        } else if let Some(target) = settled.target() {
            *target = Target::Names(plan.targets.clone());
        }
        settled
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

    #[test]
    fn every_fault_is_read_and_says_its_kind() {
        let texts = [
            r#"{"restart":{}}"#,
            r#"{"slow":{"on":"leader"}}"#,
            r#"{"busy":{}}"#,
            r#"{"memory":{"size_mb":64}}"#,
            r#"{"loss":{"share":"20%"}}"#,
            r#"{"delay":{"by":"100ms","jitter":"20ms"}}"#,
            r#"{"reorder":{"share":"5%","by":"10ms"}}"#,
            r#"{"duplicate":{"share":"5%"}}"#,
            r#"{"rate":{"kbit":512}}"#,
            r#"{"full-disk":{"on":["n1"]}}"#,
            r#"{"power-cut":{"on":"minority"}}"#,
            r#"{"damage":{"files":"/var/lib/x/*.wal","how":"flip"}}"#,
            r#"{"clock":{"by":"1min","back":true}}"#,
            r#"{"membership":{"do":"replace","on":"leader","join":"vote-at-once"}}"#,
        ];
        for text in texts {
            let fault: Fault =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(text.contains(fault.kind()), "{text}: {}", fault.kind());
            let again = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&again).unwrap(), fault);
        }
        assert!(serde_json::from_str::<Fault>(r#"{"loss":{"share":"20%","onn":"n1"}}"#).is_err());
    }
}
