//! What the core costs for each entry: three nodes in memory, no disk, no network, no encoding.
//!
//! `cargo run --release -p raft --example cost`

use std::time::Instant;

use bytes::Bytes;
use raft::{Config, Configuration, Raft, Restored, SnapshotMeta};

const NODES: u64 = 3;
const ENTRIES: u64 = 1_000_000;
const KEPT: u64 = 10_000;

/// Does what all cores say until none has anything to say.
fn settle(nodes: &mut [Raft]) {
    loop {
        let mut quiet = true;
        for at in 0..nodes.len() {
            let ready = nodes[at].ready();
            if ready.is_empty() {
                continue;
            }
            quiet = false;
            let mut messages = ready.messages;
            if let Some(write) = ready.write {
                nodes[at].persisted(write.tag);
                messages.extend(write.after);
            }
            if let Some(last) = ready.apply.last() {
                nodes[at].applied(last.index);
            }
            for envelope in messages {
                nodes[envelope.to as usize - 1].step(at as u64 + 1, envelope.message);
            }
        }
        if quiet {
            return;
        }
    }
}

/// Microseconds for each entry, on all nodes together, when `batch` are proposed at a time.
fn measure(batch: u64) -> f64 {
    let members = Configuration::of_voters(1..=NODES);
    let start = |id| Raft::new(Config::new(id, members.clone()), Restored::default());
    let mut nodes: Vec<Raft> = (1..=NODES)
        .map(|id| start(id).expect("a good set-up"))
        .collect();
    nodes[0].campaign();
    settle(&mut nodes);

    let value = Bytes::from(vec![7; 256]);
    let began = Instant::now();
    for _ in 0..ENTRIES / batch {
        for _ in 0..batch {
            nodes[0].propose(value.clone()).expect("node 1 leads");
        }
        settle(&mut nodes);
        let applied = nodes[0].commit();
        if applied.is_multiple_of(KEPT) || batch > 1 {
            for node in &mut nodes {
                compact(node, KEPT);
            }
        }
    }
    began.elapsed().as_secs_f64() * 1e6 / ENTRIES as f64
}

fn compact(node: &mut Raft, kept: u64) {
    let status = node.status();
    if status.applied > status.snapshot + kept {
        let meta: SnapshotMeta = node
            .snapshot_meta(status.applied)
            .expect("it is in the log");
        node.compact(meta, status.applied + 1 - kept / 10);
    }
}

fn main() {
    for batch in [1, 16, 64, 256] {
        println!(
            "{batch:4} at a time: {:.2} µs for each entry",
            measure(batch)
        );
    }
}
