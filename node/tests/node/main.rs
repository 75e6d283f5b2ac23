//! Real nodes: processes on loopback with disks of their own, killed, stopped and restarted.

mod admin;
mod cluster;
mod disks;
mod forwarding;
mod inputs;
mod limits;
mod membership;
mod operations;
mod protocols;
mod recovery;
mod sessions;
mod slow_links;
mod tls;
