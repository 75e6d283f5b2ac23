//! Registers: what little is known of the order of versions, and what single reads get wrong.
//!
//! A read of a register shows one version and nothing of those before it, so the order of versions
//! is known in part: the initial state is first; who reads a version and then writes the key wrote a
//! later one; a transaction's own writes stand in its order. [`Assume`] adds what the user takes for
//! granted. Every order inferred so is in any order that explains the history, so an anomaly found is
//! real; where nothing is found, [`Analysis`](super::Analysis) says `open`, not `holds`, unless every
//! key's order came out whole or a serial order could be shown.

use hashbrown::{HashMap, HashSet};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::anomaly::{Evidence, Findings, Kind as Anomaly};
use super::component::{COMPONENT_BYTES, Components};
use super::rows::Rows;
use super::table::{Kind, MicroOp, NEVER, Status, Table};
use super::work::{Stop, Watch};
use super::writes::Writes;

/// What may be taken for granted of each key on its own, whatever transactions as a whole do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assume {
    /// Each process sees a key's versions in their order.
    pub sequential_keys: bool,
    /// Each key is linearizable: what ended before is not newer than what began after.
    pub linearizable_keys: bool,
}

/// Each version's known later versions that took effect.
pub(crate) fn order(
    table: &Table,
    writes: &Writes,
    assume: Assume,
    findings: &mut Findings,
    watch: Watch,
) -> Result<Rows, Stop> {
    let in_rows = |pairs: &Pairs| {
        let rows = Rows::bytes(table.versions(), pairs.len());
        watch.memory(pairs.capacity() * size_of::<(u32, u32)>() + rows)
    };
    let mut pairs = Pairs::new();
    let live = |txn: &u32| writes.is_live(*txn);
    for txn in (0..table.len() as u32).filter(live) {
        watch.round(txn)?;
        written_after(table, writes, txn, &mut pairs, findings);
    }
    // Within a process real time says the same, but of what was never known to end.
    if assume.sequential_keys && !assume.linearizable_keys {
        by_process(table, writes, &mut pairs, watch)?;
    }
    if assume.linearizable_keys {
        by_time(table, writes, &mut pairs, watch)?;
    }
    pairs.par_sort_unstable();
    pairs.dedup();
    in_rows(&pairs)?;
    drop_cycles(table, &mut pairs, findings, watch)?;
    let mut follows = vec![false; table.versions()];
    for (_, after) in &pairs {
        follows[*after as usize] = true;
    }
    for txn in (0..table.len() as u32).filter(live) {
        watch.round(txn)?;
        let firsts = table.ops(txn).iter().filter_map(|op| op.written());
        let firsts = firsts.filter(|version| !follows[*version as usize]);
        pairs.extend(firsts.map(|version| (table.initial(table.key_of(version)), version)));
    }
    in_rows(&pairs)?;
    Ok(Rows::of(table.versions(), &pairs).ordered())
}

/// Versions of one key, each with one that is later.
type Pairs = Vec<(u32, u32)>;

/// Whether the versions of every key came out in one line.
pub(crate) fn is_total(table: &Table, writes: &Writes, order: &Rows) -> bool {
    let mut versions = vec![0_u32; table.keys()];
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        for version in table.ops(txn).iter().filter_map(|op| op.written()) {
            versions[table.key_of(version) as usize] += 1;
        }
    }
    (0..table.keys() as u32).all(|key| {
        let mut at = table.initial(key);
        let mut length = 0;
        while let [next] = order.row(at) {
            at = *next;
            length += 1;
        }
        length == versions[key as usize]
    })
}

