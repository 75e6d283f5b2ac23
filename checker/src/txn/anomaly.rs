//! The anomalies, as data: what kind, and the transactions that show it.
//!
//! Names follow Adya's *Weak Consistency* (1999) and Elle (Kingsbury and Alvaro, VLDB 2020). A suffix
//! says what else the cycle needs: `-process` the order of one client's transactions, `-realtime` that
//! one transaction had ended before another began.

use std::fmt;

/// What binds a cycle besides data: nothing, the order within processes, or real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// Data dependencies alone.
    Data,
    /// And at least one step within a process.
    Process,
    /// And at least one step in real time.
    Realtime,
}

/// The shape of a cycle of dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Writes only.
    G0,
    /// Writes and at least one read of a write.
    G1c,
    /// Exactly one anti-dependency.
    GSingle,
    /// Several anti-dependencies, no two in a row.
    GNonadjacent,
    /// Several anti-dependencies, at least two in a row.
    G2Item,
}

/// A class of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A cycle of dependencies.
    Cycle(Shape, Order),
    /// Aborted read: a committed transaction read what an aborted one wrote.
    G1a,
    /// Intermediate read: a transaction read what another one overwrote itself.
    G1b,
    /// A transaction updated a version of a key, and another's write came between.
    LostUpdate,
    /// A committed write was made on top of an aborted one.
    DirtyUpdate,
    /// A transaction's read disagrees with its own earlier reads and writes.
    Internal,
    /// Two reads of a list, neither a prefix of the other, or a read against its writer's own order.
    IncompatibleOrder,
    /// A read list holds a value twice.
    Duplicates,
    /// A value was read that nobody ever wrote.
    Garbage,
    /// The versions of a key are ordered in a circle.
    CyclicVersions,
    /// A transaction saw one write of another, and later not its other one.
    NonMonotonicView,
    /// A transaction saw a part of another.
    FracturedRead,
    /// A transaction missed a write that what it saw depends on.
    CausalityViolation,
}

impl Kind {
    /// Its name, of a cycle without what else it needs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cycle(Shape::G0, _) => "G0",
            Self::Cycle(Shape::G1c, _) => "G1c",
            Self::Cycle(Shape::GSingle, _) => "G-single",
            Self::Cycle(Shape::GNonadjacent, _) => "G-nonadjacent",
            Self::Cycle(Shape::G2Item, _) => "G2-item",
            Self::G1a => "G1a",
            Self::G1b => "G1b",
            Self::LostUpdate => "lost-update",
            Self::DirtyUpdate => "dirty-update",
            Self::Internal => "internal",
            Self::IncompatibleOrder => "incompatible-order",
            Self::Duplicates => "duplicate-elements",
            Self::Garbage => "garbage-read",
            Self::CyclicVersions => "cyclic-versions",
            Self::NonMonotonicView => "non-monotonic-view",
            Self::FracturedRead => "fractured-read",
            Self::CausalityViolation => "causality-violation",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        f.write_str(match self {
            Self::Cycle(_, Order::Process) => "-process",
            Self::Cycle(_, Order::Realtime) => "-realtime",
            _ => "",
        })
    }
}

/// Why one transaction must stand before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    /// The second wrote the version next after one that the first wrote.
    Ww {
        /// The first's version.
        before: u32,
        /// The second's version.
        after: u32,
    },
    /// The second read what the first wrote.
    Wr {
        /// The version.
        version: u32,
    },
    /// The first read a version, the second wrote the next one.
    Rw {
        /// What the first read.
        read: u32,
        /// What the second wrote.
        after: u32,
    },
    /// A reader to which the first's version was visible read the second's.
    Seen {
        /// The reader.
        reader: u32,
        /// What it read, by the second.
        read: u32,
        /// What the first wrote.
        older: u32,
    },
    /// One client did the first, then the second.
    Process,
    /// The first had ended before the second began.
    Realtime,
}

/// One edge of a cycle; transactions are numbers of rows in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The transaction that stands before.
    pub from: u32,
    /// The one that stands after.
    pub to: u32,
    /// Why.
    pub because: Because,
}

