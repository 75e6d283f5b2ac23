//! Reads what a run left in its folder.
//!
//! A report is made from files alone, perhaps years later and by a newer Ordeal: every field has a
//! default, an unknown one is ignored, and only a folder without `results.json` is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReportError;

/// A run's folder, read whole but for its history, which is streamed.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) run: Run,
    /// `run.json` as it stands: versions, digests, hosts, whatever the runner thought worth keeping.
    pub(super) facts: Value,
    pub(super) results: Results,
    pub(super) playbook: String,
}

impl Folder {
    pub(super) fn read(path: &Path) -> Result<Self, ReportError> {
        let results = path.join("results.json");
        if !results.is_file() {
            return Err(ReportError::NotARun {
                path: path.to_owned(),
            });
        }
        let facts: Value = read_json(&path.join("run.json")).unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            run: Run::deserialize(&facts).unwrap_or_default(),
            facts,
            results: read_json(&results)?,
            playbook: std::fs::read_to_string(path.join("playbook.yaml")).unwrap_or_default(),
        })
    }

    pub(super) fn history(&self) -> PathBuf {
        self.path.join("history.jsonl")
    }

    /// The run's name: that of its folder, which `ordeal` verbs take as an argument.
    pub(super) fn name(&self) -> String {
        let path = self
            .path
            .canonicalize()
            .unwrap_or_else(|_| self.path.clone());
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let bytes = std::fs::read(path).map_err(|source| ReportError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| ReportError::Parse {
        path: path.to_owned(),
        source,
    })
}

/// What the report itself needs of `run.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) seed: Value,
    pub(super) started: String,
    pub(super) system: Value,
    pub(super) workload: Value,
    pub(super) phases: Vec<Phase>,
}

/// One phase of a run, in nanoseconds since its start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// How it came out: of the whole, of a property, of a part.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Valid,
    Invalid,
    /// Also what is missing or not understood: it never passes.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        }
    }
}

/// `results.json`: the verdict in its three parts, the figures, the faults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Results {
    pub(super) verdict: Verdict,
    pub(super) exit_code: Option<u8>,
    pub(super) properties: Vec<Property>,
    pub(super) coverage: Vec<Coverage>,
    pub(super) harness: Harness,
    pub(super) figures: Counted,
    pub(super) faults: Vec<Fault>,
}

/// What was counted while the run was on, as far as the history does not tell it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    /// Numbers of the nodes: name, node, how it went.
    pub(super) gauges: BTreeMap<String, BTreeMap<String, Course>>,
}

/// How a number of a node went.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Course {
    pub(super) first: f64,
    pub(super) last: f64,
    pub(super) max: f64,
}

/// A promise of the system and whether it was kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    /// The checker's own report, with the counterexample.
    pub(super) report: Value,
}

/// Something that had to happen for the verdict to mean anything.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Coverage {
    pub(super) name: String,
    pub(super) wanted: Value,
    pub(super) got: Value,
    pub(super) met: bool,
    /// The playbook's line that asks for it.
    pub(super) line: Value,
}

/// Whether the harness did its own work.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Harness {
    pub(super) ok: bool,
    pub(super) errors: Vec<String>,
}

/// A fault that was injected, in nanoseconds since the run's start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    pub(super) id: Value,
    pub(super) kind: String,
    pub(super) targets: Vec<String>,
    pub(super) start_ns: u64,
    /// None while it was never healed.
    pub(super) end_ns: Option<u64>,
    pub(super) description: String,
    pub(super) installed: Option<bool>,
    pub(super) healed: Option<bool>,
}

/// Flattens the facts of a run into rows for a table: `versions.node = 0.1.0`.
pub(super) fn rows(facts: &Value, skip: &[&str]) -> BTreeMap<String, String> {
    const ROWS_MAX: usize = 200;
    fn walk(name: String, value: &Value, rows: &mut BTreeMap<String, String>) {
        if rows.len() >= ROWS_MAX {
            return;
        }
        let join = |key: &dyn std::fmt::Display| {
            if name.is_empty() {
                key.to_string()
            } else {
                format!("{name} · {key}")
            }
        };
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (key, value) in fields {
                    walk(join(key), value, rows);
                }
            }
            Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
                rows.insert(name, items.iter().map(text).collect::<Vec<_>>().join(", "));
            }
            Value::Array(items) => {
                for (position, value) in items.iter().enumerate() {
                    let key = value
                        .get("name")
                        .map_or_else(|| (position + 1).to_string(), text);
                    walk(join(&key), value, rows);
                }
            }
            scalar => {
                rows.insert(name, text(scalar));
            }
        }
    }
    let mut rows = BTreeMap::new();
    if let Value::Object(fields) = facts {
        for (key, value) in fields
            .iter()
            .filter(|(key, _)| !skip.contains(&key.as_str()))
        {
            walk(key.clone(), value, &mut rows);
        }
    }
    rows
}

/// A JSON value as a person writes it: a string without its quotes.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
