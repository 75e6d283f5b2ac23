//! Linearizability: structure first, search where structure ends.

mod bits;
mod budget;
mod certificate;
mod explain;
mod frontier;
mod keys;
mod object;
mod online;
mod rounds;
mod search;
mod shrink;
mod space;
mod structure;
mod timeline;
#[cfg(test)]
mod twin;
mod witness;
mod zones;

pub(crate) use online::Follow;
pub use online::{Online, Violation};
#[cfg(test)]
pub(crate) use twin::seed;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::history::{Calls, History, HistoryError, ValueId};
use crate::model::register::{Decoder, Operation};
use crate::model::sequence::Discipline;
use crate::model::{Specification, aggregate, kv, lock, multi_register, sequence};
use crate::options::{Budget, Model, Options};
use crate::resident::Growth;
use crate::verdict::{KeyReport, Report, Verdict};
use budget::{Meter, Purse, Spent};
use frontier::Told;
use keys::{Keys, Uncut};
use rounds::{Culprits, Decision};
use search::Answer;
use space::{Numbered, RegisterSpace, Space, Timed};
use structure::{Outcome, Structured};

/// Checks the linearizable model that the options name.
pub(crate) fn check(history: &History, options: &Options) -> Report {
    let initial = &options.initial;
    let queue = |discipline| check_structured(&sequence::Queue(discipline), history, options);
    match options.model {
        Model::Kv => check_structured(&kv::Kv, history, options),
        Model::MultiRegister => {
            let model = multi_register::MultiRegister {
                initial: initial.clone(),
            };
            let together = Options {
                by_key: false,
                ..options.clone()
            };
            check_objects(&model, history, &together)
        }
        Model::Set => check_structured(&aggregate::Set::default(), history, options),
        Model::Counter => {
            let initial = initial.as_i64().unwrap_or(0);
            check_structured(&aggregate::Counter { initial }, history, options)
        }
        Model::Queue => queue(Discipline::Queue),
        Model::Stack => queue(Discipline::Stack),
        Model::PriorityQueue => queue(Discipline::Priority),
        Model::Mutex => check_objects(&lock::Lock { owned: false }, history, options),
        Model::Lock => check_objects(&lock::Lock { owned: true }, history, options),
        Model::Lease => check_objects(&lock::Lease, history, options),
        Model::AppendLog => check_structured(&sequence::Log::default(), history, options),
        _ => check_registers(history, options),
    }
}

fn check_registers(history: &History, options: &Options) -> Report {
    let started = Instant::now();
    let purse = purse(options, started);
    let alive = || purse.time_left().is_ok();
    let calls = match history.calls_while(alive) {
        Ok(Some(calls)) => calls,
        Ok(None) => return Uncut::Spent(purse.ended()).report(options),
        Err(error) => return malformed(options, &error),
    };
    let decoder = Decoder::new(history, options.failed_cas_differs);
    let initial = decoder.id(&options.initial);
    let take = |call| decoder.decode(call);
    let registers = match Keys::cut(history, &calls, options.by_key, &purse, take) {
        Ok(registers) => registers,
        Err(uncut) => return uncut.report(options),
    };
    let decisions = rounds::decide(registers.ids().len(), &purse, |number, steps| {
        let operations = registers.of_key(number);
        let mut copied = Meter::new(&purse, 0);
        if let Cow::Owned(copy) = &operations {
            copied.hold(size_of_val(&copy[..]) as u64)?;
        }
        decide_register(
            history,
            &operations,
            initial,
            options.certify,
            &purse,
            steps,
        )
    });
    let whole = Whole {
        history,
        options,
        calls: &calls,
        keys: registers.ids(),
        purse: &purse,
        started,
    };
    whole.report(&decisions, |number, _| {
        RegisterSpace::new(&registers.of_key(number), initial)
    })
}

/// Checks objects of any specification, by search.
pub(crate) fn check_objects<M: Specification>(
    model: &M,
    history: &History,
    options: &Options,
) -> Report {
    let undecided = |_: &[Timed], _: &[M::Op], _: &mut Meter<'_>| Outcome::Undecided;
    let unread = |_: &str, _: &[u8], _: &mut Vec<u32>| None;
    check_each(model, history, options, unread, undecided, |op, _| {
        op.clone()
    })
}

/// Checks objects by search, unless their structure decides them.
fn check_structured<M: Structured>(model: &M, history: &History, options: &Options) -> Report {
    let decide = |operations: &[Timed], classes: &[M::Op], meter: &mut Meter<'_>| {
        model.decide(operations, classes, meter)
    };
    let read_list = |f: &str, text: &[u8], room: &mut Vec<u32>| model.read_list(f, text, room);
    check_each(model, history, options, read_list, decide, |op, about| {
        model.narrow(op, about)
    })
}

