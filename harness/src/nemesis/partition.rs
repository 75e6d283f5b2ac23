//! Partition: packets between some nodes are dropped, by iptables, where they come in.
//!
//! A partition is a **grudge**: for each node, the nodes from which it takes nothing. The control
//! host is in nobody's grudge, so commands and clients get through to every node on every side.
//!
//! Runs wherever iptables does: the lab, virtual machines, rented hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rand::{Rng, RngExt};
use schemars::{JsonSchema, Schema, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::target::shuffled;
use super::{Action, NemesisError, Plan, View};

/// For each node, the nodes from which it takes nothing.
pub type Grudge = BTreeMap<String, BTreeSet<String>>;

/// A partition, as a playbook has it: `partition: ring`, or with more words
/// `partition: {shape: leader, one-way: true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(transform = or_a_word)]
pub struct Partition {
    /// How the nodes are divided.
    pub shape: Shape,
    /// For `groups`, the sides; for `link`, its two ends as `[[n1], [n2]]` (else random).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<String>>,
    /// Packets are dropped in one direction only: the first side speaks, and hears nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
    /// Who takes nothing from whom, when it was decided before: a recorded partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grudge: Grudge,
}

/// A shape alone is a partition, too.
fn or_a_word(schema: &mut Schema) {
    let map = std::mem::take(schema);
    *schema = json_schema!({"anyOf": [{"$ref": "#/$defs/Shape"}, map]});
}

/// How nodes are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A random node is alone.
    One,
    /// A random minority, of any size, is cut off.
    Minority,
    /// A random smallest majority is on one side, all others on the other.
    Majority,
    /// Two random halves; of an even number of nodes, neither is a majority.
    Halves,
    /// Every node sees a majority, and no two see the same.
    Ring,
    /// Two halves, and one node between them that sees both.
    Bridge,
    /// The leader is alone.
    Leader,
    /// Every link is cut or not, by chance.
    Random,
    /// A random node hears nobody, and is heard by all.
    OneWay,
    /// One link between two nodes is cut.
    Link,
    /// The sides are given by name.
    Groups,
}

impl Partition {
    /// A partition of a shape that needs no more words.
    pub fn of(shape: Shape) -> Self {
        Self {
            shape,
            groups: Vec::new(),
            one_way: false,
            grudge: Grudge::new(),
        }
    }

    /// Whether it takes knowing who leads.
    pub(super) fn asks_for_leader(&self) -> bool {
        self.shape == Shape::Leader
    }

    pub(super) fn plan(&self, view: &View, rng: &mut impl Rng) -> Result<Plan, NemesisError> {
        let grudge = if self.grudge.is_empty() {
            self.decide(view, rng)?
        } else {
            self.grudge.clone()
        };
        if grudge.is_empty() {
            return Err(NemesisError::TooFew {
                nodes: view.nodes.len(),
            });
        }
        let mut actions = Vec::new();
        for (node, from) in &grudge {
            let addresses = from
                .iter()
                .map(|name| view.address(name).map(|address| address.to_string()))
                .collect::<Result<Vec<_>, _>>()?;
            let control = view.control_of(node)?.to_string();
            let arguments = [control, "1".into()].into_iter().chain(addresses).collect();
            actions.push((
                node.clone(),
                Action::Agent {
                    verb: "drop",
                    arguments,
                },
            ));
        }
        Ok(Plan {
            targets: grudge.keys().cloned().collect(),
            description: describe(&grudge),
            actions,
            grudge,
            ..Plan::default()
        })
    }

    fn decide(&self, view: &View, rng: &mut impl Rng) -> Result<Grudge, NemesisError> {
        let nodes = shuffled(&view.nodes, rng);
        let count = nodes.len();
        if count < 2 {
            return Err(NemesisError::TooFew { nodes: count });
        }
        let split = |at: usize| [nodes[..at].to_vec(), nodes[at..].to_vec()];
        let sides = match self.shape {
            Shape::One | Shape::OneWay => split(1),
            Shape::Minority => split(rng.random_range(1..=((count - 1) / 2).max(1))),
            // The majority comes second: one way, it is the minority that hears nothing.
            Shape::Majority => split(count - (count / 2 + 1).min(count - 1)),
            Shape::Halves => split(count / 2),
            Shape::Leader => {
                let leader = view.leader()?.to_owned();
                let others = nodes
                    .iter()
                    .filter(|name| **name != leader)
                    .cloned()
                    .collect();
                [vec![leader], others]
            }
            Shape::Link if self.groups.is_empty() => {
                [vec![nodes[0].clone()], vec![nodes[1].clone()]]
            }
            Shape::Link | Shape::Groups => return self.by_name(view),
            Shape::Ring => return Ok(ring(&nodes)),
            Shape::Bridge => return Ok(bridge(&nodes)),
            Shape::Random => return Ok(random(&nodes, rng)),
        };
        let one_way = self.one_way || self.shape == Shape::OneWay;
        Ok(between(&sides, one_way))
    }

