//! The second engine: breadth-first, kept plain so that it can judge the others.
//!
//! It walks the history in time and holds every configuration the object could be in: its state and
//! which open operations have already taken effect. When an operation returns, configurations in
//! which it cannot have taken effect die. No pruning but the removal of duplicates: what it says
//! rests on nothing but the definition of linearizability.

use hashbrown::HashSet;
use smallvec::SmallVec;

use super::budget::{Meter, Spent};
use super::space::{Space, Timed};

/// A state, and the open operations that took effect, sorted.
type Configuration = (u32, SmallVec<[u32; 6]>);

/// Whether the operations, sorted by invocation, can be put in a legal order: none when they can,
/// else the operation whose return no order gets past.
pub(crate) fn check(
    space: &mut impl Space,
    operations: &[Timed],
    meter: &mut Meter<'_>,
) -> Result<Option<u32>, Spent> {
    let mut returns: Vec<u32> = (0..operations.len() as u32).collect();
    returns.retain(|&number| !operations[number as usize].is_open());
    returns.sort_unstable_by_key(|&number| operations[number as usize].ret);
    let mut frontier: Vec<Configuration> = vec![(space.initial(), SmallVec::new())];
    let mut open: Vec<u32> = Vec::new();
    let mut invoked = 0;
    for &returning in &returns {
        let ret = operations[returning as usize].ret;
        while invoked < operations.len() && operations[invoked].invoke < ret {
            open.push(invoked as u32);
            invoked += 1;
        }
        frontier = through(space, operations, frontier, &open, returning, meter)?;
        if frontier.is_empty() {
            return Ok(Some(returning));
        }
        open.retain(|&number| number != returning);
    }
    Ok(None)
}

/// All configurations in which `returning` has taken effect, it no longer being open.
fn through(
    space: &mut impl Space,
    operations: &[Timed],
    frontier: Vec<Configuration>,
    open: &[u32],
    returning: u32,
    meter: &mut Meter<'_>,
) -> Result<Vec<Configuration>, Spent> {
    let mut seen: HashSet<Configuration, foldhash::fast::FixedState> = HashSet::default();
    let mut next = HashSet::<Configuration, foldhash::fast::FixedState>::default();
    let mut work = frontier;
    while let Some((state, done)) = work.pop() {
        meter.step()?;
        if let Ok(at) = done.binary_search(&returning) {
            let mut done = done;
            done.remove(at);
            next.insert((state, done));
            continue;
        }
        for &number in open {
            let Err(at) = done.binary_search(&number) else {
                continue;
            };
            if let Some(state) = space.step(state, operations[number as usize].class) {
                let mut done = done.clone();
                done.insert(at, number);
                let configuration = (state, done);
                if !seen.contains(&configuration) {
                    seen.insert(configuration.clone());
                    work.push(configuration);
                }
            }
        }
        let each = size_of::<Configuration>() as u64 + 1;
        meter.hold((seen.capacity() + next.capacity() + work.capacity()) as u64 * each)?;
    }
    Ok(next.into_iter().collect())
}
