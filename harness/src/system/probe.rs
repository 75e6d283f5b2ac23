//! Questions to the nodes: is one ready, who leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use minijinja::value::Value;

use super::argument;
use super::definition::{Argument, Gauges, Probe, Request};
use super::http::{CompiledRequest, address_of, question};
use super::lint::{NODE, PROBE};
use super::template::Expr;
use super::{Node, System};
use crate::control::{Call, Control, Session};
use crate::http::Address;

/// How long one question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a node is asked that is not ready yet.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Asks the nodes of a system.
#[derive(Debug)]
pub struct Probes {
    system: Arc<System>,
    control: Arc<Control>,
    ready: Compiled,
    leader: Option<Compiled>,
    gauges: Option<(CompiledQuestion, BTreeMap<String, Expr>)>,
}

#[derive(Debug)]
struct Compiled {
    question: CompiledQuestion,
    answer: Expr,
    within: Duration,
}

#[derive(Debug)]
enum CompiledQuestion {
    /// The request, and the address of each node by its name.
    Http(CompiledRequest, BTreeMap<String, Address>),
    Command(Vec<Argument>),
}

impl Probes {
    /// Compiles a system's probes.
    pub fn new(system: Arc<System>, control: Arc<Control>) -> Result<Probes, String> {
        let definition = &system.definition;
        Ok(Probes {
            ready: compile(&system, &definition.ready)?,
            leader: definition
                .leader
                .as_ref()
                .map(|it| compile(&system, it))
                .transpose()?,
            gauges: definition
                .gauges
                .as_ref()
                .map(|it| compile_gauges(&system, it))
                .transpose()?,
            control,
            system,
        })
    }

    /// Waits until a node says that it is ready; else what it said last.
    pub async fn wait_ready(&self, node: &Node) -> Result<(), String> {
        let within = self.ready.within;
        let deadline = Instant::now() + within;
        loop {
            let said = match self.ask(&self.ready, node).await {
                Ok(answer) if answer.is_true() => return Ok(()),
                Ok(_) => "it says that it is not ready".to_owned(),
                Err(why) => why,
            };
            if Instant::now() >= deadline {
                let within = within.as_secs_f64();
                return Err(format!(
                    "{} was not ready within {within} s: {said}",
                    node.name
                ));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Whether a node says that it is ready now.
    pub async fn is_ready(&self, node: &Node) -> bool {
        self.ask(&self.ready, node)
            .await
            .is_ok_and(|answer| answer.is_true())
    }

    /// Whether every node says that it is ready now.
    pub async fn all_ready(&self) -> bool {
        let asked = self.system.nodes.iter().map(|node| self.is_ready(node));
        futures::future::join_all(asked)
            .await
            .into_iter()
            .all(|ready| ready)
    }

    /// Whether the system can be asked who leads.
    pub fn knows_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// The node that most nodes hold for the leader, if any does for any.
    pub async fn leader(&self) -> Option<String> {
        let leader = self.leader.as_ref()?;
        let asked = self.system.nodes.iter().map(|node| self.ask(leader, node));
        let mut votes: Vec<(usize, &Node)> = Vec::new();
        for answer in futures::future::join_all(asked).await {
            let Some(node) = answer.ok().and_then(|answer| self.system.named(&answer)) else {
                continue;
            };
            match votes.iter_mut().find(|(_, voted)| voted.name == node.name) {
                Some((count, _)) => *count += 1,
                None => votes.push((1, node)),
            }
        }
        votes
            .into_iter()
            .max_by_key(|(count, _)| *count)
            .map(|(_, node)| node.name.clone())
    }

    /// The numbers that a node tells about itself, as many of them as it tells.
    pub async fn gauges(&self, node: &Node) -> Result<BTreeMap<&str, f64>, String> {
        let Some((question, answers)) = &self.gauges else {
            return Ok(BTreeMap::new());
        };
        let context = self.said(question, node).await?;
        let numbers = answers.iter().filter_map(|(name, answer)| {
            let number = f64::try_from(answer.eval(&context).ok()?).ok()?;
            Some((name.as_str(), number))
        });
        Ok(numbers.collect())
    }

    async fn ask(&self, compiled: &Compiled, node: &Node) -> Result<Value, String> {
        let context = self.said(&compiled.question, node).await?;
        compiled.answer.eval(&context)
    }

    /// What a node answers, as expressions see it.
    async fn said(&self, compiled: &CompiledQuestion, node: &Node) -> Result<Value, String> {
        let context = self.system.node_context(node);
        let (status, body) = match compiled {
            CompiledQuestion::Http(request, addresses) => {
                let address = &addresses[&node.name];
                question(request, address, &context, QUESTION_TIMEOUT).await?
            }
            CompiledQuestion::Command(command) => {
                let argv = argument::render(&self.system.engine, command, &NODE, &context)?;
                let call = Call::new(argv).limit(QUESTION_TIMEOUT * 3);
                let session: &Session = self.control.host(&node.name);
                let output = session
                    .attempt(call)
                    .await
                    .map_err(|error| error.to_string())?;
                (output.code.unwrap_or(-1) as u16, output.stdout.into_bytes())
            }
        };
        let json: Value = serde_json::from_slice(&body).unwrap_or(Value::UNDEFINED);
        let text = String::from_utf8_lossy(&body);
        Ok(minijinja::context! { status, json, text, ..context })
    }
}

fn compile(system: &System, probe: &Probe) -> Result<Compiled, String> {
    let question = match (&probe.http, &probe.command) {
        (Some(http), _) => compile_request(system, http)?,
        (None, Some(command)) => CompiledQuestion::Command(command.clone()),
        (None, None) => return Err("the probe asks nothing".into()),
    };
    Ok(Compiled {
        question,
        answer: system.engine.expression(&probe.answer, &PROBE)?,
        within: probe.within.0,
    })
}

fn compile_request(system: &System, request: &Request) -> Result<CompiledQuestion, String> {
    let addresses = system.nodes.iter().map(|node| {
        let address = address_of(system, request, node)?;
        Ok((node.name.clone(), address))
    });
    let addresses = addresses.collect::<Result<_, String>>()?;
    let request = CompiledRequest::compile(&system.engine, request, &NODE)?;
    Ok(CompiledQuestion::Http(request, addresses))
}

fn compile_gauges(
    system: &System,
    gauges: &Gauges,
) -> Result<(CompiledQuestion, BTreeMap<String, Expr>), String> {
    let answers = gauges.answers.iter().map(|(name, answer)| {
        let answer = system.engine.expression(answer, &PROBE)?;
        Ok((name.clone(), answer))
    });
    Ok((
        compile_request(system, &gauges.http)?,
        answers.collect::<Result<_, String>>()?,
    ))
}
