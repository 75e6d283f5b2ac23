//! Pairs each invocation with its completion.

use std::ops::Range;

use hashbrown::HashMap;
use rayon::prelude::*;

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
pub struct Calls {
    /// Those that are invoked in so many rows each.
    parts: Vec<Vec<Call>>,
}

impl Calls {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.parts.iter().flatten()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same, cut where several may go on with it side by side.
    pub(crate) fn parts(&self) -> &[Vec<Call>] {
        &self.parts
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        let held = self.parts.iter().map(Vec::capacity).sum::<usize>();
        held * size_of::<Call>()
    }

    /// The call that was invoked in this row.
    pub(crate) fn invoked_in(&self, row: u32) -> Option<Call> {
        self.parts.iter().find_map(|part| {
            let at = part.binary_search_by_key(&row, |call| call.invoke).ok()?;
            Some(part[at])
        })
    }
}

/// Rows that are paired in one go, whatever the threads: what they come to stays in a core's cache.
const PART_ROWS: usize = 1 << 15;

/// The last call of each process: a table for the usual small numbers, a map for wild ones.
#[derive(Default)]
struct Last {
    low: Vec<u32>,
    high: HashMap<u32, u32>,
}

impl Last {
    const NONE: u32 = u32::MAX;
    const LOW_MAX: u32 = 1 << 22;

    fn slot(&mut self, process: u32) -> &mut u32 {
        if process >= Self::LOW_MAX {
            return self.high.entry(process).or_insert(Self::NONE);
        }
        let at = process as usize;
        if at >= self.low.len() {
            self.low
                .resize((at + 1).next_power_of_two().max(64), Self::NONE);
        }
        &mut self.low[at]
    }
}

