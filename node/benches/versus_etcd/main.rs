//! How fast the node is, beside etcd, on the machine at hand.
//!
//! Three nodes with fsync on and their clients share this machine and its loopback. The systems
//! take turns within each round, so that what disturbs one disturbs the other; a ratio is taken
//! between neighbours, and the median of the rounds stands in the table.
//!
//! A client of HTTP/1.1 has a connection to itself. Of HTTP/2, and of etcd's gRPC over it, eight
//! share one.
//!
//! ```text
//! cargo bench -p ordeal-node --bench versus_etcd -- compare
//! cargo bench -p ordeal-node --bench versus_etcd -- switches
//! cargo bench -p ordeal-node --bench versus_etcd -- groups    (reads, failover, restart, soak, open)
//! ```

mod bare;
mod cluster;
mod grpc;
mod http;
mod http2;
mod load;
mod measure;
mod special;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use cluster::{Recipe, System};
use measure::Wire;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Measures the node, beside etcd, on the machine at hand.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
    /// Given by cargo; of no meaning here
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// What all measurements share.
#[derive(Args, Clone, Debug)]
struct Common {
    /// The node's program
    #[arg(long, global = true, default_value = env!("CARGO_BIN_EXE_ordeal-node"))]
    node: PathBuf,
    /// One more argument for our nodes, once for each
    #[arg(long = "node-arg", global = true, allow_hyphen_values = true)]
    node_args: Vec<String>,
    /// etcd's program
    #[arg(long, global = true, default_value = "etcd")]
    etcd: PathBuf,
    /// Where the nodes' directories are made, and deleted again
    #[arg(long, global = true, default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// Seconds that each figure is measured for
    #[arg(long, global = true, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, global = true, default_value_t = 1.0)]
    warm_up: f64,
    /// How often everything is measured
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// Closed-loop clients, a column for each
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    clients: Vec<usize>,
    /// Bytes of a value
    #[arg(long, global = true, default_value_t = 256)]
    value_len: usize,
    /// Different keys
    #[arg(long, global = true, default_value_t = 10_000)]
    keys: u64,
    /// Of keys and values
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Puts and linearizable reads, beside etcd and the bare minimum
    Compare {
        /// Leave the others out
        #[arg(long)]
        alone: bool,
        /// Leave the reads out
        #[arg(long)]
        puts_only: bool,
        /// Leave the puts out
        #[arg(long, conflicts_with = "puts_only")]
        reads_only: bool,
    },
    /// What batching, pipelining, parallel append and asynchronous apply bring, alone and together
    Switches,
    /// Reads of each mode, of the leader alone and spread over all nodes
    Reads,
    /// An open loop at a fixed rate: latency counts from when a request was due
    Open {
        /// Puts per second
        #[arg(long, default_value_t = 10_000.0)]
        rate: f64,
    },
    /// Time until a thousand groups have a leader, and what they cost when idle
    Groups {
        /// Groups
        #[arg(long, default_value_t = 1000)]
        count: u32,
    },
    /// From the leader's kill to the first acknowledged write
    Failover,
    /// Time until a node with much state serves again
    Restart {
        /// Bytes of values
        #[arg(long, default_value_t = 1 << 30)]
        bytes: u64,
    },
    /// Memory and disk under a long load at a fixed rate
    Soak {
        /// Puts per second
        #[arg(long, default_value_t = 10_000.0)]
        rate: f64,
    },
    /// Be a node of the bare minimum
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        log: PathBuf,
        #[arg(long = "follower")]
        followers: Vec<SocketAddr>,
    },
}

impl Common {
    fn recipe(&self, system: System) -> Recipe {
        let (program, arguments) = match system {
            System::Ordeal => (self.node.clone(), self.node_args.clone()),
            System::Etcd => (self.etcd.clone(), Vec::new()),
            System::Bare => ("/proc/self/exe".into(), Vec::new()),
        };
        Recipe {
            system,
            program,
            arguments,
            scratch: self.scratch.clone(),
        }
    }

    fn plan(&self, operation: load::Operation) -> load::Plan {
        load::Plan {
            operation,
            warm_up: Duration::from_secs_f64(self.warm_up),
            measured: Duration::from_secs_f64(self.seconds),
            rate: None,
            keys: self.keys,
            value_len: self.value_len,
            seed: self.seed,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Cli {
        common,
        verb,
        bench: _,
    } = Cli::parse();
    let (mut ended, mut interrupted) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    // Whatever is dropped takes its nodes and their directories along.
    tokio::select! {
        done = measure(&common, verb) => done,
        _ = ended.recv() => bail!("told to end; the nodes are stopped"),
        _ = interrupted.recv() => bail!("interrupted; the nodes are stopped"),
    }
}

async fn measure(common: &Common, verb: Verb) -> Result<()> {
    match verb {
        Verb::Compare {
            alone,
            puts_only,
            reads_only,
        } => {
            let rows: &[Wire] = if alone {
                &[Wire::Http1, Wire::Http2]
            } else {
                &[Wire::Http1, Wire::Http2, Wire::Bare, Wire::Grpc]
            };
            measure::compare(common, rows, !reads_only, !puts_only).await
        }
        Verb::Switches => measure::switches(common).await,
        Verb::Reads => measure::reads(common).await,
        Verb::Open { rate } => special::open(common, rate).await,
        Verb::Groups { count } => special::groups(common, count).await,
        Verb::Failover => special::failover(common).await,
        Verb::Restart { bytes } => special::restart(common, bytes).await,
        Verb::Soak { rate } => special::soak(common, rate).await,
        Verb::Bare {
            listen,
            log,
            followers,
        } => bare::serve(listen, &log, &followers).await,
    }
}
