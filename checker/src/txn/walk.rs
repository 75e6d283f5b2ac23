//! Transactions on lists, each after what must stand before it, without a graph.
//!
//! Reads of lists leave nothing open: each tells which appends stand before it and which do not. So the
//! table alone tells what must stand before a transaction: the writers of what it read, the version
//! that each of its appends stands on and who read that, who came before it in its process, and what
//! had ended before it began. The transactions are gone through as they ended, each after those; what
//! goes round in a circle comes out together (Tarjan 1972). Where nothing does, the order proves itself
//! when it is replayed. Where something does, every cycle lies within one of these parts, and the graph
//! of dependencies is built of them alone.
//!
//! Helper nodes keep the walk linear: a *moment* stands for all that had ended by a row of the history,
//! a *crowd* for all who read the end of a list. A way from a transaction to a helper and back to itself
//! is no circle: helpers do not count.

use std::ops::Range;

use hashbrown::HashMap;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::certificate::{Event, Replay, in_turn};
use super::component::Components;
use super::level::Level;
use super::order::Listed;
use super::rows::Rows;
use super::table::{Kind, NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// What a walk came to.
pub(crate) enum Walked {
    /// An order that replays: the history is strictly serializable.
    Proven(Vec<Event>),
    /// An order of all, with those that must stand before each other.
    Parts(Components),
}

/// Walks through all transactions that took effect. While a part of the order is sought, the part
/// before is replayed.
pub(crate) fn through(
    table: &Table,
    writes: &Writes,
    order: &Listed,
    readers: &Rows,
    watch: Watch,
) -> Result<Walked, Stop> {
    const PART: usize = 1 << 15; // rows of the history
    watch.memory(bytes(table))?;
    let (ended, sessions) = rayon::join(|| ended(table, writes), || sessions(table, writes, watch));
    let nodes = table.len() + ended.len() + table.keys();
    assert!(nodes < DONE as usize, "too many transactions for one walk");
    let mut walk = Walk {
        table,
        writes,
        order,
        readers,
        ended: &ended,
        sessions: sessions?,
        row: 0,
        low: vec![UNSEEN; nodes],
        counter: UNSEEN,
        open: Vec::new(),
        calls: Vec::new(),
        found: Vec::new(),
        parts: Vec::new(),
        watch,
    };
    let mut replay = Replay::of(table, writes, Level::StrictSerializable);
    let mut replays = true;
    let mut found: Vec<u32> = Vec::with_capacity(table.len());
    let unknown = (0..table.len() as u32)
        .filter(|&txn| writes.is_live(txn) && table.completed(txn) == NEVER)
        .collect::<Vec<u32>>();
    for part in ended.chunks(PART).chain([&unknown[..], &[]]) {
        let fresh = std::mem::take(&mut walk.found);
        let (walked, replayed) = rayon::join(
            || walk.go_on(part),
            || Ok(replays && replay.goes_on(in_turn(&fresh), watch)?),
        );
        walked?;
        replays = replayed? && walk.parts.is_empty();
        found.extend(fresh);
    }
    Ok(if replays && replay.is_whole() {
        Walked::Proven(in_turn(&found).collect())
    } else {
        Walked::Parts(Components::in_order(table.len(), found, walk.parts))
    })
}

/// The transactions that took effect, by the row of the completion.
fn ended(table: &Table, writes: &Writes) -> Vec<u32> {
    let mut ended: Vec<u32> = Vec::with_capacity(2 * table.len());
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        let completed = table.completed(txn) as usize;
        if completed == NEVER as usize {
            continue;
        }
        if ended.len() <= completed {
            ended.resize(completed + 1, NEVER);
        }
        ended[completed] = txn;
    }
    ended
}

/// Who came before each in its process, where real time does not say so: that one is not known to have
/// ended.
fn sessions(table: &Table, writes: &Writes, watch: Watch) -> Result<HashMap<u32, u32>, Stop> {
    let (mut last, mut before) = (HashMap::new(), HashMap::new());
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        watch.round(txn)?;
        let process = table.process(txn);
        if let Some(earlier) = last.remove(&process) {
            before.insert(txn, earlier);
        }
        if table.completed(txn) == NEVER {
            last.insert(process, txn);
        }
    }
    Ok(before)
}

