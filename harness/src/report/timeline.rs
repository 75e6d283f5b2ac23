//! One pass over a history, whatever its length, into a bounded number of buckets.
//!
//! The width of a bucket doubles whenever there are too many of them, so memory and the size of a
//! report do not grow with the run. Outcomes are counted when they arrive, in the buckets those
//! that are an answer together: a compare-and-set that found another value is no failure; a latency belongs to
//! the moment its operation was invoked, so that an outage shows where it began.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::ReportError;

const BUCKETS_MAX: usize = 360;
const BUCKET_NS_MIN: u64 = 50_000_000;
/// So long without any client's op, the clients rest.
const REST_NS: u64 = 500_000_000;
const LATENCY_US_MAX: u64 = 3_600_000_000;
const ERRORS_MAX: usize = 1_000;

/// Errors that are an answer, as good as an ok: the value was another, the lock was another's.
const NO: [&str; 2] = ["mismatch", "held"];

/// A history, summed up.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) bucket_ns: u64,
    pub(super) buckets: Vec<Bucket>,
    /// Outcomes for each function.
    pub(super) functions: BTreeMap<String, Function>,
    /// Errors by their words, with how often each was `fail` and `info`.
    pub(super) errors: BTreeMap<String, Counts>,
    pub(super) end_ns: u64,
    /// The longest time without an ok, from one ok to the next, while operations were invoked.
    pub(super) gap_ns: Option<(u64, u64)>,
    /// When the clients had done their work and only the last reads were left.
    pub(super) worked_ns: u64,
    /// What the nemesis wrote, in order; used where `results.json` names no faults.
    pub(super) nemesis: Vec<NemesisOp>,
    /// Lines that could not be read; the last one of a killed run is often torn.
    pub(super) unreadable: u64,
    last_ok_ns: Option<u64>,
    last_client_ns: u64,
}

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) fail: u64,
    pub(super) info: u64,
}

impl Counts {
    pub(super) fn total(self) -> u64 {
        self.ok + self.fail + self.info
    }

    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.fail += other.fail;
        self.info += other.info;
    }

    fn one(type_: Type) -> Self {
        let mut counts = Self::default();
        match type_ {
            Type::Ok => counts.ok = 1,
            Type::Fail => counts.fail = 1,
            Type::Info | Type::Invoke => counts.info = 1,
        }
        counts
    }
}

/// What happened in one stretch of time.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) counts: Counts,
    /// In microseconds, of the ok operations invoked in it.
    pub(super) latency: Option<Histogram<u32>>,
}

/// All operations of one function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) counts: Counts,
    /// In microseconds, of the ok ones.
    pub(super) latency: Histogram<u64>,
}

