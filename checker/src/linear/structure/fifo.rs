//! Where the elements of a queue go.
//!
//! # Why it is exact
//!
//! *Order.* x must leave before y when it was put, or taken, wholly before y; what was taken was put by
//! then. An order that keeps this is found by taking away, again and again, an element that nothing left
//! must precede. When there is none, let a be the one whose put returned first among those left, and
//! b the one whose take did: a was put wholly before b, and b was taken wholly before a. No order is
//! legal then, whatever else happened.
//!
//! *What found nothing* takes effect in a gap in which no element is surely there: put by then, and its
//! take not yet invoked. Any such gap will do. What had been put by then, or taken, goes before this
//! *cut*, and can, for its take had been invoked; all else goes after it, and can, for its put had not
//! returned. Nothing that goes after must precede an x that goes before: x had been invoked to be put and
//! to be taken by then, so what was put, or taken, wholly before x had returned from that by then, and
//! goes before the cut itself. So the cuts part the queue into queues that know nothing of each
//! other, and each has an order if the whole has one.
//!
//! *Takes of unknown outcome* are given to the elements that nobody is known to have taken: the one whose
//! put returned first gets the take that was invoked first, and so on. No other way to give them does
//! better: whatever an element must have left before (a cut, or an element that was put wholly after
//! it), those whose puts returned even sooner must have left before, too; and of as many takes, these
//! are there the soonest. When a contradiction is about one that got its take too late, or got none, so it is
//! about those whose puts returned sooner, and the takes that they got.
//!
//! The order of elements is that of Henzinger, Sezgin and Vafeiadis, *Aspect-Oriented Linearizability
//! Proofs*, 2013; to cut at what found nothing, of Bouajjani, Emmi, Enea and Hamza, *On Reducing
//! Linearizability to State Reachability*, 2015; to take elements away one by one, of Lee and Mathur,
//! *Efficient Decrease-and-Conquer Linearizability Monitoring*, 2025.

use super::queues::{Element, free_gaps};
use super::{Contradiction, Gaps, NO_GAP};

/// Places the elements, in the order in which they leave. The gaps are halved, and each operation's
/// are those between the cuts.
pub(super) fn place<'a>(
    gaps: &Gaps,
    elements: &[Element<'a>],
    nothing: &[u32],
    unknown: &[u32],
) -> Result<(Gaps, Vec<Element<'a>>), Contradiction> {
    let queue = Fifo::new(gaps, elements, unknown);
    let halves = queue.halves(nothing)?;
    let order = match sorted(&halves, &queue.elements) {
        Ok(order) => order,
        Err(between) => {
            // Cuts make no order impossible: so it is without them.
            let pair = sorted(&queue.gaps, &queue.elements)
                .err()
                .unwrap_or(between);
            return Err(queue.involved(&pair).into());
        }
    };
    let placed = in_order(&halves, order);
    Ok((halves, placed))
}

struct Fifo<'a, 'u> {
    /// In which an operation can take effect, its element's other one considered.
    gaps: Gaps,
    /// Those that are known to have been taken first; then those that were given takes of unknown outcome.
    elements: Vec<Element<'a>>,
    known: usize,
    unknown: &'u [u32],
}

