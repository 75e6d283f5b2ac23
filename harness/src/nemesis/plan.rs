//! What a fault comes down to: who is affected, and one thing to do on each host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::membership::Step;
use super::{Grudge, NemesisError};
use crate::system::Roster;

/// What the nemesis knows when it plans a fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) nodes: Vec<String>,
    pub(crate) addresses: BTreeMap<String, IpAddr>,
    /// Where each node sees us come from.
    pub(crate) control: BTreeMap<String, IpAddr>,
    pub(crate) leader: Option<String>,
    /// Who the members are, where that changes and is known.
    pub(crate) roster: Option<Roster>,
    /// Who takes nothing from whom, by all faults that hold.
    pub(crate) grudges: Grudge,
    /// Nodes whose daemon a fault holds down.
    pub(crate) down: BTreeSet<String>,
    /// The file with the number of each node's daemon.
    pub(crate) pidfiles: BTreeMap<String, String>,
}

impl View {
    /// The nodes that words such as `one` and `minority` are about: those that vote.
    pub(crate) fn voters(&self) -> Vec<&String> {
        let votes = |node: &&String| {
            let roster = self.roster.as_ref();
            roster.is_none_or(|roster| roster.voters.contains(*node))
        };
        self.nodes.iter().filter(votes).collect()
    }

    /// The nodes that only listen.
    pub(crate) fn learners(&self) -> Vec<String> {
        let learners = self.roster.iter().flat_map(|roster| &roster.learners);
        learners.cloned().collect()
    }

    /// The nodes that answer and that the leader can speak with, as far as our own faults go.
    pub(crate) fn able(&self) -> BTreeSet<String> {
        let drops = |a: &str, b: &str| self.grudges.get(a).is_some_and(|from| from.contains(b));
        let apart = |a: &str, b: &str| drops(a, b) || drops(b, a);
        let able = |node: &&String| {
            !self.down.contains(*node)
                && self
                    .leader
                    .as_deref()
                    .is_none_or(|leader| !apart(leader, node))
        };
        let answering = self.roster.iter().flat_map(|roster| &roster.answering);
        answering.filter(able).cloned().collect()
    }

    pub(crate) fn leader(&self) -> Result<&str, NemesisError> {
        self.leader.as_deref().ok_or(NemesisError::NoLeader)
    }

    pub(crate) fn address(&self, name: &str) -> Result<IpAddr, NemesisError> {
        self.addresses
            .get(name)
            .copied()
            .ok_or_else(|| NemesisError::UnknownNode {
                name: name.to_owned(),
                nodes: self.nodes.join(", "),
            })
    }

    /// The addresses of all nodes but one.
    pub(crate) fn others(&self, name: &str) -> Vec<String> {
        let others = self.addresses.iter().filter(|(other, _)| *other != name);
        others.map(|(_, address)| address.to_string()).collect()
    }

    pub(crate) fn pidfile(&self, name: &str) -> Result<&str, NemesisError> {
        let pidfile = self.pidfiles.get(name).map(String::as_str);
        pidfile.ok_or_else(|| NemesisError::NoDaemon {
            host: name.to_owned(),
        })
    }

    /// The address that a node must go on listening to. It may not be a node's own, or cutting
    /// that node off would be impossible.
    pub(crate) fn control_of(&self, name: &str) -> Result<IpAddr, NemesisError> {
        self.address(name)?;
        let control = self.control.get(name).copied();
        match control {
            Some(control) if !self.addresses.values().any(|address| *address == control) => {
                Ok(control)
            }
            _ => Err(NemesisError::NoControlAddress {
                host: name.to_owned(),
            }),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(nodes: &[&str]) -> Self {
        let names = || nodes.iter().map(ToString::to_string);
        Self {
            nodes: names().collect(),
            addresses: names().zip((1..).map(|id| [10, 0, 0, id].into())).collect(),
            control: names().map(|name| (name, [10, 0, 1, 1].into())).collect(),
            ..Self::default()
        }
    }
}

/// A fault, decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The nodes that it is about.
    pub(crate) targets: Vec<String>,
    pub(crate) grudge: Grudge,
    pub(crate) description: String,
    /// What to do, by host.
    pub(crate) actions: Vec<(String, Action)>,
    /// What to ask the system for, in order.
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// The hosts that something is done to, each once.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let hosts: BTreeSet<&String> = self.actions.iter().map(|(host, _)| host).collect();
        hosts.into_iter().cloned().collect()
    }

    /// The same thing to each of some nodes: `n1 n2 paused`.
    pub(crate) fn on_each(
        targets: Vec<String>,
        action: impl Fn(&str) -> Action,
        done: &str,
    ) -> Self {
        Self {
            description: format!("{} {done}", targets.join(" ")),
            actions: targets
                .iter()
                .map(|host| (host.clone(), action(host)))
                .collect(),
            targets,
            ..Self::default()
        }
    }
}

/// One thing that is done to one host.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The agent on the host does it, and knows how to undo it.
    Agent {
        verb: &'static str,
        arguments: Vec<String>,
    },
    /// The same, and the daemon is dead until it is healed.
    EndByAgent {
        verb: &'static str,
        arguments: Vec<String>,
    },
    /// The daemon is killed; undone by starting it.
    Kill,
    /// The daemon is asked to end; undone by starting it.
    Stop,
    /// The daemon is asked to end, and started again, after a while.
    Restart { after: Duration },
    /// The daemon is stopped where it stands.
    Pause,
}

impl Action {
    /// Whether the daemon does nothing while it lasts.
    pub(crate) fn holds_daemon(&self) -> bool {
        matches!(
            self,
            Self::Kill | Self::Stop | Self::Pause | Self::EndByAgent { .. }
        )
    }
}
