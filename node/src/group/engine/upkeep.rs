//! What the loop looks after beside its groups' traffic: who leads what, who is a member, whether
//! the disk moves, and what the status says.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use raft::{NodeId, Priority};

use super::Engine;
use crate::group::GroupId;
use crate::group::snapshots::disk_bytes;
use crate::group::status::{GroupStatus, MemberAddress, NodeStatus};
use crate::storage::Append;

/// Looks after which somebody who is no member is forgotten.
const STRANGER_SWEEPS: u32 = 5;
/// Groups moved to another leader between two looks.
const REBALANCE_MAX: usize = 32;

impl Engine {
    /// Forgets who has been no member of any group for a while: until then it may have to learn
    /// that, and what it passed on may have to be answered.
    pub(super) fn forget_strangers(&mut self) {
        let configurations = || {
            self.members
                .iter()
                .map(|member| member.raft.configuration())
        };
        if configurations().all(|configuration| configuration.voters.is_empty()) {
            return;
        }
        let mut strangers = self.addresses.all();
        strangers.retain(|id, _| !configurations().any(|members| members.is_member(*id)));
        self.strangers.retain(|id, _| strangers.contains_key(id));
        for id in strangers.into_keys() {
            *self.strangers.entry(id).or_default() += 1;
        }
        if self
            .strangers
            .values()
            .any(|sweeps| *sweeps >= STRANGER_SWEEPS)
        {
            let strangers = &self.strangers;
            self.addresses.retain(|id| {
                strangers
                    .get(&id)
                    .is_none_or(|sweeps| *sweeps < STRANGER_SWEEPS)
            });
            self.call_peers();
        }
    }

    /// Gives the node its vote back in a group whose state says that it was taken back: it has
    /// applied that, so it has everything that was committed before.
    pub(super) fn readmit(&mut self, group: GroupId) {
        let member = &mut self.members[group as usize];
        let known = || {
            self.groups[group as usize]
                .state
                .read()
                .incarnation(self.settings.id)
        };
        if member.wiped && known() == Some(self.settings.incarnation) {
            tracing::info!(parent: &member.span(), "readmitted: this node votes again");
            member.wiped = false;
            member.raft.readmit();
            let append = Append {
                wiped: Some(false),
                ..Append::default()
            };
            self.wal.append(group, append, || {});
        }
    }

    /// Moves leadership of some groups to a voter that is rather to lead: one that is more eager, or
    /// as eager and leads fewer. What a node that never stands for election leads, it was told to.
    pub(super) fn rebalance(&mut self) {
        let own = self.settings.id;
        if self.settings.priority == Priority::Never {
            return;
        }
        let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
        for member in &self.members {
            for voter in &member.raft.configuration().voters {
                led.entry(*voter).or_default();
            }
            if let Some(leader) = member.leader {
                *led.entry(leader).or_default() += 1;
            }
        }
        led.retain(|id, _| *id == own || self.links.is_connected(*id));
        let count = led.get(&own).copied().unwrap_or(0);
        let order = |(id, count): (NodeId, usize)| (self.priority_of(id), count, id);
        let Some((priority, least, idlest)) = led.into_iter().map(order).min() else {
            return;
        };
        let moves = if priority < self.settings.priority {
            count
        } else {
            count.saturating_sub(least) / 2
        };
        let moves = moves.min(REBALANCE_MAX);
        let ours = self
            .members
            .iter()
            .filter(|member| member.leads)
            .map(|member| member.id);
        for group in ours.take(moves).collect::<Vec<GroupId>>() {
            let Some(member) = self.touch(group) else {
                continue;
            };
            let status = member.raft.status();
            let fit = |peer: &raft::PeerStatus| peer.id == idlest && peer.active && peer.lag == 0;
            if status.progress.iter().any(fit) {
                tracing::debug!(parent: &member.span(), to = idlest, "rebalancing");
                let _ = member.raft.transfer_leadership(idlest);
            }
        }
    }

