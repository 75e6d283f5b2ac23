//! Every level by its definition: all orders, all interleavings of starts and commits.

use super::super::level::Level;
use super::super::table::{Data, Status};
use super::history::{KEYS, Op, Txn};

/// What binds the order besides data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binds {
    sessions: bool,
    real_time: bool,
}

pub(super) const FREE: Binds = Binds {
    sessions: false,
    real_time: false,
};
pub(super) const SESSIONS: Binds = Binds {
    sessions: true,
    real_time: false,
};
pub(super) const REAL_TIME: Binds = Binds {
    sessions: true,
    real_time: true,
};

/// Every level by trying everything.
pub(super) struct Twin<'a> {
    pub(super) txns: &'a [Txn],
    pub(super) data: Data,
}

impl Twin<'_> {
    pub(super) fn before(&self, a: usize, b: usize, binds: Binds) -> bool {
        let (a, b) = (&self.txns[a], &self.txns[b]);
        (binds.sessions && a.process == b.process && a.invoked < b.invoked)
            || (binds.real_time && a.ended() < b.invoked)
    }

    /// All choices of which transactions of unknown outcome happened.
    fn choices(&self) -> Vec<Vec<usize>> {
        let of = |status| (0..self.txns.len()).filter(move |&t| self.txns[t].status == status);
        let unknown: Vec<usize> = of(Status::Unknown).collect();
        (0..1_usize << unknown.len())
            .map(|choice| {
                let chosen = unknown
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| choice >> at & 1 == 1);
                let mut all: Vec<usize> = of(Status::Committed).collect();
                all.extend(chosen.map(|(_, txn)| *txn));
                all.sort_unstable();
                all
            })
            .collect()
    }

    /// Runs a transaction on a state; false when a read disagrees.
    pub(super) fn runs(&self, txn: usize, state: &mut [Vec<u64>]) -> bool {
        let known = self.txns[txn].status == Status::Committed;
        self.txns[txn].ops.iter().all(|op| match op {
            Op::Write(key, value) => {
                state[*key].push(*value);
                true
            }
            Op::Read(key, list) if known && self.data == Data::Lists => state[*key] == *list,
            Op::Read(key, list) if known => state[*key].last() == list.last(),
            Op::Read(..) => true,
        })
    }

    fn serial(&self, binds: Binds) -> bool {
        self.choices()
            .iter()
            .any(|all| self.serial_from(all, &mut Vec::new(), &vec![Vec::new(); KEYS], binds))
    }

    fn serial_from(
        &self,
        all: &[usize],
        done: &mut Vec<usize>,
        state: &[Vec<u64>],
        binds: Binds,
    ) -> bool {
        if done.len() == all.len() {
            return true;
        }
        all.iter().any(|&txn| {
            let waits = |&other: &usize| !done.contains(&other) && self.before(other, txn, binds);
            if done.contains(&txn) || all.iter().any(waits) {
                return false;
            }
            let mut after = state.to_vec();
            if !self.runs(txn, &mut after) {
                return false;
            }
            done.push(txn);
            let found = self.serial_from(all, done, &after, binds);
            done.pop();
            found
        })
    }

    /// Snapshot isolation by trying every interleaving of starts and commits.
    fn snapshots(&self, binds: Binds) -> bool {
        self.choices().iter().any(|all| {
            let mut run = Run {
                started: Vec::new(),
                committed: Vec::new(),
            };
            self.snapshots_from(all, &mut run, &vec![Vec::new(); KEYS], binds)
        })
    }

    fn snapshots_from(
        &self,
        all: &[usize],
        run: &mut Run,
        state: &[Vec<u64>],
        binds: Binds,
    ) -> bool {
        if run.committed.len() == all.len() {
            return true;
        }
        for &txn in all {
            let started = run.started.iter().position(|(other, ..)| *other == txn);
            match started {
                None => {
                    let waits = |&other: &usize| {
                        !run.committed.contains(&other) && self.before(other, txn, binds)
                    };
                    if all.iter().any(waits) || !self.runs(txn, &mut state.to_vec()) {
                        continue;
                    }
                    run.started.push((txn, run.committed.len()));
                    let found = self.snapshots_from(all, run, state, binds);
                    run.started.pop();
                    if found {
                        return true;
                    }
                }
                Some(_) if run.committed.contains(&txn) => {}
                Some(at) => {
                    let since = &run.committed[run.started[at].1..];
                    let clash = |&other: &usize| {
                        (0..KEYS).any(|key| {
                            !self.txns[txn].writes(key).is_empty()
                                && !self.txns[other].writes(key).is_empty()
                        })
                    };
                    if since.iter().any(clash) {
                        continue;
                    }
                    let mut after = state.to_vec();
                    for (key, list) in after.iter_mut().enumerate() {
                        list.extend(self.txns[txn].writes(key));
                    }
                    run.committed.push(txn);
                    let found = self.snapshots_from(all, run, &after, binds);
                    run.committed.pop();
                    if found {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// A weak level: is there a total order of transactions that its axiom accepts?
    fn weak(&self, level: Level) -> bool {
        let binds = if level == Level::Causal {
            SESSIONS
        } else {
            FREE
        };
        self.choices().iter().any(|all| {
            permutations(all).iter().any(|order| {
                let pairs = || (0..order.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
                pairs().all(|(a, b)| !self.before(order[b], order[a], binds))
                    && self.accepts(level, order)
            })
        })
    }

    fn accepts(&self, level: Level, order: &[usize]) -> bool {
        let finals: Vec<Vec<u64>> = (0..KEYS)
            .map(|key| {
                order
                    .iter()
                    .flat_map(|&t| self.txns[t].writes(key))
                    .collect()
            })
            .collect();
        let place = |txn: usize| order.iter().position(|&other| other == txn);
        // For each transaction its reads of others: (micro-op, key, writer).
        let mut reads: Vec<Vec<Read>> = vec![Vec::new(); self.txns.len()];
        for &txn in order
            .iter()
            .filter(|&&txn| self.txns[txn].status == Status::Committed)
        {
            for (at, op) in self.txns[txn].ops.iter().enumerate() {
                let Op::Read(key, list) = op else { continue };
                let Some(value) = list.last() else {
                    reads[txn].push((at, *key, None));
                    continue;
                };
                if self.data == Data::Lists && !finals[*key].starts_with(list) {
                    return false;
                }
                let Some(&writer) = order
                    .iter()
                    .find(|&&t| self.txns[t].writes(*key).contains(value))
                else {
                    return level == Level::ReadUncommitted && self.data == Data::Registers;
                };
                if writer == txn {
                    continue;
                }
                if level != Level::ReadUncommitted
                    && (self.txns[writer].writes(*key).last() != Some(value)
                        || place(writer) > place(txn))
                {
                    return false;
                }
                reads[txn].push((at, *key, Some(writer)));
            }
        }
        match level {
            Level::CursorStability => return self.loses_no_update(order, &reads),
            Level::ConsistentView => return self.sees_no_skew(order, &reads),
            _ => {}
        }
        let visible = self.visible(level, order, &reads);
        order.iter().all(|&txn| {
            reads[txn].iter().all(|&(at, key, writer)| {
                order.iter().all(|&other| {
                    let binds = Some(other) != writer
                        && other != txn
                        && !self.txns[other].writes(key).is_empty()
                        && visible(other, txn, at);
                    !binds || writer.is_some_and(|writer| place(other) < place(writer))
                })
            })
        })
    }

    /// Whether no write stands between what a transaction read of a key and what it then wrote.
    fn loses_no_update(&self, order: &[usize], reads: &[Vec<Read>]) -> bool {
        let place = |txn: usize| order.iter().position(|&other| other == txn);
        order.iter().all(|&txn| {
            reads[txn].iter().all(|&(at, key, writer)| {
                let writes = |op: &Op| matches!(op, Op::Write(other, _) if *other == key);
                let ops = &self.txns[txn].ops;
                // Reads after its own write are not reads of others.
                !ops[at..].iter().any(writes)
                    || order.iter().all(|&other| {
                        self.txns[other].writes(key).is_empty()
                            || other == txn
                            || place(other) > place(txn)
                            || writer.is_some_and(|writer| place(other) <= place(writer))
                    })
            })
        })
    }

    /// Whether no cycle of dependencies has exactly one anti-dependency.
    fn sees_no_skew(&self, order: &[usize], reads: &[Vec<Read>]) -> bool {
        let n = self.txns.len();
        let place = |txn: usize| order.iter().position(|&other| other == txn);
        let mut past = vec![vec![false; n]; n];
        for &a in order {
            for &b in order {
                let both = |key| {
                    !self.txns[a].writes(key).is_empty() && !self.txns[b].writes(key).is_empty()
                };
                past[a][b] = (place(a) < place(b) && (0..KEYS).any(both))
                    || reads[b].iter().any(|(.., writer)| *writer == Some(a));
            }
        }
        close(&mut past);
        order.iter().all(|&txn| {
            reads[txn].iter().all(|&(_, key, writer)| {
                order.iter().all(|&other| {
                    let overwrote = !self.txns[other].writes(key).is_empty()
                        && other != txn
                        && writer.is_none_or(|writer| place(other) > place(writer));
                    !overwrote || !past[other][txn]
                })
            })
        })
    }

    /// Whether a transaction is visible to a read (a micro-op) of another.
    fn visible<'b>(
        &'b self,
        level: Level,
        order: &'b [usize],
        reads: &'b [Vec<Read>],
    ) -> impl Fn(usize, usize, usize) -> bool + 'b {
        let n = self.txns.len();
        let mut past = vec![vec![false; n]; n];
        for &a in order {
            for &b in order {
                past[a][b] = self.before(a, b, SESSIONS)
                    || reads[b].iter().any(|(.., writer)| *writer == Some(a));
            }
        }
        close(&mut past);
        move |other, txn, at| {
            let mut sources = reads[txn]
                .iter()
                .filter(|(.., writer)| *writer == Some(other));
            match level {
                Level::MonotonicAtomicView => sources.any(|(from, ..)| *from < at),
                Level::ReadAtomic => sources.next().is_some(),
                Level::Causal => past[other][txn],
                _ => false,
            }
        }
    }

    /// What the definitions say of a level.
    pub(super) fn level(&self, level: Level) -> bool {
        match level {
            Level::ReadUncommitted
            | Level::ReadCommitted
            | Level::MonotonicAtomicView
            | Level::ReadAtomic
            | Level::CursorStability
            | Level::ConsistentView
            | Level::Causal => self.weak(level),
            Level::SnapshotIsolation => self.snapshots(FREE),
            Level::StrongSessionSnapshotIsolation => self.snapshots(SESSIONS),
            Level::StrongSnapshotIsolation => self.snapshots(REAL_TIME),
            Level::RepeatableRead | Level::Serializable => self.serial(FREE),
            Level::StrongSessionSerializable => self.serial(SESSIONS),
            Level::StrictSerializable => self.serial(REAL_TIME),
        }
    }
}

/// A read of what another transaction wrote: its place, the key, the writer.
type Read = (usize, usize, Option<usize>);

/// Adds to a relation what follows from it.
fn close(past: &mut [Vec<bool>]) {
    let n = past.len();
    for via in 0..n {
        for a in 0..n {
            for b in 0..n {
                past[a][b] |= past[a][via] && past[via][b];
            }
        }
    }
}

struct Run {
    /// Transaction, and how many had committed when it started.
    started: Vec<(usize, usize)>,
    committed: Vec<usize>,
}

fn permutations(all: &[usize]) -> Vec<Vec<usize>> {
    let Some((&first, rest)) = all.split_first() else {
        return vec![Vec::new()];
    };
    let shorter = permutations(rest);
    let insert = |order: &Vec<usize>| {
        let order = order.clone();
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, first);
            order
        })
    };
    shorter.iter().flat_map(insert).collect()
}
