//! What happens in a simulated cluster, and in which order.

use raft::{Message, NodeId, SnapshotMeta, Term};

use super::disk::Image;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node's clock ticks.
    Tick {
        node: NodeId,
        life: u64,
    },
    Deliver {
        from: NodeId,
        to: NodeId,
        /// The sender's disk.
        generation: u8,
        message: Message,
    },
    DiskDone {
        node: NodeId,
        life: u64,
    },
    Apply {
        node: NodeId,
        life: u64,
    },
    SnapshotArrives {
        from: NodeId,
        to: NodeId,
        term: Term,
        image: Image,
    },
    SnapshotSent {
        from: NodeId,
        life: u64,
        to: NodeId,
        meta: Option<SnapshotMeta>,
    },
    Restart {
        node: NodeId,
    },
    /// A node's link layer finds that a peer does not answer.
    PeerLost {
        node: NodeId,
        peer: NodeId,
    },
    /// A client's request reaches a node.
    Request {
        node: NodeId,
        operation: u64,
        attempt: u64,
    },
    ClientActs {
        client: usize,
    },
    ClientGivesUp {
        client: usize,
        operation: u64,
    },
    /// Something goes wrong, or an operator acts.
    Mischief,
}

impl Event {
    /// The node that must be running and awake for this.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match *self {
            Event::Tick { node, .. }
            | Event::DiskDone { node, .. }
            | Event::Apply { node, .. }
            | Event::PeerLost { node, .. }
            | Event::Request { node, .. } => Some(node),
            Event::Deliver { to, .. } | Event::SnapshotArrives { to, .. } => Some(to),
            Event::SnapshotSent { from, .. } => Some(from),
            _ => None,
        }
    }

    pub(crate) fn life(&self) -> Option<u64> {
        match *self {
            Event::Tick { life, .. }
            | Event::DiskDone { life, .. }
            | Event::Apply { life, .. }
            | Event::SnapshotSent { life, .. } => Some(life),
            _ => None,
        }
    }
}

/// An event and when it happens; events of the same moment happen in the order of scheduling.
pub(crate) struct Scheduled {
    pub(crate) at_us: u64,
    pub(crate) order: u64,
    pub(crate) event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}
