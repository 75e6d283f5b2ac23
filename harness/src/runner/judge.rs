//! The check of a recorded history, workload by workload.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use ordeal_checker::history::{History, Op, Process, jsonl};
use ordeal_checker::{Options, Report, check};
use serde::{Deserialize, Serialize};

use crate::verdict::Property;

/// Which processes of a history belong to a workload, and what they are checked against.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// The workload's kind.
    pub kind: String,
    /// The checker's model.
    pub model: String,
    /// The first of its slots.
    pub first: usize,
    /// How many slots it has.
    pub clients: usize,
    /// How many slots the run has.
    pub all: usize,
}

impl Part {
    /// A process belongs to the slot that is left when the retired generations are taken away.
    pub(super) fn has(&self, process: Process) -> bool {
        let Process::Client(number) = process else {
            return false;
        };
        let slot = number as usize % self.all;
        (self.first..self.first + self.clients).contains(&slot)
    }
}

/// Checks every part of a history.
pub fn judge(history: &Path, parts: &[Part]) -> Result<Vec<Property>> {
    let several = parts.len() > 1;
    parts
        .iter()
        .map(|part| {
            let recorded = read(history, several.then_some(part))?;
            let report = match part.model.parse() {
                Ok(model) => check(&recorded, &Options::new(model)),
                Err(why) => Report::unknown(&part.model, why),
            };
            let reason = report.reason.clone().unwrap_or_default();
            Ok(Property {
                name: part.kind.clone(),
                verdict: report.verdict,
                reason,
                report,
            })
        })
        .collect()
}

/// Reads a history, or the part of it that belongs to one of several workloads.
fn read(file: &Path, part: Option<&Part>) -> Result<History> {
    let what = || format!("cannot read {}", file.display());
    let mut input = BufReader::new(File::open(file).with_context(what)?);
    let Some(part) = part else {
        return jsonl::read(input).with_context(what);
    };
    let mut history = History::new();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).with_context(what)? > 0 {
        // The header, and the torn last line of a killed harness, are no ops.
        if let Ok(op) = serde_json::from_slice::<Op>(&line)
            && part.has(op.process)
        {
            history.push(&op);
        }
        line.clear();
    }
    Ok(history)
}
