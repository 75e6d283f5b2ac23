//! What `ordeal-node serve` is told, checked before anything is touched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use raft::{NodeId, Priority};

use crate::bug::Bugs;
use crate::group::ReadMode;
use crate::router::Patience;

/// How to run a node.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// This node's id: a positive number, never given to another node
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub id: NodeId,
    /// Where the log and the snapshots live
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Address to serve clients at
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Address to serve peers at
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9080")]
    pub peer: SocketAddr,
    /// The cluster's name; nodes of another cluster are turned away
    #[arg(long, value_name = "NAME", default_value = "ordeal")]
    pub cluster: String,
    /// A member of the first configuration, once for each (with --join: one to look for, if any);
    /// not read when the data directory has a configuration
    #[arg(long = "member", value_name = "ID=PEER_ADDR,HTTP_ADDR")]
    pub members: Vec<Member>,
    /// Wait to be added to a running cluster instead of founding one
    #[arg(long)]
    pub join: bool,
    /// Groups to hash the keys to; fixed when the cluster is founded
    #[arg(long, value_name = "G", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub groups: u32,
    /// Leave leadership of the groups where it falls instead of spreading it over the nodes that are
    /// the most eager to lead
    #[arg(long)]
    pub no_rebalance: bool,
    /// Whether this node stands for election as soon as others do (normal), after all others (low;
    /// it hands over to one of them that comes), or only when it is told to (never)
    #[arg(long, value_name = "WHEN", default_value = "normal", value_parser = priority)]
    pub priority: Priority,
    /// How reads are served that do not say
    #[arg(long, value_name = "MODE", default_value = "index")]
    pub reads: ReadMode,

    /// How long things take.
    #[command(flatten)]
    pub times: Times,
    /// How much is let in and kept.
    #[command(flatten)]
    pub limits: Limits,
    /// Who is let in.
    #[command(flatten)]
    pub security: Security,
    /// What is switched off.
    #[command(flatten)]
    pub switches: Switches,

    /// A known bug to switch on
    #[cfg(feature = "bugs")]
    #[arg(long = "bug", value_name = "NAME", help_heading = "Broken on purpose")]
    pub bugs: Vec<String>,
}

/// How long things take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Time")]
pub struct Times {
    /// Length of a tick, the unit of the timeouts
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub tick_ms: u64,
    /// Ticks between a leader's heartbeats
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub heartbeat_ticks: u32,
    /// Ticks without a leader before an election; drawn from N to 2N
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..))]
    pub election_ticks: u32,
    /// Whether heartbeats and elections keep to the ticks above, or take longer on slow links:
    /// a heartbeat as long as the slowest peer's round trip (at most half of --election-ticks),
    /// an election timeout of ten heartbeats, neither ever shorter than the ticks above
    #[arg(long, value_name = "HOW", default_value = "fixed")]
    pub timeouts: Timeouts,
    /// Bound of the drift between two nodes' clocks that lease reads rely on
    #[arg(long, value_name = "PERCENT", default_value_t = 10)]
    pub lease_drift_percent: u32,
    /// How long an operation may take before its outcome is called unknown
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ms: u64,
}

/// How much is let in and kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Applied entries between two snapshots of a group
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot for slow followers
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub keep_entries: u64,
    /// Bytes of log entries held, by all groups together, above which snapshots are taken earlier and
    /// fewer entries kept behind them (a log may always be as large as the state)
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    pub log_bytes_max: usize,
    /// Largest request body
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub body_bytes_max: usize,
    /// Client connections at once
    #[arg(long, value_name = "N", default_value_t = 4_096)]
    pub connections_max: usize,
    /// Requests waiting for a group at once; more are turned away
    #[arg(long, value_name = "N", default_value_t = 8_192)]
    pub queue_max: usize,
    /// Threads that serve; one is enough on a small machine
    #[arg(long, value_name = "N", default_value_t = default_threads())]
    pub threads: usize,
}

/// Who is let in.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Security")]
pub struct Security {
    /// Certificate chain (PEM) for clients and peers
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities (PEM) that must have signed the other side's certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// The name that every node's certificate is issued for
    #[arg(long, value_name = "NAME", default_value = "ordeal-node")]
    pub tls_name: String,
    /// File with the token that the admin verbs then want (authorization: Bearer TOKEN)
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// What makes the node fast, and can be switched off.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Optimisations, switched off to measure them")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Switches {
    /// Send each entry in a message of its own
    #[arg(long)]
    pub no_batching: bool,
    /// Wait for each message's answer before the next
    #[arg(long)]
    pub no_pipelining: bool,
    /// Send entries only after the leader's own disk has them
    #[arg(long)]
    pub no_parallel_append: bool,
    /// Ask for votes at once, without asking first whether they would be given
    #[arg(long)]
    pub no_pre_vote: bool,
    /// Apply on the group's own loop
    #[arg(long)]
    pub no_async_apply: bool,
}

