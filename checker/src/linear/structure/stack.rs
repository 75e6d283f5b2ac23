//! Where the elements of a stack go.
//!
//! An element that was taken only after its put had returned is surely there in between: its *core*.
//! Any other can be put and taken at one moment, whatever the stack holds, and is no matter. Presences
//! in a stack are nested or apart. So of elements whose cores hang together one must lie below all
//! others: one that can be put before the first core begins and taken after the last has ended. Any
//! that can be may be: from an order with another one at the bottom, an order with this one at
//! the bottom is made by stretching its presence, and cutting all presences down to the
//! stretch of the cores. When there is none, these elements contradict each other. With the bottom taken
//! away the cores may fall apart, and so on; an order is found exactly when there is one.
//!
//! When there is no bottom and elements are left that nobody is known to have taken, the first of these
//! must have been taken: what hangs together before it was, and nothing can lie below both. A take of
//! unknown outcome is given to it, first come, first served.

use super::{Gaps, Taboo, least, queues::Element};

/// An element with a core, by its gaps.
#[derive(Clone, Copy)]
struct Core {
    number: usize,
    put_from: u32,
    start: u32,
    end: u32,
    take_upto: u32,
    take: Option<u32>,
}

/// Steps that making a contradiction small may take.
const LOOKS_MAX: usize = 2_000_000;

/// Places the elements, who lies lower first; those that contradict each other when there is no order.
/// Takes of unknown outcome are given to those that need them.
pub(super) fn place<'a>(
    gaps: &Gaps,
    elements: &[Element<'a>],
    unknown: &[u32],
) -> Result<Vec<Element<'a>>, Vec<Element<'a>>> {
    let mut placed = elements.to_vec();
    let mut cores = Vec::new();
    for (number, it) in placed.iter_mut().enumerate() {
        let (take_from, take_upto) = it.take.map_or((gaps.len, gaps.len), |take| {
            (gaps.first[take as usize], gaps.last[take as usize])
        });
        let put = it.put as usize;
        let core = Core {
            number,
            put_from: gaps.first[put],
            start: gaps.last[put],
            end: take_from,
            take_upto,
            take: it.take,
        };
        if core.start < core.end {
            cores.push(core);
        } else {
            it.put_gap = core.put_from.max(core.end);
            it.take_gap = it.put_gap;
        }
    }
    let spare = unknown
        .iter()
        .map(|&take| (gaps.first[take as usize], take));
    let nested = nest(&cores, spare).map_err(|unordered| {
        let none = || std::iter::empty();
        let least = least(unordered, LOOKS_MAX, |cores| nest(cores, none()).is_err());
        let numbers = least.iter().map(|core| core.number);
        numbers.map(|it| elements[it]).collect::<Vec<_>>()
    })?;
    let mut order = Vec::with_capacity(elements.len());
    for (core, put_gap, take_gap) in nested {
        let it = &mut placed[core.number];
        (it.take, it.put_gap, it.take_gap) = (core.take, put_gap, take_gap);
        if put_gap < take_gap {
            order.push(*it);
        }
    }
    order.extend(placed.iter().filter(|it| it.put_gap == it.take_gap));
    Ok(order)
}

/// The cores from the lowest up, each with the gaps in which it is put and taken; all that hang
/// together and have no bottom when there is no order. Of those that nobody took, spare takes are
/// given to those that need them.
fn nest(
    cores: &[Core],
    mut spare: impl Iterator<Item = (u32, u32)>,
) -> Result<Vec<(Core, u32, u32)>, Vec<Core>> {
    let mut cores = cores.to_vec();
    cores.sort_unstable_by_key(|core| core.start);
    let mut ends = Ends::new(&cores);
    let mut left = Taboo::new(cores.len() as u32);
    let mut nested = Vec::with_capacity(cores.len());
    let mut work: Vec<std::ops::Range<usize>> = std::iter::once(0..cores.len()).collect();
    while let Some(range) = work.pop() {
        let from = left.free_from(range.start as u32) as usize;
        if from >= range.end {
            continue;
        }
        // As far as they hang together; of those before them none is left.
        let (mut upto, mut last) = (from + 1, from);
        loop {
            let end = cores[last].end;
            let reached = cores.partition_point(|core| core.start < end);
            if reached.min(range.end) <= upto {
                break;
            }
            upto = reached.min(range.end);
            last = ends.last(upto).expect("there is one left");
        }
        let (start, end) = (cores[from].start, cores[last].end);
        work.push(upto..range.end);
        work.push(from..upto);
        let all = (from..upto).filter(|&it| ends.has(it));
        let fits = |&it: &usize| cores[it].put_from <= start && cores[it].take_upto >= end;
        let bottom = [from, last].into_iter().chain(all.clone()).find(fits);
        let gone = if let Some(bottom) = bottom {
            nested.push((cores[bottom], start, end));
            bottom
        } else {
            let all: Vec<usize> = all.collect();
            let open = all.iter().find(|&&it| cores[it].take.is_none());
            let (Some(&open), Some((first, take))) = (open, spare.next()) else {
                return Err(all.into_iter().map(|it| cores[it]).collect());
            };
            let core = &mut cores[open];
            (core.take, core.end) = (Some(take), first);
            if core.start < core.end {
                ends.set(open, Some((first, open)));
                continue;
            }
            nested.push((*core, core.start, core.start));
            open
        };
        ends.set(gone, None);
        left.forbid(gone as u32, gone as u32 + 1);
    }
    Ok(nested)
}

/// Of the first cores, the one that ends last: a tournament.
struct Ends {
    half: usize,
    /// The core that ends last below each node; ends first, for the comparison.
    tree: Vec<Option<(u32, usize)>>,
}

impl Ends {
    fn new(cores: &[Core]) -> Self {
        let half = (cores.len() + 1).next_power_of_two();
        let mut tree = vec![None; half * 2];
        for (number, core) in cores.iter().enumerate() {
            tree[half + number] = Some((core.end, number));
        }
        for node in (1..half).rev() {
            tree[node] = tree[node * 2].max(tree[node * 2 + 1]);
        }
        Ends { half, tree }
    }

    fn has(&self, number: usize) -> bool {
        self.tree[self.half + number].is_some()
    }

    fn set(&mut self, number: usize, end: Option<(u32, usize)>) {
        let mut node = self.half + number;
        self.tree[node] = end;
        while node > 1 {
            node /= 2;
            self.tree[node] = self.tree[node * 2].max(self.tree[node * 2 + 1]);
        }
    }

    fn last(&self, upto: usize) -> Option<usize> {
        let (mut node, mut best) = (self.half + upto, None);
        while node > 1 {
            // Below its left neighbour are those before it.
            if node % 2 == 1 {
                best = best.max(self.tree[node - 1]);
            }
            node /= 2;
        }
        best.map(|(_, number)| number)
    }
}
