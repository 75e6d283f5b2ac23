//! Virtual machines that Vagrant manages, as `vagrant ssh-config` tells of them.
//!
//! Vagrant itself checks no host keys. We do: the keys are taken down when a machine is seen for
//! the first time, which is on this computer's own network and right after it was made, and they
//! must be the same from then on until it is made anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cluster, ClusterError, Host, Kind, Ssh, inventory};
use crate::control::sha256;

/// The user that our provisioning makes, who may do as root what faults take and nothing else.
const OWN_USER: &str = "ordeal";

/// Opens the machines of the Vagrantfile in `VAGRANT_CWD`, `vagrant/` or the current folder.
pub(super) fn open() -> Result<Cluster, ClusterError> {
    let folder = folder()?;
    let said = vagrant(&folder, &["ssh-config"])?;
    let mut machines = parse(&said);
    if machines.is_empty() {
        return Err(ClusterError::failed(
            "vagrant",
            "no machine is up; type: vagrant up",
        ));
    }
    let known_hosts = known_hosts(&folder, &machines)?;
    let own_user = machines
        .first()
        .is_some_and(|(_, ssh)| lets_in(ssh, &known_hosts));
    for (_, ssh) in &mut machines {
        ssh.known_hosts = Some(known_hosts.clone());
        if own_user {
            ssh.user = Some(OWN_USER.into());
        }
    }
    let addresses = addresses(&folder, &machines)?;
    let hosts = machines.into_iter().zip(addresses).zip(1..);
    Ok(Cluster {
        name: "vagrant".into(),
        selector: "vagrant".into(),
        kind: Kind::Inventory,
        hosts: hosts
            .map(|(((name, ssh), address), id)| Host {
                name,
                id,
                address,
                ssh,
            })
            .collect(),
        control_address: None,
    })
}

fn folder() -> Result<PathBuf, ClusterError> {
    let named = std::env::var_os("VAGRANT_CWD").map(PathBuf::from);
    named
        .into_iter()
        .chain(["vagrant".into(), ".".into()])
        .find(|folder| folder.join("Vagrantfile").is_file())
        .ok_or_else(|| {
            ClusterError::failed(
                "vagrant",
                "there is no Vagrantfile in vagrant/ or here; set VAGRANT_CWD",
            )
        })
}

