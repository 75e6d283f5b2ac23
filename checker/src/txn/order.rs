//! What is known of the order of each key's versions: what stands next after one.

use hashbrown::HashSet;

use super::lists::NOWHERE;
use super::rows::Rows;
use super::table::Table;
use super::work::{Stop, Watch};
use super::writes::Writes;

/// The order of the versions that took effect.
pub(crate) enum Order<'a> {
    /// Of lists: as the longest reads tell, and after them what no read saw.
    Listed(Listed<'a>),
    /// Of registers: each version's known later ones.
    Inferred(Rows),
}

impl Order<'_> {
    /// What stands next after a version; when that is open, all that may, by number.
    pub(crate) fn next(&self, version: u32) -> &[u32] {
        match self {
            Self::Listed(listed) => listed.next(version),
            Self::Inferred(later) => later.row(version),
        }
    }

    /// Whether more than one version may stand next after some version.
    pub(crate) fn branches(&self) -> bool {
        match self {
            Self::Listed(listed) => listed.unseen.branches(),
            Self::Inferred(later) => later.branches(),
        }
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Listed(listed) => listed.unseen.memory(),
            Self::Inferred(later) => later.memory(),
        }
    }
}

/// The order of lists. A read of a list shows the whole past of its key, so the longest read of a key
/// *is* the order of its versions, as far as anyone looked. A committed append that no read saw stands
/// after all that were read, as each of those reads would have shown it; the order among such appends
/// stays open, and as nobody looked, any order will do.
pub(crate) struct Listed<'a> {
    table: &'a Table,
    writes: &'a Writes,
    /// Versions that only reads which fit no order have seen: nothing is known of their place.
    aside: HashSet<u32>,
    /// By key, what no read saw.
    unseen: Rows,
}

impl<'a> Listed<'a> {
    pub(crate) fn of(table: &'a Table, writes: &'a Writes, watch: Watch) -> Result<Self, Stop> {
        let mut listed = Self {
            table,
            writes,
            aside: table.lists().aside().iter().flatten().copied().collect(),
            unseen: Rows::default(),
        };
        let mut unseen: Vec<(u32, u32)> = Vec::new();
        for version in 0..table.values() as u32 {
            watch.round(version)?;
            if listed.is_unseen(version) && writes.live_writer(version).is_some() {
                unseen.push((table.key_of(version), version));
            }
        }
        let pairs = unseen.capacity() * size_of::<(u32, u32)>();
        watch.memory(pairs + Rows::bytes(table.keys(), unseen.len()))?;
        listed.unseen = Rows::of(table.keys(), &unseen);
        Ok(listed)
    }

    /// Whether no read saw a version.
    pub(crate) fn is_unseen(&self, version: u32) -> bool {
        !self.table.is_listed(version) && !self.aside.contains(&version)
    }

    fn next(&self, version: u32) -> &[u32] {
        let (lists, key) = (self.table.lists(), self.table.key_of(version));
        let from = match lists.position(version) {
            _ if self.table.is_initial(version) => 0,
            NOWHERE => return &[],
            place => place as usize + 1,
        };
        let later = &lists.longest(key)[from..];
        let live = |version: &u32| self.writes.live_writer(*version).is_some();
        match later.iter().position(live) {
            Some(skipped) => &later[skipped..=skipped],
            None => self.unseen.row(key),
        }
    }
}
