//! Links between nodes: one connection to each peer carries all groups' messages, a second one
//! carries snapshots.
//!
//! A peer is called where it is said to be, or where it said itself that it listens when it called:
//! so whoever calls can be answered, though no configuration here names it (yet, or any more).
//!
//! Messages may be lost and are never kept for a peer that is away; requests are answered or their
//! caller learns that they were not, and whether they may have been carried out. Nothing here
//! knows what a message means.

mod codec;
mod frame;
mod link;
mod listener;
mod outbox;
mod peers;
mod stream;

#[cfg(test)]
mod tests;

pub use crate::encoding::GroupId;
pub use frame::{Request, Response, SnapshotPiece};
pub use stream::PeerTls;

use parking_lot::{Mutex, RwLock};
use peers::Peer;
use raft::{Envelope, Message, NodeId, Priority};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

/// How a node introduces itself and how much it queues.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// This node.
    pub id: NodeId,
    /// Only nodes that name the same cluster are talked to.
    pub cluster: String,
    /// The data directory's incarnation: see [`Identity`](crate::storage::Identity).
    pub incarnation: u64,
    /// How eager it is to lead: peers are told when they are called.
    pub priority: Priority,
    /// Encrypts and authenticates, when given.
    pub tls: Option<PeerTls>,
    /// Bytes that may wait for a peer's socket; what is more is dropped.
    pub queue_len_max: usize,
}

impl TransportOptions {
    /// Enough for some hundred full appends, little enough for many slow peers: 16 MiB.
    pub const QUEUE_LEN_MAX: usize = 16 << 20;
}

/// Who takes what arrives. Called from the connections' tasks: it must not block.
pub trait Receiver: Send + Sync + 'static {
    /// Messages that arrived together, in the order in which they were sent.
    fn messages(&self, from: NodeId, messages: Vec<(GroupId, Message)>);

    /// A request; answer through `reply`, now or later.
    fn request(&self, from: NodeId, request: Request, reply: Reply);

    /// A connection to or from a peer stands; `other_disk` says that its disk is not the one that it
    /// had before. Nothing that it sent from the earlier one comes after this.
    fn connected(&self, peer: NodeId, other_disk: bool);

    /// Messages to this peer were lost: its connection broke, or its queue is full.
    fn unreachable(&self, peer: NodeId);
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It never left: it was certainly not carried out.
    #[error("there is no connection to the node")]
    NotSent,
    /// It may have been carried out.
    #[error("the node did not answer in time")]
    NoAnswer,
}

/// The way back to who asked.
#[derive(Debug)]
pub struct Reply {
    inner: Arc<Inner>,
    to: NodeId,
    id: u64,
}

impl Reply {
    /// Answers. An answer that cannot be sent is lost: the other side runs out of patience.
    pub fn send(self, response: &Response) {
        if let Some(peer) = self.inner.peers.read().get(&self.to) {
            let _ = peer.urgent.response(self.id, response);
        }
    }
}

struct Inner {
    options: TransportOptions,
    listens_at: SocketAddr,
    receiver: Arc<dyn Receiver>,
    peers: RwLock<BTreeMap<NodeId, Peer>>,
    waiting: Mutex<HashMap<u64, (NodeId, oneshot::Sender<Response>)>>,
    next_request: AtomicU64,
    runtime: tokio::runtime::Handle,
    /// Tasks of accepted connections, to be ended with the transport.
    accepted: Mutex<Vec<AbortHandle>>,
    /// The incarnation that each peer showed last.
    incarnations: Mutex<BTreeMap<NodeId, u64>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn adopt(&self, task: AbortHandle) {
        let mut accepted = self.accepted.lock();
        accepted.retain(|task| !task.is_finished());
        accepted.push(task);
    }

    /// A connection to or from a peer stands.
    fn connected(&self, peer: NodeId, incarnation: u64) {
        let mut incarnations = self.incarnations.lock();
        let before = incarnations.insert(peer, incarnation);
        let other_disk = before.is_some_and(|before| before != incarnation);
        self.receiver.connected(peer, other_disk);
    }

    /// Hands messages on; whether the disk that they were sent from is still the peer's.
    fn messages(&self, from: NodeId, incarnation: u64, messages: Vec<(GroupId, Message)>) -> bool {
        let incarnations = self.incarnations.lock();
        let current = incarnations
            .get(&from)
            .is_none_or(|shown| *shown == incarnation);
        if current && !messages.is_empty() {
            self.receiver.messages(from, messages);
        }
        current
    }

    fn request(self: &Arc<Self>, from: NodeId, id: u64, request: Request) {
        let reply = Reply {
            inner: Arc::clone(self),
            to: from,
            id,
        };
        self.receiver.request(from, request, reply);
    }

