//! Finds a smallest cycle of each shape.
//!
//! A cycle is a walk through the graph that an automaton accepts: it counts anti-dependencies, sees
//! whether two of them are neighbours, and whether a read or a step within a process was there. The
//! search is breadth first in the product of both, from every node of a component, to a depth that
//! grows; so the first cycle found at a depth at which there was none before is a smallest one.
//!
//! Real time needs no edges here. Had a cycle two steps in real time, a before b and c before d, then
//! as these are intervals also a before d or c before b, and one of the two steps could be left out.
//! So a smallest cycle has one: it is a walk of other edges from a transaction to one that had ended
//! before the first began.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::anomaly::{Order, Shape};
use super::component::Components;
use super::graph::{Edge, Graph, Mask};
use super::table::Table;
use super::work::Work;

/// A cycle: its nodes in order, and the edge from each to the next; helpers are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub(crate) steps: Vec<(u32, Edge)>,
    /// Whether none is shorter.
    pub(crate) smallest: bool,
}

/// What was seen on the way from the start, as far as a pattern asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Walk {
    /// The last edge; one that has no say stands as `Ww`.
    last: Option<Edge>,
    /// How many anti-dependencies, at most 2.
    rw: u8,
    began_rw: bool,
    adjacent_rw: bool,
    seen: Mask,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    pub(crate) shape: Shape,
    pub(crate) order: Order,
}

impl Pattern {
    /// The edges that a cycle of this pattern may use.
    pub(crate) fn mask(self) -> Mask {
        let data = match self.shape {
            Shape::G0 => Mask::WW,
            Shape::G1c => Mask::WRITES,
            Shape::GSingle | Shape::GNonadjacent | Shape::G2Item => Mask::DATA,
        };
        match self.order {
            Order::Data => data,
            Order::Process => data.and(Mask::PROCESS),
            Order::Realtime => data.and(Mask::REALTIME),
        }
    }

    fn step(self, walk: Walk, edge: Edge) -> Option<Walk> {
        let mut after = Walk {
            last: Some(Edge::Ww),
            ..walk
        };
        match edge {
            Edge::Through => return Some(walk),
            Edge::Realtime => return None,
            Edge::Process if self.order != Order::Process => return None,
            Edge::Process => {
                after.last = Some(edge);
                after.seen = walk.seen.and(Mask::PROCESS);
            }
            Edge::Rw => {
                let adjacent = walk.last == Some(Edge::Rw);
                match self.shape {
                    Shape::G0 | Shape::G1c => return None,
                    Shape::GSingle if walk.rw > 0 => return None,
                    Shape::GNonadjacent if adjacent => return None,
                    _ => {}
                }
                after.last = Some(edge);
                after.rw = (walk.rw + 1).min(2);
                after.adjacent_rw |= adjacent;
                after.began_rw |= walk.last.is_none();
            }
            Edge::Wr => match self.shape {
                Shape::G0 => return None,
                Shape::G1c => after.seen = walk.seen.and(Mask::WR),
                _ => {}
            },
            Edge::Ww => {}
        }
        Some(after)
    }

    /// Whether a walk makes a cycle of this pattern when it is closed; `joined` says that it came
    /// back to where it began, so that its last edge and its first are neighbours.
    fn accepts(self, walk: Walk, joined: bool) -> bool {
        let ends_rw = walk.last == Some(Edge::Rw);
        let adjacent = walk.adjacent_rw || (joined && walk.began_rw && ends_rw);
        let shape = match self.shape {
            Shape::G0 => true,
            Shape::G1c => walk.seen.has(Edge::Wr),
            Shape::GSingle => walk.rw == 1,
            Shape::GNonadjacent => walk.rw == 2 && !adjacent,
            Shape::G2Item => walk.rw == 2 && adjacent,
        };
        shape && (self.order != Order::Process || walk.seen.has(Edge::Process))
    }
}

/// A search within one component, with a bound on its work.
pub(crate) struct Search<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) table: &'a Table,
    pub(crate) pattern: Pattern,
    /// How many edges may still be followed.
    pub(crate) work: Work,
}

/// What a search came to.
pub(crate) enum Found {
    /// This cycle.
    Cycle(Cycle),
    /// There is none.
    None,
    /// The work ran out first.
    Exhausted,
}

