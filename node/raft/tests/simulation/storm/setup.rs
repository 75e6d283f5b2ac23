//! What a seed decides before the first event: how large the cluster is, how it is configured, how
//! fast its disks are and how far its clocks drift.

use raft::{Config, Configuration, Priority};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::mischief::Mischief;
use super::network::pick;

/// What a seed decides before the first event.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) voters: u64,
    pub(crate) learners: u64,
    /// The configuration that all nodes share, but for id, seed and first members.
    pub(crate) config: Config,
    pub(crate) disk_us_max: u64,
    pub(crate) apply_us_max: u64,
    /// Two clocks differ by at most this.
    pub(crate) drift_percent: u64,
    pub(crate) snapshot_every: u64,
    /// What goes wrong, and how often.
    pub(crate) mischief: Mischief,
    /// The only law that is enforced, to see it break.
    pub(crate) only: Option<&'static str>,
    /// Snapshots lack what sessions asked for: wrong on purpose.
    pub(crate) sessions_forgotten: bool,
    /// After a pause, deliver the ticks that are owed, or say that time has lapsed.
    pub(crate) catches_up: bool,
}

impl Setup {
    /// All of it, from the seed's own generator.
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Setup {
        let voters = *pick(rng, &[3, 3, 5, 5, 7]);
        let learners = *pick(rng, &[0, 0, 1, 2]);
        let mut config = Config::new(1, Configuration::default());
        config.election_ticks_min = 20;
        config.election_ticks_max = 40;
        config.heartbeat_ticks = 4;
        config.check_quorum = rng.random_range(0..4) != 0;
        config.pre_vote = rng.random_range(0..4) != 0;
        config.batching = rng.random_range(0..4) != 0;
        config.pipelining = rng.random_range(0..4) != 0;
        config.parallel_append = rng.random_range(0..4) != 0;
        config.asynchronous_apply = rng.random_range(0..4) != 0;
        config.max_batch_bytes = *pick(rng, &[1, 300, 1 << 20]);
        config.inflight_max = *pick(rng, &[1, 4, 64]);
        config.inflight_max_bytes = *pick(rng, &[400, 1 << 20]);
        config.apply_max_bytes = *pick(rng, &[1, 500, 1 << 20]);
        config.apply_inflight_max_bytes = *pick(rng, &[1, 1_000, 1 << 20]);
        config.uncommitted_max_bytes = *pick(rng, &[2_000, 1 << 20]);
        config.priority = *pick(rng, &[Priority::Normal, Priority::Normal, Priority::Low]);
        config.sleep_after_ticks = *pick(rng, &[None, None, Some(10)]);
        let drift_percent = *pick(rng, &[0, 5, 20]);
        if config.check_quorum && rng.random_range(0..2) == 0 {
            config.lease_drift_percent = Some(drift_percent as u32);
        }
        Setup {
            voters,
            learners,
            config,
            disk_us_max: *pick(rng, &[200, 2_000, 20_000]),
            apply_us_max: *pick(rng, &[10, 500, 20_000]),
            drift_percent,
            snapshot_every: *pick(rng, &[10, 50, 1_000]),
            mischief: Mischief::default(),
            only: None,
            sessions_forgotten: false,
            catches_up: rng.random_range(0..2) == 0,
        }
    }
}
