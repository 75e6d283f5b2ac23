//! What may still be spent: steps, memory, time. Shared by all threads of a check.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::options::Budget;
use crate::resident::Growth;

/// Why an engine gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// The round's steps; a later round may have more.
    Steps,
    /// The wall clock.
    Time,
    /// The memory.
    Memory,
}

/// The purse.
#[derive(Debug)]
pub(crate) struct Purse {
    deadline: Option<Instant>,
    memory_max: u64,
    memory: AtomicU64,
    peak: AtomicU64,
    /// What the process may grow by, whatever is counted.
    growth: Option<Growth>,
    stopped: AtomicBool,
}

impl Purse {
    pub(crate) fn new(budget: &Budget, started: Instant) -> Self {
        Purse {
            deadline: started.checked_add(budget.time),
            memory_max: budget.memory_bytes,
            memory: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            growth: None,
            stopped: AtomicBool::new(false),
        }
    }

    /// The same; and the process may not grow further than this.
    pub(crate) fn within(self, growth: Option<Growth>) -> Self {
        Purse { growth, ..self }
    }

    /// How far the process may grow.
    pub(crate) fn growth(&self) -> Option<Growth> {
        self.growth
    }

    /// Whether there is time left, and the process did not outgrow the memory.
    pub(crate) fn time_left(&self) -> Result<(), Spent> {
        let now = Instant::now();
        if self.stopped.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| now >= deadline)
        {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(Spent::Time);
        }
        match self.growth.and_then(|growth| growth.over(now)) {
            Some(_) => Err(Spent::Memory),
            None => Ok(()),
        }
    }

    /// Whether the process has not outgrown the memory, as it is now.
    fn memory_left(&self) -> Result<(), Spent> {
        match self.growth.and_then(Growth::over_now) {
            Some(_) => Err(Spent::Memory),
            None => Ok(()),
        }
    }

    /// What ended, as something has.
    pub(crate) fn ended(&self) -> Spent {
        self.time_left().err().unwrap_or(Spent::Time)
    }

    /// Takes memory before it is allocated.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Spent> {
        let held = self.memory.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.memory_max {
            self.memory.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Spent::Memory);
        }
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    /// Gives memory back.
    pub(crate) fn give(&self, bytes: u64) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most that was held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// One engine's share in one round.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    purse: &'a Purse,
    steps_left: u64,
    until_look: u32,
    held: u64,
    /// The most that was held when what the process grew by was looked at.
    looked_at: u64,
}

/// Steps between two looks at the clock: about a tenth of a millisecond.
const LOOK_EVERY: u32 = 1024;

/// Bytes between two looks at what the process grew by: to fill them takes longer than the look.
const LOOK_EVERY_BYTES: u64 = 256 << 10;

impl<'a> Meter<'a> {
    pub(crate) fn new(purse: &'a Purse, steps: u64) -> Self {
        Meter {
            purse,
            steps_left: steps,
            until_look: LOOK_EVERY,
            held: 0,
            looked_at: 0,
        }
    }

    /// Spends one step.
    pub(crate) fn step(&mut self) -> Result<(), Spent> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Spent::Steps)?;
        self.until_look -= 1;
        if self.until_look == 0 {
            self.until_look = LOOK_EVERY;
            self.purse.time_left()?;
        }
        Ok(())
    }

    /// What it is a share of.
    pub(crate) fn purse(&self) -> &'a Purse {
        self.purse
    }

    /// Whether there is time left, whatever the steps.
    pub(crate) fn time_left(&self) -> Result<(), Spent> {
        self.purse.time_left()
    }

    /// States that the engine now holds this much.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), Spent> {
        if bytes > self.held {
            self.purse.take(bytes - self.held)?;
        } else {
            self.purse.give(self.held - bytes);
        }
        self.held = bytes;
        if bytes >= self.looked_at + LOOK_EVERY_BYTES {
            self.looked_at = bytes;
            self.purse.memory_left()?;
        }
        Ok(())
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.purse.give(self.held);
    }
}

/// What a vector holds, or will while it grows: before the next item, when it is full.
pub(crate) fn grown<T>(items: &Vec<T>) -> usize {
    grown_by(items, 1)
}

/// The same, before so many more.
pub(crate) fn grown_by<T>(items: &Vec<T>, more: usize) -> usize {
    let bytes = items.capacity() * size_of::<T>();
    while_growing(items.len() + more, items.capacity(), bytes)
}

/// What a table of so many bytes holds, or will while it grows to so many entries. The old one lives
/// until all are in the new one, which has twice the room.
pub(crate) fn while_growing(entries: usize, capacity: usize, bytes: usize) -> usize {
    bytes * if entries >= capacity { 3 } else { 1 }
}

/// What a list that began within itself holds outside.
pub(crate) fn spilled<A: smallvec::Array>(items: &smallvec::SmallVec<A>) -> usize {
    if items.spilled() {
        items.capacity() * size_of::<A::Item>()
    } else {
        0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Instant;

    use super::{LOOK_EVERY_BYTES, Meter, Purse, Spent};
    use crate::options::Budget;
    use crate::resident::tests::OUTGROWN;

    #[test]
    fn what_the_process_grew_by_is_looked_at_when_an_engine_holds_more() {
        let purse = Purse::new(&Budget::default(), Instant::now()).within(Some(OUTGROWN));
        let mut meter = Meter::new(&purse, 1);
        assert_eq!(meter.hold(LOOK_EVERY_BYTES - 1), Ok(()));
        assert_eq!(meter.hold(LOOK_EVERY_BYTES), Err(Spent::Memory));
        // What it held before may be held again.
        assert_eq!(meter.hold(0), Ok(()));
        assert_eq!(meter.hold(LOOK_EVERY_BYTES), Ok(()));
        assert_eq!(meter.hold(2 * LOOK_EVERY_BYTES), Err(Spent::Memory));
    }
}
