//! The configuration with which `ssh` is started for a host: a file of our own for each.
//!
//! A file can say what the command line of the `openssh` crate cannot, and the user's own
//! configuration takes part only where the inventory asks for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::ControlError;
use crate::cluster::Host;

/// Writes the configuration for a host into a folder.
pub(super) fn write(host: &Host, folder: &Path) -> Result<PathBuf, ControlError> {
    let path = folder.join(format!("{}.conf", host.id));
    std::fs::write(&path, text(host)?).map_err(|source| ControlError::Local {
        what: format!("cannot write {}", path.display()),
        source,
    })?;
    Ok(path)
}

fn text(host: &Host) -> Result<String, ControlError> {
    let ssh = &host.ssh;
    checked(host, "host name", &ssh.host)?;
    let mut text = String::from(
        "Host *\n  BatchMode yes\n  ConnectTimeout 10\n  ServerAliveInterval 5\n  \
         ServerAliveCountMax 3\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n  ForwardAgent no\n",
    );
    let known_hosts = ssh
        .known_hosts
        .as_ref()
        .map(|path| path.display().to_string());
    let identity = ssh.identity.as_ref().map(|path| path.display().to_string());
    let options = [
        ("User", ssh.user.clone()),
        ("Port", ssh.port.map(|port| port.to_string())),
        ("IdentityFile", identity.clone()),
        ("IdentitiesOnly", identity.map(|_| "yes".into())),
        ("UserKnownHostsFile", known_hosts.clone()),
        (
            "GlobalKnownHostsFile",
            known_hosts.map(|_| "/dev/null".into()),
        ),
        ("ProxyJump", ssh.jump.clone()),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            writeln!(text, "  {name} \"{}\"", checked(host, name, &value)?)
                .expect("a string takes all that is written");
        }
    }
    if let Some(path) = &ssh.config {
        let path = path.display().to_string();
        writeln!(
            text,
            "Include \"{}\"",
            checked(host, "configuration", &path)?
        )
        .expect("a string takes all that is written");
    }
    Ok(text)
}

/// Lets a value through that can be nothing but a value.
fn checked<'a>(host: &Host, what: &'static str, value: &'a str) -> Result<&'a str, ControlError> {
    let unfit = |letter: char| letter.is_control() || letter == '"';
    if value.is_empty() || value.starts_with('-') || value.contains(unfit) {
        return Err(ControlError::BadValue {
            host: host.name.clone(),
            what,
            value: value.into(),
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Ssh;

    fn host(user: &str) -> Host {
        Host {
            name: "n1".into(),
            id: 1,
            address: [10, 0, 0, 1].into(),
            ssh: Ssh {
                host: "10.0.0.1".into(),
                user: Some(user.into()),
                port: None,
                identity: None,
                known_hosts: None,
                jump: None,
                config: None,
            },
        }
    }

    #[test]
    fn host_keys_are_always_checked() {
        assert!(
            text(&host("root"))
                .unwrap()
                .contains("StrictHostKeyChecking yes")
        );
    }

    #[test]
    fn a_value_cannot_bring_options_along() {
        for user in [
            "root\"\n  ProxyCommand \"touch /tmp/x",
            "a\nb",
            "-oProxyCommand=x",
            "",
        ] {
            let refused = text(&host(user));
            assert!(
                matches!(refused, Err(ControlError::BadValue { .. })),
                "{user:?}"
            );
        }
    }
}
