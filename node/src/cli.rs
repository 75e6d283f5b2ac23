//! The command line: serve, inspect, recover.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Member};
use crate::server::Server;
use crate::{inspect, recover};

/// A replicated key-value node
#[derive(Debug, Parser)]
#[command(name = "ordeal-node", version, max_term_width = 100)]
struct Cli {
    /// Log as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a node until it is told to stop (SIGTERM hands leadership over first)
    Serve(Box<Config>),
    /// Print what a data directory holds and verify every sum in it; changes nothing
    Inspect {
        /// The data directory
        dir: PathBuf,
        /// Print every record of the log
        #[arg(long)]
        records: bool,
    },
    /// Make a node that is not running the sole voter, after a majority was lost for good; says
    /// what may be lost with that
    Recover {
        /// The survivor's data directory
        dir: PathBuf,
        /// Where the node is reached from now on, if that changes
        #[arg(long, value_name = "ID=PEER_ADDR,HTTP_ADDR")]
        member: Option<Member>,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if cli.log_json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
    let done = match cli.verb {
        Verb::Serve(config) => serve(&config),
        Verb::Inspect { dir, records } => inspect::print(&dir, records),
        Verb::Recover { dir, member, yes } => recover::run(&dir, member.as_ref(), yes),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ordeal-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> anyhow::Result<ExitCode> {
    let mut runtime = if config.limits.threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut several = tokio::runtime::Builder::new_multi_thread();
        several.worker_threads(config.limits.threads);
        several
    };
    // Whatever the process logs is said of this node: every thread stands in its span for life,
    // which costs nothing when tasks change places.
    let span = tracing::info_span!("node", id = config.id, process = std::process::id());
    let _span = span.clone().entered();
    runtime.on_thread_start(move || std::mem::forget(span.clone().entered()));
    // Memory comes and goes in small pieces, and a huge page is zeroed whole for the first of them.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        // What a failed fsync left on the disk is unknown: no orderly stop, no further word.
        let mut server = Server::start(config, || std::process::exit(74)).await?;
        tokio::select! {
            stopped = stop_signal() => stopped?,
            error = server.failed() => return Err(error),
        }
        server.stop().await?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