/// Checks objects, each by `decide` first.
fn check_each<M: Specification>(
    model: &M,
    history: &History,
    options: &Options,
    read_list: impl Fn(&str, &[u8], &mut Vec<u32>) -> Option<M::Op> + Sync,
    decide: impl Fn(&[Timed], &[M::Op], &mut Meter<'_>) -> Outcome + Sync,
    narrow: impl Fn(&M::Op, &[String]) -> M::Op,
) -> Report {
    let started = Instant::now();
    let purse = purse(options, started);
    let alive = || purse.time_left().is_ok();
    let calls = match history.calls_while(alive) {
        Ok(Some(calls)) => calls,
        Ok(None) => return Uncut::Spent(purse.ended()).report(options),
        Err(error) => return malformed(options, &error),
    };
    let by_key = options.by_key;
    let objects = match object::split(model, history, &calls, by_key, &purse, read_list) {
        Ok(objects) => objects,
        Err(uncut) => return uncut.report(options),
    };
    let decisions = rounds::decide(objects.len(), &purse, |number, steps| {
        let object = &objects[number];
        // Later rounds come after a structure that did not decide.
        if steps <= rounds::FIRST_STEPS {
            let mut meter = Meter::new(&purse, u64::MAX);
            match decide(&object.operations, &object.classes, &mut meter) {
                Outcome::Valid(order) => return Ok(Decision::Replayed(order)),
                Outcome::Invalid(mut contradiction) => {
                    contradiction.operations.sort_unstable();
                    contradiction.operations.dedup();
                    return Ok(Decision::Invalid(Culprits::Alone(contradiction)));
                }
                Outcome::Illegal(involved) => return Ok(Decision::invalid(involved)),
                Outcome::Undecided => {}
            }
        }
        let mut space = Numbered::new(model, object.classes.as_slice());
        decide_by_witness_or_search(history, &mut space, &object.operations, &purse, steps)
    });
    let keys: Vec<ValueId> = objects.iter().map(|object| object.key).collect();
    let whole = Whole {
        history,
        options,
        calls: &calls,
        keys: &keys,
        purse: &purse,
        started,
    };
    whole.report(&decisions, |number, about| {
        let object = &objects[number];
        let space = if about.is_empty() {
            Numbered::new(model, object.classes.as_slice()).decided_by(&decide)
        } else {
            let narrowed = object.classes.iter().map(|op| narrow(op, about));
            Numbered::new(model, narrowed.collect::<Vec<_>>())
        };
        (space, object.operations.clone())
    })
}

/// What the options allow, from now on.
fn purse(options: &Options, started: Instant) -> Purse {
    let growth = Growth::allowed(options.budget.memory_bytes);
    Purse::new(&options.budget, started).within(growth)
}

fn malformed(options: &Options, error: &HistoryError) -> Report {
    Report::unknown(
        options.model.name(),
        format!("the history is malformed: {error}"),
    )
}

impl Uncut {
    fn report(self, options: &Options) -> Report {
        let why = match self {
            Uncut::Misfit(error) => format!("the history does not fit the model: {error}"),
            Uncut::Spent(Spent::Memory) => {
                "the memory budget ended before the operations were decoded".into()
            }
            Uncut::Spent(_) => "the time budget ended before the operations were decoded".into(),
        };
        Report::unknown(options.model.name(), why)
    }
}

/// What a report is made of, besides the decisions.
struct Whole<'a> {
    history: &'a History,
    options: &'a Options,
    calls: &'a Calls,
    keys: &'a [ValueId],
    purse: &'a Purse,
    started: Instant,
}

