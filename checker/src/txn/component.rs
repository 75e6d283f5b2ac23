//! Strongly connected components: where the cycles are, in one pass (Tarjan 1972), without recursion.

use super::graph::{Edge, Graph, Mask};
use super::rows::Rows;
use super::work::{Stop, Watch};

/// The components of more than one node.
#[derive(Debug)]
pub(crate) struct Components {
    /// Each node's component plus one; 0: none.
    of: Vec<u32>,
    /// Each component's nodes.
    pub(crate) members: Vec<Vec<u32>>,
    /// All nodes, each before those that it has edges from: a topological order read backward.
    pub(crate) finished: Vec<u32>,
}

/// What finding components holds for each node: two numbers, a place in an order that grows by doubling, the
/// entry of a stack.
pub(crate) const COMPONENT_BYTES: usize = 20;

impl Components {
    /// The components of the graph's edges in `mask`.
    pub(crate) fn of(graph: &Graph, mask: Mask, watch: Watch) -> Result<Self, Stop> {
        tarjan(
            graph.len(),
            later_first(graph.len()),
            |node| graph.span(node).0,
            masked(graph, mask, |_, _| true),
            watch,
        )
    }

    /// All nodes as one component, whatever their edges.
    pub(crate) fn whole(nodes: usize) -> Self {
        let all: Vec<u32> = (0..nodes as u32).collect();
        Self {
            of: vec![1; nodes],
            members: vec![all.clone()],
            finished: all,
        }
    }

    /// Components that are known, with an order of all nodes in which each component stands together.
    pub(crate) fn in_order(nodes: usize, order: Vec<u32>, mut members: Vec<Vec<u32>>) -> Self {
        members.reverse();
        let mut finished = order;
        finished.reverse();
        let mut of = vec![0; nodes];
        for (part, members) in (1..).zip(&members) {
            for &node in members {
                of[node as usize] = part;
            }
        }
        Self {
            of,
            members,
            finished,
        }
    }

    /// These components, of transactions, with the helper nodes of a graph that has no edges between them.
    pub(crate) fn with_helpers(self, graph: &Graph, watch: Watch) -> Result<Self, Stop> {
        let roots = self.members.iter().flatten().copied();
        let next = masked(graph, Mask::ALL, |_, _| true);
        let found = tarjan(graph.len(), roots, |node| graph.span(node).0, next, watch)?;
        let finished = self.finished;
        Ok(Self { finished, ..found })
    }

    /// Bytes of memory held, but for the members.
    pub(crate) fn memory(&self) -> usize {
        size_of::<u32>() * (self.of.capacity() + self.finished.capacity())
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.of.len()
    }

    /// The components of the edges in rows.
    pub(crate) fn of_rows(rows: &Rows, watch: Watch) -> Result<Self, Stop> {
        let next = |node: u32, at: &mut u32| {
            (*at < rows.span(node).1).then(|| {
                *at += 1;
                rows.item(*at - 1)
            })
        };
        let roots = later_first(rows.len());
        tarjan(rows.len(), roots, |node| rows.span(node).0, next, watch)
    }

    /// The components of the edges in `mask`, each within one of these components.
    pub(crate) fn within(&self, graph: &Graph, mask: Mask, watch: Watch) -> Result<Self, Stop> {
        let roots = self.members.iter().flatten().copied();
        tarjan(
            graph.len(),
            roots,
            |node| graph.span(node).0,
            masked(graph, mask, |a, b| self.together(a, b)),
            watch,
        )
    }

    /// The components of the edges in `mask`, with an order of all nodes that all edges agree with but
    /// for those within the new components.
    pub(crate) fn refined(&self, graph: &Graph, mask: Mask, watch: Watch) -> Result<Self, Stop> {
        let mut fine = self.within(graph, mask, watch)?;
        // Both have component after component, in the same order.
        let mut split = std::mem::take(&mut fine.finished).into_iter().peekable();
        for &node in &self.finished {
            match self.part(node) {
                None => fine.finished.push(node),
                part => {
                    let same = |node: &u32| self.part(*node) == part;
                    fine.finished
                        .extend(std::iter::from_fn(|| split.next_if(same)));
                }
            }
        }
        Ok(fine)
    }

    /// The component of a node.
    pub(crate) fn part(&self, node: u32) -> Option<u32> {
        self.of[node as usize].checked_sub(1)
    }

    /// Whether two nodes are in one component.
    pub(crate) fn together(&self, one: u32, other: u32) -> bool {
        let part = self.part(one);
        part.is_some() && part == self.part(other)
    }

