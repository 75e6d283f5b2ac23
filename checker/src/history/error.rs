//! What can be wrong with a recording, said with its place.

use std::io;
use std::time::Instant;

use super::op::Process;

/// A recording that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text breaks its format.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Syntax {
        /// Counted from one.
        line: u64,
        /// Counted from one, in bytes.
        column: u64,
        /// What could have stood here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// The bytes could not be had.
    #[error("reading the history: {0}")]
    Io(#[from] io::Error),
    /// The deadline passed.
    #[error("the time budget ended while the history was read")]
    OutOfTime,
}

/// When to stop reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) deadline: Option<Instant>,
    ticks: u32,
}

impl Clock {
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        Clock { deadline, ticks: 0 }
    }

    /// Whether there is time left.
    pub(super) fn look(&self) -> Result<(), ReadError> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(ReadError::OutOfTime),
            _ => Ok(()),
        }
    }

    /// Looks once in so many forms or lines.
    pub(super) fn tick(&mut self) -> Result<(), ReadError> {
        const LOOK_EVERY: u32 = 1 << 12;
        self.ticks += 1;
        if self.ticks == LOOK_EVERY {
            self.ticks = 0;
            self.look()?;
        }
        Ok(())
    }
}

/// A recording that can be read and makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A completion that nothing began.
    #[error(
        "op {index} (row {row}) completes {f:?} of process {process}, which had invoked nothing: \
         expected an invocation before it"
    )]
    CompletionWithoutInvocation {
        /// Row in the history.
        row: usize,
        /// Index in the recording.
        index: u64,
        /// Whose.
        process: Process,
        /// Function of the op.
        f: String,
    },
    /// A second invocation while the first is open.
    #[error(
        "op {index} (row {row}) invokes {f:?} on process {process} while its invocation at row \
         {open} is still open: expected a completion before it"
    )]
    TwoOpenInvocations {
        /// Row in the history.
        row: usize,
        /// Index in the recording.
        index: u64,
        /// Whose.
        process: Process,
        /// Function of the op.
        f: String,
        /// Row of the open one.
        open: usize,
    },
    /// A completion of another function than was invoked.
    #[error(
        "op {index} (row {row}) completes {f:?} on process {process}, whose invocation at row \
         {open} is of {invoked:?}: expected the same function"
    )]
    AnotherFunction {
        /// Row in the history.
        row: usize,
        /// Index in the recording.
        index: u64,
        /// Whose.
        process: Process,
        /// Function of the op.
        f: String,
        /// Row of the open one.
        open: usize,
        /// Its function.
        invoked: String,
    },
}
