//! From a history to a table.

use super::scan::Malformed;
use super::steps::{self, Step};
use super::table::{Data, Header, Status, Table};
use super::work::{Stop, Watch};
use crate::history::{Call, History, Outcome, Process};

/// Reads the transactions of a history: while those of one part are told apart, those of the part
/// before get their numbers.
pub(crate) fn table_of(history: &History, data: Data, watch: Watch) -> Result<Table, Stop> {
    const PART: usize = 1 << 14; // some milliseconds
    const WEIGH_EVERY: usize = 2; // parts
    let calls = history
        .calls()
        .map_err(|error| Stop::Because(format!("the history is malformed: {error}")))?;
    let watch = watch.holding(calls.memory_bytes())?;
    let mut table = Table::new(data);
    let (mut ready, mut next) = (Part::default(), Part::default());
    let parts = calls.parts().iter().flat_map(|calls| calls.chunks(PART));
    for (round, calls) in parts.chain([&[][..]]).enumerate() {
        watch.time()?;
        if round.is_multiple_of(WEIGH_EVERY) {
            watch.memory(table.memory())?;
        }
        let (taken, entered) = rayon::join(
            || next.take(history, data, calls),
            || ready.enter(history, &mut table),
        );
        entered.and(taken)?;
        (ready, next) = (next, ready);
    }
    Ok(table)
}

/// Transactions told apart.
#[derive(Default)]
struct Part<'a> {
    /// Each with the row that tells of it, and where its steps end.
    txns: Vec<(Header, u32, usize)>,
    steps: Vec<Step<'a>>,
}

impl<'a> Part<'a> {
    fn take(&mut self, history: &'a History, data: Data, calls: &[Call]) -> Result<(), Stop> {
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
        Ok(())
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
