//! Histories: what a run recorded, in columns.
//!
//! An [`Op`] is one line of a recording. A [`History`] holds millions of them in about 30 bytes
//! each: values are interned, names numbered, and what is rare (errors, revisions) is kept beside.
//! Readers and writers for every format stand in [`jsonl`]; pairing in [`Calls`].

mod calls;
mod columns;
mod error;
pub mod jsonl;
mod op;
mod values;

pub use calls::{Call, Calls, Outcome};
pub use columns::{History, Row};
pub use error::{HistoryError, ReadError};
pub use op::{Op, Process, Type};
pub use values::{ValueId, Values};
