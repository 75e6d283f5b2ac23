//! The project's own format: a header line, then one op a line.
//!
//! ```text
//! {"ordeal":"history","version":1}
//! {"index":0,"time":1234567,"process":3,"type":"invoke","f":"write","key":"k1","value":5}
//! ```
//! The header may be missing. A last line without its newline that is no op is a torn write: it is
//! left out and noted. Lines as we write them are read by hand, straight into columns; what is out
//! of the ordinary (escapes, floats, maps, unknown fields) goes through `serde_json`.

use std::io::{BufRead, Write};

use serde::Deserialize;

use super::columns::{History, TOO_MANY_FUNCTIONS};
use super::error::ReadError;
use super::op::{Op, Process, Type};
use super::scan::Scanner;

/// The first line of a recording.
pub const HEADER: &str = r#"{"ordeal":"history","version":1}"#;

/// Bytes in one line: what unpacks to more than that without an end of line is no recording.
const LINE_MAX: usize = 1 << 28;

/// Reads a whole recording.
pub fn read(input: impl BufRead) -> Result<History, ReadError> {
    let mut reader = Reader::default();
    reader.feed(input)?;
    Ok(reader.finish())
}

/// Reads a recording as it grows: only whole lines are taken, what is left waits for more.
#[derive(Default)]
pub struct Reader {
    history: History,
    line: u64,
    /// The line that the buffers' border cut.
    cut: Vec<u8>,
    scratch: Vec<u8>,
}

impl Reader {
    /// Takes all that the input has.
    pub fn feed(&mut self, mut input: impl BufRead) -> Result<(), ReadError> {
        loop {
            let buffer = input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let taken = buffer.len();
            let mut rest = buffer;
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(end);
                if self.cut.is_empty() {
                    self.line(line)?;
                } else {
                    self.cut.extend_from_slice(line);
                    let whole = std::mem::take(&mut self.cut);
                    self.line(&whole)?;
                }
                rest = &after[1..];
            }
            if self.cut.len() + rest.len() > LINE_MAX {
                let (expected, found) = ("lines of at most 256 MiB", "a longer one");
                return Err(wrong(self.line + 1, 1, expected, found));
            }
            self.cut.extend_from_slice(rest);
            input.consume(taken);
        }
    }

    /// What was read so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The whole history; a torn last line is left out and noted.
    pub fn finish(mut self) -> History {
        let torn = std::mem::take(&mut self.cut);
        if !torn.trim_ascii().is_empty() && self.line(&torn).is_err() {
            self.history.note(format!(
                "line {} is torn ({} bytes, no end of line): left out",
                self.line,
                torn.len()
            ));
        }
        self.history.note_time_order();
        self.history
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ReadError> {
        self.line += 1;
        if fast(line, &mut self.history, &mut self.scratch).is_some() {
            return Ok(());
        }
        let body = line.trim_ascii();
        if body.is_empty() || (self.line == 1 && is_header(body)?) {
            return Ok(());
        }
        let mut op: Op = serde_json::from_slice(body).map_err(|error| self.syntax(line, &error))?;
        if let Some(at) = long_integer(body) {
            let column = body[..at].len() + line.len() - line.trim_ascii_start().len() + 1;
            let (expected, found) = ("integers of at most 64 bits", "a longer one");
            return Err(wrong(self.line, column as u64, expected, found));
        }
        let told: Told = serde_json::from_slice(body).map_err(|error| self.syntax(line, &error))?;
        let row = self.history.len() as u64;
        (op.index, op.time) = (told.index.unwrap_or(row), told.time.unwrap_or(row));
        match self.history.try_push(&op) {
            Some(()) => Ok(()),
            None => Err(wrong(
                self.line,
                1,
                TOO_MANY_FUNCTIONS,
                &format!("{:?}", op.f),
            )),
        }
    }

    fn syntax(&self, line: &[u8], error: &serde_json::Error) -> ReadError {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let (found, expected) = match message.split_once("expected ") {
            Some(("", expected)) => ("something else", expected),
            Some((found, expected)) => (found.trim_end_matches(", "), expected),
            None => (message, "an op: {\"process\":…,\"type\":…,\"f\":…}"),
        };
        let blank = line.len() - line.trim_ascii_start().len();
        let column = (blank + error.column()) as u64;
        wrong(self.line, column, expected, found)
    }
}

/// What stands for its row where it is not told.
#[derive(Deserialize)]
struct Told {
    index: Option<u64>,
    time: Option<u64>,
}

