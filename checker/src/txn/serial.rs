//! A serial order of transactions on lists, found without a graph.
//!
//! Reads of lists leave nothing open: each tells which appends stand before it and which do not. So
//! when a history is strictly serializable, an order is found by going through the transactions in the
//! order in which they ended and putting before each what must stand before it: the writers of what
//! it read, the append before each of its own, and who read the list as it was then. Nothing that
//! began later may be among those. The order proves itself when it is replayed; where there is none,
//! there is an anomaly, and the graph is built to tell which.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::certificate::{Event, Replay};
use super::level::Level;
use super::rows::Rows;
use super::table::{Kind, NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// An order that replays: the proof that the history is strictly serializable. While a part of it is
/// sought, the part before is replayed.
pub(crate) fn proof(
    table: &Table,
    writes: &Writes,
    watch: Watch,
) -> Result<Option<Vec<Event>>, Stop> {
    const PART: usize = 1 << 15; // rows of the history
    if watch.memory(bytes(table)).is_err() {
        return Ok(None); // there may be an anomaly to be shown in less
    }
    let Some(readers) = readers(table, writes, watch)? else {
        return Ok(None);
    };
    let ended = ended(table, writes);
    let mut replay = Replay::of(table, writes, Level::StrictSerializable);
    let mut serial = Serial {
        table,
        writes,
        readers,
        state: vec![State::Waits; table.len()],
        calls: Vec::new(),
        events: Vec::new(),
    };
    let mut proof: Vec<Event> = Vec::with_capacity(2 * table.len());
    for part in ended.chunks(PART).chain([&[][..]]) {
        watch.time()?;
        let fresh = std::mem::take(&mut serial.events);
        let (found, replayed) = rayon::join(
            || part.iter().all(|&txn| txn == NEVER || serial.put(txn)),
            || replay.goes_on(&fresh, watch),
        );
        if !found || !replayed? {
            return Ok(None);
        }
        proof.extend(fresh);
    }
    Ok(replay.is_whole().then_some(proof))
}

/// The transactions that took effect as they ended, by the row of the completion; last those that are
/// not known to have.
fn ended(table: &Table, writes: &Writes) -> Vec<u32> {
    let mut ended: Vec<u32> = Vec::new();
    let mut unknown: Vec<u32> = Vec::new();
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        let completed = table.completed(txn) as usize;
        if completed == NEVER as usize {
            unknown.push(txn);
            continue;
        }
        if ended.len() <= completed {
            ended.resize(completed + 1, NEVER);
        }
        ended[completed] = txn;
    }
    ended.extend(unknown);
    ended
}

/// Bytes that this takes.
pub(crate) fn bytes(table: &Table) -> usize {
    let reads = table.steps(); // at most
    let readers = 2 * reads * size_of::<(u32, u32)>() + Rows::bytes(table.versions(), reads);
    let rows = 2 * table.len();
    readers + rows * (size_of::<u32>() + size_of::<Event>()) + 5 * table.len()
}

/// Who read each version as the last of its list, but for its own writer; none when a read fits no
/// order, or saw what nobody wrote.
fn readers(table: &Table, writes: &Writes, watch: Watch) -> Result<Option<Rows>, Stop> {
    const PART: usize = 1 << 14;
    let parts = (0..table.len().div_ceil(PART)).into_par_iter().map(|part| {
        watch.time()?;
        let end = table.len().min((part + 1) * PART);
        Ok(reads(table, writes, (part * PART) as u32..end as u32))
    });
    let parts: Vec<Option<Vec<(u32, u32)>>> = parts.collect::<Result<_, Stop>>()?;
    let pairs: Option<Vec<Vec<(u32, u32)>>> = parts.into_iter().collect();
    Ok(pairs.map(|pairs| Rows::of(table.versions(), &pairs.concat())))
}

/// The versions that these transactions read, each with the reader.
fn reads(table: &Table, writes: &Writes, txns: Range<u32>) -> Option<Vec<(u32, u32)>> {
    let mut pairs = Vec::with_capacity(2 * txns.len());
    for txn in txns.filter(|&txn| table.status(txn) == Status::Committed) {
        for op in table.ops(txn).iter().filter(|op| op.kind == Kind::Read) {
            let version = table.observed(*op);
            let by = writes.live_writer(version);
            if !table.fits(*op) || (by.is_none() && !table.is_initial(version)) {
                return None;
            }
            if by != Some(txn) {
                pairs.push((version, txn));
            }
        }
    }
    Some(pairs)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// On the stack: what must stand before it is being put.
    Asks,
    Stands,
}

struct Serial<'a> {
    table: &'a Table,
    writes: &'a Writes,
    readers: Rows,
    state: Vec<State>,
    /// A transaction, which of its steps is looked at, and how many that must stand before this
    /// step were.
    calls: Vec<(u32, u32, u32)>,
    events: Vec<Event>,
}

impl Serial<'_> {
    /// Puts a transaction, and before it what must stand there. False: that goes round in a circle,
    /// or something of it had not begun when the transaction ended.
    fn put(&mut self, txn: u32) -> bool {
        let end = self.table.completed(txn);
        self.ask(txn);
        while let Some((txn, step, asked)) = self.calls.last_mut() {
            let txn = *txn;
            let Some(op) = self.table.ops(txn).get(*step as usize) else {
                self.calls.pop();
                self.state[txn as usize] = State::Stands;
                self.events.extend([Event::Start(txn), Event::Commit(txn)]);
                continue;
            };
            let before = match op.written() {
                None if *asked == 0 => self.writes.live_writer(self.table.observed(*op)),
                Some(version) => {
                    let earlier = self.table.listed_before(version);
                    match asked.checked_sub(1) {
                        None => self.writes.live_writer(earlier),
                        Some(at) => self.readers.row(earlier).get(at as usize).copied(),
                    }
                }
                None => None,
            };
            *asked += 1;
            let Some(before) = before else {
                let more = *asked == 1 && op.written().is_some();
                if !more {
                    (*step, *asked) = (*step + 1, 0);
                }
                continue;
            };
            match self.state[before as usize] {
                State::Stands => {}
                State::Asks if before == txn => {}
                State::Waits if self.table.invoked(before) < end => self.ask(before),
                _ => return false,
            }
        }
        true
    }

    fn ask(&mut self, txn: u32) {
        if self.state[txn as usize] == State::Waits {
            self.state[txn as usize] = State::Asks;
            self.calls.push((txn, 0, 0));
        }
    }
}
