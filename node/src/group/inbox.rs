//! What peers send, on its way to the loop.

use raft::{Message, NodeId};
use tokio::sync::mpsc;

use super::GroupId;
use crate::transport::{Receiver, Reply, Request};

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
}

/// The end at which the links put in what arrives.
#[derive(Debug)]
pub struct Inbox {
    sender: mpsc::Sender<Inbound>,
}

/// The end at which the loop takes it out.
#[derive(Debug)]
pub struct Arrivals(pub(super) mpsc::Receiver<Inbound>);

impl Inbox {
    /// Both ends.
    pub fn new() -> (Inbox, Arrivals) {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        (Inbox { sender }, Arrivals(receiver))
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
        self.put(Inbound::Request {
            from,
            request,
            reply,
        });
    }

    fn connected(&self, peer: NodeId, incarnation: u64) {
        tracing::debug!(peer, incarnation, "connected");
    }

    fn unreachable(&self, peer: NodeId) {
        self.put(Inbound::Unreachable { peer });
    }
}
