//! `ordeal kv`: a look at the keys by hand.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::operate::{At, host};
use super::{Context, Exit, UsageError};
use crate::cluster::Host;
use crate::operator::Operator;

/// Read and write keys by hand
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal kv put greeting '\"hello\"'\n  \
    ordeal kv get greeting --read stale --node n3\n  \
    ordeal kv cas counter 1 2\n  \
    ordeal kv range --prefix user/\n  \
    ordeal kv txn '[{\"f\":\"r\",\"key\":\"a\"},{\"f\":\"w\",\"key\":\"b\",\"value\":1}]'\n\n\
    Values are JSON; what is none is taken as a string.")]
pub(super) struct Kv {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    at: At,
    /// The node to ask; without it, the first one that answers
    #[arg(long, global = true)]
    node: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read a key
    Get {
        /// The key
        key: String,
        /// How fresh the answer must be
        #[arg(long, value_enum, default_value_t = Read::Index)]
        read: Read,
    },
    /// Write a key
    Put {
        /// The key
        key: String,
        /// Its value
        value: String,
    },
    /// Write a key if it holds what is expected (`null`: nothing)
    Cas {
        /// The key
        key: String,
        /// What it must hold
        expect: String,
        /// What it then holds (`null`: nothing)
        value: String,
    },
    /// Delete a key
    #[command(after_help = "Examples:\n  ordeal kv del greeting")]
    Del {
        /// The key
        key: String,
    },
    /// List keys
    Range {
        /// Those that begin with this
        #[arg(long, default_value = "")]
        prefix: String,
        /// Those that come after this
        #[arg(long, default_value = "")]
        after: String,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Do several operations at once, or none of them
    Txn {
        /// A list of operations: f (r, w, append, add, compare), key, value
        operations: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Read {
    /// Linearizable, by a round to a quorum
    Index,
    /// Linearizable as long as clocks drift no more than configured
    Lease,
    /// Linearizable, served by the node that is asked
    Follower,
    /// Whatever the node has: perhaps old
    Stale,
}

impl Kv {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (method, path, body) = self.action.request()?;
        let operator = self.at.operator(context)?;
        let (status, answer) = context.block_on(async {
            let host = self.host(&operator).await?;
            Ok(operator.send(host, method, &path, body.as_ref()).await?)
        })?;
        let error = &answer["error"];
        if !(200..300).contains(&status) {
            let message = error["message"]
                .as_str()
                .map_or_else(|| answer.to_string(), str::to_owned);
            let sure = match error["definite"].as_bool() {
                Some(true) => "it did not happen",
                _ => "it may have happened",
            };
            bail!(
                "{message} ({}; {sure})",
                error["code"].as_str().unwrap_or("no code")
            );
        }
        context.print(&answer, self.action.text(&answer))?;
        Ok(Exit::Valid)
    }

    async fn host<'a>(&self, operator: &'a Operator) -> anyhow::Result<&'a Host> {
        if let Some(node) = &self.node {
            return host(operator, node);
        }
        let survey = operator.survey().await;
        let first = survey
            .answers
            .iter()
            .find(|answer| answer.status().is_some());
        first
            .and_then(|answer| operator.host(&answer.host))
            .with_context(|| {
                format!(
                    "no node of {} answers; `ordeal cluster status` shows why",
                    operator.cluster().name
                )
            })
    }
}

impl Action {
    fn request(&self) -> anyhow::Result<(Method, String, Option<Value>)> {
        Ok(match self {
            Self::Get { key, read } => {
                let read = read.to_possible_value().expect("no mode is hidden");
                (
                    Method::GET,
                    format!("/kv/{}?read={}", encode(key), read.get_name()),
                    None,
                )
            }
            Self::Put { key, value } => (
                Method::PUT,
                format!("/kv/{}", encode(key)),
                Some(json_or_string(value)),
            ),
            Self::Cas { key, expect, value } => {
                let body =
                    json!({"expect": json_or_string(expect), "value": json_or_string(value)});
                (Method::POST, format!("/kv/{}/cas", encode(key)), Some(body))
            }
            Self::Del { key } => (Method::DELETE, format!("/kv/{}", encode(key)), None),
            Self::Range {
                prefix,
                after,
                limit,
            } => {
                let (prefix, after) = (encode(prefix), encode(after));
                let mut path = format!("/kv?prefix={prefix}&limit={limit}");
                if !after.is_empty() {
                    path.push_str("&after=");
                    path.push_str(&after);
                }
                (Method::GET, path, None)
            }
            Self::Txn { operations } => {
                let operations: Value = serde_json::from_str(operations).map_err(|error| {
                    UsageError(format!("the operations are no JSON list: {error}"))
                })?;
                (
                    Method::POST,
                    "/txn".into(),
                    Some(json!({"ops": operations})),
                )
            }
        })
    }

    fn text(&self, answer: &Value) -> String {
        match self {
            Self::Get { .. } => answer["value"].to_string(),
            Self::Range { .. } => {
                let items = answer["items"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let line = |item: &Value| {
                    format!(
                        "{}\t{}",
                        item["key"].as_str().unwrap_or_default(),
                        item["value"]
                    )
                };
                let mut lines: Vec<String> = items.iter().map(line).collect();
                if answer["more"] == true {
                    lines.push("… and more; go on with --after KEY".into());
                }
                lines.join("\n")
            }
            _ => answer.to_string(),
        }
    }
}

/// A value as JSON; what is none is a string.
fn json_or_string(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Percent-encoding of everything that is not plain.
fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| {
            if plain(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_whole() {
        assert_eq!(encode("a/b c?"), "a%2Fb%20c%3F");
        assert_eq!(encode("größe"), "gr%C3%B6%C3%9Fe");
    }

    #[test]
    fn what_is_no_json_is_a_string() {
        assert_eq!(json_or_string("5"), json!(5));
        assert_eq!(json_or_string("hello"), json!("hello"));
        assert_eq!(json_or_string("null"), Value::Null);
    }
}