/// What shows an anomaly. Transactions are rows of the table, versions its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A cycle of dependencies.
    Cycle(Vec<Step>),
    /// `reader` read `version`, which `writer` wrote, if anyone did.
    Read {
        /// The reader.
        reader: u32,
        /// What it read.
        version: u32,
        /// Who wrote it.
        writer: Option<u32>,
    },
    /// Micro-operation `op` of `txn` read a list that holds a version twice.
    Twice {
        /// The reader.
        txn: u32,
        /// Which of its micro-operations.
        op: u32,
        /// What is there twice.
        version: u32,
    },
    /// Micro-operation `op` of `txn` read a list that disagrees with the key's longest read.
    Disagrees {
        /// The reader.
        txn: u32,
        /// Which of its micro-operations.
        op: u32,
        /// One that read the other order.
        other: u32,
        /// The first place, from 0, where the two differ.
        at: u32,
    },
    /// Micro-operation `op` of `txn` disagrees with another one of it.
    Internal {
        /// The transaction.
        txn: u32,
        /// The read.
        op: u32,
        /// The micro-operation that it contradicts.
        other: u32,
    },
    /// A committed version stands directly on an aborted one.
    On {
        /// The aborted version.
        aborted: u32,
        /// The committed one.
        committed: u32,
        /// Who wrote each.
        writers: [u32; 2],
    },
    /// Both transactions read `version` and wrote its key.
    Updates {
        /// What both read.
        version: u32,
        /// One.
        first: u32,
        /// The other.
        second: u32,
    },
    /// `txn` read `version` and then wrote the key, though another's write came between.
    Between {
        /// Who updated.
        txn: u32,
        /// What it had read.
        version: u32,
        /// What it wrote.
        written: u32,
        /// What stands between the two.
        between: u32,
        /// Who wrote that.
        by: u32,
    },
    /// Versions of a key, each before the next, and the last before the first.
    Versions(Vec<u32>),
    /// `reader` read `version` though `newer`, of the same key, was visible to it.
    Missed {
        /// The reader.
        reader: u32,
        /// What it read.
        version: u32,
        /// What it should have read, or something later.
        newer: u32,
        /// How the reader depends on the writer of `newer`, step by step.
        path: Vec<Step>,
    },
}

/// An anomaly, with one demonstration of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is.
    pub kind: Kind,
    /// What shows it.
    pub evidence: Evidence,
    /// Whether a cycle is known to be the shortest of its kind.
    pub smallest: bool,
}

/// How many demonstrations of one kind are kept.
const KEPT: usize = 8;

/// The anomalies found: each counted, the first few of each kind kept.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The kept ones.
    pub kept: Vec<Anomaly>,
    counts: Vec<(Kind, usize)>,
}

impl Findings {
    /// Takes in an anomaly; the evidence is made only when it is kept.
    pub(crate) fn add(&mut self, kind: Kind, evidence: impl FnOnce() -> Evidence) {
        self.add_sized(kind, true, evidence);
    }

    pub(crate) fn add_sized(
        &mut self,
        kind: Kind,
        smallest: bool,
        evidence: impl FnOnce() -> Evidence,
    ) {
        let at = self
            .counts
            .iter()
            .position(|(other, _)| *other == kind)
            .unwrap_or_else(|| {
                self.counts.push((kind, 0));
                self.counts.len() - 1
            });
        self.counts[at].1 += 1;
        if self.counts[at].1 <= KEPT {
            self.kept.push(Anomaly {
                kind,
                evidence: evidence(),
                smallest,
            });
        }
    }

    /// Takes in what was found elsewhere, as if it had been found after all that is here.
    pub(crate) fn absorb(&mut self, others: Self) {
        for anomaly in others.kept {
            self.add_sized(anomaly.kind, anomaly.smallest, || anomaly.evidence);
        }
        for (kind, more) in others.counts {
            let counts = self.counts.iter_mut();
            for (_, count) in counts.filter(|(other, _)| *other == kind) {
                *count += more.saturating_sub(KEPT);
            }
        }
    }

    /// How often each kind was found, in the order of the kinds.
    pub fn counts(&self) -> Vec<(Kind, usize)> {
        let mut counts = self.counts.clone();
        counts.sort_unstable();
        counts
    }

    /// Whether any anomaly of this kind was found.
    pub fn has(&self, kind: Kind) -> bool {
        self.counts.iter().any(|(other, _)| *other == kind)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
