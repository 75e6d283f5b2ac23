//! A matrix: many runs out of a few playbooks, as the product of all that is varied.
//!
//! ```yaml
//! name: nightly
//! playbooks: [quickstart.yaml]
//! seeds: 3
//! set: {clients: [10, 40]}
//! axes:
//!   reads:
//!     index: {}
//!     lease: {system: {use: raft-node, with: {reads: lease}}}
//!   faults:
//!     none: {faults: []}
//!     standard: {faults: standard}
//! ```
//!
//! The list of its cells depends on nothing but the file and the first seed. So every shard of a
//! campaign finds the same list by itself and takes its own part of it, and nobody coordinates.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ordeal_checker::Verdict;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::faults::Faults;
use super::source::{Mistake, Source, Step};
use super::units::Span;
use super::{Expect, Load, Loaded, Playbook, Scalar, SystemRef, Time, load};

/// The most combinations of a matrix, its seeds apart.
const COMBINATIONS_MAX: usize = 2_000;

/// The most runs of a campaign.
const CELLS_MAX: usize = 100_000;

/// What is varied over which playbooks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// A short name; `ordeal runs --campaign NAME` shows the campaign by it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The playbooks, each run in every combination; paths from this file's folder.
    pub playbooks: Vec<String>,
    /// Values for the playbooks' parameters: each in turn.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Vec<Scalar>>,
    /// What is varied: each axis has variants by name, and a variant says what is different.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub axes: BTreeMap<String, BTreeMap<String, Variant>>,
    /// How many seeds each combination is run with, or which.
    #[serde(default)]
    pub seeds: Seeds,
    /// What every run must be found: `valid`, or `invalid` where a bug is to be caught.
    #[serde(default = "valid")]
    #[schemars(with = "String")]
    pub verdict: Verdict,
}

fn valid() -> Verdict {
    Verdict::Valid
}

/// What a playbook says instead. Whatever stands here replaces the playbook's own; with the
/// workloads or the faults goes also what was expected of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// Values for the playbook's parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Scalar>,
    /// The system under test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemRef>,
    /// How many nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// So many of them found the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub founders: Option<usize>,
    /// How long each part takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// What the clients do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Vec<Load>>,
    /// What else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Faults>,
    /// How many faults may hold at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults_at_once: Option<usize>,
    /// What is expected, key by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

/// `3`, or `[7, 8, 21]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Seeds {
    /// So many, counted up from the first.
    Count(u64),
    /// These.
    These(Vec<u64>),
}

impl Default for Seeds {
    fn default() -> Self {
        Seeds::Count(1)
    }
}

impl Seeds {
    fn from(&self, first: u64) -> Vec<u64> {
        match self {
            Seeds::Count(count) => (0..*count).map(|at| first.wrapping_add(at)).collect(),
            Seeds::These(seeds) => seeds.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountOrList;
        impl<'de> de::Visitor<'de> for CountOrList {
            type Value = Seeds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a number of seeds from 1 to {CELLS_MAX}, or a list of seeds"
                )
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Seeds, E> {
                if (1..=CELLS_MAX as u64).contains(&count) {
                    return Ok(Seeds::Count(count));
                }
                Err(E::invalid_value(de::Unexpected::Unsigned(count), &self))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Seeds, A::Error> {
                let mut seeds = Vec::new();
                while let Some(seed) = seq.next_element()? {
                    seeds.push(seed);
                }
                Ok(Seeds::These(seeds))
            }
        }
        deserializer.deserialize_any(CountOrList)
    }
}

/// One run of a campaign.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its place in the whole plan, from 1.
    pub number: usize,
    /// What is special about it: the names of what is varied and their values, without the seed.
    pub labels: BTreeMap<String, String>,
    /// The playbook as this cell has it.
    pub loaded: Loaded,
    /// The seed.
    pub seed: u64,
}

