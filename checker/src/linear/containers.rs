//! Queues and priority queues whose elements are unique: decided in O(n log n), proof in hand.
//!
//! An element is *present* from the moment it is put to the moment it is taken. Between two
//! neighbouring ends of operations (invocations, returns) nothing is bound in time: such a *gap* is a
//! moment. Each element is put as late and taken as early as it can be, so that it stands in the way
//! of as few others as possible; what finds an empty container goes where nothing is present.
//!
//! - *Priority queue*: the least element does not mind the others, so its presence is as short as it
//!   can be; the next one is taken in the first gap in which none of the lesser is present; and so on.
//! - *Queue*: x must leave before y when it was put, or taken, wholly before y. An order that keeps
//!   this is found by taking away, again and again, an element that nothing left must precede. When
//!   there is none, let a be the one whose put returned first among those left, and b the one whose
//!   take did: a was put wholly before b, and b was taken wholly before a. No order is legal then,
//!   whatever else happened.
//!
//! Only two things are ever claimed. *Valid*: the order found was replayed on the container, by
//! [`replay`]. *Invalid*: a handful of operations that contradict each other by themselves, which the
//! second engine confirms. All else is left to the search: elements that were put twice, operations of
//! unknown outcome that would have to be given a part. The order of elements, and taking them away one
//! by one, are those of Lee and Mathur, *Efficient Decrease-and-Conquer Linearizability Monitoring*,
//! 2025, and Henzinger, Sezgin and Vafeiadis, *Aspect-Oriented Linearizability Proofs*, 2013.

use std::collections::{BTreeSet, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde_json::Value;

use super::space::Timed;
use crate::model::register::NEVER;
use crate::model::sequence::{Discipline, QueueOp, Taken, precedes};

/// What can be told without a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This order is legal.
    Valid(Vec<u32>),
    /// These operations contradict each other by themselves.
    Invalid(Vec<u32>),
    /// It takes a search.
    Undecided,
}

/// An element's two operations, and the gaps in which they take effect.
#[derive(Clone, Copy, Debug)]
struct Element<'a> {
    value: &'a Value,
    put: u32,
    take: Option<u32>,
    put_gap: u32,
    take_gap: u32,
}

/// A gap that never comes.
const NO_GAP: u32 = u32::MAX;

/// Decides a container whose operations are sorted by invocation.
pub(crate) fn check(discipline: Discipline, operations: &[Timed], classes: &[QueueOp]) -> Outcome {
    if discipline == Discipline::Stack {
        return Outcome::Undecided;
    }
    let elements = match elements(operations, classes) {
        Ok(elements) => elements,
        Err(outcome) => return outcome,
    };
    let gaps = Gaps::new(operations);
    let placed = match discipline {
        Discipline::Queue => in_order(&gaps, &elements, operations, classes),
        Discipline::Priority => by_priority(&gaps, elements),
        Discipline::Stack => Err(Outcome::Undecided),
    };
    let order = placed.and_then(|elements| {
        write_out(&gaps, &elements, operations, classes).ok_or(Outcome::Undecided)
    });
    match order {
        Ok(order) if replay(discipline, operations, classes, &order) => Outcome::Valid(order),
        Ok(_) => Outcome::Undecided,
        Err(outcome) => outcome,
    }
}

/// Pairs puts with takes.
fn elements<'a>(operations: &[Timed], classes: &'a [QueueOp]) -> Result<Vec<Element<'a>>, Outcome> {
    let mut numbers: HashMap<&Value, usize, FixedState> = HashMap::default();
    let mut elements: Vec<Element<'a>> = Vec::new();
    for (number, it) in operations.iter().enumerate() {
        let QueueOp::Put(value) = &classes[it.class as usize] else {
            continue;
        };
        if numbers.insert(value, elements.len()).is_some() {
            return Err(Outcome::Undecided);
        }
        elements.push(Element {
            value,
            put: number as u32,
            take: None,
            put_gap: NO_GAP,
            take_gap: NO_GAP,
        });
    }
    for (number, it) in operations.iter().enumerate() {
        let QueueOp::Take(Taken::Element(value)) = &classes[it.class as usize] else {
            continue;
        };
        let number = number as u32;
        let Some(&at) = numbers.get(value) else {
            return Err(Outcome::Invalid(vec![number]));
        };
        let element = &mut elements[at];
        let mut involved = vec![element.put, number];
        if let Some(other) = element.take.replace(number) {
            involved.push(other);
            return Err(Outcome::Invalid(involved));
        }
        if it.ret < operations[element.put as usize].invoke {
            return Err(Outcome::Invalid(involved));
        }
    }
    // What may not have been put, and was never seen, was not.
    elements.retain(|it| it.take.is_some() || !operations[it.put as usize].is_open());
    Ok(elements)
}

