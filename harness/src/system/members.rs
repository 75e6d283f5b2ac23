//! Members: who votes in a system and who only listens, as its nodes tell, and how it is changed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use minijinja::value::{Serde, Value};

use super::definition::{MembersDefinition, Request, ViewDefinition};
use super::http::{CompiledRequest, address_of, question};
use super::lint::{MEMBER, NODE, PROBE};
use super::template::Expr;
use super::{Deployment, Node, Probes, System};

/// How long one question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a node may take to answer that it has taken a change up.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often is looked whether a change is in force.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// So few entries behind, a learner is as good as level: a log that grows is never quite reached.
const LAG_ENOUGH: u64 = 64;

/// One step that a system can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node votes at once.
    Add,
    /// The node receives the log.
    AddLearner,
    /// The learner votes.
    Promote,
    /// The node goes.
    Remove,
    /// The learner votes and another goes, in one step.
    Replace,
    /// The node leads.
    Transfer,
}

impl Change {
    /// Its name in a system file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::AddLearner => "add-learner",
            Self::Promote => "promote",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Transfer => "transfer",
        }
    }
}

impl MembersDefinition {
    /// The changes that the system can be asked for, by name.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&'static str, &Request)> {
        let all = [
            (Change::Add, &self.add),
            (Change::AddLearner, &self.add_learner),
            (Change::Promote, &self.promote),
            (Change::Remove, &self.remove),
            (Change::Replace, &self.replace),
            (Change::Transfer, &self.transfer),
        ];
        let known = all.into_iter();
        known.filter_map(|(change, request)| Some((change.name(), request.as_ref()?)))
    }

    /// Whether the system can be asked for a change.
    pub fn can(&self, change: Change) -> bool {
        self.changes().any(|(name, _)| name == change.name())
    }
}

/// Who the members are, as one node tells, or as the newest view of all tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Those that vote.
    pub voters: BTreeSet<String>,
    /// Those that only receive the log.
    pub learners: BTreeSet<String>,
    /// Whether a change is under way.
    pub changing: bool,
    /// It grows with every change, where the nodes tell it.
    pub version: u64,
    /// The nodes that answered, or will when they are added.
    pub answering: BTreeSet<String>,
}

impl Roster {
    /// Whether a node is a member of any kind.
    pub fn contains(&self, node: &str) -> bool {
        self.voters.contains(node) || self.learners.contains(node)
    }

    fn shows(&self, change: Change, target: &str, other: Option<&str>) -> bool {
        !self.changing
            && match change {
                Change::Add | Change::Promote => self.voters.contains(target),
                Change::AddLearner => self.contains(target),
                Change::Remove => !self.contains(target),
                Change::Replace => {
                    self.voters.contains(target) && other.is_none_or(|other| !self.contains(other))
                }
                // Who leads is not the roster's to tell.
                Change::Transfer => false,
            }
    }
}

impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        write!(f, "{} vote", list(&self.voters))?;
        if !self.learners.is_empty() {
            write!(f, "; {} listen", list(&self.learners))?;
        }
        if self.changing {
            write!(f, "; a change is under way")?;
        }
        Ok(())
    }
}

/// Asks a system for its members, and changes them.
#[derive(Debug)]
pub struct Members {
    system: Arc<System>,
    probes: Arc<Probes>,
    /// What starts the nodes that are added, where they do not run before.
    deployment: Option<Arc<Deployment>>,
    definition: MembersDefinition,
    view: CompiledView,
    again: Option<Expr>,
}

#[derive(Debug)]
struct CompiledView {
    definition: ViewDefinition,
    request: CompiledRequest,
    voters: Expr,
    learners: Option<Expr>,
    changing: Option<Expr>,
    version: Option<Expr>,
    lag: Option<Expr>,
}

impl Members {
    /// Compiles what a system says of its members; none when it says nothing. Only with a deployment
    /// can nodes be added that start when they are.
    pub fn new(
        system: Arc<System>,
        probes: Arc<Probes>,
        deployment: Option<Arc<Deployment>>,
    ) -> Result<Option<Members>, String> {
        let Some(definition) = system.definition.members.clone() else {
            return Ok(None);
        };
        let view = definition.view.clone();
        let engine = &system.engine;
        let names = [&PROBE[..], &["target"]].concat();
        let perhaps = |text: &Option<String>| {
            let compiled = text.as_ref().map(|text| engine.expression(text, &names));
            compiled.transpose()
        };
        Ok(Some(Members {
            view: CompiledView {
                request: CompiledRequest::compile(engine, &view.http, &NODE)?,
                voters: engine.expression(&view.voters, &names)?,
                version: perhaps(&view.version)?,
                learners: perhaps(&view.learners)?,
                changing: perhaps(&view.changing)?,
                lag: perhaps(&view.lag)?,
                definition: view,
            },
            again: perhaps(&definition.again)?,
            probes,
            deployment,
            definition,
            system,
        }))
    }

