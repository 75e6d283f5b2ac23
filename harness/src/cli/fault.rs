//! `ordeal fault`: a fault by hand, for a while.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use futures::FutureExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::operate::{on_record, system_on};
use super::{Context, Exit, UsageError};
use crate::cluster::{self, Cluster, Host};
use crate::control::Control;
use crate::control::daemon::Daemon;
use crate::journal::Journal;
use crate::nemesis::{Fault, Installed, Leader, Nemesis};
use crate::system::{Members, Probes};

/// Where the journals of faults by hand lie, in the store.
pub(super) const BY_HAND: &str = "by-hand";

/// Install a fault by hand, and heal it after a while
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal fault partition majority --for 30s\n  \
    ordeal fault partition '{shape: groups, groups: [[n1, n2], [n3, n4, n5]]}'\n  \
    ordeal fault kill n3 --for 10s\n  \
    ordeal fault kill leader --system etcd\n  \
    ordeal fault pause '[n1, n2]' --on inventory.yaml\n\n\
    It is journaled like a fault of a run: Ctrl-C heals it at once, and after `kill -9` the\n\
    watchdogs on the nodes or `ordeal heal` do.")]
pub(super) struct FaultVerb {
    /// What is done
    #[arg(value_parser = PossibleValuesParser::new(kinds()))]
    kind: String,

    /// To whom and how, as a playbook has it: a word, a name, or a map
    #[arg(default_value = "one", value_name = "WHAT")]
    what: String,

    /// How long it lasts
    #[arg(long = "for", default_value = "30s", value_name = "SPAN")]
    lasts: humantime::Duration,

    /// The system that is asked who leads and who listens: a name, or a YAML file
    #[arg(long, default_value = "raft-node")]
    system: String,

    /// The daemon it is done to, where several run on a node
    #[arg(long, value_name = "NAME")]
    daemon: Option<String>,

    /// The seed of its choices (by default another each time)
    #[arg(long)]
    seed: Option<u64>,
}

/// The kinds that make sense by hand: members have a verb of their own, and a hand needs no asking.
fn kinds() -> impl Iterator<Item = &'static str> {
    Fault::KINDS
        .iter()
        .copied()
        .filter(|kind| !["membership", "manual"].contains(kind))
}

impl FaultVerb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let fault = self.fault()?;
        let cluster = cluster::open(&context.selector())?;
        let nodes: Vec<&str> = cluster
            .hosts
            .iter()
            .map(|host| host.name.as_str())
            .collect();
        if let Some(name) = fault
            .names()
            .into_iter()
            .find(|name| !nodes.contains(&name.as_str()))
        {
            let nodes = nodes.join(", ");
            return Err(
                UsageError(format!("there is no node {name}, expected one of {nodes}")).into(),
            );
        }
        cluster.enter()?;
        let folder = journal_folder(&context.store)?;
        context.block_on(on_record(&cluster, self.torment(&fault, &cluster, &folder)))?;
        // What is healed needs no journal; after an error it stays, for `ordeal heal`.
        std::fs::remove_dir_all(&folder).context("cannot remove the journal")?;
        Ok(Exit::Valid)
    }

    fn fault(&self) -> anyhow::Result<Fault> {
        let what: Value = serde_yaml::from_str(&self.what)
            .map_err(|error| UsageError(format!("{:?} is not YAML: {error}", self.what)))?;
        serde_json::from_value(json!({ &self.kind: what }))
            .map_err(|error| UsageError(format!("{} {}: {error}", self.kind, self.what)).into())
    }

    async fn torment(&self, fault: &Fault, cluster: &Cluster, folder: &Path) -> anyhow::Result<()> {
        let control = Arc::new(Control::connect(cluster).await?);
        let daemons = self.daemons(&control).await?;
        let journal = Journal::create(folder, cluster)?;
        let (leader, members) = self.asked(cluster, &control)?;
        let nemesis = Nemesis::new(control, journal, daemons, leader).with_members(members, false);
        let seed = self.seed.unwrap_or_else(rand::random);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lasts = Duration::from(self.lasts);
        let Installed {
            id,
            kind,
            description,
            ..
        } = nemesis.install(fault, &mut rng).await?;
        eprintln!(
            "{kind}: {description}; for {} (Ctrl-C heals at once)",
            self.lasts
        );
        tokio::select! {
            () = tokio::time::sleep(lasts) => {}
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C")?,
        }
        let healed = nemesis.heal(id).await;
        nemesis.close().await;
        healed?;
        eprintln!("{kind}: healed");
        Ok(())
    }

    /// The ways to ask the system who leads and who the members are. Nothing is asked yet.
    fn asked(
        &self,
        cluster: &Cluster,
        control: &Arc<Control>,
    ) -> anyhow::Result<(Leader, Option<Arc<Members>>)> {
        let hosts: Vec<&Host> = cluster.hosts.iter().collect();
        let system = system_on(&self.system, &BTreeMap::new(), &hosts)?;
        let probes = Probes::new(Arc::clone(&system), Arc::clone(control));
        let probes = Arc::new(probes.map_err(anyhow::Error::msg)?);
        let members =
            Members::new(system, Arc::clone(&probes), None).map_err(anyhow::Error::msg)?;
        let leader: Leader = Arc::new(move || {
            let probes = Arc::clone(&probes);
            async move { probes.leader().await }.boxed()
        });
        Ok((leader, members.map(Arc::new)))
    }

    /// The daemon of each node that has one: the only one, or the one that was named.
    async fn daemons(&self, control: &Control) -> anyhow::Result<BTreeMap<String, Daemon>> {
        let mut daemons = BTreeMap::new();
        for session in control.sessions() {
            let mut known = Daemon::known_on(session).await?;
            if let Some(name) = &self.daemon {
                known.retain(|daemon| daemon.name == *name);
            }
            if known.len() > 1 {
                let names: Vec<&str> = known.iter().map(|daemon| daemon.name.as_str()).collect();
                let names = names.join(", ");
                bail!(
                    "{} has several daemons: {names}; choose one with --daemon",
                    session.name()
                );
            }
            daemons.extend(
                known
                    .pop()
                    .map(|daemon| (session.name().to_owned(), daemon)),
            );
        }
        Ok(daemons)
    }
}

fn journal_folder(store: &Path) -> anyhow::Result<PathBuf> {
    let folder = store.join(BY_HAND);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let made = tempfile::Builder::new()
        .prefix("fault-")
        .tempdir_in(&folder);
    Ok(made.context("cannot make a folder for the journal")?.keep())
}
