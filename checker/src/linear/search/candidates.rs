//! What may go next, and which of it looks best.

use super::{Move, Search};
use crate::linear::space::Space;
use crate::model::Effect;

impl<S: Space, const N: usize> Search<'_, S, N> {
    /// Pushes what could go next, the best last.
    pub(super) fn gather(&mut self, returning: u32) {
        let from = self.candidates.len();
        self.survey();
        let aim = self.class(returning);
        let demand = self.demand();
        for at in 0..self.open_classes.len() {
            let class = self.open_classes[at];
            if class == aim {
                continue;
            }
            let Some(after) = self.space.step(self.place.state, class) else {
                continue;
            };
            let effect = self.space.effect(class);
            let useful = match effect {
                Effect::Observes => false,
                Effect::Overwrites => !self.place.owed && self.is_needed(after),
                Effect::Updates => true,
            };
            if useful {
                let rank =
                    4 + self.promise(after, aim, demand) + u8::from(effect == Effect::Updates);
                self.candidates
                    .push((rank, Move::Take(self.first[class as usize])));
            }
        }
        for at in 0..self.unknown_classes.len() {
            let class = self.unknown_classes[at];
            if self.used[class as usize] == self.invoked[class as usize]
                || (self.place.owed && self.space.effect(class) != Effect::Updates)
            {
                continue;
            }
            let Some(after) = self.space.step(self.place.state, class) else {
                continue;
            };
            // A write that changes nothing may still hide others.
            let changes = after != self.place.state
                || (self.unhidden && self.space.effect(class) == Effect::Overwrites);
            if changes && self.is_needed(after) {
                let rank = 1 + self.promise(after, aim, demand);
                self.candidates.push((rank, Move::TakeUnknown(class)));
            }
        }
        self.gather_returning(returning, aim, demand);
        self.candidates[from..].sort_by_key(|&(rank, _)| rank);
    }

    /// How promising a state is: whether the returning class can go in it, and whether it leads to
    /// what is demanded next.
    pub(super) fn promise(&mut self, after: u32, aim: u32, demand: Option<u32>) -> u8 {
        let hits =
            self.space.effect(aim) != Effect::Overwrites && self.space.step(after, aim).is_some();
        let leads = demand.is_some_and(|demand| self.space.leads_to(after, demand));
        u8::from(hits) * 6 + u8::from(leads) * 32
    }

    /// The class of the next observer that will return and has not taken effect.
    pub(super) fn demand(&self) -> Option<u32> {
        const AHEAD: usize = 256;
        let events = &self.timeline.events[self.place.event as usize..];
        events
            .iter()
            .take(AHEAD)
            .filter(|event| event.is_return())
            .find_map(|event| {
                let number = event.operation();
                let slot = u32::from(self.timeline.slots[number as usize]);
                let gone =
                    self.place.done.has(slot) && self.slot_operation[slot as usize] == number;
                let class = self.class(number);
                (!gone && self.space.effect(class) == Effect::Observes).then_some(class)
            })
    }

    pub(super) fn gather_returning(&mut self, returning: u32, class: u32, demand: Option<u32>) {
        match self.space.effect(class) {
            Effect::Updates => {
                if let Some(after) = self.space.step(self.place.state, class) {
                    let leads = demand.is_some_and(|demand| self.space.leads_to(after, demand));
                    self.candidates
                        .push((20 + u8::from(leads) * 32, Move::Take(returning)));
                }
            }
            Effect::Overwrites if !self.place.owed => {
                let hides = self.operations[returning as usize].invoke < self.place.overwritten;
                let rank = if hides && !self.prefers_taking(class) {
                    19
                } else {
                    21
                };
                self.candidates.push((rank, Move::Take(returning)));
                if hides {
                    self.candidates.push((20, Move::Hide(returning)));
                }
            }
            _ => {}
        }
    }

    /// Whether the next operation that needs a state needs the one this write leaves.
    pub(super) fn prefers_taking(&mut self, class: u32) -> bool {
        const AHEAD: usize = 256;
        let Some(after) = self.space.step(self.place.state, class) else {
            return false;
        };
        let event = self.place.event as usize + 1;
        for event in self.timeline.events.iter().skip(event).take(AHEAD) {
            let number = event.operation();
            let class = self.class(number);
            let slot = u32::from(self.timeline.slots[number as usize]);
            if !event.is_return()
                || self.space.effect(class) == Effect::Overwrites
                || (self.place.done.has(slot) && self.slot_operation[slot as usize] == number)
            {
                continue;
            }
            if self.space.step(self.place.state, class).is_some() {
                return false;
            }
            if self.space.step(after, class).is_some() {
                return true;
            }
        }
        false
    }

    /// Lists the classes of what is open and has not taken effect, each with the first to return.
    pub(super) fn survey(&mut self) {
        self.mark += 1;
        self.open_classes.clear();
        (self.hides, self.unhidden) = (0, false);
        for slot in self.changers.without(&self.place.done).iter() {
            let number = self.slot_operation[slot as usize];
            let operation = self.operations[number as usize];
            let class = operation.class as usize;
            if self.class_mark[class] != self.mark {
                self.class_mark[class] = self.mark;
                self.open_classes.push(operation.class);
                self.first[class] = number;
            } else if operation.ret < self.operations[self.first[class] as usize].ret {
                self.first[class] = number;
            }
            if self.space.effect(operation.class) == Effect::Overwrites {
                if operation.invoke < self.place.overwritten {
                    self.hides = self.hides.max(operation.invoke + 1);
                } else {
                    self.unhidden = true;
                }
            }
        }
        for slot in self.observers.without(&self.place.done).iter() {
            let class = self.class(self.slot_operation[slot as usize]);
            if self.class_mark[class as usize] != self.mark {
                self.class_mark[class as usize] = self.mark;
                self.open_classes.push(class);
            }
        }
    }

    /// Whether something that is open can go in this state only because of the state.
    pub(super) fn is_needed(&mut self, state: u32) -> bool {
        for &class in &self.open_classes {
            if self.space.effect(class) != Effect::Overwrites
                && self.space.step(state, class).is_some()
            {
                return true;
            }
        }
        for &class in &self.unknown_classes {
            if self.used[class as usize] < self.invoked[class as usize]
                && self.space.effect(class) == Effect::Updates
                && self
                    .space
                    .step(state, class)
                    .is_some_and(|after| after != state)
            {
                return true;
            }
        }
        false
    }
}
