//! Counts while a run is on: what the progress line, the coverage and the figures are made of.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::system::Outcome;

/// So many different error words are told apart; what comes after is counted together.
const ERRORS_MAX: usize = 32;

/// The longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// The parts of a run, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Before the first fault.
    Before,
    /// While faults come and go.
    During,
    /// After the final heal.
    After,
    /// The last reads.
    Final,
}

const PARTS: [Part; 4] = [Part::Before, Part::During, Part::After, Part::Final];

/// An operation that has ended.
#[derive(Debug)]
pub struct Done<'a> {
    /// The function.
    pub f: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// The error's word.
    pub error: Option<&'a str>,
    /// The node that was asked.
    pub node: usize,
    /// From the (intended) start to the end.
    pub latency: Duration,
    /// When it ended, from the start of the run.
    pub time_ns: u64,
}

/// The counts.
#[derive(Debug)]
pub struct Tally {
    part: AtomicU8,
    /// When the last ok operation ended.
    last_ok_ns: AtomicU64,
    longest_gap_ns: AtomicU64,
    /// When the final heal was done; `u64::MAX` before.
    healed_ns: AtomicU64,
    /// For each node the first ok operation after that; `u64::MAX` until there is one.
    recovered_ns: Vec<AtomicU64>,
    inner: Mutex<Counts>,
}

/// Counts by part, function and outcome.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Outcomes by part and function.
    pub outcomes: BTreeMap<(Part, String), Outcomes>,
    /// Errors by word.
    pub errors: BTreeMap<String, u64>,
    /// Latencies of ok operations in microseconds, by function.
    pub latencies_us: BTreeMap<String, Histogram<u64>>,
}

/// How operations ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Happened.
    pub ok: u64,
    /// Did not happen.
    pub fail: u64,
    /// Unknown.
    pub info: u64,
}

impl Outcomes {
    /// All of them.
    pub fn total(self) -> u64 {
        self.ok + self.fail + self.info
    }

    fn add(&mut self, other: Outcomes) {
        self.ok += other.ok;
        self.fail += other.fail;
        self.info += other.info;
    }
}

impl Tally {
    /// Nothing counted yet, for so many nodes.
    pub fn new(nodes: usize) -> Tally {
        Tally {
            part: AtomicU8::new(0),
            last_ok_ns: AtomicU64::new(0),
            longest_gap_ns: AtomicU64::new(0),
            healed_ns: AtomicU64::new(u64::MAX),
            recovered_ns: (0..nodes).map(|_| AtomicU64::new(u64::MAX)).collect(),
            inner: Mutex::default(),
        }
    }

    /// From now on operations count for this part.
    pub fn enter(&self, part: Part) {
        self.part.store(part as u8, Ordering::Relaxed);
    }

    /// Everything is healed; from here recovery is measured.
    pub fn healed(&self, time_ns: u64) {
        self.healed_ns.store(time_ns, Ordering::Relaxed);
    }

    /// A node that is no member has nothing to recover: its clients are not waited for.
    pub fn excuse(&self, node: usize) {
        self.recovered_ns[node].store(0, Ordering::Relaxed);
    }

    /// Counts one.
    pub fn count(&self, done: &Done<'_>) {
        if done.outcome == Outcome::Ok {
            let last = self.last_ok_ns.fetch_max(done.time_ns, Ordering::Relaxed);
            self.longest_gap_ns
                .fetch_max(done.time_ns.saturating_sub(last), Ordering::Relaxed);
            if done.time_ns > self.healed_ns.load(Ordering::Relaxed) {
                self.recovered_ns[done.node].fetch_min(done.time_ns, Ordering::Relaxed);
            }
        }
        let part = PARTS[self.part.load(Ordering::Relaxed) as usize];
        let mut counts = self.inner.lock().expect("nobody panics while counting");
        counts.count(part, done);
    }

    /// The clients stop here: a gap up to now is a gap too.
    pub fn close(&self, time_ns: u64) {
        let last = self.last_ok_ns.load(Ordering::Relaxed);
        self.longest_gap_ns
            .fetch_max(time_ns.saturating_sub(last), Ordering::Relaxed);
    }

    /// The longest time without an ok operation.
    pub fn longest_outage(&self) -> Duration {
        Duration::from_nanos(self.longest_gap_ns.load(Ordering::Relaxed))
    }