/// A matrix with the text it came from.
#[derive(Debug)]
pub struct Sheet {
    /// The matrix.
    pub matrix: Matrix,
    source: Source,
}

/// Reads a matrix.
pub fn read(file: &Path) -> Result<Sheet, Mistake> {
    let source = Source::read(file)?;
    let matrix: Matrix = source.parse()?;
    if !super::lint::is_plain(&matrix.name) {
        return Err(source.mistake(&["name".into()], super::lint::PLAIN));
    }
    if matrix.playbooks.is_empty() {
        return Err(source.mistake(&["playbooks".into()], "at least one playbook is needed"));
    }
    if matrix.verdict == Verdict::Unknown {
        let message = "expected `valid` or `invalid`: nothing can be wanted of the unknown";
        return Err(source.mistake(&["verdict".into()], message));
    }
    Ok(Sheet { matrix, source })
}

/// The combinations of several playbooks and nothing else, as `run A B --repeat N` asks for them.
pub fn repeated(loaded: Vec<Loaded>, first_seed: u64, times: u64) -> Vec<Cell> {
    let several = loaded.len() > 1;
    let combinations = loaded.into_iter().map(|loaded| {
        let name = loaded.playbook.name.clone();
        let labels = several.then(|| ("playbook".to_owned(), name));
        (labels.into_iter().collect(), loaded)
    });
    numbered(
        &combinations.collect::<Vec<_>>(),
        &Seeds::Count(times).from(first_seed),
    )
}

fn numbered(combinations: &[(BTreeMap<String, String>, Loaded)], seeds: &[u64]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(combinations.len() * seeds.len());
    // Seeds outermost: a campaign that is cut short has tried each combination about as often.
    for seed in seeds {
        for (labels, loaded) in combinations {
            cells.push(Cell {
                number: cells.len() + 1,
                labels: labels.clone(),
                loaded: loaded.clone(),
                seed: *seed,
            });
        }
    }
    cells
}

/// One way to choose a value on every axis.
#[derive(Debug, Clone, Default)]
struct Choice<'a> {
    labels: BTreeMap<String, String>,
    set: BTreeMap<String, String>,
    variants: Vec<(Vec<Step>, &'a Variant)>,
}

impl Sheet {
    /// Whether the matrix itself names its seeds.
    pub fn fixes_seeds(&self) -> bool {
        matches!(self.matrix.seeds, Seeds::These(_))
    }

    /// All runs of the matrix, in order; `set` holds for every one of them.
    pub fn cells(
        &self,
        set: &BTreeMap<String, String>,
        first_seed: u64,
    ) -> Result<Vec<Cell>, Mistake> {
        let choices = self.choices(set)?;
        let seeds = self.matrix.seeds.from(first_seed);
        let combinations = choices.len() * self.matrix.playbooks.len();
        if combinations > COMBINATIONS_MAX || combinations * seeds.len() > CELLS_MAX {
            let message = format!(
                "{combinations} combinations with {} seeds; at most {COMBINATIONS_MAX} \
                 combinations and {CELLS_MAX} runs make a campaign",
                seeds.len()
            );
            return Err(self.source.mistake(&["axes".into()], message));
        }
        let mut all = Vec::with_capacity(combinations);
        for (at, name) in self.matrix.playbooks.iter().enumerate() {
            for choice in &choices {
                let loaded = self.apply(at, name, choice)?;
                let mut labels = choice.labels.clone();
                if self.matrix.playbooks.len() > 1 {
                    labels.insert("playbook".into(), loaded.playbook.name.clone());
                }
                all.push((labels, loaded));
            }
        }
        Ok(numbered(&all, &seeds))
    }