/// How the protocol's times are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Timeouts {
    /// As configured.
    Fixed,
    /// Longer than configured where round trips are long.
    Auto,
}

/// A member of the first configuration and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its addresses.
    pub addresses: Addresses,
}

/// Where a member is reached: `host:port` each.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Addresses {
    /// By its peers.
    pub peer: String,
    /// By clients.
    pub http: String,
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Member, String> {
        let parsed = text.split_once('=').and_then(|(id, addresses)| {
            let (peer, http) = addresses.split_once(',')?;
            Some((id.parse::<NodeId>().ok().filter(|id| *id > 0)?, peer, http))
        });
        match parsed {
            Some((id, peer, http)) if is_address(peer) && is_address(http) => {
                let addresses = Addresses {
                    peer: peer.to_owned(),
                    http: http.to_owned(),
                };
                Ok(Member { id, addresses })
            }
            _ => {
                Err("expected ID=PEER_ADDR,HTTP_ADDR such as 1=10.0.0.1:9080,10.0.0.1:8080".into())
            }
        }
    }
}

/// Whether the text has the shape `host:port`.
pub fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn priority(text: &str) -> Result<Priority, String> {
    match text {
        "normal" => Ok(Priority::Normal),
        "low" => Ok(Priority::Low),
        "never" => Ok(Priority::Never),
        _ => Err("must be one of normal, low, never".into()),
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4))
}

impl Config {
    /// Refuses what cannot work, with what to do instead.
    pub fn validate(&self) -> Result<(), String> {
        let members = self.member_map()?;
        if !self.join && !members.is_empty() && !members.contains_key(&self.id) {
            return Err(format!(
                "the --member list lacks this node's own id {}",
                self.id
            ));
        }
        if self.times.heartbeat_ticks * 2 > self.times.election_ticks {
            return Err(format!(
                "--election-ticks {} must be at least twice --heartbeat-ticks {}",
                self.times.election_ticks, self.times.heartbeat_ticks
            ));
        }
        Ok(())
    }

    /// The first configuration's members by id.
    pub fn member_map(&self) -> Result<BTreeMap<NodeId, Addresses>, String> {
        let mut map = BTreeMap::new();
        for member in &self.members {
            if map.insert(member.id, member.addresses.clone()).is_some() {
                return Err(format!("--member {} is given twice", member.id));
            }
        }
        Ok(map)
    }

    /// The bugs that are switched on.
    pub fn bugs(&self) -> Result<Bugs, String> {
        #[cfg(feature = "bugs")]
        return Bugs::named(&self.bugs);
        #[cfg(not(feature = "bugs"))]
        Ok(Bugs::default())
    }

    /// How long to wait for what: for another leader as long as the longest election timeout and
    /// half of it for the election itself, for a former one's last words some heartbeats.
    pub fn patience(&self) -> Patience {
        let times = &self.times;
        let ticks = |ticks| Duration::from_millis(times.tick_ms) * ticks;
        Patience {
            operation: Duration::from_millis(times.timeout_ms),
            election: ticks(3 * times.election_ticks),
            last_words: ticks(4 * times.heartbeat_ticks),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        config: Config,
    }

    fn check(flags: &str) -> Result<(), String> {
        let line = ["x", "--id", "1", "--data", "d"]
            .into_iter()
            .chain(flags.split_whitespace());
        Line::try_parse_from(line)
            .map_err(|error| error.to_string())?
            .config
            .validate()
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do_instead() {
        let founding = "--member 1=a:1,a:2 --member 2=b:1,b:2";
        assert_eq!(check(founding), Ok(()));
        assert_eq!(check("--join --member 2=b:1,b:2"), Ok(()));
        for (flags, reason) in [
            (
                "--member 2=b:1,b:2".to_owned(),
                "lacks this node's own id 1",
            ),
            (
                format!("{founding} --member 2=c:1,c:2"),
                "--member 2 is given twice",
            ),
            ("--member 1=a:1".into(), "expected ID=PEER_ADDR,HTTP_ADDR"),
            (
                "--member 0=a:1,a:2".into(),
                "expected ID=PEER_ADDR,HTTP_ADDR",
            ),
            (
                "--member 1=a:1,a:x".into(),
                "expected ID=PEER_ADDR,HTTP_ADDR",
            ),
            ("--heartbeat-ticks 30".into(), "at least twice"),
            ("--reads soon".into(), "index, lease, follower, stale"),
            ("--priority high".into(), "one of normal, low, never"),
            ("--tls-cert c.pem".into(), "--tls-key"),
        ] {
            let error = check(&flags).unwrap_err();
            assert!(error.contains(reason), "{flags}: {error}");
        }
    }

    #[test]
    fn a_context_keeps_the_addresses() {
        let member: Member = "3=[::1]:9080,node3:8080".parse().unwrap();
        assert_eq!(member.id, 3);
        let context = member.addresses.to_context();
        assert_eq!(Addresses::from_context(&context), Some(member.addresses));
        assert_eq!(Addresses::from_context(b"{"), None);
    }
}
