//! What objects promise: each model says what its operations do, one at a time.

pub(crate) mod aggregate;
pub(crate) mod elements;
pub(crate) mod kv;
pub(crate) mod lock;
pub(crate) mod multi_register;
pub(crate) mod register;
pub(crate) mod sequence;
mod specification;

pub use specification::{Effect, Observed, Specification};
