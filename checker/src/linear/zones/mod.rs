//! Registers whose observed values were each written once: decided by zones, near-linear.
//!
//! # Why it is exact
//!
//! A value that was seen and written once pins its readers to its writer: in any linearization the
//! writer, then the readers, then the `cas` that replaces the value, stand side by side. A `cas`
//! hangs two such clusters together, so the operations fall into *blocks*, each a chain
//! `write, reads, cas, reads, cas …` that must be contiguous. Writes nobody saw are blocks of one.
//! The initial value is a block whose write returned before all else.
//!
//! *Inside a block* the order of the chain's links is forced, so the block is possible exactly when
//! no operation returns before one of an earlier link is invoked.
//!
//! *Between blocks*: B can stand wholly before C unless some operation of C returned before some
//! operation of B was invoked. With f the least return and s the greatest invocation of a block,
//! B *must* precede C exactly when f(B) < s(C). The history is linearizable exactly when this
//! relation has no cycle, for then its linear extension, each block written out, keeps the real-time
//! order and is legal. And a cycle always holds a cycle of two: of a cycle's blocks let M have the
//! least f. For every block B of the cycle, with P its predecessor there, f(M) ≤ f(P) < s(B), so M
//! must precede all the others, its own predecessor among them, which must precede M. So it is
//! enough to look for two blocks with f(B) < s(C) and f(C) < s(B). Between forward zones (f < s)
//! that is an overlap; a backward zone (s < f) must not lie inside a forward one; two backward zones
//! never clash. One sweep over the zones sorted by their lower end finds it, and that same order is
//! a linear extension. Zones of plain reads and writes are those of Gibbons and Korach, *Testing
//! Shared Memories*, 1997; blocks carry them over to `cas`.
//!
//! Operations of unknown outcome: a value nobody saw may as well not have been written, so its
//! writer is dropped; a value that was seen was written, and its writer never returned.

mod slots;
mod violation;

pub(crate) use violation::Violation;

use super::budget::{Meter, Spent};
use crate::model::register::{Action, NEVER, Operation};
use slots::Slots;

/// What zones can say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is linearizable; in this order, if one was asked for.
    Valid(Option<Vec<u32>>),
    /// These operations cannot all be, and why.
    Invalid(Violation),
    /// A value that was seen was, or may have been, written more than once.
    NotUnique,
    /// The budget ended.
    Spent(Spent),
}

const NONE: u32 = u32::MAX;
/// The writer of the initial value.
const INITIAL: u32 = u32::MAX - 1;

/// What is known of one value.
#[derive(Clone, Copy)]
struct Cluster {
    writer: u32,
    /// The `cas` that replaced it.
    next: u32,
    /// Least return of its readers.
    read_return: u32,
    /// Greatest invocation of its readers, plus one; zero when nobody read it.
    read_invoke: u32,
    seen: bool,
    /// More than one operation wrote it, or may have.
    rewritten: bool,
}

/// A block's zone. Ends are rows plus one, so that the initial value's write is at zero.
#[derive(Clone, Copy)]
struct Zone {
    least_return: u32,
    greatest_invoke: u32,
    root: u32,
}

impl Zone {
    fn lower(&self) -> u32 {
        self.least_return.min(self.greatest_invoke)
    }
}

/// Decides one register; `certify` asks for an order too.
pub(crate) fn check(
    operations: &[Operation],
    initial: u32,
    certify: bool,
    meter: &mut Meter<'_>,
) -> Outcome {
    let decided = Zones::new(operations, initial, meter).and_then(|zones| {
        let sorted = zones.decide(meter)?;
        Ok(certify.then(|| zones.linearization(&sorted)))
    });
    decided.map_or_else(|outcome| outcome, Outcome::Valid)
}

/// The clock is looked at once in so many operations.
const LOOK_EVERY: usize = 1 << 16;

