//! One line of a history: what a process began, or how it ended.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// Who did it: a logical single-threaded client, or the one that makes the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A client, by its number. After an [`Type::Info`] the number is not used again.
    Client(u32),
    /// The fault injector. Its ops are kept apart and never checked.
    Nemesis,
}

impl Process {
    /// Nemesis in columns; no client has this number.
    pub(crate) const NEMESIS: u32 = u32::MAX;

    pub(crate) fn raw(self) -> u32 {
        match self {
            Process::Client(number) => number,
            Process::Nemesis => Self::NEMESIS,
        }
    }

    pub(crate) fn from_raw(raw: u32) -> Self {
        if raw == Self::NEMESIS {
            Process::Nemesis
        } else {
            Process::Client(raw)
        }
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Process::Client(number) => write!(f, "{number}"),
            Process::Nemesis => f.write_str("nemesis"),
        }
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Process::Client(number) => serializer.serialize_u32(*number),
            Process::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Process;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a process number below 4294967295, or \"nemesis\"")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Process, E> {
                match u32::try_from(number) {
                    Ok(number) if number != Process::NEMESIS => Ok(Process::Client(number)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Process, E> {
                if name == "nemesis" {
                    Ok(Process::Nemesis)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(name), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What an op says about the operation it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// It begins here.
    Invoke,
    /// It happened, with this answer.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, or may yet happen.
    Info,
}

impl Type {
    pub(crate) const ALL: [Type; 4] = [Type::Invoke, Type::Ok, Type::Fail, Type::Info];

    /// The word used in every format.
    pub fn name(self) -> &'static str {
        match self {
            Type::Invoke => "invoke",
            Type::Ok => "ok",
            Type::Fail => "fail",
            Type::Info => "info",
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|type_| type_.name().as_bytes() == name)
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// Its place in the recording.
    #[serde(default)]
    pub index: u64,
    /// Nanoseconds since the run began.
    #[serde(default)]
    pub time: u64,
    /// Who did it.
    pub process: Process,
    /// Whether it begins, and if not, how it ended.
    #[serde(rename = "type")]
    pub type_: Type,
    /// The function: `read`, `write`, `cas`, `start-partition` …
    pub f: String,
    /// The object it concerns; null when there is but one.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub key: Value,
    /// The argument on the invocation, the answer on the completion.
    #[serde(default)]
    pub value: Value,
    /// Why it failed or is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The host that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where the system says the operation stands in its order. A witness, never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

impl Op {
    /// An op of a client, at index and time 0, without a key.
    pub fn new(process: u32, type_: Type, f: &str, value: impl Into<Value>) -> Self {
        Op {
            index: 0,
            time: 0,
            process: Process::Client(process),
            type_,
            f: f.to_owned(),
            key: Value::Null,
            value: value.into(),
            error: None,
            node: None,
            revision: None,
        }
    }
}
