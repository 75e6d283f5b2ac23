//! Who the peers are, and where each is called.
//!
//! A peer has up to two addresses: the one that it is named with, by a configuration or the operator,
//! and the one that it told when it called. The second is all that a node has which joins: whoever
//! leads calls it, and it must answer before it has a configuration. And where the first is out of
//! date, the second leads to the peer all the same. That it is the right node is seen by its id, and
//! by its certificate where there are any.

use super::frame::{Hello, Lane};
use super::outbox::Outbox;
use super::{Inner, link};
use raft::{NodeId, Priority};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Peers that call and are named nowhere; more are turned away.
pub(crate) const GUESTS_MAX: usize = 64;

/// A peer and the connections to it.
pub(crate) struct Peer {
    /// Where it is said to be; nothing is said of a guest.
    named: Option<String>,
    /// What it said of itself.
    told: watch::Sender<Option<Told>>,
    /// Connections from it that stand.
    calls: usize,
    pub(crate) urgent: Arc<Outbox>,
    pub(crate) bulk: Arc<Outbox>,
    tasks: [AbortHandle; 2],
}

/// What a peer says of itself when it calls.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    listens_at: SocketAddr,
    priority: Priority,
}

impl Peer {
    /// How eager it is to lead, as it said last; as usual, until it has called.
    pub(crate) fn priority(&self) -> Priority {
        self.told
            .borrow()
            .map_or(Priority::default(), |told| told.priority)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The addresses of a peer, as its connections' tasks see them.
#[derive(Clone)]
pub(crate) struct Addresses {
    named: Option<String>,
    told: watch::Receiver<Option<Told>>,
}

impl Addresses {
    /// All of them, each once, the likeliest first: where it was `found` last.
    pub(crate) fn likeliest(&mut self, found: Option<&String>) -> Vec<String> {
        let told = *self.told.borrow_and_update();
        let told = told.map(|told| told.listens_at.to_string());
        let mut all: Vec<String> = self.named.iter().cloned().chain(told).collect();
        all.dedup();
        all.sort_by_key(|address| Some(address) != found);
        all
    }

    /// Waits until the peer tells something else.
    pub(crate) async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            // Nobody is left to tell: the task is about to be ended.
            std::future::pending::<()>().await;
        }
    }
}

/// A connection from a peer stands, and as long as it does the peer can be answered.
pub(crate) struct Caller {
    inner: Arc<Inner>,
    id: NodeId,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut peers = self.inner.peers.write();
        let Some(peer) = peers.get_mut(&self.id) else {
            return;
        };
        peer.calls -= 1;
        if peer.calls == 0 && peer.named.is_none() {
            peers.remove(&self.id);
            drop(peers);
            // Its connections' tasks, which say so else, are ended.
            self.inner.lost(self.id);
        }
    }
}

impl Inner {
    /// A peer has called. None if there are too many already of whom nobody has said anything.
    pub(crate) fn called(self: &Arc<Self>, hello: &Hello, from: SocketAddr) -> Option<Caller> {
        let mut listens_at = hello.listens_at;
        if listens_at.ip().is_unspecified() {
            listens_at.set_ip(from.ip());
        }
        let mut peers = self.peers.write();
        let guests = peers.values().filter(|peer| peer.named.is_none()).count();
        if guests >= GUESTS_MAX && !peers.contains_key(&hello.from) {
            return None;
        }
        let peer = peers
            .entry(hello.from)
            .or_insert_with(|| self.call(hello.from, None, None, 0));
        peer.calls += 1;
        let tells = Told {
            listens_at,
            priority: hello.priority,
        };
        peer.told
            .send_if_modified(|told| told.replace(tells) != Some(tells));
        Some(Caller {
            inner: Arc::clone(self),
            id: hello.from,
        })
    }

    /// See [`Transport::set_peers`](super::Transport::set_peers).
    pub(crate) fn set_peers(self: &Arc<Self>, addresses: &BTreeMap<NodeId, String>) {
        let mut peers = self.peers.write();
        let mut lost = Vec::new();
        peers.retain(|id, peer| {
            let stays = addresses.contains_key(id) || peer.calls > 0;
            if !stays {
                lost.push(*id);
            }
            stays
        });
        for (id, peer) in &mut *peers {
            let named = addresses.get(id);
            if peer.named.as_ref() != named {
                let told = *peer.told.borrow();
                *peer = self.call(*id, named.cloned(), told, peer.calls);
                lost.push(*id);
            }
        }
        for (&id, address) in addresses {
            if id != self.options.id && !peers.contains_key(&id) {
                peers.insert(id, self.call(id, Some(address.clone()), None, 0));
            }
        }
        drop(peers);
        for &peer in &lost {
            self.abandon(peer);
        }
        self.unreachable(lost);
    }

    /// What was on its way to a peer is lost.
    pub(crate) fn lost(&self, peer: NodeId) {
        self.abandon(peer);
        self.receiver.unreachable(peer);
    }

    fn call(
        self: &Arc<Self>,
        id: NodeId,
        named: Option<String>,
        told: Option<Told>,
        calls: usize,
    ) -> Peer {
        let told = watch::Sender::new(told);
        let addresses = Addresses {
            named: named.clone(),
            told: told.subscribe(),
        };
        let open = |lane| {
            let outbox = Arc::new(Outbox::new(self.options.queue_len_max));
            let inner = Arc::clone(self);
            let task = link::keep(inner, id, addresses.clone(), lane, Arc::clone(&outbox));
            (outbox, self.runtime.spawn(task).abort_handle())
        };
        let (urgent, urgent_task) = open(Lane::Urgent);
        let (bulk, bulk_task) = open(Lane::Bulk);
        Peer {
            named,
            told,
            calls,
            urgent,
            bulk,
            tasks: [urgent_task, bulk_task],
        }
    }
}