fn look(number: usize, meter: &Meter<'_>) -> Result<(), Outcome> {
    if number.is_multiple_of(LOOK_EVERY) && number > 0 {
        meter.time_left().map_err(Outcome::Spent)?;
    }
    Ok(())
}

struct Zones<'a> {
    operations: &'a [Operation],
    initial: usize,
    slots: Slots,
    clusters: Vec<Cluster>,
    /// The writes, by number: each begins a block.
    roots: Vec<u32>,
    /// How many `cas` happened.
    replaced: usize,
}

impl<'a> Zones<'a> {
    fn new(
        operations: &'a [Operation],
        initial: u32,
        meter: &mut Meter<'_>,
    ) -> Result<Self, Outcome> {
        let (slots, total) = Slots::new(operations, initial);
        let bytes = total * size_of::<Cluster>()
            + slots.memory_bytes()
            + operations.len() / 2 * (size_of::<Zone>() + size_of::<u32>());
        meter.hold(bytes as u64).map_err(Outcome::Spent)?;
        let blank = Cluster {
            writer: NONE,
            next: NONE,
            read_return: NEVER,
            read_invoke: 0,
            seen: false,
            rewritten: false,
        };
        let mut zones = Zones {
            operations,
            initial: slots.of(initial),
            slots,
            clusters: vec![blank; total],
            roots: Vec::with_capacity(operations.len() / 2 + 1),
            replaced: 0,
        };
        zones.clusters[zones.initial].writer = INITIAL;
        zones.gather(meter)?;
        Ok(zones)
    }

