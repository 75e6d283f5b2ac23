//! A model as the search engines see it: states and operations are numbers.

use crate::model::register::{Action, NEVER, Operation};
use hashbrown::HashMap;

/// How an operation treats the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Never changes it: may go as soon as it can.
    Observes,
    /// Always possible, and what it leaves does not depend on what was there.
    Overwrites,
    /// Anything else.
    Updates,
}

/// States and classes of interchangeable operations, numbered, and how they go together.
pub(crate) trait Space {
    /// The state before the first operation.
    fn initial(&self) -> u32;
    /// The state after an operation of this class, none when it cannot happen in this state.
    fn step(&mut self, state: u32, class: u32) -> Option<u32>;
    /// How operations of this class treat the state.
    fn effect(&self, class: u32) -> Effect;
    /// Number of classes.
    fn classes(&self) -> usize;
}

/// One operation: where it stands in time and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    /// Position of the invocation.
    pub(crate) invoke: u32,
    /// Position of the return, [`NEVER`] when it may still happen.
    pub(crate) ret: u32,
    /// Operations of one class are interchangeable.
    pub(crate) class: u32,
}

impl Timed {
    /// Whether its outcome is unknown.
    pub(crate) fn is_open(&self) -> bool {
        self.ret == NEVER
    }
}

/// A register's values as states.
pub(crate) struct RegisterSpace {
    initial: u32,
    actions: Vec<Action>,
}

impl RegisterSpace {
    /// Numbers the operations' classes.
    pub(crate) fn new(operations: &[Operation], initial: u32) -> (Self, Vec<Timed>) {
        let mut numbers: HashMap<Action, u32, foldhash::fast::FixedState> = HashMap::default();
        let mut actions = Vec::new();
        let timed = operations.iter().map(|operation| {
            let class = *numbers.entry(operation.action).or_insert_with(|| {
                actions.push(operation.action);
                actions.len() as u32 - 1
            });
            Timed {
                invoke: operation.invoke,
                ret: operation.ret,
                class,
            }
        });
        let timed = timed.collect();
        (RegisterSpace { initial, actions }, timed)
    }
}

impl Space for RegisterSpace {
    fn initial(&self) -> u32 {
        self.initial
    }

    fn step(&mut self, state: u32, class: u32) -> Option<u32> {
        self.actions[class as usize].step(state)
    }

    fn effect(&self, class: u32) -> Effect {
        match self.actions[class as usize] {
            Action::Read(_) | Action::Differs(_) => Effect::Observes,
            Action::Write(_) => Effect::Overwrites,
            Action::Cas(..) => Effect::Updates,
        }
    }

    fn classes(&self) -> usize {
        self.actions.len()
    }
}
