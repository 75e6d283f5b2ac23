//! The search: depth-first over returns, with memory.
//!
//! Wing and Gong's search in Lowe's just-in-time form: time walks from event to event, and only when
//! an operation is about to return without having taken effect are operations put in order, until it
//! has. A configuration is the event, the state, and which of the open operations took effect; one
//! that failed is never tried again. Four rules keep configurations few. Each is an exchange: what it
//! forbids can be turned, legally, into something it allows.
//!
//! - *An operation that only observes goes as soon as it can.* It changes nothing, so nothing that
//!   was possible without it is impossible after it.
//! - *Of interchangeable open operations the one that returns first goes first.*
//! - *Operations of unknown outcome are counts per class.* They never return, so only how many of
//!   each were used matters, and a configuration that used fewer of each can do all that one which
//!   used more can. They go only when what comes next needs the state they leave.
//! - *A write that nobody needs hides.* A write may be put right before any other write that took
//!   effect while it was open: nobody sees it. So an open write is not ordered until it is needed,
//!   and when it returns after another write took effect, it may simply go. What matters is how late
//!   the last write took effect; later hides more.
//!
//! So a write, or an operation of unknown outcome, goes only at its own return or right before
//! something that needs the state it leaves.

mod candidates;
mod memory;
mod order;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::bits::Bits;
use super::budget::{Meter, Spent};
use super::space::{FEW, Space, Timed};
use super::timeline::Timeline;
use crate::model::Effect;

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A legal order of all operations that took effect.
    Linearization(Vec<u32>),
    /// There is none. The operation whose return no order got past, the furthest one.
    Stuck(u32),
    /// More operations are open at once than the search can hold.
    TooWide(usize),
}

/// Where a search begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// What the object holds.
    pub(crate) state: u32,
    /// Position at which the last write took effect; zero when none did.
    pub(crate) overwritten: u32,
}

/// Looks for a legal order of the operations, which are sorted by invocation.
pub(crate) fn search(
    space: &mut impl Space,
    operations: &[Timed],
    meter: &mut Meter<'_>,
) -> Result<Answer, Spent> {
    let start = Start {
        state: space.initial(),
        overwritten: 0,
    };
    search_from(space, start, operations, meter)
}

/// Looks for a legal order that goes on from what took effect before.
pub(crate) fn search_from(
    space: &mut impl Space,
    start: Start,
    operations: &[Timed],
    meter: &mut Meter<'_>,
) -> Result<Answer, Spent> {
    let timeline = Timeline::new(operations);
    match timeline.width {
        0..=64 => Search::<_, 1>::new(space, start, operations, &timeline).run(meter),
        65..=128 => Search::<_, 2>::new(space, start, operations, &timeline).run(meter),
        129..=512 => Search::<_, 8>::new(space, start, operations, &timeline).run(meter),
        513..=8192 => Search::<_, 128>::new(space, start, operations, &timeline).run(meter),
        width => Ok(Answer::TooWide(width)),
    }
}

/// What is held is told once in so many events, and with every choice.
const HOLD_EVERY: u32 = 256;

/// One step of the order under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// This operation takes effect.
    Take(u32),
    /// One of the class, of unknown outcome, takes effect.
    TakeUnknown(u32),
    /// This write took effect right before the last one did, unseen.
    Hide(u32),
}

/// Where the walk stands.
#[derive(Clone, Copy, Debug)]
struct Place<const N: usize> {
    event: u32,
    state: u32,
    /// Slots whose operation took effect and has not returned.
    done: Bits<N>,
    /// The return at which the last write took effect; zero when none did.
    overwritten: u32,
    /// The last move is of no use unless the next one needs the state it left.
    owed: bool,
}

/// A choice, to come back to.
struct Frame<const N: usize> {
    place: Place<N>,
    moves_len: u32,
    /// Candidates not yet tried, on the common stack, last first.
    candidates_from: u32,
}

/// A configuration that was entered.
struct Entered<const N: usize> {
    event: u32,
    state: u32,
    done: Bits<N>,
    hides: u32,
    owed: bool,
    used_from: u32,
    used_len: u32,
}

