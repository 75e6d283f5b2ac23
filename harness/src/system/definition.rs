//! The language of a system file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use super::argument::Argument;
use crate::playbook::units::Span;

/// A system under test.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub about: String,
    /// What can be changed from outside (`system: {with: …}` in a playbook), with the defaults.
    #[serde(default)]
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// How it gets onto a host.
    #[serde(default)]
    pub install: Install,
    /// Files that are written on each node before the start; path → template of the content.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Folders that belong to it: made, and emptied before the run.
    #[serde(default)]
    pub data: Vec<String>,
    /// Commands run on each node, in order, after the files are there and before the start.
    #[serde(default)]
    pub prepare: Vec<Vec<Argument>>,
    /// The daemon.
    pub daemon: DaemonDefinition,
    /// When a node is ready for clients.
    pub ready: Probe,
    /// Commands run on each node once all are ready.
    #[serde(default)]
    pub settle: Vec<Vec<Argument>>,
    /// Who leads, asked of any node.
    #[serde(default)]
    pub leader: Option<Probe>,
    /// Numbers of a node that a run follows once a second. `applied`, how far it has come, is what
    /// `until: caught-up n2` looks at.
    #[serde(default)]
    pub gauges: Option<Gauges>,
    /// Who its members are, and how that is changed, in a system where it can be.
    #[serde(default)]
    pub members: Option<MembersDefinition>,
    /// What is done when a primary has been killed, in a system that does not elect by itself.
    #[serde(default)]
    pub failover: Option<Failover>,
    /// How clients speak to it.
    pub client: ClientDefinition,
    /// The workloads' operations: how each is called and what its answers mean. One that is called
    /// in a different way for one workload is named `workload.operation`.
    pub operations: BTreeMap<String, Operation>,
}

/// How a system gets onto a host.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// Files that are copied there.
    pub upload: Vec<Upload>,
    /// Debian packages that must be there: package → a program of it that must be found.
    pub packages: BTreeMap<String, String>,
}

/// A file that is copied to each node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// A path; or a bare name, which is looked for beside `ordeal` and in the PATH.
    pub from: String,
    /// The path on the node.
    pub to: String,
    /// The permissions, in octal.
    #[serde(default = "executable")]
    pub mode: String,
}

fn executable() -> String {
    "755".into()
}

/// How the daemon runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DaemonDefinition {
    /// The command and its arguments; never seen by a shell.
    pub argv: Vec<Argument>,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where its output goes.
    pub log: String,
}

/// A question to a node over HTTP, or by a command on it, and what is read from the answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// An HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Request>,
    /// A command run on the node over SSH; its output is `text`, and `json` if it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<Argument>>,
    /// What the answer says: for `ready` true or false, for `leader` the name or the id of a node.
    pub answer: String,
    /// How long to keep asking.
    #[serde(default = "half_a_minute")]
    pub within: Span,
}

/// One question to a node, and the numbers that are read from its answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gauges {
    /// An HTTP request.
    pub http: Request,
    /// The name of each number, and the expression that it is.
    pub answers: BTreeMap<String, String>,
}

fn half_a_minute() -> Span {
    Span::seconds(30)
}

/// Who votes and who only listens, and the requests that change it. They are sent to the leader;
/// besides `node` and `nodes` their templates know `target`, the node that the change is about,
/// for `replace` the `other`, whose place it takes, and as `json` what the leader's `view` answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MembersDefinition {
    /// How a node tells who the members are.
    pub view: ViewDefinition,
    /// When a node starts that is no member yet.
    #[serde(default)]
    pub starts: Starts,
    /// The target votes from now on, whether it has the log or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Request>,
    /// The target receives the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_learner: Option<Request>,
    /// The target, a learner, votes from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Request>,
    /// The target is no member any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<Request>,
    /// The target, a learner, votes and the other is no member any more, in one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Request>,
    /// The target leads from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Request>,
    /// Whether a node that refuses a change may be asked for it again: an expression over its answer.
    /// After the statuses 409, 421, 429 and 5xx it may always be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// How long a change may take until every answer shows it.
    #[serde(default = "half_a_minute")]
    pub within: Span,
}

