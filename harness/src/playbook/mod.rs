//! A playbook: what is deployed, what is asked of it, what is done to it and what it must survive.
//!
//! The types here are the language, one to one; the JSON Schema that editors complete with is
//! generated from them. [`load()`] reads a file, puts its parameters in and checks what types alone
//! cannot; a playbook that it returns can be run.

mod entry;
mod expect;
mod faults;
mod lint;
mod load;
pub mod matrix;
mod parameters;
pub mod schema;
pub mod source;
pub mod units;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use entry::{FaultEntry, Until, When};
pub use expect::{Expect, Least};
pub use faults::Faults;
pub use lint::FAULTS_MAX;
pub use load::{Loaded, load, parse};
pub use parameters::Scalar;
use units::{Count, Rate, Span};

use crate::workload::Kind;

/// One ordeal: a system, what clients do to it, what else happens to it, what is expected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// A short name; the run's folder is called after it.
    pub name: String,
    /// What this playbook is for, and what to watch while it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Other playbooks whose keys stand in where this one has none; the first that has it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Names that `${name}` stands for anywhere below, with their defaults; `--set name=value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Scalar>,
    /// The system under test.
    pub system: SystemRef,
    /// How many nodes the cluster has.
    #[serde(default = "five")]
    pub nodes: usize,
    /// So many of the nodes found the cluster; the others start and wait to be added (`membership`).
    /// All of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founders: Option<usize>,
    /// Fixes the operations and the plan of faults; without it every run draws its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How long each part of the run takes.
    #[serde(default)]
    pub time: Time,
    /// What the clients do.
    pub workloads: Vec<Load>,
    /// What else happens.
    #[serde(default, skip_serializing_if = "Faults::is_empty")]
    pub faults: Faults,
    /// How many faults may hold at the same time.
    #[serde(default = "one")]
    pub faults_at_once: usize,
    /// What must be reached for the verdict to mean anything.
    #[serde(default)]
    pub expect: Expect,
}

fn five() -> usize {
    5
}

fn one() -> usize {
    1
}

/// Which system, and with which of its parameters changed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemRef {
    /// The name of a file in `playbooks/systems/`, or a path that ends in `.yaml`.
    #[serde(rename = "use")]
    pub name: String,
    /// Values for the system's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, serde_json::Value>,
}

/// The parts of a run, one after the other.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// Clients work, nothing else happens.
    pub before: Span,
    /// Clients work while the faults come and go.
    pub during: Span,
    /// Everything is healed and the clients work on; recovery is measured from its start.
    pub after: Span,
}

impl Default for Time {
    fn default() -> Self {
        Time {
            before: Span::seconds(3),
            during: Span::seconds(20),
            after: Span::seconds(5),
        }
    }
}

impl Time {
    /// The three parts together.
    pub fn total(&self) -> Span {
        Span(self.before.0 + self.during.0 + self.after.0)
    }
}

/// One workload: what its clients do, and how fast.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// What kind of promise it tests.
    pub kind: Kind,
    /// How many logical processes, each one thing at a time.
    #[serde(default = "two_per_node")]
    pub clients: Count,
    /// So many of the clients only read: a node that is cut off is still read from while its other
    /// clients wait for writes that cannot end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<Count>,
    /// How many keys; each kind has its own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<usize>,
    /// Which keys are used how often.
    #[serde(default)]
    pub spread: Spread,
    /// How often each operation comes, as weights; each kind has its own default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mix: BTreeMap<String, u32>,
    /// All clients together start so many operations a second (open loop, latency counted from
    /// the intended start). Without it each client starts the next when the last has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// At most so many operations, however long the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// The most micro-operations in a transaction.
    #[serde(default = "four")]
    pub transaction_length: usize,
    /// What the histories are checked against, when not the kind's own promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Values for the system's parameters that hold for this workload's operations alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, serde_json::Value>,
}

fn two_per_node() -> Count {
    "2n".parse().expect("a count")
}

fn four() -> usize {
    4
}

/// Which keys are used how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// All alike.
    #[default]
    Uniform,
    /// The first most, the second half as often, the third a third as often.
    Zipf,
    /// Half of all operations on one key, the rest alike.
    Hot,
}
