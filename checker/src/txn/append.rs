//! Lists: what reads get wrong on their own, and transactions within themselves.

use std::ops::Range;

use hashbrown::HashSet;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::anomaly::{Evidence, Findings, Kind as Anomaly};
use super::lists::NOWHERE;
use super::table::{Kind, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// Finds what is wrong with single lists and single transactions.
pub(crate) fn singles(
    table: &Table,
    writes: &Writes,
    findings: &mut Findings,
    watch: Watch,
) -> Result<(), Stop> {
    const PART: usize = 1 << 14;
    let bad: Vec<FirstBad> = (0..table.keys() as u32)
        .into_par_iter()
        .map(|key| FirstBad::of(table, writes, key))
        .collect();
    watch.time()?;
    for (key, _) in (0..).zip(&bad).filter(|(_, bad)| bad.aborted != NOWHERE) {
        dirty_updates(table, writes, key, findings);
    }
    let parts = (0..table.len().div_ceil(PART)).into_par_iter().map(|part| {
        watch.time()?;
        let end = table.len().min((part + 1) * PART);
        let mut found = Findings::default();
        within(
            table,
            writes,
            &bad,
            (part * PART) as u32..end as u32,
            &mut found,
        );
        Ok(found)
    });
    let parts: Vec<Findings> = parts.collect::<Result<_, Stop>>()?;
    for found in parts {
        findings.absorb(found);
    }
    Ok(())
}

/// Finds committed appends that stand directly on aborted ones.
fn dirty_updates(table: &Table, writes: &Writes, key: u32, findings: &mut Findings) {
    for pair in table.lists().longest(key).windows(2) {
        let (aborted, committed) = (pair[0], pair[1]);
        if is_aborted(writes, aborted)
            && let (Some(by), Some(on)) = (writes.writer(aborted), writes.live_writer(committed))
        {
            findings.add(Anomaly::DirtyUpdate, || Evidence::On {
                aborted,
                committed,
                writers: [by, on],
            });
        }
    }
}

/// Looks into each of these transactions.
fn within(
    table: &Table,
    writes: &Writes,
    bad: &[FirstBad],
    txns: Range<u32>,
    findings: &mut Findings,
) {
    for txn in txns.filter(|&txn| writes.is_live(txn)) {
        own_order(table, txn, findings);
        if table.status(txn) != Status::Committed {
            continue;
        }
        for (at, op) in table.ops(txn).iter().enumerate() {
            if op.kind != Kind::Read {
                continue;
            }
            if table.fits(*op) {
                bad[op.key as usize].check(table, writes, txn, at, findings);
            } else {
                misfit(table, writes, txn, at, findings);
            }
            let version = table.observed(*op);
            if let Some(writer) = writes.writer(version)
                && writer != txn
                && writes.is_intermediate(version)
            {
                findings.add(Anomaly::G1b, || Evidence::Read {
                    reader: txn,
                    version,
                    writer: Some(writer),
                });
            }
            if let Some(other) = contradicts(table, txn, at) {
                findings.add(Anomaly::Internal, || Evidence::Internal {
                    txn,
                    op: at as u32,
                    other: other as u32,
                });
            }
        }
    }
}

/// A transaction's own appends to a key stand in its order, the earlier one not missing.
fn own_order(table: &Table, txn: u32, findings: &mut Findings) {
    let ops = table.ops(txn);
    for (at, op) in ops.iter().enumerate() {
        let Some(version) = op.written() else {
            continue;
        };
        let mut later = ops[at + 1..].iter().filter(|later| later.key == op.key);
        let Some(next) = later.find_map(|later| later.written()) else {
            continue;
        };
        if table.lists().position(version) > table.lists().position(next) {
            findings.add(Anomaly::IncompatibleOrder, || {
                Evidence::Versions(vec![version, next])
            });
        }
    }
}

/// The places in a key's longest read of the first version that was aborted, and of the first that
/// nobody wrote.
struct FirstBad {
    aborted: u32,
    garbage: u32,
}

impl FirstBad {
    fn of(table: &Table, writes: &Writes, key: u32) -> Self {
        let mut bad = Self {
            aborted: NOWHERE,
            garbage: NOWHERE,
        };
        for (place, &version) in (0..).zip(table.lists().longest(key)) {
            if is_garbage(writes, version) {
                bad.garbage = bad.garbage.min(place);
            } else if is_aborted(writes, version) {
                bad.aborted = bad.aborted.min(place);
            }
        }
        bad
    }

    fn check(&self, table: &Table, writes: &Writes, txn: u32, at: usize, findings: &mut Findings) {
        let list = table.list(table.ops(txn)[at]);
        for (kind, first) in [
            (Anomaly::G1a, self.aborted),
            (Anomaly::Garbage, self.garbage),
        ] {
            if let Some(&version) = list.get(first as usize) {
                let by = writes.writer(version);
                findings.add(kind, || Evidence::Read {
                    reader: txn,
                    version,
                    writer: by,
                });
            }
        }
    }
}

fn is_aborted(writes: &Writes, version: u32) -> bool {
    writes
        .writer(version)
        .is_some_and(|writer| !writes.is_live(writer))
}

fn is_garbage(writes: &Writes, version: u32) -> bool {
    writes.writer(version).is_none()
}

/// A read that fits no prefix of its key's longest read.
fn misfit(table: &Table, writes: &Writes, txn: u32, at: usize, findings: &mut Findings) {
    let op = table.ops(txn)[at];
    let list = table.list(op);
    let mut seen = HashSet::new();
    if let Some(&version) = list.iter().find(|&&version| !seen.insert(version)) {
        findings.add(Anomaly::Duplicates, || Evidence::Twice {
            txn,
            op: at as u32,
            version,
        });
    }
    let longest = table.lists().longest(op.key);
    let same = longest.iter().zip(list).take_while(|(a, b)| a == b).count();
    if same < longest.len() && same < list.len() {
        findings.add(Anomaly::IncompatibleOrder, || Evidence::Disagrees {
            txn,
            op: at as u32,
            other: reader_beyond(table, op.key, same).unwrap_or(txn),
            at: same as u32,
        });
    }
    for (kind, wanted) in [
        (Anomaly::G1a, is_aborted as fn(&Writes, u32) -> bool),
        (Anomaly::Garbage, is_garbage),
    ] {
        if let Some(&version) = list.iter().find(|&&version| wanted(writes, version)) {
            let by = writes.writer(version);
            findings.add(kind, || Evidence::Read {
                reader: txn,
                version,
                writer: by,
            });
        }
    }
}

/// A transaction whose read of the key fits, and is longer than `length`.
fn reader_beyond(table: &Table, key: u32, length: usize) -> Option<u32> {
    (0..table.len() as u32).find(|&txn| {
        table.ops(txn).iter().any(|op| {
            let reads = op.kind == Kind::Read && op.key == key;
            reads && table.fits(*op) && table.list(*op).len() > length
        })
    })
}

/// The micro-operation of the same transaction that the read at `at` contradicts, if it does: one
/// before it that it does not show, or a write after it that it does.
fn contradicts(table: &Table, txn: u32, at: usize) -> Option<usize> {
    let ops = table.ops(txn);
    let list = table.list(ops[at]);
    let shows = |version: u32| {
        if table.fits(ops[at]) {
            (table.lists().position(version) as usize) < list.len()
        } else {
            list.contains(&version)
        }
    };
    let same_key = |other: &usize| ops[*other].key == ops[at].key;
    let mut after = (at + 1..ops.len()).filter(same_key);
    if let Some(later) = after.find(|&later| ops[later].written().is_some_and(shows)) {
        return Some(later);
    }
    let mut rest = list.len();
    for earlier in (0..at).rev().filter(same_key) {
        if let Some(version) = ops[earlier].written() {
            if rest == 0 || list[rest - 1] != version {
                return Some(earlier);
            }
            rest -= 1;
        } else {
            return (table.list(ops[earlier]) != &list[..rest]).then_some(earlier);
        }
    }
    None
}