/// What a transaction writes is later than what it read or wrote of that key before.
fn written_after(
    table: &Table,
    writes: &Writes,
    txn: u32,
    pairs: &mut Pairs,
    findings: &mut Findings,
) {
    let ops = table.ops(txn);
    for (at, op) in ops.iter().enumerate() {
        let Some(version) = op.written() else {
            continue;
        };
        let Some(earlier) = ops[..at].iter().rev().find(|earlier| earlier.key == op.key) else {
            continue;
        };
        let known = earlier.kind == Kind::Write || table.status(txn) == Status::Committed;
        let before = earlier
            .written()
            .unwrap_or_else(|| table.observed(*earlier));
        if !known || table.is_initial(before) || before == version {
            continue;
        }
        if writes.live_writer(before).is_some() {
            pairs.push((before, version));
        } else if let Some(by) = writes.writer(before) {
            let evidence = Evidence::On {
                aborted: before,
                committed: version,
                writers: [by, txn],
            };
            findings.add(Anomaly::DirtyUpdate, || evidence);
        }
    }
}

/// The versions that a transaction met: of each key the first it read and the last it wrote.
fn met(table: &Table, writes: &Writes, txn: u32) -> impl Iterator<Item = (u32, u32)> {
    let ops = table.ops(txn);
    (0..ops.len()).filter_map(move |at| Some((ops[at].key, meets(table, writes, ops, at)?)))
}

/// The version that an operation of a transaction meets.
fn meets(table: &Table, writes: &Writes, ops: &[MicroOp], at: usize) -> Option<u32> {
    let op = ops[at];
    let version = match op.written() {
        Some(version) if !writes.is_intermediate(version) => version,
        None if !ops[..at].iter().any(|earlier| earlier.key == op.key) => table.observed(op),
        _ => return None,
    };
    writes.live_writer(version).map(|_| version)
}

fn by_process(table: &Table, writes: &Writes, pairs: &mut Pairs, watch: Watch) -> Result<(), Stop> {
    let mut last: HashMap<(u32, u32), u32> = HashMap::new();
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        watch.round(txn)?;
        for (key, version) in met(table, writes, txn) {
            let before = last.insert((table.process(txn), key), version);
            pairs.extend(
                before
                    .filter(|&before| before != version)
                    .map(|b| (b, version)),
            );
        }
    }
    Ok(())
}

/// When a transaction met a version.
struct Access {
    invoked: u32,
    completed: u32,
    version: u32,
}

/// Links what ended last before each transaction with what it met, key by key.
fn by_time(table: &Table, writes: &Writes, pairs: &mut Pairs, watch: Watch) -> Result<(), Stop> {
    const TOGETHER: u32 = 1 << 10; // keys
    let mut meetings: Vec<(u32, u32)> = Vec::with_capacity(table.steps());
    watch.memory(
        meetings.capacity() * size_of::<(u32, u32)>() + Rows::bytes(table.keys(), table.steps()),
    )?;
    for txn in (0..table.len() as u32).filter(|&txn| writes.is_live(txn)) {
        watch.round(txn)?;
        meetings.extend(met(table, writes, txn).map(|(key, _)| (key, txn)));
    }
    let keys = Rows::of(table.keys(), &meetings);
    drop(meetings);
    let parts = (0..(table.keys() as u32).div_ceil(TOGETHER)).into_par_iter();
    let found = parts.map(|part| {
        let mut found = Pairs::new();
        for key in part * TOGETHER..((part + 1) * TOGETHER).min(table.keys() as u32) {
            watch.round(key)?;
            found.extend(times_of(table, writes, key, keys.row(key)));
        }
        Ok(found)
    });
    let found: Vec<Pairs> = found.collect::<Result<_, Stop>>()?;
    let all = found.iter().map(Vec::len).sum::<usize>() + pairs.len();
    watch.memory(keys.memory() + 2 * all * size_of::<(u32, u32)>())?;
    pairs.reserve_exact(all - pairs.len());
    for found in found {
        pairs.extend(found);
    }
    Ok(())
}

