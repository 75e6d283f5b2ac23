//! The simulation itself is tried: a core that is wrong on purpose must be caught, and each law must
//! be seen to break.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use raft::{Bug, Bugs};

use crate::attempt;
use crate::cluster::Setup;

/// How many seeds a bug may hide in.
const SEEDS: u64 = 300;

/// Switches the bug on, and brings about what it needs to show.
fn adjust(bug: Bug, setup: &mut Setup) {
    setup.config.bugs.insert(bug);
    let mischief = &mut setup.mischief;
    match bug {
        Bug::LeaseForever => lease(setup),
        Bug::LeaseInTransfer => {
            mischief.hand_over = 60;
            mischief.weather = 30;
            lease(setup);
        }
        Bug::LearnerCounts => setup.learners = 2,
        Bug::CommitUnverified | Bug::MatchOverReported | Bug::CommitOldTerm => {
            setup.config.max_batch_bytes = 1;
            (mischief.crash, mischief.partition, mischief.mend) = (40, 30, 15);
        }
        Bug::ChangeBeforeCommit => {
            mischief.pause_max_us = 60_000;
            (mischief.change, mischief.crash, mischief.partition) = (100, 20, 20);
        }
        Bug::WipedVotes => {
            (setup.voters, setup.learners) = (3, 0);
            setup.config.check_quorum = false;
            setup.config.lease_drift_percent = None;
            mischief.pause_max_us = 100_000;
            (mischief.wipe, mischief.readmit, mischief.change) = (60, 30, 0);
            (mischief.crash, mischief.partition) = (40, 20);
        }
        _ => {}
    }
}

fn lease(setup: &mut Setup) {
    setup.config.check_quorum = true;
    setup.config.lease_drift_percent = Some(setup.drift_percent as u32);
}

/// The first seed that shows the bug, and the law that it breaks.
fn caught(bug: Bug, muted: &[&'static str]) -> Option<(u64, String)> {
    (1..=SEEDS).find_map(|seed| {
        let wrong = |setup: &mut Setup| {
            adjust(bug, setup);
            setup.muted = muted.to_vec();
        };
        Some((seed, law_of(&attempt(seed, &wrong).err()?)))
    })
}

/// The name in brackets; what the core itself asserts has none.
fn law_of(said: &str) -> String {
    let named = said.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    named.map_or_else(|| said.to_owned(), |(name, _)| name.to_owned())
}

/// Does `work` for each of `items`, on all processors.
fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn every_bug_is_caught() {
    let missed = Mutex::new(Vec::new());
    let only = std::env::var("ORDEAL_BUG").ok();
    for_each(&Bugs::ALL, |&(bug, name, _)| {
        if only.as_ref().is_some_and(|only| only != name) {
            return;
        }
        match caught(bug, &[]) {
            Some((seed, law)) => println!("{name:22} seed {seed:3}: {law}"),
            None => missed.lock().expect("not poisoned").push(name),
        }
    });
    let missed = missed.into_inner().expect("not poisoned");
    assert!(missed.is_empty(), "not caught in {SEEDS} seeds: {missed:?}");
}

/// A law, a bug that breaks it, and the laws that would speak up before it.
const SEEN: [(&str, Bug, &[&str]); 18] = [
    ("one vote", Bug::VoteErased, &[]),
    (
        "election safety",
        Bug::QuorumMiscounted,
        &["durable on a quorum", "leader completeness"],
    ),
    ("leader completeness", Bug::VoteAnyLog, &[]),
    (
        "log matching",
        Bug::QuorumMiscounted,
        &[
            "durable on a quorum",
            "leader completeness",
            "election safety",
            "state machine safety",
        ],
    ),
    ("state machine safety", Bug::CommitUnverified, &[]),
    (
        "equal states",
        Bug::ApplyUncommitted,
        &["applied is committed", "linearizable"],
    ),
    ("durable on a quorum", Bug::AckBeforeFsync, &[]),
    ("applied is committed", Bug::ApplyUncommitted, &[]),
    ("refused is refused", Bug::RefusedYetProposed, &[]),
    ("one change at a time", Bug::ChangesOverlap, &[]),
    (
        "majorities overlap",
        Bug::ChangesOverlap,
        &["one change at a time", "change after own commit"],
    ),
    ("commits its own term", Bug::CommitOldTerm, &[]),
    ("change after own commit", Bug::ChangeBeforeCommit, &[]),
    ("linearizable", Bug::StaleReads, &[]),
    ("read waits for its index", Bug::ReadBeforeApply, &[]),
    (
        "terms grow",
        Bug::TermNotPersisted,
        &["one vote", "election safety"],
    ),
    ("commit grows", Bug::CommitGoesBack, &[]),
    ("progress", Bug::NeverRevived, &[]),
];

#[test]
fn every_law_is_seen_to_break() {
    let unseen = Mutex::new(BTreeSet::new());
    for_each(&SEEN, |(law, bug, muted)| {
        let others = caught(*bug, muted);
        match others {
            Some((_, broken)) if broken == *law => {}
            other => {
                unseen
                    .lock()
                    .expect("not poisoned")
                    .insert(format!("{law}: {bug:?}: {other:?}"));
            }
        }
    });
    let unseen = unseen.into_inner().expect("not poisoned");
    assert!(unseen.is_empty(), "{unseen:#?}");
}
