//! What an analysis may still spend: time, memory, and the steps of a search.

use std::fmt;
use std::time::Instant;

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
}

/// Rounds of a loop between two looks at the clock: well below a millisecond.
const LOOK_EVERY: u32 = 1024;

impl Watch {
    /// Bytes that may still be held.
    pub(crate) fn free(self) -> usize {
        self.memory_max
            .map_or(usize::MAX, |allowed| allowed.saturating_sub(self.held))
    }

    /// Whether there is time left.
    pub(crate) fn time(self) -> Result<(), Stop> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stop::Time),
            _ => Ok(()),
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

/// A search ran out of its steps, or of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent;

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
        self.left = self.left.checked_sub(1).ok_or(Spent)?;
        if self.watch.round(self.left as u32).is_err() {
            self.left = 0;
            return Err(Spent);
        }
        Ok(())
    }

    /// Whether there is nothing left.
    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }
}
