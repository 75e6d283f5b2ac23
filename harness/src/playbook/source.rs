//! A YAML text that can point at itself.
//!
//! A mistake in a playbook is worth nothing unless the reader sees where it is. This module turns
//! what the YAML library says, and what the checks behind it find, into a [`Mistake`]: file, line,
//! column, the line itself, a caret, what was expected and, where one name was probably meant for
//! another, which.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_yaml::with::singleton_map_recursive;

/// The longest YAML text that is read, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// How much of a line is shown with a mistake.
const LINE_CHARS_MAX: usize = 160;

/// A file of YAML and its text.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where the text came from.
    pub file: PathBuf,
    /// The text.
    pub text: String,
}

/// One step on the way from the top of a document to a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the value of this key.
    Key(String),
    /// Into this element, counted from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Something wrong in a YAML file, shown with its place.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// Where in the file, when it is known.
    pub place: Option<Place>,
    /// The text of that line.
    pub line_text: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        let Some(place) = self.place else {
            write!(f, ": {}", self.message)?;
            return self
                .hint
                .as_ref()
                .map_or(Ok(()), |hint| write!(f, "\n  = {hint}"));
        };
        writeln!(f, ":{}:{}: {}", place.line, place.column, self.message)?;
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{margin} |")?;
        let (skipped, shown) = window(&self.line_text, place.column);
        writeln!(f, "{number} | {shown}")?;
        let lead: String = shown
            .chars()
            .take(place.column - 1 - skipped)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        write!(f, "{margin} | {lead}^")?;
        if let Some(hint) = &self.hint {
            write!(f, "\n{margin} = {hint}")?;
        }
        Ok(())
    }
}

/// What a file of YAML is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// A playbook.
    Playbook,
    /// A matrix of playbooks.
    Matrix,
    /// A system under test.
    System,
}

/// The part of a line that is shown, and how many characters before it are not.
fn window(line: &str, column: usize) -> (usize, String) {
    if line.chars().count() <= LINE_CHARS_MAX {
        return (0, line.to_owned());
    }
    let skipped = (column - 1).saturating_sub(LINE_CHARS_MAX / 2);
    (
        skipped,
        line.chars().skip(skipped).take(LINE_CHARS_MAX).collect(),
    )
}

impl Source {
    /// What the text is about, by the keys that only one kind has.
    pub fn kind(&self) -> Result<Document, Mistake> {
        use std::collections::BTreeMap;
        let keys: BTreeMap<String, serde_yaml::Value> = self.parse()?;
        Ok(match () {
            () if keys.contains_key("playbooks") => Document::Matrix,
            () if keys.contains_key("daemon") => Document::System,
            () => Document::Playbook,
        })
    }

    /// Reads a file.
    pub fn read(file: &Path) -> Result<Source, Mistake> {
        let refuse = |message: String| Mistake {
            file: file.to_owned(),
            place: None,
            line_text: String::new(),
            message,
            hint: None,
        };
        let size = std::fs::metadata(file)
            .map_err(|error| refuse(format!("cannot be read: {error}")))?
            .len();
        if size > TEXT_BYTES_MAX as u64 {
            return Err(refuse(format!(
                "is {size} bytes long; at most {TEXT_BYTES_MAX} are read"
            )));
        }
        let text = std::fs::read_to_string(file)
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        Ok(Source {
            file: file.to_owned(),
            text,
        })
    }

    /// The text as a `T`; every mistake has its place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        let document = serde_yaml::Deserializer::from_str(&self.text);
        singleton_map_recursive::deserialize(document).map_err(|error| self.explain(&error))
    }

    /// A mistake at the value that `path` leads to, or at the nearest place above it that exists.
    pub fn mistake(&self, path: &[Step], message: impl Into<String>) -> Mistake {
        self.at(self.place(path), message.into(), None)
    }

    /// Where the value at the end of `path` stands, or the nearest place above it that exists.
    pub fn place(&self, path: &[Step]) -> Option<Place> {
        (0..=path.len())
            .rev()
            .find_map(|length| self.find(&path[..length]))
    }

    /// Where the key at the end of `path` stands; the value's place when the path ends in an index.
    fn find(&self, path: &[Step]) -> Option<Place> {
        let found = Walk { path }.deserialize(serde_yaml::Deserializer::from_str(&self.text));
        let error = found.err()?;
        // Any other error than the walk's own says that the path does not exist.
        if !error.to_string().contains(HERE) {
            return None;
        }
        let location = error.location()?;
        Some(Place {
            line: location.line(),
            column: location.column(),
        })
    }

    fn explain(&self, error: &serde_yaml::Error) -> Mistake {
        let place = error.location().map(|l| Place {
            line: l.line(),
            column: l.column(),
        });
        let full = error.to_string();
        let message = in_words(full.split(" at line ").next().unwrap_or(&full));
        let place = self.repeated(&message).or(place);
        let indented_by_tab = || {
            let line = self.text.lines().nth(place?.line - 1)?;
            let hint = "YAML is indented with blanks, not with tabs";
            line.starts_with('\t').then(|| hint.to_owned())
        };
        let hint = suggestion(&message).or_else(indented_by_tab);
        self.at(place, message, hint)
    }

    /// The place of a key that is there twice, which the YAML library does not tell.
    fn repeated(&self, message: &str) -> Option<Place> {
        let (_, key) = message.split_once("duplicate field `")?;
        let key = key.split('`').next()?;
        let is_key = |line: &str| {
            let rest = line.trim_start().strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        };
        let lines = self.text.lines().enumerate();
        let found: Vec<Place> = lines
            .filter(|(_, line)| is_key(line))
            .map(|(at, line)| Place {
                line: at + 1,
                column: line.chars().take_while(|c| c.is_whitespace()).count() + 1,
            })
            .collect();
        // With more, nobody knows which two are meant.
        (found.len() == 2).then(|| found[1])
    }

    pub(super) fn at(
        &self,
        place: Option<Place>,
        message: String,
        hint: Option<String>,
    ) -> Mistake {
        let line_text = place
            .and_then(|place| self.text.lines().nth(place.line - 1))
            .unwrap_or_default()
            .to_owned();
        // A place past the end of its line is the YAML library's way to say "the end of it".
        let place = place.map(|place| Place {
            column: place.column.min(line_text.chars().count() + 1),
            ..place
        });
        Mistake {
            file: self.file.clone(),
            place,
            line_text,
            message,
            hint,
        }
    }
}