    /// Gives up what a peer was asked whose connection broke: it may have died with it, and whoever
    /// asked can do better than wait until their patience is over.
    fn abandon(&self, peer: NodeId) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, (asked, _)| *asked != peer);
    }

    /// Reports peers as unreachable. Not from here: the caller may hold what the receiver needs.
    fn unreachable(&self, peers: Vec<NodeId>) {
        let receiver = Arc::clone(&self.receiver);
        self.runtime.spawn(async move {
            for peer in peers {
                receiver.unreachable(peer);
            }
        });
    }

    fn response(&self, from: NodeId, id: u64, response: Response) {
        let mut waiting = self.waiting.lock();
        if waiting.get(&id).is_some_and(|(asked, _)| *asked == from) {
            let (_, answer) = waiting.remove(&id).expect("it was just there");
            // Whoever asked may have lost patience.
            let _ = answer.send(response);
        }
    }
}

/// Forgets a request however its wait ends.
struct Waiting<'a> {
    inner: &'a Inner,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.waiting.lock().remove(&self.id);
    }
}

/// All links of a node. Ends when dropped.
#[derive(Debug)]
pub struct Transport {
    inner: Arc<Inner>,
    listener: JoinHandle<()>,
}

impl Transport {
    /// Accepts peers on the listener. Must be called within a tokio runtime.
    pub fn start(
        options: TransportOptions,
        listener: TcpListener,
        receiver: Arc<dyn Receiver>,
    ) -> Transport {
        let inner = Arc::new(Inner {
            options,
            listens_at: listener.local_addr().expect("a listener has an address"),
            receiver,
            peers: RwLock::default(),
            waiting: Mutex::default(),
            // Answers to a former process's requests must not find one of this process.
            next_request: AtomicU64::new(rand::random()),
            runtime: tokio::runtime::Handle::current(),
            accepted: Mutex::default(),
            incarnations: Mutex::default(),
        });
        let listener = tokio::spawn(listener::accept(Arc::clone(&inner), listener));
        Transport { inner, listener }
    }

    /// Says who the peers are and where: calls new ones, drops those that are no longer named and do
    /// not call, calls anew those that have moved. This node itself is left out.
    pub fn set_peers(&self, addresses: &BTreeMap<NodeId, String>) {
        self.inner.set_peers(addresses);
    }

    /// Queues messages of a group and gives them to the kernel: one system call for each peer,
    /// if its socket takes them. What cannot be queued is dropped and the peer reported as
    /// unreachable, after this returns.
    pub fn send(&self, group: GroupId, envelopes: &[Envelope]) {
        self.queue(group, envelopes);
        self.flush();
    }

    /// Queues messages of a group until [`flush`](Self::flush).
    pub fn queue(&self, group: GroupId, envelopes: &[Envelope]) {
        let mut lost = Vec::new();
        let peers = self.inner.peers.read();
        for Envelope { to, message } in envelopes {
            let queued = peers
                .get(to)
                .is_some_and(|peer| peer.urgent.message(group, message).is_ok());
            if !queued && !lost.contains(to) {
                lost.push(*to);
            }
        }
        drop(peers);
        if !lost.is_empty() {
            metrics::counter!("ordeal_peer_messages_dropped_total").increment(lost.len() as u64);
            self.inner.unreachable(lost);
        }
    }

    /// Gives all that is queued to the kernel.
    pub fn flush(&self) {
        self.inner
            .peers
            .read()
            .values()
            .for_each(|peer| peer.urgent.flush());
    }

    /// Whether messages to the peer can leave now.
    pub fn is_connected(&self, peer: NodeId) -> bool {
        self.inner
            .peers
            .read()
            .get(&peer)
            .is_some_and(|peer| peer.urgent.is_connected())
    }

    /// How eager a peer says that it is to lead.
    pub fn priority(&self, peer: NodeId) -> Priority {
        let peers = self.inner.peers.read();
        peers.get(&peer).map_or(Priority::default(), Peer::priority)
    }

    /// Asks a peer. Snapshots take the bulk connection, all else the other.
    pub async fn request(
        &self,
        to: NodeId,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, RequestError> {
        let id = self.inner.next_request.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.inner.waiting.lock().insert(id, (to, answer));
        let _waiting = Waiting {
            inner: &self.inner,
            id,
        };
        let outbox = {
            let peers = self.inner.peers.read();
            let peer = peers.get(&to).ok_or(RequestError::NotSent)?;
            Arc::clone(match request {
                Request::Forward(_) => &peer.urgent,
                Request::Snapshot(_) => &peer.bulk,
            })
        };
        outbox
            .request(id, request)
            .map_err(|_| RequestError::NotSent)?;
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(response)) => Ok(response),
            _ => Err(RequestError::NoAnswer),
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.listener.abort();
        self.inner
            .accepted
            .lock()
            .iter()
            .for_each(AbortHandle::abort);
        self.inner.peers.write().clear();
    }
}
