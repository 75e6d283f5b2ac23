//! Parameters: `${name}` in a playbook's text, a default in the playbook, `--set name=value`.
//!
//! They are put into the text before it is read as YAML, line for line, so that a mistake still
//! shows its own line.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{Mistake, Place, Source, nearest};

/// The longest value of a parameter, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// A plain value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// true or false.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => value.fmt(f),
            Scalar::Integer(value) => value.fmt(f),
            Scalar::Number(value) => value.fmt(f),
            Scalar::Text(value) => value.fmt(f),
        }
    }
}

/// The head of a playbook: all that can be read before its parameters are known.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    parameters: BTreeMap<String, Scalar>,
}

/// The source with every `${name}` replaced, and the values that were used.
pub(super) fn put_in(
    source: &Source,
    set: &BTreeMap<String, String>,
) -> Result<(Source, BTreeMap<String, String>), Mistake> {
    let head: Head = source.parse()?;
    let mut values: BTreeMap<String, String> = head
        .parameters
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect();
    for (name, value) in set {
        let Some(slot) = values.get_mut(name) else {
            let hint = nearest(name, head.parameters.keys().map(String::as_str));
            return Err(source.at(
                source.place(&["parameters".into()]),
                format!("--set {name}: the playbook has no such parameter"),
                hint.map(|near| format!("did you mean `{near}`?")),
            ));
        };
        slot.clone_from(value);
    }
    if let Some((name, _)) = values
        .iter()
        .find(|(_, value)| value.len() > VALUE_BYTES_MAX || value.contains(['\n', '\r']))
    {
        return Err(source.mistake(
            &["parameters".into(), name.as_str().into()],
            format!("the value of `{name}` must be one line of at most {VALUE_BYTES_MAX} bytes"),
        ));
    }
    let text = replace(source, &values)?;
    Ok((
        Source {
            file: source.file.clone(),
            text,
        },
        values,
    ))
}

fn replace(source: &Source, values: &BTreeMap<String, String>) -> Result<String, Mistake> {
    let mut text = String::with_capacity(source.text.len());
    for (number, line) in source.text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        // A comment may speak of `${name}` without meaning it.
        while let Some(start) = rest
            .find("${")
            .filter(|_| !line.trim_start().starts_with('#'))
        {
            let column = line.len() - rest.len() + start;
            let place = Some(Place {
                line: number + 1,
                column: line[..column].chars().count() + 1,
            });
            let Some(end) = rest[start..].find('}') else {
                return Err(source.at(place, "`${` without its `}`".into(), None));
            };
            let name = &rest[start + 2..start + end];
            let Some(value) = values.get(name) else {
                let hint = nearest(name, values.keys().map(String::as_str))
                    .map(|near| format!("did you mean `{near}`?"))
                    .or_else(|| Some("declare it, with a default, under `parameters:`".into()));
                return Err(source.at(place, format!("no parameter is called `{name}`"), hint));
            };
            text.push_str(&rest[..start]);
            text.push_str(value);
            rest = &rest[start + end + 1..];
        }
        text.push_str(rest);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            file: "p.yaml".into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_parameter_is_put_in_and_set_from_outside() {
        let source = source("parameters: {rate: 5}\nx: ${rate}/s # ${no}\n");
        // Only whole comment lines are left alone.
        assert!(put_in(&source, &BTreeMap::new()).is_err());
        let source = self::source("parameters: {rate: 5}\nx: ${rate}/s\n# ${no}\n");
        let set = BTreeMap::from([("rate".to_owned(), "9".to_owned())]);
        assert!(
            put_in(&source, &set)
                .unwrap()
                .0
                .text
                .contains("x: 9/s\n# ${no}")
        );
    }

    #[test]
    fn an_unknown_parameter_is_named_with_its_place() {
        let mistake = put_in(
            &source("parameters: {rate: 5}\nx: ${rat}\n"),
            &BTreeMap::new(),
        );
        insta::assert_snapshot!(mistake.unwrap_err(), @r"
        p.yaml:2:4: no parameter is called `rat`
          |
        2 | x: ${rat}
          |    ^
          = did you mean `rate`?
        ");
    }
}
