//! The reads and writes behind an edge of the graph, found again when a cycle is to be shown.

use super::anomaly::{Because, Step};
use super::cycle::Cycle;
use super::graph::Edge;
use super::order::Order;
use super::table::{Kind, Table};
use super::writes::Writes;

/// What is needed to say why an edge is there.
#[derive(Clone, Copy)]
pub(crate) struct Witness<'a> {
    pub(crate) table: &'a Table,
    pub(crate) writes: &'a Writes,
    pub(crate) order: &'a Order<'a>,
}

impl Witness<'_> {
    /// A cycle with the reason of each step.
    pub(crate) fn steps(self, cycle: &Cycle) -> Vec<Step> {
        let next = cycle.steps.iter().cycle().skip(1);
        let pairs = cycle.steps.iter().zip(next);
        let step = |((from, edge), (to, _)): (&(u32, Edge), &(u32, Edge))| {
            let because = self
                .because(*from, *to, *edge)
                .expect("an edge has a reason");
            Step {
                from: *from,
                to: *to,
                because,
            }
        };
        pairs.map(step).collect()
    }

    /// Why there is an edge of this kind from one transaction to another, if there is.
    pub(crate) fn because(self, from: u32, to: u32, edge: Edge) -> Option<Because> {
        let table = self.table;
        let reads = |txn: u32| {
            let reads = table.ops(txn).iter().filter(|op| op.kind == Kind::Read);
            reads.map(|op| table.observed(*op))
        };
        let next = |version: u32| {
            let next = self.order.next(version).iter().copied();
            next.into_iter()
                .find(|&after| self.writes.writer(after) == Some(to))
        };
        match edge {
            Edge::Ww => table
                .ops(from)
                .iter()
                .filter_map(|op| op.written())
                .find_map(|before| next(before).map(|after| Because::Ww { before, after })),
            Edge::Wr => reads(to)
                .find(|&version| self.writes.writer(version) == Some(from))
                .map(|version| Because::Wr { version }),
            Edge::Rw => {
                reads(from).find_map(|read| next(read).map(|after| Because::Rw { read, after }))
            }
            Edge::Process => {
                (table.process(from) == table.process(to) && from < to).then_some(Because::Process)
            }
            Edge::Realtime => Some(Because::Realtime),
            Edge::Through => None,
        }
    }
}
