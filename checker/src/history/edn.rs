//! Jepsen's own format: op maps in EDN, one after the other or in one vector.

use std::io::Write;

use serde_json::{Map, Value};

use super::columns::{History, TOO_MANY_FUNCTIONS};
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
    while parser.skip_blanks(0)? {
        let from = parser.at;
        let many = matches!(parser.text[parser.at], b'[' | b'(');
        if many {
            parser.at += 1;
            while parser.skip_blanks(0)? && !matches!(parser.text[parser.at], b']' | b')') {
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
    parser.skip_blanks(0).ok()?.then_some(())?;
    let form = parser.form(0).ok()?;
    (!parser.skip_blanks(0).ok()?).then_some(form)
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
    let names = || parser.wrong(from, TOO_MANY_FUNCTIONS, &format!("{:?}", op.f));
    history.try_push(&op).ok_or_else(names)
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

impl<'a> Parser<'a> {
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
    fn skip_blanks(&mut self, depth: u32) -> Result<bool, ReadError> {
        while let Some(&byte) = self.text.get(self.at) {
            if byte == b';' {
                let rest = &self.text[self.at..];
                self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            } else if byte == b'#' && self.text.get(self.at + 1) == Some(&b'_') {
                self.nests(depth)?;
                self.at += 2;
                self.skip_blanks(depth + 1)?;
                self.form(depth + 1)?;
            } else if byte.is_ascii_whitespace() || byte == b',' {
                self.at += 1;
            } else {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is read here can be written as JSONL and read again.
    fn nests(&self, depth: u32) -> Result<(), ReadError> {
        const DEPTH_MAX: u32 = 126;
        if depth > DEPTH_MAX {
            return Err(self.wrong_here("fewer nested forms"));
        }
        Ok(())
    }

    fn form(&mut self, depth: u32) -> Result<Value, ReadError> {
        self.clock.tick()?;
        match self.text.get(self.at) {
            None | Some(b']' | b')' | b'}') => Err(self.wrong_here("a form")),
            Some(b'[') => Ok(Value::Array(self.items(b']', depth)?)),
            Some(b'(') => Ok(Value::Array(self.items(b')', depth)?)),
            Some(b'{') => self.map(depth),
            Some(b'"') => self.string(),
            Some(b'\\') => {
                self.at += 1;
                Ok(Value::from(self.token()?))
            }
            Some(b'#') if self.text.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                Ok(Value::Array(self.items(b'}', depth)?))
            }
            Some(b'#') => {
                // A tagged form: the tag says how to print it, the form what it is.
                self.nests(depth)?;
                self.at += 1;
                self.token()?;
                if !self.skip_blanks(depth)? {
                    return Err(self.wrong_here("a form after its tag"));
                }
                self.form(depth + 1)
            }
            Some(_) => self.atom(),
        }
    }

    fn items(&mut self, end: u8, depth: u32) -> Result<Vec<Value>, ReadError> {
        self.nests(depth)?;
        let from = self.at;
        self.at += 1;
        let mut items = Vec::new();
        while self.skip_blanks(depth)? {
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
            if map.contains_key(&key) {
                return Err(self.wrong(
                    from,
                    "each key of this map once",
                    &format!("{key:?} twice"),
                ));
            }
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
                    let letter = self.escape()?;
                    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(other),
            }
        }
        match String::from_utf8(out) {
            Ok(text) => Ok(Value::from(text)),
            Err(_) => Err(self.wrong(from, "a string in UTF-8", "other bytes")),
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, ReadError> {
        let letter = match self.text.get(self.at) {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'u') => {
                let first = self.code_unit(self.at + 1)?;
                self.at += 4;
                let mut units = vec![first];
                if (0xd800..0xdc00).contains(&first) && self.text[self.at + 1..].starts_with(b"\\u")
                {
                    units.push(self.code_unit(self.at + 3)?);
                    self.at += 6;
                }
                match char::decode_utf16(units).next() {
                    Some(Ok(letter)) => letter,
                    _ => return Err(self.wrong_here("a letter, not half of one")),
                }
            }
            _ => {
                return Err(
                    self.wrong_here("one of the letters nrtbfu, or a quote, behind a backslash")
                );
            }
        };
        self.at += 1;
        Ok(letter)
    }

    fn code_unit(&self, from: usize) -> Result<u16, ReadError> {
        let digits = self.text.get(from..from + 4);
        let digits = digits.filter(|it| it.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|it| std::str::from_utf8(it).ok());
        let unit = digits.and_then(|it| u16::from_str_radix(it, 16).ok());
        unit.ok_or_else(|| self.wrong_here("four hexadecimal digits"))
    }

    fn token(&mut self) -> Result<&'a str, ReadError> {
        let from = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            if byte.is_ascii_whitespace() || b",;[](){}\"".contains(&byte) {
                break;
            }
            self.at += 1;
        }
        std::str::from_utf8(&self.text[from..self.at])
            .map_err(|_| self.wrong(from, "text in UTF-8", "other bytes"))
    }

    fn atom(&mut self) -> Result<Value, ReadError> {
        let from = self.at;
        let token = self.token()?;
        if token.is_empty() {
            return Err(self.wrong_here("a form"));
        }
        if let Some(keyword) = token.strip_prefix(':') {
            return Ok(Value::from(keyword));
        }
        let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
        if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return Ok(match token {
                "nil" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                symbol => Value::from(symbol),
            });
        }
        let integer = token.strip_suffix('N').unwrap_or(token);
        if let Ok(integer) = integer.parse::<i64>() {
            return Ok(Value::from(integer));
        }
        if let Ok(integer) = integer.parse::<u64>() {
            return Ok(Value::from(integer));
        }
        if integer
            .bytes()
            .skip(token.len() - unsigned.len())
            .all(|it| it.is_ascii_digit())
        {
            // As a float it could not be told from its neighbours.
            return Err(self.wrong(from, "an integer of 64 bits", token));
        }
        match token.strip_suffix('M').unwrap_or(token).parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Value::from(float)),
            _ if unsigned.starts_with('.') => Ok(Value::from(token)),
            _ => Err(self.wrong(from, "a number", token)),
        }
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
        write!(output, ", :type :{}, :f ", op.type_.name())?;
        write_name(&op.f, &mut output)?;
        output.write_all(b", :value ")?;
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

/// A keyword, when the name can be one.
fn write_name(name: &str, output: &mut impl Write) -> std::io::Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*+!?/<>=".contains(&byte);
    if !name.is_empty() && name.bytes().all(fits) {
        return write!(output, ":{name}");
    }
    Ok(serde_json::to_writer(output, name)?)
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
