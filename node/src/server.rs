//! The composition root: opens the disk, the sockets and the groups, and joins them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use parking_lot::RwLock;
use raft::{Configuration, Raft, Restored};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::bug::{Bug, Bugs};
use crate::config::Config;
use crate::group::{
    AddressBook, Engine, GroupId, Groups, Inbox, Parts, Settings, Shared, load_snapshot,
};
use crate::http::{Api, Limits, Metrics};
use crate::router::Router;
use crate::state_machine::State;
use crate::storage::{DirectoryLock, Snapshots, Storage, Wal, WalOptions};
use crate::tls;
use crate::transport::{Transport, TransportOptions};

/// A node that runs.
#[derive(Debug)]
pub struct Server {
    http: std::net::SocketAddr,
    engine: JoinHandle<()>,
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
        let http = bind(config.http, "--http").await?;
        let peers = bind(config.peer, "--peer").await?;
        let tls = tls::load(config)?;
        let admin_token = match &config.admin_token_file {
            None => None,
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let token = read.with_context(|| format!("cannot read {}", path.display()))?;
                Some(token.trim().to_owned())
            }
        };
        let metrics = Arc::new(Metrics::default());
        let storage =
            ::metrics::with_local_recorder(metrics.recorder(), || open(config, on_disk_failure))?;
        let Storage {
            identity,
            wal,
            snapshots,
            restored,
            lock,
            ..
        } = storage;
        let (rafts, groups) = restore(config, &bugs, &snapshots, restored)?;

        let (inbox, arrivals) = Inbox::new();
        let transport = Arc::new(Transport::start(
            TransportOptions {
                id: config.id,
                cluster: config.cluster.clone(),
                incarnation: identity.incarnation,
                tls: tls.as_ref().map(|tls| tls.peers.clone()),
                queue_len_max: TransportOptions::QUEUE_LEN_MAX,
            },
            peers,
            Arc::new(inbox),
        ));
        let named = config.member_map().map_err(|message| anyhow!(message))?;
        let addresses = Arc::new(AddressBook::new(named));
        let (requests_in, requests) = mpsc::channel(config.queue_max);
        let engine = Engine::new(Parts {
            rafts,
            groups: groups.clone(),
            wal: wal.clone(),
            snapshots,
            links: Arc::clone(&transport),
            arrivals,
            requests,
            addresses: Arc::clone(&addresses),
            settings: settings(config),
        });
        let router = Arc::new(Router::new(
            requests_in,
            groups,
            Arc::clone(&transport),
            addresses,
            config.timeout(),
            bugs,
        ));
        let limits = Limits {
            body_bytes: config.body_bytes_max.min(wal.command_len_max() / 2),
            key_bytes: 4 << 10,
            connections: config.connections_max,
            timeout: config.timeout(),
            reads: config.reads,
        };
        let api = Arc::new(Api {
            router,
            metrics,
            limits,
            admin_token,
        });
        let (stop_engine, engine_stopped) = watch::channel(false);
        let (stop_web, web_stopped) = watch::channel(false);
        let address = http.local_addr()?;
        tracing::info!(id = config.id, http = %address, peer = %config.peer, "serving");
        Ok(Server {
            http: address,
            engine: tokio::spawn(engine.run(engine_stopped)),
            web: tokio::spawn(crate::http::serve(
                http,
                tls.map(|tls| tls.clients),
                api,
                web_stopped,
            )),
            stop_engine,
            stop_web,
            wal,
            _transport: transport,
            _lock: lock,
        })
    }

    /// Where clients are served.
    pub fn http_address(&self) -> std::net::SocketAddr {
        self.http
    }

    /// Stops in good order: hands leadership over, answers what is in flight, closes the log.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.stop_engine.send_replace(true);
        let _ = self.engine.await;
        self.stop_web.send_replace(true);
        let _ = self.web.await;
        let wal = self.wal;
        let _ = tokio::task::spawn_blocking(move || wal.close()).await;
    }

    /// Stops as a crash does, but that what was written stays written: for tests.
    pub async fn crash(self) {
        self.engine.abort();
        self.web.abort();
        let _ = self.engine.await;
        let _ = self.web.await;
        self.stop_web.send_replace(true);
        let wal = self.wal;
        let _ = tokio::task::spawn_blocking(move || wal.close()).await;
    }
}

