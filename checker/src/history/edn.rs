//! Jepsen's own format: op maps in EDN, one after the other or in one vector.

use std::io::Write;

use serde_json::{Map, Value};

use super::columns::History;
use super::error::{Clock, ReadError};
use super::op::{Op, Process, Type};

/// Reads a whole history. With `independent`, each value is a tuple of key and value.
pub fn read(text: &[u8], independent: bool) -> Result<History, ReadError> {
    read_until(text, independent, Clock::default())
}

pub(super) fn read_until(
    text: &[u8],
    independent: bool,
    clock: Clock,
) -> Result<History, ReadError> {
    let mut parser = Parser { text, at: 0, clock };
    let mut history = History::new();
    while parser.skip_blanks()? {
        let from = parser.at;
        let many = matches!(parser.text[parser.at], b'[' | b'(');
        if many {
            parser.at += 1;
            while parser.skip_blanks()? && !matches!(parser.text[parser.at], b']' | b')') {
                let from = parser.at;
                let form = parser.form(0)?;
                push(&mut history, &parser, from, form, independent)?;
            }
            if parser.at >= parser.text.len() {
                return Err(parser.wrong(
                    from,
                    "the end of this list of ops",
                    "the end of the file",
                ));
            }
            parser.at += 1;
        } else {
            let form = parser.form(0)?;
            push(&mut history, &parser, from, form, independent)?;
        }
    }
    history.note_time_order();
    Ok(history)
}

/// One EDN value, the whole text.
pub(super) fn value(text: &[u8]) -> Option<Value> {
    let clock = Clock::default();
    let mut parser = Parser { text, at: 0, clock };
    parser.skip_blanks().ok()?.then_some(())?;
    let form = parser.form(0).ok()?;
    (!parser.skip_blanks().ok()?).then_some(form)
}

/// Splits `[k v]` into key and value.
pub(super) fn untuple(op: &mut Op) {
    if op.process == Process::Nemesis || op.value.as_array().is_none_or(|pair| pair.len() != 2) {
        return;
    }
    let pair = op.value.take();
    (op.key, op.value) = (pair[0].clone(), pair[1].clone());
}

fn push(
    history: &mut History,
    parser: &Parser<'_>,
    from: usize,
    form: Value,
    independent: bool,
) -> Result<(), ReadError> {
    let Value::Object(mut map) = form else {
        return Err(parser.wrong(from, "an op: a map", "something else"));
    };
    let row = history.len() as u64;
    let mut op =
        op(&mut map, row).map_err(|(expected, found)| parser.wrong(from, expected, &found))?;
    if independent {
        untuple(&mut op);
    }
    history.push(&op);
    Ok(())
}

fn op(map: &mut Map<String, Value>, row: u64) -> Result<Op, (&'static str, String)> {
    let mut take = |name: &str| map.remove(name).unwrap_or_default();
    let number = |value: &Value| value.as_u64();
    let process = take("process");
    let process = match &process {
        Value::String(name) if name == "nemesis" => Process::Nemesis,
        value => match number(value).and_then(|number| u32::try_from(number).ok()) {
            Some(number) if number != Process::NEMESIS => Process::Client(number),
            _ => return Err((":process with a number or :nemesis", process.to_string())),
        },
    };
    let type_ = take("type");
    let Some(type_) = type_
        .as_str()
        .and_then(|name| Type::from_name(name.as_bytes()))
    else {
        return Err((
            ":type with one of :invoke, :ok, :fail, :info",
            type_.to_string(),
        ));
    };
    let Value::String(f) = take("f") else {
        return Err((":f with a name", "none".into()));
    };
    let error = match take("error") {
        Value::Null => None,
        Value::String(error) => Some(error),
        other => Some(other.to_string()),
    };
    Ok(Op {
        index: number(&take("index")).unwrap_or(row),
        time: number(&take("time")).unwrap_or(row),
        process,
        type_,
        f,
        key: take("key"),
        value: take("value"),
        error,
        node: take("node").as_str().map(str::to_owned),
        revision: number(&take("revision")),
    })
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    clock: Clock,
}

