//! The list under `faults:`, or in its place the name of a group of faults.
//!
//! ```yaml
//! faults: standard
//! ```
//! ```yaml
//! faults: {use: partitions, every: 5s ± 2s, for: 2s}
//! ```

use std::fmt;
use std::ops::{Deref, DerefMut};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::entry::{FaultEntry, When};
use crate::nemesis::Fault;

/// When the faults of a group come, if nothing is said: each often enough for half a minute.
const EVERY: &str = "6s ± 3s";

/// How long each of them lasts.
const LASTS: &str = "3s ± 1s";

/// What may happen in a run, entry by entry.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Faults(pub Vec<FaultEntry>);

impl Faults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for Faults {
    type Target = Vec<FaultEntry>;

    fn deref(&self) -> &Vec<FaultEntry> {
        &self.0
    }
}

impl DerefMut for Faults {
    fn deref_mut(&mut self) -> &mut Vec<FaultEntry> {
        &mut self.0
    }
}

/// Faults under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Group {
    /// What every system should stand and every cluster can do: crashes, pauses, partitions.
    Standard,
    /// Those of them that hit daemons.
    Crashes,
    /// Those of them that cut links.
    Partitions,
}

impl Group {
    fn entries(self, when: &When) -> Vec<FaultEntry> {
        let when = When {
            every: when
                .every
                .or_else(|| when.at.is_empty().then(|| EVERY.parse().expect("spans"))),
            lasts: when.lasts.or_else(|| Some(LASTS.parse().expect("spans"))),
            ..when.clone()
        };
        let has = |fault: &Fault| match (self, fault) {
            (Group::Standard, _) => true,
            (Group::Partitions, fault) => matches!(fault, Fault::Partition(_)),
            (Group::Crashes, fault) => !matches!(fault, Fault::Partition(_)),
        };
        let faults = Fault::standard().into_iter().filter(has);
        faults
            .map(|fault| FaultEntry {
                fault,
                when: when.clone(),
            })
            .collect()
    }
}

impl<'de> Deserialize<'de> for Faults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrGroup)
    }
}

struct ListOrGroup;

impl<'de> Visitor<'de> for ListOrGroup {
    type Value = Faults;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of faults, or a group of them such as `standard`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Faults, E> {
        let group = Group::deserialize(de::value::StrDeserializer::new(name))?;
        Ok(Faults(group.entries(&When::default())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Faults, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(Faults(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Faults, A::Error> {
        let mut group = None;
        let mut when = When::default();
        while let Some(key) = map.next_key_seed(GroupKey)? {
            if key == "use" {
                group = Some(map.next_value::<Group>()?);
            } else {
                when.take(&key, &mut map)?;
            }
        }
        let group = group.ok_or_else(|| {
            de::Error::custom(
                "expected `use:` with a group of faults, or a list with `- ` before each fault",
            )
        })?;
        Ok(Faults(group.entries(&when)))
    }
}

/// Refuses a key while its place is known.
struct GroupKey;

impl<'de> DeserializeSeed<'de> for GroupKey {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for GroupKey {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`use`, or when the faults come")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        if key == "use" || When::KEYS.contains(&key) {
            return Ok(key.to_owned());
        }
        if Fault::KINDS.contains(&key) {
            return Err(E::custom(format!(
                "`faults:` is a list: write `- ` before `{key}`, and what belongs to it below"
            )));
        }
        let keys: Vec<String> = When::KEYS.iter().map(|key| format!("`{key}`")).collect();
        let keys = keys.join(", ");
        Err(E::custom(format!(
            "unknown key `{key}`, expected one of `use`, {keys}"
        )))
    }
}

impl JsonSchema for Faults {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Faults".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<FaultEntry>();
        let group = generator.subschema_for::<Group>();
        let mut when = When::json_schema(generator);
        let when = when.ensure_object();
        if let Some(properties) = when.get_mut("properties").and_then(|it| it.as_object_mut()) {
            properties.insert("use".into(), group.clone().into());
        }
        json_schema!({"anyOf": [{"type": "array", "items": entry}, group, when]})
    }
}
