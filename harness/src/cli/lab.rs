//! `ordeal lab`: a cluster on this machine, up and down.

use clap::{Args, Subcommand};

use super::{Context, Exit};
use crate::cluster::lab;

/// Bring up, look at and take down a local cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ordeal lab up --nodes 3\n  \
    ordeal lab exec n1 -- ip address\n  \
    ordeal lab exec control -- curl http://10.77.0.1:8080/status\n  \
    ordeal lab down")]
pub(super) struct LabVerb {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring a lab up (harmless when it is up already)
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 5, value_name = "N")]
        nodes: u16,
        /// Give each node a disk of its own for /var/lib, of so many megabytes, for the faults
        /// full-disk and power-cut
        #[arg(long, value_name = "MB")]
        disk: Option<u32>,
        #[command(flatten)]
        name: Name,
    },
    /// Take a lab down, whatever is left of it
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Show the labs of this machine
    #[command(after_help = "Examples:\n  ordeal lab status")]
    Status {
        /// Show only this one
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Run a command on a node, or in the lab's control network
    Exec {
        /// The node's name, or `control`
        node: String,
        #[command(flatten)]
        name: Name,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Name {
    /// The lab's name
    #[arg(long, default_value = lab::DEFAULT_NAME, value_name = "NAME")]
    name: String,
}

impl LabVerb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self.action {
            Action::Up { nodes, disk, name } => {
                let started = lab::up_with_disks(&name.name, nodes, disk)?;
                let status = lab::status(&name.name)?;
                let how = if started { "is up" } else { "was up already" };
                let text = format!("lab {} {how} with {nodes} nodes", name.name);
                context.print(&status, text)?;
            }
            Action::Down { name } => {
                let found = lab::down(&name.name)?;
                let how = if found { "is down" } else { "was not up" };
                let result = serde_json::json!({ "name": name.name, "was_up": found });
                context.print(&result, format!("lab {} {how}", name.name))?;
            }
            Action::Status { name } => status(context, name)?,
            Action::Exec {
                node,
                name,
                command,
            } => lab::exec(&name.name, &node, &command)?,
        }
        Ok(Exit::Valid)
    }
}

fn status(context: &Context, name: Option<String>) -> anyhow::Result<()> {
    let names = name.map_or_else(lab::names, |name| vec![name]);
    let mut labs = Vec::new();
    for name in names {
        labs.extend(lab::status(&name)?);
    }
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["lab", "node", "address", "state", "process"]);
    for lab in &labs {
        for node in &lab.nodes {
            let state = if node.init.is_some() { "up" } else { "down" };
            let process = node.init.map(|pid| pid.to_string()).unwrap_or_default();
            let address = node.address.to_string();
            table.add_row([&lab.name, &node.name, &address, state, &process]);
        }
    }
    if labs.is_empty() {
        context.print(&labs, "no lab is up; type: ordeal lab up")
    } else {
        context.print(&labs, table)
    }
}

/// One step of bringing a lab up, in a process of its own
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct LabInit {
    step: String,
    name: String,
    argument: String,
}

impl LabInit {
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        lab::init(&self.step, &self.name, &self.argument)?;
        Ok(Exit::Valid)
    }
}
