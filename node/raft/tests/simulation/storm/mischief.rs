//! What goes wrong, and what operators do meanwhile.

use raft::{Change, MembershipChange, NodeId, Transition};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::cluster::Cluster;
use super::event::Event;
use super::host::Host;
use super::network::pick;

/// What may happen, each with its weight, and the longest time between two of them.
#[derive(Clone, Debug)]
pub(crate) struct Mischief {
    pub(crate) pause_max_us: u64,
    pub(crate) crash: u32,
    pub(crate) partition: u32,
    pub(crate) mend: u32,
    pub(crate) weather: u32,
    pub(crate) stop: u32,
    pub(crate) wipe: u32,
    pub(crate) fill: u32,
    pub(crate) hand_over: u32,
    pub(crate) campaign: u32,
    pub(crate) readmit: u32,
    pub(crate) change: u32,
}

impl Default for Mischief {
    fn default() -> Mischief {
        Mischief {
            pause_max_us: 400_000,
            crash: 14,
            partition: 12,
            mend: 10,
            weather: 8,
            stop: 8,
            wipe: 4,
            fill: 5,
            hand_over: 6,
            campaign: 2,
            readmit: 6,
            change: 30,
        }
    }
}

/// What may happen to a cluster.
type Happen = fn(&mut Cluster);

impl Cluster {
    /// One thing happens, and the next is on its way.
    pub(crate) fn mischief(&mut self) {
        let all = self.setup.mischief.clone();
        let next = self.rng.random_range(20_000..all.pause_max_us);
        self.schedule(next, Event::Mischief);
        let choices: [(u32, Happen); 11] = [
            (all.crash, Cluster::crash_some),
            (all.partition, Cluster::partition),
            (all.mend, |it| it.network.mend()),
            (all.weather, |it| it.network.weather(&mut it.rng)),
            (all.stop, Cluster::stop_one),
            (all.wipe, Cluster::wipe_one),
            (all.fill, Cluster::fill_one),
            (all.hand_over, Cluster::hand_over),
            (all.campaign, Cluster::campaign),
            (all.readmit, Cluster::readmit_wiped),
            (all.change, Cluster::change_members),
        ];
        let mut drawn = self
            .rng
            .random_range(0..choices.iter().map(|(weight, _)| weight).sum());
        for (weight, happen) in choices {
            if drawn < weight {
                return happen(self);
            }
            drawn -= weight;
        }
    }

    fn any_node(&mut self) -> NodeId {
        let nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        *pick(&mut self.rng, &nodes)
    }

    /// A node that believes it leads, in half of the draws, or any.
    fn often_the_leader(&mut self) -> NodeId {
        let leader = self
            .any_leader()
            .filter(|_| self.rng.random_range(0..2) == 0);
        leader.unwrap_or_else(|| self.any_node())
    }

    /// A node that believes it leads.
    pub(crate) fn any_leader(&mut self) -> Option<NodeId> {
        let now = self.now_us;
        let leads = |host: &&super::host::Host| host.leads() && host.paused_until_us <= now;
        let leaders: Vec<NodeId> = self
            .hosts
            .values()
            .filter(leads)
            .map(|host| host.id)
            .collect();
        if leaders.is_empty() {
            None
        } else {
            Some(*pick(&mut self.rng, &leaders))
        }
    }

    fn crash_some(&mut self) {
        let everyone = self.rng.random_range(0..6) == 0;
        let leader = self
            .any_leader()
            .filter(|_| self.rng.random_range(0..2) == 0);
        let nodes: Vec<NodeId> = match leader {
            _ if everyone => self.hosts.keys().copied().collect(),
            Some(leader) => vec![leader],
            None => vec![self.any_node()],
        };
        for node in nodes {
            self.crash(node);
            let down = self.rng.random_range(1_000..1_000_000);
            self.schedule(down, Event::Restart { node });
        }
    }

    fn partition(&mut self) {
        let mut nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        nodes.shuffle(&mut self.rng);
        if let Some(leader) = self.any_leader()
            && self.rng.random_range(0..2) == 0
        {
            nodes.sort_by_key(|id| *id != leader);
        }
        let size = self.rng.random_range(1..=nodes.len() / 2);
        let (some, others) = nodes.split_at(size);
        self.lose_sight(some, others);
        let both_ways = self.rng.random_range(0..3) != 0;
        if self.rng.random_range(0..2) == 0 {
            self.network.cut(some, others, both_ways);
        } else {
            self.network.cut(others, some, both_ways);
        }
    }

    /// A process stands still for a while, and does not know.
    fn stop_one(&mut self) {
        let node = self.often_the_leader();
        let length = self.rng.random_range(10_000..1_500_000);
        let until = self.now_us + length;
        self.hosts.get_mut(&node).expect("known").paused_until_us = until;
    }

