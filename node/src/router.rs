//! From a key to the group that holds it, and from a request to its answer within the time limit.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use raft::NodeId;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::bug::{Bug, Bugs};
use crate::group::{
    AddressBook, AdminVerb, Failure, Forward, Forwarded, GroupId, Groups, NodeStatus, ReadMode,
    Reply, Request, Task, decode_answer,
};
use crate::state_machine::{Answer, Command, State};
use crate::transport::{self, RequestError, Transport};

/// Hands requests to the groups.
#[derive(Debug)]
pub struct Router {
    id: NodeId,
    incarnation: u64,
    requests: mpsc::Sender<Request>,
    groups: Groups,
    links: Arc<Transport>,
    addresses: Arc<AddressBook>,
    timeout: Duration,
    bugs: Bugs,
}

impl Router {
    /// A router over the groups behind `requests`, on the node of this id and incarnation.
    pub fn new(
        (id, incarnation): (NodeId, u64),
        requests: mpsc::Sender<Request>,
        groups: Groups,
        links: Arc<Transport>,
        addresses: Arc<AddressBook>,
        timeout: Duration,
        bugs: Bugs,
    ) -> Router {
        Router {
            id,
            incarnation,
            requests,
            groups,
            links,
            addresses,
            timeout,
            bugs,
        }
    }

    /// All groups.
    pub fn groups(&self) -> Range<GroupId> {
        0..self.groups.len() as GroupId
    }

    /// The group that holds a key. The same on every node and for ever: it is CRC32C modulo the
    /// number of groups, which is fixed when the cluster is founded.
    pub fn group_of(&self, key: &[u8]) -> GroupId {
        if self.groups.len() == 1 {
            0
        } else {
            crc32c::crc32c(key) % self.groups.len() as GroupId
        }
    }

    /// Where a member serves clients.
    pub fn http_address(&self, id: NodeId) -> Option<String> {
        self.addresses.http_of(id)
    }

    /// Proposes a command and waits until it is applied here, or at the leader.
    ///
    /// # Errors
    /// A [`Failure`], which knows whether the command certainly did not happen.
    pub async fn write(
        &self,
        group: GroupId,
        command: &Command,
        forward: Forward,
    ) -> Result<Answer, Failure> {
        let request = |reply| Request::Propose {
            group,
            command: command.encode(),
            reply,
        };
        let task = || Task::Propose(command.encode().freeze());
        match self.ask(group, forward, request, task).await {
            Err(Failure::Timeout) if self.bugs.has(Bug::FalseFailure) => Err(Failure::Overloaded),
            answer => answer,
        }
    }

    /// Has the group's loop do it, or the leader when this node does not lead.
    async fn ask<T: DeserializeOwned>(
        &self,
        group: GroupId,
        forward: Forward,
        request: impl FnOnce(Reply<T>) -> Request,
        task: impl FnOnce() -> Task,
    ) -> Result<T, Failure> {
        let asked = async {
            let (reply, answer) = oneshot::channel();
            self.enqueue(request(reply))?;
            match answer.await.unwrap_or(Err(Failure::Lost)) {
                Err(Failure::NotLeader { leader }) if forward == Forward::ToLeader => {
                    let task = task();
                    self.pass_on(leader, Forwarded { group, task }).await
                }
                answer => answer,
            }
        };
        let answered = tokio::time::timeout(self.timeout, asked).await;
        answered.unwrap_or(Err(Failure::Timeout))
    }

    /// Has the leader do it. An answer that never comes leaves the outcome unknown.
    async fn pass_on<T: DeserializeOwned>(
        &self,
        leader: Option<NodeId>,
        forwarded: Forwarded,
    ) -> Result<T, Failure> {
        let leader = leader.ok_or(Failure::NoLeader)?;
        let request = transport::Request::Forward(forwarded.encode());
        match self.links.request(leader, &request, self.timeout).await {
            Ok(transport::Response::Forward(body)) => decode_answer(&body),
            Err(RequestError::NotSent) => Err(Failure::NoLeader),
            Ok(_) | Err(RequestError::NoAnswer) => Err(Failure::Lost),
        }
    }

    /// Waits until the group's state here may be read in the given mode, and hands it out.
    pub async fn read(
        &self,
        group: GroupId,
        mode: ReadMode,
        forward: Forward,
    ) -> Result<&RwLock<State>, Failure> {
        let state = &self.groups[group as usize].state;
        if mode == ReadMode::Stale {
            return Ok(state);
        }
        let (reply, answer) = oneshot::channel();
        self.enqueue(Request::Read {
            group,
            mode,
            forward,
            reply,
        })?;
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer.map(|()| state),
            // A read leaves no trace, so that it was not answered is all there is to know.
            Ok(Err(_)) => Err(Failure::Stopping),
            Err(_) => Err(Failure::NoLeader),
        }
    }

    /// Carries out an operator's verb; gives the index at which it took effect, if it has one.
    pub async fn admin(
        &self,
        group: GroupId,
        verb: AdminVerb,
        forward: Forward,
    ) -> Result<u64, Failure> {
        let request = |reply| Request::Admin {
            group,
            verb: verb.clone(),
            reply,
        };
        let task = || Task::Admin(verb.clone());
        self.ask(group, forward, request, task).await
    }

    /// The incarnation of a member's disk, asked of the member itself.
    pub async fn incarnation_of(&self, node: NodeId) -> Result<u64, Failure> {
        if node == self.id {
            return Ok(self.incarnation);
        }
        let task = Forwarded {
            group: 0,
            task: Task::Identify,
        };
        let request = transport::Request::Forward(task.encode());
        match self.links.request(node, &request, self.timeout).await {
            Ok(transport::Response::Forward(body)) => decode_answer(&body),
            Ok(_) | Err(_) => Err(Failure::Refused(format!("node {node} cannot be reached"))),
        }
    }

    /// How the node and its groups stand.
    pub async fn status(&self) -> Result<NodeStatus, Failure> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Request::Status { reply })?;
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(status)) => Ok(status),
            _ => Err(Failure::Stopping),
        }
    }

    /// The state of each group, for what may be read at any time.
    pub fn states(&self) -> impl Iterator<Item = &RwLock<State>> {
        self.groups.iter().map(|group| &group.state)
    }

    fn enqueue(&self, request: Request) -> Result<(), Failure> {
        self.requests
            .try_send(request)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Failure::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Failure::Stopping,
            })
    }
}