    fn by_name(&self, view: &View) -> Result<Grudge, NemesisError> {
        for name in self.groups.iter().flatten() {
            view.address(name)?;
        }
        Ok(between(&self.groups, self.one_way))
    }
}

/// Each side takes nothing from any other; one way, the first side from the others only.
fn between(sides: &[Vec<String>], one_way: bool) -> Grudge {
    let mut grudge = Grudge::new();
    for (at, side) in sides.iter().enumerate() {
        if one_way && at > 0 {
            break;
        }
        let others = || sides.iter().enumerate().filter(|(other, _)| *other != at);
        for node in side {
            let from = others().flat_map(|(_, side)| side.iter().cloned());
            grudge.entry(node.clone()).or_default().extend(from);
        }
    }
    grudge
}

/// Every node keeps the neighbours that make it a majority; the ring is as narrow as that allows.
fn ring(nodes: &[String]) -> Grudge {
    let count = nodes.len();
    let reach = (count / 2).div_ceil(2);
    pairs(nodes, |one, other| {
        let apart = one.abs_diff(other);
        apart.min(count - apart) > reach
    })
}

/// The first node sees everyone; the two halves of the others do not see each other.
fn bridge(nodes: &[String]) -> Grudge {
    let middle = nodes.len().div_ceil(2);
    pairs(nodes, |one, other| {
        one > 0 && other > 0 && (one < middle) != (other < middle)
    })
}

/// Every link is cut with probability one half, and at least one is.
fn random(nodes: &[String], rng: &mut impl Rng) -> Grudge {
    let count = nodes.len();
    let links: Vec<(usize, usize)> = (0..count)
        .flat_map(|one| (one + 1..count).map(move |other| (one, other)))
        .collect();
    let mut cut: BTreeSet<_> = links.iter().filter(|_| rng.random_bool(0.5)).collect();
    if cut.is_empty() {
        cut.insert(&links[rng.random_range(0..links.len())]);
    }
    pairs(nodes, |one, other| {
        cut.contains(&(one.min(other), one.max(other)))
    })
}

/// The grudge of all nodes that a symmetric relation of their positions cuts apart.
fn pairs(nodes: &[String], cut: impl Fn(usize, usize) -> bool) -> Grudge {
    let mut grudge = Grudge::new();
    for (at, node) in nodes.iter().enumerate() {
        let from: BTreeSet<String> = nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at && cut(at, *other))
            .map(|(_, name)| name.clone())
            .collect();
        if !from.is_empty() {
            grudge.insert(node.clone(), from);
        }
    }
    grudge
}

/// A grudge in words: its sides, if it has such, else who is deaf to whom.
fn describe(grudge: &Grudge) -> String {
    let names = |nodes: &BTreeSet<String>| nodes.iter().cloned().collect::<Vec<_>>().join(" ");
    let mut alike: BTreeMap<&BTreeSet<String>, BTreeSet<String>> = BTreeMap::new();
    for (node, from) in grudge {
        alike.entry(from).or_default().insert(node.clone());
    }
    let is_side = |(from, nodes): (&&BTreeSet<String>, &BTreeSet<String>)| {
        from.union(nodes).eq(grudge.keys())
    };
    if alike.iter().all(is_side) {
        let mut sides: Vec<String> = alike.values().map(names).collect();
        sides.sort();
        return sides.join(" | ");
    }
    let each = alike
        .iter()
        .map(|(from, nodes)| format!("{} deaf to {}", names(nodes), names(from)));
    each.collect::<Vec<_>>().join("; ")
}

impl<'de> Deserialize<'de> for Partition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeOrMore)
    }
}

struct ShapeOrMore;