    /// A disk is lost: one at a time, and only where enough others hold what it held.
    fn wipe_one(&mut self) {
        let Some(leader) = self.any_leader() else {
            return;
        };
        let node = self.any_node();
        let spare = |host: &Host| {
            let Some(process) = &host.process else {
                return false;
            };
            let configuration = process.raft.configuration();
            configuration.voters.is_empty()
                || configuration.voters.len() >= 3 && !configuration.is_joint()
        };
        let whole = self
            .hosts
            .values()
            .all(|host| spare(host) && !host.disk.wiped);
        if !whole || node == leader {
            return;
        }
        self.crash(node);
        self.hosts.get_mut(&node).expect("known").disk.lose();
        self.laws.forgets(node);
        self.schedule(50_000, Event::Restart { node });
    }

    /// A disk is full for a while: it takes no proposal, and what is to be written waits.
    fn fill_one(&mut self) {
        let node = self.often_the_leader();
        let length = self.rng.random_range(10_000..2_000_000);
        let until = self.now_us + length;
        let host = self.hosts.get_mut(&node).expect("known");
        host.disk.full_until_us = until;
    }

    fn hand_over(&mut self) {
        let Some(leader) = self.any_leader() else {
            return;
        };
        let to = self.any_node();
        // A refusal is an answer like any other.
        let _ = self.process_mut(leader).raft.transfer_leadership(to);
        self.pump(leader);
        if self.rng.random_range(0..4) == 0 {
            // The old leader is not told of its successor.
            let others: Vec<NodeId> = self
                .hosts
                .keys()
                .copied()
                .filter(|id| *id != leader)
                .collect();
            self.network.cut(&others, &[leader], false);
            self.lose_sight(&others, &[leader]);
        }
    }

    fn campaign(&mut self) {
        let node = self.any_node();
        let host = &self.hosts[&node];
        if host.process.is_some() && host.paused_until_us <= self.now_us {
            self.process_mut(node).raft.campaign();
            self.pump(node);
        }
    }

    /// What names a node's disk.
    fn generation(&self, id: NodeId) -> bytes::Bytes {
        vec![self.hosts[&id].disk.generation].into()
    }

    /// Removes a member whose disk was lost, and takes it back as a learner.
    pub(crate) fn readmit_wiped(&mut self) {
        let Some(leader) = self.any_leader() else {
            return;
        };
        let Some(id) = self
            .hosts
            .values()
            .find(|host| host.disk.wiped)
            .map(|host| host.id)
        else {
            return;
        };
        let configuration = self.process(leader).raft.configuration();
        let context = self.generation(id);
        let change = if configuration.is_joint() {
            MembershipChange::LeaveJoint
        } else if configuration.is_member(id) && configuration.context.get(&id) != Some(&context) {
            MembershipChange::one(Change::Remove { id })
        } else if configuration.is_member(id) {
            return;
        } else {
            MembershipChange::one(Change::Join { id, context })
        };
        self.change(leader, &change);
    }

    pub(crate) fn change(&mut self, leader: NodeId, change: &MembershipChange) {
        // A refusal is an answer like any other.
        let _ = self.process_mut(leader).raft.change_membership(change);
        self.pump(leader);
    }

    fn change_members(&mut self) {
        let Some(leader) = self.any_leader() else {
            return;
        };
        let configuration = self.process(leader).raft.configuration();
        if configuration.is_joint() {
            return self.change(leader, &MembershipChange::LeaveJoint);
        }
        if self.hosts.values().any(|host| host.disk.wiped) {
            return;
        }
        let voters = configuration.voters.len();
        let many = self.rng.random_range(0..3) == 0;
        let count = if many {
            self.rng.random_range(2..=4)
        } else {
            1
        };
        let mut changes = Vec::new();
        let mut nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        nodes.shuffle(&mut self.rng);
        let mut left = voters;
        for id in nodes.into_iter().take(count) {
            let context = self.generation(id);
            let configuration = self.process(leader).raft.configuration();
            let takes_away = configuration.voters.contains(&id);
            if takes_away && left <= 2 {
                continue;
            }
            left -= usize::from(takes_away);
            changes.push(match self.rng.random_range(0..2) {
                0 if takes_away => Change::Demote { id },
                _ if takes_away => Change::Remove { id },
                _ => self.draw_addition(leader, id, context),
            });
        }
        let transition = *pick(
            &mut self.rng,
            &[
                Transition::Automatic,
                Transition::Joint,
                Transition::JointByHand,
            ],
        );
        self.change(
            leader,
            &MembershipChange::Apply {
                changes,
                transition,
            },
        );
    }

    fn draw_addition(&mut self, leader: NodeId, id: NodeId, context: bytes::Bytes) -> Change {
        let learner = self
            .process(leader)
            .raft
            .configuration()
            .learners
            .contains(&id);
        match self.rng.random_range(0..3) {
            _ if learner && self.rng.random_range(0..3) != 0 => Change::Promote { id },
            _ if learner => Change::Remove { id },
            0 => Change::AddVoter { id, context },
            1 => Change::AddLearner { id, context },
            _ => Change::Join { id, context },
        }
    }
}
