//! What goes wrong between here and a host, and what to try next.
//!
//! Users lose most of their time before the first operation, to SSH. So `ssh`'s own words are
//! sorted into the few things they can mean, and each names the next thing to try.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::cluster::Host;

/// Why a command, a file or a connection did not get through.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No connection to the host.
    #[error("host {host} ({address}): {problem}: {said}; {advice}")]
    Connect {
        /// The host's name.
        host: String,
        /// Where it was looked for.
        address: String,
        /// What kind of problem it is.
        problem: Problem,
        /// What `ssh` said.
        said: String,
        /// The next thing to try.
        advice: String,
    },
    /// The connection broke while a command ran: whether it did its work is not known.
    #[error(
        "host {host}: the connection was lost during `{command}`; whether it did its work is unknown"
    )]
    Lost {
        /// The host's name.
        host: String,
        /// The command.
        command: String,
    },
    /// A command took longer than it may.
    #[error("host {host}: `{command}` has not ended within {limit:?}")]
    Timeout {
        /// The host's name.
        host: String,
        /// The command.
        command: String,
        /// What it was granted.
        limit: Duration,
    },
    /// A command ended, and not well.
    #[error("host {host}: `{command}` failed ({how}): {said}")]
    Failed {
        /// The host's name.
        host: String,
        /// The command.
        command: String,
        /// Its exit code, or that it was killed.
        how: String,
        /// What it printed on stderr, else on stdout.
        said: String,
    },
    /// The user that logs in may not become root.
    #[error(
        "host {host}: user {user} may not use sudo without a password; on the host, as root: \
         echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/ordeal"
    )]
    Sudo {
        /// The host's name.
        host: String,
        /// The user.
        user: String,
    },
    /// Something that `ssh`'s configuration cannot hold.
    #[error(
        "host {host}: {what} {value:?} cannot be used: it has a quote, a line break or a leading '-'"
    )]
    BadValue {
        /// The host's name.
        host: String,
        /// What it is.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Something on this machine.
    #[error("{what}")]
    Local {
        /// What was being done.
        what: String,
        /// The error.
        source: io::Error,
    },
}

/// What keeps a connection from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// `ssh` is not installed here.
    #[error("ssh cannot be run on this machine")]
    NoClient,
    /// The name means nothing.
    #[error("its name cannot be resolved")]
    Unresolved,
    /// No way there, or no answer.
    #[error("it cannot be reached")]
    Unreachable,
    /// The host is there, and has no SSH server on that port.
    #[error("nothing listens on its SSH port")]
    Refused,
    /// The host's key is not among the known ones.
    #[error("its host key is not known")]
    HostKeyUnknown,
    /// The host's key is another than the known one.
    #[error("its host key has changed")]
    HostKeyChanged,
    /// The private key lies open, and `ssh` will not use it.
    #[error("the private key may be read by others")]
    KeyTooOpen,
    /// The private key is not there.
    #[error("the private key is not there")]
    KeyMissing,
    /// The host does not take the key.
    #[error("it does not accept the key")]
    Denied,
    /// None of the above.
    #[error("ssh failed")]
    Other,
}

/// `ssh`'s words, in the order in which they decide: the first that is found wins.
const WORDS: [(&str, Problem); 12] = [
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        Problem::HostKeyChanged,
    ),
    ("Host key verification failed", Problem::HostKeyUnknown),
    ("host key is known for", Problem::HostKeyUnknown),
    ("UNPROTECTED PRIVATE KEY FILE", Problem::KeyTooOpen),
    ("Could not resolve hostname", Problem::Unresolved),
    ("Permission denied (", Problem::Denied),
    ("Too many authentication failures", Problem::Denied),
    ("Connection refused", Problem::Refused),
    ("timed out", Problem::Unreachable),
    ("No route to host", Problem::Unreachable),
    ("Network is unreachable", Problem::Unreachable),
    ("No such file or directory (os error 2)", Problem::NoClient),
];

impl Problem {
    fn of(said: &str) -> Self {
        WORDS
            .iter()
            .find(|(words, _)| said.contains(words))
            .map_or(Self::Other, |(_, problem)| *problem)
    }