impl Whole<'_> {
    fn report<S: Space>(
        &self,
        decisions: &[Decision],
        object: impl Fn(usize, &[String]) -> (S, Vec<Timed>),
    ) -> Report {
        let verdicts = decisions.iter().map(Decision::verdict);
        let verdict = verdicts.fold(Verdict::Valid, Verdict::and);
        let mut report = Report::new(self.options.model.name(), verdict);
        report.figures.ops = self.calls.len() as u64;
        report.figures.keys = self.keys.len() as u64;
        report.figures.memory_bytes = self.purse.peak_bytes();
        for (number, decision) in decisions.iter().enumerate() {
            let reason = match decision {
                Decision::Valid(_) | Decision::Replayed(_) => continue,
                Decision::Invalid(_) => "no order of its operations is legal".to_owned(),
                Decision::Unknown(why) => why.clone(),
            };
            let (verdict, key) = (decision.verdict(), self.key(number));
            report.keys.push(KeyReport {
                key,
                verdict,
                reason: Some(reason),
            });
        }
        let first = report.keys.iter().find(|key| key.verdict == verdict);
        report.reason = first.map(|key| {
            let reason = key.reason.as_deref().unwrap_or_default();
            let others = report
                .keys
                .iter()
                .filter(|it| it.verdict == verdict)
                .count()
                - 1;
            match (key.key.is_null(), others) {
                (true, _) => reason.to_owned(),
                (_, 0) => format!("key {}: {reason}", key.key),
                _ => {
                    let keys = if others == 1 { "key" } else { "keys" };
                    format!("key {}: {reason}; {others} more {keys} likewise", key.key)
                }
            }
        });
        let invalid = decisions
            .iter()
            .enumerate()
            .find_map(|(number, it)| match it {
                Decision::Invalid(culprits) => Some((number, culprits)),
                _ => None,
            });
        if let Some((number, culprits)) = invalid.filter(|_| self.options.explain) {
            self.explain(&mut report, number, culprits, &object);
        }
        if self.options.certify {
            self.certify(&mut report, decisions, &object);
        }
        report
    }

    fn key(&self, number: usize) -> serde_json::Value {
        self.history.values().value(self.keys[number])
    }

    fn explain<S: Space>(
        &self,
        report: &mut Report,
        number: usize,
        culprits: &Culprits,
        object: impl Fn(usize, &[String]) -> (S, Vec<Timed>),
    ) {
        // What is left of the budget, but no more than a reader would wait.
        let left = self
            .options
            .budget
            .time
            .saturating_sub(self.started.elapsed());
        let time = left.min(EXPLAIN_MAX);
        let purse = Purse::new(
            &Budget {
                time,
                ..self.options.budget
            },
            Instant::now(),
        )
        .within(self.purse.growth());
        let about: &[String] = match culprits {
            Culprits::Alone(contradiction) => &contradiction.about,
            Culprits::Involved(_) => &[],
        };
        let (mut space, operations) = object(number, about);
        let (history, calls) = (self.history, self.calls);
        let told = explain::explain(&mut space, &operations, culprits, history, calls, &purse);
        report.counterexample = told.counterexample;
        report.explanation = told.words;
        report.details = told.data;
        report.details["key"] = self.key(number);
    }

    /// Replays each order that was found; adds them to the report.
    fn certify<S: Space>(
        &self,
        report: &mut Report,
        decisions: &[Decision],
        object: impl Fn(usize, &[String]) -> (S, Vec<Timed>),
    ) {
        let mut orders = Vec::new();
        for (number, decision) in decisions.iter().enumerate() {
            let (Decision::Valid(Some(order)) | Decision::Replayed(order)) = decision else {
                continue;
            };
            let (mut space, operations) = object(number, &[]);
            if let Decision::Valid(_) = decision
                && let Err(flaw) = certificate::replay(&mut space, &operations, order)
            {
                report.verdict = report.verdict.and(Verdict::Unknown);
                report.reason = Some(format!(
                    "the proof of key {} does not hold ({flaw}): a mistake in the checker",
                    self.key(number)
                ));
                return;
            }
            let index = |&it: &u32| self.history.index(operations[it as usize].invoke as usize);
            let order: Vec<u64> = order.iter().map(index).collect();
            orders.push(json!({ "key": self.key(number), "linearization": order }));
        }
        if report.details.is_null() {
            report.details = json!({});
        }
        report.details["certificate"] = json!(orders);
    }
}

/// The most time that shrinking may take.
const EXPLAIN_MAX: Duration = Duration::from_secs(1);

fn decide_register(
    history: &History,
    operations: &[Operation],
    initial: u32,
    certify: bool,
    purse: &Purse,
    steps: u64,
) -> Result<Decision, Spent> {
    match zones::check(operations, initial, certify, &mut Meter::new(purse, steps)) {
        zones::Outcome::Spent(spent) => Err(spent),
        zones::Outcome::Valid(order) => Ok(Decision::Valid(order)),
        zones::Outcome::Invalid(violation) => Ok(Decision::invalid(violation.involved())),
        zones::Outcome::NotUnique => {
            let (mut space, timed) = RegisterSpace::new(operations, initial);
            decide_by_witness_or_search(history, &mut space, &timed, purse, steps)
        }
    }
}

/// In the order that the system told, if that is one; else by search.
fn decide_by_witness_or_search(
    history: &History,
    space: &mut impl Space,
    operations: &[Timed],
    purse: &Purse,
    steps: u64,
) -> Result<Decision, Spent> {
    if steps <= rounds::FIRST_STEPS
        && let Some(order) = witness::order(history, space, operations)
    {
        return Ok(Decision::Valid(Some(order)));
    }
    decide_by_search(space, operations, purse, steps)
}

/// Depth first; when that takes long, breadth first has a go too: it is better at short histories
/// that are illegal.
fn decide_by_search(
    space: &mut impl Space,
    operations: &[Timed],
    purse: &Purse,
    steps: u64,
) -> Result<Decision, Spent> {
    const FRONTIER_SHARE: u64 = 8;
    match search::search(space, operations, &mut Meter::new(purse, steps)) {
        Ok(Answer::Linearization(order)) => {
            debug_assert_eq!(certificate::replay(space, operations, &order), Ok(()));
            Ok(Decision::Valid(Some(order)))
        }
        Ok(Answer::Stuck(at)) => Ok(Decision::invalid(vec![at])),
        Ok(Answer::TooWide(width)) => Ok(Decision::Unknown(format!(
            "{width} operations are open at once: more than the search can hold"
        ))),
        Err(Spent::Steps) => {
            let mut meter = Meter::new(purse, steps / FRONTIER_SHARE);
            Ok(match frontier::check(space, operations, &mut meter)? {
                Told::Legal(order) => Decision::Valid(Some(order)),
                Told::Stuck(at) => Decision::invalid(vec![at]),
            })
        }
        Err(spent) => Err(spent),
    }
}
