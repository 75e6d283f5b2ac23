//! The second engine: breadth-first, kept plain so that it can judge the others.
//!
//! It walks the history in time and holds every configuration the object could be in: its state and
//! which open operations have already taken effect. When an operation returns, configurations in
//! which it cannot have taken effect die. No pruning but the removal of duplicates: what it says
//! rests on nothing but the definition of linearizability. Each configuration knows by which steps it
//! was reached first, so that what is legal has its order.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::budget::{Meter, Spent, grown_by, spilled, while_growing};
use super::space::{Space, Timed};

/// A state, and the open operations that took effect, sorted.
type Configuration = (u32, SmallVec<[u32; 6]>);

/// A step on the way to a configuration: the step before it, and the operation that took effect.
type Step = (u32, u32);

/// Before the first step.
const START: u32 = u32::MAX;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The operations can be put in this order. It lacks those of unknown outcome that nobody needs.
    Legal(Vec<u32>),
    /// No order gets past the return of this operation.
    Stuck(u32),
}

/// Whether the operations, sorted by invocation, can be put in a legal order.
pub(crate) fn check(
    space: &mut impl Space,
    operations: &[Timed],
    meter: &mut Meter<'_>,
) -> Result<Told, Spent> {
    let mut returns: Vec<u32> = (0..operations.len() as u32).collect();
    returns.retain(|&number| !operations[number as usize].is_open());
    returns.sort_unstable_by_key(|&number| operations[number as usize].ret);
    let mut walk = Walk {
        space,
        operations,
        open: Vec::new(),
        steps: Vec::new(),
    };
    let mut frontier = vec![((walk.space.initial(), SmallVec::new()), START)];
    let mut invoked = 0;
    for &returning in &returns {
        let ret = operations[returning as usize].ret;
        while invoked < operations.len() && operations[invoked].invoke < ret {
            walk.open.push(invoked as u32);
            invoked += 1;
        }
        frontier = walk.through(frontier, returning, meter)?;
        if frontier.is_empty() {
            return Ok(Told::Stuck(returning));
        }
        walk.open.retain(|&number| number != returning);
    }
    Ok(Told::Legal(walk.order(frontier[0].1)))
}

struct Walk<'a, S> {
    space: &'a mut S,
    operations: &'a [Timed],
    open: Vec<u32>,
    steps: Vec<Step>,
}

impl<S: Space> Walk<'_, S> {
    /// All configurations in which `returning` has taken effect, it no longer being open.
    fn through(
        &mut self,
        frontier: Vec<(Configuration, u32)>,
        returning: u32,
        meter: &mut Meter<'_>,
    ) -> Result<Vec<(Configuration, u32)>, Spent> {
        let mut seen: HashSet<Configuration, FixedState> = HashSet::default();
        let mut next: HashMap<Configuration, u32, FixedState> = HashMap::default();
        let mut work = frontier;
        // What they hold outside themselves.
        let mut outside: usize = work.iter().map(|((_, done), _)| spilled(done)).sum();
        while let Some(((state, done), last)) = work.pop() {
            meter.step()?;
            outside -= spilled(&done);
            if let Ok(at) = done.binary_search(&returning) {
                let mut done = done;
                done.remove(at);
                outside += spilled(&done);
                next.entry((state, done)).or_insert(last);
                continue;
            }
            for &number in &self.open {
                let Err(at) = done.binary_search(&number) else {
                    continue;
                };
                let class = self.operations[number as usize].class;
                if let Some(state) = self.space.step(state, class) {
                    let mut done = done.clone();
                    done.insert(at, number);
                    let configuration = (state, done);
                    if !seen.contains(&configuration) {
                        if self.steps.len() == START as usize {
                            return Err(Spent::Memory);
                        }
                        outside += 2 * spilled(&configuration.1);
                        seen.insert(configuration.clone());
                        work.push((configuration, self.steps.len() as u32));
                        self.steps.push((last, number));
                    }
                }
            }
            // As many as the next one may lead to.
            let more = self.open.len();
            let bytes = while_growing(seen.len() + more, seen.capacity(), seen.allocation_size())
                + while_growing(next.len() + 1, next.capacity(), next.allocation_size())
                + grown_by(&work, more)
                + grown_by(&self.steps, more)
                + outside;
            meter.hold(bytes as u64 + self.space.memory_bytes())?;
        }
        Ok(next.into_iter().collect())
    }

    /// The operations in the order of the steps that lead to this one.
    fn order(&self, mut last: u32) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(&(before, number)) = self.steps.get(last as usize) {
            order.push(number);
            last = before;
        }
        order.reverse();
        order
    }
}
