//! What every node says of itself, asked at the same moment.
//!
//! The node's types are not shared on purpose: this is what a stranger reads from its HTTP face.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::configuration::Configuration;

/// A node's answer to `GET /status`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// The cluster's name.
    pub cluster: String,
    /// The program's version.
    pub version: String,
    /// Its groups; the first one's leader is called the cluster's.
    pub groups: Vec<Group>,
    /// Everyone's addresses.
    pub members: Vec<Address>,
    /// Since its start.
    pub uptime_ms: u64,
    /// In its data directory.
    pub disk_bytes: u64,
}

/// How a group stands on a node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Group {
    /// Its number.
    pub group: u64,
    /// Leader, follower, candidate, learner.
    pub role: String,
    /// The term.
    pub term: u64,
    /// Who leads, as far as this node knows.
    pub leader: Option<u64>,
    /// Committed up to here.
    pub commit: u64,
    /// Applied up to here.
    pub applied: u64,
    /// The members, as this node knows them.
    pub configuration: Configuration,
    /// On the leader: how far each peer is.
    pub progress: Vec<Progress>,
}

/// How far a peer is, as its leader sees it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Progress {
    /// The peer.
    pub id: u64,
    /// How it is being replicated to.
    pub state: String,
    /// Committed entries that it is not known to have.
    pub lag: u64,
    /// Whether it was heard within an election timeout.
    pub active: bool,
}

/// A member and where it is reached.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Address {
    /// The member.
    pub id: u64,
    /// By its peers.
    pub peer: String,
    /// By clients.
    pub http: String,
}

/// One host's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The host's name.
    pub host: String,
    /// The number its node is expected to have.
    pub id: u64,
    /// Where it was asked.
    pub address: String,
    /// What it said, or why it did not.
    #[serde(flatten)]
    pub said: Said,
}

/// Either a status or the reason why there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Its status.
    Status(Box<Status>),
    /// Why it could not be asked.
    Unreachable(String),
}

impl Answer {
    /// Its status, if it answered.
    pub fn status(&self) -> Option<&Status> {
        match &self.said {
            Said::Status(status) => Some(status),
            Said::Unreachable(_) => None,
        }
    }
}

/// All answers.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// One for each host.
    pub answers: Vec<Answer>,
}

impl Survey {
    /// The nodes that answered.
    pub fn reachable(&self) -> BTreeSet<u64> {
        self.answers
            .iter()
            .filter(|answer| answer.status().is_some())
            .map(|a| a.id)
            .collect()
    }

    /// The nodes that answered and are members of a group: they have a log to vote with.
    pub fn able(&self) -> BTreeSet<u64> {
        let able = |answer: &&Answer| {
            answer.status().is_some_and(|status| {
                status
                    .groups
                    .iter()
                    .any(|group| group.configuration.contains(answer.id))
            })
        };
        self.answers
            .iter()
            .filter(able)
            .map(|answer| answer.id)
            .collect()
    }

    /// A group as its leader sees it; without a leader, as the one sees it whose configuration is
    /// the latest. Of two that both think they lead, the later term is right.
    pub fn group(&self, group: u64) -> Option<(&Answer, &Group)> {
        let all = self.answers.iter().filter_map(|answer| {
            let found = answer
                .status()?
                .groups
                .iter()
                .find(|one| one.group == group)?;
            Some((answer, found))
        });
        all.filter(|(_, group)| !group.configuration.voters.is_empty())
            .max_by_key(|(answer, group)| {
                (
                    group.leader == Some(answer.id),
                    group.term,
                    group.configuration.index,
                )
            })
    }

    /// The leader's answer, if a group has one that answers.
    pub fn leader(&self, group: u64) -> Option<(&Answer, &Group)> {
        self.group(group)
            .filter(|(answer, group)| group.leader == Some(answer.id))
    }

    /// All groups that anyone knows.
    pub fn groups(&self) -> BTreeSet<u64> {
        let statuses = self.answers.iter().filter_map(Answer::status);
        statuses
            .flat_map(|status| &status.groups)
            .map(|group| group.group)
            .collect()
    }

    /// How many groups each node leads.
    pub fn groups_led(&self) -> BTreeMap<u64, usize> {
        let mut led = BTreeMap::new();
        for group in self.groups() {
            if let Some((leader, _)) = self.leader(group) {
                *led.entry(leader.id).or_default() += 1;
            }
        }
        led
    }

    /// The address for peers that a node is known by.
    pub fn peer_address(&self, id: u64) -> Option<&str> {
        let statuses = self.answers.iter().filter_map(Answer::status);
        statuses
            .flat_map(|status| &status.members)
            .find(|member| member.id == id)
            .map(|member| member.peer.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64, term: u64, leader: Option<u64>) -> Answer {
        let configuration = Configuration {
            voters: [1, 2, 3].into(),
            index: term,
            ..Configuration::default()
        };
        let group = Group {
            term,
            leader,
            configuration,
            ..Group::default()
        };
        let status = Status {
            id,
            groups: vec![group],
            ..Status::default()
        };
        let said = Said::Status(Box::new(status));
        Answer {
            host: format!("n{id}"),
            id,
            address: String::new(),
            said,
        }
    }

    #[test]
    fn of_two_leaders_the_later_term_is_right() {
        let survey = Survey {
            answers: vec![
                answer(1, 4, Some(1)),
                answer(2, 7, Some(2)),
                answer(3, 7, Some(2)),
            ],
        };
        assert_eq!(survey.leader(0).map(|(leader, _)| leader.id), Some(2));
        assert_eq!(survey.groups_led(), BTreeMap::from([(2, 1)]));
    }

    #[test]
    fn without_a_leader_the_latest_configuration_counts() {
        let survey = Survey {
            answers: vec![answer(1, 4, Some(3)), answer(2, 7, None)],
        };
        assert!(survey.leader(0).is_none());
        assert_eq!(survey.group(0).map(|(answer, _)| answer.id), Some(2));
    }
}
