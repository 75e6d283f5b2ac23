//! What the operator's verbs share: the way to the cluster, and asking before what is dangerous.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::{Context, UsageError};
use crate::by_hand::{Doing, Outcome};
use crate::cluster::{self, Cluster, Host};
use crate::operator::{Configuration, Operator, Ports};
use crate::system::{self, Node, System};

/// Where the nodes listen.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct At {
    /// The port that nodes serve clients on
    #[arg(long, default_value_t = 7000, value_name = "PORT")]
    http_port: u16,
    /// The port that nodes serve each other on
    #[arg(long, default_value_t = 7100, value_name = "PORT")]
    peer_port: u16,
}

impl At {
    /// Opens and enters the cluster. Before any runtime: a lab's network belongs to threads.
    pub(super) fn operator(self, context: &Context) -> anyhow::Result<Operator> {
        let cluster = cluster::open(&context.selector())?;
        cluster.enter()?;
        let ports = Ports {
            http: self.http_port,
            peer: self.peer_port,
        };
        Ok(Operator::new(cluster, ports))
    }
}

/// A system, compiled for some hosts.
pub(super) fn system_on(
    system: &str,
    parameters: &BTreeMap<String, Value>,
    hosts: &[&Host],
) -> anyhow::Result<Arc<System>> {
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let source = system::find(system, &here).map_err(UsageError)?;
    let nodes = hosts.iter().map(|host| Node {
        name: host.name.clone(),
        id: host.id,
        address: host.address.to_string(),
        joins: false,
    });
    let compiled = system::compile(&source, parameters, nodes.collect());
    Ok(Arc::new(compiled.map_err(UsageError::wrap)?))
}

/// Does what was typed, and puts it on the record of the run that is on, if one is.
pub(super) async fn on_record<T>(
    cluster: &Cluster,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let noted = "cannot note in the run that is on what is done by hand";
    let doing = Doing::begin(cluster, &typed.join(" ")).context(noted)?;
    let done = work.await;
    let outcome = match &done {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    doing.end(outcome).context(noted)?;
    done
}

/// The host that the user means.
pub(super) fn host<'a>(operator: &'a Operator, node: &str) -> anyhow::Result<&'a Host> {
    operator.host(node).ok_or_else(|| {
        let hosts = operator
            .cluster()
            .hosts
            .iter()
            .map(|host| host.name.as_str());
        UsageError(format!(
            "the cluster {} has no node {node}; expected one of {}",
            operator.cluster().name,
            hosts.collect::<Vec<_>>().join(", ")
        ))
        .into()
    })
}

/// `n1 n2 n3`.
pub(super) fn names(operator: &Operator, ids: &BTreeSet<u64>) -> String {
    ids.iter()
        .map(|id| operator.name(*id))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A configuration in a line: who votes, who listens, what it survives.
pub(super) fn in_words(operator: &Operator, configuration: &Configuration) -> String {
    let mut words = format!("{} vote", names(operator, &configuration.voters));
    for (ids, role) in [
        (&configuration.outgoing, "still vote too"),
        (&configuration.learners, "listen"),
        (&configuration.joining, "will vote"),
    ] {
        if !ids.is_empty() {
            words = format!("{words}; {} {role}", names(operator, ids));
        }
    }
    let survives = match configuration.failures_survived() {
        0 => "survives no failure".to_owned(),
        1 => "survives 1 failure".to_owned(),
        many => format!("survives {many} failures"),
    };
    format!(
        "{words}: {} of {} decide, {survives}",
        configuration.quorum(),
        configuration.voters.len()
    )
}

/// Has the user type the cluster's name, once it is clear what is at stake.
pub(super) fn confirm(operator: &Operator, at_stake: &[String]) -> anyhow::Result<()> {
    let name = &operator.cluster().name;
    let mut err = std::io::stderr();
    for sentence in at_stake {
        writeln!(err, "at stake: {sentence}")?;
    }
    write!(err, "type the cluster's name ({name}) to go on: ")?;
    err.flush()?;
    let mut typed = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut typed)
        .context("cannot read the answer")?;
    if !std::io::stdin().is_terminal() {
        writeln!(err)?;
    }
    if typed.trim() != name {
        bail!(
            "{:?} is not the cluster's name; nothing was done",
            typed.trim()
        );
    }
    Ok(())
}