struct Search<'a, S, const N: usize> {
    space: &'a mut S,
    operations: &'a [Timed],
    timeline: &'a Timeline,
    place: Place<N>,
    /// Slots of operations that are open and will return, by what they do.
    observers: Bits<N>,
    changers: Bits<N>,
    slot_operation: Vec<u32>,
    /// Operations of unknown outcome by class: invoked so far, used so far.
    invoked: Vec<u32>,
    used: Vec<u32>,
    /// Classes with any invoked.
    unknown_classes: Vec<u32>,
    moves: Vec<Move>,
    frames: Vec<Frame<N>>,
    /// With how promising each is.
    candidates: Vec<(u8, Move)>,
    entered: Vec<Entered<N>>,
    entered_used: Vec<(u32, u32)>,
    table: HashTable<u32>,
    hasher: FixedState,
    /// What the last survey saw: the classes that are open, the first to return of each, how far
    /// the last write hides, and whether it leaves some write unhidden.
    open_classes: Vec<u32>,
    first: Vec<u32>,
    hides: u32,
    unhidden: bool,
    class_mark: Vec<u32>,
    mark: u32,
    furthest: u32,
}

impl<'a, S: Space, const N: usize> Search<'a, S, N> {
    fn new(
        space: &'a mut S,
        start: Start,
        operations: &'a [Timed],
        timeline: &'a Timeline,
    ) -> Self {
        let classes = space.classes();
        let place = Place {
            event: 0,
            state: start.state,
            done: Bits::EMPTY,
            overwritten: start.overwritten,
            owed: false,
        };
        Search {
            space,
            operations,
            timeline,
            place,
            observers: Bits::EMPTY,
            changers: Bits::EMPTY,
            slot_operation: vec![0; timeline.width],
            invoked: vec![0; classes],
            used: vec![0; classes],
            unknown_classes: Vec::with_capacity(FEW),
            moves: Vec::with_capacity(operations.len()),
            frames: Vec::with_capacity(FEW),
            candidates: Vec::with_capacity(FEW),
            entered: Vec::with_capacity(FEW),
            entered_used: Vec::with_capacity(FEW),
            table: HashTable::with_capacity(FEW),
            hasher: FixedState::default(),
            open_classes: Vec::with_capacity(FEW),
            first: vec![0; classes],
            hides: 0,
            unhidden: false,
            class_mark: vec![0; classes],
            mark: 0,
            furthest: 0,
        }
    }

    fn run(mut self, meter: &mut Meter<'_>) -> Result<Answer, Spent> {
        while let Some(event) = self.timeline.events.get(self.place.event as usize) {
            meter.step()?;
            if self.place.event.is_multiple_of(HOLD_EVERY) {
                meter.hold(self.memory_bytes())?;
            }
            let number = event.operation();
            if !event.is_return() {
                self.invoke(number);
                self.place.event += 1;
                continue;
            }
            let slot = u32::from(self.timeline.slots[number as usize]);
            if self.place.done.has(slot) {
                self.retire(slot);
                self.place.event += 1;
                continue;
            }
            if !self.choose(number, meter)? && !self.back() {
                let stuck = self.timeline.events[self.furthest as usize].operation();
                return Ok(Answer::Stuck(stuck));
            }
        }
        Ok(Answer::Linearization(self.linearization()))
    }

    fn class(&self, number: u32) -> u32 {
        self.operations[number as usize].class
    }

    fn invoke(&mut self, number: u32) {
        let operation = self.operations[number as usize];
        if operation.is_open() {
            let invoked = &mut self.invoked[operation.class as usize];
            if *invoked == 0 {
                self.unknown_classes.push(operation.class);
            }
            *invoked += 1;
            return;
        }
        let slot = u32::from(self.timeline.slots[number as usize]);
        self.open(number, slot);
        if self.space.effect(operation.class) == Effect::Observes
            && self.space.step(self.place.state, operation.class).is_some()
        {
            self.place.done.insert(slot);
            self.moves.push(Move::Take(number));
        }
    }

