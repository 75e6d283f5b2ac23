//! Where histories come from and go to: any format, compressed or not, told by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Instant;

use super::columns::History;
use super::error::{Clock, ReadError};
use super::op::{Process, Type};
use super::values::ValueId;
use super::{edn, jsonl, text};

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The project's own: see [`jsonl`].
    Jsonl,
    /// Jepsen's: see [`edn`].
    Edn,
    /// Jepsen's lines for the eye: see [`text`]. Read only.
    Text,
}

impl Format {
    /// The format that a text beginning like this is in.
    fn detect(start: &[u8]) -> Format {
        let mut bytes = start
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace());
        match bytes.next() {
            Some(b'{') if bytes.next() == Some(b'"') => Format::Jsonl,
            Some(b'{' | b'[' | b'(' | b';' | b'#') => Format::Edn,
            None => Format::Jsonl,
            Some(_) => Format::Text,
        }
    }

    /// The format that a file's name promises, with the compression's ending apart.
    pub fn of_name(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?;
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        match name.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
            "edn" => Some(Format::Edn),
            "txt" | "log" => Some(Format::Text),
            _ => None,
        }
    }
}

/// How to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; none: told by the first bytes.
    pub format: Option<Format>,
    /// Whether values are Jepsen's independent tuples `[key value]`; none: told by the ops, which
    /// is noted, and never so in JSONL, whose ops have a `key`.
    pub independent: Option<bool>,
    /// When to give up; none: never.
    pub deadline: Option<Instant>,
}

/// Bytes that can be had until a deadline.
struct Until<R> {
    input: R,
    clock: Clock,
}

impl<R: Read> Read for Until<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let late = |late| io::Error::new(io::ErrorKind::TimedOut, late);
        self.clock.look().map_err(late)?;
        self.input.read(buffer)
    }
}

/// Reads a history, unpacking gzip and zstd.
pub fn read(input: impl Read, options: ReadOptions) -> Result<History, ReadError> {
    let clock = Clock::until(options.deadline);
    unpack(Until { input, clock }, options).map_err(|error| match error {
        // The deadline, as it comes through readers of bytes.
        ReadError::Io(error)
            if error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<ReadError>) =>
        {
            ReadError::OutOfTime
        }
        other => other,
    })
}

fn unpack(input: impl Read, options: ReadOptions) -> Result<History, ReadError> {
    const BUFFER_BYTES: usize = 1 << 18;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let start = input.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        let unpacked = flate2::bufread::MultiGzDecoder::new(input);
        return plain(BufReader::with_capacity(BUFFER_BYTES, unpacked), options);
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let unpacked = zstd::Decoder::with_buffer(input)?;
        return plain(BufReader::with_capacity(BUFFER_BYTES, unpacked), options);
    }
    plain(input, options)
}

/// Bytes of EDN or text, unpacked: a small file may unpack to more than there is memory.
const WHOLE_MAX: u64 = 4 << 30;

fn plain(mut input: impl BufRead, options: ReadOptions) -> Result<History, ReadError> {
    let format = match options.format {
        Some(format) => format,
        None => Format::detect(input.fill_buf()?),
    };
    if format == Format::Jsonl {
        let history = jsonl::read(input)?;
        return Ok(match options.independent {
            Some(true) => untupled(&history),
            _ => history,
        });
    }
    let mut whole = Vec::new();
    input.take(WHOLE_MAX + 1).read_to_end(&mut whole)?;
    if whole.len() as u64 > WHOLE_MAX {
        let large = "more than 4 GiB of EDN or text, which is read whole: JSONL has no such bound";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, large).into());
    }
    let clock = Clock::until(options.deadline);
    let read = |independent| match format {
        Format::Edn => edn::read_until(&whole, independent, clock),
        _ => text::read_until(&whole, independent, clock),
    };
    let history = read(options.independent.unwrap_or(false))?;
    if options.independent.is_some() || !looks_independent(&history) {
        return Ok(history);
    }
    let mut history = read(true)?;
    history.note("reads are asked with [key nil]: values were taken as [key value]".into());
    Ok(history)
}

/// The same with the key of each value `[key value]` as that of its op.
fn untupled(history: &History) -> History {
    let mut untupled: History = (0..history.len())
        .map(|row| {
            let mut op = history.op(row);
            edn::untuple(&mut op);
            op
        })
        .collect();
    for note in history.notes() {
        untupled.note(note.clone());
    }
    untupled
}

/// Whether every value is a pair, and reads are asked with a pair of which the second is null. An answer may
/// also be null.
fn looks_independent(history: &History) -> bool {
    let mut asked = false;
    let clients = history.rows().filter(|row| row.process != Process::Nemesis);
    for row in clients {
        let Some([_, value]) = history.values().pair(row.value) else {
            if row.type_ != Type::Invoke && row.value == ValueId::NULL {
                continue;
            }
            return false;
        };
        let reads = matches!(row.f, "read" | "r" | "get");
        if row.type_ == Type::Invoke && reads {
            if !value.is_null() {
                return false;
            }
            asked = true;
        }
    }
    asked
}

/// Reads a file; `-` is standard input.
pub fn read_file(path: &Path, options: ReadOptions) -> Result<History, ReadError> {
    if path == Path::new("-") {
        return read(io::stdin().lock(), options);
    }
    read(File::open(path)?, options)
}

/// Writes a file, packed when its name ends in `.gz` or `.zst`; `-` is standard output.
pub fn write_file(history: &History, path: &Path, format: Format) -> io::Result<()> {
    if path == Path::new("-") {
        return write(history, BufWriter::new(io::stdout().lock()), format);
    }
    let file = BufWriter::new(File::create(path)?);
    match path.extension().and_then(|it| it.to_str()) {
        Some("gz") => {
            let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            write(history, &mut packed, format)?;
            packed.finish()?.flush()
        }
        Some("zst") => {
            let mut packed = zstd::Encoder::new(file, 0)?;
            write(history, &mut packed, format)?;
            packed.finish()?.flush()
        }
        _ => write(history, file, format),
    }
}

/// Writes a history.
pub fn write(history: &History, output: impl Write, format: Format) -> io::Result<()> {
    match format {
        Format::Jsonl => jsonl::write(history, output),
        Format::Edn => edn::write(history, output),
        Format::Text => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "histories are written as JSONL or EDN, not as text",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_gives_up_at_the_deadline_when_all_bytes_are_there() {
        let clock = || Clock::until(Some(Instant::now()));
        let edn = "{:process 0, :type :invoke, :f :read}\n".repeat(5000);
        let lines = "0 :invoke :read nil\n".repeat(5000);
        let late = |read: Result<History, ReadError>| matches!(read, Err(ReadError::OutOfTime));
        assert!(late(edn::read_until(edn.as_bytes(), false, clock())));
        assert!(late(text::read_until(lines.as_bytes(), false, clock())));
        let deadline = Some(Instant::now());
        let options = ReadOptions {
            deadline,
            ..ReadOptions::default()
        };
        assert!(late(read("{}".as_bytes(), options)));
    }
}
