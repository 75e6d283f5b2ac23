//! Orders with choices: edges that must hold, and pairs of which either may come first.
//!
//! Whether some choice for each pair leaves no cycle is NP-complete (Papadimitriou 1979). Histories
//! are kinder than the worst case: nearly every choice is already decided by an order that fits the
//! edges. So a topological order is kept up to date while edges come and go (Pearce and Kelly, *A
//! Dynamic Topological Sort Algorithm for Directed Acyclic Graphs*, 2006); an edge that agrees with it
//! costs nothing, a choice is made as it says, and only a conflict is searched for. A conflict is a
//! cycle, and names the choices whose edges are on it: the search jumps back to the latest of them
//! (Prosser, *Hybrid Algorithms for the Constraint Satisfaction Problem*, 1993), not to the one before.

use super::component::Components;
use super::rows::Rows;
use super::work::{Spent, Stop, Work};

pub(crate) type Link = (u32, u32);

/// The pairs to be ordered, those first that stand together in time.
pub(crate) trait Pairs {
    /// How many there are.
    fn len(&self) -> usize;

    /// Gives the edges that put the first of a pair before the second, or the second before the first.
    fn links(&self, pair: usize, second_first: bool, each: &mut dyn FnMut(Link));
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Solved {
    /// The nodes in an order that all edges and a choice for each pair agree with.
    Order(Vec<u32>),
    /// There is no such order.
    None,
    /// The work ran out first, or it was stopped because of this.
    Exhausted(Option<Stop>),
}

/// Finds an order of nodes below `nodes`; `work` bounds the edges followed.
pub(crate) fn solve(nodes: usize, edges: Vec<Link>, pairs: &impl Pairs, work: Work) -> Solved {
    let order = match Order::of(nodes, edges, work) {
        Ok(Some(order)) => order,
        Ok(None) => return Solved::None,
        Err(Spent(stop)) => return Solved::Exhausted(stop),
    };
    let mut search = Search {
        order,
        pairs,
        trail: Vec::new(),
        links: Vec::new(),
    };
    match search.run() {
        Ok(true) => Solved::Order(search.order.nodes()),
        Ok(false) => Solved::None,
        Err(Spent(stop)) => Solved::Exhausted(stop),
    }
}

/// Earlier choices that a conflict blames, in order.
type Blame = Vec<u32>;

/// The choice for a pair: the one with the number of its place on the trail.
struct Decision {
    second_first: bool,
    /// How many edges stood before it.
    edges: usize,
    /// When it cannot be made the other way: the earlier choices because of which.
    forced_by: Option<Box<[u32]>>,
}

struct Search<'a, P> {
    order: Order,
    pairs: &'a P,
    trail: Vec<Decision>,
    /// The edges of the choice at hand.
    links: Vec<Link>,
}

