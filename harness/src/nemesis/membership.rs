//! Membership: a node is added, promoted, removed or replaced, or leadership is handed over.
//!
//! It stays: what comes after it finds another configuration, and there is nothing to heal. What
//! would leave the voters that can be reached without a quorum is not done, before the change nor
//! after it, as far as we can see from outside; that counts as bad timing.
//!
//! Runs everywhere, on systems whose file says how (`members:`).

use std::collections::BTreeSet;
use std::fmt;

use rand::Rng;
use rand::seq::IndexedRandom;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{NemesisError, Plan, Target, View};
use crate::system::{Change, Roster};

/// The members are changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// What is done.
    #[serde(rename = "do")]
    pub verb: Verb,
    /// To whom: who comes, who is promoted, who goes, who leads. Without it, a random one of those
    /// that it can safely be done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Target>,
    /// For `replace`, who comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// For `add` and `replace`, how the one that comes gets its log.
    #[serde(skip_serializing_if = "Join::is_default")]
    pub join: Join,
    /// It is asked for even when it would leave no quorum that can be reached: a sound system puts
    /// it off or refuses it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unsafely: bool,
}

/// What is done to the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// A node becomes a voter.
    Add,
    /// A node receives the log and does not vote.
    AddLearner,
    /// A learner becomes a voter.
    Promote,
    /// A member goes.
    Remove,
    /// A node becomes a voter and another goes, in one step.
    Replace,
    /// Another node leads.
    Transfer,
}

/// How a new voter gets the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// It receives the log as a learner, and votes when it has it.
    #[default]
    SyncFirst,
    /// It votes at once: it counts against the quorum before it has the log.
    VoteAtOnce,
}

impl Join {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The form of a map, for reading.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Map {
    #[serde(rename = "do")]
    verb: Verb,
    #[serde(default)]
    on: Option<Target>,
    #[serde(default)]
    with: Option<String>,
    #[serde(default)]
    join: Join,
    #[serde(default)]
    unsafely: bool,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The system is asked for this.
    Ask {
        change: Change,
        target: String,
        other: Option<String>,
    },
    /// This learner is waited for.
    CatchUp(String),
}

impl Membership {
    /// The changes that it asks the system for.
    pub fn needs(&self) -> &'static [Change] {
        match (self.verb, self.join) {
            (Verb::Add, Join::VoteAtOnce) => &[Change::Add],
            (Verb::Add, Join::SyncFirst) => &[Change::AddLearner, Change::Promote],
            (Verb::AddLearner, _) => &[Change::AddLearner],
            (Verb::Promote, _) => &[Change::Promote],
            (Verb::Remove, _) => &[Change::Remove],
            (Verb::Replace, Join::VoteAtOnce) => &[Change::Add, Change::Remove],
            (Verb::Replace, Join::SyncFirst) => &[Change::AddLearner, Change::Replace],
            (Verb::Transfer, _) => &[Change::Transfer],
        }
    }

