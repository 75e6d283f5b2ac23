//! Lists: what the reads say of the order of appends, and what they get wrong on their own.
//!
//! A read of a list shows the whole past of its key, so the longest read of a key *is* the order of
//! its versions, as far as anyone looked. A committed append that no read saw stands after all that
//! were read, as each of those reads would have shown it; the order among such appends stays open,
//! and as nobody looked, any order will do.

use hashbrown::HashSet;

use super::anomaly::{Evidence, Findings, Kind as Anomaly};
use super::rows::Rows;
use super::table::{Kind, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// Each version's next versions that took effect.
pub(crate) fn order(
    table: &Table,
    writes: &Writes,
    findings: &mut Findings,
    watch: Watch,
) -> Result<Rows, Stop> {
    watch.memory(
        table.values() * size_of::<(u32, u32)>() + Rows::bytes(table.versions(), table.values()),
    )?;
    let mut pairs = Vec::with_capacity(table.values());
    let mut last: Vec<u32> = Vec::with_capacity(table.keys());
    for key in 0..table.keys() as u32 {
        watch.round(key)?;
        last.push(chain(table, writes, key, &mut pairs, findings));
    }
    // The versions that only reads which fit no order have seen.
    let aside: HashSet<u32> = table.lists().aside().iter().flatten().copied().collect();
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        watch.round(txn)?;
        own_order(table, txn, findings);
        for version in table.ops(txn).iter().filter_map(|op| op.written()) {
            if !table.is_listed(version) && !aside.contains(&version) {
                pairs.push((last[table.key_of(version) as usize], version));
            }
        }
    }
    Ok(Rows::of(table.versions(), &pairs))
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

/// Links the versions of a key's longest read; gives the last one that took effect.
fn chain(
    table: &Table,
    writes: &Writes,
    key: u32,
    pairs: &mut Vec<(u32, u32)>,
    findings: &mut Findings,
) -> u32 {
    let mut before = table.initial(key);
    let mut dead: Vec<u32> = Vec::new();
    for &version in table.lists().longest(key) {
        if writes.live_writer(version).is_none() {
            dead.push(version);
            continue;
        }
        if let Some(&aborted) = dead.last()
            && let (Some(by), Some(on)) = (writes.writer(aborted), writes.writer(version))
        {
            let evidence = Evidence::On {
                aborted,
                committed: version,
                writers: [by, on],
            };
            findings.add(Anomaly::DirtyUpdate, || evidence);
        }
        pairs.push((before, version));
        pairs.extend(dead.drain(..).map(|dead| (dead, version)));
        before = version;
    }
    before
}

/// Finds what single reads get wrong.
pub(crate) fn reads(
    table: &Table,
    writes: &Writes,
    findings: &mut Findings,
    watch: Watch,
) -> Result<(), Stop> {
    let bad = FirstBad::of(table, writes);
    for txn in (0..table.len() as u32).filter(|&txn| table.status(txn) == Status::Committed) {
        watch.round(txn)?;
        for (at, op) in table.ops(txn).iter().enumerate() {
            if op.kind != Kind::Read {
                continue;
            }
            if table.fits(*op) {
                bad.check(table, writes, txn, at, findings);
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
    Ok(())
}

/// Each key's first version, by place, that was aborted, and the first that nobody wrote.
struct FirstBad {
    aborted: Vec<u32>,
    garbage: Vec<u32>,
}

impl FirstBad {
    fn of(table: &Table, writes: &Writes) -> Self {
        let first = |wanted: fn(&Writes, u32) -> bool| {
            let keys = 0..table.keys() as u32;
            let place = |key| {
                let mut versions = table.lists().longest(key).iter();
                versions
                    .position(|&version| wanted(writes, version))
                    .unwrap_or(usize::MAX) as u32
            };
            keys.map(place).collect()
        };
        Self {
            aborted: first(is_aborted),
            garbage: first(is_garbage),
        }
    }

    fn check(&self, table: &Table, writes: &Writes, txn: u32, at: usize, findings: &mut Findings) {
        let op = table.ops(txn)[at];
        let list = table.list(op);
        for (kind, firsts) in [
            (Anomaly::G1a, &self.aborted),
            (Anomaly::Garbage, &self.garbage),
        ] {
            if let Some(&version) = list.get(firsts[op.key as usize] as usize) {
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