/// The moments between the ends of operations: an operation can take effect from its first gap to
/// its last.
struct Gaps {
    first: Vec<u32>,
    last: Vec<u32>,
    len: u32,
}

impl Gaps {
    fn new(operations: &[Timed]) -> Self {
        let mut ends: Vec<u64> = Vec::with_capacity(operations.len() * 2);
        for (number, it) in operations.iter().enumerate() {
            ends.push(u64::from(it.invoke) << 32 | number as u64);
            if !it.is_open() {
                ends.push(u64::from(it.ret) << 32 | number as u64);
            }
        }
        ends.sort_unstable();
        let (mut first, mut last) = (
            vec![0; operations.len()],
            vec![ends.len() as u32; operations.len()],
        );
        for (gap, end) in ends.iter().enumerate() {
            let (position, number) = ((end >> 32) as u32, *end as u32 as usize);
            if operations[number].invoke == position {
                first[number] = gap as u32;
            } else {
                // The gap before its return.
                last[number] = gap as u32 - 1;
            }
        }
        Gaps {
            first,
            last,
            len: ends.len() as u32 + 1,
        }
    }
}

/// Places the elements of a queue.
fn in_order<'a>(
    gaps: &Gaps,
    elements: &[Element<'a>],
    operations: &[Timed],
    classes: &[QueueOp],
) -> Result<Vec<Element<'a>>, Outcome> {
    let mut elements = sorted(gaps, elements).map_err(|(first, second)| {
        let unknown = |it: &Timed| classes[it.class as usize] == QueueOp::Take(Taken::Unknown);
        if first.take.is_none() && operations.iter().any(unknown) {
            return Outcome::Undecided;
        }
        let both = [first, second];
        let all = both
            .iter()
            .flat_map(|it| std::iter::once(it.put).chain(it.take));
        Outcome::Invalid(all.collect())
    })?;
    let (mut put_first, mut taken) = (0, 0);
    for it in &mut elements {
        put_first = put_first.max(gaps.first[it.put as usize]);
        if let Some(take) = it.take {
            taken = put_first.max(taken).max(gaps.first[take as usize]);
            it.take_gap = taken;
            if taken > gaps.last[take as usize] {
                return Err(Outcome::Undecided);
            }
        }
    }
    let mut put = NO_GAP;
    for it in elements.iter_mut().rev() {
        put = put.min(gaps.last[it.put as usize]).min(it.take_gap);
        it.put_gap = put;
    }
    Ok(elements)
}

/// An order in which elements may leave a queue; two that contradict each other when there is none.
fn sorted<'a>(
    gaps: &Gaps,
    elements: &[Element<'a>],
) -> Result<Vec<Element<'a>>, (Element<'a>, Element<'a>)> {
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
            let [a, b] = [0, 1].map(|side| elements[finishes[side][first[side]]]);
            return Err((a, b));
        };
        gone[number] = true;
        order.push(elements[number]);
    }
    Ok(order)
}

/// Places the elements of a priority queue.
fn by_priority<'a>(
    gaps: &Gaps,
    mut elements: Vec<Element<'a>>,
) -> Result<Vec<Element<'a>>, Outcome> {
    elements.sort_by_key(|it| Rank(it.value));
    let same = |pair: &[Element<'_>]| Rank(pair[0].value) == Rank(pair[1].value);
    if elements.windows(2).any(same) {
        return Err(Outcome::Undecided);
    }
    let mut taken = Taboo::new(gaps.len);
    for it in &mut elements {
        let last = gaps.last[it.put as usize];
        if let Some(take) = it.take {
            let (put, take) = (it.put as usize, take as usize);
            it.take_gap = taken.free_from(gaps.first[take].max(gaps.first[put]));
            if it.take_gap > gaps.last[take] {
                return Err(Outcome::Undecided);
            }
        }
        it.put_gap = last.min(it.take_gap);
        taken.forbid(it.put_gap + 1, it.take_gap.min(gaps.len));
    }
    Ok(elements)
}