    /// Sets the protocol's times anew when peers have become slower or faster to answer.
    pub(super) fn follow_round_trips(&mut self) {
        let Some((trips, set)) = &mut self.round_trips else {
            return;
        };
        let trip = trips.slowest();
        let ticks = self.settings.ticks_for(trip);
        if std::mem::replace(set, ticks) == ticks {
            return;
        }
        tracing::info!(
            round_trip_ms = trip.as_millis() as u64,
            heartbeat_ticks = ticks.heartbeat,
            election_ticks = ticks.election_min,
            "timeouts follow the slowest peer"
        );
        self.every(|raft| {
            let set = raft.set_ticks(ticks.heartbeat, ticks.election_min, ticks.election_max);
            set.expect("never below what was configured");
        });
    }

    /// A leader whose disk hangs is no good leader, however well its heartbeats go.
    pub(super) fn watch_disk(&mut self) {
        let stalled = self.wal.stalled_for() > self.election_timeout();
        if stalled && !self.stalled && self.members.iter().any(|member| member.leads) {
            tracing::warn!("the disk hangs");
            self.hand_over();
        }
        self.stalled = stalled;
    }

    /// Looks how large the data directory is, without making the loop wait for it.
    pub(super) fn measure_disk(&self) {
        let (data, bytes) = (self.settings.data.clone(), Arc::clone(&self.disk_bytes));
        tokio::task::spawn_blocking(move || bytes.store(disk_bytes(&data), Ordering::Relaxed));
    }

    /// Hands over what this node leads, since it stops; what nobody can take it gives up.
    pub(super) fn leave(&mut self) {
        for group in self.hand_over() {
            self.members[group as usize].leads = false;
        }
    }

    /// How eager a node is to lead.
    fn priority_of(&self, id: NodeId) -> Priority {
        if id == self.settings.id {
            self.settings.priority
        } else {
            self.links.priority(id)
        }
    }

    /// Offers the groups that this node leads to the voter that is the most eager, and the furthest
    /// with each. Gives those for which there is none.
    fn hand_over(&mut self) -> Vec<GroupId> {
        let own = self.settings.id;
        let mut left = Vec::new();
        for group in 0..self.members.len() as GroupId {
            if !self.members[group as usize].raft.is_leader() {
                continue;
            }
            let links = Arc::clone(&self.links);
            let Some(member) = self.touch(group) else {
                continue;
            };
            let status = member.raft.status();
            let heir = status
                .progress
                .iter()
                .filter(|peer| peer.active && peer.id != own)
                .filter(|peer| status.configuration.voters.contains(&peer.id))
                .map(|peer| (links.priority(peer.id), Reverse(peer.matched), peer.id))
                .filter(|(priority, ..)| *priority != Priority::Never)
                .min();
            if let Some((.., heir)) = heir {
                tracing::info!(parent: &member.span(), to = heir, "handing leadership over");
                let _ = member.raft.transfer_leadership(heir);
            } else {
                left.push(group);
            }
        }
        left
    }

    pub(super) fn status(&self) -> NodeStatus {
        let groups: Vec<GroupStatus> = self
            .members
            .iter()
            .map(|member| GroupStatus::new(member.id, member.raft.status()))
            .collect();
        let first = &groups[0];
        NodeStatus {
            id: self.settings.id,
            cluster: self.settings.cluster.clone(),
            version: env!("CARGO_PKG_VERSION"),
            role: first.role.clone(),
            term: first.term,
            leader: first.leader,
            commit: first.commit,
            applied: first.applied,
            members: self
                .addresses
                .all()
                .into_iter()
                .map(|(id, member)| MemberAddress {
                    id,
                    peer: member.peer,
                    http: member.http,
                })
                .collect(),
            uptime_ms: self.started.elapsed().as_millis() as u64,
            disk_bytes: self.disk_bytes.load(Ordering::Relaxed),
            groups,
        }
    }
}
