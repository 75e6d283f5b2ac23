//! The operator's hand on a cluster of `ordeal-node`: see what is, know what is safe, do it.
//!
//! Nodes are spoken to over their HTTP face, as anybody could; their daemons are started and
//! stopped over SSH. What a change of the members would mean is worked out here, before anything
//! is asked of a node.

mod configuration;
pub mod daemons;
mod survey;

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Host};
use crate::http::{Address, Failure, ask};
pub use configuration::{Change, Configuration, Member, objections};
pub use survey::{Answer, Group, Said, Status, Survey};

/// How long one question to a node may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a change of the members may take: it goes through two log entries and their quorums.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a group may be without a leader until that is more than an election.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The node said no, or something broke on the way.
    #[error("{node}: {message}")]
    Refused {
        /// Who was asked.
        node: String,
        /// The node's own words.
        message: String,
        /// Whether it certainly did not happen.
        definite: bool,
    },
    /// A node could not be asked at all.
    #[error("{node} does not answer at {address}; `ordeal cluster status` shows who does")]
    Unreachable {
        /// Who was asked.
        node: String,
        /// Where.
        address: String,
        /// What went wrong.
        source: Failure,
    },
    /// Nobody leads.
    #[error("group {0} has no leader that answers; `ordeal cluster status` shows who does")]
    NoLeader(u64),
    /// It was asked for but did not come to pass.
    #[error("{0}")]
    Late(String),
}

/// A way to all nodes of a cluster.
#[derive(Debug)]
pub struct Operator {
    cluster: Cluster,
    ports: Ports,
}

/// The ports that a cluster's nodes listen on.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients.
    pub http: u16,
    /// For peers.
    pub peer: u16,
}

