//! What the structure of an object decides without a search, near-linear.
//!
//! Only two things are ever claimed. *Valid*: the order found was replayed on the object, in one pass.
//! *Invalid*: a handful of operations that contradict each other by themselves, whatever the others did, or
//! a proof that no order is legal; what is shown is confirmed by the second engine. All else is left to the
//! search: what was put twice, or operations of unknown outcome that would have to be given a part.
//!
//! Between two neighbouring ends of operations (invocations, returns) nothing is bound in time: such a
//! *gap* is a moment, and an operation takes effect in one of the gaps from its first to its last.

mod climb;
mod counter;
mod fifo;
mod levels;
mod log;
mod members;
mod queues;
mod set;
mod stack;
mod sums;
mod text;

use super::budget::Meter;
use super::space::Timed;
use crate::model::Specification;
use crate::model::register::NEVER;

/// A specification whose objects can be decided by their structure.
pub(crate) trait Structured: Specification {
    /// Decides the operations of an object, which are sorted by invocation, if its structure does. One that is
    /// open may have an answer, which it got if it happened; none that is open only observes.
    fn decide(&self, operations: &[Timed], classes: &[Self::Op], meter: &mut Meter<'_>) -> Outcome;

    /// Whether the order keeps to time, and the object allows it; never when the time ended. Only such orders
    /// are found valid.
    fn allows(
        &self,
        operations: &[Timed],
        classes: &[Self::Op],
        order: &[u32],
        meter: &Meter<'_>,
    ) -> bool;

    /// Reads a call that was answered with this text, when the answer is a list that may be long: as numbers in
    /// the room given, not as values.
    fn read_list(&self, _f: &str, _text: &[u8], _room: &mut Vec<u32>) -> Option<Self::Op> {
        None
    }

    /// What an operation says of that which a contradiction is about.
    fn narrow(&self, op: &Self::Op, _about: &[String]) -> Self::Op {
        op.clone()
    }
}

/// What can be told without a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This order is legal.
    Valid(Vec<u32>),
    /// It is not legal.
    Invalid(Contradiction),
    /// It is not legal, and what shows it is to be looked for where these operations end.
    Illegal(Vec<u32>),
    /// It takes a search.
    Undecided,
}

/// Operations that contradict each other by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) operations: Vec<u32>,
    /// The members of a set that it is about; none: whatever the operations are about.
    pub(crate) about: Vec<String>,
    /// In words.
    pub(crate) why: Option<String>,
}

impl From<Vec<u32>> for Contradiction {
    fn from(operations: Vec<u32>) -> Self {
        Contradiction {
            operations,
            ..Contradiction::default()
        }
    }
}

impl From<Vec<u32>> for Outcome {
    fn from(operations: Vec<u32>) -> Self {
        Outcome::Invalid(operations.into())
    }
}

/// A gap that never comes.
const NO_GAP: u32 = u32::MAX;

/// The gaps in which operations can take effect.
#[derive(Clone)]
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

/// Gaps in which something is; the next free one is found by following them.
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

/// Whether the order has each operation that returned, none twice, and none after one that was
/// invoked only after it had returned.
fn keeps_to_time(operations: &[Timed], order: &[u32]) -> bool {
    let mut seen = vec![false; operations.len()];
    let mut latest_invoke = 0;
    let in_time = order.iter().all(|&number| {
        let it = operations[number as usize];
        let fits = !std::mem::replace(&mut seen[number as usize], true) && it.ret >= latest_invoke;
        latest_invoke = latest_invoke.max(it.invoke);
        fits
    });
    let missing = |(seen, it): (&bool, &Timed)| !seen && it.ret != NEVER;
    in_time && !seen.iter().zip(operations).any(missing)
}

/// The items without those that are not needed for `holds`, looked for in halves, quarters and so on;
/// with so many looks at an item at most.
fn least<T: Clone>(items: Vec<T>, mut looks: usize, holds: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut left = items;
    let mut chunk = left.len() / 2;
    while chunk > 0 {
        let before = left.len();
        let mut end = left.len();
        while end > 0 && looks >= left.len() {
            looks -= left.len();
            let start = end.saturating_sub(chunk);
            let fewer = [&left[..start], &left[end.min(left.len())..]].concat();
            if holds(&fewer) {
                left = fewer;
            }
            end = start.min(left.len());
        }
        if left.len() == before || chunk > 1 {
            chunk /= 2;
        }
    }
    left
}
