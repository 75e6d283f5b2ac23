//! From a file to a playbook that can be run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::{self, Mistake, Source};
use super::{Playbook, lint, parameters};

/// How deep playbooks may include each other.
const INCLUDE_DEPTH_MAX: usize = 8;

/// A playbook, where it came from, and the values of its parameters.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The playbook.
    pub playbook: Playbook,
    /// Its file and text, for the mistakes that are found later.
    pub source: Source,
    /// The values that its parameters had.
    pub parameters: BTreeMap<String, String>,
}

impl Loaded {
    /// The folder that relative paths in the playbook start from.
    pub fn folder(&self) -> PathBuf {
        self.source
            .file
            .parent()
            .unwrap_or(Path::new(""))
            .to_owned()
    }

    /// The same after its playbook was changed: its text says what it now is, and is checked.
    pub fn written_again(&self) -> Result<Loaded, Mistake> {
        // What the parameters and the includes had to give is in the playbook already.
        let playbook = Playbook {
            include: Vec::new(),
            parameters: BTreeMap::new(),
            ..self.playbook.clone()
        };
        let source = Source {
            file: self.source.file.clone(),
            text: source::write(&playbook),
        };
        let parsed = parse(source)?;
        Ok(Loaded {
            parameters: self.parameters.clone(),
            ..parsed
        })
    }
}

/// Reads a playbook, with `set` in place of its parameters' defaults, and checks it.
pub fn load(file: &Path, set: &BTreeMap<String, String>) -> Result<Loaded, Mistake> {
    let (source, parameters) = parameters::put_in(&Source::read(file)?, set)?;
    // What an included playbook has as a parameter too, it gets from the including one.
    let source = include(&source, &parameters, 0)?;
    Ok(Loaded {
        parameters,
        ..parse(source)?
    })
}

/// A playbook whose parameters and includes are in its text already.
pub fn parse(source: Source) -> Result<Loaded, Mistake> {
    let playbook: Playbook = source.parse()?;
    lint::check(&playbook, &source)?;
    Ok(Loaded {
        playbook,
        source,
        parameters: BTreeMap::new(),
    })
}

/// Appends, from the included playbooks, the text of the keys that the including one has not.
///
/// Appending text keeps the place of every line of the including file as it was.
fn include(
    source: &Source,
    set: &BTreeMap<String, String>,
    depth: usize,
) -> Result<Source, Mistake> {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(default)]
        include: Vec<String>,
    }
    let head: Head = source.parse()?;
    let mut merged = source.clone();
    for (at, name) in head.include.iter().enumerate() {
        let here = ["include".into(), at.into()];
        if depth == INCLUDE_DEPTH_MAX {
            return Err(source.mistake(&here, "playbooks include each other too deeply"));
        }
        let file = source.file.parent().unwrap_or(Path::new("")).join(name);
        let other =
            Source::read(&file).map_err(|mistake| source.mistake(&here, mistake.to_string()))?;
        let known = other_parameters(&other, set)?;
        let (other, _) = parameters::put_in(&other, &known)?;
        let other = include(&other, set, depth + 1)?;
        let have: BTreeMap<String, serde_yaml::Value> = merged.parse()?;
        for (key, text) in top_level(&other.text) {
            if !have.contains_key(key) && !["name", "include", "parameters"].contains(&key) {
                if !merged.text.ends_with('\n') {
                    merged.text.push('\n');
                }
                merged.text.push_str(text);
            }
        }
    }
    Ok(merged)
}

/// The part of `set` that an included playbook knows.
fn other_parameters(
    other: &Source,
    set: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Mistake> {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(default)]
        parameters: BTreeMap<String, serde_yaml::Value>,
    }
    let head: Head = other.parse()?;
    Ok(set
        .iter()
        .filter(|(name, _)| head.parameters.contains_key(*name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect())
}

/// The top-level keys of a block mapping, each with its text to the next one.
fn top_level(text: &str) -> Vec<(&str, &str)> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let is_key = line.starts_with(|c: char| c.is_ascii_alphabetic());
        if let Some((key, _)) = line.split_once(':').filter(|_| is_key) {
            starts.push((at, key.trim()));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|((start, key), end)| (*key, &text[*start..end]))
        .collect()
}