    /// What each node says of the members, or why it says nothing.
    pub async fn views(&self) -> Vec<(String, Result<Roster, String>)> {
        let asked = self.system.nodes.iter().map(|node| async move {
            let view = self
                .answer(node, None)
                .await
                .and_then(|answer| self.read(&answer));
            (node.name.clone(), view)
        });
        join_all(asked).await
    }

    /// The newest view that any node has, or the leader's; none when nobody answers.
    pub async fn roster(&self) -> Option<Roster> {
        let mut answering = BTreeSet::new();
        let mut newest: Option<Roster> = None;
        let leader = match self.view.version {
            Some(_) => None,
            None => self.probes.leader().await,
        };
        for (node, view) in self.views().await {
            let Ok(view) = view else { continue };
            // A node that waits to be added knows of nobody.
            let newer = newest.as_ref().is_none_or(|known| {
                view.version > known.version || leader.as_deref() == Some(&node)
            });
            if newer && !view.voters.is_empty() {
                newest = Some(view);
            }
            answering.insert(node);
        }
        if let (Some(roster), true) = (&newest, self.system.starts_when_added()) {
            // Who is outside will answer when it is added.
            let names = self.system.nodes.iter().map(|node| node.name.clone());
            answering.extend(names.filter(|name| !roster.contains(name)));
        }
        newest.map(|roster| Roster {
            answering,
            ..roster
        })
    }

    /// How many entries a node lacks, as the leader sees it.
    async fn lag(&self, target: &str) -> Option<u64> {
        let lag = self.view.lag.as_ref()?;
        let leader = self.leader().await?;
        let answer = self.answer(leader, Some(target)).await.ok()?;
        u64::try_from(lag.eval(&answer).ok()?).ok()
    }

    /// Whether a member has the log, as the leader sees it.
    pub async fn has_caught_up(&self, target: &str) -> bool {
        self.lag(target).await.is_some_and(is_enough)
    }

