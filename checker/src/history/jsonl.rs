//! The project's own format: a header line, then one op a line.
//!
//! ```text
//! {"ordeal":"history","version":1}
//! {"index":0,"time":1234567,"process":3,"type":"invoke","f":"write","key":"k1","value":5}
//! ```
//! The header may be missing. A last line without its newline that is no op is a torn write: it is
//! left out and noted.

use std::io::{BufRead, Write};

use super::columns::History;
use super::error::ReadError;
use super::op::Op;

/// The first line of a recording.
pub const HEADER: &str = r#"{"ordeal":"history","version":1}"#;

/// Reads a whole recording.
pub fn read(mut input: impl BufRead) -> Result<History, ReadError> {
    let mut history = History::new();
    let mut text = Vec::new();
    let mut line = 0u64;
    loop {
        text.clear();
        if input.read_until(b'\n', &mut text)? == 0 {
            return Ok(history);
        }
        line += 1;
        let torn = text.last() != Some(&b'\n');
        let body = text.trim_ascii();
        if body.is_empty() || (line == 1 && is_header(body, line)?) {
            continue;
        }
        match serde_json::from_slice::<Op>(body) {
            Ok(op) => history.push(&op),
            Err(_) if torn => {
                history.note(format!(
                    "line {line} is torn ({} bytes without a newline): left out",
                    text.len()
                ));
            }
            Err(error) => {
                return Err(ReadError::Syntax {
                    line,
                    column: error.column() as u64,
                    expected: "an op".into(),
                    found: error.to_string(),
                });
            }
        }
    }
}

fn is_header(line: &[u8], number: u64) -> Result<bool, ReadError> {
    #[derive(serde::Deserialize)]
    struct Header {
        ordeal: String,
        version: u64,
    }
    let Ok(header) = serde_json::from_slice::<Header>(line) else {
        return Ok(false);
    };
    if header.ordeal == "history" && header.version == 1 {
        return Ok(true);
    }
    Err(ReadError::Syntax {
        line: number,
        column: 1,
        expected: "a history of version 1".into(),
        found: format!("{} of version {}", header.ordeal, header.version),
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
