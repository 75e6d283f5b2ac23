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

use crate::http::Address;

pub use client::{Answer, Client, Connection, Outcome};
pub use definition::Definition;
use definition::Starts;
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

    /// What a template about one node may use: `node`, all `nodes`, and among them the `founders` and
    /// the `members`, which they are at first.
    fn node_context(&self, node: &Node) -> Value {
        let founders = self.nodes.iter().filter(|node| !node.joins);
        self.context_among(node, &founders.collect::<Vec<_>>())
    }

    /// The same, where others are members by now.
    fn context_among(&self, node: &Node, members: &[&Node]) -> Value {
        let (node, nodes) = (Value::from(Serde(node)), Value::from(Serde(&self.nodes)));
        let founders: Vec<&Node> = self.nodes.iter().filter(|node| !node.joins).collect();
        let (founders, members) = (Value::from(Serde(&founders)), Value::from(Serde(&members)));
        minijinja::context! { node, nodes, founders, members }
    }

    /// Whether a node that is no member does not run.
    fn starts_when_added(&self) -> bool {
        let members = self.definition.members.as_ref();
        members.is_some_and(|members| members.starts == Starts::WhenAdded)
    }

    /// The node that an answer means: by its name, its id, the address, or a URL with it.
    fn named(&self, answer: &Value) -> Option<&Node> {
        let text = answer.to_string();
        let host = Address::parse(&text).ok();
        let host = host.as_ref().map_or(text.as_str(), Address::host);
        let means =
            |node: &&Node| node.name == text || node.id.to_string() == text || node.address == host;
        self.nodes.iter().find(means)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::source::Source;

    fn etcd() -> System {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = file.join("../playbooks/systems/etcd.yaml");
        let nodes = (1..=3).map(|id| Node {
            name: format!("n{id}"),
            id,
            address: format!("10.77.0.{}", 10 * id),
            joins: id > 2,
        });
        let source = Source::read(&file).expect("it is shipped");
        compile(&source, &BTreeMap::new(), nodes.collect()).expect("it is sound")
    }

    #[test]
    fn a_node_is_meant_by_its_name_its_id_its_address_or_a_url_with_it() {
        let system = etcd();
        for text in ["n2", "2", "10.77.0.20", "http://10.77.0.20:2380"] {
            let named = system.named(&Value::from(text));
            assert_eq!(named.map(|node| node.id), Some(2), "{text}");
        }
        for text in ["n4", "10.77.0.2", "http://10.77.0.2:2380", ""] {
            assert!(system.named(&Value::from(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn who_is_added_later_is_told_who_the_members_are_by_then() {
        let system = etcd();
        let told = |context: Value| {
            let argv = &system.definition.daemon.argv;
            let argv = argument::render(&system.engine, argv, &lint::NODE, &context);
            let argv = argv.expect("it renders");
            let told = argv
                .into_iter()
                .find(|it| it.starts_with("--initial-cluster="));
            told.expect("it is told").matches("http://").count()
        };
        let (first, third) = (&system.nodes[0], &system.nodes[2]);
        assert_eq!(told(system.node_context(first)), 2, "the founders");
        assert_eq!(told(system.context_among(third, &[first, third])), 2);
        assert!(system.starts_when_added());
    }
}