    /// From the final heal to the moment when every node's clients had an ok operation again;
    /// none when some never had.
    pub fn recovery(&self) -> Option<Duration> {
        let healed = self.healed_ns.load(Ordering::Relaxed);
        let last = self
            .recovered_ns
            .iter()
            .map(|at| at.load(Ordering::Relaxed))
            .max()?;
        (last != u64::MAX).then(|| Duration::from_nanos(last.saturating_sub(healed)))
    }

    /// All outcomes so far.
    pub fn total(&self) -> Outcomes {
        self.inner
            .lock()
            .expect("nobody panics while counting")
            .total()
    }

    /// A copy of all counts.
    pub fn counts(&self) -> Counts {
        self.inner
            .lock()
            .expect("nobody panics while counting")
            .clone()
    }
}

impl Counts {
    fn count(&mut self, part: Part, done: &Done<'_>) {
        let outcomes = self.outcomes.entry((part, done.f.to_owned())).or_default();
        match done.outcome {
            Outcome::Ok => outcomes.ok += 1,
            Outcome::Fail => outcomes.fail += 1,
            Outcome::Info => outcomes.info += 1,
        }
        if let Some(error) = done.error {
            let known = self.errors.contains_key(error) || self.errors.len() < ERRORS_MAX;
            let word = if known { error } else { "other errors" };
            *self.errors.entry(word.to_owned()).or_default() += 1;
        }
        if done.outcome == Outcome::Ok {
            if !self.latencies_us.contains_key(done.f) {
                let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
                let histogram = histogram.expect("bounds that a histogram can have");
                self.latencies_us.insert(done.f.to_owned(), histogram);
            }
            let histogram = self.latencies_us.get_mut(done.f).expect("just put there");
            histogram.saturating_record(done.latency.as_micros() as u64);
        }
    }

    /// The ok operations of one function in one part.
    pub fn ok(&self, part: Part, f: &str) -> u64 {
        self.outcomes
            .get(&(part, f.to_owned()))
            .map_or(0, |outcomes| outcomes.ok)
    }

    /// All outcomes.
    pub fn total(&self) -> Outcomes {
        let mut total = Outcomes::default();
        self.outcomes
            .values()
            .for_each(|outcomes| total.add(*outcomes));
        total
    }

    /// Outcomes by function, over all parts.
    pub fn by_function(&self) -> BTreeMap<&str, Outcomes> {
        let mut functions: BTreeMap<&str, Outcomes> = BTreeMap::new();
        for ((_, f), outcomes) in &self.outcomes {
            functions.entry(f).or_default().add(*outcomes);
        }
        functions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(outcome: Outcome, node: usize, time_ns: u64) -> Done<'static> {
        Done {
            f: "read",
            outcome,
            error: None,
            node,
            latency: Duration::from_millis(1),
            time_ns,
        }
    }

    #[test]
    fn latencies_are_kept_to_three_digits() {
        let tally = Tally::new(1);
        for millis in 1..=1_000 {
            tally.count(&Done {
                latency: Duration::from_millis(millis),
                ..done(Outcome::Ok, 0, millis)
            });
        }
        let counts = tally.counts();
        let at = |quantile| counts.latencies_us["read"].value_at_quantile(quantile);
        assert!((499_000..=501_000).contains(&at(0.5)), "{}", at(0.5));
        assert!((989_000..=991_000).contains(&at(0.99)), "{}", at(0.99));
    }

    #[test]
    fn the_longest_outage_counts_to_the_end() {
        let tally = Tally::new(1);
        tally.count(&done(Outcome::Ok, 0, 5));
        tally.count(&done(Outcome::Fail, 0, 90));
        tally.count(&done(Outcome::Ok, 0, 25));
        tally.close(100);
        assert_eq!(tally.longest_outage(), Duration::from_nanos(75));
    }

    #[test]
    fn recovery_waits_for_the_last_node() {
        let tally = Tally::new(2);
        tally.count(&done(Outcome::Ok, 0, 5));
        tally.healed(10);
        tally.count(&done(Outcome::Ok, 0, 12));
        assert_eq!(tally.recovery(), None);
        tally.count(&done(Outcome::Info, 1, 15));
        tally.count(&done(Outcome::Ok, 1, 40));
        tally.count(&done(Outcome::Ok, 1, 50));
        assert_eq!(tally.recovery(), Some(Duration::from_nanos(30)));
        let tally = Tally::new(2);
        tally.healed(10);
        tally.count(&done(Outcome::Ok, 0, 12));
        tally.excuse(1);
        assert_eq!(tally.recovery(), Some(Duration::from_nanos(2)));
    }
}
