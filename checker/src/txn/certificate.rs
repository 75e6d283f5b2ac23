//! Proof that a level holds: an order that is replayed, transaction by transaction.
//!
//! A certificate lists the starts and the commits of all transactions that took effect. The replay
//! knows nothing of graphs: it keeps the state of each key, compares each read with it, and watches
//! that no two transactions that wrote the same key overlap.

use hashbrown::HashMap;

use super::level::Level;
use super::lists::NOWHERE;
use super::table::{Data, Kind, MicroOp, NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// In place of when it started: it has committed, and may not again.
const ENDED: u32 = NEVER - 1;

/// The start or the commit of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It reads the state as it is now.
    Start(u32),
    /// What it wrote is there from now on.
    Commit(u32),
}

/// Transactions one after the other.
pub(crate) fn in_turn(txns: &[u32]) -> impl Iterator<Item = Event> {
    txns.iter()
        .flat_map(|&txn| [Event::Start(txn), Event::Commit(txn)])
}

/// Whether the events explain every read, in an order that the level allows.
pub(crate) fn replays(
    table: &Table,
    writes: &Writes,
    events: &[Event],
    level: Level,
    watch: Watch,
) -> Result<bool, Stop> {
    let mut replay = Replay::of(table, writes, level);
    Ok(replay.goes_on(events.iter().copied(), watch)? && replay.is_whole())
}

/// Whether any order of all that took effect explains every read, tried one by one; none when that takes
/// more events than are left.
pub(crate) fn some_order_replays(
    table: &Table,
    writes: &Writes,
    level: Level,
    events_left: &mut u32,
) -> Option<bool> {
    let live: Vec<u32> = (0..table.len() as u32)
        .filter(|&txn| writes.is_live(txn))
        .collect();
    Replay::of(table, writes, level).ends_well(&live, events_left)
}

/// A replay, part by part.
#[derive(Clone)]
pub(crate) struct Replay<'a> {
    table: &'a Table,
    writes: &'a Writes,
    /// Serializability asks that each commit follows its start at once.
    serial: bool,
    /// The one that started and must commit next, or [`NEVER`].
    next: u32,
    real_time: bool,
    /// Of a list how far along its key's longest read it is, or [`NOWHERE`] when something stands there
    /// that no read saw; of a register what it holds.
    state: Vec<u32>,
    /// Of each key, how many commits there had been when it was last written.
    touched: Vec<u32>,
    /// Of each transaction, how many commits there had been when it started; then [`ENDED`].
    started: Vec<u32>,
    /// Of each process, the last transaction that started.
    sessions: Option<HashMap<u32, u32>>,
    /// The latest invocation of any that started.
    latest_begin: u32,
    commits: u32,
}

impl<'a> Replay<'a> {
    pub(crate) fn of(table: &'a Table, writes: &'a Writes, level: Level) -> Self {
        let keys = 0..table.keys() as u32;
        Self {
            table,
            writes,
            serial: level.covers(Level::Serializable),
            next: NEVER,
            real_time: level.covers(Level::StrongSnapshotIsolation),
            state: match table.data() {
                Data::Lists => vec![0; table.keys()],
                Data::Registers => keys.map(|key| table.initial(key)).collect(),
            },
            touched: vec![0; table.keys()],
            started: vec![NEVER; table.len()],
            sessions: level
                .covers(Level::StrongSessionSnapshotIsolation)
                .then(HashMap::new),
            latest_begin: 0,
            commits: 0,
        }
    }

    /// Whether what is left of these transactions can be replayed, in whatever order.
    fn ends_well(&self, live: &[u32], events_left: &mut u32) -> Option<bool> {
        if self.is_whole() {
            return Some(true);
        }
        for &txn in live {
            let event = match self.started[txn as usize] {
                NEVER => Event::Start(txn),
                ENDED => continue,
                _ => Event::Commit(txn),
            };
            *events_left = events_left.checked_sub(1)?;
            let mut next = self.clone();
            if next.allows(event) && next.ends_well(live, events_left)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Whether these events may come next.
    pub(crate) fn goes_on(
        &mut self,
        events: impl Iterator<Item = Event>,
        watch: Watch,
    ) -> Result<bool, Stop> {
        for (at, event) in events.enumerate() {
            watch.round(at as u32)?;
            if !self.allows(event) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether this event may come next.
    fn allows(&mut self, event: Event) -> bool {
        match event {
            Event::Start(txn) => self.writes.is_live(txn) && self.start(txn),
            Event::Commit(txn) => (!self.real_time || self.in_time(txn)) && self.commit(txn),
        }
    }

    /// Whether all that took effect has committed.
    pub(crate) fn is_whole(&self) -> bool {
        let live = (0..self.table.len() as u32).filter(|&txn| self.writes.is_live(txn));
        self.commits as usize == live.count()
    }

    fn start(&mut self, txn: u32) -> bool {
        if self.started[txn as usize] != NEVER || (self.serial && self.next != NEVER) {
            return false;
        }
        self.next = txn;
        self.started[txn as usize] = self.commits;
        self.latest_begin = self.latest_begin.max(self.table.invoked(txn));
        if let Some(sessions) = &mut self.sessions {
            let before = sessions.insert(self.table.process(txn), txn);
            let passed = |before| before < txn && self.started[before as usize] == ENDED;
            if !before.is_none_or(passed) {
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
        let state = self.state[read.key as usize];
        let mut own = before
            .iter()
            .filter(|op| op.key == read.key)
            .filter_map(|op| op.written());
        match self.table.data() {
            Data::Registers => own.next_back().unwrap_or(state) == self.table.observed(read),
            Data::Lists => match read.fitting_length() {
                None => false,
                Some(length) if length == state => own.next().is_none(),
                Some(_) => {
                    let beyond = self.table.list(read).get(state as usize..);
                    beyond.is_some_and(|list| own.eq(list.iter().copied()))
                }
            },
        }
    }

    fn commit(&mut self, txn: u32) -> bool {
        let started = std::mem::replace(&mut self.started[txn as usize], ENDED);
        self.commits += 1;
        let mut alone = started < ENDED && (!self.serial || self.next == txn);
        self.next = NEVER;
        for op in self.table.ops(txn) {
            let Some(version) = op.written() else {
                continue;
            };
            let key = op.key as usize;
            alone &= self.touched[key] <= started || self.touched[key] == self.commits;
            self.touched[key] = self.commits;
            let place = self.table.lists().position(version);
            self.state[key] = match self.table.data() {
                Data::Registers => version,
                Data::Lists if place != NOWHERE && place == self.state[key] => place + 1,
                Data::Lists => NOWHERE,
            };
        }
        alone
    }

    /// Whether nothing has started that began after this transaction had ended.
    fn in_time(&self, txn: u32) -> bool {
        let ended = self.table.completed(txn);
        ended == NEVER || ended > self.latest_begin
    }
}
