//! A model as the search engines see it: states and operations are numbers.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet, HashTable};
use serde_json::Value;

use super::budget::{Meter, grown, while_growing};
use super::structure::Outcome;
use super::zones;
use crate::history::History;
use crate::model::register::{Action, NEVER, Operation};
use crate::model::{Effect, Specification};

/// Room for what a short history needs, so that nothing grows in it.
pub(super) const FEW: usize = 28;

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
    /// A hint: whether the state looks like one on the way to where the class can go.
    fn leads_to(&self, _state: u32, _class: u32) -> bool {
        false
    }
    /// Bytes held.
    fn memory_bytes(&self) -> u64 {
        0
    }
    /// The state for a reader.
    fn show(&self, history: &History, state: u32) -> Value;
    /// Whether the operations are legal, when that can be told without a search.
    fn quick(&self, _operations: &[Timed], _meter: &mut Meter<'_>) -> Option<bool> {
        None
    }
    /// Whether an operation of the first class may be what makes one of the second possible.
    fn feeds(&self, class: u32, fed: u32) -> bool;
    /// A part of the operations, by number, that holds all that the involved ones depend on, such
    /// that a legal history is legal without the rest.
    fn focus(&self, _operations: &[Timed], _involved: &[u32]) -> Option<Vec<u32>> {
        None
    }
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
        let mut numbers: HashMap<Action, u32, FixedState> =
            HashMap::with_capacity_and_hasher(FEW, FixedState::default());
        let mut actions = Vec::with_capacity(FEW);
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