impl<P: Pairs> Search<'_, P> {
    /// Whether there is an order.
    fn run(&mut self) -> Result<bool, Spent> {
        while self.trail.len() < self.pairs.len() {
            let second_first = self.agreement(true) > self.agreement(false);
            let Err(mut blame) = self.make(second_first, None)? else {
                continue;
            };
            let Err(more) = self.make(!second_first, Some(&blame))? else {
                continue;
            };
            merge(&mut blame, more);
            if !self.back(blame)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How much a choice for the next pair agrees with the order as it is.
    fn agreement(&self, second_first: bool) -> i64 {
        let mut agreement = 0;
        self.pairs
            .links(self.trail.len(), second_first, &mut |(from, to)| {
                agreement += if self.order.is_before(from, to) {
                    1
                } else {
                    -1
                };
            });
        agreement
    }

    /// Makes the choice for the next pair; when that would close a cycle, tells whom to blame.
    fn make(
        &mut self,
        second_first: bool,
        forced_by: Option<&Blame>,
    ) -> Result<Result<(), Blame>, Spent> {
        let edges = self.order.inserted();
        let links = &mut self.links;
        links.clear();
        self.pairs
            .links(self.trail.len(), second_first, &mut |link| links.push(link));
        for &(from, to) in &self.links {
            if !self.order.insert(from, to)? {
                let on_cycle = self.order.way_back(to, from);
                self.order.retract(edges);
                let earlier = on_cycle.into_iter().filter(|edge| *edge < edges);
                let decision = |edge| self.trail.partition_point(|made| made.edges <= edge) - 1;
                let mut blame: Blame = earlier.map(|edge| decision(edge) as u32).collect();
                blame.sort_unstable();
                blame.dedup();
                return Ok(Err(blame));
            }
        }
        self.trail.push(Decision {
            second_first,
            edges,
            forced_by: forced_by.map(|blame| blame.as_slice().into()),
        });
        Ok(Ok(()))
    }

    /// Takes back choices up to the latest one to blame that can be made the other way.
    fn back(&mut self, mut blame: Blame) -> Result<bool, Spent> {
        while let Some(culprit) = blame.pop() {
            let Decision {
                second_first,
                edges,
                forced_by,
            } = self.trail.swap_remove(culprit as usize);
            self.trail.truncate(culprit as usize);
            self.order.retract(edges);
            match forced_by {
                Some(earlier) => merge(&mut blame, earlier.into_vec()),
                None => match self.make(!second_first, Some(&blame))? {
                    Ok(()) => return Ok(true),
                    Err(more) => merge(&mut blame, more),
                },
            }
        }
        Ok(false)
    }
}

fn merge(blame: &mut Blame, more: Blame) {
    blame.extend(more);
    blame.sort_unstable();
    blame.dedup();
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
    /// From which node, and by which later edge, a marked node was reached.
    came: Vec<(u32, u32)>,
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
    fn of(nodes: usize, edges: Vec<Link>, work: Work) -> Result<Option<Self>, Spent> {
        let (out, into) = (Rows::of(nodes, &edges), Rows::turned(nodes, &edges));
        drop(edges);
        let found = Components::of_rows(&out, work.watch).map_err(|stop| Spent(Some(stop)))?;
        if !found.is_empty() {
            return Ok(None);
        }
        let mut place = vec![0; nodes];
        for (at, node) in found.finished.iter().rev().enumerate() {
            place[*node as usize] = at as u32;
        }
        Ok(Some(Self {
            place,
            into,
            out,
            last_out: vec![END; nodes],
            last_into: vec![END; nodes],
            later: Vec::new(),
            mark: vec![0; nodes],
            came: vec![(END, END); nodes],
            round: 0,
            work,
        }))
    }

    fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<u32> = (0..self.place.len() as u32).collect();
        nodes.sort_unstable_by_key(|&node| self.place[node as usize]);
        nodes
    }

    fn is_before(&self, a: u32, b: u32) -> bool {
        self.place[a as usize] < self.place[b as usize]
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
                let (at, edge) = (chain, self.later.get(chain as usize)?);
                let (next, other) = if backward {
                    (edge.before_into, edge.from)
                } else {
                    (edge.before_out, edge.to)
                };
                chain = next;
                Some((other, at))
            });
            let first = rows.row(node).iter().map(|&next| (next, END));
            for (next, by) in first.chain(later) {
                self.work.step()?;
                let place = self.place[next as usize];
                let inside = if backward {
                    place >= bound
                } else {
                    place <= bound
                };
                if inside && self.mark[next as usize] != self.round {
                    self.mark[next as usize] = self.round;
                    self.came[next as usize] = (node, by);
                    found.push(next);
                }
            }
        }
        Ok(Some(found))
    }

    /// The later edges on the way by which the last search came from `start` to `goal`.
    fn way_back(&self, start: u32, goal: u32) -> Vec<usize> {
        let mut way = Vec::new();
        let mut at = goal;
        while at != start {
            let (before, by) = self.came[at as usize];
            if by != END {
                way.push(by as usize);
            }
            at = before;
        }
        way
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
    use super::super::work::Watch;
    use super::*;

    fn work(steps: u64) -> Work {
        let watch = Watch {
            deadline: None,
            memory_max: None,
            growth: None,
            held: 0,
        };
        Work::new(steps, watch)
    }

    /// Of each pair the edges of one choice, and of the other.
    impl Pairs for Vec<[Vec<Link>; 2]> {
        fn len(&self) -> usize {
            self.as_slice().len()
        }

        fn links(&self, pair: usize, second_first: bool, each: &mut dyn FnMut(Link)) {
            let links = &self[pair][usize::from(second_first)];
            links.iter().copied().for_each(each);
        }
    }

    #[test]
    fn choices_are_made_so_that_no_cycle_is_left() {
        let work = work(1000);
        // 0 before 1 before 2; of 3 and 1 either may come first, and then 3 must come before 0.
        let edges = vec![(0, 1), (1, 2)];
        let free = vec![[vec![(1, 3)], vec![(3, 1)]], [vec![(3, 0)], vec![(2, 0)]]];
        let Solved::Order(order) = solve(4, edges.clone(), &free, work) else {
            panic!("there is an order")
        };
        let place = |node| order.iter().position(|&other| other == node);
        assert!(
            place(3) < place(0) && place(0) < place(1) && place(1) < place(2),
            "{order:?}"
        );
        let stuck = vec![[vec![(1, 0)], vec![(2, 0)]]];
        assert_eq!(solve(3, edges, &stuck, work), Solved::None);
        let none: Vec<[Vec<Link>; 2]> = Vec::new();
        assert_eq!(solve(3, vec![(0, 1), (1, 0)], &none, work), Solved::None);
    }

    #[test]
    fn an_order_is_found_exactly_when_some_choice_of_all_pairs_has_one() {
        use rand::{RngExt, SeedableRng};
        let seed = std::env::var("ORDEAL_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(rand::random);
        println!("ORDEAL_SEED={seed}");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut solved = [0; 2];
        for round in 0..3000 {
            let nodes = rng.random_range(3..8);
            let mut link = || (rng.random_range(0..nodes), rng.random_range(0..nodes));
            let mut links = |most: usize| -> Vec<Link> {
                (0..most)
                    .map(|_| link())
                    .filter(|(from, to)| from != to)
                    .collect()
            };
            let edges = links(3);
            let pairs: Vec<[Vec<Link>; 2]> = (0..7).map(|_| [links(2), links(2)]).collect();
            let found = solve(nodes as usize, edges.clone(), &pairs, work(1_000_000));
            let chosen = |choice: u32| {
                let sides = pairs.iter().enumerate();
                let sides = sides.flat_map(|(at, sides)| &sides[(choice >> at & 1) as usize]);
                edges.iter().chain(sides).copied().collect::<Vec<Link>>()
            };
            let alone = Vec::<[Vec<Link>; 2]>::new();
            let acyclic = |links: Vec<Link>| {
                solve(nodes as usize, links, &alone, work(1_000_000)) != Solved::None
            };
            let expected = (0..1 << pairs.len()).any(|choice| acyclic(chosen(choice)));
            match &found {
                Solved::Order(order) => {
                    let place = |node: u32| order.iter().position(|&other| other == node);
                    let agrees = |links: &[Link]| links.iter().all(|(a, b)| place(*a) < place(*b));
                    let each = pairs
                        .iter()
                        .all(|sides| agrees(&sides[0]) || agrees(&sides[1]));
                    assert!(agrees(&edges) && each, "round {round}: {order:?}");
                }
                Solved::None => {}
                Solved::Exhausted(_) => panic!("round {round}: the work ran out"),
            }
            assert_eq!(found != Solved::None, expected, "round {round}");
            solved[usize::from(expected)] += 1;
        }
        assert!(solved[0] > 300 && solved[1] > 300, "lopsided: {solved:?}");
    }
}
