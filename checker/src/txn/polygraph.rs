//! Orders with choices: edges that must hold, and pairs of edge sets of which one must.
//!
//! Whether some choice of each pair leaves no cycle is NP-complete (Papadimitriou 1979). Histories
//! are kinder than the worst case: nearly every choice is already decided by an order that fits the
//! edges. So a topological order is kept up to date while edges come and go (Pearce and Kelly, *A
//! Dynamic Topological Sort Algorithm for Directed Acyclic Graphs*, 2006); an edge that agrees with it
//! costs nothing, a choice is made as it says, and only a conflict is searched for.

use super::component::tarjan;
use super::rows::Rows;
use super::work::{Spent, Work};

type Link = (u32, u32);

/// One of two sets of edges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) either: Vec<Link>,
    pub(crate) or: Vec<Link>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Solved {
    /// The nodes in an order that all edges and a set of each choice agree with.
    Order(Vec<u32>),
    /// There is no such order.
    None,
    /// The work ran out first.
    Exhausted,
}

/// Finds an order of nodes below `nodes`; `work` bounds the edges followed.
pub(crate) fn solve(nodes: usize, edges: &[Link], choices: &[Choice], work: Work) -> Solved {
    let Some(order) = Order::of(nodes, edges, work) else {
        return Solved::None;
    };
    let mut search = Search {
        order,
        choices,
        open: (0..choices.len()).collect(),
        trail: Vec::new(),
    };
    match search.run() {
        Ok(true) => Solved::Order(search.order.nodes()),
        Ok(false) => Solved::None,
        Err(Spent) => Solved::Exhausted,
    }
}

/// A decision that was made, and how to take it back.
struct Decision {
    choice: usize,
    /// Whether the other set was tried, or cannot be.
    last: bool,
    either: bool,
    /// How many edges stood before it.
    edges: usize,
}

struct Search<'a> {
    order: Order,
    choices: &'a [Choice],
    /// The choices not yet made: a stack.
    open: Vec<usize>,
    trail: Vec<Decision>,
}

impl Search<'_> {
    /// Whether there is an order.
    fn run(&mut self) -> Result<bool, Spent> {
        self.force()?;
        loop {
            let Some(choice) = self.open.pop() else {
                return Ok(true);
            };
            let either = self.order.agrees(&self.choices[choice].either)
                >= self.order.agrees(&self.choices[choice].or);
            let made = self.make(choice, either, false)? || self.make(choice, !either, true)?;
            if !made {
                self.open.push(choice);
                if !self.back()? {
                    return Ok(false);
                }
            }
        }
    }

    /// Makes a choice, if that leaves no cycle.
    fn make(&mut self, choice: usize, either: bool, last: bool) -> Result<bool, Spent> {
        let edges = self.order.inserted();
        let links = if either {
            &self.choices[choice].either
        } else {
            &self.choices[choice].or
        };
        for &(from, to) in links {
            if !self.order.insert(from, to)? {
                self.order.retract(edges);
                return Ok(false);
            }
        }
        self.trail.push(Decision {
            choice,
            last,
            either,
            edges,
        });
        Ok(true)
    }

    /// Takes back decisions until one can be made the other way.
    fn back(&mut self) -> Result<bool, Spent> {
        while let Some(decision) = self.trail.pop() {
            self.order.retract(decision.edges);
            if !decision.last && self.make(decision.choice, !decision.either, true)? {
                return Ok(true);
            }
            self.open.push(decision.choice);
        }
        Ok(false)
    }

    /// Makes the choices of which one set is impossible from the start, until there are no more.
    fn force(&mut self) -> Result<(), Spent> {
        loop {
            let before = self.open.len();
            for choice in std::mem::take(&mut self.open) {
                let Choice { either, or } = &self.choices[choice];
                let (either, or) = (self.order.allows(either)?, self.order.allows(or)?);
                // Both impossible: left to the search, which fails at once.
                if either == or || !self.make(choice, either, true)? {
                    self.open.push(choice);
                }
            }
            if self.open.len() == before {
                return Ok(());
            }
        }
    }
}

const END: u32 = u32::MAX;

/// A topological order of a graph that grows and shrinks at its end.
struct Order {
    place: Vec<u32>,
    out: Rows,
    into: Rows,
    /// Later edges, chained by node: the last one out of it and into it.
    last_out: Vec<u32>,
    last_into: Vec<u32>,
    later: Vec<Later>,
    mark: Vec<u32>,
    round: u32,
    work: Work,
}

struct Later {
    from: u32,
    to: u32,
    before_out: u32,
    before_into: u32,
}

impl Order {
    /// The order of a graph; none when it has a cycle.
    fn of(nodes: usize, edges: &[Link], work: Work) -> Option<Self> {
        let out = Rows::of(nodes, edges);
        let turned: Vec<Link> = edges.iter().map(|&(from, to)| (to, from)).collect();
        let next = |node: u32, at: &mut u32| {
            (*at < out.span(node).1).then(|| {
                *at += 1;
                out.item(*at - 1)
            })
        };
        // Later nodes first, so that what has no order stays in order of numbers.
        let found = tarjan(
            nodes,
            (0..nodes as u32).rev(),
            |node| out.span(node).0,
            next,
        );
        if !found.is_empty() {
            return None;
        }
        let mut place = vec![0; nodes];
        for (at, node) in found.finished.iter().rev().enumerate() {
            place[*node as usize] = at as u32;
        }
        Some(Self {
            place,
            into: Rows::of(nodes, &turned),
            out,
            last_out: vec![END; nodes],
            last_into: vec![END; nodes],
            later: Vec::new(),
            mark: vec![0; nodes],
            round: 0,
            work,
        })
    }

    fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<u32> = (0..self.place.len() as u32).collect();
        nodes.sort_unstable_by_key(|&node| self.place[node as usize]);
        nodes
    }

    fn is_before(&self, a: u32, b: u32) -> bool {
        self.place[a as usize] < self.place[b as usize]
    }

    /// How many of these edges the order agrees with, less those it does not.
    fn agrees(&self, links: &[Link]) -> i64 {
        links
            .iter()
            .map(|&(from, to)| if self.is_before(from, to) { 1 } else { -1 })
            .sum()
    }

    /// Whether none of these edges, on its own, would close a cycle.
    fn allows(&mut self, links: &[Link]) -> Result<bool, Spent> {
        for &(from, to) in links {
            if !self.is_before(from, to) && self.reach(to, from, false)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn inserted(&self) -> usize {
        self.later.len()
    }

    /// Adds an edge; false, and nothing added, when it closes a cycle.
    fn insert(&mut self, from: u32, to: u32) -> Result<bool, Spent> {
        if !self.is_before(from, to) {
            let Some(ahead) = self.reach(to, from, false)? else {
                return Ok(false);
            };
            let behind = self.reach(from, to, true)?.expect("there is no cycle");
            self.reorder(behind, ahead);
        }
        let edge = self.later.len() as u32;
        let (before_out, before_into) = (self.last_out[from as usize], self.last_into[to as usize]);
        self.later.push(Later {
            from,
            to,
            before_out,
            before_into,
        });
        self.last_out[from as usize] = edge;
        self.last_into[to as usize] = edge;
        Ok(true)
    }

    /// Takes back all edges but the first `kept`. The order stays: it fits fewer edges too.
    fn retract(&mut self, kept: usize) {
        while self.later.len() > kept {
            let edge = self.later.pop().expect("there are more");
            self.last_out[edge.from as usize] = edge.before_out;
            self.last_into[edge.to as usize] = edge.before_into;
        }
    }

    /// All nodes that can be reached from `start` without passing the place of `goal`; none when
    /// `goal` itself can. Backward it goes against the edges.
    fn reach(&mut self, start: u32, goal: u32, backward: bool) -> Result<Option<Vec<u32>>, Spent> {
        self.round += 1;
        let bound = self.place[goal as usize];
        let mut found = vec![start];
        self.mark[start as usize] = self.round;
        let mut at = 0;
        while let Some(&node) = found.get(at) {
            if node == goal {
                return Ok(None);
            }
            at += 1;
            let (rows, last) = if backward {
                (&self.into, &self.last_into)
            } else {
                (&self.out, &self.last_out)
            };
            let mut chain = last[node as usize];
            let later = std::iter::from_fn(|| {
                let edge = self.later.get(chain as usize)?;
                let (next, other) = if backward {
                    (edge.before_into, edge.from)
                } else {
                    (edge.before_out, edge.to)
                };
                chain = next;
                Some(other)
            });
            for next in rows.row(node).iter().copied().chain(later) {
                self.work.step()?;
                let place = self.place[next as usize];
                let inside = if backward {
                    place >= bound
                } else {
                    place <= bound
                };
                if inside && self.mark[next as usize] != self.round {
                    self.mark[next as usize] = self.round;
                    found.push(next);
                }
            }
        }
        Ok(Some(found))
    }

    /// Puts all of `behind` before all of `ahead`, in the places that they hold together.
    fn reorder(&mut self, mut behind: Vec<u32>, mut ahead: Vec<u32>) {
        behind.sort_unstable_by_key(|&node| self.place[node as usize]);
        ahead.sort_unstable_by_key(|&node| self.place[node as usize]);
        behind.extend(ahead);
        let mut places: Vec<u32> = behind
            .iter()
            .map(|&node| self.place[node as usize])
            .collect();
        places.sort_unstable();
        for (node, place) in behind.into_iter().zip(places) {
            self.place[node as usize] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_made_so_that_no_cycle_is_left() {
        let work = Work::new(1000, None);
        // 0 before 1 before 2; of 3 and 1 either may come first, and then 3 must come before 0.
        let choice = |either: &[Link], or: &[Link]| Choice {
            either: either.to_vec(),
            or: or.to_vec(),
        };
        let edges = [(0, 1), (1, 2)];
        let free = [choice(&[(1, 3)], &[(3, 1)]), choice(&[(3, 0)], &[(2, 0)])];
        let Solved::Order(order) = solve(4, &edges, &free, work) else {
            panic!("there is an order")
        };
        let place = |node| order.iter().position(|&other| other == node);
        assert!(
            place(3) < place(0) && place(0) < place(1) && place(1) < place(2),
            "{order:?}"
        );
        let stuck = [choice(&[(1, 0)], &[(2, 0)])];
        assert_eq!(solve(3, &edges, &stuck, work), Solved::None);
        assert_eq!(solve(3, &[(0, 1), (1, 0)], &[], work), Solved::None);
    }
}