/// Bytes that this takes: the readers, in pairs and in rows, and of each row of the history and each
/// transaction what the walk and the replay know.
pub(crate) fn bytes(table: &Table) -> usize {
    // About; and what nobody wrote was read all the same.
    let reads = table.steps().saturating_sub(table.values());
    let readers = reads * size_of::<(u32, u32)>() + Rows::bytes(table.versions(), reads);
    readers + table.len() * (7 * size_of::<u32>() + 2 * size_of::<Event>())
}

/// Who read each version as the last of its list, but for its own writer; in order of transactions.
pub(crate) fn readers(table: &Table, watch: Watch) -> Result<Rows, Stop> {
    const PART: usize = 1 << 14;
    let parts = (0..table.len().div_ceil(PART)).into_par_iter().map(|part| {
        watch.time()?;
        let end = table.len().min((part + 1) * PART);
        Ok(reads(table, (part * PART) as u32..end as u32))
    });
    let parts: Vec<Vec<(u32, u32)>> = parts.collect::<Result<_, Stop>>()?;
    Ok(Rows::of_parts(table.versions(), &parts))
}

/// The versions that these transactions read, each with the reader.
fn reads(table: &Table, txns: Range<u32>) -> Vec<(u32, u32)> {
    let mut pairs = Vec::with_capacity(2 * txns.len());
    for txn in txns.filter(|&txn| table.status(txn) == Status::Committed) {
        let ops = table.ops(txn);
        for op in ops.iter().filter(|op| op.kind == Kind::Read) {
            let version = table.observed(*op);
            let own = || ops.iter().any(|op| op.written() == Some(version));
            if table.fits(*op) && !own() {
                pairs.push((version, txn));
            }
        }
    }
    pairs
}

/// A node not met yet, in place of its number.
const UNSEEN: u32 = 0;
/// A node whose place is found, in place of its number.
const DONE: u32 = u32::MAX;

/// Nodes are numbered: transactions, then moments by row, then crowds by key.
struct Walk<'a> {
    table: &'a Table,
    writes: &'a Writes,
    order: &'a Listed<'a>,
    readers: &'a Rows,
    ended: &'a [u32],
    sessions: HashMap<u32, u32>,
    /// The row that is gone on from: what ended before it is done.
    row: u32,
    low: Vec<u32>,
    counter: u32,
    /// Met, and place not found yet.
    open: Vec<u32>,
    calls: Vec<Call>,
    /// The order, and the parts in it of more than one.
    found: Vec<u32>,
    parts: Vec<Vec<u32>>,
    watch: Watch,
}

/// A node that waits for those that must stand before it.
struct Call {
    node: u32,
    number: u32,
    /// Which of its reasons is looked at, and how many nodes this one gave.
    step: u32,
    asked: u32,
}

/// The reasons before a transaction's own steps: time and process.
const STEPS: u32 = 2;

