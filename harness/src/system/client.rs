//! The part of a system that speaks to its nodes: one connection for each logical process.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::System;
use super::exec::ExecConnection;
use super::http::HttpClient;
use super::session::Session;
use crate::generator::Draft;
use crate::http;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Nobody knows.
    Info,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// Its value, when the answer tells one; else what was invoked.
    pub value: Option<Json>,
    /// A word for what went wrong.
    pub error: Option<String>,
    /// The revision that the system claims, a witness for the checker.
    pub revision: Option<i64>,
    /// The node was not there: the client rests a little before it tries again.
    pub unavailable: bool,
}

impl Answer {
    pub(super) fn info(error: impl Into<String>) -> Answer {
        Answer::of(Outcome::Info, error)
    }

    pub(super) fn of(outcome: Outcome, error: impl Into<String>) -> Answer {
        Answer {
            outcome,
            value: None,
            error: Some(error.into()),
            revision: None,
            unavailable: true,
        }
    }
}

/// What makes connections.
#[derive(Debug)]
pub enum Client {
    /// HTTP.
    Http(Arc<HttpClient>),
    /// A program, told which workload it works for.
    Exec(Arc<System>, &'static str),
}

impl Client {
    /// The client that the system file describes, for a workload of this kind; `with` overrides the
    /// system's parameters.
    pub fn new(
        system: &Arc<System>,
        kind: &'static str,
        with: &BTreeMap<String, Json>,
    ) -> Result<Client, String> {
        if system.definition.client.http.is_some() {
            return HttpClient::new(system, kind, with).map(|http| Client::Http(Arc::new(http)));
        }
        Ok(Client::Exec(Arc::clone(system), kind))
    }

    /// A connection for one process to one node.
    pub fn connect(&self, node: usize) -> Connection {
        match self {
            Client::Http(http) => Connection::Http {
                client: Arc::clone(http),
                node,
                http: http::Connection::default(),
                session: None,
            },
            Client::Exec(system, kind) => Connection::Exec(Box::new(ExecConnection::new(
                Arc::clone(system),
                kind,
                node,
            ))),
        }
    }
}

/// One process's way to its node.
#[derive(Debug)]
pub enum Connection {
    /// HTTP, over a connection of its own.
    Http {
        /// The client.
        client: Arc<HttpClient>,
        /// The node's place in the cluster.
        node: usize,
        /// The connection.
        http: http::Connection,
        /// The session that is open, if the system has sessions.
        session: Option<Session>,
    },
    /// A program of its own.
    Exec(Box<ExecConnection>),
}

impl Connection {
    /// Does one operation, to its end or to the timeout.
    pub async fn call(&mut self, process: u64, draft: &Draft) -> Answer {
        match self {
            Connection::Http {
                client,
                node,
                http,
                session,
            } => client.call(*node, process, draft, http, session).await,
            Connection::Exec(exec) => exec.call(process, draft).await,
        }
    }

    /// Ends what the connection holds.
    pub async fn close(&mut self) {
        if let Connection::Exec(exec) = self {
            exec.close().await;
        }
    }
}
