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
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
    _sockets: SocketFolder,
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
        let sockets =
            SocketFolder::new(Path::new("/tmp")).map_err(|source| ControlError::Local {
                what: "cannot make a folder for SSH sockets in /tmp".into(),
                source,
            })?;
        let connecting = cluster
            .hosts
            .iter()
            .map(|host| Session::connect(host, sockets.folder.path()));
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
                _sockets: sockets,
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

/// A folder for sockets, locked for as long as its harness lives.
#[derive(Debug)]
struct SocketFolder {
    folder: TempDir,
    _lock: fs::File,
}

impl SocketFolder {
    /// Makes one, with a short path because a socket's path may have 108 bytes at most, and
    /// removes what killed harnesses have left. A process's number would not tell whose is whose:
    /// two containers may share the folder and no numbers.
    fn new(parent: &Path) -> io::Result<SocketFolder> {
        const PREFIX: &str = "ordeal-mux-";
        /// A folder is older than this when its lock is taken.
        const YOUNG: Duration = Duration::from_secs(60);
        for entry in fs::read_dir(parent)?.flatten() {
            let is_old = || {
                let changed = entry.metadata().ok()?.modified().ok()?;
                Some(changed.elapsed().ok()? > YOUNG)
            };
            let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if is_ours
                && is_old() == Some(true)
                && fs::File::open(entry.path()).is_ok_and(|left| left.try_lock().is_ok())
            {
                // Another harness may be doing the same.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = fs::File::open(folder.path())?;
        lock.lock()?;
        Ok(SocketFolder {
            folder,
            _lock: lock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_a_killed_harness_are_removed_and_those_of_a_living_one_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let make_old = |folder: &Path| {
            let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
            let folder = fs::File::open(folder).unwrap();
            folder.set_modified(long_ago).unwrap();
        };
        let killed = SocketFolder::new(parent.path()).unwrap().folder.keep();
        let living = SocketFolder::new(parent.path()).unwrap();
        make_old(&killed);
        make_old(living.folder.path());
        drop(SocketFolder::new(parent.path()).unwrap());
        assert!(!killed.exists() && living.folder.path().exists());
    }
}