impl<'de> Visitor<'de> for ShapeOrMore {
    type Value = Partition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shape of a partition, or a map with `shape`")
    }

    fn visit_str<E: de::Error>(self, shape: &str) -> Result<Partition, E> {
        Shape::deserialize(shape.into_deserializer()).map(Partition::of)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Partition, A::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct More {
            shape: Shape,
            #[serde(default)]
            groups: Vec<Vec<String>>,
            #[serde(default)]
            one_way: bool,
            #[serde(default)]
            grudge: Grudge,
        }
        let More {
            shape,
            groups,
            one_way,
            grudge,
        } = More::deserialize(MapAccessDeserializer::new(map))?;
        if shape == Shape::Groups && groups.len() < 2 && grudge.is_empty() {
            return Err(de::Error::custom(
                "`groups` needs at least two sides, such as `groups: [[n1, n2], [n3]]`",
            ));
        }
        if shape == Shape::Link && !groups.is_empty() && groups.len() != 2 {
            return Err(de::Error::custom(
                "a `link` has two ends, such as `groups: [[n1], [n2]]`",
            ));
        }
        Ok(Partition {
            shape,
            groups,
            one_way,
            grudge,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn view(nodes: usize) -> View {
        let names: Vec<String> = (1..=nodes).map(|id| format!("n{id}")).collect();
        let mut view = View::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
        view.leader = Some("n1".into());
        view
    }

    fn grudge(shape: Shape, nodes: usize, seed: u64) -> Grudge {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Partition::of(shape)
            .plan(&view(nodes), &mut rng)
            .unwrap()
            .grudge
    }

    /// How many nodes a node still hears, itself included.
    fn hears(grudge: &Grudge, node: &str, nodes: usize) -> usize {
        nodes - grudge.get(node).map_or(0, BTreeSet::len)
    }

    proptest! {
        #[test]
        fn in_a_ring_everyone_sees_a_majority_but_not_everyone(nodes in 4_usize..12, seed: u64) {
            let grudge = grudge(Shape::Ring, nodes, seed);
            let mut seen = BTreeSet::new();
            for node in view(nodes).nodes {
                let heard = hears(&grudge, &node, nodes);
                prop_assert!(heard > nodes / 2 && heard < nodes, "{node} hears {heard}");
                seen.insert(grudge[&node].clone());
            }
            prop_assert_eq!(seen.len(), nodes, "two nodes see the same");
        }

        #[test]
        fn a_majority_stays_whole(nodes in 3_usize..12, seed: u64) {
            for shape in [Shape::Majority, Shape::Minority] {
                let grudge = grudge(shape, nodes, seed);
                let whole = view(nodes).nodes.iter().filter(|node| hears(&grudge, node, nodes) > nodes / 2).count();
                prop_assert!(whole > nodes / 2);
                prop_assert!(whole < nodes);
            }
        }

        #[test]
        fn whoever_is_cut_off_is_cut_off_both_ways(nodes in 3_usize..9, seed: u64) {
            for shape in [Shape::One, Shape::Halves, Shape::Bridge, Shape::Leader, Shape::Random, Shape::Link] {
                let grudge = grudge(shape, nodes, seed);
                for (node, from) in &grudge {
                    for other in from {
                        prop_assert!(grudge[other].contains(node), "{shape:?}: {grudge:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_are_what_they_say() {
        assert_eq!(grudge(Shape::Leader, 3, 1)["n1"].len(), 2);
        assert_eq!(grudge(Shape::OneWay, 5, 1).len(), 1);
        assert_eq!(grudge(Shape::Link, 5, 1).len(), 2);
        let bridge = grudge(Shape::Bridge, 5, 1);
        assert_eq!(bridge.len(), 4, "one node of five sees everyone");
        for shape in [Shape::Halves, Shape::Random] {
            assert!(!grudge(shape, 4, 1).is_empty());
        }
        let halves = grudge(Shape::Halves, 4, 1);
        assert!(halves.keys().all(|node| hears(&halves, node, 4) == 2));
    }

    #[test]
    fn partitions_are_read_in_short_and_in_long() {
        let read = |text| serde_json::from_str::<Partition>(text);
        assert_eq!(read("\"ring\"").unwrap(), Partition::of(Shape::Ring));
        let groups =
            read(r#"{"shape":"groups","groups":[["n1"],["n2","n3"]],"one-way":true}"#).unwrap();
        let grudge = groups
            .plan(&view(3), &mut ChaCha8Rng::seed_from_u64(0))
            .unwrap()
            .grudge;
        assert_eq!(
            serde_json::to_string(&grudge).unwrap(),
            r#"{"n1":["n2","n3"]}"#
        );
        assert!(
            read("\"circle\"")
                .unwrap_err()
                .to_string()
                .contains("`ring`")
        );
        assert!(read(r#"{"shape":"groups"}"#).is_err());
        assert!(read(r#"{"shape":"one","oneway":true}"#).is_err());
    }

    #[test]
    fn a_grudge_is_described_by_its_sides() {
        let sides = [vec!["n1".into(), "n2".into()], vec!["n3".into()]];
        assert_eq!(describe(&between(&sides, false)), "n1 n2 | n3");
        assert_eq!(describe(&between(&sides, true)), "n1 n2 deaf to n3");
    }
}