    /// Finds each value's writer, readers and replacer.
    fn gather(&mut self, meter: &Meter<'_>) -> Result<(), Outcome> {
        let mut unknown_cas = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            look(number, meter)?;
            let number = number as u32;
            match operation.action {
                Action::Read(value) => {
                    let cluster = &mut self.clusters[self.slots.of(value)];
                    cluster.seen = true;
                    cluster.read_return = cluster.read_return.min(operation.ret);
                    cluster.read_invoke = cluster.read_invoke.max(operation.invoke + 1);
                }
                Action::Write(value) => {
                    self.write(value, number);
                    self.roots.push(number);
                }
                Action::Cas(old, new) => {
                    if old == new {
                        return Err(Outcome::NotUnique);
                    }
                    self.write(new, number);
                    if operation.ret == NEVER {
                        unknown_cas.push(number);
                    } else {
                        self.replace(old, number)?;
                    }
                }
                Action::Differs(_) => return Err(Outcome::NotUnique),
            }
        }
        self.unknown_cas_happened(&unknown_cas)?;
        self.unwritten()
    }

    fn write(&mut self, value: u32, number: u32) {
        let cluster = &mut self.clusters[self.slots.of(value)];
        cluster.rewritten |= cluster.writer != NONE;
        cluster.writer = number;
    }

    fn replace(&mut self, old: u32, number: u32) -> Result<(), Outcome> {
        let cluster = &mut self.clusters[self.slots.of(old)];
        cluster.seen = true;
        if cluster.next != NONE {
            let earlier = cluster.next;
            return Err(self.replaced_twice(old, earlier, number));
        }
        cluster.next = number;
        self.replaced += 1;
        Ok(())
    }

    /// A `cas` of unknown outcome happened when what it left was seen, and then it saw in turn.
    fn unknown_cas_happened(&mut self, unknown: &[u32]) -> Result<(), Outcome> {
        let mut waiting: Vec<u32> = unknown.to_vec();
        loop {
            let before = waiting.len();
            let mut still = Vec::new();
            for number in waiting {
                let Action::Cas(old, new) = self.operations[number as usize].action else {
                    unreachable!("only cas are gathered")
                };
                let cluster = self.clusters[self.slots.of(new)];
                if !cluster.seen {
                    still.push(number);
                } else if cluster.rewritten {
                    return Err(Outcome::NotUnique);
                } else {
                    self.replace(old, number)?;
                }
            }
            if still.len() == before {
                return Ok(());
            }
            waiting = still;
        }
    }

    fn unwritten(&self) -> Result<(), Outcome> {
        if self
            .clusters
            .iter()
            .any(|cluster| cluster.seen && cluster.rewritten)
        {
            return Err(Outcome::NotUnique);
        }
        let unwritten = |slot: usize| {
            let cluster = &self.clusters[slot];
            cluster.seen && cluster.writer == NONE
        };
        if !(0..self.clusters.len()).any(unwritten) {
            return Ok(());
        }
        let observer = self.operations.iter().position(|it| match it.action {
            Action::Read(value) => unwritten(self.slots.of(value)),
            Action::Cas(old, _) => it.ret != NEVER && unwritten(self.slots.of(old)),
            _ => false,
        });
        // When none but an operation of unknown outcome saw it, the chain above it is to blame.
        match observer {
            Some(at) => Err(Outcome::Invalid(Violation::NeverWritten {
                observer: at as u32,
            })),
            None => Err(Outcome::NotUnique),
        }
    }

    fn decide(&self, meter: &Meter<'_>) -> Result<Vec<Zone>, Outcome> {
        let mut zones = Vec::with_capacity(self.roots.len() + 1);
        let mut linked = 0usize;
        let initial = &self.clusters[self.initial];
        if initial.seen {
            zones.push(self.zone(NONE, self.initial, &mut linked)?);
        }
        for (at, &root) in self.roots.iter().enumerate() {
            look(at, meter)?;
            let operation = &self.operations[root as usize];
            let Action::Write(value) = operation.action else {
                unreachable!("a write is a root")
            };
            let slot = self.slots.of(value);
            if self.clusters[slot].seen {
                zones.push(self.zone(root, slot, &mut linked)?);
            } else if operation.ret != NEVER {
                zones.push(Zone {
                    least_return: operation.ret + 1,
                    greatest_invoke: operation.invoke + 1,
                    root,
                });
            }
        }
        if linked < self.replaced {
            return Err(self.circle().into());
        }
        Ok(self.sweep(zones)?)
    }

    /// Walks a block's chain, counting its `cas`.
    fn zone(&self, root: u32, mut slot: usize, linked: &mut usize) -> Result<Zone, Violation> {
        let (mut least_return, mut greatest_invoke) = (0, 0);
        if root != NONE {
            let write = &self.operations[root as usize];
            least_return = write.ret.saturating_add(1);
            greatest_invoke = write.invoke + 1;
        }
        loop {
            let cluster = &self.clusters[slot];
            let returned = cluster.read_return.saturating_add(1);
            if returned < greatest_invoke {
                return Err(self.backwards(greatest_invoke, cluster.read_return));
            }
            least_return = least_return.min(returned);
            greatest_invoke = greatest_invoke.max(cluster.read_invoke);
            if cluster.next == NONE {
                return Ok(Zone {
                    least_return,
                    greatest_invoke,
                    root,
                });
            }
            *linked += 1;
            let cas = &self.operations[cluster.next as usize];
            if cas.ret.saturating_add(1) < greatest_invoke {
                return Err(self.backwards(greatest_invoke, cas.ret));
            }
            least_return = least_return.min(cas.ret.saturating_add(1));
            greatest_invoke = greatest_invoke.max(cas.invoke + 1);
            let Action::Cas(_, new) = cas.action else {
                unreachable!("only a cas replaces")
            };
            slot = self.slots.of(new);
        }
    }

    fn sweep(&self, mut zones: Vec<Zone>) -> Result<Vec<Zone>, Violation> {
        zones.sort_unstable_by_key(Zone::lower);
        let mut forward: Option<&Zone> = None;
        for zone in &zones {
            if let Some(last) = forward
                && last.greatest_invoke > zone.least_return
            {
                return Err(self.clash(last, zone));
            }
            // It ends after the last forward one does, or the two would clash.
            if zone.least_return < zone.greatest_invoke {
                forward = Some(zone);
            }
        }
        Ok(zones)
    }

    /// Writes out the blocks one after the other, readers of one value by invocation.
    fn linearization(&self, sorted: &[Zone]) -> Vec<u32> {
        let mut starts = vec![0u32; self.clusters.len() + 1];
        let read_slot = |operation: &Operation| match operation.action {
            Action::Read(value) => Some(self.slots.of(value)),
            _ => None,
        };
        for slot in self.operations.iter().filter_map(read_slot) {
            starts[slot + 1] += 1;
        }
        for slot in 0..self.clusters.len() {
            starts[slot + 1] += starts[slot];
        }
        let mut readers = vec![0u32; starts[self.clusters.len()] as usize];
        let mut next = starts.clone();
        for (number, operation) in self.operations.iter().enumerate() {
            if let Some(slot) = read_slot(operation) {
                readers[next[slot] as usize] = number as u32;
                next[slot] += 1;
            }
        }
        let mut order = Vec::with_capacity(self.operations.len());
        for zone in sorted {
            let mut slot = self.initial;
            if zone.root != NONE {
                order.push(zone.root);
                let root = &self.operations[zone.root as usize];
                let Action::Write(value) = root.action else {
                    unreachable!("a write is a root")
                };
                slot = self.slots.of(value);
                if !self.clusters[slot].seen {
                    continue;
                }
            }
            loop {
                let readers = &readers[starts[slot] as usize..starts[slot + 1] as usize];
                order.extend_from_slice(readers);
                let cas = self.clusters[slot].next;
                if cas == NONE {
                    break;
                }
                order.push(cas);
                let Action::Cas(_, new) = self.operations[cas as usize].action else {
                    unreachable!("only a cas replaces")
                };
                slot = self.slots.of(new);
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Action, LOOK_EVERY, Meter, NEVER, Operation, Outcome, Violation};
    use crate::linear::budget::{Purse, Spent};
    use crate::options::Budget;

    const MINUTE: Duration = Duration::from_secs(60);

    fn decide(operations: &[Operation], time: Duration) -> Outcome {
        let budget = Budget {
            time,
            ..Budget::default()
        };
        let purse = Purse::new(&budget, Instant::now());
        super::check(operations, 0, true, &mut Meter::new(&purse, u64::MAX))
    }

    /// One after the other.
    fn in_turn(actions: &[Action]) -> Vec<Operation> {
        let operation = |(action, at): (&Action, u32)| Operation {
            invoke: at * 2,
            ret: at * 2 + 1,
            action: *action,
        };
        actions.iter().zip(0..).map(operation).collect()
    }

    #[test]
    fn a_cas_is_decided_without_a_search() {
        let operations = in_turn(&[Action::Write(1), Action::Cas(1, 2), Action::Read(2)]);
        assert_eq!(
            decide(&operations, MINUTE),
            Outcome::Valid(Some(vec![0, 1, 2]))
        );
    }

    #[test]
    fn who_saw_what_nobody_wrote_is_named_if_it_surely_did() {
        let never = |observer| Outcome::Invalid(Violation::NeverWritten { observer });
        let read = in_turn(&[Action::Write(1), Action::Read(9)]);
        assert_eq!(decide(&read, MINUTE), never(1));
        let mut cas = in_turn(&[Action::Write(1), Action::Cas(9, 2), Action::Read(2)]);
        assert_eq!(decide(&cas, MINUTE), never(1));
        cas[1].ret = NEVER;
        assert_eq!(decide(&cas, MINUTE), Outcome::NotUnique);
    }

    #[test]
    fn a_deadline_that_has_passed_is_noticed_on_the_way() {
        let writes: Vec<Action> = (1..LOOK_EVERY as u32 + 2).map(Action::Write).collect();
        let spent = Outcome::Spent(Spent::Time);
        assert_eq!(decide(&in_turn(&writes), Duration::ZERO), spent);
    }
}