impl Parser<'_> {
    fn wrong(&self, at: usize, expected: &str, found: &str) -> ReadError {
        let before = &self.text[..at.min(self.text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        ReadError::Syntax {
            line: memchr::memchr_iter(b'\n', before).count() as u64 + 1,
            column: (before.len() - line_start) as u64 + 1,
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    fn wrong_here(&self, expected: &str) -> ReadError {
        let found = match self.text.get(self.at) {
            None => "the end of the file".to_owned(),
            Some(&byte) => format!("{:?}", char::from(byte)),
        };
        self.wrong(self.at, expected, &found)
    }

    /// Skips blanks, commas, comments and discarded forms. False at the end.
    fn skip_blanks(&mut self) -> Result<bool, ReadError> {
        while let Some(&byte) = self.text.get(self.at) {
            if byte == b';' {
                let rest = &self.text[self.at..];
                self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            } else if byte == b'#' && self.text.get(self.at + 1) == Some(&b'_') {
                self.at += 2;
                self.skip_blanks()?;
                self.form(0)?;
            } else if byte.is_ascii_whitespace() || byte == b',' {
                self.at += 1;
            } else {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn form(&mut self, depth: u32) -> Result<Value, ReadError> {
        const DEPTH_MAX: u32 = 128;
        self.clock.tick()?;
        if depth > DEPTH_MAX {
            return Err(self.wrong_here("fewer nested forms"));
        }
        match self.text.get(self.at) {
            None | Some(b']' | b')' | b'}') => Err(self.wrong_here("a form")),
            Some(b'[') => Ok(Value::Array(self.items(b']', depth)?)),
            Some(b'(') => Ok(Value::Array(self.items(b')', depth)?)),
            Some(b'{') => self.map(depth),
            Some(b'"') => self.string(),
            Some(b'\\') => {
                self.at += 1;
                Ok(Value::from(self.token()))
            }
            Some(b'#') if self.text.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                Ok(Value::Array(self.items(b'}', depth)?))
            }
            Some(b'#') => {
                // A tagged form: the tag says how to print it, the form what it is.
                self.at += 1;
                self.token();
                if !self.skip_blanks()? {
                    return Err(self.wrong_here("a form after its tag"));
                }
                self.form(depth + 1)
            }
            Some(_) => self.atom(),
        }
    }

    fn items(&mut self, end: u8, depth: u32) -> Result<Vec<Value>, ReadError> {
        let from = self.at;
        self.at += 1;
        let mut items = Vec::new();
        while self.skip_blanks()? {
            if self.text[self.at] == end {
                self.at += 1;
                return Ok(items);
            }
            items.push(self.form(depth + 1)?);
        }
        Err(self.wrong(
            from,
            &format!("{:?} to close this", char::from(end)),
            "the end of the file",
        ))
    }

    fn map(&mut self, depth: u32) -> Result<Value, ReadError> {
        let from = self.at;
        let items = self.items(b'}', depth)?;
        if items.len() % 2 == 1 {
            return Err(self.wrong(
                from,
                "a value for each key of this map",
                "an odd number of forms",
            ));
        }
        let mut map = Map::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let key = match key {
                Value::String(key) => key,
                other => other.to_string(),
            };
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn string(&mut self) -> Result<Value, ReadError> {
        let from = self.at;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                return Err(self.wrong(from, "'\"' to close this string", "the end of the file"));
            };
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let escape = self.text.get(self.at).copied();
                    self.at += 1;
                    match escape {
                        Some(b'n') => out.push(b'\n'),
                        Some(b't') => out.push(b'\t'),
                        Some(b'r') => out.push(b'\r'),
                        Some(b'u') => {
                            let digits = self.text.get(self.at..self.at + 4);
                            let digits = digits.and_then(|it| std::str::from_utf8(it).ok());
                            let code = digits.and_then(|it| u32::from_str_radix(it, 16).ok());
                            let Some(code) = code else {
                                return Err(self.wrong_here("four hexadecimal digits"));
                            };
                            let letter = char::from_u32(code).unwrap_or('\u{fffd}');
                            out.extend_from_slice(letter.to_string().as_bytes());
                            self.at += 4;
                        }
                        Some(other) => out.push(other),
                        None => {}
                    }
                }
                other => out.push(other),
            }
        }
        Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
    }

    fn token(&mut self) -> String {
        let from = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            if byte.is_ascii_whitespace() || b",;[](){}\"".contains(&byte) {
                break;
            }
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[from..self.at]).into_owned()
    }

    fn atom(&mut self) -> Result<Value, ReadError> {
        let from = self.at;
        let token = self.token();
        if token.is_empty() {
            return Err(self.wrong_here("a form"));
        }
        Ok(match token.as_str() {
            "nil" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            token => {
                if let Some(keyword) = token.strip_prefix(':') {
                    Value::from(keyword)
                } else if let Ok(integer) = token.trim_end_matches('N').parse::<i64>() {
                    Value::from(integer)
                } else if token
                    .starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
                    && let Ok(float) = token.trim_end_matches('M').parse::<f64>()
                    && float.is_finite()
                {
                    Value::from(float)
                } else if token.starts_with(|first: char| first.is_ascii_digit()) {
                    return Err(self.wrong(from, "a number", token));
                } else {
                    Value::from(token)
                }
            }
        })
    }
}

/// Writes op maps, one a line. A key and its value become Jepsen's independent tuple.
pub fn write(history: &History, mut output: impl Write) -> std::io::Result<()> {
    for op in history.ops() {
        let process = match op.process {
            Process::Client(number) => number.to_string(),
            Process::Nemesis => ":nemesis".into(),
        };
        write!(
            output,
            "{{:index {}, :time {}, :process {process}",
            op.index, op.time
        )?;
        write!(
            output,
            ", :type :{}, :f :{}, :value ",
            op.type_.name(),
            op.f
        )?;
        if op.key.is_null() {
            write_value(&op.value, &mut output)?;
        } else {
            write_value(&Value::Array(vec![op.key, op.value]), &mut output)?;
        }
        if let Some(error) = op.error {
            output.write_all(b", :error ")?;
            write_value(&Value::from(error), &mut output)?;
        }
        if let Some(node) = op.node {
            output.write_all(b", :node ")?;
            write_value(&Value::from(node), &mut output)?;
        }
        if let Some(revision) = op.revision {
            write!(output, ", :revision {revision}")?;
        }
        output.write_all(b"}\n")?;
    }
    output.flush()
}

fn write_value(value: &Value, output: &mut impl Write) -> std::io::Result<()> {
    match value {
        Value::Null => output.write_all(b"nil"),
        Value::Array(items) => {
            output.write_all(b"[")?;
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    output.write_all(b" ")?;
                }
                write_value(item, output)?;
            }
            output.write_all(b"]")
        }
        Value::Object(map) => {
            output.write_all(b"{")?;
            for (number, (key, item)) in map.iter().enumerate() {
                if number > 0 {
                    output.write_all(b", ")?;
                }
                serde_json::to_writer(&mut *output, key)?;
                output.write_all(b" ")?;
                write_value(item, output)?;
            }
            output.write_all(b"}")
        }
        scalar => Ok(serde_json::to_writer(output, scalar)?),
    }
}
