//! A replicated key-value node: many Raft groups over one log and one set of sockets.

pub(crate) mod encoding;
pub mod storage;
pub mod transport;
