//! The HTTP client: operations become requests, answers become outcomes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{HeaderName, HeaderValue};
use minijinja::value::{Serde, Value};
use serde_json::Value as Json;

use super::client::{Answer, Outcome};
use super::definition::{Condition, Operation, Request};
use super::outcome::Rules;
use super::scope::Scope;
use super::session::{Session, Sessions};
use super::template::{Engine, Text};
use super::{Node, System};
use crate::generator::Draft;
use crate::http::{Address, Connection, Failure, Request as HttpRequest, ask};

/// The names that a request's templates may use.
pub(super) const NAMES: [&str; 7] = [
    "key", "value", "f", "node", "process", "session", "sequence",
];

/// The most that an operation may be sent again.
const RETRIES_MAX: u64 = 100;

/// Speaks HTTP to every node of a cluster, with all that can be compiled before compiled.
#[derive(Debug)]
pub struct HttpClient {
    operations: HashMap<String, CompiledOperation>,
    /// Each node's address, and the node as templates see it.
    nodes: Vec<(Address, Value)>,
    /// Parameters that the workload changed.
    with: Arc<[(String, Value)]>,
    timeout: Duration,
    /// How often an operation of unknown outcome is sent again.
    retries: u64,
    sessions: Option<Sessions>,
}

#[derive(Debug)]
struct CompiledOperation {
    request: CompiledRequest,
    rules: Rules,
    harmless: bool,
}

/// A request, compiled.
#[derive(Debug)]
pub(super) struct CompiledRequest {
    method: Method,
    path: Text,
    headers: Vec<(HeaderName, Text)>,
    body: Option<Text>,
}

impl CompiledRequest {
    pub(super) fn compile(
        engine: &Engine,
        request: &Request,
        names: &[&str],
    ) -> Result<CompiledRequest, String> {
        let method = Method::from_bytes(request.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| format!("`{}` is no HTTP method", request.method))?;
        let mut headers = Vec::new();
        for (name, value) in &request.headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("`{name}` is no name of a header"))?;
            headers.push((header, engine.text(value, names)?));
        }
        Ok(CompiledRequest {
            method,
            path: engine.text(&request.path, names)?,
            headers,
            body: request
                .body
                .as_ref()
                .map(|body| engine.text(body, names))
                .transpose()?,
        })
    }

    /// The request for a node, filled in.
    pub(super) fn build(&self, address: &Address, context: &Value) -> Result<HttpRequest, String> {
        let mut request = address.request(&self.path.render(context)?)?;
        *request.method_mut() = self.method.clone();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(&value.render(context)?)
                .map_err(|_| format!("the value of the header `{name}` is not allowed"))?;
            request.headers_mut().insert(name, value);
        }
        if let Some(body) = &self.body {
            *request.body_mut() = body.render(context)?.into_owned().into();
        }
        Ok(request)
    }
}

