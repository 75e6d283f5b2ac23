//! Where the system under test runs: named hosts that are reached over SSH.
//!
//! Everything above this module works on a [`Cluster`] and cannot tell a namespace on this machine
//! from a virtual machine or a rented host. What differs is here: how the hosts are found, and
//! that a lab's network has to be entered before it can be reached.

mod error;
mod inventory;
pub mod lab;
mod vagrant;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::ClusterError;

/// What kind of hosts a cluster is made of; it decides which faults are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Namespaces on this machine. They share its kernel, and with it the wall clock.
    Lab,
    /// Hosts from an inventory: virtual machines, rented hosts.
    Inventory,
}

/// Some hosts with a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// The cluster's name, for people.
    pub name: String,
    /// The words after `--on` that open it again.
    pub selector: String,
    /// What it is made of.
    pub kind: Kind,
    /// Its hosts, in order of their ids.
    pub hosts: Vec<Host>,
    /// The address from which the hosts are controlled, where it is known beforehand. Faults never
    /// cut it off.
    pub control_address: Option<IpAddr>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, unique in the cluster: `n1`.
    pub name: String,
    /// Its number, from 1.
    pub id: u64,
    /// The address where the other hosts reach it: the one that partitions are made of.
    pub address: IpAddr,
    /// How it is reached for control.
    pub ssh: Ssh,
}

/// How a host is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// The name or address to connect to.
    pub host: String,
    /// The user to log in as; by default what `ssh` itself would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The port; by default what `ssh` itself would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The private key, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// The file of known host keys; by default the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// Hosts to jump over, as `ssh -J` takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// A configuration file whose entries for this host are used as well: `~/.ssh/config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
}

/// Opens the cluster that a selector names: `lab`, `lab:NAME`, `vagrant`, `ssh:NAME,NAME…` from the
/// user's own `ssh` configuration, or the path of an inventory.
pub fn open(selector: &str) -> Result<Cluster, ClusterError> {
    match selector.split_once(':') {
        None if selector == "lab" => lab::open(lab::DEFAULT_NAME),
        None if selector == "vagrant" => vagrant::open(),
        Some(("lab", name)) => lab::open(name),
        Some(("ssh", names)) => inventory::open_ssh(names),
        _ if Path::new(selector).is_file() => inventory::open(Path::new(selector)),
        _ => Err(ClusterError::UnknownSelector(selector.to_owned())),
    }
}

impl Ssh {
    /// The way to a host of which nothing but its name is known.
    fn to(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            user: None,
            port: None,
            identity: None,
            known_hosts: None,
            jump: None,
            config: None,
        }
    }
}

impl Cluster {
    /// Makes the cluster reachable for the calling thread and for every thread it starts later.
    ///
    /// A lab has a network of its own, which belongs to threads and not to the process: call this
    /// on the main thread before any runtime is built. For other clusters there is nothing to do.
    pub fn enter(&self) -> Result<(), ClusterError> {
        match self.kind {
            Kind::Lab => lab::enter(&self.name),
            Kind::Inventory => Ok(()),
        }
    }

    /// The host with this name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }
}
