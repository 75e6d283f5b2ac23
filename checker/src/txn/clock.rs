//! Who depends on whom, by any path of reads and of order within processes.
//!
//! A clock says of each *chain* how many of its transactions one depends on. A chain is a path of
//! dependencies: the transactions of a process, and after its end those of another process whose first
//! one depends on all of the chain. So there are about as many chains as processes at a time, though
//! each unknown outcome retires a process; and what no other process can depend on has no place there.
//! A clock is held for as long as somebody is to take it over.

use hashbrown::HashMap;

use super::component::Components;
use super::graph::{Graph, Mask};
use super::table::{Kind, Status};
use super::witness::Witness;
use super::work::{Stop, Watch};

/// No transaction, no chain, no clock.
const NONE: u32 = u32::MAX;

/// A transaction's place: the chain, and how many stand before it there.
pub(crate) type Place = (u32, u32);

/// How many transactions of each chain; of chains beyond the end none.
#[derive(Debug, Default)]
pub(crate) struct Clock(Vec<u32>);

impl Clock {
    /// How many of a chain's first transactions are depended on.
    pub(crate) fn count(&self, chain: u32) -> u32 {
        self.0.get(chain as usize).copied().unwrap_or(0)
    }

    fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (count, other) in self.0.iter_mut().zip(&other.0) {
            *count = (*count).max(*other);
        }
    }

    fn set(&mut self, chain: u32, count: u32) {
        let chain = chain as usize;
        if self.0.len() <= chain {
            self.0.resize(chain + 1, 0);
        }
        self.0[chain] = count;
    }
}

/// The clocks of a walk through the transactions, in an order of their dependencies.
pub(crate) struct Clocks<'a> {
    witness: Witness<'a>,
    /// Of each transaction the one before it in its process.
    before: Vec<u32>,
    /// How many are still to take over its clock.
    heirs: Vec<u32>,
    /// Whether other processes may depend on it: it was read, or a later one of its process was.
    useful: Vec<bool>,
    /// Whether one such follows in its process.
    continues: Vec<bool>,
    chain: Vec<u32>,
    /// Where its clock is held.
    slot: Vec<u32>,
    slots: Vec<Clock>,
    free: Vec<u32>,
    /// Clocks to be filled again.
    spare: Vec<Clock>,
    /// How many stand on each chain.
    lengths: Vec<u32>,
    /// Chains whose process has ended.
    ended: Vec<u32>,
}

impl<'a> Clocks<'a> {
    /// Bytes that a walk takes, the clocks apart.
    pub(crate) fn bytes(txns: usize) -> usize {
        txns * (4 * size_of::<u32>() + 2 * size_of::<bool>())
    }

