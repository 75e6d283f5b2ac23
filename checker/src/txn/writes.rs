//! Who wrote which version, and which transactions took effect.

use super::table::{Data, Kind, Status, Table};
use super::work::{Stop, Watch};

/// Nobody: no transaction wrote this version.
pub(crate) const NOBODY: u32 = u32::MAX;

/// The writers of a history.
#[derive(Debug)]
pub(crate) struct Writes {
    writer: Vec<u32>,
    intermediate: Vec<bool>,
    live: Vec<bool>,
    /// Versions written more than once: what a read of one saw cannot be told.
    pub(crate) ambiguous: Vec<u32>,
}

impl Writes {
    /// Finds every version's writer, and which transactions of unknown outcome were seen to happen.
    pub(crate) fn of(table: &Table, watch: Watch) -> Result<Self, Stop> {
        let mut writes = Self {
            writer: vec![NOBODY; table.versions()],
            intermediate: vec![false; table.versions()],
            live: vec![false; table.len()],
            ambiguous: Vec::new(),
        };
        for txn in 0..table.len() as u32 {
            watch.round(txn)?;
            writes.live[txn as usize] = table.status(txn) == Status::Committed;
            writes.enter(table, txn);
        }
        writes.revive(table, watch)?;
        Ok(writes)
    }

    /// Bytes that the writers of a table take.
    pub(crate) fn bytes(table: &Table) -> usize {
        5 * table.versions() + table.len()
    }

    fn enter(&mut self, table: &Table, txn: u32) {
        let ops = table.ops(txn);
        for (at, op) in ops.iter().enumerate() {
            let Some(version) = op.written() else {
                continue;
            };
            let writer = &mut self.writer[version as usize];
            if *writer != NOBODY {
                self.ambiguous.push(version);
            }
            *writer = txn;
            let again =
                |later: &super::table::MicroOp| later.kind == Kind::Write && later.key == op.key;
            self.intermediate[version as usize] = ops[at + 1..].iter().any(again);
        }
    }

    /// A transaction of unknown outcome whose write was read did happen.
    fn revive(&mut self, table: &Table, watch: Watch) -> Result<(), Stop> {
        let unknown = |&txn: &u32| table.status(txn) == Status::Unknown;
        if table.data() == Data::Lists {
            for txn in (0..table.len() as u32).filter(unknown) {
                watch.round(txn)?;
                let mut written = table.ops(txn).iter().filter_map(|op| op.written());
                self.live[txn as usize] = written.any(|version| table.is_listed(version));
            }
            table
                .lists()
                .aside()
                .iter()
                .flatten()
                .for_each(|&version| self.see(table, version));
            return Ok(());
        }
        for txn in 0..table.len() as u32 {
            watch.round(txn)?;
            for op in table.ops(txn).iter().filter(|op| op.kind == Kind::Read) {
                self.see(table, table.observed(*op));
            }
        }
        Ok(())
    }

    fn see(&mut self, table: &Table, version: u32) {
        let writer = self.writer[version as usize];
        if writer != NOBODY && table.status(writer) == Status::Unknown {
            self.live[writer as usize] = true;
        }
    }

    /// The transaction that wrote a version, if any did or tried to.
    pub(crate) fn writer(&self, version: u32) -> Option<u32> {
        Some(self.writer[version as usize]).filter(|&writer| writer != NOBODY)
    }

    /// The writer, if it took effect.
    pub(crate) fn live_writer(&self, version: u32) -> Option<u32> {
        self.writer(version).filter(|&writer| self.is_live(writer))
    }

    /// Whether the transaction took effect.
    pub(crate) fn is_live(&self, txn: u32) -> bool {
        self.live[txn as usize]
    }

    /// Whether its writer wrote the key again after this version.
    pub(crate) fn is_intermediate(&self, version: u32) -> bool {
        self.intermediate[version as usize]
    }
}