    fn open(&mut self, number: u32, slot: u32) {
        self.slot_operation[slot as usize] = number;
        match self.space.effect(self.class(number)) {
            Effect::Observes => self.observers.insert(slot),
            _ => self.changers.insert(slot),
        }
    }

    fn retire(&mut self, slot: u32) {
        self.place.done.remove(slot);
        self.observers.remove(slot);
        self.changers.remove(slot);
    }

    /// Decides how `returning` takes effect. False: no way left from here.
    fn choose(&mut self, returning: u32, meter: &mut Meter<'_>) -> Result<bool, Spent> {
        self.furthest = self.furthest.max(self.place.event);
        let from = self.candidates.len();
        self.gather(returning);
        let count = self.candidates.len() - from;
        if count == 0 {
            return Ok(false);
        }
        if count > 1 {
            if self.known_to_fail() {
                self.candidates.truncate(from);
                return Ok(false);
            }
            self.frames.push(Frame {
                place: self.place,
                moves_len: self.moves.len() as u32,
                candidates_from: from as u32,
            });
            meter.hold(self.memory_bytes())?;
        }
        let next = self.candidates.pop().expect("there is at least one");
        self.take(next.1, returning);
        Ok(true)
    }

    fn take(&mut self, next: Move, returning: u32) {
        self.moves.push(next);
        let (class, known) = match next {
            Move::Hide(number) => {
                self.place
                    .done
                    .insert(u32::from(self.timeline.slots[number as usize]));
                return;
            }
            Move::Take(number) => {
                self.place
                    .done
                    .insert(u32::from(self.timeline.slots[number as usize]));
                (self.class(number), true)
            }
            Move::TakeUnknown(class) => {
                self.used[class as usize] += 1;
                (class, false)
            }
        };
        let state = self.space.step(self.place.state, class);
        self.place.state = state.expect("only what can go is a candidate");
        let overwrites = self.space.effect(class) == Effect::Overwrites;
        if overwrites {
            self.place.overwritten = self.operations[returning as usize].ret;
        }
        let observed = self.observe();
        let optional = !known || (overwrites && next != Move::Take(returning));
        self.place.owed = optional && !observed;
    }

    /// Lets all observers go that can.
    fn observe(&mut self) -> bool {
        let mut any = false;
        for slot in self.observers.without(&self.place.done).iter() {
            let number = self.slot_operation[slot as usize];
            if self
                .space
                .step(self.place.state, self.class(number))
                .is_some()
            {
                self.place.done.insert(slot);
                self.moves.push(Move::Take(number));
                any = true;
            }
        }
        any
    }

    /// Goes back to the last choice and takes the next candidate. False: there is none.
    fn back(&mut self) -> bool {
        let Some(frame) = self.frames.last() else {
            return false;
        };
        let (place, moves_len) = (frame.place, frame.moves_len as usize);
        let from = frame.candidates_from as usize;
        self.rewind(place.event, moves_len);
        self.place = place;
        let next = self.candidates.pop().expect("a frame keeps a candidate");
        if self.candidates.len() == from {
            self.frames.pop();
        }
        let returning = self.timeline.events[place.event as usize].operation();
        self.take(next.1, returning);
        true
    }

    fn rewind(&mut self, event: u32, moves_len: usize) {
        for undone in self.moves.drain(moves_len..) {
            if let Move::TakeUnknown(class) = undone {
                self.used[class as usize] -= 1;
            }
        }
        for at in (event..self.place.event).rev() {
            let event = self.timeline.events[at as usize];
            let number = event.operation();
            let operation = self.operations[number as usize];
            let slot = u32::from(self.timeline.slots[number as usize]);
            if event.is_return() {
                self.open(number, slot);
            } else if operation.is_open() {
                let invoked = &mut self.invoked[operation.class as usize];
                *invoked -= 1;
                if *invoked == 0 {
                    self.unknown_classes.pop();
                }
            } else {
                self.observers.remove(slot);
                self.changers.remove(slot);
            }
        }
    }
}
