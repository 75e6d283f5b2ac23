//! `ordeal cluster`: see a cluster, and start, stop, upgrade and wipe what runs on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::cluster_backup::{Backup, backup, data_of, recover};
use super::cluster_status::status;
use super::operate::{At, confirm, host, on_record, system_on};
use super::{Context, Exit, UsageError};
use crate::cluster::Host;
use crate::control::daemon::Daemon;
use crate::control::{Call, Control, Session};
use crate::operator::Operator;
use crate::operator::daemons::{self, Verb};
use crate::system::{Deployment, Probes};

/// How long a node that was started may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// See a cluster, and start, stop, upgrade and wipe what runs on it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal cluster deploy n1 n2 n3         found a cluster on three hosts\n  \
    ordeal cluster deploy n4 --join        start a node that waits to be added\n  \
    ordeal cluster status\n  \
    ordeal cluster restart                 one after the other, each ready before the next\n  \
    ordeal cluster upgrade --binary target/release/ordeal-node\n  \
    ordeal cluster logs n2 --lines 50\n  \
    ordeal cluster backup friday.tgz       a copy of all that is committed by now\n  \
    ordeal cluster restore friday.tgz n2   to the host of the same number; then others join\n  \
    ordeal cluster recover n2 --force      go on with one survivor when a majority is lost for good\n\n\
    What would leave no quorum is refused; --force says so and asks for the cluster's name.")]
pub(super) struct ClusterVerb {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    at: At,
    /// Do it although it is refused, after the cluster's name has been typed
    #[arg(long, global = true)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// A table of all nodes: role, term, commit, lag, members, disk, clock
    Status,
    /// The same, again and again, until Ctrl-C
    #[command(after_help = "Examples:\n  ordeal cluster watch --every 2s")]
    Watch {
        /// How often
        #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
        every: Duration,
    },
    /// The end of the nodes' logs
    Logs {
        /// The nodes; all without it
        nodes: Vec<String>,
        /// So many lines of each
        #[arg(long, default_value_t = 20)]
        lines: u32,
    },
    /// Put a system on hosts and start it; what was there before is wiped
    Deploy {
        /// The nodes; all without it
        nodes: Vec<String>,
        /// The system: a name, or a YAML file
        #[arg(long, default_value = "raft-node")]
        system: String,
        /// Wait to be added to the running cluster (`ordeal members add`) instead of founding one
        #[arg(long)]
        join: bool,
    },
    /// Start nodes as they were started before
    #[command(after_help = "Examples:\n  ordeal cluster start n2")]
    Start(Nodes),
    /// End nodes in good order: leadership is handed over first
    #[command(after_help = "Examples:\n  ordeal cluster stop n2")]
    Stop(Nodes),
    /// Stop and start nodes, one after the other
    Restart(Nodes),
    /// Kill nodes (SIGKILL)
    #[command(after_help = "Examples:\n  ordeal cluster kill n2")]
    Kill(Nodes),
    /// Freeze nodes (SIGSTOP)
    #[command(after_help = "Examples:\n  ordeal cluster pause n2")]
    Pause(Nodes),
    /// Let frozen nodes go on (SIGCONT)
    #[command(after_help = "Examples:\n  ordeal cluster resume n2")]
    Resume(Nodes),
    /// Put a new program on nodes and restart them, one after the other
    Upgrade {
        #[command(flatten)]
        nodes: Nodes,
        /// The new program
        #[arg(long, value_name = "FILE")]
        binary: PathBuf,
    },
    /// Kill nodes and delete their data
    #[command(after_help = "Examples:\n  ordeal cluster wipe n2 --force")]
    Wipe(Nodes),
    /// Copy all that is committed into a file; a node stands still for as long as packing takes
    Backup {
        /// The file to write; what stands beside it in FILE.json belongs to it
        file: PathBuf,
        /// The node to copy; without it, a follower that has everything
        #[arg(long)]
        node: Option<String>,
    },
    /// Found a cluster from a backup: one node, which the others then join
    Restore {
        /// The backup
        file: PathBuf,
        /// The nodes of the new cluster; the one with the backup's number is restored
        nodes: Vec<String>,
        /// The system: a name, or a YAML file
        #[arg(long, default_value = "raft-node")]
        system: String,
    },
    /// Let a survivor go on alone, when a majority of the voters is lost for good
    Recover {
        /// The survivor that knows most
        node: String,
    },
}