fn wrong(line: u64, column: u64, expected: &str, found: &str) -> ReadError {
    ReadError::Syntax {
        line,
        column,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// Where in a text that is JSON an integer begins that fits no 64 bits. `serde_json` takes it for a
/// float, which could not be told from its neighbours.
fn long_integer(text: &[u8]) -> Option<usize> {
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'0'..=b'9' if !quoted => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b".+-".contains(byte);
                let length = text[at..].iter().take_while(|byte| is_part(byte)).count();
                let number = std::str::from_utf8(&text[at..at + length]).unwrap_or_default();
                let negative = at > 0 && text[at - 1] == b'-';
                let is_integer = number.bytes().all(|byte| byte.is_ascii_digit());
                let fits = if negative {
                    format!("-{number}").parse::<i64>().is_ok()
                } else {
                    number.parse::<u64>().is_ok()
                };
                if is_integer && !fits {
                    return Some(at);
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn is_header(line: &[u8]) -> Result<bool, ReadError> {
    #[derive(serde::Deserialize)]
    struct Header {
        ordeal: String,
        version: u64,
        /// Then it is an op, whatever else.
        process: Option<serde::de::IgnoredAny>,
    }
    let header = serde_json::from_slice::<Header>(line);
    let Some(header) = header.ok().filter(|it| it.process.is_none()) else {
        return Ok(false);
    };
    if header.ordeal == "history" && header.version == 1 {
        return Ok(true);
    }
    Err(ReadError::Syntax {
        line: 1,
        column: 1,
        expected: "a history of version 1".into(),
        found: format!("{} of version {}", header.ordeal, header.version),
    })
}

/// Reads an ordinary line into the columns. None: nothing was taken, the line is out of the ordinary.
fn fast(line: &[u8], history: &mut History, scratch: &mut Vec<u8>) -> Option<()> {
    let mut scan = Scanner::new(line);
    let (mut index, mut time, mut process, mut type_) = (None, None, None, None);
    // In the order in which we write them, fields need not be told apart.
    if let Some(begin) = begin(&mut scan) {
        (index, time) = (Some(begin.index), Some(begin.time));
        (process, type_) = (Some(begin.process), Some(begin.type_));
    } else {
        scan = Scanner::new(line);
        scan.expect(b'{')?;
    }
    let mut fields = if index.is_some() { 4 } else { 0 };
    let (mut f, mut key, mut value) = (None, None, None);
    let (mut error, mut node, mut revision) = (None, None, None);
    loop {
        fields += 1;
        let name = scan.plain_bytes()?;
        scan.expect(b':')?;
        match name {
            b"index" => index = Some(scan.unsigned()?),
            b"time" => time = Some(scan.unsigned()?),
            b"process" if scan.peek() == Some(b'"') => {
                process = Some((scan.plain_string()? == "nemesis").then_some(Process::NEMESIS)?);
            }
            b"process" => {
                let number = u32::try_from(scan.unsigned()?).ok()?;
                process = Some((number != Process::NEMESIS).then_some(number)?);
            }
            b"type" => type_ = Some(Type::from_name(scan.plain_bytes()?)?),
            b"f" => f = Some(scan.plain_string()?),
            b"key" => key = Some(scan.value(history.values_mut(), scratch)?),
            b"value" => {
                let steps = (f == Some("txn")).then(|| scan.steps(history.values_mut()));
                value = match steps.flatten() {
                    None => Some(scan.value(history.values_mut(), scratch)?),
                    steps => steps,
                }
            }
            b"error" => error = Some(scan.plain_string()?),
            b"node" => node = Some(scan.plain_string()?),
            b"revision" => revision = Some(scan.unsigned()?),
            _ => return None,
        }
        match scan.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scan.at_end()?;
    // A field that came twice is an error, and the whole parser's to tell.
    let found = [
        index.is_some(),
        time.is_some(),
        key.is_some(),
        value.is_some(),
    ];
    let rare = [error.is_some(), node.is_some(), revision.is_some()];
    let (process, type_, f) = (process?, type_?, f?);
    let distinct = found.iter().chain(&rare).filter(|it| **it).count() + 3;
    (distinct == fields).then_some(())?;
    let f = history.function(f)?;
    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
    let next = history.len() as u64;
    let row = history.push_row(time.unwrap_or(next), process, type_, f, key, value);
    history.set_index(row, index.unwrap_or(next));
    if let Some(error) = error {
        history.set_error(row, error);
    }
    if let Some(node) = node {
        history.set_node(row, node);
    }
    if let Some(revision) = revision {
        history.set_revision(row, revision);
    }
    Some(())
}

/// What every line of ours begins with.
struct Begin {
    index: u64,
    time: u64,
    process: u32,
    type_: Type,
}

/// Reads it, and the comma behind it.
#[inline]
fn begin(scan: &mut Scanner<'_>) -> Option<Begin> {
    scan.literal(b"{\"index\":")?;
    let index = scan.unsigned()?;
    scan.literal(b",\"time\":")?;
    let time = scan.unsigned()?;
    scan.literal(b",\"process\":")?;
    let process = u32::try_from(scan.unsigned()?).ok()?;
    scan.literal(b",\"type\":")?;
    let type_ = Type::from_name(scan.plain_bytes()?)?;
    scan.literal(b",")?;
    (process != Process::NEMESIS).then_some(Begin {
        index,
        time,
        process,
        type_,
    })
}

/// Writes a recording, header first.
pub fn write(history: &History, mut output: impl Write) -> std::io::Result<()> {
    writeln!(output, "{HEADER}")?;
    for op in history.ops() {
        serde_json::to_writer(&mut output, &op)?;
        output.write_all(b"\n")?;
    }
    output.flush()
}
