//! Queues, stacks and priority queues whose elements are unique: decided in about O(n log n).
//!
//! An element is *present* from the moment it is put to the moment it is taken. Each is put as late and
//! taken as early as it can be, so that it stands in the way of as few others as possible; what finds
//! an empty container goes where nothing is present.
//!
//! - *Priority queue*: the least element does not mind the others, so its presence is as short as it
//!   can be; the next one is taken in the first gap in which none of the lesser is present, which makes
//!   its presence the shortest there is; and so on. When there is no gap left, there is no order.
//! - *Queue*: see [`fifo`].
//! - *Stack*: see [`stack`].
//!
//! What is legal is legal without any of its elements. So a contradiction is made small by leaving
//! elements out, and where the outcome of takes is unknown, it is looked for among the elements that
//! were surely taken by others. For a legal order such takes are given, first come first served, to elements
//! that must have left before others could.

use std::collections::{BTreeSet, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde_json::Value;

use super::{Gaps, NO_GAP, Outcome, Structured, Taboo, fifo, keeps_to_time, least, stack};
use crate::linear::budget::Meter;
use crate::linear::space::Timed;
use crate::model::sequence::{Discipline, Queue, QueueOp, Taken, precedes};

/// An element's two operations, and the gaps in which they take effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    value: &'a Value,
    pub(super) put: u32,
    pub(super) take: Option<u32>,
    pub(super) put_gap: u32,
    pub(super) take_gap: u32,
}

impl Element<'_> {
    pub(super) fn operations(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.put).chain(self.take)
    }

    /// It is surely present behind the first of these gaps, and before the second.
    pub(super) fn core(&self, gaps: &Gaps) -> (u32, u32) {
        let end = self.take.map_or(gaps.len, |take| gaps.first[take as usize]);
        (gaps.last[self.put as usize], end)
    }
}

/// Steps that making a contradiction small may take.
const LOOKS_MAX: usize = 2_000_000;

impl Structured for Queue {
    fn decide(&self, operations: &[Timed], classes: &[QueueOp], meter: &mut Meter<'_>) -> Outcome {
        match check(self.0, operations, classes) {
            Outcome::Valid(order) if !self.allows(operations, classes, &order, meter) => {
                Outcome::Undecided
            }
            outcome => outcome,
        }
    }

    fn allows(
        &self,
        operations: &[Timed],
        classes: &[QueueOp],
        order: &[u32],
        _: &Meter<'_>,
    ) -> bool {
        let discipline = self.0;
        let mut row: VecDeque<&Value> = VecDeque::new();
        let mut heap: BTreeSet<Rank<'_>> = BTreeSet::new();
        let mut step = |number: u32| {
            let seen = match &classes[operations[number as usize].class as usize] {
                QueueOp::Put(value) if discipline == Discipline::Priority => {
                    return heap.insert(Rank(value));
                }
                QueueOp::Put(value) => {
                    row.push_back(value);
                    return true;
                }
                QueueOp::Take(seen) => seen,
            };
            let first = match discipline {
                Discipline::Queue => row.pop_front(),
                Discipline::Stack => row.pop_back(),
                Discipline::Priority => heap.pop_first().map(|rank| rank.0),
            };
            match seen {
                Taken::Nothing => first.is_none(),
                Taken::Element(value) => first == Some(value),
                Taken::Unknown => true,
            }
        };
        keeps_to_time(operations, order) && order.iter().all(|&number| step(number))
    }
}

/// Decides a container whose operations are sorted by invocation.
fn check(discipline: Discipline, operations: &[Timed], classes: &[QueueOp]) -> Outcome {
    let container = Container {
        discipline,
        operations,
        classes,
        gaps: Gaps::new(operations),
    };
    let mut elements = match elements(operations, classes) {
        Ok(elements) => elements,
        Err(outcome) => return outcome,
    };
    let unknown = container.all(&QueueOp::Take(Taken::Unknown));
    let nothing = container.all(&QueueOp::Take(Taken::Nothing));
    if discipline == Discipline::Queue {
        return match fifo::place(&container.gaps, &elements, &nothing, &unknown) {
            Ok((gaps, placed)) => Container { gaps, ..container }.outcome(&placed, &nothing),
            Err(contradiction) => Outcome::Invalid(contradiction),
        };
    }
    let mut unused: Option<&[u32]> = None;
    if !unknown.is_empty() {
        let surely = elements.iter().filter(|it| it.take.is_some());
        let surely: Vec<Element<'_>> = surely.copied().collect();
        if let Err(Outcome::Invalid(contradiction)) = container.place(&surely, &nothing, None) {
            return Outcome::Invalid(contradiction);
        }
        unused = Some(container.give(&mut elements, &nothing, &unknown));
    }
    match container.place(&elements, &nothing, unused) {
        Ok(placed) => container.outcome(&placed, &nothing),
        Err(_) if !unknown.is_empty() => Outcome::Undecided,
        Err(outcome) => outcome,
    }
}