/// Gaps in which something is present; the next free one is found by following them.
struct Taboo {
    next: Vec<u32>,
}

impl Taboo {
    fn new(len: u32) -> Self {
        Taboo {
            next: (0..=len).collect(),
        }
    }

    /// The first gap from here on that is free.
    fn free_from(&mut self, gap: u32) -> u32 {
        let mut root = gap;
        while self.next[root as usize] != root {
            root = self.next[root as usize];
        }
        let mut at = gap;
        while at != root {
            at = std::mem::replace(&mut self.next[at as usize], root);
        }
        root
    }

    fn forbid(&mut self, from: u32, to: u32) {
        let mut gap = self.free_from(from.min(to));
        while gap < to {
            self.next[gap as usize] = gap + 1;
            gap = self.free_from(gap + 1);
        }
    }
}

/// The order of all operations: within a gap first what is present leaves, then what comes and goes,
/// then who finds nothing, then what stays.
fn write_out(
    gaps: &Gaps,
    elements: &[Element<'_>],
    operations: &[Timed],
    classes: &[QueueOp],
) -> Option<Vec<u32>> {
    let mut present = Taboo::new(gaps.len);
    let mut placed: Vec<(u32, u8, u32, u32)> = Vec::with_capacity(operations.len());
    for (rank, it) in elements.iter().enumerate() {
        let rank = rank as u32;
        let stays = it.put_gap < it.take_gap;
        placed.push((it.put_gap, if stays { 3 } else { 1 }, rank, it.put));
        if let Some(take) = it.take {
            placed.push((it.take_gap, u8::from(!stays), rank, take));
        }
        present.forbid(it.put_gap + 1, it.take_gap.min(gaps.len));
    }
    for (number, it) in operations.iter().enumerate() {
        if classes[it.class as usize] == QueueOp::Take(Taken::Nothing) {
            let gap = present.free_from(gaps.first[number]);
            if gap > gaps.last[number] {
                return None;
            }
            placed.push((gap, 2, 0, number as u32));
        }
    }
    // A put stands before its take, for the sort is stable.
    placed.sort_by_key(|&(gap, phase, rank, _)| (gap, phase, rank));
    Some(placed.into_iter().map(|(.., number)| number).collect())
}

/// Whether the order keeps to time, and the container allows it.
fn replay(
    discipline: Discipline,
    operations: &[Timed],
    classes: &[QueueOp],
    order: &[u32],
) -> bool {
    let mut seen = vec![false; operations.len()];
    let mut latest_invoke = 0;
    let mut queue: VecDeque<&Value> = VecDeque::new();
    let mut heap: BTreeSet<Rank<'_>> = BTreeSet::new();
    for &number in order {
        let it = operations[number as usize];
        if std::mem::replace(&mut seen[number as usize], true) || it.ret < latest_invoke {
            return false;
        }
        latest_invoke = latest_invoke.max(it.invoke);
        let first = match discipline {
            Discipline::Queue => queue.front().copied(),
            Discipline::Stack => queue.back().copied(),
            Discipline::Priority => heap.first().map(|rank| rank.0),
        };
        match &classes[it.class as usize] {
            QueueOp::Put(value) if discipline == Discipline::Priority => {
                heap.insert(Rank(value));
            }
            QueueOp::Put(value) => queue.push_back(value),
            QueueOp::Take(Taken::Nothing) if first.is_none() => {}
            QueueOp::Take(Taken::Element(value)) if first == Some(value) => match discipline {
                Discipline::Queue => drop(queue.pop_front()),
                Discipline::Stack => drop(queue.pop_back()),
                Discipline::Priority => drop(heap.pop_first()),
            },
            QueueOp::Take(_) => return false,
        }
    }
    let missing = |(seen, it): (&bool, &Timed)| !seen && it.ret != NEVER;
    !seen.iter().zip(operations).any(missing)
}

/// Elements by priority.
#[derive(Clone, Copy)]
struct Rank<'a>(&'a Value);

impl Ord for Rank<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (precedes(self.0, other.0), precedes(other.0, self.0)) {
            (true, true) => std::cmp::Ordering::Equal,
            (true, false) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        }
    }
}

impl PartialOrd for Rank<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank<'_> {}