#[derive(Debug, Args)]
struct Nodes {
    /// The nodes, by name or number; all without it
    nodes: Vec<String>,
}

impl ClusterVerb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let operator = self.at.operator(context)?;
        let only_looks = matches!(
            self.action,
            Action::Status | Action::Watch { .. } | Action::Logs { .. }
        );
        context.block_on(async {
            if only_looks {
                return self.act(context, &operator).await;
            }
            on_record(operator.cluster(), self.act(context, &operator)).await
        })?;
        Ok(Exit::Valid)
    }

    async fn act(&self, context: &Context, operator: &Operator) -> anyhow::Result<()> {
        let verb = match &self.action {
            Action::Status => {
                let (result, text) = status(operator, &operator.control().await?).await;
                return context.print(&result, text);
            }
            Action::Watch { every } => return watch(context, operator, *every).await,
            Action::Logs { nodes, lines } => return logs(context, operator, nodes, *lines).await,
            Action::Deploy {
                nodes,
                system,
                join,
            } => {
                return self.deploy(context, operator, nodes, system, *join).await;
            }
            Action::Upgrade { nodes, binary } => {
                ensure!(
                    binary.is_file(),
                    UsageError(format!("there is no file {}", binary.display()))
                );
                return self
                    .each(context, operator, Verb::Restart, &nodes.nodes, Some(binary))
                    .await;
            }
            Action::Wipe(nodes) => return self.wipe(context, operator, &nodes.nodes).await,
            Action::Backup { file, node } => {
                return self.backup(context, operator, file, node.as_deref()).await;
            }
            Action::Restore {
                file,
                nodes,
                system,
            } => return self.restore(context, operator, file, nodes, system).await,
            Action::Recover { node } => {
                let host = host(operator, node)?;
                let (control, _) = operator.control().await?;
                let session = session(&control, host)?;
                let daemon = daemon(session).await?;
                return recover(context, operator, host, session, &daemon, self.force).await;
            }
            Action::Start(nodes) => (Verb::Start, nodes),
            Action::Stop(nodes) => (Verb::Stop, nodes),
            Action::Restart(nodes) => (Verb::Restart, nodes),
            Action::Kill(nodes) => (Verb::Kill, nodes),
            Action::Pause(nodes) => (Verb::Pause, nodes),
            Action::Resume(nodes) => (Verb::Resume, nodes),
        };
        self.each(context, operator, verb.0, &verb.1.nodes, None)
            .await
    }

    /// Refuses what would leave no quorum, unless it is forced.
    async fn weigh(&self, operator: &Operator, verb: Verb, hosts: &[&Host]) -> anyhow::Result<()> {
        let Some(objection) = operator.objection(verb, hosts).await else {
            return Ok(());
        };
        ensure!(
            self.force,
            "refused: {objection}; --force does it all the same"
        );
        confirm(operator, &[objection])
    }

    async fn each(
        &self,
        context: &Context,
        operator: &Operator,
        verb: Verb,
        nodes: &[String],
        program: Option<&PathBuf>,
    ) -> anyhow::Result<()> {
        let hosts = leader_last(operator, chosen(operator, nodes)?).await;
        self.weigh(operator, verb, &hosts).await?;
        let (control, _) = operator.control().await?;
        let mut done = Vec::new();
        for host in hosts {
            let session = session(&control, host)?;
            let daemon = daemon(session).await?;
            if let Some(program) = program {
                daemons::replace_program(&daemon, session, program).await?;
            }
            daemons::act(verb, &daemon, session).await?;
            if verb.rolls() {
                operator.ready(host).await?;
            }
            let state = daemons::state_on(session).await;
            if !context.json {
                context.print_text(format!("{}: {} {state}", host.name, daemon.name))?;
            }
            done.push(json!({"node": host.name, "daemon": daemon.name, "state": state}));
        }
        if context.json {
            context.print(&done, "")
        } else {
            Ok(())
        }
    }

    async fn deploy(
        &self,
        context: &Context,
        operator: &Operator,
        nodes: &[String],
        system: &str,
        join: bool,
    ) -> anyhow::Result<()> {
        let hosts = chosen(operator, nodes)?;
        let control = Arc::new(Control::connect(operator.cluster()).await?);
        self.may_wipe(operator, &control, &hosts).await?;
        let parameters = if join {
            joining(operator, &hosts)
        } else {
            BTreeMap::new()
        };
        let compiled = system_on(system, &parameters, &hosts)?;
        let deployment = Deployment::new(Arc::clone(&compiled), Arc::clone(&control))?;
        if join {
            deployment.launch().await?;
            answering(operator, &hosts).await?;
        } else {
            let probes = Probes::new(compiled, control).map_err(anyhow::Error::msg)?;
            deployment.up(&probes).await?;
        }
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let next = if join {
            "; now add them: ordeal members add NODE"
        } else {
            ""
        };
        let result = json!({"system": system, "nodes": names, "digests": deployment.digests});
        context.print(
            &result,
            format!("{system} runs on {}{next}", names.join(", ")),
        )
    }

    /// Refuses to deploy over a daemon that lives, unless it is forced.
    async fn may_wipe(
        &self,
        operator: &Operator,
        control: &Control,
        hosts: &[&Host],
    ) -> anyhow::Result<()> {
        for host in hosts {
            let state = daemons::state_on(session(control, host)?).await;
            if state.starts_with("running") || state.starts_with("paused") {
                ensure!(
                    self.force,
                    "refused: a daemon is {state} on {}, and its data would be wiped; \
                     `ordeal cluster upgrade` keeps it, --force does not",
                    host.name
                );
                confirm(operator, &[format!("all that {} has stored", host.name)])?;
            }
        }
        Ok(())
    }

    async fn backup(
        &self,
        context: &Context,
        operator: &Operator,
        file: &Path,
        node: Option<&str>,
    ) -> anyhow::Result<()> {
        ensure!(
            self.force || !file.exists(),
            UsageError(format!(
                "{} is there already; --force replaces it",
                file.display()
            ))
        );
        let survey = operator.survey().await;
        let leader = survey.leader(0).map(|(leader, _)| leader.id);
        let able = survey.able();
        let hosts = &operator.cluster().hosts;
        let mut known: Vec<&Host> = hosts
            .iter()
            .filter(|host| able.contains(&host.id))
            .collect();
        known.sort_by_key(|host| (leader == Some(host.id), Operator::lag(&survey, 0, host.id)));
        let host = match node {
            Some(node) => host(operator, node)?,
            None => known
                .first()
                .copied()
                .context("no member answers; `ordeal cluster status`")?,
        };
        self.weigh(operator, Verb::Pause, &[host]).await?;
        let (control, _) = operator.control().await?;
        let session = session(&control, host)?;
        let daemon = daemon(session).await?;
        backup(context, operator, host, session, &daemon, file).await
    }

    async fn restore(
        &self,
        context: &Context,
        operator: &Operator,
        file: &Path,
        nodes: &[String],
        system: &str,
    ) -> anyhow::Result<()> {
        let backup = Backup::read(file)?;
        let hosts = chosen(operator, nodes)?;
        let host = hosts.iter().find(|host| host.id == backup.node).copied();
        let host = host.ok_or_else(|| {
            UsageError(format!(
                "the backup is node {0}'s, and only a host with the number {0} can take it; \
                 name it among the nodes",
                backup.node
            ))
        })?;
        let control = Arc::new(Control::connect(operator.cluster()).await?);
        self.may_wipe(operator, &control, &hosts).await?;
        let compiled = system_on(system, &BTreeMap::new(), &[host])?;
        let deployment = Deployment::new(compiled, Arc::clone(&control))?;
        deployment.place_all().await?;
        let session = session(&control, host)?;
        let daemon = &deployment.daemons()[&host.name];
        backup.put(operator, host, session, daemon).await?;
        daemons::act(Verb::Start, daemon, session).await?;
        operator.ready(host).await?;
        let others = hosts.iter().filter(|other| other.id != host.id);
        let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
        let text = backup.next(&host.name, &others);
        context.print(&json!({"restored": host.name, "join": others}), text)
    }

    async fn wipe(
        &self,
        context: &Context,
        operator: &Operator,
        nodes: &[String],
    ) -> anyhow::Result<()> {
        let hosts = chosen(operator, nodes)?;
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let (control, _) = operator.control().await?;
        let mut at_stake = vec![format!("all that {} stored", names.join(", "))];
        at_stake.extend(operator.objection(Verb::Kill, &hosts).await);
        ensure!(
            self.force,
            "refused: {} would be lost; --force does it all the same",
            at_stake[0]
        );
        confirm(operator, &at_stake)?;
        for host in &hosts {
            let session = session(&control, host)?;
            let daemon = daemon(session).await?;
            daemon.kill(session).await?;
            let data = data_of(&daemon, &host.name)?;
            session
                .run(["rm", "-rf", "--one-file-system", "--", &data])
                .await?;
        }
        context.print(
            &json!({"wiped": names}),
            format!("wiped {}", names.join(", ")),
        )
    }
}