impl Walk<'_> {
    /// Finds the place of these transactions, those of the next rows.
    fn go_on(&mut self, txns: &[u32]) -> Result<(), Stop> {
        self.watch.time()?;
        for &txn in txns {
            if txn != NEVER && self.low[txn as usize] == UNSEEN {
                self.put(txn)?;
            }
            self.row = self.row.saturating_add(1);
        }
        Ok(())
    }

    fn put(&mut self, root: u32) -> Result<(), Stop> {
        self.call(root)?;
        while let Some(mut call) = self.calls.pop() {
            if let Some(before) = self.next_before(&mut call) {
                let seen = self.low[before as usize];
                let low = &mut self.low[call.node as usize];
                if seen != DONE && seen != UNSEEN {
                    *low = seen.min(*low);
                }
                self.calls.push(call);
                if seen == UNSEEN {
                    self.call(before)?;
                }
                continue;
            }
            let lowest = self.low[call.node as usize];
            if let Some(parent) = self.calls.last() {
                let low = &mut self.low[parent.node as usize];
                *low = lowest.min(*low);
            }
            if lowest == call.number {
                self.close(call.node);
            }
        }
        Ok(())
    }

    fn call(&mut self, node: u32) -> Result<(), Stop> {
        self.counter += 1;
        self.watch.round(self.counter)?;
        self.low[node as usize] = self.counter;
        self.open.push(node);
        self.calls.push(Call {
            node,
            number: self.counter,
            step: 0,
            asked: 0,
        });
        Ok(())
    }

    /// Gives all that were met since `root` their place.
    fn close(&mut self, root: u32) {
        let start = self.open.iter().rposition(|&node| node == root);
        let start = start.expect("the root is open");
        for &node in &self.open[start..] {
            self.low[node as usize] = DONE;
        }
        let txns = self.table.len() as u32;
        let before = self.found.len();
        let together = self.open.drain(start..);
        self.found.extend(together.filter(|&node| node < txns));
        if self.found.len() - before > 1 {
            self.parts.push(self.found[before..].to_vec());
        }
    }

    /// The next node that must stand before one, and may not be done.
    fn next_before(&self, call: &mut Call) -> Option<u32> {
        let txns = self.table.len() as u32;
        let Some(row) = call.node.checked_sub(txns) else {
            return self.before_txn(call);
        };
        if let Some(key) = row.checked_sub(self.ended.len() as u32) {
            let whole = self.table.lists().longest(key).len();
            return self.stood_on(key, whole, call.node, &mut call.asked);
        }
        call.step += 1;
        let ended = self.ended[row as usize];
        if call.step == 1 && ended != NEVER {
            return Some(ended);
        }
        call.step = 2;
        let first = std::mem::replace(&mut call.asked, 1) == 0;
        (first && row > self.row).then(|| call.node - 1)
    }

    fn before_txn(&self, call: &mut Call) -> Option<u32> {
        let (table, txn) = (self.table, call.node);
        if call.step == 0 {
            call.step = 1;
            let began = table.invoked(txn).min(self.ended.len() as u32);
            if began > self.row {
                return Some(table.len() as u32 + began - 1);
            }
        }
        if call.step == 1 {
            call.step = STEPS;
            if !self.sessions.is_empty()
                && let Some(&before) = self.sessions.get(&txn)
            {
                return Some(before);
            }
        }
        while let Some(op) = table.ops(txn).get((call.step - STEPS) as usize) {
            let before = match op.written() {
                None => {
                    call.step += 1;
                    self.writes.live_writer(table.observed(*op))
                }
                Some(version) if table.is_listed(version) => {
                    let place = table.lists().position(version) as usize;
                    let before = self.stood_on(op.key, place, txn, &mut call.asked);
                    if before.is_none() {
                        (call.step, call.asked) = (call.step + 1, 0);
                    }
                    before
                }
                Some(version) => {
                    call.step += 1;
                    let crowd = (table.len() + self.ended.len()) as u32 + op.key;
                    self.order.is_unseen(version).then_some(crowd)
                }
            };
            if before.is_some_and(|before| before != txn && self.low[before as usize] != DONE) {
                return before;
            }
        }
        None
    }

    /// Of those whom the version at a place of a key's list stands on the next that is not done, for a node:
    /// who read the version before it, and who wrote that. What did not take effect has readers only, and
    /// stands on others. `asked` counts those that were gone through.
    fn stood_on(&self, key: u32, place: usize, node: u32, asked: &mut u32) -> Option<u32> {
        let longest = self.table.lists().longest(key);
        let waits = |before: u32| before != node && self.low[before as usize] != DONE;
        let mut passed = 0;
        for before in (0..=place).rev() {
            let version = match before.checked_sub(1) {
                Some(at) => longest[at],
                None => self.table.initial(key),
            };
            let readers = self.readers.row(version);
            for &reader in readers.iter().skip((*asked - passed) as usize) {
                *asked += 1;
                if waits(reader) {
                    return Some(reader);
                }
            }
            passed += readers.len() as u32;
            if let Some(writer) = self.writes.live_writer(version) {
                let fresh = std::mem::replace(asked, passed + 1) == passed;
                return (fresh && waits(writer)).then_some(writer);
            }
        }
        None
    }
}