/// One line of the nemesis.
#[derive(Debug)]
pub(super) struct NemesisOp {
    pub(super) time_ns: u64,
    pub(super) f: String,
    pub(super) value: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// A line of the history, without what is not drawn.
#[derive(Deserialize)]
struct Line<'a> {
    time: u64,
    process: Process,
    #[serde(rename = "type")]
    type_: Type,
    #[serde(borrow)]
    f: Cow<'a, str>,
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Process {
    Client(u64),
    Nemesis(IgnoredAny),
}

impl Timeline {
    /// Reads a history file, in which the clients worked so long if that is known. An absent one is
    /// an empty timeline: the run never got that far.
    pub(super) fn read(path: &Path, worked_ns: Option<u64>) -> Result<Self, ReportError> {
        let timeline = Self {
            worked_ns: worked_ns.unwrap_or(u64::MAX),
            ..Self::new()
        };
        match std::fs::File::open(path) {
            Ok(file) => {
                let reader = BufReader::with_capacity(1 << 20, file);
                timeline.fill(reader).map_err(|source| ReportError::Read {
                    path: path.to_owned(),
                    source,
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(timeline),
            Err(source) => Err(ReportError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn new() -> Self {
        Self {
            bucket_ns: BUCKET_NS_MIN,
            buckets: Vec::new(),
            functions: BTreeMap::new(),
            errors: BTreeMap::new(),
            end_ns: 0,
            gap_ns: None,
            worked_ns: u64::MAX,
            nemesis: Vec::new(),
            unreadable: 0,
            last_ok_ns: None,
            last_client_ns: 0,
        }
    }

    fn fill(self, mut reader: impl BufRead) -> std::io::Result<Self> {
        let mut timeline = self;
        let mut pending: HashMap<u64, (u64, String)> = HashMap::new();
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            match serde_json::from_slice::<Line<'_>>(&line) {
                Ok(op) => timeline.add(op, &mut pending),
                // The first line is the format's name, not an operation.
                Err(_) if line.starts_with(b"{\"ordeal\"") => {}
                Err(_) => timeline.unreadable += 1,
            }
            line.clear();
        }
        // Who was never answered may have happened: that is what `info` says.
        for (_, (_, f)) in pending {
            timeline.function(&f).counts.info += 1;
        }
        // A system that never came back was unavailable to the end.
        timeline.note_ok(timeline.last_client_ns);
        Ok(timeline)
    }

    fn add(&mut self, op: Line<'_>, pending: &mut HashMap<u64, (u64, String)>) {
        self.end_ns = self.end_ns.max(op.time);
        let process = match op.process {
            Process::Client(process) => process,
            Process::Nemesis(_) => {
                let value = op.value.map_or("", RawValue::get);
                let value = value.chars().take(400).collect();
                self.nemesis.push(NemesisOp {
                    time_ns: op.time,
                    f: op.f.into_owned(),
                    value,
                });
                return;
            }
        };
        let quiet_since_ns = std::mem::replace(&mut self.last_client_ns, op.time);
        if matches!(op.type_, Type::Invoke) {
            // Nobody asked for anything: that is a rest of the clients, not an outage.
            if pending.is_empty() && op.time.saturating_sub(quiet_since_ns) > REST_NS {
                self.last_ok_ns = Some(op.time);
            }
            self.last_ok_ns.get_or_insert(op.time);
            pending.insert(process, (op.time, op.f.into_owned()));
            return;
        }
        let counts = Counts::one(op.type_);
        let sound_no = matches!(op.type_, Type::Fail)
            && op.error.as_deref().is_some_and(|error| NO.contains(&error));
        let drawn = if sound_no { Type::Ok } else { op.type_ };
        self.bucket(op.time).counts.add(Counts::one(drawn));
        if sound_no {
            self.note_ok(op.time);
        }
        let invoked = pending.remove(&process);
        let function = self.function(&op.f);
        function.counts.add(counts);
        if let (Type::Ok, Some((invoked_ns, _))) = (op.type_, invoked) {
            let latency_us = (op.time.saturating_sub(invoked_ns) / 1_000).clamp(1, LATENCY_US_MAX);
            function.latency.saturating_record(latency_us);
            let latency = &mut self.bucket(invoked_ns).latency;
            latency
                .get_or_insert_with(histogram)
                .saturating_record(latency_us);
            self.note_ok(op.time);
        }
        if let Some(error) = op.error {
            let words: String = error.chars().take(200).collect();
            if self.errors.len() < ERRORS_MAX || self.errors.contains_key(&words) {
                self.errors.entry(words).or_default().add(counts);
            }
        }
    }

    fn note_ok(&mut self, time_ns: u64) {
        let time_ns = time_ns.min(self.worked_ns);
        let before = self.last_ok_ns.replace(time_ns).unwrap_or(time_ns);
        let longest = self.gap_ns.map_or(0, |(start, end)| end - start);
        if time_ns.saturating_sub(before) > longest {
            self.gap_ns = Some((before, time_ns));
        }
    }

    fn function(&mut self, f: &str) -> &mut Function {
        if !self.functions.contains_key(f) {
            let function = Function {
                counts: Counts::default(),
                latency: histogram(),
            };
            self.functions.insert(f.to_owned(), function);
        }
        self.functions.get_mut(f).expect("it was just put there")
    }

    /// The bucket of a moment, widening all buckets until there is room for it.
    fn bucket(&mut self, time_ns: u64) -> &mut Bucket {
        while time_ns / self.bucket_ns >= BUCKETS_MAX as u64 {
            self.widen();
        }
        let position = (time_ns / self.bucket_ns) as usize;
        if position >= self.buckets.len() {
            self.buckets.resize_with(position + 1, Bucket::default);
        }
        &mut self.buckets[position]
    }

    fn widen(&mut self) {
        self.bucket_ns *= 2;
        let mut narrow = std::mem::take(&mut self.buckets).into_iter();
        while let Some(mut left) = narrow.next() {
            if let Some(right) = narrow.next() {
                left.counts.add(right.counts);
                left.latency = match (left.latency, right.latency) {
                    (Some(mut latency), Some(other)) => {
                        latency
                            .add(other)
                            .expect("all histograms have the same bounds");
                        Some(latency)
                    }
                    (left, right) => left.or(right),
                };
            }
            self.buckets.push(left);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.functions
            .values()
            .for_each(|function| sum.add(function.counts));
        sum
    }

    /// How many times the answer was a sound no.
    pub(super) fn sound_no(&self) -> u64 {
        let counts = NO.iter().filter_map(|word| self.errors.get(*word));
        counts.map(|counts| counts.fail).sum()
    }

    /// The latencies of all ok operations, in microseconds.
    pub(super) fn latency(&self) -> Histogram<u64> {
        let mut sum = histogram();
        for function in self.functions.values() {
            sum.add(&function.latency)
                .expect("all histograms have the same bounds");
        }
        sum
    }

    /// The operations that were answered between two moments, from the buckets, so by approximation.
    pub(super) fn ok_between(&self, start_ns: u64, end_ns: u64) -> f64 {
        let width = self.bucket_ns as f64;
        let (start, end) = (start_ns as f64 / width, end_ns as f64 / width);
        let share = |position: usize| {
            let left = position as f64;
            (end.min(left + 1.0) - start.max(left)).clamp(0.0, 1.0)
        };
        self.buckets
            .iter()
            .enumerate()
            .map(|(i, b)| b.counts.ok as f64 * share(i))
            .sum()
    }
}

fn histogram<T: hdrhistogram::Counter>() -> Histogram<T> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are sound")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(text: &str) -> Timeline {
        Timeline::new()
            .fill(text.as_bytes())
            .expect("reading from memory")
    }

    #[test]
    fn outcomes_are_counted_and_latency_belongs_to_the_invocation() {
        let timeline = read(
            r#"{"ordeal":"history","version":1}
{"index":0,"time":0,"process":0,"type":"invoke","f":"write","value":1}
{"index":1,"time":100000000,"process":1,"type":"invoke","f":"read","value":null}
{"index":2,"time":900000000,"process":0,"type":"ok","f":"write","value":1}
{"index":3,"time":950000000,"process":1,"type":"fail","f":"read","error":"not \"leader\""}
{"index":4,"time":960000000,"process":2,"type":"invoke","f":"read"}
{"index":5,"time":9700"#,
        );
        assert_eq!(timeline.unreadable, 1);
        assert_eq!(timeline.counts().total(), 3);
        assert_eq!(timeline.functions["read"].counts.info, 1, "never answered");
        assert_eq!(timeline.errors["not \"leader\""].fail, 1);
        assert_eq!(timeline.gap_ns, Some((0, 900_000_000)));
        let first = timeline.buckets[0]
            .latency
            .as_ref()
            .expect("the write began here");
        assert_eq!(first.max() / 10_000, 90);
    }

    #[test]
    fn a_rest_of_the_clients_is_no_outage() {
        let timeline = read(
            r#"{"time":0,"process":0,"type":"invoke","f":"w"}
{"time":1000000,"process":0,"type":"ok","f":"w"}
{"time":2000000,"process":0,"type":"invoke","f":"w"}
{"time":9000000,"process":0,"type":"ok","f":"w"}
{"time":60000000000,"process":0,"type":"invoke","f":"w"}
{"time":60001000000,"process":0,"type":"ok","f":"w"}"#,
        );
        assert_eq!(timeline.gap_ns, Some((1_000_000, 9_000_000)));
    }

    #[test]
    fn the_wait_for_the_last_reads_is_no_outage() {
        let text = r#"{"time":0,"process":0,"type":"invoke","f":"w"}
{"time":1000000,"process":0,"type":"ok","f":"w"}
{"time":2000000,"process":0,"type":"invoke","f":"r"}
{"time":90000000,"process":0,"type":"ok","f":"r"}"#;
        let worked = Timeline {
            worked_ns: 5_000_000,
            ..Timeline::new()
        };
        let timeline = worked.fill(text.as_bytes()).expect("reading from memory");
        assert_eq!(timeline.gap_ns, Some((1_000_000, 5_000_000)));
    }

    #[test]
    fn buckets_stay_bounded_and_lose_nothing() {
        let mut text = String::new();
        for second in 0..100_000_u64 {
            let time = second * 1_000_000_000;
            let _ = writeln!(
                text,
                r#"{{"time":{time},"process":0,"type":"invoke","f":"w"}}"#
            );
            let _ = writeln!(
                text,
                r#"{{"time":{},"process":0,"type":"ok","f":"w"}}"#,
                time + 2000
            );
        }
        let timeline = read(&text);
        assert!(timeline.buckets.len() <= BUCKETS_MAX);
        assert_eq!(
            timeline
                .buckets
                .iter()
                .map(|bucket| bucket.counts.ok)
                .sum::<u64>(),
            100_000
        );
        let latencies = timeline
            .buckets
            .iter()
            .filter_map(|bucket| bucket.latency.as_ref());
        assert_eq!(latencies.map(Histogram::len).sum::<u64>(), 100_000);
        assert!((timeline.ok_between(0, u64::MAX) - 100_000.0).abs() < 1.0);
    }
}