    /// The product of all axes.
    fn choices(&self, set: &BTreeMap<String, String>) -> Result<Vec<Choice<'_>>, Mistake> {
        let mut choices = vec![Choice {
            set: set.clone(),
            ..Choice::default()
        }];
        for (name, values) in &self.matrix.set {
            choices = self
                .product(choices, values, &["set".into(), name.as_str().into()])?
                .map(|(mut choice, value)| {
                    choice.labels.insert(name.clone(), value.to_string());
                    choice.set.insert(name.clone(), value.to_string());
                    choice
                })
                .collect();
        }
        for (axis, variants) in &self.matrix.axes {
            let path = ["axes".into(), axis.as_str().into()];
            let variants: Vec<_> = variants.iter().collect();
            choices = self
                .product(choices, &variants, &path)?
                .map(|(mut choice, (label, variant))| {
                    choice.labels.insert(axis.clone(), (*label).clone());
                    let values = variant
                        .set
                        .iter()
                        .map(|(name, value)| (name.clone(), value.to_string()));
                    choice.set.extend(values);
                    choice
                        .variants
                        .push(([&path[..], &[label.as_str().into()]].concat(), *variant));
                    choice
                })
                .collect();
        }
        Ok(choices)
    }

    /// Every choice with every value of one more axis.
    fn product<'a, 'v, V>(
        &self,
        choices: Vec<Choice<'a>>,
        values: &'v [V],
        path: &[Step],
    ) -> Result<impl Iterator<Item = (Choice<'a>, &'v V)>, Mistake> {
        if values.is_empty() {
            return Err(self.source.mistake(path, "at least one value is needed"));
        }
        if choices.len() * values.len() > COMBINATIONS_MAX {
            let message = format!("more than {COMBINATIONS_MAX} combinations");
            return Err(self.source.mistake(path, message));
        }
        Ok(choices
            .into_iter()
            .flat_map(move |choice| values.iter().map(move |value| (choice.clone(), value))))
    }

    /// A playbook with all that a choice says.
    fn apply(&self, at: usize, name: &str, choice: &Choice<'_>) -> Result<Loaded, Mistake> {
        let file = self
            .source
            .file
            .parent()
            .unwrap_or(Path::new(""))
            .join(name);
        let here = ["playbooks".into(), at.into()];
        let mut loaded =
            load(&file, &choice.set).map_err(|mistake| self.nested(&here, &mistake))?;
        let Some((last, _)) = choice.variants.last() else {
            return Ok(loaded);
        };
        for (_, variant) in &choice.variants {
            variant.change(&mut loaded.playbook);
        }
        let checked = loaded.written_again();
        checked.map_err(|mistake| self.nested(last, &mistake))
    }

    /// A mistake that shows only in a playbook that this matrix has made.
    fn nested(&self, path: &[Step], mistake: &Mistake) -> Mistake {
        let place = self.source.place(path);
        let message = "what this makes has a mistake".to_owned();
        self.source.at(place, message, Some(mistake.to_string()))
    }
}

impl Variant {
    fn change(&self, playbook: &mut Playbook) {
        fn put<T: Clone>(slot: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                slot.clone_from(value);
            }
        }
        put(&mut playbook.system, self.system.as_ref());
        put(&mut playbook.nodes, self.nodes.as_ref());
        playbook.founders = self.founders.or(playbook.founders);
        put(&mut playbook.time, self.time.as_ref());
        put(&mut playbook.workloads, self.workloads.as_ref());
        put(&mut playbook.faults, self.faults.as_ref());
        put(&mut playbook.faults_at_once, self.faults_at_once.as_ref());
        let own = self.expect.clone().unwrap_or_default();
        let expect = &mut playbook.expect;
        if self.workloads.is_some() || !own.ok.is_empty() {
            expect.ok = own.ok;
        }
        if self.faults.is_some() || !own.faults.is_empty() {
            expect.faults = own.faults;
        }
        expect.recovery = own.recovery.or(expect.recovery);
        expect.outage = own.outage.or(expect.outage);
        expect.errors.extend(own.errors);
    }
}

impl Cell {
    /// How long it is meant to take, without what comes before and after.
    pub fn planned(&self) -> Span {
        self.loaded.playbook.time.total()
    }
}
