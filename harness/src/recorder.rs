//! The sole writer of a history.
//!
//! An invocation is handed to the kernel before its call leaves, so that a harness that is killed
//! has never asked a system for something that its history does not show; the disk has it within
//! a second. Nothing is kept in memory but the bytes on their way.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

/// How long the disk may lag behind.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// So many bytes may wait for the next invocation to take them to the kernel.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Writes `history.jsonl`.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    inner: Mutex<Inner>,
    /// The same file, to sync it without holding up the writers.
    syncer: File,
}

#[derive(Debug)]
struct Inner {
    file: File,
    index: u64,
    waiting: Vec<u8>,
    /// The first error; from then on nothing is recorded, and the run must end.
    error: Option<String>,
}

/// One line, as the checker's reader takes it.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Its place; the recorder sets it.
    pub index: u64,
    /// Nanoseconds since the run began; the recorder sets it.
    pub time: u64,
    /// Who.
    pub process: Who,
    /// `invoke`, `ok`, `fail` or `info`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The function.
    pub f: &'a str,
    /// The object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// Argument or answer.
    pub value: &'a Value,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// The node that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<&'a str>,
    /// The revision that the system told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
}

/// The process of a line.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Who {
    /// A logical client.
    Process(u64),
    /// The nemesis.
    Nemesis(&'static str),
}

impl<'a> Line<'a> {
    /// A line of a client.
    pub fn of(process: u64, kind: &'a str, f: &'a str, value: &'a Value) -> Line<'a> {
        let process = Who::Process(process);
        Line {
            index: 0,
            time: 0,
            process,
            kind,
            f,
            key: None,
            value,
            error: None,
            node: None,
            revision: None,
        }
    }
}

impl Recorder {
    /// Begins a history; time counts from `start`.
    pub fn create(file: &Path, start: Instant) -> std::io::Result<Recorder> {
        let mut history = File::create_new(file)?;
        history.write_all(b"{\"ordeal\":\"history\",\"version\":1}\n")?;
        let syncer = history.try_clone()?;
        let inner = Inner {
            file: history,
            index: 0,
            waiting: Vec::new(),
            error: None,
        };
        Ok(Recorder {
            start,
            inner: Mutex::new(inner),
            syncer,
        })
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Records an invocation; the kernel has it when this returns. Gives back its time.
    pub fn invoke(&self, line: Line<'_>) -> u64 {
        self.append(line, true)
    }

    /// Records anything else. Gives back its time.
    pub fn complete(&self, line: Line<'_>) -> u64 {
        self.append(line, false)
    }

    /// Records what the nemesis did.
    pub fn nemesis(&self, f: &str, value: &Value) -> u64 {
        let line = Line {
            process: Who::Nemesis("nemesis"),
            ..Line::of(0, "info", f, value)
        };
        self.append(line, true)
    }

    fn append(&self, mut line: Line<'_>, now: bool) -> u64 {
        let mut inner = self.inner.lock().expect("no writer panics");
        // Under the lock, so that times never run backwards in the file.
        line.time = self.now_ns();
        line.index = inner.index;
        inner.index += 1;
        serde_json::to_writer(&mut inner.waiting, &line).expect("a line is plain JSON");
        inner.waiting.push(b'\n');
        if now || inner.waiting.len() >= WAITING_BYTES_MAX {
            inner.write();
        }
        line.time
    }

    /// How many lines were recorded.
    pub fn lines(&self) -> u64 {
        self.inner.lock().expect("no writer panics").index
    }

    /// Why recording has stopped, if it has: a full disk, mostly.
    pub fn error(&self) -> Option<String> {
        self.inner.lock().expect("no writer panics").error.clone()
    }

    /// Brings everything to the disk.
    pub fn sync(&self) {
        self.inner.lock().expect("no writer panics").write();
        if let Err(error) = self.syncer.sync_data() {
            self.inner.lock().expect("no writer panics").refuse(&error);
        }
    }

    /// Keeps the disk up to date until the task is aborted.
    pub async fn keep_synced(self: std::sync::Arc<Self>) {
        loop {
            tokio::time::sleep(SYNC_EVERY).await;
            let recorder = std::sync::Arc::clone(&self);
            // A sync may take long, and must hold up no client.
            let _ = tokio::task::spawn_blocking(move || recorder.sync()).await;
        }
    }
}

impl Inner {
    fn write(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.file.write_all(&self.waiting)
        {
            self.refuse(&error);
        }
        self.waiting.clear();
    }

    fn refuse(&mut self, error: &std::io::Error) {
        self.error
            .get_or_insert_with(|| format!("the history cannot be written: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_is_in_the_file_before_the_call_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&file, Instant::now()).unwrap();
        let value = Value::from(5);
        recorder.complete(Line::of(0, "ok", "write", &value));
        recorder.invoke(Line {
            key: Some("k"),
            ..Line::of(1, "invoke", "write", &value)
        });
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["index"], 1);
        assert_eq!(lines[2]["process"], 1);
        assert!(lines[1]["time"].as_u64() <= lines[2]["time"].as_u64());
    }

    #[test]
    fn a_full_disk_is_told_and_stops_nothing_else() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return;
        };
        let inner = Inner {
            file: full,
            index: 0,
            waiting: Vec::new(),
            error: None,
        };
        let syncer = tempfile::tempfile().unwrap();
        let recorder = Recorder {
            start: Instant::now(),
            inner: Mutex::new(inner),
            syncer,
        };
        recorder.invoke(Line::of(0, "invoke", "read", &Value::Null));
        recorder.invoke(Line::of(0, "invoke", "read", &Value::Null));
        assert!(recorder.error().unwrap().contains("cannot be written"));
    }
}