impl RegisterSpace {
    fn operation(&self, timed: &Timed) -> Operation {
        Operation {
            invoke: timed.invoke,
            ret: timed.ret,
            action: self.actions[timed.class as usize],
        }
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

    fn show(&self, history: &History, state: u32) -> Value {
        history.values().value_of_raw(state)
    }

    fn quick(&self, operations: &[Timed], meter: &mut Meter<'_>) -> Option<bool> {
        let operations: Vec<Operation> = operations.iter().map(|it| self.operation(it)).collect();
        match zones::check(&operations, self.initial, false, meter) {
            zones::Outcome::Valid(_) => Some(true),
            zones::Outcome::Invalid(_) => Some(false),
            zones::Outcome::NotUnique | zones::Outcome::Spent(_) => None,
        }
    }

    fn feeds(&self, class: u32, fed: u32) -> bool {
        let (Action::Write(left) | Action::Cas(_, left)) = self.actions[class as usize] else {
            return false;
        };
        match self.actions[fed as usize] {
            Action::Read(seen) | Action::Cas(seen, _) => seen == left,
            Action::Differs(other) => other != left,
            Action::Write(_) => false,
        }
    }

    /// Values that `cas` hang together go together; values apart from them can be left out with all
    /// their operations, for then what is left saw nothing of them.
    fn focus(&self, operations: &[Timed], involved: &[u32]) -> Option<Vec<u32>> {
        let mut values: HashSet<u32, FixedState> = HashSet::default();
        let mut take = |action: Action| match action {
            Action::Read(value) | Action::Write(value) => values.insert(value),
            Action::Cas(old, new) => values.insert(old) | values.insert(new),
            Action::Differs(_) => false,
        };
        for &number in involved {
            take(self.actions[operations[number as usize].class as usize]);
        }
        loop {
            let before = values.len();
            for &action in &self.actions {
                if let Action::Cas(old, new) = action
                    && (values.contains(&old) || values.contains(&new))
                {
                    values.insert(old);
                    values.insert(new);
                }
            }
            if values.len() == before {
                break;
            }
        }
        let within = |it: &Timed| match self.actions[it.class as usize] {
            Action::Read(value) | Action::Write(value) | Action::Cas(value, _) => {
                values.contains(&value)
            }
            Action::Differs(_) => false,
        };
        let numbered = operations.iter().enumerate().filter(|(_, it)| within(it));
        Some(numbered.map(|(number, _)| number as u32).collect())
    }
}

/// Decides operations of these classes without a search, if it can.
type Decide<'a, Op> = &'a (dyn Fn(&[Timed], &[Op], &mut Meter<'_>) -> Outcome + Sync);

/// Any specification, its states numbered as they are met.
pub(crate) struct Numbered<'a, M: Specification> {
    model: M,
    classes: Cow<'a, [M::Op]>,
    effects: Vec<Effect>,
    states: Vec<M::State>,
    /// What the states hold outside themselves.
    heap_bytes: usize,
    known: HashTable<u32>,
    steps: HashMap<(u32, u32), u32, FixedState>,
    hasher: FixedState,
    decide: Option<Decide<'a, M::Op>>,
}

/// In place of a state: there is none.
const IMPOSSIBLE: u32 = u32::MAX;

impl<'a, M: Specification> Numbered<'a, M> {
    pub(crate) fn new(model: M, classes: impl Into<Cow<'a, [M::Op]>>) -> Self {
        let (initial, classes) = (model.initial(), classes.into());
        let mut space = Numbered {
            effects: classes.iter().map(|op| model.effect(op)).collect(),
            model,
            classes,
            states: Vec::new(),
            heap_bytes: 0,
            known: HashTable::new(),
            steps: HashMap::default(),
            hasher: FixedState::default(),
            decide: None,
        };
        space.number(initial);
        space
    }

    /// What decides operations without a search, if it can.
    pub(crate) fn decided_by(self, decide: Decide<'a, M::Op>) -> Self {
        Numbered {
            decide: Some(decide),
            ..self
        }
    }

    /// How much is remembered: states, classes, and steps between them.
    pub(crate) fn memory_entries(&self) -> usize {
        self.states.len() + self.classes.len() + self.steps.len()
    }

    /// One more class.
    pub(crate) fn add(&mut self, class: M::Op) -> u32 {
        self.effects.push(self.model.effect(&class));
        self.classes.to_mut().push(class);
        self.effects.len() as u32 - 1
    }

    pub(crate) fn class(&self, number: u32) -> &M::Op {
        &self.classes[number as usize]
    }

    pub(crate) fn state(&self, number: u32) -> &M::State {
        &self.states[number as usize]
    }

    pub(crate) fn number(&mut self, state: M::State) -> u32 {
        let (states, hasher) = (&self.states, &self.hasher);
        let hash = hasher.hash_one(&state);
        if let Some(&number) = self.known.find(hash, |&it| states[it as usize] == state) {
            return number;
        }
        let number = self.states.len() as u32;
        self.known
            .insert_unique(hash, number, |&it| hasher.hash_one(&states[it as usize]));
        self.heap_bytes += self.model.heap_bytes(&state);
        self.states.push(state);
        number
    }
}

impl<M: Specification> Space for Numbered<'_, M> {
    fn initial(&self) -> u32 {
        0
    }

    fn step(&mut self, state: u32, class: u32) -> Option<u32> {
        if let Some(&next) = self.steps.get(&(state, class)) {
            return (next != IMPOSSIBLE).then_some(next);
        }
        let next = self
            .model
            .step(&self.states[state as usize], &self.classes[class as usize]);
        let next = next.map_or(IMPOSSIBLE, |next| self.number(next));
        self.steps.insert((state, class), next);
        (next != IMPOSSIBLE).then_some(next)
    }

    fn effect(&self, class: u32) -> Effect {
        self.effects[class as usize]
    }

    fn classes(&self) -> usize {
        self.classes.len()
    }

    fn leads_to(&self, state: u32, class: u32) -> bool {
        self.model
            .leads_to(&self.states[state as usize], &self.classes[class as usize])
    }

    fn quick(&self, operations: &[Timed], meter: &mut Meter<'_>) -> Option<bool> {
        match self.decide?(operations, &self.classes, meter) {
            Outcome::Valid(_) => Some(true),
            Outcome::Invalid(_) | Outcome::Illegal(_) => Some(false),
            Outcome::Undecided => None,
        }
    }

    fn feeds(&self, class: u32, fed: u32) -> bool {
        self.model
            .feeds(&self.classes[class as usize], &self.classes[fed as usize])
    }

    fn show(&self, _history: &History, state: u32) -> Value {
        self.model.show(&self.states[state as usize])
    }

    fn memory_bytes(&self) -> u64 {
        let (known, steps) = (&self.known, &self.steps);
        let bytes = grown(&self.states)
            + self.heap_bytes
            + while_growing(known.len() + 1, known.capacity(), known.allocation_size())
            + while_growing(steps.len() + 1, steps.capacity(), steps.allocation_size());
        bytes as u64
    }
}
