//! Control of hosts: commands, files and daemons, over one SSH connection to each.
//!
//! A [`Control`] holds a [`Session`] for every host of a cluster. Sessions are made by the system's
//! own `ssh` (so agents, jump hosts and the user's configuration work) and multiplexed through its
//! control socket. Rules that hold for every command, whoever asks for it:
//!
//! - It is a list of arguments. Each is quoted, so nothing that came from a YAML file is ever code.
//! - It has a time limit, on both ends: past it the remote process is ended too.
//! - It runs as root, by `sudo -n` where the login is not root.
//! - A stock `sshd` grants ten channels to a connection; never more than eight are in use.
//! - A lost connection is made again, with backoff; a command that may have run is not repeated.
//! - Host keys are checked. There is no way to switch that off.

pub mod daemon;
mod error;
mod session;
mod ssh_config;
mod upload;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use tempfile::TempDir;

use crate::cluster::{Cluster, Host, Kind};

pub use error::{ControlError, Problem};
pub use session::{Call, Output, Session};
pub(crate) use upload::sha256;

/// The sessions to all hosts of a cluster. They end with it.
#[derive(Debug)]
pub struct Control {
    sessions: BTreeMap<String, Arc<Session>>,
    /// The order of the cluster's hosts.
    names: Vec<String>,
    kind: Kind,
    _folder: TempDir,
}

impl Control {
    /// Connects to every host, all at once. The cluster must have been entered.
    pub async fn connect(cluster: &Cluster) -> Result<Self, ControlError> {
        match Self::connect_to_some(cluster).await? {
            (control, errors) if errors.is_empty() => Ok(control),
            (_, mut errors) => Err(errors.swap_remove(0)),
        }
    }

    /// Connects to the hosts that can be reached, and says what is wrong with the others.
    pub async fn connect_to_some(
        cluster: &Cluster,
    ) -> Result<(Self, Vec<ControlError>), ControlError> {
        let folder = socket_folder()?;
        let connecting = cluster
            .hosts
            .iter()
            .map(|host| Session::connect(host, folder.path()));
        let (mut names, mut sessions, mut errors) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (host, connected) in cluster.hosts.iter().zip(join_all(connecting).await) {
            match connected {
                Ok(session) => {
                    names.push(host.name.clone());
                    sessions.insert(host.name.clone(), Arc::new(session));
                }
                Err(error) => errors.push(error),
            }
        }
        Ok((
            Self {
                sessions,
                names,
                kind: cluster.kind,
                _folder: folder,
            },
            errors,
        ))
    }

    /// What kind of hosts they are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The session with a host.
    ///
    /// # Panics
    /// When the cluster has no host of that name.
    pub fn host(&self, name: &str) -> &Arc<Session> {
        self.get(name)
            .unwrap_or_else(|| panic!("the cluster has no host {name:?}"))
    }

    /// The session with a host, if the cluster has it.
    pub fn get(&self, name: &str) -> Option<&Arc<Session>> {
        self.sessions.get(name)
    }

    /// The hosts' names, in the cluster's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All sessions, in the cluster's order.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.names.iter().map(|name| self.host(name))
    }

    /// The hosts, in the cluster's order.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.sessions().map(|session| session.host())
    }
}

/// A folder for sockets, with a short path because a socket's path may have 108 bytes at most.
/// Removes what killed harnesses have left.
fn socket_folder() -> Result<TempDir, ControlError> {
    const PREFIX: &str = "ordeal-ssh-";
    let tmp = Path::new("/tmp");
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another harness may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(tmp)
        .map_err(|source| ControlError::Local {
            what: "cannot make a folder for SSH sockets".into(),
            source,
        })
}