/// Waits for nodes that join: they are ready only when they are members, but answer before.
async fn answering(operator: &Operator, hosts: &[&Host]) -> anyhow::Result<()> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    loop {
        let reachable = operator.survey().await.reachable();
        let silent = hosts.iter().find(|host| !reachable.contains(&host.id));
        let Some(silent) = silent else { return Ok(()) };
        ensure!(
            Instant::now() < deadline,
            "{0} was started and does not answer; see why: ordeal cluster logs {0}",
            silent.name
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The parameters of a node that joins: it waits, and knows where to look for the others.
fn joining(operator: &Operator, hosts: &[&Host]) -> BTreeMap<String, Value> {
    let others = operator
        .cluster()
        .hosts
        .iter()
        .filter(|host| !hosts.contains(host));
    let members = others.flat_map(|host| {
        let member = operator.member(host);
        [
            "--member".to_owned(),
            format!("{}={},{}", member.id, member.peer, member.http),
        ]
    });
    let flags: Vec<String> = ["--join".to_owned()].into_iter().chain(members).collect();
    BTreeMap::from([("flags".to_owned(), json!(flags))])
}

fn chosen<'a>(operator: &'a Operator, nodes: &[String]) -> anyhow::Result<Vec<&'a Host>> {
    if nodes.is_empty() {
        return Ok(operator.cluster().hosts.iter().collect());
    }
    nodes.iter().map(|node| host(operator, node)).collect()
}