    /// Whether there is no cycle.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// The nodes to start from: the last first, as most edges lead to later nodes. So what lies ahead of a
/// node is done already, and what has no order stays in order of numbers.
fn later_first(nodes: usize) -> impl Iterator<Item = u32> {
    (0..nodes as u32).rev()
}

fn masked(
    graph: &Graph,
    mask: Mask,
    follow: impl Fn(u32, u32) -> bool,
) -> impl Fn(u32, &mut u32) -> Option<u32> {
    move |node, at| {
        let end = graph.span(node).1;
        while *at < end {
            let (edge, to) = graph.edge(*at);
            *at += 1;
            if mask.has(edge) && follow(node, to) {
                return Some(to);
            }
        }
        None
    }
}

/// A node not met yet, in place of its number.
const UNSEEN: u32 = 0;
/// A node whose component is known, in place of its number.
const DONE: u32 = u32::MAX;

/// Tarjan's algorithm on nodes below `nodes`; `first` gives a node's first edge and `next` follows
/// it and moves on.
fn tarjan(
    nodes: usize,
    roots: impl Iterator<Item = u32>,
    first: impl Fn(u32) -> u32,
    next: impl Fn(u32, &mut u32) -> Option<u32>,
    watch: Watch,
) -> Result<Components, Stop> {
    let mut low = vec![UNSEEN; nodes];
    let mut found = Components {
        of: vec![0; nodes],
        members: vec![],
        finished: vec![],
    };
    let mut counter = UNSEEN;
    let mut open: Vec<u32> = Vec::new(); // seen, component not yet known
    let mut calls: Vec<(u32, u32, u32)> = Vec::new(); // node, its next edge, its number
    for root in roots {
        if low[root as usize] != UNSEEN {
            continue;
        }
        counter += 1;
        low[root as usize] = counter;
        calls.push((root, first(root), counter));
        open.push(root);
        while let Some((node, edge, number)) = calls.last_mut() {
            let node = *node;
            if let Some(to) = next(node, edge) {
                let seen = low[to as usize];
                if seen == UNSEEN {
                    counter += 1;
                    watch.round(counter)?;
                    low[to as usize] = counter;
                    calls.push((to, first(to), counter));
                    open.push(to);
                } else if seen != DONE {
                    low[node as usize] = low[node as usize].min(seen);
                }
                continue;
            }
            let (number, lowest) = (*number, low[node as usize]);
            calls.pop();
            if let Some((parent, ..)) = calls.last() {
                low[*parent as usize] = low[*parent as usize].min(lowest);
            }
            if lowest == number {
                close(node, &mut open, &mut low, &mut found);
            }
        }
    }
    Ok(found)
}

/// Closes the component of `root`: all nodes opened since.
fn close(root: u32, open: &mut Vec<u32>, low: &mut [u32], found: &mut Components) {
    let start = open
        .iter()
        .rposition(|&node| node == root)
        .expect("the root is open");
    for &node in &open[start..] {
        low[node as usize] = DONE;
    }
    found.finished.extend_from_slice(&open[start..]);
    if open.len() - start > 1 {
        found.members.push(open[start..].to_vec());
        for &node in &open[start..] {
            found.of[node as usize] = found.members.len() as u32;
        }
    }
    open.truncate(start);
}

/// Whether the edges in `steps` and the anti-dependencies close a cycle in which no two
/// anti-dependencies are neighbours: exactly what snapshot isolation forbids (Cerone and Gotsman,
/// *Analysing Snapshot Isolation*, 2016). Looks only within `parts`.
pub(crate) fn cycle_without_adjacent_rw(
    graph: &Graph,
    parts: &Components,
    steps: Mask,
    watch: Watch,
) -> Result<bool, Stop> {
    // A node stands twice: 2n reached by another edge, 2n+1 reached by an anti-dependency.
    let roots = parts
        .members
        .iter()
        .flatten()
        .flat_map(|&node| [2 * node, 2 * node + 1]);
    let next = |node: u32, at: &mut u32| {
        let (from, after_rw) = (node / 2, node % 2 == 1);
        let end = graph.span(from).1;
        while *at < end {
            let (edge, to) = graph.edge(*at);
            *at += 1;
            if !parts.together(from, to) {
                continue;
            }
            match edge {
                Edge::Rw if !after_rw => return Some(2 * to + 1),
                Edge::Through => return Some(2 * to + u32::from(after_rw)),
                Edge::Rw => {}
                _ if steps.has(edge) => return Some(2 * to),
                _ => {}
            }
        }
        None
    };
    let first = |node| graph.span(node / 2).0;
    Ok(!tarjan(2 * graph.len(), roots, first, next, watch)?.is_empty())
}