impl<'a, 'u> Fifo<'a, 'u> {
    fn new(gaps: &Gaps, elements: &[Element<'a>], unknown: &'u [u32]) -> Self {
        let (mut elements, mut left): (Vec<Element<'a>>, Vec<Element<'a>>) =
            elements.iter().partition(|it| it.take.is_some());
        left.sort_by_key(|it| gaps.last[it.put as usize]);
        for (it, &take) in left.iter_mut().zip(unknown) {
            it.take = Some(take);
        }
        let known = elements.len();
        elements.append(&mut left);
        let mut gaps = gaps.clone();
        for it in &elements {
            if let Some(take) = it.take {
                let (put, take) = (it.put as usize, take as usize);
                gaps.last[put] = gaps.last[put].min(gaps.last[take]);
                gaps.first[take] = gaps.first[take].max(gaps.first[put]);
            }
        }
        Fifo {
            gaps,
            elements,
            known,
            unknown,
        }
    }

    /// The operations of these elements, and of all that had a better claim to a take of unknown outcome.
    fn involved(&self, elements: &[Element<'_>]) -> Vec<u32> {
        let mut operations = Vec::new();
        for it in elements {
            let given = &self.elements[self.known..];
            match given.iter().position(|given| given.put == it.put) {
                Some(rank) => {
                    operations.extend(given[..=rank].iter().map(|it| it.put));
                    operations.extend(self.unknown.iter().take(rank));
                }
                None => operations.extend(it.operations()),
            }
        }
        operations
    }

    /// The gaps cut in two where something found nothing, and each element's operations kept between
    /// two cuts.
    fn halves(&self, nothing: &[u32]) -> Result<Gaps, Contradiction> {
        let mut cuts = self.cuts(nothing)?;
        let mut halves = Gaps {
            first: self.gaps.first.iter().map(|&gap| gap * 2).collect(),
            last: self.gaps.last.iter().map(|&gap| gap * 2 + 1).collect(),
            len: self.gaps.len * 2,
        };
        for (&number, &cut) in nothing.iter().zip(&cuts) {
            halves.first[number as usize] = cut * 2;
            halves.last[number as usize] = cut * 2;
        }
        cuts.sort_unstable();
        for it in &self.elements {
            let behind = cuts.partition_point(|&cut| cut <= self.gaps.last[it.put as usize]);
            for number in it.operations() {
                let (first, last) = (
                    &mut halves.first[number as usize],
                    &mut halves.last[number as usize],
                );
                if let Some(before) = cuts[..behind].last() {
                    *first = (*first).max(before * 2 + 1);
                }
                if let Some(after) = cuts.get(behind) {
                    *last = (*last).min(after * 2);
                }
            }
        }
        Ok(halves)
    }

    /// For each that found nothing a gap in which nothing is surely there.
    fn cuts(&self, nothing: &[u32]) -> Result<Vec<u32>, Contradiction> {
        free_gaps(&self.gaps, &self.elements, nothing).map_err(|(who, throughout)| {
            let mut operations = self.involved(&throughout);
            operations.push(who);
            operations.into()
        })
    }
}

/// Places elements that are in order: put as late, and taken as early, as can be.
fn in_order<'a>(gaps: &Gaps, mut elements: Vec<Element<'a>>) -> Vec<Element<'a>> {
    let mut taken = 0;
    for it in &mut elements {
        if let Some(take) = it.take {
            taken = taken.max(gaps.first[take as usize]);
            it.take_gap = taken;
        }
    }
    let mut put = NO_GAP;
    for it in elements.iter_mut().rev() {
        put = put.min(gaps.last[it.put as usize]).min(it.take_gap);
        it.put_gap = put;
    }
    elements
}

/// An order in which elements may leave a queue; two that contradict each other when there is none.
fn sorted<'a>(gaps: &Gaps, elements: &[Element<'a>]) -> Result<Vec<Element<'a>>, [Element<'a>; 2]> {
    let side = |gap: &[u32], number: Option<u32>| number.map_or(NO_GAP, |it| gap[it as usize]);
    let ends = |it: &Element<'_>| {
        let put = Some(it.put);
        [
            (side(&gaps.first, put), side(&gaps.last, put)),
            (side(&gaps.first, it.take), side(&gaps.last, it.take)),
        ]
    };
    let sort = |key: &dyn Fn(&Element<'_>) -> u32| {
        let mut numbers: Vec<usize> = (0..elements.len()).collect();
        numbers.sort_unstable_by_key(|&number| key(&elements[number]));
        numbers
    };
    // For puts and for takes: who begins first, and whose end is first among those left.
    let mut begins = [0, 1].map(|side| sort(&|it| ends(it)[side].0).into_iter().peekable());
    let finishes = [0, 1].map(|side| sort(&|it| ends(it)[side].1));
    let mut first = [0usize; 2];
    let mut gone = vec![false; elements.len()];
    let mut free = vec![0u8; elements.len()];
    let mut ready = std::collections::BinaryHeap::new();
    let mut order = Vec::with_capacity(elements.len());
    while order.len() < elements.len() {
        for side in [0, 1] {
            while gone[finishes[side][first[side]]] {
                first[side] += 1;
            }
            let least = ends(&elements[finishes[side][first[side]]])[side].1;
            while let Some(number) =
                begins[side].next_if(|&number| ends(&elements[number])[side].0 <= least)
            {
                free[number] += 1;
                if free[number] == 2 {
                    let [(_, put), (_, take)] = ends(&elements[number]);
                    ready.push(std::cmp::Reverse((take, put, number)));
                }
            }
        }
        let Some(std::cmp::Reverse((.., number))) = ready.pop() else {
            return Err([0, 1].map(|side| elements[finishes[side][first[side]]]));
        };
        gone[number] = true;
        order.push(elements[number]);
    }
    Ok(order)
}
