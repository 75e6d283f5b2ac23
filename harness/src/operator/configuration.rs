//! Who votes, who only listens, and what a change would make of it. Pure arithmetic: this is what
//! an operator is told before anything is done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A group's members.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct Configuration {
    /// Who votes.
    pub voters: BTreeSet<u64>,
    /// Who votes too while the configuration is joint.
    pub outgoing: BTreeSet<u64>,
    /// Who only receives the log.
    pub learners: BTreeSet<u64>,
    /// Learners that will vote as soon as they have caught up.
    pub joining: BTreeSet<u64>,
    /// The log entry that put it in force.
    pub index: u64,
}

/// A member to be added, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its address for peers.
    pub peer: String,
    /// Its address for clients.
    pub http: String,
}

/// One step of a change; several in one request take effect together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Let it vote at once.
    AddVoter(Member),
    /// Let it receive the log.
    AddLearner(Member),
    /// Let a learner vote.
    Promote(u64),
    /// Make a voter a learner.
    Demote(u64),
    /// Let it go.
    Remove(u64),
}

impl Configuration {
    /// The configuration that changes lead to; refused in words when one of them makes no sense.
    pub fn after(&self, changes: &[Change]) -> Result<Self, String> {
        if !self.outgoing.is_empty() {
            return Err("a change is under way already; wait until it is done".into());
        }
        let mut after = self.clone();
        for change in changes {
            after.apply(change)?;
        }
        if after.voters.is_empty() {
            return Err("no voter would be left".into());
        }
        Ok(after)
    }

    fn apply(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::AddVoter(Member { id, .. }) | Change::AddLearner(Member { id, .. })
                if self.contains(*id) =>
            {
                return Err(format!("{id} is a member already"));
            }
            Change::AddVoter(member) => {
                self.voters.insert(member.id);
            }
            Change::AddLearner(member) => {
                self.learners.insert(member.id);
            }
            Change::Promote(id) => {
                if !self.learners.remove(id) && !self.joining.remove(id) {
                    return Err(format!("{id} is no learner"));
                }
                self.voters.insert(*id);
            }
            Change::Demote(id) => {
                if !self.voters.remove(id) {
                    return Err(format!("{id} is no voter"));
                }
                self.learners.insert(*id);
            }
            Change::Remove(id) => {
                if !self.contains(*id) {
                    return Err(format!("{id} is no member"));
                }
                self.voters.remove(id);
                self.learners.remove(id);
                self.joining.remove(id);
            }
        }
        Ok(())
    }

    /// Whether it has this member, voting or not.
    pub fn contains(&self, id: u64) -> bool {
        [&self.voters, &self.outgoing, &self.learners, &self.joining]
            .into_iter()
            .any(|members| members.contains(&id))
    }

    /// How many votes decide.
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// How many voters may fail while the rest still decides.
    pub fn failures_survived(&self) -> usize {
        self.voters.len().saturating_sub(self.quorum())
    }

    /// Whether these nodes can decide, in both halves of a joint configuration.
    pub fn decides(&self, nodes: &BTreeSet<u64>) -> bool {
        let majority = |voters: &BTreeSet<u64>| {
            voters.is_empty() || voters.intersection(nodes).count() > voters.len() / 2
        };
        !self.voters.is_empty() && majority(&self.voters) && majority(&self.outgoing)
    }
}

/// What speaks against a change, as sentences. `able` are the nodes that answer and have the log.
pub fn objections(
    before: &Configuration,
    after: &Configuration,
    able: &BTreeSet<u64>,
) -> Vec<String> {
    let mut objections = Vec::new();
    let votes = |configuration: &Configuration| {
        let able = configuration.voters.intersection(able).count();
        format!(
            "{able} of {} voters, and {} decide",
            configuration.voters.len(),
            configuration.quorum()
        )
    };
    if !before.decides(able) {
        objections.push(format!("there is no quorum now: only {}", votes(before)));
    }
    if !after.decides(able) {
        objections.push(format!(
            "it would lose the quorum: it leaves {}",
            votes(after)
        ));
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(ids: &[u64]) -> Configuration {
        Configuration {
            voters: ids.iter().copied().collect(),
            ..Configuration::default()
        }
    }

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn member(id: u64) -> Member {
        Member {
            id,
            peer: format!("10.0.0.{id}:7100"),
            http: format!("10.0.0.{id}:7000"),
        }
    }

    #[test]
    fn quorums_and_failures() {
        let table = [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2)];
        for (count, quorum, survived) in table {
            let configuration = voters(&(1..=count).collect::<Vec<_>>());
            assert_eq!(
                (configuration.quorum(), configuration.failures_survived()),
                (quorum, survived)
            );
        }
    }

    #[test]
    fn a_replacement_is_one_step() {
        let mut before = voters(&[1, 2, 3]);
        before.learners.insert(4);
        let after = before
            .after(&[Change::Promote(4), Change::Remove(2)])
            .expect("it is sound");
        assert_eq!(after.voters, set(&[1, 3, 4]));
        assert!(objections(&before, &after, &set(&[1, 3, 4])).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let before = voters(&[1, 2, 3]);
        for (change, words) in [
            (Change::AddLearner(member(2)), "member already"),
            (Change::Promote(2), "no learner"),
            (Change::Demote(9), "no voter"),
            (Change::Remove(9), "no member"),
        ] {
            let refused = before.after(&[change]).expect_err("it makes no sense");
            assert!(refused.contains(words), "{refused}");
        }
        assert!(voters(&[1]).after(&[Change::Remove(1)]).is_err());
    }

    #[test]
    fn removing_one_that_lives_beside_one_that_died_is_objected_to() {
        let before = voters(&[1, 2, 3]);
        let after = before.after(&[Change::Remove(1)]).expect("it is sound");
        let objections = objections(&before, &after, &set(&[1, 2]));
        assert_eq!(
            objections,
            ["it would lose the quorum: it leaves 1 of 2 voters, and 2 decide"]
        );
    }

    #[test]
    fn an_empty_voter_counts_against_the_quorum() {
        let before = voters(&[1]);
        let after = before
            .after(&[Change::AddVoter(member(2))])
            .expect("it is sound");
        assert_eq!(objections(&before, &after, &set(&[1])).len(), 1);
    }

    #[test]
    fn both_halves_of_a_joint_configuration_decide() {
        let joint = Configuration {
            outgoing: set(&[1, 2, 3]),
            ..voters(&[3, 4, 5])
        };
        assert!(!joint.decides(&set(&[3, 4, 5])));
        assert!(joint.decides(&set(&[2, 3, 4])));
        assert!(joint.after(&[Change::Remove(3)]).is_err());
    }
}
