//! The arguments of a command: texts, and lists that repeat or that are there only sometimes.

use std::fmt;

use minijinja::value::Value;
use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::template::Engine;

/// One element of a command line. Each text becomes exactly one argument, however it looks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Argument {
    /// A template.
    One(String),
    /// Several, once for each element of a list, or only when something holds.
    Some(Group),
}

/// Several arguments under a condition.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// An expression that gives a list; its elements are called `item`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// An expression; without it, or when it is true, the arguments are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The arguments.
    pub args: Vec<String>,
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Argument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an argument, or `{for: LIST, args: […]}`, or `{when: EXPRESSION, args: […]}`",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Argument, E> {
                Ok(Argument::One(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Argument, E> {
                Ok(Argument::One(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Argument, E> {
                Ok(Argument::One(number.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Argument, A::Error> {
                Group::deserialize(de::value::MapAccessDeserializer::new(map)).map(Argument::Some)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Renders a whole command line.
pub(super) fn render(
    engine: &Engine,
    arguments: &[Argument],
    names: &[&str],
    context: &Value,
) -> Result<Vec<String>, String> {
    let mut argv = Vec::new();
    for argument in arguments {
        match argument {
            Argument::One(text) => argv.push(one(engine, text, names, context)?),
            Argument::Some(group) => render_group(engine, group, names, context, &mut argv)?,
        }
    }
    Ok(argv)
}

fn render_group(
    engine: &Engine,
    group: &Group,
    names: &[&str],
    context: &Value,
    argv: &mut Vec<String>,
) -> Result<(), String> {
    if let Some(when) = &group.when
        && !engine.expression(when, names)?.eval(context)?.is_true()
    {
        return Ok(());
    }
    let names = [names, &["item"]].concat();
    let items: Vec<Value> = match &group.each {
        None => vec![Value::UNDEFINED],
        Some(each) => {
            let list = engine.expression(each, &names)?.eval(context)?;
            list.try_iter()
                .map_err(|error| format!("`{each}` is no list: {error}"))?
                .collect()
        }
    };
    for item in items {
        let context = minijinja::context! { item, ..context.clone() };
        for text in &group.args {
            argv.push(one(engine, text, &names, &context)?);
        }
    }
    Ok(())
}

fn one(engine: &Engine, text: &str, names: &[&str], context: &Value) -> Result<String, String> {
    Ok(engine.text(text, names)?.render(context)?.into_owned())
}
