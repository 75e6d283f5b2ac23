//! The simulation itself is tried: a core that is wrong on purpose must be caught, and each law must
//! be seen to break.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use raft::{Bug, Bugs};

use crate::storm::attempt;
use crate::storm::setup::Setup;

/// How many seeds a bug may hide in.
const SEEDS: u64 = 1_000;

/// Switches the bug on, and brings about what it needs to show.
fn adjust(bug: Bug, setup: &mut Setup) {
    setup.config.bugs.insert(bug);
    let mischief = &mut setup.mischief;
    match bug {
        Bug::LeaseForever => {
            // A leader that stands still for long, and then gets no tick that it missed.
            mischief.stop = 40;
            setup.catches_up = false;
            lease(setup);
        }
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
        Bug::ChangeBeforeCommit | Bug::ConfigurationKept => {
            mischief.pause_max_us = 60_000;
            (mischief.change, mischief.crash, mischief.partition) = (100, 20, 20);
        }
        Bug::ReadRoundConfused => {
            // Who led comes back to lead while its old heartbeats are still on their way.
            (setup.voters, setup.learners) = (3, 0);
            setup.config.check_quorum = false;
            setup.config.lease_drift_percent = None;
            mischief.pause_max_us = 100_000;
            (mischief.change, mischief.wipe, mischief.crash) = (0, 0, 0);
            (mischief.hand_over, mischief.weather, mischief.stop) = (150, 30, 0);
            mischief.fill = 0;
            mischief.campaign = 30;
        }
        Bug::SnapshotConfigurationDropped => {
            setup.snapshot_every = 10;
            (mischief.partition, mischief.change) = (30, 60);
        }
        Bug::LostDiskBelieved => {
            (mischief.wipe, mischief.readmit) = (60, 0);
        }
        Bug::WipedVotes => {
            (setup.voters, setup.learners) = (3, 0);
            setup.config.check_quorum = false;
            setup.config.lease_drift_percent = None;
            mischief.pause_max_us = 100_000;
            (mischief.wipe, mischief.readmit, mischief.change) = (60, 30, 0);
            (mischief.crash, mischief.partition) = (40, 20);
        }
        Bug::StaleAckEndsProbe => {
            // Many small messages on a network where they overtake each other.
            (setup.config.batching, setup.config.pipelining) = (false, true);
            setup.config.inflight_max = 64;
            setup.config.inflight_max_bytes = 1 << 20;
            mischief.weather = 40;
        }
        _ => {}
    }
}

fn lease(setup: &mut Setup) {
    setup.config.check_quorum = true;
    setup.config.lease_drift_percent = Some(setup.drift_percent as u32);
}

/// The first seed in which the bug breaks a law, or `only` that one, and the law's name.
fn caught(bug: Bug, only: Option<&'static str>) -> Option<(u64, String)> {
    let wrong = |setup: &mut Setup| {
        adjust(bug, setup);
        setup.only = only;
    };
    let broken = |seed| Some((seed, law_of(&attempt(seed, &wrong).err()?)));
    (1..=SEEDS)
        .filter_map(broken)
        .find(|(_, law)| only.is_none_or(|only| law == only))
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
        match caught(bug, None) {
            Some((seed, law)) => println!("{name:22} seed {seed:3}: {law}"),
            None => missed.lock().expect("not poisoned").push(name),
        }
    });
    let missed = missed.into_inner().expect("not poisoned");
    assert!(missed.is_empty(), "not caught in {SEEDS} seeds: {missed:?}");
}

/// A law, and a bug that breaks it.
const SEEN: [(&str, Bug); 23] = [
    ("one vote", Bug::VoteErased),
    ("election safety", Bug::QuorumMiscounted),
    ("leader completeness", Bug::VoteAnyLog),
    ("log matching", Bug::QuorumMiscounted),
    ("state machine safety", Bug::CommitUnverified),
    ("equal states", Bug::CommitUnverified),
    ("durable on a quorum", Bug::AckBeforeFsync),
    ("applied is committed", Bug::ApplyUncommitted),
    ("stale reads are of the past", Bug::CommitUnverified),
    ("committed in order", Bug::ApplyUncommitted),
    ("refused is refused", Bug::RefusedYetProposed),
    ("one change at a time", Bug::ChangesOverlap),
    ("majorities overlap", Bug::JointSkipped),
    (
        "configuration of the snapshot",
        Bug::SnapshotConfigurationDropped,
    ),
    ("configuration of the log", Bug::ConfigurationKept),
    ("commits its own term", Bug::CommitOldTerm),
    ("change after own commit", Bug::ChangeBeforeCommit),
    ("linearizable", Bug::StaleReads),
    ("read waits for its index", Bug::ReadBeforeApply),
    ("terms grow", Bug::TermNotPersisted),
    ("commit grows", Bug::CommitGoesBack),
    ("progress", Bug::NeverRevived),
    ("messages do not multiply", Bug::StaleAckEndsProbe),
];

#[test]
fn every_law_is_seen_to_break() {
    let unseen = Mutex::new(Vec::new());
    for_each(&SEEN, |(law, bug)| match caught(*bug, Some(law)) {
        Some((seed, _)) => println!("{law:24} seed {seed:3}: {bug:?}"),
        None => unseen.lock().expect("not poisoned").push(*law),
    });
    let unseen = unseen.into_inner().expect("not poisoned");
    assert!(
        unseen.is_empty(),
        "not seen to break in {SEEDS} seeds: {unseen:?}"
    );
}
