//! A node id that comes back with a wiped disk is recognised, and has no vote until readmitted.
//!
//! A voter that lost its disk has forgotten its votes and the entries that it acknowledged; if it
//! voted as if nothing had happened, it could elect a leader that lacks committed entries. So every
//! node registers the incarnation of its data directory in the replicated state, and a node whose
//! directory is new asks its peers, before it takes part in anything, whether they know it by
//! another one. Until a majority (itself included) can be asked it could not elect anybody anyway.
//! One that joins asks those it was told of, but silence ends the asking: it need know nobody.
//!
//! What this leaves open: peers that answer may lag behind the registration. With one node wiped
//! and the rest up to date, that does not happen. And a voter that lost its disk must not be
//! started as one that joins while it can ask nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::NodeId;
use tokio::task::JoinSet;

use crate::group::{Forward, Forwarded, GroupId, Recognition, Task, decode_answer};
use crate::router::Router;
use crate::state_machine::{Command, Operation, Outcome, Refusal};
use crate::transport::{Request, Response, Transport};

/// How long all peers are waited for; after that a majority is enough.
const ALL_WITHIN: Duration = Duration::from_secs(1);
/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer is waited for: at first, and at most, as links may be slow.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(8);
/// Bounds of the pause between two looks at the registration.
const LOOK: std::ops::Range<Duration> = Duration::from_millis(250)..Duration::from_secs(30);

/// What a node whose disk is new asks its peers.
pub(crate) struct Ask {
    /// Whom to ask, and their addresses.
    pub(crate) peers: BTreeMap<NodeId, String>,
    /// It was started to join: the peers need not have heard of it.
    pub(crate) joins: bool,
}

/// Asks the peers whether they know this node by another incarnation.
pub(crate) async fn is_wiped(
    links: &Arc<Transport>,
    id: NodeId,
    incarnation: u64,
    ask: &Ask,
) -> bool {
    let others = ask.peers.keys().copied().filter(|peer| *peer != id);
    let mut unasked: BTreeSet<NodeId> = others.collect();
    let enough = if ask.joins {
        0
    } else {
        unasked.len().div_ceil(2)
    };
    let mut answered = 0;
    let begun = Instant::now();
    let mut patience = PATIENCE;
    while !unasked.is_empty() && (answered < enough || begun.elapsed() < ALL_WITHIN) {
        let task = Task::Recognise { incarnation };
        let request = Request::Forward(Forwarded { group: 0, task }.encode());
        let mut answers = JoinSet::new();
        for peer in unasked.clone() {
            let (links, request) = (Arc::clone(links), request.clone());
            answers.spawn(async move { (peer, links.request(peer, &request, patience).await) });
        }
        while let Some(Ok((peer, answer))) = answers.join_next().await {
            match answer {
                Ok(Response::Forward(body)) if decode_answer(&body) == Ok(Recognition::Wiped) => {
                    return true;
                }
                Ok(_) => {
                    unasked.remove(&peer);
                    answered += 1;
                }
                Err(_) => {}
            }
        }
        patience = (patience * 2).min(PATIENCE_MAX);
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// Keeps this node's incarnation registered in every group, for as long as it runs.
pub(crate) async fn register(router: Arc<Router>, id: NodeId, incarnation: u64) {
    let mut pause = LOOK.start;
    let (mut warned, mut known) = (false, false);
    loop {
        let mut missing: Vec<GroupId> = Vec::new();
        for (group, state) in router.states().enumerate() {
            if state.read().incarnation(id) != Some(incarnation) {
                missing.push(group as GroupId);
            }
        }
        let operation = Operation::Register {
            node: id,
            incarnation,
            readmit: false,
        };
        let command = Command {
            session: None,
            operation,
        };
        for group in &missing {
            let answer = router.write(*group, &command, Forward::ToLeader).await;
            let wiped =
                answer.is_ok_and(|answer| answer.outcome == Outcome::Refused(Refusal::Wiped));
            if wiped && !std::mem::replace(&mut warned, true) {
                tracing::warn!("this node lost its disk: an operator has to readmit it");
            }
        }
        if missing.is_empty() && !std::mem::replace(&mut known, true) {
            tracing::info!("the cluster knows this node's disk");
        }
        pause = if missing.is_empty() {
            LOOK.end
        } else {
            (pause * 2).min(LOOK.end)
        };
        tokio::time::sleep(pause).await;
    }
}

/// Takes back a member that lost its disk: it has its vote again once it has caught up.
pub(crate) async fn readmit(router: &Router, node: NodeId) -> Result<u64, crate::group::Failure> {
    let incarnation = router.incarnation_of(node).await?;
    let operation = Operation::Register {
        node,
        incarnation,
        readmit: true,
    };
    let command = Command {
        session: None,
        operation,
    };
    let mut index = 0;
    for group in router.groups() {
        index = router
            .write(group, &command, Forward::ToLeader)
            .await?
            .index;
    }
    Ok(index)
}