/// What time says of one key, met by these transactions.
fn times_of(table: &Table, writes: &Writes, key: u32, txns: &[u32]) -> Pairs {
    let meetings = |txn: &u32| {
        let (invoked, completed) = (table.invoked(*txn), table.completed(*txn));
        let ops = table.ops(*txn);
        let here = (0..ops.len()).filter(move |&at| ops[at].key == key);
        let here = here.filter_map(move |at| meets(table, writes, ops, at));
        here.map(move |version| Access {
            invoked,
            completed,
            version,
        })
    };
    // Who met two versions of it is listed twice.
    let once = txns
        .chunk_by(|one, other| one == other)
        .map(|same| &same[0]);
    let accesses: Vec<Access> = once.flat_map(meetings).collect();
    let mut ends: Vec<&Access> = accesses.iter().filter(|a| a.completed != NEVER).collect();
    ends.sort_unstable_by_key(|access| access.completed);
    let mut ends = ends.into_iter().peekable();
    let mut frontier: Vec<&Access> = Vec::new(); // ended, and nothing since ended after them
    let mut pairs = Pairs::new();
    for access in &accesses {
        while let Some(end) = ends.next_if(|end| end.completed < access.invoked) {
            frontier.retain(|earlier| earlier.completed >= end.invoked);
            frontier.push(end);
        }
        let before = frontier
            .iter()
            .filter(|before| before.version != access.version);
        pairs.extend(before.map(|before| (before.version, access.version)));
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Versions in a circle are an anomaly, and no order: what was inferred of their keys is dropped.
fn drop_cycles(
    table: &Table,
    pairs: &mut Pairs,
    findings: &mut Findings,
    watch: Watch,
) -> Result<(), Stop> {
    let versions = table.versions();
    let pairs_bytes = pairs.capacity() * size_of::<(u32, u32)>();
    let rows_bytes = Rows::bytes(versions, pairs.len());
    watch.memory(pairs_bytes + rows_bytes + COMPONENT_BYTES * versions)?;
    let rows = Rows::of(versions, pairs);
    let circles = Components::of_rows(&rows, watch)?;
    let mut bad: HashSet<u32> = HashSet::new();
    for members in &circles.members {
        bad.insert(table.key_of(members[0]));
        findings.add(Anomaly::CyclicVersions, || {
            Evidence::Versions(circle(&rows, &circles, members))
        });
    }
    if !bad.is_empty() {
        pairs.retain(|(before, _)| !bad.contains(&table.key_of(*before)));
    }
    Ok(())
}

/// A way around among versions that all lead to each other.
fn circle(rows: &Rows, parts: &Components, members: &[u32]) -> Vec<u32> {
    let mut way = vec![members[0]];
    loop {
        let at = *way.last().expect("the way has a start");
        let stays = |next: &&u32| parts.together(at, **next);
        let next = *rows.row(at).iter().find(stays).expect("a circle goes on");
        if let Some(start) = way.iter().position(|&version| version == next) {
            return way.split_off(start);
        }
        way.push(next);
    }
}

/// Finds what single reads get wrong.
pub(crate) fn reads(
    table: &Table,
    writes: &Writes,
    findings: &mut Findings,
    watch: Watch,
) -> Result<(), Stop> {
    for txn in (0..table.len() as u32).filter(|&txn| table.status(txn) == Status::Committed) {
        watch.round(txn)?;
        let ops = table.ops(txn);
        for (at, op) in ops
            .iter()
            .enumerate()
            .filter(|(_, op)| op.kind == Kind::Read)
        {
            let version = table.observed(*op);
            let by = writes.writer(version);
            let kind = match by {
                None if table.is_initial(version) => None,
                None => Some(Anomaly::Garbage),
                Some(author) if !writes.is_live(author) => Some(Anomaly::G1a),
                Some(other) if other != txn && writes.is_intermediate(version) => {
                    Some(Anomaly::G1b)
                }
                Some(_) => None,
            };
            if let Some(kind) = kind {
                findings.add(kind, || Evidence::Read {
                    reader: txn,
                    version,
                    writer: by,
                });
            }
            let same_key = |other: &usize| ops[*other].key == op.key;
            let mut after = (at + 1..ops.len()).filter(same_key);
            let foreseen = after.find(|&later| ops[later].written() == Some(version));
            let before = (0..at).rev().find(same_key);
            let told = |other: usize| {
                ops[other]
                    .written()
                    .unwrap_or_else(|| table.observed(ops[other]))
            };
            let forgotten = before.filter(|&earlier| told(earlier) != version);
            if let Some(other) = foreseen.or(forgotten) {
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
