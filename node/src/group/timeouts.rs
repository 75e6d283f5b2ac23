//! Timeouts that follow the network: how long peers take to answer is measured, and on slow links
//! heartbeats are sent more rarely and elections wait longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use raft::NodeId;
use tokio::task::JoinSet;

use super::{AddressBook, Forwarded, Task};
use crate::transport::{Request, Transport};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// A peer that takes longer than this is away rather than slow.
const PATIENCE: Duration = Duration::from_secs(2);
/// An election waits for so many heartbeats.
const HEARTBEATS: u32 = 10;
/// How much of a new measurement goes into what is believed: one hiccup moves little.
const WEIGHT: u32 = 8;

/// The times of the protocol, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) heartbeat: u32,
    pub(super) election_min: u32,
    pub(super) election_max: u32,
}

impl Ticks {
    /// A heartbeat for each round trip and ten to an election timeout, none shorter than configured.
    /// Nor is a heartbeat longer than half the configured election timeout: a peer whose own links
    /// are fast keeps to that one.
    pub(super) fn for_round_trip(
        trip: Duration,
        tick: Duration,
        heartbeat: u32,
        election: u32,
    ) -> Ticks {
        let trip = trip.as_nanos().div_ceil(tick.as_nanos().max(1));
        let trip = u32::try_from(trip).unwrap_or(u32::MAX);
        let heartbeat = trip.clamp(heartbeat, (election / 2).max(heartbeat));
        let election_min = election.max(HEARTBEATS * heartbeat);
        Ticks {
            heartbeat,
            election_min,
            election_max: 2 * election_min,
        }
    }
}

/// Measures for as long as it lives.
#[derive(Debug)]
pub(super) struct RoundTrips {
    slowest_us: Arc<AtomicU64>,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl RoundTrips {
    pub(super) fn measure(
        own: NodeId,
        links: Arc<Transport>,
        addresses: Arc<AddressBook>,
    ) -> RoundTrips {
        let slowest_us = Arc::new(AtomicU64::new(0));
        let mut task = JoinSet::new();
        task.spawn(run(own, links, addresses, Arc::clone(&slowest_us)));
        RoundTrips {
            slowest_us,
            _task: task,
        }
    }

    /// The longest that a peer takes to answer.
    pub(super) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.load(Ordering::Relaxed))
    }
}

async fn run(
    own: NodeId,
    links: Arc<Transport>,
    addresses: Arc<AddressBook>,
    slowest_us: Arc<AtomicU64>,
) {
    let mut trips: BTreeMap<NodeId, Duration> = BTreeMap::new();
    loop {
        let peers = addresses.all();
        trips.retain(|peer, _| peers.contains_key(peer));
        let mut asked = JoinSet::new();
        for peer in peers.into_keys().filter(|peer| *peer != own) {
            let links = Arc::clone(&links);
            asked.spawn(async move { Some((peer, round_trip(&links, peer).await?)) });
        }
        for (peer, took) in asked.join_all().await.into_iter().flatten() {
            let trip = trips.entry(peer).or_insert(took);
            *trip = (*trip * (WEIGHT - 1) + took) / WEIGHT;
        }
        let slowest = trips.values().max().copied().unwrap_or_default();
        slowest_us.store(slowest.as_micros() as u64, Ordering::Relaxed);
        tokio::time::sleep(EVERY).await;
    }
}

/// How long a peer takes to answer the least of questions.
async fn round_trip(links: &Transport, peer: NodeId) -> Option<Duration> {
    let task = Task::Identify;
    let question = Request::Forward(Forwarded { group: 0, task }.encode());
    let begun = Instant::now();
    links.request(peer, &question, PATIENCE).await.ok()?;
    Some(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_links_stretch_the_timeouts_within_bounds() {
        let ticks = |trip_ms| {
            let tick = Duration::from_millis(10);
            let ticks = Ticks::for_round_trip(Duration::from_millis(trip_ms), tick, 5, 50);
            (ticks.heartbeat, ticks.election_min, ticks.election_max)
        };
        assert_eq!(ticks(0), (5, 50, 100));
        assert_eq!(ticks(50), (5, 50, 100));
        assert_eq!(ticks(101), (11, 110, 220));
        assert_eq!(ticks(2_000), (25, 250, 500));
    }
}