/// A leader that restarts last is handed over once, not again and again.
async fn leader_last<'a>(operator: &Operator, mut hosts: Vec<&'a Host>) -> Vec<&'a Host> {
    let leader = operator
        .survey()
        .await
        .leader(0)
        .map(|(answer, _)| answer.id);
    hosts.sort_by_key(|host| Some(host.id) == leader);
    hosts
}

fn session<'a>(control: &'a Control, host: &Host) -> anyhow::Result<&'a Session> {
    let session = control.get(&host.name);
    session.map(Arc::as_ref).with_context(|| {
        format!(
            "{} cannot be reached over SSH; `ordeal doctor` says why",
            host.name
        )
    })
}

async fn daemon(session: &Session) -> anyhow::Result<Daemon> {
    match daemons::daemon_on(session).await? {
        Some(daemon) => Ok(daemon),
        None => bail!(
            "nothing was ever started on {0}; type: ordeal cluster deploy {0}",
            session.name()
        ),
    }
}

async fn logs(
    context: &Context,
    operator: &Operator,
    nodes: &[String],
    lines: u32,
) -> anyhow::Result<()> {
    let (control, _) = operator.control().await?;
    let mut logs = BTreeMap::new();
    for host in chosen(operator, nodes)? {
        let session = session(&control, host)?;
        let log = daemon(session).await?.log;
        let call = Call::new(["tail", "-n", &lines.to_string(), "--", &log]);
        logs.insert(host.name.clone(), session.run_with(call).await?.stdout);
    }
    let text = logs.iter().map(|(node, log)| format!("==> {node}\n{log}"));
    context.print(&logs, text.collect::<Vec<_>>().join("\n"))
}

/// Shows the status again and again, until it is interrupted.
async fn watch(context: &Context, operator: &Operator, every: Duration) -> anyhow::Result<()> {
    let watching = async {
        let mut control = operator.control().await?;
        loop {
            let (result, text) = status(operator, &control).await;
            // Home and clear: the next table takes the place of the last.
            let head = if context.color { "\x1b[H\x1b[2J" } else { "" };
            context.print(&result, format!("{head}{text}"))?;
            tokio::time::sleep(every).await;
            let (_, unreachable) = &control;
            if !unreachable.is_empty() {
                control = operator.control().await?;
            }
        }
    };
    tokio::select! {
        ended = watching => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}
