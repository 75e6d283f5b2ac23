//! From a system file to a [`System`]: every template compiles, every operation that the workloads
//! need is there, every answer is decided. What passes here can only fail on a real host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minijinja::value::Value;

use super::definition::{Argument, Definition, MembersDefinition, Probe, Request};
use super::http::{self, CompiledRequest};
use super::outcome::Rules;
use super::session::{self, Sessions};
use super::template::Engine;
use super::{Node, System};
use crate::playbook::source::{Mistake, Source, Step, nearest};

/// The names that a template about a node may use.
pub(super) const NODE: [&str; 4] = ["node", "nodes", "founders", "members"];

/// The names that a change of the members may use.
pub(super) const MEMBER: [&str; 7] = [
    "node", "nodes", "founders", "members", "target", "other", "json",
];

/// The names that a probe's answer may use.
pub(super) const PROBE: [&str; 7] = [
    "node", "nodes", "founders", "members", "status", "json", "text",
];

/// Refuses values for parameters that the system does not have; the name of the first is given
/// back with what to say about it.
pub fn check_parameters(
    definition: &Definition,
    with: &BTreeMap<String, serde_json::Value>,
) -> Result<(), (String, String)> {
    let unknown = with
        .keys()
        .find(|name| !definition.parameters.contains_key(*name));
    let Some(name) = unknown else { return Ok(()) };
    let known = || definition.parameters.keys().map(String::as_str);
    let hint = nearest(name, known()).map_or_else(
        || format!("it has {}", known().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    let message = format!(
        "the system `{}` has no parameter `{name}`; {hint}",
        definition.name
    );
    Err((name.clone(), message))
}

/// Reads and compiles a system file for some nodes.
pub fn compile(
    source: &Source,
    with: &BTreeMap<String, serde_json::Value>,
    nodes: Vec<Node>,
) -> Result<System, Mistake> {
    let definition: Definition = source.parse()?;
    let mut parameters = definition.parameters.clone();
    parameters.extend(
        with.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let engine = Engine::new(&parameters);
    let check = Check {
        source,
        engine: engine.clone(),
    };
    check.deployment(&definition)?;
    check.client(&definition)?;
    check.operations(&definition)?;
    let folder = source.file.parent().unwrap_or(Path::new("")).to_owned();
    let folder = if folder.is_dir() {
        folder
    } else {
        Path::new(".").to_owned()
    };
    Ok(System {
        definition,
        parameters,
        nodes,
        folder,
        engine,
    })
}

struct Check<'a> {
    source: &'a Source,
    engine: Engine,
}

impl Check<'_> {
    fn at(&self, path: &[Step]) -> impl Fn(String) -> Mistake {
        move |why| self.source.mistake(path, why)
    }

    fn text(&self, text: &str, names: &[&str], path: &[Step]) -> Result<(), Mistake> {
        self.engine
            .text(text, names)
            .map(drop)
            .map_err(self.at(path))
    }

    fn arguments(&self, arguments: &[Argument], path: &[Step]) -> Result<(), Mistake> {
        if arguments.is_empty() {
            return Err(self
                .source
                .mistake(path, "a command needs at least a program"));
        }
        for (at, argument) in arguments.iter().enumerate() {
            let path = [path, &[at.into()]].concat();
            match argument {
                Argument::One(text) => self.text(text, &NODE, &path)?,
                Argument::Some(group) => {
                    let with_item = [&NODE[..], &["item"]].concat();
                    for expression in group.each.iter().chain(&group.when) {
                        self.engine
                            .expression(expression, &NODE)
                            .map_err(self.at(&path))?;
                    }
                    for text in &group.args {
                        self.text(text, &with_item, &path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn deployment(&self, definition: &Definition) -> Result<(), Mistake> {
        for (at, upload) in definition.install.upload.iter().enumerate() {
            let path = [Step::from("install"), "upload".into(), at.into()];
            self.text(&upload.from, &NODE, &path)?;
            self.text(&upload.to, &NODE, &path)?;
            u32::from_str_radix(&upload.mode, 8).map_err(|_| {
                let message = format!("`{}` is no mode in octal, such as `755`", upload.mode);
                self.source
                    .mistake(&[&path[..], &["mode".into()]].concat(), message)
            })?;
        }
        for (file, content) in &definition.files {
            self.text(content, &NODE, &["files".into(), file.as_str().into()])?;
        }
        for (at, folder) in definition.data.iter().enumerate() {
            // What is emptied before a run must be deep enough not to be a folder of the host's.
            if !folder.starts_with('/') || folder.contains("..") || folder.matches('/').count() < 2
            {
                let path = ["data".into(), at.into()];
                let message = format!(
                    "`{folder}` is emptied before a run: it must be absolute and at least two folders deep"
                );
                return Err(self.source.mistake(&path, message));
            }
        }
        for (name, commands) in [
            ("prepare", &definition.prepare),
            ("settle", &definition.settle),
        ] {
            for (at, command) in commands.iter().enumerate() {
                self.arguments(command, &[name.into(), at.into()])?;
            }
        }
        self.arguments(&definition.daemon.argv, &["daemon".into(), "argv".into()])?;
        for (name, value) in &definition.daemon.env {
            self.text(
                value,
                &NODE,
                &["daemon".into(), "env".into(), name.as_str().into()],
            )?;
        }
        self.probe(definition, &definition.ready, "ready")?;
        if let Some(members) = &definition.members {
            self.members(members)?;
        }
        if let Some(failover) = &definition.failover {
            self.arguments(&failover.promote, &["failover".into(), "promote".into()])?;
        }
        if let Some(leader) = &definition.leader {
            self.probe(definition, leader, "leader")?;
        }
        let Some(gauges) = &definition.gauges else {
            return Ok(());
        };
        self.question(definition, &gauges.http, &["gauges".into(), "http".into()])?;
        for (name, answer) in &gauges.answers {
            let path = ["gauges".into(), "answers".into(), name.as_str().into()];
            let compiled = self.engine.expression(answer, &PROBE);
            compiled.map(drop).map_err(self.at(&path))?;
        }
        Ok(())
    }

    fn question(
        &self,
        definition: &Definition,
        request: &Request,
        path: &[Step],
    ) -> Result<(), Mistake> {
        CompiledRequest::compile(&self.engine, request, &NODE).map_err(self.at(path))?;
        if request.address.is_none() && definition.client.http.is_none() {
            return Err(self
                .source
                .mistake(path, "needs an `address`, because the client is not HTTP"));
        }
        Ok(())
    }

    fn probe(&self, definition: &Definition, probe: &Probe, name: &str) -> Result<(), Mistake> {
        let path = [Step::from(name)];
        match (&probe.http, &probe.command) {
            (Some(request), None) => {
                self.question(definition, request, &[name.into(), "http".into()])?;
            }
            (None, Some(command)) => self.arguments(command, &[name.into(), "command".into()])?,
            _ => {
                return Err(self
                    .source
                    .mistake(&path, "needs exactly one of `http` and `command`"));
            }
        }
        let path = [name.into(), "answer".into()];
        self.engine
            .expression(&probe.answer, &PROBE)
            .map(drop)
            .map_err(self.at(&path))
    }

    fn members(&self, members: &MembersDefinition) -> Result<(), Mistake> {
        let view = &members.view;
        let path = [Step::from("members"), "view".into()];
        CompiledRequest::compile(&self.engine, &view.http, &NODE).map_err(self.at(&path))?;
        let with_target = [&PROBE[..], &["target"]].concat();
        for expression in [&view.voters]
            .into_iter()
            .chain(&view.learners)
            .chain(&view.changing)
            .chain(&view.version)
            .chain(&view.lag)
            .chain(&members.again)
        {
            self.engine
                .expression(expression, &with_target)
                .map_err(self.at(&path))?;
        }
        for (name, request) in members.changes() {
            let path = [Step::from("members"), name.into()];
            CompiledRequest::compile(&self.engine, request, &MEMBER).map_err(self.at(&path))?;
        }
        Ok(())
    }

    fn client(&self, definition: &Definition) -> Result<(), Mistake> {
        let client = &definition.client;
        match (&client.http, &client.exec) {
            (Some(http), None) => {
                let path = [Step::from("client"), "http".into()];
                for (name, value) in &http.headers {
                    let path = [&path[..], &["headers".into(), name.as_str().into()]].concat();
                    self.text(value, &session::NAMES, &path)?;
                }
                self.text(
                    &http.address,
                    &NODE,
                    &[&path[..], &["address".into()]].concat(),
                )
            }
            (None, Some(exec)) => {
                self.arguments(&exec.argv, &["client".into(), "exec".into(), "argv".into()])
            }
            _ => Err(self
                .source
                .mistake(&["client".into()], "needs exactly one of `http` and `exec`")),
        }?;
        let (none, none_changed) = ([], Arc::new([]) as Arc<[_]>);
        for (name, given) in [
            ("retries", client.retries.as_ref()),
            (
                "session",
                client.session.as_ref().and_then(|it| it.when.as_ref()),
            ),
        ] {
            let path = ["client".into(), name.into()];
            let compiled = given.map(|given| self.engine.expression(&given.0, &none));
            compiled.transpose().map_err(self.at(&path))?;
        }
        Sessions::compile(
            &self.engine,
            client.session.as_ref(),
            &BTreeMap::new(),
            &none_changed,
            client.timeout.0,
        )
        .map_err(self.at(&["client".into(), "session".into()]))?;
        if let Some(session) = &client.session {
            let of_all = Request {
                headers: session.headers.clone(),
                ..session.request.clone()
            };
            CompiledRequest::compile(&self.engine, &of_all, &http::NAMES).map_err(self.at(&[
                "client".into(),
                "session".into(),
                "headers".into(),
            ]))?;
        }
        Rules::compile(&self.engine, client.outcome.iter())
            .map(drop)
            .map_err(self.at(&["client".into(), "outcome".into()]))
    }

    fn operations(&self, definition: &Definition) -> Result<(), Mistake> {
        for (name, operation) in &definition.operations {
            let path = [Step::from("operations"), name.as_str().into()];
            if definition.client.http.is_none() {
                continue;
            }
            let Some(request) = &operation.request else {
                return Err(self
                    .source
                    .mistake(&path, "needs a `request`: the client is HTTP"));
            };
            CompiledRequest::compile(&self.engine, request, &http::NAMES)
                .map_err(self.at(&[&path[..], &["request".into()]].concat()))?;
            let shared = &definition.client.outcome;
            let rules = Rules::compile(&self.engine, operation.outcome.iter().chain(shared))
                .map_err(self.at(&[&path[..], &["outcome".into()]].concat()))?;
            if !rules.decide_all() {
                return Err(self.source.mistake(
                    &path,
                    "some answers are left undecided: end the rules with `info: true`, here or \
                     under `client`",
                ));
            }
        }
        Ok(())
    }
}

impl System {
    /// Refuses a workload whose operations the system does not know; the message names them.
    pub fn check_operations<'a>(
        &self,
        kind: &str,
        needed: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let missing: Vec<&str> = needed
            .filter(|f| self.operation(kind, f).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the system `{}` does not say how to {} for the workload `{kind}` (it knows {})",
            self.definition.name,
            missing.join(", "),
            self.definition
                .operations
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        ))
    }

    /// Renders every template that deployment will use, to find what only a rendering shows.
    pub fn try_out(&self) -> Result<(), String> {
        for node in &self.nodes {
            let context: Value = self.node_context(node);
            super::argument::render(&self.engine, &self.definition.daemon.argv, &NODE, &context)?;
        }
        Ok(())
    }
}
