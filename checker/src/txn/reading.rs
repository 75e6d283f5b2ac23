//! From a history to a table.

use std::sync::mpsc;
use std::thread;

use super::scan::Malformed;
use super::steps::{self, Step};
use super::table::{Data, Header, Status, Table};
use super::work::{Stop, Watch};
use crate::history::{Call, History, Outcome, Process};

/// Reads the transactions of a history: while those of one part get their numbers, those of the parts
/// after it are told apart.
pub(crate) fn table_of(history: &History, data: Data, watch: Watch) -> Result<Table, Stop> {
    const PART: usize = 1 << 12; // about a millisecond
    const AHEAD: usize = 4; // parts
    let calls = history
        .calls()
        .map_err(|error| Stop::Because(format!("the history is malformed: {error}")))?;
    let watch = watch.holding(calls.memory_bytes())?;
    let parts = calls.parts().iter().flat_map(|calls| calls.chunks(PART));
    let mut entering = Entering {
        history,
        table: Table::new(data),
        round: 0,
        watch,
    };
    if rayon::current_num_threads() == 1 {
        let mut part = Part::default();
        for calls in parts {
            part = part.take(history, data, calls)?;
            entering.enter(&part)?;
        }
        return Ok(entering.table);
    }
    let (give, given) = mpsc::sync_channel(AHEAD);
    let (give_back, used) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for calls in parts {
                let part: Part = used.try_recv().unwrap_or_default();
                let part = part.take(history, data, calls);
                let failed = part.is_err();
                if give.send(part).is_err() || failed {
                    return;
                }
            }
        });
        for part in given {
            let part = part?;
            entering.enter(&part)?;
            // Where nobody is left to take it there is nothing left to fill it with.
            let _ = give_back.send(part);
        }
        Ok(entering.table)
    })
}

/// A table that is filled part by part.
struct Entering<'a> {
    history: &'a History,
    table: Table,
    round: usize,
    watch: Watch,
}

impl Entering<'_> {
    fn enter(&mut self, part: &Part) -> Result<(), Stop> {
        const WEIGH_EVERY: usize = 8; // parts
        self.watch.time()?;
        if self.round.is_multiple_of(WEIGH_EVERY) {
            self.watch.memory(self.table.memory())?;
        }
        self.round += 1;
        part.enter(self.history, &mut self.table)
    }
}

/// Transactions told apart.
#[derive(Default)]
struct Part<'a> {
    /// Each with the row that tells of it, and where its steps end.
    txns: Vec<(Header, u32, usize)>,
    steps: Vec<Step<'a>>,
}

impl<'a> Part<'a> {
    fn take(mut self, history: &'a History, data: Data, calls: &[Call]) -> Result<Self, Stop> {
        self.txns.clear();
        self.steps.clear();
        for call in calls {
            let row = history.row(call.invoke as usize);
            let Process::Client(process) = row.process else {
                continue;
            };
            if row.f != "txn" {
                continue;
            }
            let (status, completed) = match call.outcome(history) {
                Outcome::Ok => (Status::Committed, Some(call.complete)),
                Outcome::Fail => (Status::Aborted, Some(call.complete)),
                Outcome::Info => (Status::Unknown, None),
            };
            let told = if status == Status::Committed {
                call.complete
            } else {
                call.invoke
            };
            let value = history.value_column()[told as usize];
            let text = history.values().json_bytes(value).unwrap_or_default();
            steps::take(data, status, text, &mut self.steps)
                .map_err(|error| malformed(history, told, &error))?;
            let header = Header {
                process,
                status,
                invoked: call.invoke,
                completed,
            };
            self.txns.push((header, told, self.steps.len()));
        }
        Ok(self)
    }

    fn enter(&self, history: &History, table: &mut Table) -> Result<(), Stop> {
        let mut start = 0;
        for &(header, told, end) in &self.txns {
            let entered = table.enter(header, &self.steps[start..end]);
            entered.map_err(|error| malformed(history, told, &error))?;
            start = end;
        }
        Ok(())
    }
}

fn malformed(history: &History, row: u32, error: &Malformed) -> Stop {
    let op = history.index(row as usize);
    Stop::Because(format!("op {op} is no transaction: {error}"))
}