impl Operator {
    /// Prepares; asks nobody yet. The cluster must have been entered.
    pub fn new(cluster: Cluster, ports: Ports) -> Self {
        Self { cluster, ports }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The host whose node has this number or name.
    pub fn host(&self, node: &str) -> Option<&Host> {
        self.cluster
            .hosts
            .iter()
            .find(|host| host.name == node || host.id.to_string() == node)
    }

    /// The name of the node with this number.
    pub fn name(&self, id: u64) -> String {
        let host = self.cluster.hosts.iter().find(|host| host.id == id);
        host.map_or_else(|| format!("node {id}"), |host| host.name.clone())
    }

    /// Where a host's node listens.
    pub fn member(&self, host: &Host) -> Member {
        let at = |port| std::net::SocketAddr::new(host.address, port).to_string();
        Member {
            id: host.id,
            peer: at(self.ports.peer),
            http: at(self.ports.http),
        }
    }

    /// Asks every node for its status, all at once.
    pub async fn survey(&self) -> Survey {
        let asked = self.cluster.hosts.iter().map(|host| async move {
            let address = self.member(host).http;
            let said = match self.status(&address).await {
                Ok(status) => Said::Status(Box::new(status)),
                Err(why) => Said::Unreachable(why),
            };
            Answer {
                host: host.name.clone(),
                id: host.id,
                address,
                said,
            }
        });
        Survey {
            answers: join_all(asked).await,
        }
    }

    async fn status(&self, address: &str) -> Result<Status, String> {
        let answer = self.get(address, "/status").await?;
        if answer.status != 200 {
            return Err(format!("it answers with status {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
    }

    /// A quick question.
    async fn get(&self, address: &str, path: &str) -> Result<crate::http::Answer, String> {
        let address = Address::parse(&format!("http://{address}"))?;
        let answer = ask(&address, address.request(path)?, QUESTION_TIMEOUT).await;
        answer.map_err(|failure| match failure {
            Failure::Timeout => "no answer in time".to_owned(),
            other => other.to_string(),
        })
    }

    /// Sends a request to a host's node and gives its answer, whatever its status.
    pub async fn send(
        &self,
        host: &Host,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), OperatorError> {
        let place = self.member(host).http;
        let unreachable = |source| OperatorError::Unreachable {
            node: host.name.clone(),
            address: place.clone(),
            source,
        };
        let unsent = |why| unreachable(Failure::Unsent(why));
        let address = Address::parse(&format!("http://{place}")).map_err(unsent)?;
        let mut request = address.request(path).map_err(unsent)?;
        *request.method_mut() = method;
        if let Some(body) = body {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            *request.body_mut() = body.to_string().into();
        }
        let answer = ask(&address, request, CHANGE_TIMEOUT)
            .await
            .map_err(unreachable)?;
        let value = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&answer.body).into_owned()));
        Ok((answer.status, value))
    }

    /// Like [`Operator::send`], but anything but success is an error.
    pub async fn ask(
        &self,
        host: &Host,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, OperatorError> {
        accepted(host, self.send(host, method, path, body).await?)
    }

    /// Like [`Operator::ask`], of the leader of a group. While leadership changes hands a node says
    /// that nothing happened, and then the next leader is asked.
    async fn ask_leader(
        &self,
        survey: &Survey,
        group: u64,
        path: &str,
        body: &Value,
    ) -> Result<Value, OperatorError> {
        let begin = Instant::now();
        let mut leader = self.leader_host(survey, group).await?;
        loop {
            let answer = self.send(leader, Method::POST, path, Some(body)).await?;
            let (status, value) = &answer;
            let passes = matches!(status, 421 | 503) && value["error"]["definite"] == true;
            if !passes || begin.elapsed() > ELECTION_TIMEOUT {
                return accepted(leader, answer);
            }
            tokio::time::sleep(ASK_EVERY).await;
            leader = self.leader_host(&self.survey().await, group).await?;
        }
    }

    /// Who leads a group; between two leaders the next one is waited for.
    async fn leader_host(&self, survey: &Survey, group: u64) -> Result<&Host, OperatorError> {
        let who = |survey: &Survey| survey.leader(group).map(|(answer, _)| answer.host.clone());
        let begin = Instant::now();
        let mut leader = who(survey);
        while leader.is_none() && begin.elapsed() < ELECTION_TIMEOUT {
            tokio::time::sleep(ASK_EVERY).await;
            leader = who(&self.survey().await);
        }
        let leader = leader.and_then(|name| self.host(&name));
        leader.ok_or(OperatorError::NoLeader(group))
    }

    /// Changes the members of a group and waits until the new configuration is in force.
    pub async fn change(
        &self,
        survey: &Survey,
        group: u64,
        changes: &[Change],
        wanted: &Configuration,
    ) -> Result<Done, OperatorError> {
        let begin = Instant::now();
        let body = json!({"changes": changes, "group": group});
        self.ask_leader(survey, group, "/members", &body).await?;
        let in_force = |seen: &Group| {
            seen.configuration.voters == wanted.voters
                && seen.configuration.outgoing.is_empty()
                && seen
                    .configuration
                    .learners
                    .union(&seen.configuration.joining)
                    .count()
                    == wanted.learners.union(&wanted.joining).count()
        };
        self.wait(
            group,
            begin,
            "the new configuration to be in force",
            in_force,
        )
        .await
    }

    /// Hands a group's leadership over and waits until it has changed hands.
    pub async fn transfer(
        &self,
        survey: &Survey,
        group: u64,
        to: u64,
    ) -> Result<Done, OperatorError> {
        let begin = Instant::now();
        let body = json!({"to": to, "group": group});
        self.ask_leader(survey, group, "/transfer", &body).await?;
        let what = format!("{} to lead group {group}", self.name(to));
        self.wait(group, begin, &what, |seen| seen.leader == Some(to))
            .await
    }

    /// Asks again and again until a group's leader shows what is waited for.
    async fn wait(
        &self,
        group: u64,
        begin: Instant,
        what: &str,
        reached: impl Fn(&Group) -> bool,
    ) -> Result<Done, OperatorError> {
        while begin.elapsed() < CHANGE_TIMEOUT {
            let survey = self.survey().await;
            if let Some((_, seen)) = survey.leader(group).filter(|(_, seen)| reached(seen)) {
                return Ok(Done {
                    term: seen.term,
                    index: seen.configuration.index,
                    commit: seen.commit,
                    elapsed: begin.elapsed(),
                });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let waited_s = CHANGE_TIMEOUT.as_secs();
        Err(OperatorError::Late(format!(
            "waited {waited_s} s for {what}, in vain; it may still happen: look with `ordeal members list`"
        )))
    }

    /// How many committed entries a member lacks, as its leader sees it.
    pub fn lag(survey: &Survey, group: u64, id: u64) -> Option<u64> {
        let (_, leader) = survey.leader(group)?;
        let progress = leader.progress.iter().find(|peer| peer.id == id)?;
        Some(if progress.state == "replicate" || progress.lag == 0 {
            progress.lag
        } else {
            // While it is probed or sent a snapshot, what it has is not known.
            progress.lag.max(1)
        })
    }
}

/// What a node answered, if that means success.
fn accepted(host: &Host, (status, value): (u16, Value)) -> Result<Value, OperatorError> {
    if (200..300).contains(&status) {
        return Ok(value);
    }
    let error = &value["error"];
    let message = error["message"].as_str().map(str::to_owned);
    Err(OperatorError::Refused {
        node: host.name.clone(),
        message: message.unwrap_or_else(|| format!("HTTP {status}: {value}")),
        // What does not say that it did not happen may have happened.
        definite: error["definite"].as_bool().unwrap_or(false),
    })
}

/// What came of a change.
#[derive(Clone, Debug)]
pub struct Done {
    /// The term in which it was done.
    pub term: u64,
    /// The log entry of the configuration in force.
    pub index: u64,
    /// What was committed by then.
    pub commit: u64,
    /// How long it took.
    pub elapsed: Duration,
}
