//! Which nodes a fault is done to: a word, or names.

use std::fmt;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{NemesisError, View};

/// The nodes that a fault is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A random node.
    One,
    /// A random minority, as large as can be.
    Minority,
    /// A random majority, as small as can be.
    Majority,
    /// All nodes that vote.
    All,
    /// The node that leads.
    Leader,
    /// All nodes that do not lead.
    Followers,
    /// All nodes that do not vote.
    Learners,
    /// These.
    Names(Vec<String>),
}

impl Target {
    /// The words, as they are written.
    pub const WORDS: [&str; 7] = [
        "one",
        "minority",
        "majority",
        "all",
        "leader",
        "followers",
        "learners",
    ];

    /// What is meant when nothing is said: a random node.
    pub(super) fn one() -> Self {
        Self::One
    }

    /// What is meant when nothing is said of something that goes round: all nodes.
    pub(super) fn all() -> Self {
        Self::All
    }

    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "one" => Self::One,
            "minority" => Self::Minority,
            "majority" => Self::Majority,
            "all" => Self::All,
            "leader" => Self::Leader,
            "followers" => Self::Followers,
            "learners" => Self::Learners,
            _ => return None,
        })
    }

    fn word(&self) -> Option<&'static str> {
        Some(match self {
            Self::One => "one",
            Self::Minority => "minority",
            Self::Majority => "majority",
            Self::All => "all",
            Self::Leader => "leader",
            Self::Followers => "followers",
            Self::Learners => "learners",
            Self::Names(_) => return None,
        })
    }

    /// Whether it takes knowing who leads.
    pub(super) fn asks_for_leader(&self) -> bool {
        matches!(self, Self::Leader | Self::Followers)
    }

    /// The names it has that are not among these.
    pub(super) fn unknown<'a>(&'a self, nodes: &[String]) -> Vec<&'a str> {
        let Self::Names(names) = self else {
            return Vec::new();
        };
        let strange = |name: &&String| !nodes.contains(name);
        names.iter().filter(strange).map(String::as_str).collect()
    }

    /// Chooses nodes.
    ///
    /// The words that leave a choice take it among the nodes that no other fault holds down, and
    /// `minority` counts those that are down already: two faults at once must not become a majority
    /// by accident.
    pub(super) fn choose(
        &self,
        view: &View,
        rng: &mut impl Rng,
    ) -> Result<Vec<String>, NemesisError> {
        let voters = view.voters();
        let all = voters.len();
        let up = voters.into_iter().filter(|node| !view.down.contains(*node));
        let up: Vec<String> = up.cloned().collect();
        let minority = (all.saturating_sub(1) / 2).saturating_sub(all - up.len());
        let some = |count: usize, rng: &mut _| up.sample(rng, count).cloned().collect();
        let mut chosen: Vec<String> = match self {
            Self::One => some(1, rng),
            Self::Minority => some(minority, rng),
            Self::Majority => some(all / 2 + 1, rng),
            Self::All => up,
            Self::Leader => vec![view.leader()?.to_owned()],
            Self::Followers => {
                let leader = view.leader()?;
                up.into_iter().filter(|name| name != leader).collect()
            }
            Self::Learners => view.learners(),
            Self::Names(names) => names.clone(),
        };
        if let Some(name) = self.unknown(&view.nodes).first() {
            return Err(NemesisError::UnknownNode {
                name: (*name).to_owned(),
                nodes: view.nodes.join(", "),
            });
        }
        if chosen.is_empty() {
            return Err(NemesisError::NobodyLeft(self.to_string()));
        }
        chosen.sort_by_key(|name| view.nodes.iter().position(|node| node == name));
        chosen.dedup();
        Ok(chosen)
    }
}

/// Puts nodes in random order.
pub(super) fn shuffled(nodes: &[String], rng: &mut impl Rng) -> Vec<String> {
    let mut nodes = nodes.to_vec();
    nodes.shuffle(rng);
    nodes
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) => f.write_str(&names.join(" ")),
            other => f.write_str(other.word().expect("all others are words")),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Names(names) => names.serialize(serializer),
            other => other.to_string().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "one of {}, the name of a node, or a list of names",
            Target::WORDS.join(", ")
        )
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Target, E> {
        if word.is_empty() {
            return Err(E::invalid_value(de::Unexpected::Str(word), &self));
        }
        Ok(Target::of_word(word).unwrap_or_else(|| Target::Names(vec![word.to_owned()])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Target, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = names.next_element()? {
            all.push(name);
        }
        if all.is_empty() {
            return Err(de::Error::invalid_length(0, &self));
        }
        Ok(Target::Names(all))
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which nodes: a word, a name, or a list of names.",
            "anyOf": [
                {"enum": Self::WORDS},
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn choose(word: &str, down: &[&str]) -> Result<Vec<String>, NemesisError> {
        let mut view = View::of(&["n1", "n2", "n3", "n4", "n5"]);
        view.leader = Some("n3".into());
        view.down = down.iter().map(ToString::to_string).collect();
        let target: Target = serde_json::from_value(word.into()).unwrap();
        target.choose(&view, &mut ChaCha8Rng::seed_from_u64(7))
    }

    #[test]
    fn words_choose_as_many_as_they_say() {
        let count = |word| choose(word, &[]).unwrap().len();
        assert_eq!(
            ["one", "minority", "majority", "all"].map(count),
            [1, 2, 3, 5]
        );
        assert_eq!(choose("leader", &[]).unwrap(), ["n3"]);
        assert_eq!(choose("followers", &[]).unwrap(), ["n1", "n2", "n4", "n5"]);
        assert_eq!(choose("n4", &[]).unwrap(), ["n4"]);
    }

    #[test]
    fn what_is_down_counts_towards_the_minority() {
        let chosen = choose("minority", &["n1"]).unwrap();
        assert_eq!(chosen.len(), 1);
        assert!(!chosen.contains(&"n1".to_owned()));
        assert!(matches!(
            choose("minority", &["n1", "n2"]),
            Err(NemesisError::NobodyLeft(_))
        ));
    }

    #[test]
    fn a_name_that_is_no_node_is_refused() {
        assert!(matches!(
            choose("n9", &[]),
            Err(NemesisError::UnknownNode { .. })
        ));
    }

    #[test]
    fn a_seed_gives_one_choice_and_seeds_give_many() {
        let view = View::of(&["n1", "n2", "n3", "n4", "n5"]);
        let once = |seed| {
            Target::One
                .choose(&view, &mut ChaCha8Rng::seed_from_u64(seed))
                .unwrap()
        };
        assert_eq!(once(1), once(1));
        let all: BTreeSet<_> = (0..50).map(once).collect();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in ["\"minority\"", "[\"n1\",\"n2\"]"] {
            let target: Target = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&target).unwrap(), text);
        }
        assert!(serde_json::from_str::<Target>("[]").is_err());
        assert!(serde_json::from_str::<Target>("7").is_err());
    }
}
