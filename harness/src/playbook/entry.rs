//! One line of `faults:`: a fault, and when it comes and goes.
//!
//! ```yaml
//! faults:
//!   - partition: {shape: majority}
//!     every: 10s ± 5s
//!     for: 5s
//! ```
//!
//! The fault's own name is the key, so an entry is read by hand: one key is a fault of the
//! nemesis, all others say when. Nothing is buffered, so every mistake keeps its place.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, VariantAccess, Visitor,
};
use serde::{Deserialize, Serialize};

use super::units::{Around, Share, Span};
use crate::nemesis::Fault;

/// A fault and its schedule.
#[derive(Debug, Clone, Serialize)]
pub struct FaultEntry {
    /// What is done.
    #[serde(flatten)]
    pub fault: Fault,
    /// When.
    #[serde(flatten)]
    pub when: When,
}

/// When a fault comes and goes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Again and again, so long after the last one began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Around>,
    /// At these times after the faults' part of the run has begun.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = or_one)]
    pub at: Vec<Span>,
    /// How long each lasts.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Around>,
    /// Each time it is due, it comes only with this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<Share>,
    /// At most so many times in a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// When it is due it waits until this holds; if it never does, it does not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Until>,
    /// It ends as soon as this holds (and at the latest after `for`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

/// A list of one needs no brackets.
fn or_one(schema: &mut Schema) {
    let list = std::mem::take(schema);
    let item = list.get("items").cloned();
    *schema = json_schema!({"anyOf": [item, list]});
}

/// Something to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Some node says who leads.
    Leader,
    /// Another node leads than the one that led when the fault came.
    NewLeader,
    /// Every node says that it is ready.
    Ready,
    /// So many members vote, and no change is under way.
    Voters(usize),
    /// This node has the log, but for what is on its way.
    CaughtUp(String),
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("a leader"),
            Self::NewLeader => f.write_str("another leader"),
            Self::Ready => f.write_str("every node to be ready"),
            Self::Voters(count) => write!(f, "{count} voters"),
            Self::CaughtUp(node) => write!(f, "{node} to catch up"),
        }
    }
}

impl When {
    /// The keys, as they are written.
    pub(super) const KEYS: [&str; 7] = ["every", "at", "for", "chance", "times", "after", "until"];

    /// What it waits for, each with its key.
    pub fn conditions(&self) -> impl Iterator<Item = (&'static str, &Until)> {
        let (after, until) = (self.after.as_ref(), self.until.as_ref());
        let both = [("after", after), ("until", until)];
        both.into_iter().filter_map(|(key, it)| Some((key, it?)))
    }

    /// Takes the value of one of them from a map.
    pub(super) fn take<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            "every" => self.every = Some(map.next_value()?),
            "at" => self.at = map.next_value::<OneOrMany>()?.0,
            "for" => self.lasts = Some(map.next_value()?),
            "chance" => self.chance = Some(map.next_value()?),
            "times" => self.times = Some(map.next_value()?),
            "after" => self.after = Some(map.next_value()?),
            "until" => self.until = Some(map.next_value()?),
            _ => unreachable!("it is one of the keys"),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for FaultEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entry)
    }
}

struct Entry;

impl<'de> Visitor<'de> for Entry {
    type Value = FaultEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault and when it comes, such as `kill: minority` with `every: 10s`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FaultEntry, A::Error> {
        let mut fault = None;
        let mut when = When::default();
        while let Some(key) = map.next_key_seed(EntryKey)? {
            if When::KEYS.contains(&key.as_str()) {
                when.take(&key, &mut map)?;
            } else if fault.is_some() {
                return Err(de::Error::custom(format!(
                    "a second fault, `{key}`, in one entry; give it an entry of its own"
                )));
            } else {
                fault = Some(Fault::deserialize(Keyed {
                    key: &key,
                    map: &mut map,
                })?);
            }
        }
        let fault = fault.ok_or_else(|| de::Error::custom("an entry without a fault"))?;
        Ok(FaultEntry { fault, when })
    }
}

/// Reads a key and refuses what is neither a fault nor a word of [`When`] while the place is known.
struct EntryKey;

impl<'de> DeserializeSeed<'de> for EntryKey {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for EntryKey {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a fault, or when it comes")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        if When::KEYS.contains(&key) || Fault::KINDS.contains(&key) {
            return Ok(key.to_owned());
        }
        let all: Vec<String> = Fault::KINDS
            .iter()
            .chain(&When::KEYS)
            .map(|name| format!("`{name}`"))
            .collect();
        Err(E::custom(format!(
            "unknown fault `{key}`, expected one of {}",
            all.join(", ")
        )))
    }
}

/// `5s` or `[5s, 12s]`.
struct OneOrMany(Vec<Span>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Times;
        impl<'de> Visitor<'de> for Times {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time such as `5s`, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                text.parse()
                    .map(|span| OneOrMany(vec![span]))
                    .map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut spans = Vec::new();
                while let Some(span) = seq.next_element()? {
                    spans.push(span);
                }
                Ok(OneOrMany(spans))
            }
        }
        deserializer.deserialize_any(Times)
    }
}

/// An enum whose variant is a key that was read already and whose content is the map's next value.
struct Keyed<'a, A> {
    key: &'a str,
    map: &'a mut A,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Keyed<'_, A> {
    type Error = A::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, A::Error> {
        Err(de::Error::custom("a fault is an enum"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Keyed<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), A::Error> {
        use serde::de::IntoDeserializer;
        let key: de::value::StrDeserializer<'_, A::Error> = self.key.into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Keyed<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.map.next_value()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(Content {
            visitor,
            fields: &[],
        })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(Content { visitor, fields })
    }
}

/// The content of a variant with fields.
struct Content<V> {
    visitor: V,
    fields: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Content<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        if self.fields.is_empty() {
            return deserializer.deserialize_seq(self.visitor);
        }
        deserializer.deserialize_struct("fault", self.fields, self.visitor)
    }
}

impl JsonSchema for FaultEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FaultEntry".into()
    }

    /// The fields of [`When`], and one more for each kind of fault.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = When::json_schema(generator);
        let fault = Fault::json_schema(generator);
        let mut kinds = serde_json::Map::new();
        for variant in fault
            .get("oneOf")
            .and_then(|v| v.as_array())
            .into_iter()
            .flatten()
        {
            if let Some(properties) = variant.get("properties").and_then(|p| p.as_object()) {
                kinds.extend(properties.clone());
            }
        }
        let properties = schema.ensure_object().get_mut("properties");
        if let Some(properties) = properties.and_then(|p| p.as_object_mut()) {
            properties.extend(kinds);
        }
        schema
    }
}
