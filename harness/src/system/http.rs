//! The HTTP client: operations become requests, answers become outcomes.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use minijinja::value::{Serde, Value};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::client::{Answer, Outcome};
use super::definition::{Condition, Operation, Request};
use super::outcome::Rules;
use super::scope::Scope;
use super::session::{Session, Sessions};
use super::template::{Engine, Text};
use super::{Node, System};
use crate::generator::Draft;

/// The names that a request's templates may use.
pub(super) const NAMES: [&str; 7] = [
    "key", "value", "f", "node", "process", "session", "sequence",
];

/// The most that an operation may be sent again.
const RETRIES_MAX: u64 = 100;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long it may take to reach a node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Speaks HTTP to every node of a cluster, with all that can be compiled before compiled.
#[derive(Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    operations: HashMap<String, CompiledOperation>,
    /// Each node's address, and the node as templates see it.
    nodes: Vec<(String, Value)>,
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
    pub(super) fn build(
        &self,
        client: &reqwest::Client,
        address: &str,
        context: &Value,
    ) -> Result<reqwest::RequestBuilder, String> {
        let path = self.path.render(context)?;
        let mut url = String::with_capacity(address.len() + path.len());
        url.push_str(address);
        url.push_str(&path);
        let mut builder = client.request(self.method.clone(), url);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(&value.render(context)?)
                .map_err(|_| format!("the value of the header `{name}` is not allowed"))?;
            builder = builder.header(name, value);
        }
        if let Some(body) = &self.body {
            builder = builder.body(body.render(context)?.into_owned());
        }
        Ok(builder)
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
            &with,
            definition.timeout.0,
        )?;
        let headers_of_all = match (&sessions, &definition.session) {
            (Some(_), Some(session)) => session.headers.clone(),
            _ => BTreeMap::new(),
        };
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
            nodes.push((
                address.render(&context)?.into_owned(),
                Value::from(Serde(node)),
            ));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &http.headers {
            let refused = |_| format!("the header `{name}` is not allowed");
            headers.insert(
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| format!("`{name}` is no name of a header"))?,
                HeaderValue::from_str(value).map_err(refused)?,
            );
        }
        Ok(HttpClient {
            client: plain_client(headers)?,
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
            let opening = sessions.next(session, process, &self.client, address, &scope);
            match opening.await {
                Ok(session) => session.put_into(&mut scope),
                Err(why) => return Answer::of(Outcome::Fail, format!("no session: {why}")),
            }
        }
        let mut answer = self.attempt(operation, address, scope.clone()).await;
        for _ in 0..self.retries {
            if answer.outcome != Outcome::Info {
                break;
            }
            let again = self.attempt(operation, address, scope.clone()).await;
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

    async fn attempt(&self, operation: &CompiledOperation, address: &str, scope: Scope) -> Answer {
        let context = scope.clone().value();
        let request = match operation.request.build(&self.client, address, &context) {
            Ok(request) => request.timeout(self.timeout),
            Err(why) => return Answer::of(Outcome::Fail, format!("request: {why}")),
        };
        let (status, body) = match send(request, operation.rules.uses_body).await {
            Ok(answer) => answer,
            Err(error) => return transport(&error),
        };
        let mut answer = operation.rules.apply(&scope.answered(status, body));
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
fn with_headers(request: &Request, headers: &BTreeMap<String, String>) -> Request {
    let mut request = request.clone();
    for (name, value) in headers {
        let own = request.headers.entry(name.clone());
        own.or_insert_with(|| value.clone());
    }
    request
}

/// A client that does exactly what it is told: no proxy, no redirect, no retry.
pub(super) fn plain_client(headers: HeaderMap) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .default_headers(headers)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(usize::MAX)
        .tcp_nodelay(true)
        .build()
        .map_err(|error| format!("cannot make an HTTP client: {error}"))
}

pub(super) async fn send(
    request: reqwest::RequestBuilder,
    wants_body: bool,
) -> Result<(u16, Vec<u8>), reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if wants_body && body.len() + chunk.len() <= ANSWER_BYTES_MAX {
            body.extend_from_slice(&chunk);
        }
    }
    Ok((status, body))
}

/// What an error on the way means: before the connection stood nothing was sent; after, who knows.
fn transport(error: &reqwest::Error) -> Answer {
    if error.is_builder() {
        return Answer::of(Outcome::Fail, format!("request: {error}"));
    }
    if error.is_connect() {
        let word = if error.is_timeout() {
            "unreachable"
        } else {
            "refused"
        };
        return Answer::of(Outcome::Fail, word);
    }
    if error.is_timeout() {
        return Answer::info("timeout");
    }
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    Answer::info(cause.map_or_else(|| error.to_string(), ToString::to_string))
}

/// Asks a node something and gives back the status and the body; for probes.
pub(super) async fn ask(
    client: &reqwest::Client,
    request: &CompiledRequest,
    address: &str,
    context: &Value,
    timeout: Duration,
) -> Result<(u16, Vec<u8>), String> {
    let builder = request.build(client, address, context)?.timeout(timeout);
    send(builder, true)
        .await
        .map_err(|error| format!("{address}: {error:#}"))
}

/// The address of a probe, or the client's.
pub(super) fn address_of(
    system: &System,
    request: &Request,
    node: &Node,
) -> Result<String, String> {
    let http = system.definition.client.http.as_ref();
    let template = request
        .address
        .as_ref()
        .or(http.map(|http| &http.address))
        .ok_or("a probe needs an `address`, because the client is not HTTP")?;
    let context = system.node_context(node);
    Ok(system
        .engine
        .text(template, &["node", "nodes"])?
        .render(&context)?
        .into_owned())
}
