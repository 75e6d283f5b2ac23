//! Transactions in columns: what every engine of this folder reads.
//!
//! A transaction is a row of micro-operations. Keys are dense numbers; a *version* is a (key, value)
//! pair, a dense number too, so that "who wrote what this read saw" is one look into an array. The
//! state of a key before its first write is a version of its own, see [`Table::initial`].

use super::intern::{Interner, Name};
use super::lists::{Lists, NOWHERE};
use super::scan::Malformed;
use super::steps::{self, Step};

/// Never completed: `completed` of a transaction whose outcome is unknown.
pub(crate) const NEVER: u32 = u32::MAX;
/// The value of a register read that found nothing.
const NOTHING: u32 = u32::MAX;

/// What is known of a transaction's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It happened.
    Committed,
    /// It certainly did not happen.
    Aborted,
    /// It may have happened.
    Unknown,
}

/// What the micro-operations work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Lists: `["append",k,v]` adds at the end, `["r",k,[…]]` reads the whole list.
    Lists,
    /// Registers: `["w",k,v]` replaces, `["r",k,v]` reads.
    Registers,
}

/// When and by whom a transaction was done.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The logical client.
    pub process: u32,
    /// What is known of its outcome.
    pub status: Status,
    /// Position of its invocation in the history.
    pub invoked: u32,
    /// Position of its completion in the history; none when it is not known to have ended.
    pub completed: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    process: u32,
    invoked: u32,
    completed: u32,
    end: u32,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Read,
}

/// One micro-operation; of a write `value` is the version, of a read see [`Table::observed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MicroOp {
    pub(crate) kind: Kind,
    pub(crate) key: u32,
    value: u32,
}

impl MicroOp {
    /// The version that this write makes.
    pub(crate) fn written(self) -> Option<u32> {
        (self.kind == Kind::Write).then_some(self.value)
    }

    /// How long the list was that this read saw, if it fits the other reads of its key.
    pub(crate) fn fitting_length(self) -> Option<u32> {
        (!Lists::is_aside(self.value)).then_some(self.value)
    }
}

/// A history of transactions, in order of invocation.
#[derive(Debug)]
pub struct Table {
    data: Data,
    keys: Interner,
    values: Interner,
    lists: Lists,
    rows: Vec<Row>,
    ops: Vec<MicroOp>,
}

impl Table {
    /// An empty table for transactions on `data`.
    pub fn new(data: Data) -> Self {
        Self {
            data,
            keys: Interner::default(),
            values: Interner::default(),
            lists: Lists::default(),
            rows: Vec::new(),
            ops: Vec::new(),
        }
    }

    /// Adds a transaction; `value` is the JSON text of its micro-operations. Of one that is not
    /// known to have committed only the writes count: it is given as it was invoked.
    pub fn push(&mut self, header: Header, value: &[u8]) -> Result<(), Malformed> {
        let mut steps = Vec::new();
        steps::take(self.data, header.status, value, &mut steps)?;
        self.enter(header, &steps)
    }

    /// Adds a transaction of these steps.
    pub(crate) fn enter(&mut self, header: Header, steps: &[Step]) -> Result<(), Malformed> {
        let before = self.ops.len();
        for step in steps {
            let key = self.keys.intern(0, step.key);
            let value = match (step.kind, step.value) {
                (Kind::Read, None) if self.data == Data::Lists => 0,
                (Kind::Read, None) => NOTHING,
                (Kind::Read, Some(inside)) if self.data == Data::Lists => {
                    let read = self.lists.read(key, inside.text, &mut self.values);
                    read.inspect_err(|_| self.ops.truncate(before))?
                }
                (_, value) => {
                    let value = value.unwrap_or_else(|| Name::of(b"null"));
                    self.values.intern(key, value)
                }
            };
            let kind = step.kind;
            self.ops.push(MicroOp { kind, key, value });
        }
        self.rows.push(Row {
            process: header.process,
            invoked: header.invoked,
            completed: header.completed.unwrap_or(NEVER),
            end: u32::try_from(self.ops.len()).expect("fewer than 2^32 micro-operations"),
            status: header.status,
        });
        Ok(())
    }

    /// What the micro-operations work on.
    pub fn data(&self) -> Data {
        self.data
    }

    /// The number of transactions.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no transactions.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The number of micro-operations.
    pub(crate) fn steps(&self) -> usize {
        self.ops.len()
    }

    /// The number of written or read values; versions below it have a text.
    pub(crate) fn values(&self) -> usize {
        self.values.len()
    }

    /// The number of versions, the initial ones among them.
    pub(crate) fn versions(&self) -> usize {
        self.values.len() + self.keys.len()
    }

    /// The version of a key before its first write.
    pub(crate) fn initial(&self, key: u32) -> u32 {
        self.values.len() as u32 + key
    }

    pub(crate) fn is_initial(&self, version: u32) -> bool {
        version as usize >= self.values.len()
    }

    pub(crate) fn key_of(&self, version: u32) -> u32 {
        if self.is_initial(version) {
            version - self.values.len() as u32
        } else {
            self.values.scope(version)
        }
    }

    /// A key as JSON text.
    pub(crate) fn key_text(&self, key: u32) -> &str {
        self.keys.text(key)
    }

    /// A version's value as JSON text; `null` for an initial one.
    pub(crate) fn value_text(&self, version: u32) -> &str {
        if self.is_initial(version) {
            "null"
        } else {
            self.values.text(version)
        }
    }

    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    pub(crate) fn process(&self, txn: u32) -> u32 {
        self.rows[txn as usize].process
    }

    pub(crate) fn status(&self, txn: u32) -> Status {
        self.rows[txn as usize].status
    }

    pub(crate) fn invoked(&self, txn: u32) -> u32 {
        self.rows[txn as usize].invoked
    }

    /// Where the transaction is known to have ended, or [`NEVER`].
    pub(crate) fn completed(&self, txn: u32) -> u32 {
        self.rows[txn as usize].completed
    }

    pub(crate) fn ops(&self, txn: u32) -> &[MicroOp] {
        let start = if txn == 0 {
            0
        } else {
            self.rows[txn as usize - 1].end
        };
        &self.ops[start as usize..self.rows[txn as usize].end as usize]
    }

    /// The version that a read saw: of a list its last element.
    pub(crate) fn observed(&self, op: MicroOp) -> u32 {
        match self.data {
            Data::Registers if op.value == NOTHING => self.initial(op.key),
            Data::Registers => op.value,
            Data::Lists => self
                .list(op)
                .last()
                .copied()
                .unwrap_or(self.initial(op.key)),
        }
    }

    /// The list that a read of a list saw.
    pub(crate) fn list(&self, op: MicroOp) -> &[u32] {
        self.lists.versions(op.key, op.value)
    }

    /// Whether what a read saw fits the other reads of its key; of a register it always does.
    pub(crate) fn fits(&self, op: MicroOp) -> bool {
        self.data == Data::Registers || !Lists::is_aside(op.value)
    }

    /// Whether the version was read, or stands before one that was.
    pub(crate) fn is_listed(&self, version: u32) -> bool {
        self.lists.position(version) != NOWHERE
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.keys.memory()
            + self.values.memory()
            + self.lists.memory()
            + self.rows.capacity() * size_of::<Row>()
            + self.ops.capacity() * size_of::<MicroOp>()
    }
}
