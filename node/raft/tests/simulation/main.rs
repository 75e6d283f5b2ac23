//! Whole clusters under a storm, from one seed each.
//!
//! `ORDEAL_SEED=n` replays one seed exactly; `ORDEAL_SEEDS=n` runs so many.

#[cfg(feature = "bugs")]
mod bugs;
mod clients;
mod cluster;
mod disk;
mod host;
mod laws;
mod machine;
mod mischief;
mod network;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use raft::{MembershipChange, NodeId};

use crate::cluster::{Cluster, Setup};

const STORM_US: u64 = 10_000_000;
const CALM_US: u64 = 10_000_000;

/// A run from beginning to end. Panics when a law is broken.
fn run(seed: u64, adjust: &dyn Fn(&mut Setup)) -> Cluster {
    let mut cluster = Cluster::new(seed, adjust);
    cluster.run(STORM_US);
    calm(&mut cluster);
    cluster
}

/// Mends everything and requires that the cluster gets on: one leader, no change left half done, a
/// new entry applied by all members, in the same state.
fn calm(cluster: &mut Cluster) {
    cluster.stormy = false;
    cluster.network.mend();
    cluster.network.calm();
    let nodes: Vec<NodeId> = cluster.hosts.keys().copied().collect();
    for node in nodes {
        cluster.hosts.get_mut(&node).expect("known").paused_until_us = 0;
        cluster.start(node);
    }
    let end = cluster.now_us + CALM_US;
    let mut asked = None;
    while cluster.now_us < end {
        let until = cluster.now_us + 100_000;
        cluster.run(until);
        let Some(leader) = cluster.any_leader() else {
            continue;
        };
        cluster.readmit_wiped();
        if cluster.process(leader).raft.configuration().is_joint() {
            cluster.change(leader, &MembershipChange::LeaveJoint);
        } else if cluster.hosts.values().any(|host| host.disk.wiped) {
        } else if let Some((term, index)) = asked {
            if cluster.process(leader).raft.term() == term {
                if all_applied(cluster, leader, index) {
                    return;
                }
            } else {
                asked = None;
            }
        } else {
            let command = machine::Command {
                attempt: 0,
                key: 0,
                action: machine::Action::Read,
            };
            asked = cluster
                .process_mut(leader)
                .raft
                .propose(command.encode(0))
                .ok();
            cluster.pump(leader);
        }
    }
    panic!("[progress] after the storm: {}", describe(cluster));
}

fn all_applied(cluster: &Cluster, leader: NodeId, index: u64) -> bool {
    let configuration = cluster.process(leader).raft.configuration();
    !configuration.is_joint()
        && configuration.joining.is_empty()
        && configuration
            .members()
            .all(|id| cluster.process(id).machine.applied >= index)
}

fn describe(cluster: &Cluster) -> String {
    let states = cluster.hosts.values().map(|host| {
        let Some(process) = &host.process else {
            return format!("\n  {}: down", host.id);
        };
        format!(
            "\n  {:?} machine {}",
            process.raft.status(),
            process.machine.applied
        )
    });
    states.collect()
}

/// Runs one seed; the broken law, if one broke.
fn attempt(seed: u64, adjust: &dyn Fn(&mut Setup)) -> Result<Cluster, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, adjust))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default()
    })
}

fn env_number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

#[test]
fn every_law_holds_in_every_storm() {
    if let Some(seed) = env_number("ORDEAL_SEED") {
        let cluster = run(seed, &|_| {});
        println!(
            "seed {seed}: {} events, digest {:x}",
            cluster.events_done, cluster.digest
        );
        return;
    }
    let seeds = env_number("ORDEAL_SEEDS").unwrap_or(500);
    let next = AtomicU64::new(1);
    let failed = Mutex::new(Vec::new());
    let (events, operations, entries) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || !failed.lock().expect("not poisoned").is_empty() {
                        return;
                    }
                    match attempt(seed, &|_| {}) {
                        Ok(cluster) => {
                            events.fetch_add(cluster.events_done, Ordering::Relaxed);
                            operations.fetch_add(cluster.clients.finished, Ordering::Relaxed);
                            entries.fetch_add(cluster.laws.committed(), Ordering::Relaxed);
                        }
                        Err(law) => failed.lock().expect("not poisoned").push((seed, law)),
                    }
                }
            });
        }
    });
    println!("{seeds} seeds: {events:?} events, {operations:?} operations, {entries:?} entries");
    if let Some((seed, law)) = failed.lock().expect("not poisoned").first() {
        panic!(
            "seed {seed} broke a law: {law}\n\
             replay: ORDEAL_SEED={seed} cargo test -p raft --test simulation every_law"
        );
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1..4 {
        let (first, second) = (run(seed, &|_| {}), run(seed, &|_| {}));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.events_done, second.events_done, "seed {seed}");
    }
}
