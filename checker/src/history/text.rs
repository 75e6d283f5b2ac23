//! Jepsen's lines for the eye: `history.txt`, and the same lines on its console.
//!
//! ```text
//! 3   :invoke  :write  5
//! INFO  jepsen.util - 3 :ok :cas [1 2]
//! ```
//! Lines that are no ops (a console has many) are skipped and counted.

use serde_json::Value;

use super::columns::{History, TOO_MANY_FUNCTIONS};
use super::edn;
use super::error::{Clock, ReadError};
use super::op::{Op, Process, Type};

/// Reads a whole history. With `independent`, each value is a tuple of key and value.
pub fn read(text: &[u8], independent: bool) -> Result<History, ReadError> {
    read_until(text, independent, Clock::default())
}

pub(super) fn read_until(
    text: &[u8],
    independent: bool,
    mut clock: Clock,
) -> Result<History, ReadError> {
    let mut history = History::new();
    let mut skipped = 0u64;
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        clock.tick()?;
        let Ok(line) = std::str::from_utf8(line) else {
            skipped += 1;
            continue;
        };
        match op(line, history.len() as u64) {
            Some(mut op) => {
                if independent {
                    edn::untuple(&mut op);
                }
                history.try_push(&op).ok_or_else(|| ReadError::Syntax {
                    line: number,
                    column: 1,
                    expected: TOO_MANY_FUNCTIONS.into(),
                    found: format!("{:?}", op.f),
                })?;
            }
            None => skipped += u64::from(!line.trim().is_empty()),
        }
    }
    if history.is_empty() && skipped > 0 {
        return Err(ReadError::Syntax {
            line: 1,
            column: 1,
            expected: "an op: JSON, an EDN map, or PROCESS :invoke|:ok|:fail|:info :f VALUE".into(),
            found: "no such line in the whole file".into(),
        });
    }
    if skipped > 0 {
        history.note(format!("{skipped} lines are no ops: skipped"));
    }
    Ok(history)
}

fn op(line: &str, row: u64) -> Option<Op> {
    // On the console the op stands behind the logger's name.
    let line = match line.split_once(" - ") {
        Some((before, after)) if !before.contains(':') || before.contains("jepsen") => after,
        _ => line,
    };
    let (process, rest) = word(line)?;
    let process = match process {
        ":nemesis" => Process::Nemesis,
        number => Process::Client(number.parse().ok().filter(|&it| it != Process::NEMESIS)?),
    };
    let (type_, rest) = word(rest)?;
    let type_ = Type::from_name(type_.strip_prefix(':')?.as_bytes())?;
    let (f, rest) = word(rest)?;
    let (value, error) = value_and_error(rest.trim());
    Some(Op {
        index: row,
        time: row,
        process,
        type_,
        f: f.strip_prefix(':')?.to_owned(),
        key: Value::Null,
        value,
        error,
        node: None,
        revision: None,
    })
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What stands after the function: a value, and then perhaps an error.
fn value_and_error(rest: &str) -> (Value, Option<String>) {
    let whole = edn::value(format!("[{rest}]").as_bytes());
    let Some(Value::Array(mut forms)) = whole else {
        return (Value::from(rest), None);
    };
    let mut rest = forms.split_off(forms.len().min(1));
    let error = match rest.len() {
        0 => None,
        1 => rest.pop(),
        _ => Some(Value::Array(rest)),
    };
    let error = error.map(|error| match error {
        Value::String(error) => error,
        other => other.to_string(),
    });
    (forms.pop().unwrap_or_default(), error)
}
