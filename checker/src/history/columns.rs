//! A history in columns.

use serde_json::Value;

use super::op::{Op, Process, Type};
use super::values::{ValueId, Values};

/// A column in which most rows hold nothing.
#[derive(Clone, Debug, Default)]
struct Sparse<T> {
    rows: Vec<u32>,
    values: Vec<T>,
}

impl<T: Copy> Sparse<T> {
    fn push(&mut self, row: usize, value: T) {
        self.rows.push(row as u32);
        self.values.push(value);
    }

    fn get(&self, row: usize) -> Option<T> {
        self.rows
            .binary_search(&(row as u32))
            .ok()
            .map(|at| self.values[at])
    }

    fn memory_bytes(&self) -> usize {
        self.rows.capacity() * 4 + self.values.capacity() * size_of::<T>()
    }
}

/// Ops in the order in which they were recorded. That order is the real-time order.
#[derive(Clone, Debug, Default)]
pub struct History {
    time: Vec<u64>,
    process: Vec<u32>,
    /// Function number and type, the type in the low two bits.
    tag: Vec<u16>,
    key: Vec<ValueId>,
    value: Vec<ValueId>,
    /// Where the recording's index is not the row before's plus one.
    index: Sparse<u64>,
    error: Sparse<ValueId>,
    node: Sparse<ValueId>,
    revision: Sparse<u64>,
    functions: Vec<String>,
    values: Values,
    notes: Vec<String>,
}

/// One op, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Nanoseconds since the run began.
    pub time: u64,
    /// Who did it.
    pub process: Process,
    /// Begin or end.
    pub type_: Type,
    /// The function.
    pub f: &'a str,
    /// The object.
    pub key: ValueId,
    /// Argument or answer.
    pub value: ValueId,
}

/// Names of functions in one history: they are looked for one after the other.
const FUNCTIONS_MAX: usize = 1 << 10;
pub(super) const TOO_MANY_FUNCTIONS: &str = "at most 1024 functions in a history";

impl History {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of ops.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Takes one more op, the latest.
    pub fn push(&mut self, op: &Op) {
        self.try_push(op).expect(TOO_MANY_FUNCTIONS);
    }

    /// Takes one more op; none, and nothing taken, when it is of one function too many.
    pub(crate) fn try_push(&mut self, op: &Op) -> Option<()> {
        let f = self.function(&op.f)?;
        let key = self.values.intern(&op.key);
        let value = self.values.intern(&op.value);
        let row = self.push_row(op.time, op.process.raw(), op.type_, f, key, value);
        self.set_index(row, op.index);
        if let Some(error) = &op.error {
            self.set_error(row, error);
        }
        if let Some(node) = &op.node {
            self.set_node(row, node);
        }
        if let Some(revision) = op.revision {
            self.set_revision(row, revision);
        }
        Some(())
    }

    pub(crate) fn push_row(
        &mut self,
        time: u64,
        process: u32,
        type_: Type,
        f: u16,
        key: ValueId,
        value: ValueId,
    ) -> usize {
        let row = self.time.len();
        assert!(
            row < u32::MAX as usize / 2,
            "a history holds fewer than 2^31 ops"
        );
        self.time.push(time);
        self.process.push(process);
        self.tag.push(f << 2 | type_ as u16);
        self.key.push(key);
        self.value.push(value);
        row
    }

    pub(crate) fn set_index(&mut self, row: usize, index: u64) {
        let expected = match (self.index.rows.last(), self.index.values.last()) {
            (Some(&from), Some(&value)) => value.wrapping_add(row as u64 - u64::from(from)),
            _ => row as u64,
        };
        if index != expected {
            self.index.push(row, index);
        }
    }

    pub(crate) fn set_error(&mut self, row: usize, error: &str) {
        let id = self.values.intern(&Value::from(error));
        self.error.push(row, id);
    }

    pub(crate) fn set_node(&mut self, row: usize, node: &str) {
        let id = self.values.intern(&Value::from(node));
        self.node.push(row, id);
    }

    pub(crate) fn set_revision(&mut self, row: usize, revision: u64) {
        self.revision.push(row, revision);
    }

    /// The number of a function's name; none when there are too many.
    pub(crate) fn function(&mut self, name: &str) -> Option<u16> {
        if let Some(at) = self.functions.iter().position(|known| known == name) {
            return Some(at as u16);
        }
        if self.functions.len() == FUNCTIONS_MAX {
            return None;
        }
        self.functions.push(name.to_owned());
        Some(self.functions.len() as u16 - 1)
    }