/// Anything as the text of YAML that [`Source::parse`] reads.
pub fn write(value: &impl serde::Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_yaml::Serializer::new(&mut text);
    singleton_map_recursive::serialize(value, &mut serializer).expect("plain data is YAML");
    String::from_utf8(text).expect("YAML is text")
}

/// What the YAML library says, without words of Rust.
fn in_words(message: &str) -> String {
    let mut said = message.to_owned();
    for (theirs, ours) in [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected u32", "expected a whole number, not negative"),
        ("expected a sequence", "expected a list"),
        ("invalid type: sequence", "invalid type: a list"),
        ("invalid type: map", "invalid type: a map"),
        ("invalid type: unit value", "invalid type: nothing"),
        ("unknown variant", "unknown word"),
    ] {
        said = said.replace(theirs, ours);
    }
    match said.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected a map of its keys"),
        None => said,
    }
}

/// "did you mean" for a message of the form "unknown … `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = quoted.next().filter(|_| message.contains("unknown "))?;
    nearest(given, quoted).map(|near| format!("did you mean `{near}`?"))
}

/// The candidate that `given` is probably a slip of.
pub fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edits(given, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(6) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many single-character edits turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What the walk says when it has arrived; the YAML library adds the place.
const HERE: &str = "ordeal: the place that was looked for";

/// Walks down a path through a document and stops with an error at its end, because the place of
/// an error is the one place that the YAML library tells.
struct Walk<'a> {
    path: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document with that path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Err(de::Error::custom(HERE));
        };
        while let Some(found) = map.next_key_seed(Key {
            wanted,
            last: rest.is_empty(),
        })? {
            if found {
                return map.next_value_seed(Walk { path: rest });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else {
            return Err(de::Error::custom(HERE));
        };
        for _ in 0..*wanted {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        seq.next_element_seed(Walk { path: rest }).map(|_| ())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.scalar()
    }
}

impl Walk<'_> {
    fn scalar<E: de::Error>(self) -> Result<(), E> {
        if self.path.is_empty() {
            Err(E::custom(HERE))
        } else {
            Ok(())
        }
    }
}

/// Compares a key with the wanted one, and stops at it when it is the last of the path.
struct Key<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.last => Err(E::custom(HERE)),
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Small {
        name: String,
        nodes: usize,
    }

    fn source(text: &str) -> Source {
        Source {
            file: "p.yaml".into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_line_and_what_was_meant() {
        let mistake = source("name: x\nndoes: 3\n").parse::<Small>().unwrap_err();
        insta::assert_snapshot!(mistake, @r"
        p.yaml:2:1: unknown field `ndoes`, expected `name` or `nodes`
          |
        2 | ndoes: 3
          | ^
          = did you mean `nodes`?
        ");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_pointed_at() {
        let mistake = source("name: x\nnodes: many\n")
            .parse::<Small>()
            .unwrap_err();
        assert_eq!(
            mistake.place,
            Some(Place { line: 2, column: 8 }),
            "{mistake}"
        );
    }

    #[test]
    fn a_path_leads_to_its_place_or_to_the_nearest_above() {
        let source = source("a:\n  - b: 1\n  - c: [x, y]\n");
        let place = |path: &[Step]| source.place(path).map(|p| (p.line, p.column));
        assert_eq!(
            place(&["a".into(), 1.into(), "c".into(), 1.into()]),
            Some((3, 12))
        );
        assert_eq!(place(&["a".into(), 0.into(), "b".into()]), Some((2, 5)));
        assert_eq!(place(&["a".into(), 0.into(), "z".into()]), Some((2, 5)));
        assert_eq!(place(&["nothing".into()]), Some((1, 1)));
    }
}
