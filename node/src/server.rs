//! The composition root: opens the disk, the sockets and the groups, and joins them.

mod restore;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::admission::{self, Ask};
use crate::config::{Config, Timeouts};
use crate::group::{AddressBook, Engine, Inbox, Parts, Settings};
use crate::http::{Api, Limits, Metrics};
use crate::router::Router;
use crate::storage::{DirectoryLock, Wal};
use crate::tls::{self, Tls};
use crate::transport::{Transport, TransportOptions};
use restore::Seed;

/// Longest key that clients may use.
const KEY_BYTES_MAX: usize = 4 << 10;

/// A node that runs.
#[derive(Debug)]
pub struct Server {
    http: SocketAddr,
    engine: JoinHandle<anyhow::Result<()>>,
    registration: JoinHandle<()>,
    web: JoinHandle<()>,
    stop_engine: watch::Sender<bool>,
    stop_web: watch::Sender<bool>,
    wal: Wal,
    _transport: Arc<Transport>,
    _lock: DirectoryLock,
}

impl Server {
    /// Starts a node. Must be called within a tokio runtime; `on_disk_failure` is called when the
    /// log's disk failed, after which nothing of this node may be believed.
    ///
    /// # Errors
    /// Says what could not be opened, and what to do about it.
    pub async fn start(
        config: &Config,
        on_disk_failure: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Server> {
        config.validate().map_err(|message| anyhow!(message))?;
        let bugs = config.bugs().map_err(|message| anyhow!(message))?;
        let named = config.member_map().map_err(|message| anyhow!(message))?;
        let tls = tls::load(config)?;
        let admin_token = admin_token(config)?;
        let http = bind(config.http, "--http").await?;
        let peers = bind(config.peer, "--peer").await?;
        let metrics = Arc::new(Metrics::install());

        let storage = restore::open(config, &bugs, on_disk_failure)?;
        let identity = (config.id, storage.identity.incarnation);
        let fresh = storage.restored.values().all(raft::Restored::is_fresh);
        let (seeds, groups) =
            restore::restore(config, &bugs, &storage.snapshots, storage.restored)?;
        let (inbox, arrivals) = Inbox::new(groups.clone(), identity.1);
        let options = transport_options(config, identity.1, tls.as_ref());
        let links = Arc::new(Transport::start(options, peers, Arc::new(inbox)));
        let calls = named
            .iter()
            .map(|(id, member)| (*id, member.peer.clone()))
            .collect();
        links.set_peers(&calls);
        let addresses = Arc::new(AddressBook::new(named));
        let (requests_in, requests) = mpsc::channel(config.limits.queue_max);
        let router = Arc::new(Router::new(
            identity,
            requests_in,
            groups.clone(),
            Arc::clone(&links),
            Arc::clone(&addresses),
            config.patience(),
            bugs,
        ));

        let parts = Parts {
            rafts: Vec::new(),
            groups,
            wal: storage.wal.clone(),
            snapshots: storage.snapshots,
            links: Arc::clone(&links),
            arrivals,
            requests,
            addresses,
            settings: settings(config, identity.1),
        };
        let (stop_engine, stopped) = watch::channel(false);
        let ask = fresh.then_some(Ask {
            peers: calls,
            joins: config.join,
        });
        let engine = tokio::spawn(run_groups(parts, seeds, ask, stopped));
        let registration = tokio::spawn(admission::register(
            Arc::clone(&router),
            identity.0,
            identity.1,
        ));

        let limits = limits(config, &storage.wal);
        let api = Arc::new(Api {
            router,
            metrics,
            limits,
            admin_token,
        });
        let (stop_web, web_stopped) = watch::channel(false);
        let address = http.local_addr()?;
        let web = crate::http::serve(http, tls.map(|tls| tls.clients), api, web_stopped);
        tracing::info!(http = %address, peer = %config.peer, "serving");
        Ok(Server {
            http: address,
            engine,
            registration,
            web: tokio::spawn(web),
            stop_engine,
            stop_web,
            wal: storage.wal,
            _transport: links,
            _lock: storage.lock,
        })
    }

    /// Where clients are served.
    pub fn http_address(&self) -> std::net::SocketAddr {
        self.http
    }

    /// Returns when the groups' loop has ended without being told to: nothing works any more.
    pub async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.engine).await {
            Ok(Ok(())) => anyhow!("the groups' loop ended"),
            Ok(Err(error)) => error,
            Err(error) => anyhow!(error).context("the groups' loop failed"),
        }
    }

    /// Stops in good order: hands leadership over, answers what is in flight, closes the log.
    pub async fn stop(self) -> anyhow::Result<()> {
        tracing::info!("stopping");
        self.stop_engine.send_replace(true);
        self.engine.await??;
        self.registration.abort();
        self.stop_web.send_replace(true);
        let _ = self.web.await;
        let wal = self.wal;
        tokio::task::spawn_blocking(move || wal.close()).await?;
        Ok(())
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen at {flag} {address}: is it this machine's, and free?")
    })
}

/// Wakes the groups and runs them until told to stop. A node whose disk is new first asks its peers
/// whether it lost an older one.
async fn run_groups(
    mut parts: Parts,
    seeds: Vec<Seed>,
    ask: Option<Ask>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Settings {
        id, incarnation, ..
    } = parts.settings;
    let wiped = match ask {
        None => false,
        Some(ask) => tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            wiped = admission::is_wiped(&parts.links, id, incarnation, &ask) => wiped,
        },
    };
    parts.rafts = restore::awaken(&parts.wal, seeds, wiped).await?;
    Engine::new(parts).run(stopped).await;
    Ok(())
}

fn admin_token(config: &Config) -> anyhow::Result<Option<String>> {
    let Some(path) = &config.security.admin_token_file else {
        return Ok(None);
    };
    let read = std::fs::read_to_string(path);
    let token = read.with_context(|| format!("cannot read {}", path.display()))?;
    if token.trim().is_empty() {
        return Err(anyhow!("{} holds no token", path.display()));
    }
    Ok(Some(token.trim().to_owned()))
}

fn transport_options(config: &Config, incarnation: u64, tls: Option<&Tls>) -> TransportOptions {
    TransportOptions {
        id: config.id,
        cluster: config.cluster.clone(),
        incarnation,
        priority: config.priority,
        tls: tls.map(|tls| tls.peers.clone()),
        queue_len_max: TransportOptions::QUEUE_LEN_MAX,
    }
}

fn limits(config: &Config, wal: &Wal) -> Limits {
    Limits {
        body_bytes: config.limits.body_bytes_max.min(wal.command_len_max() / 2),
        key_bytes: KEY_BYTES_MAX,
        connections: config.limits.connections_max,
        timeout: config.patience().operation,
        reads: config.reads,
    }
}

fn settings(config: &Config, incarnation: u64) -> Settings {
    Settings {
        id: config.id,
        incarnation,
        priority: config.priority,
        cluster: config.cluster.clone(),
        rebalance: !config.no_rebalance,
        tick: Duration::from_millis(config.times.tick_ms),
        election_ticks: config.times.election_ticks,
        heartbeat_ticks: config.times.heartbeat_ticks,
        timeouts_follow: config.times.timeouts == Timeouts::Auto,
        apply_inline: config.switches.no_async_apply,
        proposals_max: config.limits.queue_max,
        snapshot_entries: config.limits.snapshot_entries,
        keep_entries: config.limits.keep_entries,
        log_bytes_max: config.limits.log_bytes_max / config.groups as usize,
        data: config.data.clone(),
    }
}
