//! Why zones clash, and which operations it is that do.

use super::{NONE, Outcome, Zone, Zones};
use crate::model::register::Action;

/// Why the zones clash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Nobody wrote what this operation saw.
    NeverWritten {
        /// Who saw it.
        observer: u32,
    },
    /// Both replaced the same value, which was written once.
    ReplacedTwice {
        /// The two.
        cas: [u32; 2],
    },
    /// Each `cas` needs what the next one wrote.
    Circle {
        /// One of them.
        cas: u32,
    },
    /// Within one block: the later link returned before the earlier was invoked.
    Backwards {
        /// The link that must come first.
        earlier: u32,
        /// The link that must come after, and was over before.
        later: u32,
    },
    /// Two blocks must each precede the other.
    Clash {
        /// Least return and greatest invocation of one, as operations.
        first: [u32; 2],
        /// And of the other.
        second: [u32; 2],
    },
}

impl Violation {
    /// The operations that clash.
    pub(crate) fn involved(&self) -> Vec<u32> {
        let all = match *self {
            Violation::NeverWritten { observer } => vec![observer],
            Violation::ReplacedTwice { cas } => cas.to_vec(),
            Violation::Circle { cas } => vec![cas],
            Violation::Backwards { earlier, later } => vec![earlier, later],
            Violation::Clash { first, second } => [first, second].concat(),
        };
        all.into_iter().filter(|&it| it != NONE).collect()
    }
}

impl From<Violation> for Outcome {
    fn from(violation: Violation) -> Self {
        Outcome::Invalid(violation)
    }
}

impl Zones<'_> {
    /// A violation when the value was there but once.
    pub(super) fn replaced_twice(&self, old: u32, first: u32, second: u32) -> Outcome {
        let writes = |action| matches!(action, Action::Write(v) | Action::Cas(_, v) if v == old);
        let times_written = self
            .operations
            .iter()
            .filter(|it| writes(it.action))
            .count();
        let starts = usize::from(self.slots.of(old) == self.initial);
        if times_written + starts > 1 {
            return Outcome::NotUnique;
        }
        Outcome::Invalid(Violation::ReplacedTwice {
            cas: [first, second],
        })
    }

    pub(super) fn backwards(&self, invoke_plus_one: u32, ret: u32) -> Violation {
        Violation::Backwards {
            earlier: self.invoked_at(invoke_plus_one - 1),
            later: self.returned_at(ret),
        }
    }

    fn invoked_at(&self, row: u32) -> u32 {
        self.operations.partition_point(|it| it.invoke < row) as u32
    }

    fn returned_at(&self, row: u32) -> u32 {
        let found = self.operations.iter().position(|it| it.ret == row);
        found.expect("a zone's end is an operation's return") as u32
    }

    pub(super) fn circle(&self) -> Violation {
        // Mark what the chains reach; some cas is left over.
        let mut reached = vec![false; self.operations.len()];
        let mut walk = |mut slot: usize| {
            while self.clusters[slot].next != NONE {
                let next = self.clusters[slot].next as usize;
                reached[next] = true;
                let Action::Cas(_, new) = self.operations[next].action else {
                    return;
                };
                slot = self.slots.of(new);
            }
        };
        walk(self.initial);
        for &root in &self.roots {
            if let Action::Write(value) = self.operations[root as usize].action {
                walk(self.slots.of(value));
            }
        }
        let happened = self
            .clusters
            .iter()
            .map(|it| it.next)
            .filter(|&it| it != NONE);
        let left = happened.filter(|&cas| !reached[cas as usize]);
        Violation::Circle {
            cas: left.min().expect("fewer were linked than happened"),
        }
    }

    pub(super) fn clash(&self, first: &Zone, second: &Zone) -> Violation {
        let ends = |zone: &Zone| {
            let returned = match zone.least_return.checked_sub(1) {
                Some(row) => self.returned_at(row),
                None => NONE,
            };
            [returned, self.invoked_at(zone.greatest_invoke - 1)]
        };
        Violation::Clash {
            first: ends(first),
            second: ends(second),
        }
    }
}