    /// The nodes that it names.
    pub(super) fn names(&self) -> Vec<String> {
        let on = match &self.on {
            Some(Target::Names(names)) => names.clone(),
            _ => Vec::new(),
        };
        on.into_iter().chain(self.with.clone()).collect()
    }

    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let roster = view.roster.as_ref().ok_or(NemesisError::NoRoster)?;
        if roster.changing {
            return Err(NemesisError::Unsafe("another change is under way".into()));
        }
        let able = view.able();
        let comes = match self.verb {
            Verb::Replace => Some(self.newcomer(view, roster, &able, rng)?),
            _ => None,
        };
        let wanted = match &self.on {
            Some(on) => Some(on.choose(view, rng)?),
            None => None,
        };
        let fits = |node: &&String| {
            wanted.as_ref().is_none_or(|wanted| wanted.contains(node))
                && self.concerns(node, view, roster, wanted.is_some())
        };
        let candidates: Vec<&String> = view.nodes.iter().filter(fits).collect();
        if candidates.is_empty() {
            return Err(NemesisError::NobodyLeft(format!("membership {self}")));
        }
        let sound = |node: &&&String| {
            self.objection(node, comes.as_deref(), roster, &able)
                .is_none()
        };
        let safe: Vec<&String> = candidates.iter().filter(sound).copied().collect();
        let Some(target) = safe.choose(rng).copied() else {
            let why = self.objection(candidates[0], comes.as_deref(), roster, &able);
            return Err(NemesisError::Unsafe(why.unwrap_or_default()));
        };
        Ok(Plan {
            targets: [Some(target.clone()), comes.clone()]
                .into_iter()
                .flatten()
                .collect(),
            description: self.description(target, comes.as_deref(), roster),
            steps: self.steps(target, comes, roster),
            ..Plan::default()
        })
    }

    /// Who comes in another's place.
    fn newcomer(
        &self,
        view: &View,
        roster: &Roster,
        able: &BTreeSet<String>,
        rng: &mut impl Rng,
    ) -> Result<String, NemesisError> {
        if let Some(name) = &self.with {
            return Ok(name.clone());
        }
        let free = |node: &&String| able.contains(*node) && !roster.voters.contains(*node);
        let free: Vec<&String> = view.nodes.iter().filter(free).collect();
        let chosen = free.choose(rng).map(|node| (*node).clone());
        chosen.ok_or_else(|| NemesisError::NobodyLeft(format!("membership {self}")))
    }

    /// Whether it can be done to a node at all. Who is named need not answer to be added.
    fn concerns(&self, node: &str, view: &View, roster: &Roster, named: bool) -> bool {
        match self.verb {
            Verb::Add | Verb::AddLearner => {
                !roster.contains(node) && (named || roster.answering.contains(node))
            }
            Verb::Promote => roster.learners.contains(node),
            Verb::Remove => roster.contains(node),
            Verb::Replace => roster.voters.contains(node),
            Verb::Transfer => roster.voters.contains(node) && view.leader.as_deref() != Some(node),
        }
    }

    /// What speaks against it, as a sentence.
    fn objection(
        &self,
        node: &str,
        comes: Option<&str>,
        roster: &Roster,
        able: &BTreeSet<String>,
    ) -> Option<String> {
        let mut after = roster.voters.clone();
        let mut able = able.clone();
        match self.verb {
            Verb::Add | Verb::Promote => {
                after.insert(node.to_owned());
            }
            Verb::Remove => {
                after.remove(node);
            }
            Verb::Replace => {
                after.remove(node);
                after.extend(comes.map(str::to_owned));
            }
            // Who cannot be reached cannot lead.
            Verb::Transfer if !able.contains(node) => return Some(format!("{node} is cut off")),
            Verb::AddLearner | Verb::Transfer => {}
        }
        if self.unsafely {
            return None;
        }
        // Who is synced before it votes will have the log when it does, or the step is not made.
        if self.join == Join::SyncFirst {
            able.extend(after.difference(&roster.voters).cloned());
        }
        let short = |voters: &BTreeSet<String>| {
            let reached = voters.intersection(&able).count();
            (reached <= voters.len() / 2).then(|| format!("{reached} of {}", voters.len()))
        };
        if let Some(short) = short(&roster.voters) {
            return Some(format!("only {short} voters can be reached now"));
        }
        short(&after).map(|short| format!("it would leave {short} voters that can be reached"))
    }

    fn steps(&self, target: &str, comes: Option<String>, roster: &Roster) -> Vec<Step> {
        let ask = |change, target: &str| Step::Ask {
            change,
            target: target.to_owned(),
            other: None,
        };
        let sync = |node: &str| {
            // A learner has been added before.
            let new = (!roster.contains(node)).then(|| ask(Change::AddLearner, node));
            new.into_iter().chain([Step::CatchUp(node.to_owned())])
        };
        match (self.verb, self.join, comes) {
            (Verb::Add, Join::VoteAtOnce, _) => vec![ask(Change::Add, target)],
            (Verb::Add, Join::SyncFirst, _) | (Verb::Promote, ..) => {
                sync(target).chain([ask(Change::Promote, target)]).collect()
            }
            (Verb::AddLearner, ..) => vec![ask(Change::AddLearner, target)],
            (Verb::Replace, Join::SyncFirst, Some(comes)) => {
                let swap = Step::Ask {
                    change: Change::Replace,
                    target: comes.clone(),
                    other: Some(target.to_owned()),
                };
                sync(&comes).chain([swap]).collect()
            }
            (Verb::Replace, Join::VoteAtOnce, Some(comes)) => {
                vec![ask(Change::Add, &comes), ask(Change::Remove, target)]
            }
            (Verb::Transfer, ..) => vec![ask(Change::Transfer, target)],
            (Verb::Remove | Verb::Replace, ..) => vec![ask(Change::Remove, target)],
        }
    }

    fn description(&self, target: &str, comes: Option<&str>, roster: &Roster) -> String {
        let how = match self.join {
            Join::SyncFirst => "synced first",
            Join::VoteAtOnce => "votes at once",
        };
        let done = match (self.verb, comes) {
            (Verb::Add, _) => format!("{target} added, {how}"),
            (Verb::AddLearner, _) => format!("{target} added as a learner"),
            (Verb::Promote, _) => format!("{target} promoted"),
            (Verb::Replace, Some(comes)) => format!("{target} replaced by {comes}, {how}"),
            (Verb::Remove | Verb::Replace, _) => format!("{target} removed"),
            (Verb::Transfer, _) => format!("leadership handed to {target}"),
        };
        format!("{done}; before: {roster}")
    }

    /// The same with its nodes settled.
    pub(super) fn settle(&mut self, plan: &Plan) {
        // The leader again, whoever that is then.
        if self.on != Some(Target::Leader) {
            let target = plan.targets.first();
            self.on = target.map(|name| Target::Names(vec![name.clone()]));
        }
        self.with = plan.targets.get(1).cloned();
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = serde_json::to_value(self.verb).unwrap_or_default();
        f.write_str(verb.as_str().unwrap_or_default())?;
        self.on.as_ref().map_or(Ok(()), |on| write!(f, " {on}"))
    }
}