    pub(crate) fn of(witness: Witness<'a>, watch: Watch) -> Result<Self, Stop> {
        let (table, writes) = (witness.table, witness.writes);
        let mut clocks = Self {
            witness,
            before: vec![NONE; table.len()],
            heirs: vec![0; table.len()],
            useful: vec![false; table.len()],
            continues: vec![false; table.len()],
            chain: vec![NONE; table.len()],
            slot: vec![NONE; table.len()],
            slots: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            lengths: Vec::new(),
            ended: Vec::new(),
        };
        let mut last: HashMap<u32, u32> = HashMap::new();
        for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
            watch.round(txn)?;
            for writer in sources(witness, txn) {
                clocks.heirs[writer as usize] += 1;
                clocks.useful[writer as usize] = true;
            }
            if let Some(before) = last.insert(table.process(txn), txn) {
                clocks.before[txn as usize] = before;
                clocks.heirs[before as usize] += 1;
            }
        }
        for txn in (0..table.len()).rev() {
            if clocks.useful[txn] && clocks.before[txn] != NONE {
                clocks.useful[clocks.before[txn] as usize] = true;
                clocks.continues[clocks.before[txn] as usize] = true;
            }
        }
        Ok(clocks)
    }

    /// The transactions that took effect, each after those that it depends on.
    pub(crate) fn walk(&self, graph: &Graph, watch: Watch) -> Result<Vec<u32>, Stop> {
        let mut order = Components::of(graph, Mask::WR.and(Mask::PROCESS), watch)?.finished;
        order.retain(|&node| node < graph.txns && self.witness.writes.is_live(node));
        order.reverse();
        Ok(order)
    }

    /// What the next transaction of the walk depends on.
    pub(crate) fn arrive(&mut self, txn: u32) -> Clock {
        let mut clock = self.spare.pop().unwrap_or_default();
        clock.0.clear();
        for source in self.direct(txn) {
            if let Some(held) = self.held(source) {
                clock.join(held);
            }
        }
        clock
    }

    /// Whether a transaction of the walk stands at a place, or depends on the one there.
    pub(crate) fn covers(&self, txn: u32, (chain, place): Place) -> bool {
        self.held(txn)
            .is_some_and(|clock| place < clock.count(chain))
    }

    /// Goes on, with the clock that [`Clocks::arrive`] gave. The answer is the transaction's place, if
    /// other processes may depend on it.
    pub(crate) fn leave(&mut self, txn: u32, mut clock: Clock) -> Option<Place> {
        let place = self.useful[txn as usize].then(|| self.take_place(txn, &mut clock));
        for source in self.direct(txn) {
            self.heirs[source as usize] -= 1;
            let slot = self.slot[source as usize];
            if self.heirs[source as usize] == 0 && slot != NONE {
                self.slot[source as usize] = NONE;
                self.free.push(slot);
                self.spare
                    .push(std::mem::take(&mut self.slots[slot as usize]));
            }
        }
        if self.heirs[txn as usize] == 0 {
            self.spare.push(clock);
        } else {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Clock::default());
                self.slots.len() as u32 - 1
            });
            self.slots[slot as usize] = clock;
            self.slot[txn as usize] = slot;
        }
        place
    }

    /// Bytes of memory held by the clocks.
    pub(crate) fn memory(&self) -> usize {
        let all = self.slots.iter().chain(&self.spare);
        all.map(|clock| size_of::<Clock>() + size_of::<u32>() * clock.0.capacity())
            .sum()
    }

    fn held(&self, txn: u32) -> Option<&Clock> {
        self.slots.get(self.slot[txn as usize] as usize)
    }

    /// What a transaction depends on by one step.
    fn direct(&self, txn: u32) -> impl Iterator<Item = u32> + use<'a> {
        let before = Some(self.before[txn as usize]).filter(|&before| before != NONE);
        before.into_iter().chain(sources(self.witness, txn))
    }

    fn take_place(&mut self, txn: u32, clock: &mut Clock) -> Place {
        let before = self.before[txn as usize];
        let own = self.chain.get(before as usize).copied();
        let chain = own.filter(|&chain| chain != NONE).unwrap_or_else(|| {
            let all_seen = |chain: &u32| clock.count(*chain) == self.lengths[*chain as usize];
            if let Some(at) = self.ended.iter().position(all_seen) {
                self.ended.swap_remove(at)
            } else {
                self.lengths.push(0);
                self.lengths.len() as u32 - 1
            }
        });
        let place = self.lengths[chain as usize];
        self.lengths[chain as usize] += 1;
        self.chain[txn as usize] = chain;
        if !self.continues[txn as usize] {
            self.ended.push(chain);
        }
        clock.set(chain, place + 1);
        (chain, place)
    }
}

/// Who wrote what a transaction read.
fn sources(witness: Witness<'_>, txn: u32) -> impl Iterator<Item = u32> + use<'_> {
    let Witness { table, writes, .. } = witness;
    let committed = table.status(txn) == Status::Committed;
    let ops = table.ops(txn).iter();
    ops.filter(move |op| committed && op.kind == Kind::Read)
        .filter_map(move |op| writes.live_writer(table.observed(*op)))
        .filter(move |&writer| writer != txn)
}
