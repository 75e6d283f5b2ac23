//! A replicated key-value node: many Raft groups over one log and one set of sockets.
//!
//! ```text
//! main ─► cli ─► server ─► http ─► router ─► group ─┬─► raft            the protocol, pure
//!                                                   ├─► storage         log and snapshots
//!                                                   ├─► transport       links to peers
//!                                                   └─► state_machine   keys, leases, sessions
//! ```
//!
//! The four leaves know nothing of each other but `raft`'s types. A command's life is told in
//! [`group`].

mod admission;
pub mod bug;
pub mod cli;
pub mod config;
pub(crate) mod encoding;
pub mod group;
pub mod http;
mod inspect;
mod recover;
pub mod router;
pub mod server;
pub mod state_machine;
pub mod storage;
mod tls;
pub mod transport;
