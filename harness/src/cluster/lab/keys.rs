//! The lab's own keys: a host key for each node, one client key, and the list of known hosts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{ClusterError, node_address, node_name};

/// Writes `key`, `known_hosts` and a `host_key.ID` for every node into a folder.
pub(super) fn generate(folder: &Path, nodes: u16) -> Result<(), ClusterError> {
    let host_keys: Vec<String> = (1..=nodes).map(|id| format!("host_key.{id}")).collect();
    let children = host_keys
        .iter()
        .map(String::as_str)
        .chain(["key"])
        .map(|name| generate_one(folder, name))
        .collect::<Result<Vec<_>, _>>()?;
    for child in children {
        let output = child
            .wait_with_output()
            .map_err(ClusterError::io("cannot wait for ssh-keygen"))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(ClusterError::failed("ssh-keygen failed", complaint.trim()));
        }
    }
    let mut known_hosts = String::new();
    for (id, key) in (1..).zip(&host_keys) {
        let path = folder.join(format!("{key}.pub"));
        let public = fs::read_to_string(&path).map_err(ClusterError::path("read", &path))?;
        writeln!(
            known_hosts,
            "{},{} {}",
            node_name(id),
            node_address(id),
            public.trim()
        )
        .expect("a string takes all that is written");
    }
    let path = folder.join("known_hosts");
    fs::write(&path, known_hosts).map_err(ClusterError::path("write", &path))
}

fn generate_one(folder: &Path, name: &str) -> Result<Child, ClusterError> {
    Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "ordeal-lab", "-f"])
        .arg(folder.join(name))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ClusterError::io("cannot run ssh-keygen"))
}
