//! What the one-pass checks share: calls with their values at hand, and a tally of what they find.
//!
//! These checks ([`set`](crate::set), [`queue`](crate::queue) and the like) are not searches: each is
//! one pass over a history and counts what must not be. They say what they found as data; the
//! sentences are in [`wording`](mod@crate::wording).

use hashbrown::HashMap;
use serde_json::{Map, Value};

use crate::history::{Call, History, Op, Outcome, Process, ValueId};
use crate::options::Options;
use crate::verdict::{Anomaly, Report, Verdict};
use crate::wording;

/// One call: what was asked, what was answered, when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) process: u32,
    pub(crate) f: &'a str,
    pub(crate) key: ValueId,
    pub(crate) argument: ValueId,
    /// The answer; null unless the call is known to have happened.
    pub(crate) answer: ValueId,
    pub(crate) outcome: Outcome,
    /// Row of the invocation.
    pub(crate) invoked: u32,
    /// Row at which the call had surely ended: [`Call::OPEN`] unless it is known to have happened.
    pub(crate) ended: u32,
    /// Row of the completion, whatever it says.
    completed: Option<usize>,
}

impl Entry<'_> {
    pub(crate) fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether it happened, or may have.
    pub(crate) fn may_have_happened(&self) -> bool {
        self.outcome != Outcome::Fail
    }

    /// The rows to show: the invocation, and the completion when there is one.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + use<> {
        [self.invoked, self.ended]
            .into_iter()
            .filter(|&row| row != Call::OPEN)
    }
}

/// The calls of a history's clients, in order of invocation.
pub(crate) fn entries(history: &History) -> Result<Vec<Entry<'_>>, String> {
    let calls = history
        .calls()
        .map_err(|error| format!("the history is malformed: {error}"))?;
    let entry = |call: &Call| {
        let row = history.row(call.invoke as usize);
        let Process::Client(process) = row.process else {
            return None;
        };
        let outcome = call.outcome(history);
        let ended = if outcome == Outcome::Ok {
            call.complete
        } else {
            Call::OPEN
        };
        let answer = match ended {
            Call::OPEN => ValueId::NULL,
            row => history.row(row as usize).value,
        };
        Some(Entry {
            process,
            f: row.f,
            key: row.key,
            argument: row.value,
            answer,
            outcome,
            invoked: call.invoke,
            ended,
            completed: call.completion(),
        })
    };
    Ok(calls.iter().filter_map(entry).collect())
}

/// Runs a check on each key's calls, or on all of them when the object has no keys.
pub(crate) fn check_keys(
    history: &History,
    options: &Options,
    check: impl Fn(&mut Tally, &[Entry]),
) -> Report {
    let entries = match entries(history) {
        Ok(entries) => entries,
        Err(reason) => return Report::unknown(options.model.name(), reason),
    };
    let mut tally = Tally::new(history, options);
    tally.calls = entries.len() as u64;
    if !options.by_key {
        tally.keys = 1;
        check(&mut tally, &entries);
        return tally.report();
    }
    let mut order: Vec<Vec<Entry>> = Vec::new();
    let mut places: HashMap<ValueId, usize> = HashMap::new();
    for entry in entries {
        let place = *places.entry(entry.key).or_insert_with(|| {
            order.push(Vec::new());
            order.len() - 1
        });
        order[place].push(entry);
    }
    tally.keys = order.len() as u64;
    for entries in &order {
        tally.key = entries[0].key;
        check(&mut tally, entries);
    }
    tally.report()
}

/// What a check found so far.
pub(crate) struct Tally<'a> {
    pub(crate) history: &'a History,
    pub(crate) options: &'a Options,
    calls: u64,
    keys: u64,
    key: ValueId,
    found: Vec<Found>,
    unknown: Option<String>,
    facts: Map<String, Value>,
}

struct Found {
    name: &'static str,
    count: u64,
    wrong: bool,
    rows: Vec<u32>,
    details: Value,
}