    /// Waits until a learner has the log; returns why not, if it takes too long. Where nobody tells
    /// how much it lacks, it is the system that promotes nobody too early.
    pub async fn caught_up(&self, target: &str) -> Result<(), String> {
        if self.view.lag.is_none() {
            return Ok(());
        }
        let deadline = Instant::now() + self.definition.within.0;
        loop {
            let lag = self.lag(target).await;
            if lag.is_some_and(is_enough) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let lacks = lag.map_or("nobody knows how much".into(), |lag| {
                    format!("{lag} entries")
                });
                let within = self.definition.within;
                return Err(format!(
                    "{target} did not catch up within {within}: it lacks {lacks}"
                ));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Makes one step, and waits until it is in force. A leader that is lost on the way is looked
    /// for again; what a node refuses is refused.
    pub async fn change(
        &self,
        change: Change,
        target: &str,
        other: Option<&str>,
    ) -> Result<(), String> {
        let requests = self.definition.changes();
        let request = requests
            .into_iter()
            .find(|(name, _)| *name == change.name());
        let (name, request) = request.ok_or_else(|| {
            format!(
                "the system `{}` does not say how to {}",
                self.system.definition.name,
                change.name()
            )
        })?;
        let request = CompiledRequest::compile(&self.system.engine, request, &MEMBER)?;
        let deadline = Instant::now() + self.definition.within.0;
        let (mut tried, mut asked) = (false, false);
        let mut said = "no node leads".to_owned();
        while Instant::now() < deadline {
            if self.is_done(change, target, other).await {
                if tried && !asked {
                    // It was taken up, and the answer was lost.
                    self.admit(change, target).await?;
                }
                return self.dismiss(change, target, other).await;
            }
            if !asked && let Some(leader) = self.leader().await {
                tried = true;
                match self.ask(&request, leader, target, other).await {
                    Ok(()) => {
                        asked = true;
                        self.admit(change, target).await?;
                    }
                    Err(Refusal::Certain(why)) => return Err(format!("{name} {target}: {why}")),
                    Err(Refusal::Perhaps(why)) => said = why,
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        if asked {
            said = "it was taken up and is not in force".into();
        }
        Err(format!(
            "{name} {target}: not done within {}: {said}",
            self.definition.within
        ))
    }

    /// Starts a node that has been added, if it did not run before.
    async fn admit(&self, change: Change, target: &str) -> Result<(), String> {
        if !matches!(change, Change::Add | Change::AddLearner) || !self.system.starts_when_added() {
            return Ok(());
        }
        let deployment = self.deployment.as_ref();
        let deployment = deployment.ok_or("only a run starts nodes that are added")?;
        let roster = self.roster().await.unwrap_or_default();
        let is_member = |node: &&Node| node.name == target || roster.contains(&node.name);
        let members: Vec<&Node> = self.system.nodes.iter().filter(is_member).collect();
        let node = self.node(target).ok_or("no such node")?;
        let started = deployment.admit(node, &members).await;
        started.map_err(|error| format!("{target} was added and does not start: {error:#}"))
    }

    /// Ends a node that has been removed, if it is not to run then.
    async fn dismiss(
        &self,
        change: Change,
        target: &str,
        other: Option<&str>,
    ) -> Result<(), String> {
        let gone = match change {
            Change::Remove => self.node(target),
            Change::Replace => other.and_then(|other| self.node(other)),
            Change::Add | Change::AddLearner | Change::Promote | Change::Transfer => None,
        };
        match (gone, &self.deployment) {
            (Some(node), Some(deployment)) if self.system.starts_when_added() => {
                let ended = deployment.dismiss(node).await;
                ended.map_err(|error| format!("{} was removed and goes on: {error:#}", node.name))
            }
            _ => Ok(()),
        }
    }

    async fn is_done(&self, change: Change, target: &str, other: Option<&str>) -> bool {
        if change == Change::Transfer {
            return self
                .probes
                .leader()
                .await
                .is_some_and(|leader| leader == target);
        }
        let roster = self.roster().await;
        roster.is_some_and(|roster| roster.shows(change, target, other))
    }

    async fn leader(&self) -> Option<&Node> {
        let leader = self.probes.leader().await?;
        self.node(&leader)
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.system.nodes.iter().find(|node| node.name == name)
    }

    async fn ask(
        &self,
        request: &CompiledRequest,
        leader: &Node,
        target: &str,
        other: Option<&str>,
    ) -> Result<(), Refusal> {
        let http = &self.view.definition.http;
        let address = address_of(&self.system, http, leader).map_err(Refusal::Certain)?;
        let as_value = |name: &str| Value::from(Serde(self.node(name)));
        let view = self.answer(leader, None).await.map_err(Refusal::Perhaps)?;
        let (target, other) = (as_value(target), other.map(as_value));
        let context = minijinja::context! { target, other, ..view };
        let (status, body) = question(request, &address, &context, CHANGE_TIMEOUT)
            .await
            .map_err(Refusal::Perhaps)?;
        let said = || {
            let text = String::from_utf8_lossy(&body);
            format!(
                "{} answers {status}: {}",
                leader.name,
                text.chars().take(300).collect::<String>()
            )
        };
        match status {
            200..300 => Ok(()),
            // It leads no more, or another change is not done yet.
            409 | 421 | 429 | 500.. => Err(Refusal::Perhaps(said())),
            _ if self.again(status, &body, &context) => Err(Refusal::Perhaps(said())),
            _ => Err(Refusal::Certain(said())),
        }
    }

    /// Whether a node that refused may be asked again, as far as the system says.
    fn again(&self, status: u16, body: &[u8], context: &Value) -> bool {
        let Some(again) = &self.again else {
            return false;
        };
        let answer = answered(status, body, context);
        again.eval(&answer).is_ok_and(|again| again.is_true())
    }

    /// A node's answer, as the view's expressions see it.
    async fn answer(&self, node: &Node, target: Option<&str>) -> Result<Value, String> {
        let context = self.system.node_context(node);
        let address = address_of(&self.system, &self.view.definition.http, node)?;
        let asked = question(&self.view.request, &address, &context, QUESTION_TIMEOUT);
        let (status, body) = asked.await?;
        let target = target
            .and_then(|name| self.node(name))
            .map(|node| Value::from(Serde(node)));
        let context = minijinja::context! { target, ..context };
        Ok(answered(status, &body, &context))
    }

    fn read(&self, answer: &Value) -> Result<Roster, String> {
        let view = &self.view;
        let names = |expression: Option<&Expr>| -> Result<BTreeSet<String>, String> {
            let Some(expression) = expression else {
                return Ok(BTreeSet::new());
            };
            let list = expression.eval(answer)?;
            let list = list
                .try_iter()
                .map_err(|_| "it does not tell its members".to_owned())?;
            Ok(list
                .filter_map(|one| Some(self.system.named(&one)?.name.clone()))
                .collect())
        };
        Ok(Roster {
            voters: names(Some(&view.voters))?,
            learners: names(view.learners.as_ref())?,
            changing: match &view.changing {
                Some(changing) => changing.eval(answer)?.is_true(),
                None => false,
            },
            version: match &view.version {
                Some(version) => u64::try_from(version.eval(answer)?).unwrap_or(0),
                None => 0,
            },
            answering: BTreeSet::new(),
        })
    }
}

/// An answer, as expressions see it.
fn answered(status: u16, body: &[u8], context: &Value) -> Value {
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::UNDEFINED);
    let text = String::from_utf8_lossy(body);
    minijinja::context! { status, json, text, ..context.clone() }
}

fn is_enough(lag: u64) -> bool {
    lag <= LAG_ENOUGH
}

/// Why a change was not taken up.
enum Refusal {
    /// It certainly will not be.
    Certain(String),
    /// It may have been, or may be another time.
    Perhaps(String),
}
