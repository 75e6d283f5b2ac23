//! Hosts from a file: an inventory of our own in YAML, or what `ansible-inventory --list` prints.
//!
//! ```yaml
//! name: staging            # by default the file's name
//! user: admin              # these hold for every host that does not say otherwise
//! port: 22
//! identity: ~/.ssh/staging
//! known_hosts: ./known_hosts
//! jump: bastion.example
//! hosts:
//!   - n1.example           # its name; the address is looked up
//!   - {name: n2, address: 10.0.0.2}
//!   - {name: n3, address: 10.0.0.3, ssh: 203.0.113.3, port: 2222}
//! ```
//!
//! A relative path counts from the inventory's folder, and `~` is the user's home.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Cluster, ClusterError, Host, Kind, Ssh};
use crate::playbook::source::Source;

/// How hosts are reached, where nothing is said of one in particular.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Inventory {
    name: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    identity: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    jump: Option<String>,
    hosts: Vec<Line>,
}

/// A host, in short or in long.
#[derive(Clone, Debug)]
enum Line {
    Name(String),
    Entry(Entry),
}

/// By hand, so that a mistake in an entry keeps its place.
impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host's name, or `{name: n1, address: 10.0.0.1}`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Line, E> {
                Ok(Line::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Line, A::Error> {
                Entry::deserialize(MapAccessDeserializer::new(map)).map(Line::Entry)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A host and what is particular about it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    address: Option<String>,
    ssh: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    identity: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    jump: Option<String>,
}

/// Opens the cluster of an inventory file.
pub(super) fn open(path: &Path) -> Result<Cluster, ClusterError> {
    let text = fs::read_to_string(path).map_err(ClusterError::path("read", path))?;
    let wrong = |what: String| ClusterError::Inventory {
        path: path.to_owned(),
        what,
    };
    let inventory =
        if text.trim_start().starts_with('{') && path.extension() != Some("yaml".as_ref()) {
            let listing: Value =
                serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            from_ansible(&listing).map_err(wrong)?
        } else {
            let source = Source {
                file: path.to_owned(),
                text,
            };
            source.parse()?
        };
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let name = inventory.name.clone().or(stem).unwrap_or_default();
    let hosts = hosts(&inventory, path.parent().unwrap_or(Path::new("."))).map_err(wrong)?;
    Ok(cluster(name, path.display().to_string(), hosts))
}

/// Opens a cluster of names from the user's own `~/.ssh/config`: `ssh:n1,n2,n3`.
pub(super) fn open_ssh(names: &str) -> Result<Cluster, ClusterError> {
    let config = in_home(Path::new("~/.ssh/config"));
    let mut hosts = Vec::new();
    for (name, id) in names.split(',').map(str::trim).zip(1..) {
        let wrong = |what| ClusterError::Inventory {
            path: config.clone(),
            what,
        };
        // `ssh -G` prints what it would do, with every pattern and Include applied.
        let output = Command::new("ssh")
            .args(["-G", "--", name])
            .output()
            .map_err(ClusterError::io("cannot run ssh"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let host = said
            .lines()
            .find_map(|line| line.strip_prefix("hostname "))
            .unwrap_or(name);
        hosts.push(Host {
            name: name.to_owned(),
            id,
            address: resolve(host).map_err(wrong)?,
            ssh: Ssh {
                config: Some(config.clone()),
                ..Ssh::to(name)
            },
        });
    }
    distinct(&hosts).map_err(|what| ClusterError::Inventory { path: config, what })?;
    Ok(cluster(names.to_owned(), format!("ssh:{names}"), hosts))
}

fn cluster(name: String, selector: String, hosts: Vec<Host>) -> Cluster {
    Cluster {
        name,
        selector,
        kind: Kind::Inventory,
        hosts,
        control_address: None,
    }
}

fn hosts(inventory: &Inventory, folder: &Path) -> Result<Vec<Host>, String> {
    if inventory.hosts.is_empty() {
        return Err("it has no hosts; expected `hosts:` with a list of names".into());
    }
    let place = |path: &Option<PathBuf>| path.as_ref().map(|path| folder.join(in_home(path)));
    let mut hosts = Vec::new();
    for (line, id) in inventory.hosts.iter().zip(1..) {
        let host = match line {
            Line::Name(name) => Entry {
                name: name.clone(),
                ..Entry::default()
            },
            Line::Entry(entry) => entry.clone(),
        };
        let ssh = host
            .ssh
            .or_else(|| host.address.clone())
            .unwrap_or_else(|| host.name.clone());
        let address = host.address.as_ref().unwrap_or(&ssh);
        hosts.push(Host {
            id,
            address: resolve(address)?,
            ssh: Ssh {
                user: host.user.or_else(|| inventory.user.clone()),
                port: host.port.or(inventory.port),
                identity: place(&host.identity).or_else(|| place(&inventory.identity)),
                known_hosts: place(&host.known_hosts).or_else(|| place(&inventory.known_hosts)),
                jump: host.jump.or_else(|| inventory.jump.clone()),
                config: None,
                host: ssh,
            },
            name: host.name,
        });
    }
    distinct(&hosts)?;
    Ok(hosts)
}

/// Two hosts with one name or one address would make a partition cut the wrong links.
fn distinct(hosts: &[Host]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut addresses = BTreeMap::new();
    for host in hosts {
        if !names.insert(&host.name) {
            return Err(format!("two hosts have the name {}", host.name));
        }
        if let Some(other) = addresses.insert(host.address, &host.name) {
            return Err(format!(
                "{other} and {} have the same address {}",
                host.name, host.address
            ));
        }
    }
    Ok(())
}

/// Reads what `ansible-inventory --list` prints: every host of every group, in the groups' order.
fn from_ansible(listing: &Value) -> Result<Inventory, String> {
    let groups = listing.as_object().ok_or("it is no JSON object")?;
    let variables = &listing["_meta"]["hostvars"];
    let mut names: Vec<&str> = Vec::new();
    let listed = groups
        .values()
        .filter_map(|group| group["hosts"].as_array())
        .flatten();
    let known = variables
        .as_object()
        .into_iter()
        .flat_map(|hosts| hosts.keys());
    for name in listed
        .filter_map(Value::as_str)
        .chain(known.map(String::as_str))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let text = |name: &str, words: &[&str]| {
        let found = words
            .iter()
            .find_map(|word| variables[name][*word].as_str());
        found.map(str::to_owned)
    };
    let hosts = names.into_iter().map(|name| {
        let port = &variables[name]["ansible_port"];
        let port = port.as_u64().or_else(|| port.as_str()?.parse().ok());
        Line::Entry(Entry {
            name: name.to_owned(),
            address: text(name, &["ansible_host", "ansible_ssh_host"]),
            user: text(name, &["ansible_user", "ansible_ssh_user"]),
            port: port.and_then(|port| port.try_into().ok()),
            identity: text(
                name,
                &["ansible_ssh_private_key_file", "ansible_private_key_file"],
            )
            .map(Into::into),
            ..Entry::default()
        })
    });
    Ok(Inventory {
        hosts: hosts.collect(),
        ..Inventory::default()
    })
}

/// The address behind a name; IPv4 where there is a choice.
pub(super) fn resolve(name: &str) -> Result<IpAddr, String> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let found = (name, 0).to_socket_addrs();
    let found = found
        .map_err(|error| format!("{name} has no address ({error}); give it one with `address:`"))?;
    let mut all: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    all.sort_by_key(IpAddr::is_ipv6);
    all.first()
        .copied()
        .ok_or_else(|| format!("{name} has no address"))
}

fn in_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Cluster, ClusterError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let mut opened = open(&path)?;
        for host in &mut opened.hosts {
            if let Some(key) = host.ssh.identity.as_mut() {
                *key = key.strip_prefix(folder.path()).unwrap_or(key).to_owned();
            }
        }
        Ok(opened)
    }

    #[test]
    fn what_holds_for_all_holds_where_a_host_does_not_say_otherwise() {
        let text = "user: admin\nidentity: keys/all\njump: bastion\nhosts:\n  - 10.0.0.1\n  \
                    - {name: n2, address: 10.0.0.2, ssh: 203.0.113.2, user: root, port: 2222, identity: /k}\n";
        let cluster = read("staging.yaml", text).unwrap();
        assert_eq!(
            (cluster.name.as_str(), cluster.kind),
            ("staging", Kind::Inventory)
        );
        let [one, two] = &cluster.hosts[..] else {
            panic!("two hosts")
        };
        assert_eq!((one.id, one.name.as_str()), (1, "10.0.0.1"));
        assert_eq!(one.ssh.user.as_deref(), Some("admin"));
        assert_eq!(one.ssh.identity.as_deref(), Some(Path::new("keys/all")));
        assert_eq!(two.address, IpAddr::from([10, 0, 0, 2]));
        assert_eq!(
            (two.ssh.host.as_str(), two.ssh.port),
            ("203.0.113.2", Some(2222))
        );
        assert_eq!(two.ssh.identity.as_deref(), Some(Path::new("/k")));
        assert_eq!(two.ssh.jump.as_deref(), Some("bastion"));
    }

    #[test]
    fn ansibles_list_is_an_inventory() {
        let text = r#"{"_meta": {"hostvars": {
                "db1": {"ansible_host": "10.0.0.1", "ansible_user": "root", "ansible_port": "2200"},
                "db2": {"ansible_host": "10.0.0.2", "ansible_ssh_private_key_file": "/k"}}},
            "all": {"children": ["db"]}, "db": {"hosts": ["db1", "db2"]}}"#;
        let cluster = read("inventory.json", text).unwrap();
        let names: Vec<&str> = cluster
            .hosts
            .iter()
            .map(|host| host.name.as_str())
            .collect();
        assert_eq!(names, ["db1", "db2"]);
        assert_eq!(cluster.hosts[0].ssh.port, Some(2200));
        assert_eq!(
            cluster.hosts[1].ssh.identity.as_deref(),
            Some(Path::new("/k"))
        );
    }

    #[test]
    fn mistakes_are_named() {
        let said = |text| read("i.yaml", text).unwrap_err().to_string();
        assert!(said("hosts: []").contains("no hosts"));
        assert!(said("hots: [n1]").contains("hots"));
        let entry = said("hosts:\n  - n1\n  - {name: n2, adress: 10.0.0.2}\n");
        assert!(
            entry.contains("i.yaml:3:") && entry.contains("did you mean `address`?"),
            "{entry}"
        );
        assert!(
            said("hosts: [10.0.0.1, 10.0.0.1]").contains("same")
                || said("hosts: [10.0.0.1, 10.0.0.1]").contains("two hosts")
        );
        assert!(
            said("hosts: [{name: a, address: 10.0.0.1}, {name: b, address: 10.0.0.1}]")
                .contains("a and b")
        );
        assert!(said("hosts: [no-such-host.invalid]").contains("no-such-host.invalid"));
    }
}