    /// The names that a tag's function number stands for.
    pub(crate) fn functions(&self) -> &[String] {
        &self.functions
    }

    pub(crate) fn process_column(&self) -> &[u32] {
        &self.process
    }

    pub(crate) fn tag_column(&self) -> &[u16] {
        &self.tag
    }

    pub(crate) fn key_column(&self) -> &[ValueId] {
        &self.key
    }

    pub(crate) fn value_column(&self) -> &[ValueId] {
        &self.value
    }

    /// One op, borrowed.
    pub fn row(&self, row: usize) -> Row<'_> {
        let tag = self.tag[row];
        Row {
            time: self.time[row],
            process: Process::from_raw(self.process[row]),
            type_: Type::ALL[usize::from(tag & 3)],
            f: &self.functions[usize::from(tag >> 2)],
            key: self.key[row],
            value: self.value[row],
        }
    }

    /// All ops, borrowed, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// One op, owned.
    pub fn op(&self, row: usize) -> Op {
        let it = self.row(row);
        let text = |id: ValueId| match self.values.value(id) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Op {
            index: self.index(row),
            time: it.time,
            process: it.process,
            type_: it.type_,
            f: it.f.to_owned(),
            key: self.values.value(it.key),
            value: self.values.value(it.value),
            error: self.error.get(row).map(text),
            node: self.node.get(row).map(text),
            revision: self.revision.get(row),
        }
    }

    /// All ops, owned, in order.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = Op> {
        (0..self.len()).map(|row| self.op(row))
    }

    /// The op's index in the recording.
    pub fn index(&self, row: usize) -> u64 {
        let at = self
            .index
            .rows
            .partition_point(|&from| from as usize <= row);
        match at.checked_sub(1) {
            Some(at) => {
                self.index.values[at].wrapping_add(row as u64 - u64::from(self.index.rows[at]))
            }
            None => row as u64,
        }
    }

    /// Why the op failed or is unknown.
    pub fn error(&self, row: usize) -> Option<String> {
        self.error.get(row).map(|id| match self.values.value(id) {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// Rows that carry this error.
    pub(crate) fn rows_with_error(&self, error: &str) -> Vec<u32> {
        let Some(wanted) = self.values.find(&Value::from(error)) else {
            return Vec::new();
        };
        let pairs = self.error.rows.iter().zip(&self.error.values);
        pairs
            .filter(|&(_, &id)| id == wanted)
            .map(|(&row, _)| row)
            .collect()
    }

    /// Where the system says the operation stands in its order.
    pub fn revision(&self, row: usize) -> Option<u64> {
        self.revision.get(row)
    }

    /// Whether any op carries one.
    pub(crate) fn has_revisions(&self) -> bool {
        !self.revision.rows.is_empty()
    }

    /// The values that the ids stand for.
    pub fn values(&self) -> &Values {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut Values {
        &mut self.values
    }

    /// What a reader found odd and tolerated: a torn last line, time running backwards.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Notes where time runs backwards. The order of the ops counts, not their times.
    pub(crate) fn note_time_order(&mut self) {
        let backwards = |pair: &[u64]| pair[1] < pair[0];
        let times = self.time.windows(2).filter(|pair| backwards(pair)).count();
        if let Some(row) = self.time.windows(2).position(backwards) {
            let (before, after, index) = (self.time[row], self.time[row + 1], self.index(row + 1));
            self.note(format!(
                "time runs backwards at op {index}, from {before} to {after} ns ({times} times in \
                 all): the order of the ops is taken as it stands"
            ));
        }
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.time.capacity() * 8
            + self.process.capacity() * 4
            + self.tag.capacity() * 2
            + (self.key.capacity() + self.value.capacity()) * 4
            + self.index.memory_bytes()
            + self.error.memory_bytes()
            + self.node.memory_bytes()
            + self.revision.memory_bytes()
            + self.values.memory_bytes()
    }
}

impl<'a> Extend<&'a Op> for History {
    fn extend<I: IntoIterator<Item = &'a Op>>(&mut self, ops: I) {
        ops.into_iter().for_each(|op| self.push(op));
    }
}

impl FromIterator<Op> for History {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        let mut history = History::new();
        ops.into_iter().for_each(|op| history.push(&op));
        history
    }
}