impl HttpClient {
    /// Compiles the system's operations for one kind of workload and the system's nodes.
    pub(super) fn new(
        system: &System,
        kind: &str,
        with: &BTreeMap<String, Json>,
    ) -> Result<HttpClient, String> {
        let definition = &system.definition.client;
        let http = definition
            .http
            .as_ref()
            .ok_or("the system has no HTTP client")?;
        let engine = &system.engine;
        let with: Arc<[(String, Value)]> = with
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(Serde(value))))
            .collect();
        let sessions = Sessions::compile(
            engine,
            definition.session.as_ref(),
            &http.headers,
            &with,
            definition.timeout.0,
        )?;
        let mut headers_of_all = http.headers.clone();
        if let (Some(_), Some(session)) = (&sessions, &definition.session) {
            headers_of_all.extend(session.headers.clone());
        }
        let mut operations = HashMap::new();
        for f in system.functions(kind) {
            let operation = system.operation(kind, f).expect("it is one of them");
            let compiled = compile(system, operation, &headers_of_all);
            let compiled = compiled.map_err(|why| format!("{f}: {why}"))?;
            operations.insert(f.to_owned(), compiled);
        }
        let mut nodes = Vec::new();
        for node in &system.nodes {
            let context = system.node_context(node);
            let address = engine.text(&http.address, &["node", "nodes"])?;
            let address = Address::parse(&address.render(&context)?)?;
            nodes.push((address, Value::from(Serde(node))));
        }
        Ok(HttpClient {
            operations,
            nodes,
            retries: number(engine, definition.retries.as_ref(), &with)?,
            with,
            timeout: definition.timeout.0,
            sessions,
        })
    }

    /// Does one operation on one node.
    pub(super) async fn call(
        &self,
        node: usize,
        process: u64,
        draft: &Draft,
        connection: &mut Connection,
        session: &mut Option<Session>,
    ) -> Answer {
        let Some(operation) = self.operations.get(draft.f.as_ref()) else {
            // `compile` has seen to it that this cannot be: the workload's operations are there.
            return Answer::of(Outcome::Fail, format!("the system has no `{}`", draft.f));
        };
        let (address, node) = &self.nodes[node];
        let mut scope = Scope::new(&self.with);
        scope.put("f", draft.f.as_ref());
        scope.put(
            "key",
            draft.key.as_deref().map_or(Value::from(()), Value::from),
        );
        scope.put("value", Value::from(Serde(&draft.value)));
        scope.put("node", node.clone());
        scope.put("process", process);
        if let Some(sessions) = &self.sessions {
            let opening = sessions.next(session, process, connection, address, &scope);
            match opening.await {
                Ok(session) => session.put_into(&mut scope),
                Err(why) => return Answer::of(Outcome::Fail, format!("no session: {why}")),
            }
        }
        let mut attempt = async || {
            self.attempt(operation, connection, address, scope.clone())
                .await
        };
        let mut answer = attempt().await;
        for _ in 0..self.retries {
            if answer.outcome != Outcome::Info {
                break;
            }
            let again = attempt().await;
            // What is refused now may have happened the first time.
            if again.outcome != Outcome::Fail {
                answer = again;
            }
        }
        if operation.harmless && answer.outcome == Outcome::Info {
            answer.outcome = Outcome::Fail;
        }
        answer
    }

    async fn attempt(
        &self,
        operation: &CompiledOperation,
        connection: &mut Connection,
        address: &Address,
        scope: Scope,
    ) -> Answer {
        let context = scope.clone().value();
        let request = match operation.request.build(address, &context) {
            Ok(request) => request,
            Err(why) => return Answer::of(Outcome::Fail, format!("request: {why}")),
        };
        let said = match connection.send(address, request, self.timeout).await {
            Ok(said) => said,
            Err(Failure::Unsent(why)) => return Answer::of(Outcome::Fail, why),
            Err(failure) => return Answer::info(failure.to_string()),
        };
        let status = said.status;
        let mut answer = operation.rules.apply(&scope.answered(status, said.body));
        answer.unavailable = status >= 500;
        answer
    }
}

/// A number that a system file gives, or an expression for it.
fn number(
    engine: &Engine,
    given: Option<&Condition>,
    with: &Arc<[(String, Value)]>,
) -> Result<u64, String> {
    let Some(given) = given else { return Ok(0) };
    let context = Scope::new(with).value();
    let value = engine.expression(&given.0, &[])?.eval(&context)?;
    let number = value.as_i64().and_then(|number| u64::try_from(number).ok());
    number
        .filter(|number| *number <= RETRIES_MAX)
        .ok_or_else(|| format!("`retries` is {value}; expected a number from 0 to {RETRIES_MAX}"))
}

fn compile(
    system: &System,
    operation: &Operation,
    headers: &BTreeMap<String, String>,
) -> Result<CompiledOperation, String> {
    let request = operation
        .request
        .as_ref()
        .ok_or("an HTTP client needs a `request`")?;
    let shared = &system.definition.client.outcome;
    Ok(CompiledOperation {
        request: CompiledRequest::compile(&system.engine, &with_headers(request, headers), &NAMES)?,
        rules: Rules::compile(&system.engine, operation.outcome.iter().chain(shared))?,
        harmless: operation.harmless,
    })
}

/// A request with more headers.
pub(super) fn with_headers(request: &Request, headers: &BTreeMap<String, String>) -> Request {
    let mut request = request.clone();
    for (name, value) in headers {
        let own = request.headers.entry(name.clone());
        own.or_insert_with(|| value.clone());
    }
    request
}

/// Asks a node something and gives back the status and the body; for probes.
pub(super) async fn question(
    request: &CompiledRequest,
    address: &Address,
    context: &Value,
    limit: Duration,
) -> Result<(u16, Vec<u8>), String> {
    let answer = ask(address, request.build(address, context)?, limit).await;
    let answer = answer.map_err(|failure| format!("{address}: {failure}"))?;
    Ok((answer.status, answer.body))
}

/// The address of a probe, or the client's.
pub(super) fn address_of(
    system: &System,
    request: &Request,
    node: &Node,
) -> Result<Address, String> {
    let http = system.definition.client.http.as_ref();
    let template = request
        .address
        .as_ref()
        .or(http.map(|http| &http.address))
        .ok_or("a probe needs an `address`, because the client is not HTTP")?;
    let context = system.node_context(node);
    let template = system.engine.text(template, &["node", "nodes"])?;
    Address::parse(&template.render(&context)?)
}
