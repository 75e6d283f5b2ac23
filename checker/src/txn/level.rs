//! The lattice of isolation levels, and what an anomaly rules out.
//!
//! Levels are meant as Adya (1999), Bailis et al. (*Highly Available Transactions*, 2013), Cerone and
//! Gotsman (2016) and Biswas and Enea (*On the Complexity of Checking Transactional Consistency*,
//! 2019) define them; `strong session` adds the order within each process, `strong` and `strict` add
//! real time. There are no predicates in these histories, so repeatable read and serializability
//! forbid the same cycles, and both are named.

use std::fmt;

use super::anomaly::{Kind, Order, Shape};

/// An isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Writes are totally ordered (PL-1).
    ReadUncommitted,
    /// Reads see committed, final values (PL-2).
    ReadCommitted,
    /// Once a transaction's effects are seen they stay seen.
    MonotonicAtomicView,
    /// All of a transaction is seen, or nothing of it.
    ReadAtomic,
    /// What a seen transaction depended on is seen too, sessions included, and all agree on one order
    /// of writes (causal convergence).
    Causal,
    /// Nothing is written between a transaction's read of a key and its own write of it (Berenson et
    /// al., *A Critique of ANSI SQL Isolation Levels*, 1995: no lost update, P4).
    CursorStability,
    /// Every transaction reads from one consistent snapshot of the dependencies (PL-2+).
    ConsistentView,
    /// Reads and writes as if one after the other, predicates aside (PL-2.99).
    RepeatableRead,
    /// Snapshots in one order of commits, and no concurrent writes of one key.
    SnapshotIsolation,
    /// Snapshot isolation that keeps each process's order.
    StrongSessionSnapshotIsolation,
    /// Snapshot isolation that keeps real time.
    StrongSnapshotIsolation,
    /// As if one transaction ran after the other (PL-3).
    Serializable,
    /// Serializable in an order that keeps each process's.
    StrongSessionSerializable,
    /// Serializable in an order that keeps real time.
    StrictSerializable,
}

use Level::{
    Causal, ConsistentView, CursorStability, MonotonicAtomicView, ReadAtomic, ReadCommitted,
    ReadUncommitted, RepeatableRead, Serializable, SnapshotIsolation, StrictSerializable,
    StrongSessionSerializable, StrongSessionSnapshotIsolation, StrongSnapshotIsolation,
};

impl Level {
    /// Every level, weaker ones before stronger ones.
    pub const ALL: [Self; 14] = [
        ReadUncommitted,
        ReadCommitted,
        MonotonicAtomicView,
        ReadAtomic,
        Causal,
        CursorStability,
        ConsistentView,
        RepeatableRead,
        SnapshotIsolation,
        StrongSessionSnapshotIsolation,
        StrongSnapshotIsolation,
        Serializable,
        StrongSessionSerializable,
        StrictSerializable,
    ];

    /// The levels that this one directly implies.
    pub fn implies(self) -> &'static [Self] {
        match self {
            ReadUncommitted => &[],
            ReadCommitted => &[ReadUncommitted],
            MonotonicAtomicView | CursorStability => &[ReadCommitted],
            ReadAtomic => &[MonotonicAtomicView],
            Causal => &[ReadAtomic],
            ConsistentView | RepeatableRead => &[ReadAtomic, CursorStability],
            SnapshotIsolation => &[ConsistentView],
            StrongSessionSnapshotIsolation => &[SnapshotIsolation, Causal],
            StrongSnapshotIsolation => &[StrongSessionSnapshotIsolation],
            Serializable => &[RepeatableRead, SnapshotIsolation],
            StrongSessionSerializable => &[Serializable, StrongSessionSnapshotIsolation],
            StrictSerializable => &[StrongSessionSerializable, StrongSnapshotIsolation],
        }
    }

    /// Whether whatever satisfies this level satisfies `other` too.
    pub fn covers(self, other: Self) -> bool {
        self == other || self.implies().iter().any(|weaker| weaker.covers(other))
    }

    /// The level of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// The name, as in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ReadUncommitted => "read-uncommitted",
            ReadCommitted => "read-committed",
            MonotonicAtomicView => "monotonic-atomic-view",
            ReadAtomic => "read-atomic",
            Causal => "causal",
            CursorStability => "cursor-stability",
            ConsistentView => "consistent-view",
            RepeatableRead => "repeatable-read",
            SnapshotIsolation => "snapshot-isolation",
            StrongSessionSnapshotIsolation => "strong-session-snapshot-isolation",
            StrongSnapshotIsolation => "strong-snapshot-isolation",
            Serializable => "serializable",
            StrongSessionSerializable => "strong-session-serializable",
            StrictSerializable => "strict-serializable",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The weakest levels that forbid an anomaly.
pub fn forbidden_by(kind: Kind) -> &'static [Level] {
    match kind {
        Kind::Garbage
        | Kind::Duplicates
        | Kind::IncompatibleOrder
        | Kind::DirtyUpdate
        | Kind::Cycle(Shape::G0, Order::Data) => &[ReadUncommitted],
        Kind::G1a | Kind::G1b | Kind::CyclicVersions | Kind::Cycle(Shape::G1c, Order::Data) => {
            &[ReadCommitted]
        }
        Kind::NonMonotonicView => &[MonotonicAtomicView],
        Kind::Internal | Kind::FracturedRead => &[ReadAtomic, RepeatableRead],
        Kind::CausalityViolation | Kind::Cycle(Shape::G0 | Shape::G1c, Order::Process) => &[Causal],
        Kind::LostUpdate => &[CursorStability],
        Kind::Cycle(Shape::GSingle, Order::Data) => &[ConsistentView, RepeatableRead],
        Kind::Cycle(Shape::GNonadjacent, Order::Data) => &[SnapshotIsolation, RepeatableRead],
        Kind::Cycle(Shape::G2Item, Order::Data) => &[RepeatableRead],
        Kind::Cycle(Shape::GSingle | Shape::GNonadjacent, Order::Process) => {
            &[StrongSessionSnapshotIsolation]
        }
        Kind::Cycle(Shape::G2Item, Order::Process) => &[StrongSessionSerializable],
        Kind::Cycle(Shape::G2Item, Order::Realtime) => &[StrictSerializable],
        Kind::Cycle(_, Order::Realtime) => &[StrongSnapshotIsolation],
    }
}
