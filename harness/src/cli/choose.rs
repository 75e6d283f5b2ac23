//! `ordeal use`: which cluster the operator's verbs are about.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Context, Exit, UsageError};
use crate::{cluster, remembered};

/// Remember which cluster the verbs are about
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal use lab:mine          cluster, members, kv, fault and doctor are about it from now on\n  \
    ordeal use inventory.yaml\n  \
    ordeal use                   which one is it?\n  \
    ordeal use --forget\n\n\
    --on and ORDEAL_ON count before it. `run`, `demo`, `replay` and `shrink` ignore it, because\n\
    they wipe what they run on: that must be named with --on.")]
pub(super) struct Use {
    /// The cluster: lab, lab:NAME, vagrant, ssh:NAME,NAME… or an inventory file
    #[arg(value_name = "CLUSTER", conflicts_with = "forget")]
    cluster: Option<String>,

    /// Forget it; the local lab is meant again
    #[arg(long)]
    forget: bool,
}

impl Use {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if self.forget {
            remembered::remember(None).context("cannot forget the cluster")?;
        }
        if let Some(selector) = &self.cluster {
            let known = cluster::open(selector).map_err(UsageError::wrap)?;
            // A file must be found from any folder.
            let path = Path::new(selector);
            let whole = path.canonicalize().ok().filter(|path| path.is_file());
            let selector =
                whole.map_or_else(|| selector.clone(), |path| path.display().to_string());
            remembered::remember(Some(&selector)).context("cannot remember the cluster")?;
            let hosts: Vec<&str> = known.hosts.iter().map(|host| host.name.as_str()).collect();
            let text = format!("{selector}: {}", hosts.join(" "));
            return context
                .print(&json!({"cluster": selector, "hosts": hosts}), text)
                .map(|()| Exit::Valid);
        }
        let chosen = remembered::cluster();
        let text = match &chosen {
            Some(selector) => selector.clone(),
            None => "no cluster is remembered: the local lab is meant; choose one with `ordeal use CLUSTER`".into(),
        };
        context.print(&json!({"cluster": chosen}), text)?;
        Ok(Exit::Valid)
    }
}