/// What is asked about.
struct Container<'a> {
    discipline: Discipline,
    operations: &'a [Timed],
    classes: &'a [QueueOp],
    gaps: Gaps,
}

impl Container<'_> {
    fn all(&self, op: &QueueOp) -> Vec<u32> {
        let numbers = 0..self.operations.len() as u32;
        let is = |&it: &u32| self.classes[self.operations[it as usize].class as usize] == *op;
        numbers.filter(is).collect()
    }

    /// The order of all operations, if there is one.
    fn outcome(&self, placed: &[Element<'_>], nothing: &[u32]) -> Outcome {
        let order = self.write_out(placed, nothing);
        order.map_or(Outcome::Undecided, Outcome::Valid)
    }

    /// Where the elements of a stack or a priority queue go, or why they cannot.
    fn place<'a>(
        &self,
        elements: &[Element<'a>],
        nothing: &[u32],
        unused: Option<&[u32]>,
    ) -> Result<Vec<Element<'a>>, Outcome> {
        let gaps = &self.gaps;
        if unused.is_none()
            && let Err((who, throughout)) = free_gaps(gaps, elements, nothing)
        {
            let present = throughout.iter().flat_map(Element::operations);
            return Err(present.chain([who]).collect::<Vec<_>>().into());
        }
        if self.discipline == Discipline::Priority {
            return by_priority(gaps, elements);
        }
        stack::place(gaps, elements, unused.unwrap_or_default()).map_err(|unordered| {
            let involved = unordered.iter().flat_map(Element::operations);
            involved.collect::<Vec<_>>().into()
        })
    }

    /// Gives takes of unknown outcome to elements that must have left before others could, or before
    /// nothing was found; the takes that are left.
    fn give<'u>(
        &self,
        elements: &mut [Element<'_>],
        nothing: &[u32],
        unknown: &'u [u32],
    ) -> &'u [u32] {
        let gaps = &self.gaps;
        let mut deadlines = Deadlines::new(gaps.len);
        for &number in nothing {
            let number = number as usize;
            deadlines.add(gaps.first[number], gaps.last[number]);
        }
        // Those that were taken come before those that they may have had to wait for.
        let mut turns: Vec<usize> = (0..elements.len()).collect();
        if self.discipline == Discipline::Priority {
            turns.sort_by_key(|&it| {
                let it = &elements[it];
                (std::cmp::Reverse(Rank(it.value)), it.take.is_none())
            });
        } else {
            turns.sort_by_key(|&it| {
                let (put, stays) = (elements[it].put as usize, elements[it].take.is_none());
                let turn = if stays {
                    gaps.first[put]
                } else {
                    gaps.last[put] + 1
                };
                (turn, stays)
            });
        }
        let mut hurried = Vec::new();
        for number in turns {
            let it = &elements[number];
            let put = it.put as usize;
            if let Some(take) = it.take.map(|it| it as usize) {
                deadlines.add(gaps.first[take], gaps.last[take]);
            } else if let Some(deadline) = deadlines.after(gaps.last[put]) {
                hurried.push((deadline, number));
            }
        }
        hurried.sort_unstable();
        let given = hurried.len().min(unknown.len());
        for ((_, number), &take) in hurried.into_iter().zip(unknown) {
            elements[number].take = Some(take);
        }
        &unknown[given..]
    }

    /// The order of all operations: within a gap first what is present leaves, then what comes and
    /// goes, then who finds nothing, then what stays.
    fn write_out(&self, elements: &[Element<'_>], nothing: &[u32]) -> Option<Vec<u32>> {
        let gaps = &self.gaps;
        let mut present = Taboo::new(gaps.len);
        let mut placed: Vec<(u32, u8, u32, u32)> = Vec::with_capacity(self.operations.len());
        for (rank, it) in elements.iter().enumerate() {
            let rank = rank as u32;
            let stays = it.put_gap < it.take_gap;
            placed.push((it.put_gap, if stays { 3 } else { 1 }, rank, it.put));
            if let Some(take) = it.take {
                let leaves = match self.discipline {
                    Discipline::Stack if stays => u32::MAX - rank,
                    _ => rank,
                };
                placed.push((it.take_gap, u8::from(!stays), leaves, take));
            }
            present.forbid(it.put_gap + 1, it.take_gap.min(gaps.len));
        }
        for &number in nothing {
            let gap = present.free_from(gaps.first[number as usize]);
            if gap > gaps.last[number as usize] {
                return None;
            }
            placed.push((gap, 2, 0, number));
        }
        // A put stands before its take, for the sort is stable.
        placed.sort_by_key(|&(gap, phase, rank, _)| (gap, phase, rank));
        Some(placed.into_iter().map(|(.., number)| number).collect())
    }
}