impl<'a> Tally<'a> {
    fn new(history: &'a History, options: &'a Options) -> Self {
        Self {
            history,
            options,
            calls: 0,
            keys: 0,
            key: ValueId::NULL,
            found: Vec::new(),
            unknown: None,
            facts: Map::new(),
        }
    }

    /// Something that must not be. `details` are made for the first of its name only.
    pub(crate) fn wrong(
        &mut self,
        name: &'static str,
        calls: &[Entry],
        details: impl FnOnce() -> Value,
    ) {
        self.add(name, true, calls, details);
    }

    /// Something worth telling that breaks no promise.
    pub(crate) fn noted(
        &mut self,
        name: &'static str,
        calls: &[Entry],
        details: impl FnOnce() -> Value,
    ) {
        self.add(name, false, calls, details);
    }

    fn add(
        &mut self,
        name: &'static str,
        wrong: bool,
        calls: &[Entry],
        details: impl FnOnce() -> Value,
    ) {
        if let Some(found) = self.found.iter_mut().find(|found| found.name == name) {
            found.count += 1;
            return;
        }
        let mut rows: Vec<u32> = calls.iter().flat_map(Entry::rows).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut details = details();
        if !self.key.is_null() {
            details["key"] = self.history.values().value(self.key);
        }
        self.found.push(Found {
            name,
            count: 1,
            wrong,
            rows,
            details,
        });
    }

    /// The check cannot tell, because of this.
    pub(crate) fn unknown(&mut self, reason: String) {
        self.unknown.get_or_insert(reason);
    }

    /// Adds to a number that the report carries.
    pub(crate) fn count(&mut self, name: &str, more: u64) {
        let before = self.facts.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.facts
            .insert(name.to_owned(), Value::from(before + more));
    }

    /// Sets a fact that the report carries.
    pub(crate) fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_owned(), value);
    }

    /// A value of the history.
    pub(crate) fn value(&self, id: ValueId) -> Value {
        self.history.values().value(id)
    }

    /// A value that should be a whole number.
    pub(crate) fn integer(&self, id: ValueId) -> Option<i64> {
        id.small_integer().or_else(|| self.value(id).as_i64())
    }

    /// Whether a call surely failed, for this reason.
    pub(crate) fn failed_with(&self, entry: &Entry, error: &str) -> bool {
        let told = entry.completed.and_then(|row| self.history.error(row));
        entry.outcome == Outcome::Fail && told.as_deref() == Some(error)
    }

    /// The recorded time of a row.
    pub(crate) fn time_ns(&self, row: u32) -> u64 {
        self.history.row(row as usize).time
    }

    fn report(mut self) -> Report {
        let model = self.options.model.name();
        let wrong = self.found.iter().any(|found| found.wrong);
        let verdict = match (wrong, &self.unknown) {
            (true, _) => Verdict::Invalid,
            (false, Some(_)) => Verdict::Unknown,
            (false, None) => Verdict::Valid,
        };
        self.found.sort_by_key(|found| (!found.wrong, found.name));
        let mut report = Report::new(model, verdict);
        report.figures.ops = self.calls;
        report.figures.keys = self.keys;
        for found in &self.found {
            let sentence = wording::tell(model, found.name, &found.details);
            report.anomalies.push(Anomaly {
                name: found.name.to_owned(),
                count: found.count,
                explanation: vec![sentence],
                ops: found
                    .rows
                    .iter()
                    .map(|&row| self.history.op(row as usize))
                    .collect::<Vec<Op>>(),
                details: found.details.clone(),
            });
        }
        if wrong {
            let worst = &report.anomalies[0];
            report.reason = worst.explanation.first().cloned();
            report.explanation.clone_from(&worst.explanation);
            report.counterexample.clone_from(&worst.ops);
        } else {
            report.reason = self.unknown;
        }
        if !self.facts.is_empty() {
            report.details = Value::Object(self.facts);
        }
        report
    }
}
