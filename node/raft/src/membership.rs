//! Who the members are, and how that changes (section 6, thesis 4).
//!
//! A configuration is in force from the moment its entry is in the log, and is undone when the
//! entry is truncated. One change runs at a time. A change of one voter needs no more than its own
//! entry, for the old and the new majority share a voter; several at once go through a joint
//! configuration, where both majorities must agree, and which the leader leaves by itself unless
//! told to wait.
//!
//! A node joins in one of two ways: as a voter at once ([`Change::AddVoter`]), or first as a learner
//! ([`Change::AddLearner`]) that is promoted by hand ([`Change::Promote`]) or by the leader itself
//! once it has caught up ([`Change::Join`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Refused;
use crate::log::{Entry, Index, NodeId, Payload};
use crate::quorum::{self, Ballot};

/// The members. `outgoing` is empty but in a joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Who votes and counts (the incoming half, while joint).
    pub voters: BTreeSet<NodeId>,
    /// The outgoing voters, while joint.
    pub outgoing: BTreeSet<NodeId>,
    /// Who receives the log without counting.
    pub learners: BTreeSet<NodeId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: BTreeSet<NodeId>,
    /// Learners, or those to be on leaving, that the leader promotes as soon as they have caught up.
    pub joining: BTreeSet<NodeId>,
    /// Whether the leader leaves a joint configuration by itself.
    pub auto_leave: bool,
    /// What the caller wants known of each member (addresses, say); opaque here.
    pub context: BTreeMap<NodeId, Bytes>,
}

impl Configuration {
    /// A plain configuration of these voters.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Configuration {
        Configuration {
            voters: voters.into_iter().collect(),
            ..Configuration::default()
        }
    }

    /// Whether two majorities are needed.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the node's vote counts in either half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether the log is sent to the node.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id) || self.learners_next.contains(&id)
    }

    /// All members in order, each once.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        let all: BTreeSet<NodeId> = self
            .voters
            .iter()
            .chain(&self.outgoing)
            .chain(&self.learners)
            .copied()
            .collect();
        all.into_iter()
    }

    /// The greatest value that the configuration has reached: a majority, both while joint.
    pub(crate) fn reached(&self, value_of: impl Fn(NodeId) -> u64) -> u64 {
        quorum::reached(&self.voters, &value_of).min(quorum::reached(&self.outgoing, &value_of))
    }

    /// How a ballot stands: a majority, both while joint.
    pub(crate) fn ballot(&self, vote_of: impl Fn(NodeId) -> Option<bool>) -> Ballot {
        quorum::ballot(&self.voters, &vote_of).and(quorum::ballot(&self.outgoing, &vote_of))
    }

    /// What follows a joint configuration.
    pub(crate) fn left(&self) -> Configuration {
        let mut next = self.clone();
        next.outgoing.clear();
        next.learners.append(&mut next.learners_next);
        next.auto_leave = false;
        let members: BTreeSet<NodeId> = next.members().collect();
        next.context.retain(|id, _| members.contains(id));
        next
    }

    /// What these changes make of a configuration that is not joint.
    pub(crate) fn changed(
        &self,
        changes: &[Change],
        transition: Transition,
    ) -> Result<Configuration, Refused> {
        let mut target = self.clone();
        for change in changes {
            change.apply(&mut target)?;
        }
        if target.voters.is_empty() {
            return Err(Refused::LastVoter);
        }
        if target == *self {
            return Err(Refused::NothingToChange);
        }
        let differ = target.voters.symmetric_difference(&self.voters).count();
        if differ > 1 || (transition != Transition::Automatic && differ > 0) {
            target.outgoing.clone_from(&self.voters);
            target.auto_leave = transition != Transition::JointByHand;
            // A demoted voter still votes in the outgoing half: it becomes a learner on leaving.
            target.learners_next = target
                .learners
                .intersection(&target.outgoing)
                .copied()
                .collect();
            target.learners.retain(|id| !target.outgoing.contains(id));
            for (id, context) in &self.context {
                target.context.entry(*id).or_insert_with(|| context.clone());
            }
        }
        Ok(target)
    }
}

/// A change of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A new voter at once, or a learner made a voter whatever it lacks.
    AddVoter {
        /// The node.
        id: NodeId,
        /// See [`Configuration::context`].
        context: Bytes,
    },
    /// A new learner.
    AddLearner {
        /// The node.
        id: NodeId,
        /// See [`Configuration::context`].
        context: Bytes,
    },
    /// A new learner that the leader makes a voter once it has caught up.
    Join {
        /// The node.
        id: NodeId,
        /// See [`Configuration::context`].
        context: Bytes,
    },
    /// A learner that has caught up becomes a voter.
    Promote {
        /// The node.
        id: NodeId,
    },
    /// A voter becomes a learner.
    Demote {
        /// The node.
        id: NodeId,
    },
    /// A member leaves.
    Remove {
        /// The node.
        id: NodeId,
    },
}

impl Change {
    fn apply(&self, to: &mut Configuration) -> Result<(), Refused> {
        match self {
            Change::AddVoter { id, context } => {
                if !to.voters.insert(*id) {
                    return Err(Refused::AlreadyMember { id: *id });
                }
                to.learners.remove(id);
                to.joining.remove(id);
                to.context.insert(*id, context.clone());
            }
            Change::AddLearner { id, context } | Change::Join { id, context } => {
                if to.is_member(*id) {
                    return Err(Refused::AlreadyMember { id: *id });
                }
                to.learners.insert(*id);
                to.context.insert(*id, context.clone());
                if matches!(self, Change::Join { .. }) {
                    to.joining.insert(*id);
                }
            }
            Change::Promote { id } => {
                if !to.learners.remove(id) {
                    return Err(Refused::NotMember { id: *id });
                }
                to.joining.remove(id);
                to.voters.insert(*id);
            }
            Change::Demote { id } => {
                if !to.voters.remove(id) {
                    return Err(Refused::NotMember { id: *id });
                }
                to.learners.insert(*id);
            }
            Change::Remove { id } => {
                if !to.voters.remove(id) && !to.learners.remove(id) {
                    return Err(Refused::NotMember { id: *id });
                }
                to.joining.remove(id);
                to.context.remove(id);
            }
        }
        Ok(())
    }
}

