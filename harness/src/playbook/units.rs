//! Quantities as a person writes them: `1500ms`, `10s ± 5s`, `500/s`, `5%`, `2n`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest span of time that a playbook may name: a week.
const SPAN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes a quantity from and to a string of YAML, with its own name for what was expected.
macro_rules! quantity {
    ($type:ty, $name:literal, $expected:literal, $pattern:literal, $number:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text::<$type>::new($expected))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "anyOf": [{"type": "string", "pattern": $pattern}, $number],
                    "description": $expected,
                })
            }
        }
    };
}

/// Reads a quantity from the text of a scalar, so that `5` and `"5"` are one.
struct Text<T> {
    expected: &'static str,
    kind: std::marker::PhantomData<T>,
}

impl<T> Text<T> {
    fn new(expected: &'static str) -> Self {
        Text {
            expected,
            kind: std::marker::PhantomData,
        }
    }
}

impl<T: FromStr<Err = String>> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse()
            .map_err(|why| E::custom(format!("{why}; expected {}", self.expected)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// A span of so many seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// The span in nanoseconds.
    pub fn nanos(self) -> u64 {
        self.0.as_nanos() as u64
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        if text.trim() == "0" {
            return Ok(Span(Duration::ZERO));
        }
        if text.trim().parse::<f64>().is_ok() {
            return Err(format!("`{text}` has no unit"));
        }
        match fraction(text.trim()) {
            Some(span) if span <= SPAN_MAX => Ok(Span(span)),
            Some(_) => Err(format!("`{text}` is longer than a week")),
            None => Err(format!("`{text}` is not a span of time")),
        }
    }
}

/// Like humantime, and `1.5s` besides.
fn fraction(text: &str) -> Option<Duration> {
    if let Ok(span) = humantime::parse_duration(text) {
        return Some(span);
    }
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * seconds_per_unit).ok()
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime writes "1s 500ms"; without the blank it reads better inside a sentence.
        f.write_str(
            &humantime::format_duration(self.0)
                .to_string()
                .replace(' ', ""),
        )
    }
}

quantity!(
    Span,
    "Span",
    "a span of time with its unit, such as `500ms`, `10s` or `2m`",
    r"^\s*([0-9.]+\s*(ns|us|ms|s|m|min|h|d)\s*)+$|^0$",
    {"const": 0}
);

/// A span of time that varies evenly around its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Around {
    /// The middle.
    pub middle: Span,
    /// How far from the middle at most.
    pub spread: Span,
}

impl FromStr for Around {
    type Err = String;

    fn from_str(text: &str) -> Result<Around, String> {
        let (middle, spread) = match text.split_once('±').or_else(|| text.split_once("+-")) {
            Some((middle, spread)) => (middle.parse::<Span>()?, spread.parse::<Span>()?),
            None => (text.parse::<Span>()?, Span::default()),
        };
        if spread > middle {
            return Err(format!("`{text}` varies by more than its middle"));
        }
        Ok(Around { middle, spread })
    }
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.spread == Span::default() {
            return self.middle.fmt(f);
        }
        write!(f, "{} ± {}", self.middle, self.spread)
    }
}

quantity!(
    Around,
    "Around",
    "a span of time, perhaps varied, such as `10s` or `10s ± 5s`",
    r"^\s*[0-9.]+\s*[a-z]+(\s*(±|\+-)\s*[0-9.]+\s*[a-z]+)?\s*$",
    {"const": 0}
);

/// Operations a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let number = text.trim().strip_suffix("/s").unwrap_or(text).trim();
        match number.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate <= 1e7 => Ok(Rate(rate)),
            Ok(_) => Err(format!(
                "`{text}` is not between 0 and ten million a second"
            )),
            Err(_) => Err(format!("`{text}` is not a rate")),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

quantity!(
    Rate,
    "Rate",
    "operations a second, such as `500/s`",
    r"^\s*[0-9.]+\s*(/s)?\s*$",
    {"type": "number"}
);

/// A part of a whole, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let number = match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
            None => text.trim().parse::<f64>(),
        };
        match number {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Share(share)),
            Ok(_) => Err(format!("`{text}` is not between 0% and 100%")),
            Err(_) => Err(format!("`{text}` is not a share")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

quantity!(
    Share,
    "Share",
    "a share, such as `5%` or `0.05`",
    r"^\s*[0-9.]+\s*%?\s*$",
    {"type": "number"}
);

/// A number of things, perhaps for each node: `20`, or `2n` for two on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    number: usize,
    per_node: bool,
}

/// The most logical processes that one run may have.
const COUNT_MAX: usize = 10_000;

impl Count {
    /// A plain number.
    pub const fn of(number: usize) -> Count {
        Count {
            number,
            per_node: false,
        }
    }

    /// The number on a cluster of so many nodes.
    pub fn on(self, nodes: usize) -> usize {
        if self.per_node {
            self.number * nodes
        } else {
            self.number
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        let (number, per_node) = match text.trim().strip_suffix('n') {
            Some("") => ("1", true),
            Some(number) => (number.trim(), true),
            None => (text.trim(), false),
        };
        match number.parse() {
            Ok(number @ 1..=COUNT_MAX) => Ok(Count { number, per_node }),
            _ => Err(format!("`{text}` is not a number from 1 to {COUNT_MAX}")),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.per_node { "n" } else { "" })
    }
}

quantity!(
    Count,
    "Count",
    "a number, or one per node such as `2n`",
    r"^\s*[0-9]*\s*n?\s*$",
    {"type": "integer"}
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_needs_a_unit_and_ends_within_a_week() {
        assert_eq!("1500ms".parse(), Ok(Span(Duration::from_millis(1500))));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        assert!("10".parse::<Span>().unwrap_err().contains("no unit"));
        assert!("9d".parse::<Span>().unwrap_err().contains("week"));
        assert!("soon".parse::<Span>().is_err());
        assert!("1e300s".parse::<Span>().is_err());
    }

    #[test]
    fn a_varied_span_is_written_as_it_was_read() {
        let around: Around = "10s ± 5s".parse().unwrap();
        assert_eq!(around.to_string(), "10s ± 5s");
        assert_eq!("10s +- 5s".parse(), Ok(around));
        assert!("1s ± 2s".parse::<Around>().is_err());
    }

    #[test]
    fn shares_counts_and_rates_have_bounds() {
        assert_eq!("5%".parse(), Ok(Share(0.05)));
        assert!("101%".parse::<Share>().is_err());
        assert_eq!("2n".parse::<Count>().unwrap().on(5), 10);
        assert!("0".parse::<Count>().is_err());
        assert_eq!("500/s".parse(), Ok(Rate(500.0)));
        assert!("-1/s".parse::<Rate>().is_err());
    }
}
