//! Histories: what a run recorded, in columns.
//!
//! An [`Op`] is one line of a recording. A [`History`] holds millions of them in about 30 bytes
//! each: values are interned, names numbered, and what is rare (errors, revisions) is kept beside.
//! [`read_file`] and [`write_file`] know every format; [`History::calls`] pairs invocations with
//! completions.

mod calls;
mod columns;
pub mod edn;
mod error;
pub mod generate;
pub mod jsonl;
mod op;
mod scan;
mod source;
pub mod text;
mod values;

pub use calls::{Call, Calls, Outcome};
pub use columns::{History, Row};
pub use error::{HistoryError, ReadError};
pub use op::{Op, Process, Type};
pub use source::{Format, ReadOptions, read, read_file, write, write_file};
pub use values::{ValueId, Values};
