//! What an analysis may still spend: time, memory, and the steps of a search.

use std::fmt;
use std::time::Instant;

use crate::resident::Growth;

/// Why an analysis ended before it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The deadline passed.
    Time,
    /// More memory was needed than allowed.
    Memory {
        /// Bytes.
        needed: usize,
        /// Bytes.
        allowed: usize,
    },
    /// There is no verdict for another reason.
    Because(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => f.write_str("the time budget ran out"),
            Self::Memory { needed, allowed } => write!(
                f,
                "the memory budget ran out: {needed} bytes are needed, {allowed} are allowed"
            ),
            Self::Because(reason) => f.write_str(reason),
        }
    }
}

/// A deadline and a bound on memory, looked at now and then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) deadline: Option<Instant>,
    pub(crate) memory_max: Option<usize>,
    /// Bytes that are held already.
    pub(crate) held: usize,
    /// What the process may grow by, whatever is counted.
    pub(crate) growth: Option<Growth>,
}

/// Rounds of a loop between two looks at the clock: well below a millisecond.
const LOOK_EVERY: u32 = 1024;

impl Watch {
    /// Bytes that may still be held.
    pub(crate) fn free(self) -> usize {
        self.memory_max
            .map_or(usize::MAX, |allowed| allowed.saturating_sub(self.held))
    }

    /// Whether there is time left, and the process did not outgrow the memory.
    pub(crate) fn time(self) -> Result<(), Stop> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Stop::Time);
        }
        let grown = self.growth.and_then(|growth| growth.over(now));
        match grown.zip(self.memory_max) {
            Some((grown, allowed)) => Err(Stop::Memory {
                needed: grown as usize,
                allowed,
            }),
            None => Ok(()),
        }
    }

    /// [`Watch::time`] in a loop, told its round.
    pub(crate) fn round(self, round: u32) -> Result<(), Stop> {
        if round.is_multiple_of(LOOK_EVERY) {
            self.time()
        } else {
            Ok(())
        }
    }

    /// The watch when this much more is held.
    pub(crate) fn holding(self, more: usize) -> Result<Self, Stop> {
        self.memory(more)?;
        let held = self.held + more;
        Ok(Self { held, ..self })
    }

    /// Whether this much more memory may be held.
    pub(crate) fn memory(self, more: usize) -> Result<(), Stop> {
        let needed = self.held.saturating_add(more);
        match self.memory_max {
            Some(allowed) if needed > allowed => Err(Stop::Memory { needed, allowed }),
            _ => Ok(()),
        }
    }
}

/// A search ran out of its steps, or was stopped because of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent(pub(crate) Option<Stop>);

/// The steps that a search has left, and when to stop whatever is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    left: u64,
    pub(crate) watch: Watch,
}

impl Work {
    pub(crate) fn new(steps: u64, watch: Watch) -> Self {
        Self { left: steps, watch }
    }

    /// Spends one step.
    pub(crate) fn step(&mut self) -> Result<(), Spent> {
        self.left = self.left.checked_sub(1).ok_or(Spent(None))?;
        self.watch.round(self.left as u32).map_err(|stop| {
            self.left = 0;
            Spent(Some(stop))
        })
    }

    /// Whether there is nothing left.
    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }
}