impl<'de> Deserialize<'de> for Membership {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Membership;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "one of add, add-learner, promote, remove, replace, transfer, or a map such as \
                     `{do: remove, on: leader}`",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Membership, E> {
                let verb = Verb::deserialize(de::value::StrDeserializer::new(word))?;
                Ok(Membership {
                    verb,
                    on: None,
                    with: None,
                    join: Join::default(),
                    unsafely: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Membership, A::Error> {
                let Map {
                    verb,
                    on,
                    with,
                    join,
                    unsafely,
                } = Map::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Membership {
                    verb,
                    on,
                    with,
                    join,
                    unsafely,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Membership {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Membership".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (word, map) = (
            generator.subschema_for::<Verb>(),
            Map::json_schema(generator),
        );
        json_schema!({
            "description": "A change of the members: a word, or a map that says more.",
            "anyOf": [word, map],
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// n1 n2 n3 vote, n4 listens, n5 waits; n1 leads.
    fn view() -> View {
        let mut view = View::of(&["n1", "n2", "n3", "n4", "n5"]);
        view.leader = Some("n1".into());
        view.roster = Some(Roster {
            voters: set(&["n1", "n2", "n3"]),
            learners: set(&["n4"]),
            changing: false,
            version: 7,
            answering: set(&["n1", "n2", "n3", "n4", "n5"]),
        });
        view
    }

    fn plan(text: &str, view: &View) -> Result<Plan, NemesisError> {
        let fault: Membership = serde_json::from_str(text).unwrap();
        fault.plan(view, &mut ChaCha8Rng::seed_from_u64(3))
    }

    #[test]
    fn each_verb_finds_whom_it_can_be_done_to() {
        let target = |text| plan(text, &view()).unwrap().targets.join(" ");
        assert_eq!(target("\"add\""), "n5");
        assert_eq!(target("\"promote\""), "n4");
        assert_eq!(target(r#"{"do":"remove","on":"leader"}"#), "n1");
        assert_eq!(target(r#"{"do":"replace","on":"n2","with":"n5"}"#), "n2 n5");
        assert!(["n2", "n3"].contains(&target("\"transfer\"").as_str()));
    }

    #[test]
    fn a_newcomer_is_synced_before_it_votes_unless_told_otherwise() {
        let steps = |text| plan(text, &view()).unwrap().steps.len();
        assert_eq!(steps("\"add\""), 3, "listen, catch up, vote");
        assert_eq!(steps(r#"{"do":"add","join":"vote-at-once"}"#), 1);
        assert_eq!(steps("\"promote\""), 2, "it listens already");
    }

    #[test]
    fn what_would_lose_the_quorum_is_not_done() {
        let mut view = view();
        view.down = set(&["n3"]);
        let gone = plan("\"remove\"", &view).unwrap().targets;
        assert!(
            gone == ["n4"] || gone == ["n3"],
            "a learner, or who is down: {gone:?}"
        );
        assert!(matches!(
            plan(r#"{"do":"remove","on":"n2"}"#, &view),
            Err(NemesisError::Unsafe(why)) if why.contains("1 of 2")
        ));
        view.down = set(&["n2", "n3"]);
        assert!(matches!(
            plan("\"add\"", &view),
            Err(NemesisError::Unsafe(_))
        ));
    }

    #[test]
    fn who_is_cut_off_from_the_leader_does_not_count() {
        let mut view = view();
        view.grudges = [
            ("n2".to_owned(), set(&["n1"])),
            ("n3".to_owned(), set(&["n1"])),
        ]
        .into();
        assert!(matches!(
            plan("\"add\"", &view),
            Err(NemesisError::Unsafe(_))
        ));
    }

    #[test]
    fn one_change_at_a_time() {
        let mut view = view();
        view.roster.as_mut().unwrap().changing = true;
        assert!(matches!(
            plan("\"add\"", &view),
            Err(NemesisError::Unsafe(_))
        ));
    }
}
