//! Sessions: a client introduces itself once and numbers what it asks, so that the system can tell
//! a request that is sent again from a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use minijinja::value::Value;

use super::definition::SessionDefinition;
use super::http::{CompiledRequest, with_headers};
use super::scope::Scope;
use super::template::{Engine, Expr};
use crate::http::{Address, Connection};

/// The names that the request for a session may use.
pub(super) const NAMES: [&str; 2] = ["node", "process"];

/// The names that the expression for a session's name may use.
pub(super) const ANSWER: [&str; 3] = ["status", "json", "text"];

/// A process's session.
#[derive(Debug, Clone)]
pub struct Session {
    process: u64,
    id: Value,
    sequence: u64,
}

impl Session {
    /// What templates call it.
    pub(super) fn put_into(&self, scope: &mut Scope) {
        scope.put("session", self.id.clone());
        scope.put("sequence", self.sequence);
    }
}

/// How sessions are opened, compiled.
#[derive(Debug)]
pub(super) struct Sessions {
    request: CompiledRequest,
    id: Expr,
    timeout: Duration,
}

impl Sessions {
    /// None when the system has no sessions, or uses none with these values of its parameters.
    pub(super) fn compile(
        engine: &Engine,
        definition: Option<&SessionDefinition>,
        headers: &BTreeMap<String, String>,
        with: &Arc<[(String, Value)]>,
        timeout: Duration,
    ) -> Result<Option<Sessions>, String> {
        let Some(definition) = definition else {
            return Ok(None);
        };
        if let Some(when) = &definition.when {
            let context = Scope::new(with).value();
            let used = engine.expression(&when.0, &[])?.eval(&context)?;
            if !used.is_true() {
                return Ok(None);
            }
        }
        Ok(Some(Sessions {
            request: CompiledRequest::compile(
                engine,
                &with_headers(&definition.request, headers),
                &NAMES,
            )?,
            id: engine.expression(&definition.id, &ANSWER)?,
            timeout,
        }))
    }

    /// Goes on to the next operation of the process's session, which is opened when it is not.
    pub(super) async fn next<'a>(
        &self,
        session: &'a mut Option<Session>,
        process: u64,
        connection: &mut Connection,
        address: &Address,
        scope: &Scope,
    ) -> Result<&'a Session, String> {
        let sequence = match session {
            Some(session) if session.process == process => session.sequence + 1,
            _ => 1,
        };
        let id = match session.take() {
            Some(session) if sequence > 1 => session.id,
            _ => self.open(connection, address, scope).await?,
        };
        Ok(session.insert(Session {
            process,
            id,
            sequence,
        }))
    }

    async fn open(
        &self,
        connection: &mut Connection,
        address: &Address,
        scope: &Scope,
    ) -> Result<Value, String> {
        let context = scope.clone().value();
        let request = self.request.build(address, &context)?;
        let answered = connection.send(address, request, self.timeout).await;
        let said = answered.map_err(|failure| failure.to_string())?;
        let status = said.status;
        let id = self
            .id
            .eval(&Scope::default().answered(status, said.body))?;
        if id.is_undefined() || id.is_none() {
            return Err(format!("the answer, with status {status}, names none"));
        }
        Ok(id)
    }
}
