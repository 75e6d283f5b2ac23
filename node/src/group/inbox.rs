//! What peers send, on its way to the loop.

use raft::{Message, NodeId};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Failure, Forwarded, GroupId, Groups, Recognition, Task};
use crate::transport::{Receiver, Reply, Request, Response};

/// Batches that may wait for the loop; Raft lives with the loss of what is more.
const BATCHES_MAX: usize = 1_024;

/// Something from a peer.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Messages for the groups' cores.
    Messages {
        from: NodeId,
        messages: Vec<(GroupId, Message)>,
    },
    /// A request that wants an answer.
    Request {
        from: NodeId,
        request: Request,
        reply: Reply,
    },
    /// Messages to this peer were lost.
    Unreachable { peer: NodeId },
    /// This peer came back with another disk.
    OtherDisk { peer: NodeId },
}

/// The end at which the links put in what arrives.
#[derive(Debug)]
pub struct Inbox {
    sender: mpsc::Sender<Inbound>,
    groups: Groups,
    incarnation: u64,
}

/// The end at which the loop takes it out.
#[derive(Debug)]
pub struct Arrivals(pub(super) mpsc::Receiver<Inbound>);

impl Inbox {
    /// Both ends. Questions after incarnations are answered here, from the groups' states: nodes
    /// ask them before they let their loops run.
    pub fn new(groups: Groups, incarnation: u64) -> (Inbox, Arrivals) {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        (
            Inbox {
                sender,
                groups,
                incarnation,
            },
            Arrivals(receiver),
        )
    }

    fn recognise(&self, node: NodeId, incarnation: u64) -> Recognition {
        let mut known = self
            .groups
            .iter()
            .filter_map(|group| group.state.read().incarnation(node));
        if known.all(|known| known == incarnation) {
            Recognition::Fine
        } else {
            Recognition::Wiped
        }
    }

    /// The answer to a question after incarnations, if it is one.
    fn answer(&self, from: NodeId, request: &Request) -> Option<Response> {
        let Request::Forward(body) = request else {
            return None;
        };
        let Forwarded { task, .. } = postcard::from_bytes(body).ok()?;
        let answer = match task {
            Task::Recognise { incarnation } => {
                postcard::to_stdvec(&Ok::<_, Failure>(self.recognise(from, incarnation)))
            }
            Task::Identify => postcard::to_stdvec(&Ok::<_, Failure>(self.incarnation)),
            Task::Propose(_) | Task::Admin(_) => return None,
        };
        Some(Response::Forward(
            answer.expect("an answer always encodes").into(),
        ))
    }

    fn put(&self, inbound: Inbound) {
        if self.sender.try_send(inbound).is_err() {
            metrics::counter!("ordeal_peer_batches_dropped_total").increment(1);
        }
    }
}

impl Receiver for Inbox {
    fn messages(&self, from: NodeId, messages: Vec<(GroupId, Message)>) {
        self.put(Inbound::Messages { from, messages });
    }

    fn request(&self, from: NodeId, request: Request, reply: Reply) {
        match self.answer(from, &request) {
            Some(response) => reply.send(&response),
            None => self.put(Inbound::Request {
                from,
                request,
                reply,
            }),
        }
    }

    fn connected(&self, peer: NodeId, other_disk: bool) {
        if !other_disk {
            return;
        }
        // Unlike a message this may not be lost.
        if let Err(TrySendError::Full(word)) = self.sender.try_send(Inbound::OtherDisk { peer }) {
            let sender = self.sender.clone();
            tokio::spawn(async move { sender.send(word).await });
        }
    }

    fn unreachable(&self, peer: NodeId) {
        self.put(Inbound::Unreachable { peer });
    }
}