async fn bind(address: std::net::SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen at {flag} {address}: is it this machine's, and free?")
    })
}

fn open(config: &Config, on_failure: impl FnOnce() + Send + 'static) -> anyhow::Result<Storage> {
    let options = WalOptions {
        segment_len: WalOptions::SEGMENT_LEN,
        on_failure: Box::new(move |_| on_failure()),
    };
    let storage = Storage::open(&config.data, &config.cluster, config.id, options)?;
    let report = &storage.report;
    tracing::info!(
        segments = report.segments,
        records = report.records,
        bytes = report.bytes,
        closed = report.closed,
        "log read"
    );
    if let Some(torn) = &report.torn {
        tracing::warn!(
            path = %torn.path.display(), offset = torn.offset,
            "the log's unfinished end was cut off: nobody had been told that it was stable"
        );
    }
    Ok(storage)
}

/// A core and a state for each group, as the disk remembers them.
fn restore(
    config: &Config,
    bugs: &Bugs,
    snapshots: &Snapshots,
    mut restored: BTreeMap<GroupId, Restored>,
) -> anyhow::Result<(Vec<(Raft, u64)>, Groups)> {
    let known = restored.keys().next_back().map_or(0, |last| last + 1);
    if known > config.groups {
        return Err(anyhow!(
            "the data directory has {known} groups: start with --groups {known}, not {}",
            config.groups
        ));
    }
    let founders = founders(config)?;
    let (mut rafts, mut groups) = (Vec::new(), Groups::new());
    for group in 0..config.groups {
        let mut restored = restored.remove(&group).unwrap_or_default();
        if bugs.has(Bug::LostOnRestart) {
            let kept = restored.entries.len().saturating_sub(8);
            restored.entries.truncate(kept);
        }
        let mut state = match &restored.snapshot {
            Some(meta) => load_snapshot(snapshots, group, meta)?,
            None => State::default(),
        };
        if bugs.has(Bug::NoDedup) {
            state.forget_sessions();
        }
        let core = core_config(config, bugs, founders.clone());
        let raft =
            Raft::new(core, restored).with_context(|| format!("cannot start group {group}"))?;
        rafts.push((raft, state.clock_ms()));
        groups.push(Arc::new(Shared {
            state: RwLock::new(state),
        }));
    }
    Ok((rafts, groups))
}

/// The first configuration, with everyone's addresses; none for a node that joins.
fn founders(config: &Config) -> anyhow::Result<Configuration> {
    if config.join {
        return Ok(Configuration::default());
    }
    let members = config.member_map().map_err(|message| anyhow!(message))?;
    let mut configuration = Configuration::of_voters(members.keys().copied());
    for (id, addresses) in members {
        configuration.context.insert(id, addresses.to_context());
    }
    Ok(configuration)
}

#[cfg_attr(
    not(feature = "bugs"),
    expect(unused_variables, reason = "no bugs, no settings")
)]
fn core_config(config: &Config, bugs: &Bugs, founders: Configuration) -> raft::Config {
    raft::Config {
        seed: rand::random(),
        election_ticks_min: config.election_ticks,
        election_ticks_max: 2 * config.election_ticks,
        heartbeat_ticks: config.heartbeat_ticks,
        lease_drift_percent: Some(config.lease_drift_percent),
        batching: !config.no_batching,
        pipelining: !config.no_pipelining,
        parallel_append: !config.no_parallel_append,
        asynchronous_apply: !config.no_async_apply,
        #[cfg(feature = "bugs")]
        bugs: bugs.core,
        ..raft::Config::new(config.id, founders)
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        id: config.id,
        cluster: config.cluster.clone(),
        tick: std::time::Duration::from_millis(config.tick_ms),
        election_ticks: config.election_ticks,
        apply_inline: config.no_async_apply,
        proposals_max: config.queue_max,
        snapshot_entries: config.snapshot_entries,
        keep_entries: config.keep_entries,
        data: config.data.clone(),
    }
}