/// The least deadline of what begins after a gap: a Fenwick tree over the gaps, from the last one.
struct Deadlines {
    least: Vec<u32>,
}

impl Deadlines {
    fn new(len: u32) -> Self {
        Deadlines {
            least: vec![NO_GAP; len as usize + 2],
        }
    }

    fn add(&mut self, begins: u32, deadline: u32) {
        let mut at = self.least.len() - 1 - begins as usize;
        while at < self.least.len() {
            self.least[at] = self.least[at].min(deadline);
            at += at & at.wrapping_neg();
        }
    }

    /// Of all that begin after this gap.
    fn after(&self, gap: u32) -> Option<u32> {
        let mut at = (self.least.len() - 1).saturating_sub(gap as usize + 1);
        let mut least = NO_GAP;
        while at > 0 {
            least = least.min(self.least[at]);
            at &= at - 1;
        }
        (least != NO_GAP).then_some(least)
    }
}

/// For each that found nothing the first gap in which no element is surely present; or one for which
/// there is none, and elements that were present while it was open, one after the other.
pub(super) fn free_gaps<'a>(
    gaps: &Gaps,
    elements: &[Element<'a>],
    nothing: &[u32],
) -> Result<Vec<u32>, (u32, Vec<Element<'a>>)> {
    let mut present = Taboo::new(gaps.len);
    for it in elements {
        let (start, end) = it.core(gaps);
        present.forbid(start + 1, end);
    }
    let mut free = Vec::with_capacity(nothing.len());
    for &who in nothing {
        let (mut gap, last) = (gaps.first[who as usize], gaps.last[who as usize]);
        free.push(present.free_from(gap));
        if free.last() <= Some(&last) {
            continue;
        }
        let mut throughout = Vec::new();
        while gap <= last {
            // One of them is still there, for the gap is not free.
            let before = elements.iter().rev().filter(|it| it.core(gaps).0 < gap);
            let longest = before
                .max_by_key(|it| it.core(gaps).1)
                .expect("the gap is not free");
            throughout.push(*longest);
            gap = longest.core(gaps).1;
        }
        return Err((who, throughout));
    }
    Ok(free)
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
        if it.is_open() {
            return Err(Outcome::Undecided);
        }
        let number = number as u32;
        let Some(&at) = numbers.get(value) else {
            return Err(vec![number].into());
        };
        let element = &mut elements[at];
        let mut involved = vec![element.put, number];
        if let Some(other) = element.take.replace(number) {
            involved.push(other);
            return Err(involved.into());
        }
        if it.ret < operations[element.put as usize].invoke {
            return Err(involved.into());
        }
    }
    // What may not have been put, and was never seen, was not.
    elements.retain(|it| it.take.is_some() || !operations[it.put as usize].is_open());
    Ok(elements)
}

/// Places the elements of a priority queue.
fn by_priority<'a>(gaps: &Gaps, elements: &[Element<'a>]) -> Result<Vec<Element<'a>>, Outcome> {
    let mut elements = elements.to_vec();
    elements.sort_by_key(|it| Rank(it.value));
    let same = |pair: &[Element<'_>]| Rank(pair[0].value) == Rank(pair[1].value);
    if elements.windows(2).any(same) {
        return Err(Outcome::Undecided);
    }
    least_first(gaps, &elements).map_err(|upto| {
        let late = elements[upto];
        let with = |lesser: &[Element<'_>]| {
            let all: Vec<Element<'_>> = lesser.iter().copied().chain([late]).collect();
            least_first(gaps, &all).is_err()
        };
        let mut involved = least(elements[..upto].to_vec(), LOOKS_MAX, with);
        involved.push(late);
        Outcome::from(
            involved
                .iter()
                .flat_map(Element::operations)
                .collect::<Vec<_>>(),
        )
    })
}

/// The elements placed one after the other; the first for which there is no place.
fn least_first<'a>(gaps: &Gaps, elements: &[Element<'a>]) -> Result<Vec<Element<'a>>, usize> {
    let mut elements = elements.to_vec();
    let mut taken = Taboo::new(gaps.len);
    for (number, it) in elements.iter_mut().enumerate() {
        let last = gaps.last[it.put as usize];
        if let Some(take) = it.take {
            let (put, take) = (it.put as usize, take as usize);
            it.take_gap = taken.free_from(gaps.first[take].max(gaps.first[put]));
            if it.take_gap > gaps.last[take] {
                return Err(number);
            }
        }
        it.put_gap = last.min(it.take_gap);
        taken.forbid(it.put_gap + 1, it.take_gap.min(gaps.len));
    }
    Ok(elements)
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