    fn advice(self, host: &Host) -> String {
        let ssh = &host.ssh;
        let port = ssh.port.unwrap_or(22);
        let address = &ssh.host;
        let key = ssh.identity.as_ref().map(|path| path.display().to_string());
        let key = key.unwrap_or_else(|| "~/.ssh/id_ed25519".into());
        let known_hosts = ssh.known_hosts.as_ref();
        let known_hosts = known_hosts.map_or_else(
            || "~/.ssh/known_hosts".to_owned(),
            |path| path.display().to_string(),
        );
        let at_port = if port == 22 {
            String::new()
        } else {
            format!("-p {port} ")
        };
        let place = if port == 22 {
            address.clone()
        } else {
            format!("[{address}]:{port}")
        };
        match self {
            Self::NoClient => "type: ordeal doctor --fix".into(),
            Self::Unresolved => "give its address in the inventory, or mend the resolver".into(),
            Self::Unreachable => {
                format!("is it up, and in this network? type: ip route get {address}")
            }
            Self::Refused => format!("is sshd running there, and on port {port}?"),
            Self::HostKeyUnknown => format!(
                "compare its fingerprint, then type: ssh-keyscan {at_port}{address} >> {known_hosts}"
            ),
            Self::HostKeyChanged => format!(
                "if the host was built anew, type: ssh-keygen -f {known_hosts} -R '{place}'; \
                 if it was not, someone stands between"
            ),
            Self::KeyTooOpen => format!("type: chmod 600 {key}"),
            Self::KeyMissing => format!("is {key} the right path?"),
            Self::Denied => {
                let user = ssh
                    .user
                    .as_ref()
                    .map_or_else(String::new, |user| format!("{user}@"));
                format!("type: ssh-copy-id -i {key} {at_port}{user}{address}")
            }
            Self::Other => {
                let user = ssh
                    .user
                    .as_ref()
                    .map_or_else(String::new, |user| format!("{user}@"));
                format!("see more with: ssh -v {at_port}{user}{address}")
            }
        }
    }
}

impl ControlError {
    /// Sorts what `ssh` said about a connection that it could not make.
    pub(super) fn connect(host: &Host, error: &openssh::Error) -> Self {
        let source = std::error::Error::source(error);
        let said = source.map_or_else(|| error.to_string(), ToString::to_string);
        Self::problem(host, Problem::of(&said), last_line(&said))
    }

    /// A private key that is not where the inventory says.
    pub(super) fn key_missing(host: &Host, key: &Path) -> Self {
        Self::problem(host, Problem::KeyMissing, &key.display().to_string())
    }

    fn problem(host: &Host, problem: Problem, said: &str) -> Self {
        Self::Connect {
            host: host.name.clone(),
            address: host.ssh.host.clone(),
            problem,
            said: said.to_owned(),
            advice: problem.advice(host),
        }
    }

    /// Whether trying again may help: what is wrong with keys does not mend itself.
    pub(super) fn may_pass(&self) -> bool {
        use Problem::{Other, Refused, Unreachable};
        matches!(
            self,
            Self::Connect {
                problem: Refused | Unreachable | Other,
                ..
            }
        )
    }

    /// The host that it is about.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Connect { host, .. }
            | Self::Lost { host, .. }
            | Self::Timeout { host, .. }
            | Self::Failed { host, .. }
            | Self::Sudo { host, .. }
            | Self::BadValue { host, .. } => Some(host),
            Self::Local { .. } => None,
        }
    }

    /// Whether the host could not be reached, or was lost: the harness's failure, nobody else's.
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Lost { .. } | Self::Timeout { .. }
        )
    }
}

/// The line that decides: `ssh` says warnings first.
fn last_line(said: &str) -> &str {
    said.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_sorted_by_what_decides() {
        assert_eq!(
            Problem::of("root@10.0.0.1: Permission denied (publickey)."),
            Problem::Denied
        );
        assert_eq!(
            Problem::of(
                "No ED25519 host key is known for x and you have requested strict checking.\nHost key verification failed."
            ),
            Problem::HostKeyUnknown
        );
        assert_eq!(
            Problem::of("kex_exchange_identification: read: reset"),
            Problem::Other
        );
    }
}
