//! Proof that a level holds: an order that is replayed, transaction by transaction.
//!
//! A certificate lists the starts and the commits of all transactions that took effect. The replay
//! knows nothing of graphs: it keeps the state of each key, compares each read with it, and watches
//! that no two transactions that wrote the same key overlap.

use hashbrown::HashMap;

use super::level::Level;
use super::table::{Data, Kind, MicroOp, NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// The start or the commit of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It reads the state as it is now.
    Start(u32),
    /// What it wrote is there from now on.
    Commit(u32),
}

/// Whether the events explain every read, in an order that the level allows. Serializability asks
/// that each commit follows its start at once.
pub(crate) fn replays(
    table: &Table,
    writes: &Writes,
    events: &[Event],
    level: Level,
    watch: Watch,
) -> Result<bool, Stop> {
    let real_time = level.covers(Level::StrongSnapshotIsolation);
    let mut replay = Replay {
        table,
        state: vec![Vec::new(); table.keys()],
        touched: vec![0; table.keys()],
        started: vec![NEVER; table.len()],
        sessions: level
            .covers(Level::StrongSessionSnapshotIsolation)
            .then(HashMap::new),
        latest_begin: 0,
        commits: 0,
    };
    let mut committed = 0;
    for (at, event) in events.iter().enumerate() {
        watch.round(at as u32)?;
        let fine = match *event {
            Event::Start(txn) => writes.is_live(txn) && replay.start(txn),
            Event::Commit(txn) => {
                committed += 1;
                let serial = !level.covers(Level::Serializable)
                    || (at > 0 && events[at - 1] == Event::Start(txn));
                serial && (!real_time || replay.in_time(txn)) && replay.commit(txn)
            }
        };
        if !fine {
            return Ok(false);
        }
    }
    let live = (0..table.len() as u32).filter(|&txn| writes.is_live(txn));
    Ok(committed == live.count())
}

struct Replay<'a> {
    table: &'a Table,
    /// Of each key the list, or the last value alone.
    state: Vec<Vec<u32>>,
    /// Of each key, how many commits there had been when it was last written.
    touched: Vec<u32>,
    /// Of each transaction, how many commits there had been when it started.
    started: Vec<u32>,
    /// Of each process, the last transaction that started and whether it committed.
    sessions: Option<HashMap<u32, (u32, bool)>>,
    /// The latest invocation of any that started.
    latest_begin: u32,
    commits: u32,
}

impl Replay<'_> {
    fn start(&mut self, txn: u32) -> bool {
        if self.started[txn as usize] != NEVER {
            return false;
        }
        self.started[txn as usize] = self.commits;
        self.latest_begin = self.latest_begin.max(self.table.invoked(txn));
        if let Some(sessions) = &mut self.sessions {
            let before = sessions.insert(self.table.process(txn), (txn, false));
            if before.is_some_and(|(before, committed)| before > txn || !committed) {
                return false;
            }
        }
        let known = self.table.status(txn) == Status::Committed;
        let ops = self.table.ops(txn);
        let reads = |at: &usize| ops[*at].kind == Kind::Read;
        !known
            || (0..ops.len())
                .filter(reads)
                .all(|at| self.explains(&ops[..at], ops[at]))
    }

    /// Whether the state, and what the transaction wrote before, is what a read saw.
    fn explains(&self, before: &[MicroOp], read: MicroOp) -> bool {
        let state = &self.state[read.key as usize];
        let mut own = before
            .iter()
            .filter(|op| op.key == read.key)
            .filter_map(|op| op.written());
        match self.table.data() {
            Data::Registers => {
                let initial = self.table.initial(read.key);
                let held = own.next_back().or(state.last().copied()).unwrap_or(initial);
                held == self.table.observed(read)
            }
            Data::Lists => {
                let list = self.table.list(read);
                list.starts_with(state) && own.eq(list[state.len()..].iter().copied())
            }
        }
    }

    fn commit(&mut self, txn: u32) -> bool {
        let started = self.started[txn as usize];
        self.commits += 1;
        let mut alone = started != NEVER;
        for op in self.table.ops(txn) {
            let Some(version) = op.written() else {
                continue;
            };
            let key = op.key as usize;
            alone &= self.touched[key] <= started || self.touched[key] == self.commits;
            self.touched[key] = self.commits;
            if self.table.data() == Data::Registers {
                self.state[key].clear();
            }
            self.state[key].push(version);
        }
        if let Some((last, committed)) = self
            .sessions
            .as_mut()
            .and_then(|all| all.get_mut(&self.table.process(txn)))
        {
            *committed |= *last == txn;
        }
        alone
    }

    /// Whether nothing has started that began after this transaction had ended.
    fn in_time(&self, txn: u32) -> bool {
        let ended = self.table.completed(txn);
        ended == NEVER || ended > self.latest_begin
    }
}
