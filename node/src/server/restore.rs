//! From what the disk remembers to cores and states.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use parking_lot::RwLock;
use raft::{Configuration, Raft, Restored};
use tokio::sync::oneshot;

use crate::bug::{Bug, Bugs};
use crate::config::Config;
use crate::group::{GroupId, Groups, Shared, load_snapshot};
use crate::state_machine::State;
use crate::storage::{
    Append, Disk, HeedlessDisk, RealDisk, Snapshots, Storage, UnsyncedDisk, Wal, WalOptions,
};

pub(super) fn open(
    config: &Config,
    bugs: &Bugs,
    on_failure: impl FnOnce() + Send + 'static,
) -> anyhow::Result<Storage> {
    let options = WalOptions {
        segment_len: WalOptions::SEGMENT_LEN,
        on_failure: Box::new(move |_| on_failure()),
    };
    let disk: Arc<dyn Disk> = if bugs.has(Bug::SyncSkipped) {
        Arc::new(UnsyncedDisk)
    } else if bugs.has(Bug::SyncErrorIgnored) {
        Arc::new(HeedlessDisk(RealDisk))
    } else {
        Arc::new(RealDisk)
    };
    let storage = Storage::open_on(disk, &config.data, &config.cluster, config.id, options)?;
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

/// What a group's core starts from.
pub(super) struct Seed {
    config: raft::Config,
    restored: Restored,
    /// The replicated time of the state that goes with it.
    clock_ms: u64,
}

/// Each group as the disk remembers it: its state, and what its core starts from.
pub(super) fn restore(
    config: &Config,
    bugs: &Bugs,
    snapshots: &Snapshots,
    mut restored: BTreeMap<GroupId, Restored>,
) -> anyhow::Result<(Vec<Seed>, Groups)> {
    let known = restored.keys().next_back().map_or(0, |last| last + 1);
    if known > config.groups {
        return Err(anyhow!(
            "the data directory has {known} groups: start with --groups {known}, not {}",
            config.groups
        ));
    }
    let founders = founders(config)?;
    let (mut seeds, mut groups) = (Vec::new(), Groups::new());
    for group in 0..config.groups {
        let mut restored = restored.remove(&group).unwrap_or_default();
        if bugs.has(Bug::LostOnRestart) {
            let kept = restored.entries.len().saturating_sub(8).max(2);
            restored.entries.truncate(kept);
        }
        let mut state = match &restored.snapshot {
            Some(meta) => load_snapshot(snapshots, group, meta)?,
            None => State::default(),
        };
        if bugs.has(Bug::NoDedup) {
            state.forget_sessions();
        }
        seeds.push(Seed {
            config: core_config(config, bugs, founders.clone()),
            restored,
            clock_ms: state.clock_ms(),
        });
        groups.push(Arc::new(Shared {
            state: RwLock::new(state),
            ..Shared::default()
        }));
    }
    Ok((seeds, groups))
}

/// The cores; of a node that lost its disk, with that on the new disk before they do anything.
pub(super) async fn awaken(
    wal: &Wal,
    seeds: Vec<Seed>,
    wiped: bool,
) -> anyhow::Result<Vec<(Raft, u64)>> {
    if wiped {
        tracing::warn!(
            "the cluster knows this node by another data directory: its disk was lost. It follows \
             and has no vote until an operator readmits it"
        );
        for group in 0..seeds.len() as GroupId {
            let (stable, done) = oneshot::channel();
            let append = Append {
                wiped: Some(true),
                ..Append::default()
            };
            wal.append(group, append, move || {
                let _ = stable.send(());
            });
            done.await.context("the log's disk failed")?;
        }
    }
    let awake = |(group, seed): (usize, Seed)| {
        let restored = Restored {
            wiped: seed.restored.wiped || wiped,
            ..seed.restored
        };
        let raft = Raft::new(seed.config, restored);
        anyhow::Ok((
            raft.with_context(|| format!("cannot start group {group}"))?,
            seed.clock_ms,
        ))
    };
    seeds.into_iter().enumerate().map(awake).collect()
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
        election_ticks_min: config.times.election_ticks,
        election_ticks_max: 2 * config.times.election_ticks,
        heartbeat_ticks: config.times.heartbeat_ticks,
        // A cluster of one group is not worth the wait for its waking.
        sleep_after_ticks: (config.groups > 1).then_some(4 * config.times.election_ticks),
        lease_drift_percent: Some(config.times.lease_drift_percent),
        batching: !config.switches.no_batching,
        priority: config.priority,
        pre_vote: !config.switches.no_pre_vote,
        pipelining: !config.switches.no_pipelining,
        parallel_append: !config.switches.no_parallel_append,
        asynchronous_apply: !config.switches.no_async_apply,
        #[cfg(feature = "bugs")]
        bugs: bugs.core,
        ..raft::Config::new(config.id, founders)
    }
}