/// The depths to which all starts are searched in turn; the last is no limit.
const DEPTHS: [u32; 7] = [2, 3, 4, 5, 8, 16, u32::MAX];

impl Search<'_> {
    /// A smallest cycle of the pattern among the nodes of component `part`.
    pub(crate) fn run(&mut self, parts: &Components, part: u32) -> Found {
        let members = &parts.members[part as usize];
        for depth in DEPTHS {
            let mut best: Option<Cycle> = None;
            for &start in members.iter().filter(|&&node| node < self.graph.txns) {
                let limit = best
                    .as_ref()
                    .map_or(depth, |best| best.steps.len() as u32 - 1);
                if let Some(steps) = self.from(start, limit, parts) {
                    best = Some(Cycle {
                        steps,
                        smallest: true,
                    });
                }
                if self.work.is_spent() {
                    break;
                }
            }
            if let Some(mut best) = best {
                best.smallest = !self.work.is_spent();
                return Found::Cycle(best);
            }
            if self.work.is_spent() {
                return Found::Exhausted;
            }
            if depth as usize >= members.len() {
                break;
            }
        }
        Found::None
    }

    /// A shortest cycle through `start` of at most `limit` transactions.
    fn from(&mut self, start: u32, limit: u32, parts: &Components) -> Option<Vec<(u32, Edge)>> {
        let realtime = self.pattern.order == Order::Realtime;
        let limit = if realtime {
            limit.saturating_sub(1)
        } else {
            limit
        };
        let origin = (start, Walk::default());
        let mut came = Came::new();
        let mut queue: VecDeque<(State, u32)> = VecDeque::from([(origin, 0)]);
        while let Some((at, depth)) = queue.pop_front() {
            let (node, walk) = at;
            if came.get(&at).is_some_and(|(.., best)| *best < depth) {
                continue;
            }
            for (edge, to) in self.graph.edges(node) {
                self.work.step().ok()?;
                if !parts.together(start, to) {
                    continue;
                }
                let Some(after) = self.pattern.step(walk, edge) else {
                    continue;
                };
                let free =
                    edge == Edge::Through || (edge == Edge::Process && walk.last == Some(edge));
                let length = depth + u32::from(!free);
                let next = (to, after);
                if length > limit || came.get(&next).is_some_and(|(.., best)| *best <= length) {
                    continue;
                }
                if to == start && (realtime || !self.pattern.accepts(after, true)) {
                    continue;
                }
                came.insert(next, (at, edge, length));
                let closing = if to == start {
                    None
                } else if realtime
                    && self.ends_before(to, start)
                    && self.pattern.accepts(after, false)
                {
                    Some(Edge::Realtime)
                } else {
                    if free {
                        queue.push_front((next, length));
                    } else {
                        queue.push_back((next, length));
                    }
                    continue;
                };
                if let Some(steps) = trace(origin, next, &came, closing) {
                    return Some(steps);
                }
            }
        }
        None
    }

    fn ends_before(&self, one: u32, other: u32) -> bool {
        one < self.graph.txns && self.table.completed(one) < self.table.invoked(other)
    }
}

/// A node, and what was seen on the way to it.
type State = (u32, Walk);
/// How each state was reached first: from which, by what edge, after how many steps.
type Came = HashMap<State, (State, Edge, u32)>;

/// Reads a walk back. None when it passes a transaction twice: then it is two cycles, and each of
/// them is found for itself.
fn trace(
    origin: State,
    last: State,
    came: &Came,
    closing: Option<Edge>,
) -> Option<Vec<(u32, Edge)>> {
    let mut steps: Vec<(u32, Edge)> = closing.map(|edge| (last.0, edge)).into_iter().collect();
    let mut at = last;
    while at != origin {
        let (before, edge, _) = came[&at];
        at = before;
        if edge == Edge::Through {
            continue;
        }
        if edge == Edge::Process && steps.last().is_some_and(|(_, after)| *after == edge) {
            steps.pop(); // steps within one process are one step
        }
        steps.push((before.0, edge));
    }
    steps.reverse();
    let mut nodes: Vec<u32> = steps.iter().map(|(node, _)| *node).collect();
    nodes.sort_unstable();
    nodes
        .windows(2)
        .all(|pair| pair[0] != pair[1])
        .then_some(steps)
}
