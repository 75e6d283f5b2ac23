//! A system under test, as a YAML file describes it.
//!
//! Nothing in the harness is written for one system. How it gets onto a host, how it is started
//! and found ready, who leads, and how each operation of a workload becomes a call and its answer
//! an outcome, is data: [`Definition`] is that file, [`System`] the same compiled for a cluster,
//! [`Client`] the part of it that speaks to the nodes.

mod argument;
mod client;
mod definition;
mod deploy;
mod exec;
mod find;
mod http;
mod lint;
mod members;
mod outcome;
mod probe;
mod scope;
mod session;
mod template;

use std::collections::BTreeMap;

use minijinja::value::{Serde, Value};
use serde::Serialize;

pub use client::{Answer, Client, Connection, Outcome};
pub use definition::Definition;
pub use deploy::Deployment;
pub use find::find;
pub use lint::{check_parameters, compile};
pub use members::{Change, Members, Roster};
pub use probe::Probes;
pub use session::Session;
pub use template::Engine;

/// A node of the cluster, as templates see it.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// `n1`, `n2`, …
    pub name: String,
    /// 1, 2, …
    pub id: u64,
    /// Its address on the cluster's network.
    pub address: String,
    /// It does not found the cluster: it starts and waits to be added.
    pub joins: bool,
}

/// A system file, compiled for a cluster.
#[derive(Debug)]
pub struct System {
    /// The file's content.
    pub definition: Definition,
    /// Its parameters, with what the playbook changed.
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// The nodes it is deployed to.
    pub nodes: Vec<Node>,
    /// The folder that relative paths in the file start from.
    pub folder: std::path::PathBuf,
    engine: Engine,
}

impl System {
    /// How an operation of a workload is called: its own way, `set.read`, or that of all, `read`.
    fn operation(&self, kind: &str, f: &str) -> Option<&definition::Operation> {
        let operations = &self.definition.operations;
        operations
            .get(&format!("{kind}.{f}"))
            .or_else(|| operations.get(f))
    }

    /// The operations that a kind of workload can use.
    fn functions<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.definition.operations.keys();
        names.filter_map(move |name| match name.split_once('.') {
            None => Some(name.as_str()),
            Some((own, f)) => (own == kind).then_some(f),
        })
    }

    /// What a template about one node may use: `node`, all `nodes`, and the `founders` among them.
    fn node_context(&self, node: &Node) -> Value {
        let (node, nodes) = (Value::from(Serde(node)), Value::from(Serde(&self.nodes)));
        let founders: Vec<&Node> = self.nodes.iter().filter(|node| !node.joins).collect();
        let founders = Value::from(Serde(&founders));
        minijinja::context! { node, nodes, founders }
    }

    /// The node that an answer means: by its name, its id, or the address.
    fn named(&self, answer: &Value) -> Option<&Node> {
        let text = answer.to_string();
        let means =
            |node: &&Node| node.name == text || node.id.to_string() == text || node.address == text;
        self.nodes.iter().find(means)
    }
}
