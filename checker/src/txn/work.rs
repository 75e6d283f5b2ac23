//! What a search may still spend: steps, and time.

use std::time::Instant;

/// It ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent;

/// Steps left, and when to stop whatever is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    left: u64,
    deadline: Option<Instant>,
}

/// Steps between two looks at the clock: well below a millisecond.
const LOOK_EVERY: u64 = 4096;

impl Work {
    pub(crate) fn new(steps: u64, deadline: Option<Instant>) -> Self {
        Self {
            left: steps,
            deadline,
        }
    }

    /// Spends one step.
    pub(crate) fn step(&mut self) -> Result<(), Spent> {
        self.left = self.left.checked_sub(1).ok_or(Spent)?;
        if self.left.is_multiple_of(LOOK_EVERY)
            && self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
        {
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