fn vagrant(folder: &Path, arguments: &[&str]) -> Result<String, ClusterError> {
    let output = Command::new("vagrant")
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(ClusterError::io("cannot run vagrant"))?;
    if !output.status.success() && output.stdout.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(ClusterError::failed(
            format!("vagrant {}", arguments[0]),
            said.trim(),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The machines of a listing in the format of `ssh_config`.
fn parse(listing: &str) -> Vec<(String, Ssh)> {
    let mut machines: Vec<(String, Ssh)> = Vec::new();
    for line in listing.lines() {
        let Some((word, value)) = line.trim().split_once(' ') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        if word == "Host" {
            machines.push((value.to_owned(), Ssh::to(value)));
        }
        let Some((_, ssh)) = machines.last_mut() else {
            continue;
        };
        match word {
            "HostName" => value.clone_into(&mut ssh.host),
            "User" => ssh.user = Some(value.to_owned()),
            "Port" => ssh.port = value.parse().ok(),
            // Of several keys the first is the machine's own.
            "IdentityFile" if ssh.identity.is_none() => ssh.identity = Some(value.into()),
            _ => {}
        }
    }
    machines
}

/// The addresses where the machines reach each other. Behind a forwarded port that is not where we
/// reach them, so they are asked; what they all have alike is the forwarder's.
fn addresses(folder: &Path, machines: &[(String, Ssh)]) -> Result<Vec<IpAddr>, ClusterError> {
    let wrong = |what| ClusterError::failed("vagrant", what);
    let forwarded = |ssh: &Ssh| ssh.host == "localhost" || ssh.host.starts_with("127.");
    if !machines.iter().any(|(_, ssh)| forwarded(ssh)) {
        return machines
            .iter()
            .map(|(_, ssh)| inventory::resolve(&ssh.host).map_err(wrong))
            .collect();
    }
    let mut all = Vec::new();
    let mut seen: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (name, _) in machines {
        let said = vagrant(folder, &["ssh", name, "-c", "hostname -I"])?;
        let own: Vec<IpAddr> = said
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        for address in &own {
            *seen.entry(*address).or_default() += 1;
        }
        all.push(own);
    }
    let only = |own: &Vec<IpAddr>| {
        own.iter()
            .find(|address| address.is_ipv4() && seen[address] == 1)
            .copied()
    };
    let found: Option<Vec<IpAddr>> = all.iter().map(only).collect();
    found.ok_or_else(|| {
        wrong("the machines have no network in common; give each a private_network".into())
    })
}

/// The file of host keys for these machines: one for each time they are made.
fn known_hosts(folder: &Path, machines: &[(String, Ssh)]) -> Result<PathBuf, ClusterError> {
    let state = std::env::var_os("VAGRANT_DOTFILE_PATH")
        .map_or_else(|| folder.join(".vagrant"), PathBuf::from);
    let mut identity = String::new();
    for (name, ssh) in machines {
        writeln!(identity, "{name} {} {:?}", ssh.host, ssh.port)
            .expect("a string takes all that is written");
        // Vagrant keeps each machine's unique id in machines/NAME/PROVIDER/id.
        let providers = fs::read_dir(state.join("machines").join(name))
            .into_iter()
            .flatten()
            .flatten();
        identity.extend(
            providers.filter_map(|provider| fs::read_to_string(provider.path().join("id")).ok()),
        );
    }
    let path = state.join(format!(
        "ordeal_known_hosts.{}",
        &sha256(identity.as_bytes())[..12]
    ));
    if path.exists() {
        return Ok(path);
    }
    let mut keys = String::new();
    for (name, ssh) in machines {
        let port = ssh.port.unwrap_or(22).to_string();
        let output = Command::new("ssh-keyscan")
            .args(["-T", "60", "-p", &port, "--", &ssh.host])
            .output()
            .map_err(ClusterError::io("cannot run ssh-keyscan"))?;
        if output.stdout.is_empty() {
            let what = format!("{name} does not show its host key; is it up? type: vagrant status");
            return Err(ClusterError::failed("vagrant", what));
        }
        keys.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    fs::write(&path, keys).map_err(ClusterError::path("write", &path))?;
    Ok(path)
}

/// Whether a machine has the user of our provisioning; on others Vagrant's own user has to do.
fn lets_in(ssh: &Ssh, known_hosts: &Path) -> bool {
    let mut command = Command::new("ssh");
    command.args([
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "ConnectTimeout=30",
    ]);
    command
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()));
    command.args(["-p", &ssh.port.unwrap_or(22).to_string(), "-l", OWN_USER]);
    if let Some(key) = &ssh.identity {
        command.arg("-i").arg(key);
    }
    let ended = command.args(["--", &ssh.host, "true"]).output();
    ended.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read_from_vagrants_listing() {
        let listing = "Host n1\n  HostName 192.168.121.101\n  User vagrant\n  Port 22\n  \
             UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n  \
             IdentityFile \"/a b/private_key\"\n  IdentityFile /other\n\nHost n2\n  HostName 127.0.0.1\n  Port 2200\n";
        let machines = parse(listing);
        assert_eq!(machines.len(), 2);
        let (name, ssh) = &machines[0];
        assert_eq!(
            (name.as_str(), ssh.host.as_str(), ssh.port),
            ("n1", "192.168.121.101", Some(22))
        );
        assert_eq!(ssh.identity.as_deref(), Some(Path::new("/a b/private_key")));
        assert_eq!(
            ssh.known_hosts, None,
            "Vagrant's own way of not checking is not taken over"
        );
        assert_eq!(machines[1].1.port, Some(2200));
    }
}
