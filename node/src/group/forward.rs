//! Requests that travel to the leader over the peer link, one hop, and their answers.
//!
//! If the link breaks the answer never comes and the outcome is unknown: what may have been
//! proposed is never called failed.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{AdminVerb, Failure, GroupId, Reply};
use crate::transport::{self, Response};

/// A request on its way to the leader.
#[derive(Debug, Serialize, Deserialize)]
pub struct Forwarded {
    /// In which group.
    pub group: GroupId,
    /// What the leader is to do.
    pub task: Task,
}

/// What the leader is to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// Put this encoded command into the log.
    Propose(Bytes),
    /// Carry out an operator's verb.
    Admin(AdminVerb),
    /// Say whether the asking node is known by this incarnation.
    Recognise {
        /// That of the asking node's disk.
        incarnation: u64,
    },
    /// Say the incarnation of your disk.
    Identify,
}

/// What a node knows of another's incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recognition {
    /// It is known by none, or by this one.
    Fine,
    /// It is known by another one: its disk was lost.
    Wiped,
}

impl Forwarded {
    /// As it travels.
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self)
            .expect("a request always encodes")
            .into()
    }
}

/// What the leader answered.
pub fn decode_answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    postcard::from_bytes(body).unwrap_or(Err(Failure::Lost))
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter<T> {
    /// A client of this node.
    Local(Reply<T>),
    /// A peer, which passed a client's request on.
    Remote(transport::Reply),
}

impl<T: Serialize> Waiter<T> {
    /// Sends the answer. A client that has gone is no concern.
    pub(super) fn answer(self, answer: Result<T, Failure>) {
        match self {
            Waiter::Local(reply) => {
                let _ = reply.send(answer);
            }
            Waiter::Remote(reply) => {
                let body = postcard::to_stdvec(&answer).expect("an answer always encodes");
                reply.send(&Response::Forward(body.into()));
            }
        }
    }

    /// Whether nobody waits any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Waiter::Local(reply) if reply.is_closed())
    }
}
