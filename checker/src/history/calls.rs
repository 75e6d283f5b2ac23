//! Pairs each invocation with its completion.

use hashbrown::HashMap;

use super::columns::History;
use super::error::HistoryError;
use super::op::{Process, Type};

/// How a call ended, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not.
    Fail,
    /// It may have happened, or may yet: it completed as `info`, or never.
    Info,
}

/// One operation: two rows of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Row of the invocation.
    pub invoke: u32,
    /// Row of the completion; [`Call::OPEN`] when there is none.
    pub complete: u32,
}

impl Call {
    /// Stands where a completion never came.
    pub const OPEN: u32 = u32::MAX;

    /// The completion's row, when there is one.
    pub fn completion(&self) -> Option<usize> {
        (self.complete != Self::OPEN).then_some(self.complete as usize)
    }

    /// How it ended.
    pub fn outcome(&self, history: &History) -> Outcome {
        match self.completion() {
            None => Outcome::Info,
            Some(row) => match history.tag_column()[row] & 3 {
                1 => Outcome::Ok,
                2 => Outcome::Fail,
                _ => Outcome::Info,
            },
        }
    }
}

/// All calls of the clients, in order of invocation.
#[derive(Clone, Debug, Default)]
pub struct Calls(Vec<Call>);

impl std::ops::Deref for Calls {
    type Target = [Call];
    fn deref(&self) -> &[Call] {
        &self.0
    }
}

/// The open call of each process: a table for the usual small numbers, a map for wild ones.
#[derive(Default)]
struct Open {
    low: Vec<u32>,
    high: HashMap<u32, u32>,
}

impl Open {
    const NONE: u32 = u32::MAX;
    const LOW_MAX: u32 = 1 << 22;

    fn slot(&mut self, process: u32) -> &mut u32 {
        if process >= Self::LOW_MAX {
            return self.high.entry(process).or_insert(Self::NONE);
        }
        let at = process as usize;
        if at >= self.low.len() {
            self.low.resize((at + 1).next_power_of_two(), Self::NONE);
        }
        &mut self.low[at]
    }
}

impl History {
    /// Pairs invocations with completions; names the first op that has no partner.
    pub fn calls(&self) -> Result<Calls, HistoryError> {
        let calls = self.calls_while(|| true)?;
        Ok(calls.expect("it is not told to stop"))
    }

    /// The same; none when it is told to stop.
    pub(crate) fn calls_while(
        &self,
        alive: impl Fn() -> bool,
    ) -> Result<Option<Calls>, HistoryError> {
        const LOOK_EVERY: usize = 1 << 16;
        let (processes, tags) = (self.process_column(), self.tag_column());
        let mut calls: Vec<Call> = Vec::with_capacity(self.len() / 2 + 1);
        let mut open = Open::default();
        for (row, (&process, &tag)) in processes.iter().zip(tags).enumerate() {
            if row.is_multiple_of(LOOK_EVERY) && row > 0 && !alive() {
                return Ok(None);
            }
            if process == Process::NEMESIS {
                continue;
            }
            let slot = open.slot(process);
            if tag & 3 == Type::Invoke as u16 {
                if *slot != Open::NONE {
                    let open = calls[*slot as usize].invoke as usize;
                    return Err(HistoryError::TwoOpenInvocations {
                        row,
                        index: self.index(row),
                        process: Process::from_raw(process),
                        f: self.row(row).f.to_owned(),
                        open,
                    });
                }
                *slot = calls.len() as u32;
                calls.push(Call {
                    invoke: row as u32,
                    complete: Call::OPEN,
                });
                continue;
            }
            let Some(call) = calls.get_mut(*slot as usize) else {
                return Err(HistoryError::CompletionWithoutInvocation {
                    row,
                    index: self.index(row),
                    process: Process::from_raw(process),
                    f: self.row(row).f.to_owned(),
                });
            };
            if tags[call.invoke as usize] >> 2 != tag >> 2 {
                let open = call.invoke as usize;
                return Err(HistoryError::AnotherFunction {
                    row,
                    index: self.index(row),
                    process: Process::from_raw(process),
                    f: self.row(row).f.to_owned(),
                    open,
                    invoked: self.row(open).f.to_owned(),
                });
            }
            call.complete = row as u32;
            *slot = Open::NONE;
        }
        Ok(Some(Calls(calls)))
    }
}
