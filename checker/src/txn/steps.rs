//! The steps of a transaction, told apart: the text of each key and value, before they get numbers.

use super::intern::Name;
use super::scan::{Cursor, Malformed};
use super::table::{Data, Kind, Status};

/// One micro-operation as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: Name<'a>,
    /// Of a list that was read what stands between its brackets; none: null was read.
    pub(crate) value: Option<Name<'a>>,
}

/// Appends the steps of a transaction, given as JSON text; only writes when it is not known to have
/// committed.
pub(crate) fn take<'a>(
    data: Data,
    status: Status,
    value: &'a [u8],
    steps: &mut Vec<Step<'a>>,
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(value);
    cursor.need(b'[', "a list of micro-operations")?;
    if cursor.take(b']') {
        return Ok(());
    }
    loop {
        cursor.need(b'[', "a micro-operation, [f, key, value]")?;
        let step = step(data, status, &mut cursor)?;
        if step.kind == Kind::Write || status == Status::Committed {
            steps.push(step);
        }
        cursor.need(b']', "the end of the micro-operation")?;
        if cursor.take(b']') {
            return Ok(());
        }
        cursor.need(b',', "a comma or the end of the transaction")?;
    }
}

fn step<'a>(data: Data, status: Status, cursor: &mut Cursor<'a>) -> Result<Step<'a>, Malformed> {
    let kind = kind(data, cursor)?;
    let key = cursor.name()?;
    cursor.need(b',', "a comma and the value")?;
    let null = cursor.peek() == b'n';
    let value = match (kind, data) {
        (Kind::Read, _) if null || status != Status::Committed => {
            cursor.value()?;
            None
        }
        (Kind::Read, Data::Lists) => Some(Name::of(cursor.list()?)),
        (Kind::Write, Data::Registers) if null => {
            return cursor.expected("a value: null is what a register holds before it is written");
        }
        _ => Some(cursor.name()?),
    };
    Ok(Step { kind, key, value })
}

/// Takes what the micro-operation does, and the comma behind it.
fn kind(data: Data, cursor: &mut Cursor) -> Result<Kind, Malformed> {
    let (write, expected): (&[u8], _) = match data {
        Data::Lists => (b"\"append\",", "\"append\" or \"r\" before this"),
        Data::Registers => (b"\"w\",", "\"w\" or \"r\" before this"),
    };
    if cursor.skip(b"\"r\",") {
        return Ok(Kind::Read);
    }
    if cursor.skip(write) {
        return Ok(Kind::Write);
    }
    // There may be blanks.
    let write = &write[..write.len() - 1];
    let kind = match cursor.value()? {
        b"\"r\"" => Kind::Read,
        word if word == write => Kind::Write,
        _ => return cursor.expected(expected),
    };
    cursor.need(b',', "a comma")?;
    Ok(kind)
}
