//! The client for what is not HTTP: a program that reads operations and writes outcomes.
//!
//! One program runs for each logical process. It reads one JSON object a line,
//! `{"workload":"register","f":"read","key":"k1","value":null,"process":3,"node":{"name":"n1","id":1,"address":"10.0.0.1"}}`,
//! and answers each with one line, `{"type":"ok","value":5}`, `{"type":"fail","error":"refused"}` or
//! `{"type":"info","error":"timeout"}`. A program that dies or stays silent gives `info`, and a new
//! one is started for the next operation.

use std::process::Stdio;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::client::{Answer, Outcome};
use super::{Node, System, argument};
use crate::generator::Draft;

/// One process's program.
#[derive(Debug)]
pub struct ExecConnection {
    system: Arc<System>,
    kind: &'static str,
    node: usize,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

#[derive(Serialize)]
struct Question<'a> {
    workload: &'a str,
    f: &'a str,
    key: Option<&'a str>,
    value: &'a Json,
    process: u64,
    node: &'a Node,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "type")]
    outcome: ReplyOutcome,
    value: Option<Json>,
    error: Option<String>,
    revision: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReplyOutcome {
    Ok,
    Fail,
    Info,
}

impl ExecConnection {
    pub(super) fn new(system: Arc<System>, kind: &'static str, node: usize) -> ExecConnection {
        ExecConnection {
            system,
            kind,
            node,
            running: None,
        }
    }

    pub(super) async fn call(&mut self, process: u64, draft: &Draft) -> Answer {
        let harmless = self
            .system
            .operation(self.kind, &draft.f)
            .is_some_and(|op| op.harmless);
        let answer = self.attempt(process, draft).await;
        if harmless && answer.outcome == Outcome::Info {
            return Answer {
                outcome: Outcome::Fail,
                ..answer
            };
        }
        answer
    }

    async fn attempt(&mut self, process: u64, draft: &Draft) -> Answer {
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(why) => return Answer::of(Outcome::Fail, why),
            }
        }
        let running = self.running.as_mut().expect("just started");
        let question = Question {
            workload: self.kind,
            f: &draft.f,
            key: draft.key.as_deref(),
            value: &draft.value,
            process,
            node: &self.system.nodes[self.node],
        };
        let timeout = self.system.definition.client.timeout.0;
        let answer = match tokio::time::timeout(timeout, running.ask(&question)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(why)) => Answer::info(why),
            Err(_) => Answer::info("timeout"),
        };
        // Its answers are out of step now: a late one would be taken for the next one's.
        self.close().await;
        answer
    }

    fn start(&self) -> Result<Running, String> {
        let exec = self
            .system
            .definition
            .client
            .exec
            .as_ref()
            .ok_or("no exec client")?;
        let node = &self.system.nodes[self.node];
        let context = self.system.node_context(node);
        let argv = argument::render(
            &self.system.engine,
            &exec.argv,
            &["node", "nodes"],
            &context,
        )?;
        let (program, arguments) = argv.split_first().ok_or("the client's argv is empty")?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&self.system.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start the client `{program}`: {error}"))?;
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        Ok(Running {
            child,
            stdin,
            stdout,
        })
    }

    pub(super) async fn close(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may be gone already, and then there is nothing to kill.
            let _ = running.child.kill().await;
        }
    }
}

impl Running {
    async fn ask(&mut self, question: &Question<'_>) -> Result<Answer, String> {
        let mut line = serde_json::to_string(question).map_err(|error| error.to_string())?;
        line.push('\n');
        let broken = |error: std::io::Error| format!("the client program: {error}");
        self.stdin
            .write_all(line.as_bytes())
            .await
            .map_err(broken)?;
        let reply = self.stdout.next_line().await.map_err(broken)?;
        let reply = reply.ok_or("the client program ended")?;
        let reply: Reply = serde_json::from_str(&reply)
            .map_err(|error| format!("the client program's answer: {error}"))?;
        let outcome = match reply.outcome {
            ReplyOutcome::Ok => Outcome::Ok,
            ReplyOutcome::Fail => Outcome::Fail,
            ReplyOutcome::Info => Outcome::Info,
        };
        Ok(Answer {
            outcome,
            value: reply.value,
            unavailable: outcome != Outcome::Ok && reply.error.as_deref() != Some("mismatch"),
            error: reply.error,
            revision: reply.revision,
        })
    }
}