/// What can be paired by looking at some rows only.
struct Part {
    calls: Vec<Call>,
    /// Rows of processes of which the part has no call yet: whether one is open, earlier parts tell.
    untold: Vec<u32>,
    /// The calls that are open at the end, by number.
    open: Vec<u32>,
    /// What cannot be, whatever was before. Nothing from there on was paired.
    odd: Option<HistoryError>,
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
        alive: impl Fn() -> bool + Sync,
    ) -> Result<Option<Calls>, HistoryError> {
        self.paired(PART_ROWS, alive)
    }

    /// Parts are paired side by side, each by itself. Then, in their order, they are told which calls
    /// were open before them.
    fn paired(
        &self,
        part_rows: usize,
        alive: impl Fn() -> bool + Sync,
    ) -> Result<Option<Calls>, HistoryError> {
        let starts: Vec<usize> = (0..self.len().max(1)).step_by(part_rows).collect();
        let pair = |last: &mut Last, &start: &usize| {
            let rows = start..self.len().min(start + part_rows);
            (start == 0 || alive()).then(|| self.pair(rows, last))
        };
        let parts: Option<Vec<Part>> = match starts.as_slice() {
            // To wake a thread takes longer.
            [only] => pair(&mut Last::default(), only).map(|part| vec![part]),
            _ => starts.par_iter().map_init(Last::default, pair).collect(),
        };
        parts.map(|parts| self.join(parts)).transpose()
    }

    fn pair(&self, rows: Range<usize>, last: &mut Last) -> Part {
        let (start, processes) = (rows.start, &self.process_column()[rows.clone()]);
        let mut part = Part {
            calls: Vec::with_capacity(rows.len() / 2 + 1),
            untold: Vec::new(),
            open: Vec::new(),
            odd: None,
        };
        for (row, &process) in rows.zip(processes) {
            if process == Process::NEMESIS {
                continue;
            }
            // Numbered from the part's first row on: what other parts left there is none of its calls.
            let slot = last.slot(process);
            let number = (*slot as usize).wrapping_sub(start);
            let known = part.calls.get_mut(number);
            let begins = self.begins(row);
            match known {
                None => part.untold.push(row as u32),
                Some(call) => {
                    let open = call.completion().is_none().then_some(*call);
                    if let Err(odd) = self.follows(row, open) {
                        part.odd = Some(odd);
                        break;
                    }
                    if !begins {
                        call.complete = row as u32;
                    }
                }
            }
            if begins {
                *slot = (start + part.calls.len()) as u32;
                part.calls.push(Call {
                    invoke: row as u32,
                    complete: Call::OPEN,
                });
            }
        }
        let open = part.calls.iter().zip(0..);
        let open = open.filter(|(call, _)| call.completion().is_none());
        part.open = open.map(|(_, number)| number).collect();
        part
    }

    /// Tells each part what was open before it.
    fn join(&self, parts: Vec<Part>) -> Result<Calls, HistoryError> {
        let mut calls = Calls::default();
        // By process: the part that has it, and its number there.
        let mut open: HashMap<u32, (usize, u32)> = HashMap::new();
        for part in parts {
            for row in part.untold {
                let process = self.process_column()[row as usize];
                let before = open.remove(&process);
                let call = before.map(|(part, number)| &mut calls.parts[part][number as usize]);
                self.follows(row as usize, call.as_deref().copied())?;
                if let Some(call) = call {
                    call.complete = row;
                }
            }
            if let Some(odd) = part.odd {
                return Err(odd);
            }
            for number in part.open {
                let invoke = part.calls[number as usize].invoke;
                let process = self.process_column()[invoke as usize];
                open.insert(process, (calls.parts.len(), number));
            }
            calls.parts.push(part.calls);
        }
        Ok(calls)
    }

    fn begins(&self, row: usize) -> bool {
        self.tag_column()[row] & 3 == Type::Invoke as u16
    }

    /// Whether the op can be what its process does next, with this call of it open.
    fn follows(&self, row: usize, open: Option<Call>) -> Result<(), HistoryError> {
        let tags = self.tag_column();
        let fits = match open {
            Some(call) => !self.begins(row) && tags[call.invoke as usize] >> 2 == tags[row] >> 2,
            None => self.begins(row),
        };
        if fits {
            Ok(())
        } else {
            Err(self.odd(row, open))
        }
    }

    #[cold]
    fn odd(&self, row: usize, open: Option<Call>) -> HistoryError {
        let (index, op) = (self.index(row), self.row(row));
        let (process, f) = (op.process, op.f.to_owned());
        let Some(call) = open else {
            return HistoryError::CompletionWithoutInvocation {
                row,
                index,
                process,
                f,
            };
        };
        let open = call.invoke as usize;
        if self.begins(row) {
            return HistoryError::TwoOpenInvocations {
                row,
                index,
                process,
                f,
                open,
            };
        }
        HistoryError::AnotherFunction {
            row,
            index,
            process,
            f,
            open,
            invoked: self.row(open).f.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{Call, History};
    use crate::history::{Op, Process, Type};

    /// Mostly what clients record, now and then an op that cannot be.
    fn draw(rng: &mut StdRng) -> History {
        let mut open: BTreeMap<u32, &str> = BTreeMap::new();
        let odd_one_in = [20, 1000][rng.random_range(0..2)];
        let op = |_| {
            let process = [0, 1, 2, 3, 5_000_000][rng.random_range(0..5)];
            let (mut type_, mut f) = match open.remove(&process) {
                Some(f) => (
                    [Type::Ok, Type::Fail, Type::Info][rng.random_range(0..3)],
                    f,
                ),
                None => (Type::Invoke, ["read", "write"][rng.random_range(0..2)]),
            };
            if type_ == Type::Invoke {
                open.insert(process, f);
            }
            if rng.random_ratio(1, odd_one_in) {
                (type_, f) = [(Type::Invoke, f), (Type::Ok, "read")][rng.random_range(0..2)];
            }
            let mut op = Op::new(process, type_, f, ());
            if rng.random_ratio(1, 20) {
                op.process = Process::Nemesis;
            }
            op
        };
        (0..40).map(op).collect()
    }

    /// One row after the other. The row of the first op that cannot be, if there is one.
    fn twin(history: &History) -> Result<Vec<Call>, usize> {
        let mut open: BTreeMap<Process, usize> = BTreeMap::new();
        let mut calls: Vec<Call> = Vec::new();
        for (number, row) in history.rows().enumerate() {
            if row.process == Process::Nemesis {
                continue;
            }
            match (row.type_, open.remove(&row.process)) {
                (Type::Invoke, None) => {
                    open.insert(row.process, calls.len());
                    calls.push(Call {
                        invoke: number as u32,
                        complete: Call::OPEN,
                    });
                }
                (Type::Invoke, Some(_)) | (_, None) => return Err(number),
                (_, Some(call)) => {
                    if history.row(calls[call].invoke as usize).f != row.f {
                        return Err(number);
                    }
                    calls[call].complete = number as u32;
                }
            }
        }
        Ok(calls)
    }

    #[test]
    fn pairs_are_the_same_wherever_the_history_is_cut() {
        let seed = crate::linear::seed();
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut whole, mut odd) = (0, 0);
        for round in 0..3000 {
            let history = draw(&mut rng);
            let expected = twin(&history);
            for part_rows in [1, 2, 7, 16, 100] {
                let found = history.paired(part_rows, || true);
                let context = format!("round {round}, {part_rows} rows a part: {found:?}");
                match (&expected, found) {
                    (Ok(calls), Ok(Some(found))) => {
                        whole += 1;
                        assert!(found.iter().eq(calls), "{context}");
                        let again = calls.iter().map(|it| found.invoked_in(it.invoke));
                        assert!(again.eq(calls.iter().map(|it| Some(*it))), "{context}");
                    }
                    (Err(row), Err(error)) => {
                        odd += 1;
                        let place = format!("(row {row})");
                        assert!(error.to_string().contains(&place), "{context}");
                    }
                    _ => panic!("{context}, expected {expected:?}"),
                }
            }
        }
        assert!(whole > 500 && odd > 500, "{whole} whole, {odd} odd");
    }
}
