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

/// How long the router waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// An operation's outcome.
    pub operation: Duration,
    /// Another leader, while the one that is known cannot be reached.
    pub election: Duration,
    /// The last words of a leader that another has followed: what it had under way when it handed
    /// over it can still answer.
    pub last_words: Duration,
}

/// Hands requests to the groups.
#[derive(Debug)]
pub struct Router {
    id: NodeId,
    incarnation: u64,
    requests: mpsc::Sender<Request>,
    groups: Groups,
    links: Arc<Transport>,
    addresses: Arc<AddressBook>,
    patience: Patience,
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
        patience: Patience,
        bugs: Bugs,
    ) -> Router {
        Router {
            id,
            incarnation,
            requests,
            groups,
            links,
            addresses,
            patience,
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
        request: impl Fn(Reply<T>) -> Request,
        task: impl Fn() -> Task,
    ) -> Result<T, Failure> {
        let asked = async {
            loop {
                let (reply, answer) = oneshot::channel();
                self.enqueue(request(reply))?;
                let leader = match answer.await.unwrap_or(Err(Failure::Lost)) {
                    Err(Failure::NotLeader { leader }) if forward == Forward::ToLeader => {
                        leader.ok_or(Failure::NoLeader)?
                    }
                    answer => return answer,
                };
                let task = task();
                // Boxed, so that what is answered here does not carry the longer way about.
                let passed_on = Box::pin(self.pass_on(leader, Forwarded { group, task }));
                if let Some(answer) = passed_on.await {
                    return answer;
                }
                // It never left: whoever leads next may be asked as if nobody had been.
                let mut leads = self.groups[group as usize].leader.subscribe();
                let next = leads.wait_for(|known| known.is_some_and(|known| known != leader));
                let next = Box::pin(tokio::time::timeout(self.patience.election, next));
                next.await
                    .map_err(|_| Failure::NoLeader)?
                    .expect("the groups outlive the router");
            }
        };
        let answered = tokio::time::timeout(self.patience.operation, asked).await;
        answered.unwrap_or(Err(Failure::Timeout))
    }

    /// Has the leader do it; none if it could not be asked. An answer that never comes leaves the
    /// outcome unknown, and is not waited for from who does not lead any more.
    async fn pass_on<T: DeserializeOwned>(
        &self,
        leader: NodeId,
        forwarded: Forwarded,
    ) -> Option<Result<T, Failure>> {
        let request = transport::Request::Forward(forwarded.encode());
        tokio::select! {
            answer = self.links.request(leader, &request, self.patience.operation) => match answer {
                Ok(transport::Response::Forward(body)) => Some(decode_answer(&body)),
                Err(RequestError::NotSent) => None,
                Ok(_) | Err(RequestError::NoAnswer) => Some(Err(Failure::Lost)),
            },
            () = self.has_followed(leader, forwarded.group) => Some(Err(Failure::Lost)),
        }
    }

    /// Waits until another leads the group, and has for so long that the former one said its last.
    async fn has_followed(&self, former: NodeId, group: GroupId) {
        let mut leads = self.groups[group as usize].leader.subscribe();
        let another = |known: &Option<NodeId>| known.is_some_and(|known| known != former);
        loop {
            let followed = leads.wait_for(another).await;
            drop(followed.expect("the groups outlive the router"));
            let back = leads.wait_for(|known| !another(known));
            if tokio::time::timeout(self.patience.last_words, back)
                .await
                .is_err()
            {
                return;
            }
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
        match tokio::time::timeout(self.patience.operation, answer).await {
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
        match self
            .links
            .request(node, &request, self.patience.operation)
            .await
        {
            Ok(transport::Response::Forward(body)) => decode_answer(&body),
            Ok(_) | Err(_) => Err(Failure::Refused(format!("node {node} cannot be reached"))),
        }
    }

    /// How the node and its groups stand.
    pub async fn status(&self) -> Result<NodeStatus, Failure> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Request::Status { reply })?;
        match tokio::time::timeout(self.patience.operation, answer).await {
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
