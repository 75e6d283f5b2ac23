//! Linearizability: structure first, search where structure ends.

mod bits;
mod budget;
mod certificate;
mod frontier;
mod object;
mod rounds;
mod search;
mod space;
mod timeline;
#[cfg(test)]
mod twin;
mod zones;

use std::time::Instant;

use crate::history::{Calls, History, ValueId};
use crate::model::register::{Decoder, Operation, Registers};
use crate::model::{Specification, aggregate, kv, lock, multi_register, sequence};
use crate::options::{Model, Options};
use crate::verdict::{KeyReport, Report, Verdict};
use budget::{Meter, Purse, Spent};
use rounds::Decision;
use search::Answer;
use space::{Numbered, RegisterSpace, Space, Timed};

/// Checks the linearizable model that the options name.
pub(crate) fn check(history: &History, options: &Options) -> Report {
    let initial = &options.initial;
    let queue = |discipline| check_objects(&sequence::Queue(discipline), history, options);
    match options.model {
        Model::Kv => check_objects(&kv::Kv, history, options),
        Model::MultiRegister => {
            let model = multi_register::MultiRegister {
                initial: initial.clone(),
            };
            let whole = Options {
                by_key: false,
                ..options.clone()
            };
            check_objects(&model, history, &whole)
        }
        Model::Set => check_objects(&aggregate::Set, history, options),
        Model::Counter => {
            let initial = initial.as_i64().unwrap_or(0);
            check_objects(&aggregate::Counter { initial }, history, options)
        }
        Model::Queue => queue(sequence::Discipline::Queue),
        Model::Stack => queue(sequence::Discipline::Stack),
        Model::PriorityQueue => queue(sequence::Discipline::Priority),
        Model::Mutex => check_objects(&lock::Lock { owned: false }, history, options),
        Model::Lock => check_objects(&lock::Lock { owned: true }, history, options),
        Model::Lease => check_objects(&lock::Lease, history, options),
        Model::AppendLog => check_objects(&sequence::Log, history, options),
        _ => check_registers(history, options),
    }
}

fn check_registers(history: &History, options: &Options) -> Report {
    let purse = Purse::new(&options.budget, Instant::now());
    let calls = match history.calls() {
        Ok(calls) => calls,
        Err(error) => {
            return Report::unknown(
                options.model.name(),
                format!("the history is malformed: {error}"),
            );
        }
    };
    let registers = match Registers::of(history, &calls, options) {
        Ok(registers) => registers,
        Err(error) => return misfit(options, &error),
    };
    let initial = Decoder::new(history, false).id(history.values(), &options.initial);
    let decisions = rounds::decide(registers.keys.len(), &purse, |number, steps| {
        let operations = registers.of_key(number);
        decide_register(operations, initial, options.certify, &purse, steps)
    });
    report(history, options, &calls, &registers.keys, decisions, &purse)
}

/// Checks objects of any specification.
pub(crate) fn check_objects<M: Specification>(
    model: &M,
    history: &History,
    options: &Options,
) -> Report {
    let purse = Purse::new(&options.budget, Instant::now());
    let calls = match history.calls() {
        Ok(calls) => calls,
        Err(error) => {
            return Report::unknown(
                options.model.name(),
                format!("the history is malformed: {error}"),
            );
        }
    };
    let objects = match object::split(model, history, &calls, options.by_key) {
        Ok(objects) => objects,
        Err(error) => return misfit(options, &error),
    };
    let decisions = rounds::decide(objects.len(), &purse, |number, steps| {
        let object = &objects[number];
        let mut space = Numbered::new(model, &object.classes);
        decide_by_search(&mut space, &object.operations, &purse, steps)
    });
    let keys: Vec<ValueId> = objects.iter().map(|object| object.key).collect();
    report(history, options, &calls, &keys, decisions, &purse)
}

fn misfit(options: &Options, error: &str) -> Report {
    Report::unknown(
        options.model.name(),
        format!("the history does not fit the model: {error}"),
    )
}

fn report(
    history: &History,
    options: &Options,
    calls: &Calls,
    keys: &[ValueId],
    decisions: Vec<Decision>,
    purse: &Purse,
) -> Report {
    let results = decisions.into_iter().zip(keys).map(|(decision, &key)| {
        let (verdict, reason) = match decision {
            Decision::Valid(_) => (Verdict::Valid, None),
            Decision::Invalid { at, why } => (
                Verdict::Invalid,
                Some(why.unwrap_or_else(|| format!("stuck at {at}"))),
            ),
            Decision::Unknown(why) => (Verdict::Unknown, Some(why)),
        };
        KeyReport {
            key: history.values().value(key),
            verdict,
            reason,
        }
    });
    let results: Vec<KeyReport> = results.collect();
    let verdict = results
        .iter()
        .fold(Verdict::Valid, |all, key| all.and(key.verdict));
    let mut report = Report::new(options.model.name(), verdict);
    report.figures.ops = calls.len() as u64;
    report.figures.keys = keys.len() as u64;
    report.figures.memory_bytes = purse.peak_bytes();
    report.keys = results
        .into_iter()
        .filter(|key| key.verdict != Verdict::Valid)
        .collect();
    let first = report.keys.iter().find(|key| key.verdict == verdict);
    report.reason = first.map(|key| {
        format!(
            "key {}: {}",
            key.key,
            key.reason.as_deref().unwrap_or_default()
        )
    });
    report
}

fn decide_register(
    operations: &[Operation],
    initial: u32,
    certify: bool,
    purse: &Purse,
    steps: u64,
) -> Result<Decision, Spent> {
    match zones::check(operations, initial, certify) {
        zones::Outcome::Valid(order) => Ok(Decision::Valid(order)),
        zones::Outcome::Invalid(violation) => Ok(Decision::Invalid {
            at: 0,
            why: Some(format!("{violation:?}")),
        }),
        zones::Outcome::NotUnique => {
            let (mut space, timed) = RegisterSpace::new(operations, initial);
            decide_by_search(&mut space, &timed, purse, steps)
        }
    }
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
        Ok(Answer::Stuck(at)) => Ok(Decision::Invalid { at, why: None }),
        Ok(Answer::TooWide(width)) => Ok(Decision::Unknown(format!(
            "{width} operations are open at once: more than the search can hold"
        ))),
        Err(Spent::Steps) => {
            let mut meter = Meter::new(purse, steps / FRONTIER_SHARE);
            if frontier::check(space, operations, &mut meter)? {
                Ok(Decision::Valid(None))
            } else {
                Ok(Decision::Invalid { at: 0, why: None })
            }
        }
        Err(spent) => Err(spent),
    }
}
