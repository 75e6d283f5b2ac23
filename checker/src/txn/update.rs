//! Lost updates: somebody wrote between what a transaction read of a key and what it then wrote.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::anomaly::{Evidence, Findings, Kind};
use super::component::Components;
use super::graph::{Graph, Mask};
use super::rows::Rows;
use super::table::{Kind as Op, Table};
use super::witness::Witness;
use super::work::{Stop, Watch};
use super::writes::NOBODY;

/// The versions that a transaction read before its own first write of their key, each once and none of its own,
/// with the version it then made.
fn updates(table: &Table, txn: u32) -> impl Iterator<Item = (u32, u32)> {
    let ops = table.ops(txn);
    let seen_of = |key: u32, upto: usize| {
        let reads = ops[..upto].iter().filter(move |op| op.key == key);
        reads.map(|&read| table.observed(read))
    };
    let writes = ops.iter().enumerate().filter_map(|(at, op)| {
        let mut before = ops[..at].iter().filter(|it| it.key == op.key);
        let is_first = before.all(|it| it.kind == Op::Read);
        is_first.then_some((at, op.key, op.written()?))
    });
    writes.flat_map(move |(at, key, written)| {
        let reads = (0..at).filter(move |&read| ops[read].key == key);
        reads.filter_map(move |read| {
            let seen = table.observed(ops[read]);
            let is_new = seen_of(key, read).all(|it| it != seen);
            let is_own = ops.iter().any(|op| op.written() == Some(seen));
            (is_new && !is_own).then_some((seen, written))
        })
    })
}

impl Witness<'_> {
    /// Finds updates of a version that another transaction's write replaced first. When both read the
    /// version, one of them surely lost; a blind write stands between only if the order says so.
    pub(crate) fn lost_updates(self, findings: &mut Findings, watch: Watch) -> Result<(), Stop> {
        const SEVERAL: u32 = NOBODY - 1;
        let (table, writes) = (self.table, self.writes);
        let suspects = self.suspects(watch)?;
        if suspects.is_empty() {
            return Ok(());
        }
        let suspects = || suspects.iter().copied();
        let mut updater = vec![NOBODY; table.versions()];
        let first_of = |version| {
            let is_one = |txn: &u32| updates(table, *txn).any(|(read, _)| read == version);
            suspects().find(is_one).expect("somebody updated it")
        };
        for (round, second) in (0..).zip(suspects()) {
            watch.round(round)?;
            for (version, _) in updates(table, second) {
                let first = updater[version as usize];
                if first == NOBODY {
                    updater[version as usize] = second;
                } else if first != second {
                    updater[version as usize] = SEVERAL;
                    findings.add(Kind::LostUpdate, || Evidence::Updates {
                        version,
                        first: first_of(version),
                        second,
                    });
                }
            }
        }
        for (round, txn) in (0..).zip(suspects()) {
            watch.round(round)?;
            for (version, written) in updates(table, txn) {
                if updater[version as usize] == txn
                    && let [between] = *self.order.next(version)
                    && let Some(by) = writes.live_writer(between).filter(|by| *by != txn)
                {
                    findings.add(Kind::LostUpdate, || Evidence::Between {
                        txn,
                        version,
                        written,
                        between,
                        by,
                    });
                }
            }
        }
        Ok(())
    }

    /// Those who may have lost an update, or made another lose one, in order. Who made the version next to the
    /// one that it read lost nothing, and matters only when another read that one too.
    fn suspects(self, watch: Watch) -> Result<Vec<u32>, Stop> {
        const PART: u32 = 1 << 14;
        let (table, txns) = (self.table, self.table.len() as u32);
        let parted = |txn: u32| {
            let updates = updates(table, txn).filter(move |_| self.writes.is_live(txn));
            let parted = updates.filter(|(read, made)| *self.order.next(*read) != [*made]);
            parted.map(move |(read, _)| (read, txn))
        };
        let parts = (0..txns.div_ceil(PART)).into_par_iter().map(|part| {
            watch.time()?;
            let start = part * PART;
            Ok((start..txns.min(start + PART)).flat_map(parted).collect())
        });
        let parts: Vec<Vec<(u32, u32)>> = parts.collect::<Result<_, Stop>>()?;
        let parted = parts.iter().map(Vec::len).sum::<usize>();
        watch.memory(2 * parted * size_of::<(u32, u32)>())?;
        let mut suspects = Vec::with_capacity(2 * parted);
        for (read, txn) in parts.into_iter().flatten() {
            suspects.push(txn);
            if let [next] = *self.order.next(read) {
                suspects.extend(self.writes.live_writer(next));
            }
        }
        suspects.sort_unstable();
        suspects.dedup();
        Ok(suspects)
    }

    /// Whether an update must be lost though no single one is: who updates a version writes before all
    /// others that may stand next to it, and those orders close a circle with what is known.
    pub(crate) fn updates_clash(self, graph: &Graph, watch: Watch) -> Result<bool, Stop> {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for txn in (0..self.table.len() as u32).filter(|&txn| self.writes.is_live(txn)) {
            for (version, _) in updates(self.table, txn) {
                let next = self.order.next(version).iter();
                let others = next.filter_map(|&next| self.writes.live_writer(next));
                pairs.extend(
                    others
                        .filter(|&other| other != txn)
                        .map(|other| (txn, other)),
                );
            }
        }
        if pairs.is_empty() {
            return Ok(false);
        }
        for node in 0..graph.len() as u32 {
            let edges = graph
                .edges(node)
                .filter(|(edge, _)| Mask::WRITES.has(*edge));
            pairs.extend(edges.map(|(_, to)| (node, to)));
        }
        let rows = Rows::of(graph.len(), &pairs);
        Ok(!Components::of_rows(&rows, watch)?.is_empty())
    }
}