/// Whether a joint configuration lies between the old and the new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    /// Only when more than one voter changes; left automatically.
    #[default]
    Automatic,
    /// Always; left automatically.
    Joint,
    /// Always; left when [`MembershipChange::LeaveJoint`] says so.
    JointByHand,
}

/// What to do to the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipChange {
    /// All these changes, at once.
    Apply {
        /// The changes, in order.
        changes: Vec<Change>,
        /// By which way.
        transition: Transition,
    },
    /// Leave the joint configuration.
    LeaveJoint,
}

impl MembershipChange {
    /// One change, by the shortest way.
    pub fn one(change: Change) -> MembershipChange {
        MembershipChange::Apply {
            changes: vec![change],
            transition: Transition::Automatic,
        }
    }
}

/// The configurations of the log: the one before its first entry, and one for each entry that
/// changes it.
#[derive(Debug)]
pub(crate) struct Membership {
    base: (Index, Configuration),
    changes: VecDeque<(Index, Configuration)>,
}

impl Membership {
    pub(crate) fn new(index: Index, configuration: Configuration) -> Membership {
        Membership {
            base: (index, configuration),
            changes: VecDeque::new(),
        }
    }

    /// The configuration in force.
    pub(crate) fn current(&self) -> &Configuration {
        &self.changes.back().unwrap_or(&self.base).1
    }

    /// The index of the entry that put it in force.
    pub(crate) fn index(&self) -> Index {
        self.changes.back().unwrap_or(&self.base).0
    }

    /// The configuration in force at `index`.
    pub(crate) fn at(&self, index: Index) -> &Configuration {
        let newest = self.changes.iter().rev().find(|(at, _)| *at <= index);
        &newest.unwrap_or(&self.base).1
    }

    /// The configuration in force at `index`, and all later ones.
    pub(crate) fn since(&self, index: Index) -> impl Iterator<Item = &Configuration> {
        let later = self.changes.iter().filter(move |(at, _)| *at > index);
        std::iter::once(self.at(index)).chain(later.map(|(_, configuration)| configuration))
    }

    pub(crate) fn appended(&mut self, entry: &Entry) {
        if let Payload::Configuration(configuration) = &entry.payload {
            self.changes
                .push_back((entry.index, (**configuration).clone()));
        }
    }

    pub(crate) fn truncated(&mut self, from: Index) {
        while self.changes.back().is_some_and(|(index, _)| *index >= from) {
            self.changes.pop_back();
        }
    }

    pub(crate) fn compacted(&mut self, up_to: Index) {
        while self
            .changes
            .front()
            .is_some_and(|(index, _)| *index <= up_to)
        {
            self.base = self.changes.pop_front().expect("just seen");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODES: u64 = 6;

    fn change() -> impl Strategy<Value = Change> {
        (0_u8..6, 1..=NODES).prop_map(|(kind, id)| {
            let context = Bytes::new();
            match kind {
                0 => Change::AddVoter { id, context },
                1 => Change::AddLearner { id, context },
                2 => Change::Join { id, context },
                3 => Change::Promote { id },
                4 => Change::Demote { id },
                _ => Change::Remove { id },
            }
        })
    }

    fn transition() -> impl Strategy<Value = Transition> {
        prop_oneof![
            Just(Transition::Automatic),
            Just(Transition::Joint),
            Just(Transition::JointByHand)
        ]
    }

    fn first() -> impl Strategy<Value = Configuration> {
        let nodes = || prop::collection::btree_set(1..=NODES, 1..=5);
        (nodes(), nodes()).prop_map(|(voters, others)| {
            let learners = others.difference(&voters).copied().collect();
            Configuration {
                learners,
                ..Configuration::of_voters(voters)
            }
        })
    }

    /// Whether these nodes, all for it, win a ballot.
    fn is_quorum(configuration: &Configuration, nodes: u64) -> bool {
        configuration.ballot(|id| Some(nodes & (1 << id) != 0)) == Ballot::Won
    }

    /// The slow way: no quorum of one is disjoint from a quorum of the other.
    fn quorums_meet(one: &Configuration, other: &Configuration) -> bool {
        let all = 1_u64 << (NODES + 1);
        let quorums = (0..all).filter(|&nodes| is_quorum(one, nodes));
        quorums
            .into_iter()
            .all(|nodes| !is_quorum(other, !nodes & (all - 1)))
    }

    proptest! {
        #[test]
        fn neighbours_share_a_voter_and_keep_their_sets_apart(
            first in first(),
            changes in prop::collection::vec(change(), 1..5),
            transition in transition(),
        ) {
            let Ok(next) = first.changed(&changes, transition) else { return Ok(()) };
            prop_assert!(quorums_meet(&first, &next), "{next:?}");
            let last = if next.is_joint() { next.left() } else { next.clone() };
            prop_assert!(quorums_meet(&next, &last), "{last:?}");
            for configuration in [&next, &last] {
                prop_assert!(!configuration.voters.is_empty());
                prop_assert!(configuration.learners.is_disjoint(&configuration.voters));
                let to_learn = &configuration.learners | &configuration.learners_next;
                prop_assert!(configuration.joining.is_subset(&to_learn));
            }
            prop_assert!(!last.is_joint() && last.learners_next.is_empty());
        }
    }
}
