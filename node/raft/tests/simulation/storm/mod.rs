//! A cluster under a storm, then in calm: what one seed brings about, judged as it goes.

pub(crate) mod clients;
pub(crate) mod cluster;
mod disk;
mod effects;
mod event;
mod host;
mod laws;
pub(crate) mod machine;
mod mischief;
mod network;
pub(crate) mod setup;

use std::panic::{AssertUnwindSafe, catch_unwind};

use raft::{MembershipChange, NodeId};

use cluster::Cluster;
use setup::Setup;

const STORM_US: u64 = 10_000_000;
const CALM_US: u64 = 10_000_000;
/// Without pre-votes luck decides: voters that cannot win raise the term, and one that can is told of it
/// only when it is refused.
const CALM_WITHOUT_PRE_VOTE_US: u64 = 40_000_000;

/// A run from beginning to end. Panics when a law is broken.
pub(crate) fn run(seed: u64, adjust: &dyn Fn(&mut Setup)) -> Cluster {
    let mut cluster = Cluster::new(seed, adjust);
    cluster.run(STORM_US);
    calm(&mut cluster);
    cluster
}

/// Mends everything and requires that the cluster gets on: one leader, members that lost their disk
/// caught up under whoever leads, no change left half done, a new entry applied by all members, in
/// the same state.
fn calm(cluster: &mut Cluster) {
    cluster.stormy = false;
    cluster.network.mend();
    cluster.network.calm();
    let nodes: Vec<NodeId> = cluster.hosts.keys().copied().collect();
    for node in nodes {
        let host = cluster.hosts.get_mut(&node).expect("known");
        (host.paused_until_us, host.disk.full_until_us) = (0, 0);
        cluster.start(node);
    }
    let calm_us = if cluster.setup.config.pre_vote {
        CALM_US
    } else {
        CALM_WITHOUT_PRE_VOTE_US
    };
    let end = cluster.now_us + calm_us;
    let mut asked = None;
    while cluster.now_us < end {
        let until = cluster.now_us + 100_000;
        cluster.run(until);
        let Some(leader) = cluster.any_leader() else {
            continue;
        };
        if wiped_caught_up(cluster, leader) {
            cluster.readmit_wiped();
        }
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
                request: None,
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

/// Whether members that lost their disk hold again what the cluster has.
fn wiped_caught_up(cluster: &Cluster, leader: NodeId) -> bool {
    let leader = &cluster.process(leader).raft;
    let mut wiped = cluster.hosts.values().filter(|host| host.disk.wiped);
    wiped.all(|host| {
        !leader.configuration().is_member(host.id)
            || cluster.process(host.id).machine.applied >= leader.commit()
    })
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
pub(crate) fn attempt(seed: u64, adjust: &dyn Fn(&mut Setup)) -> Result<Cluster, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, adjust))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default()
    })
}
