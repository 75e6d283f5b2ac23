//! Linearizability: structure first, search where structure ends.

mod budget;
mod frontier;
#[allow(dead_code)]
mod space;
#[cfg(test)]
mod twin;
mod zones;

use std::time::Instant;

use rayon::prelude::*;

use crate::history::{Calls, History};
use crate::model::register::{Decoder, Operation, Registers};
use crate::options::Options;
use crate::verdict::{KeyReport, Report, Verdict};
use budget::{Meter, Purse, Spent};
use space::RegisterSpace;

/// Checks registers.
pub(crate) fn check(history: &History, options: &Options) -> Report {
    let name = options.model.name();
    let purse = Purse::new(&options.budget, Instant::now());
    let calls: Calls = match history.calls() {
        Ok(calls) => calls,
        Err(error) => return Report::unknown(name, format!("the history is malformed: {error}")),
    };
    let registers = match Registers::of(history, &calls, options.by_key) {
        Ok(registers) => registers,
        Err(error) => return Report::unknown(name, format!("the history does not fit: {error}")),
    };
    let initial = Decoder::new(history).id(history.values(), &options.initial);
    let keys = 0..registers.keys.len();
    let results: Vec<KeyReport> = keys
        .into_par_iter()
        .map(|number| {
            let (verdict, reason) = decide(registers.of_key(number), initial, &purse);
            KeyReport {
                key: history.values().value(registers.keys[number]),
                verdict,
                reason,
            }
        })
        .collect();
    let verdict = results
        .iter()
        .fold(Verdict::Valid, |all, key| all.and(key.verdict));
    let mut report = Report::new(name, verdict);
    report.figures.ops = calls.len() as u64;
    report.figures.keys = registers.keys.len() as u64;
    report.figures.memory_bytes = purse.peak_bytes();
    report.keys = results
        .into_iter()
        .filter(|key| key.verdict != Verdict::Valid)
        .collect();
    report.reason = report
        .keys
        .iter()
        .find(|key| key.verdict == verdict)
        .map(|key| {
            format!(
                "key {}: {}",
                key.key,
                key.reason.as_deref().unwrap_or("no reason")
            )
        });
    report
}

fn decide(operations: &[Operation], initial: u32, purse: &Purse) -> (Verdict, Option<String>) {
    match zones::check(operations, initial) {
        zones::Outcome::Valid(_) => return (Verdict::Valid, None),
        zones::Outcome::Invalid(violation) => {
            return (Verdict::Invalid, Some(format!("{violation:?}")));
        }
        zones::Outcome::NotUnique => {}
    }
    let (mut space, timed) = RegisterSpace::new(operations, initial);
    let mut meter = Meter::new(purse, u64::MAX);
    match frontier::check(&mut space, &timed, &mut meter) {
        Ok(true) => (Verdict::Valid, None),
        Ok(false) => (
            Verdict::Invalid,
            Some("no order of the operations is legal".into()),
        ),
        Err(Spent::Time) => (Verdict::Unknown, Some("the time budget ended".into())),
        Err(Spent::Memory) => (Verdict::Unknown, Some("the memory budget ended".into())),
        Err(Spent::Steps) => (Verdict::Unknown, Some("the step budget ended".into())),
    }
}
