//! Transactions: which isolation level did the database really keep?
//!
//! The history tells, for each transaction, what it wrote and what its reads returned. Every write
//! of a key has a value of its own, so a read names the write it saw. From this the engine infers
//!
//! 1. the order of each key's versions ([`append`] for lists, [`register`] for registers),
//! 2. the dependencies between transactions ([`graph`]): *ww* (overwrote), *wr* (was read by), *rw*
//!    (read what was overwritten by), the order within each process, and real time,
//! 3. the cycles in them ([`component`], [`cycle`]). A history is serializable exactly when there is
//!    an order of the versions with no cycle; the shape of a cycle says what weaker level it breaks
//!    ([`anomaly`], [`level`]).
//!
//! The method is that of Adya (*Weak Consistency*, 1999) and of Elle (Kingsbury and Alvaro, VLDB 2020).
//!
//! **Limits.** Two writes of the same value to the same key make a read ambiguous: the verdict is then
//! unknown. Reads of transactions that did not commit are not looked at.

mod analysis;
pub mod anomaly;
mod append;
pub mod certificate;
mod clock;
mod component;
mod cycle;
mod explain;
pub mod generate;
mod graph;
mod intern;
mod judge;
mod least;
pub mod level;
mod lists;
mod order;
mod polygraph;
mod reading;
pub mod register;
mod report;
mod rows;
mod scan;
mod solve;
mod standing;
mod steps;
mod table;
#[cfg(test)]
mod twin;
mod update;
mod visibility;
mod walk;
mod witness;
mod work;
mod writes;

pub use analysis::{Analysis, Limits, analyze};
pub use report::Expect;
pub(crate) use report::check;
pub use scan::Malformed;
pub use standing::Standing;
pub use table::{Data, Header, Status, Table};