/// When a node starts that is no member yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// With all others; it waits to be added, and goes on when it has been removed.
    #[default]
    WithAll,
    /// When it has been added, with its data emptied first; it is ended when it has been removed.
    WhenAdded,
}

/// How a node tells who the members are: a request, and expressions over its answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewDefinition {
    /// The request.
    pub http: Request,
    /// A list of those that vote, by name, id, address, or a URL with it.
    pub voters: String,
    /// A list of those that only receive the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learners: Option<String>,
    /// Whether a change is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing: Option<String>,
    /// A number that grows with every change: of different views the greatest counts. Without it
    /// the leader's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many entries `target` lacks, asked of the leader. Without it a learner is promoted as soon
    /// as the system lets it be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<String>,
}

/// What stands in for an election, in a system that has none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    /// So long after the leader was last seen, another node is promoted.
    pub after: Span,
    /// The command that promotes the node it runs on.
    pub promote: Vec<Argument>,
}

/// How clients speak to the system.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientDefinition {
    /// Over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDefinition>,
    /// Through a program: JSON lines on its stdin and stdout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecDefinition>,
    /// How long a call may take.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
    /// How often an operation whose outcome is unknown is sent again, the same to the last byte.
    /// Only a system that recognises a request that it has had already may be asked twice. A
    /// number, or an expression over the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Condition>,
    /// How a client introduces itself, so that the system can recognise what it asks twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionDefinition>,
    /// How long a client rests after it found its node unavailable.
    #[serde(default = "short_rest")]
    pub rest: Span,
    /// What answers mean when the operation's own rules do not say.
    #[serde(default)]
    pub outcome: Vec<Rule>,
}

fn two_seconds() -> Span {
    Span::seconds(2)
}

fn short_rest() -> Span {
    "50ms".parse().expect("a span")
}

/// How a client opens a session: each process has one, and a new process a new one. Templates of
/// requests call it `session`, and `sequence` the number of the operation in it, from 1.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionDefinition {
    /// An expression over the parameters; without it, or when it is true, sessions are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// What is asked to open one.
    pub request: Request,
    /// The expression that is its name.
    pub id: String,
    /// Headers of every operation in a session.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// An HTTP client.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpDefinition {
    /// Where a node is spoken to.
    pub address: String,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// A program that is the client.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecDefinition {
    /// The command, run once for each logical process, beside the harness.
    pub argv: Vec<Argument>,
}

/// An operation of a workload.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The request, for an HTTP client. An `exec` client gets the operation itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// It changes nothing: when its outcome is not known, it certainly did not happen.
    #[serde(default)]
    pub harmless: bool,
    /// What answers mean, the first rule that holds counts.
    #[serde(default)]
    pub outcome: Vec<Rule>,
}

/// An HTTP request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where, for a probe; operations use the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// Template of the path and the query.
    pub path: String,
    /// Templates of headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Template of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

fn get() -> String {
    "GET".into()
}

/// What an answer means. Exactly one of `ok`, `fail` and `info` says when the rule holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// It happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<Condition>,
    /// It certainly did not happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Condition>,
    /// It may have happened, or may yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Condition>,
    /// The value that an `ok` answers: an expression, or a template that writes JSON. Without it
    /// the value that was invoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A word for the error, for `fail` and `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A number that grows with every change of the key, if the system tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// An expression; where a rule holds always, `true`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transform = or_bool)]
pub struct Condition(#[serde(deserialize_with = "text_or_bool")] pub String);

fn or_bool(schema: &mut schemars::Schema) {
    schema.insert("type".into(), serde_json::json!(["string", "boolean"]));
}

fn text_or_bool<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Either;
    impl serde::de::Visitor<'_> for Either {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an expression such as `status == 200`, or `true`")
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_bool<E>(self, value: bool) -> Result<String, E> {
            Ok(value.to_string())
        }

        fn visit_u64<E>(self, value: u64) -> Result<String, E> {
            Ok(value.to_string())
        }
    }
    deserializer.deserialize_any(Either)
}
