//! Historic bugs of real systems, by name, for testing those that must find them.
//!
//! Without the feature `bugs` no bug can be switched on and the compiler drops every trace of them.

#![cfg_attr(not(feature = "bugs"), allow(unreachable_pub, dead_code))]

/// A bug. The numbers are those of the list of bug classes that the canaries are named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// The leader answers reads from its own state, without asking a quorum.
    StaleReads,
    /// The vote is not written to disk.
    VoteNotPersisted,
    /// Entries are acknowledged before they are on disk.
    AckBeforeFsync,
    /// Entries of an older term are committed by counting replicas (Figure 8).
    CommitOldTerm,
    /// A conflicting tail is kept.
    NoTruncate,
    /// A lease never ends.
    LeaseForever,
    /// The vote is forgotten at each step back to follower, without a change of term.
    VoteErased,
    /// A follower commits what the leader commits, past the prefix that was verified.
    CommitUnverified,
    /// A vote is given whatever the candidate's log.
    VoteAnyLog,
    /// The leader takes what a follower has for what matches.
    MatchOverReported,
    /// An answer to whatever was sent before ends a probe.
    StaleAckEndsProbe,
    /// Half the voters are taken for a majority.
    QuorumMiscounted,
    /// A learner counts towards a majority.
    LearnerCounts,
    /// The leader counts its own entries before they are on disk.
    OwnAppendCounts,
    /// A new leader serves reads before its no-op has committed.
    ReadBeforeNoop,
    /// A read is answered before its index is applied.
    ReadBeforeApply,
    /// A lease is kept while leadership is handed over.
    LeaseInTransfer,
    /// A membership change is taken before an entry of the own term has committed.
    ChangeBeforeCommit,
    /// Membership changes overlap.
    ChangesOverlap,
    /// A configuration survives the truncation of its entry.
    ConfigurationKept,
    /// Several voters change at once, without a joint configuration between.
    JointSkipped,
    /// A node with a wiped disk votes as if nothing had happened.
    WipedVotes,
    /// Neither term nor vote is written to disk.
    TermNotPersisted,
    /// A follower takes any commit index, also one below its own.
    CommitGoesBack,
    /// What is on disk is applied, committed or not.
    ApplyUncommitted,
    /// A proposal takes effect although it is refused.
    RefusedYetProposed,
    /// A peer whose messages were lost is never asked again.
    NeverRevived,
    /// A leader believes that a peer still holds what it acknowledged on a disk that is lost.
    LostDiskBelieved,
    /// A new leader appends no entry of its own.
    NoNoop,
    /// No vote is given for a log that is no longer than the own one.
    VoteEqualRefused,
    /// Who installs a snapshot keeps the configuration that it had.
    SnapshotConfigurationDropped,
    /// A heartbeat of an older term is answered as if it were of this one.
    ReadRoundConfused,
    /// Pre-votes are asked for in the term that is over.
    PreVoteOwnTerm,
    /// A follower serves its reads without waiting for the leader's commit index.
    FollowerReadEarly,
}

/// The bugs that are switched on.
#[cfg(feature = "bugs")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs(u64);

#[cfg(feature = "bugs")]
impl Bugs {
    /// Every bug with its name and its number in the list of bug classes.
    pub const ALL: [(Bug, &'static str, u8); 34] = [
        (Bug::StaleReads, "stale-reads", 21),
        (Bug::VoteNotPersisted, "vote-not-persisted", 1),
        (Bug::AckBeforeFsync, "ack-before-fsync", 4),
        (Bug::CommitOldTerm, "commit-old-term", 6),
        (Bug::NoTruncate, "no-truncate", 9),
        (Bug::LeaseForever, "lease-forever", 22),
        (Bug::VoteErased, "vote-erased", 3),
        (Bug::CommitUnverified, "commit-unverified", 8),
        (Bug::VoteAnyLog, "vote-any-log", 11),
        (Bug::MatchOverReported, "match-over-reported", 13),
        (Bug::StaleAckEndsProbe, "stale-ack-ends-probe", 13),
        (Bug::QuorumMiscounted, "quorum-miscounted", 14),
        (Bug::LearnerCounts, "learner-counts", 37),
        (Bug::OwnAppendCounts, "own-append-counts", 38),
        (Bug::ReadBeforeNoop, "read-before-noop", 25),
        (Bug::ReadBeforeApply, "read-before-apply", 39),
        (Bug::LeaseInTransfer, "lease-in-transfer", 23),
        (Bug::ChangeBeforeCommit, "change-before-commit", 15),
        (Bug::ChangesOverlap, "changes-overlap", 16),
        (Bug::ConfigurationKept, "configuration-kept", 18),
        (Bug::JointSkipped, "joint-skipped", 16),
        (Bug::WipedVotes, "wiped-votes", 19),
        (Bug::TermNotPersisted, "term-not-persisted", 2),
        (Bug::CommitGoesBack, "commit-goes-back", 8),
        (Bug::ApplyUncommitted, "apply-uncommitted", 28),
        (Bug::RefusedYetProposed, "refused-yet-proposed", 27),
        (Bug::NeverRevived, "never-revived", 20),
        (Bug::LostDiskBelieved, "lost-disk-believed", 19),
        (Bug::NoNoop, "no-noop", 7),
        (Bug::VoteEqualRefused, "vote-equal-refused", 12),
        (
            Bug::SnapshotConfigurationDropped,
            "snapshot-configuration-dropped",
            17,
        ),
        (Bug::ReadRoundConfused, "read-round-confused", 24),
        (Bug::PreVoteOwnTerm, "pre-vote-own-term", 35),
        (Bug::FollowerReadEarly, "follower-read-early", 40),
    ];

    /// The bug of that name.
    pub fn named(name: &str) -> Option<Bug> {
        Self::ALL
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(bug, _, _)| *bug)
    }

    /// Switches a bug on.
    pub fn insert(&mut self, bug: Bug) {
        self.0 |= 1 << bug as u8;
    }

    /// Whether the bug is on.
    pub fn contains(self, bug: Bug) -> bool {
        self.0 & (1 << bug as u8) != 0
    }
}
