//! Every configuration that an object may be in at a moment, carried from return to return.
//!
//! The rules that keep them few are those of [`search`](crate::linear::search), where each is told
//! why. They forbid nothing that what comes later could need: what is left out now may still go then.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::linear::space::Space;
use crate::model::Effect;

/// An operation whose outcome is known, and that was invoked and has not returned at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Position of the invocation: its name too.
    pub(super) invoke: u64,
    pub(super) ret: u64,
    pub(super) class: u32,
}

/// One way in which all that returned may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) state: u32,
    /// Open operations that took effect already, sorted.
    pub(super) done: SmallVec<[u64; 4]>,
    /// How many of each class of unknown outcome took effect, sorted.
    pub(super) used: SmallVec<[(u32, u32); 2]>,
    /// Writes that were invoked before may still take effect unseen.
    pub(super) hides: u64,
}

impl Configuration {
    pub(super) fn of_state(state: u32) -> Self {
        Configuration {
            state,
            done: SmallVec::new(),
            used: SmallVec::new(),
            hides: 0,
        }
    }

    pub(super) fn is_done(&self, invoke: u64) -> bool {
        self.done.binary_search(&invoke).is_ok()
    }

    fn finish(&mut self, invoke: u64) {
        if let Err(at) = self.done.binary_search(&invoke) {
            self.done.insert(at, invoke);
        }
    }

    fn used_of(&self, class: u32) -> u32 {
        let at = self.used.binary_search_by_key(&class, |it| it.0);
        at.map_or(0, |at| self.used[at].1)
    }

    fn use_one(&mut self, class: u32) {
        match self.used.binary_search_by_key(&class, |it| it.0) {
            Ok(at) => self.used[at].1 += 1,
            Err(at) => self.used.insert(at, (class, 1)),
        }
    }

    /// Whether what the other can do, this can do too; they agree in state and what is done.
    fn dominates(&self, other: &Self) -> bool {
        self.hides >= other.hides
            && self
                .used
                .iter()
                .all(|&(class, count)| other.used_of(class) >= count)
    }

    /// Lets an operation that only observes go if it can.
    pub(super) fn observe(&mut self, space: &mut impl Space, invoke: u64, class: u32) -> bool {
        let goes = !self.is_done(invoke) && space.step(self.state, class).is_some();
        if goes {
            self.finish(invoke);
        }
        goes
    }
}

/// Configurations of which none can do all that another can.
#[derive(Default)]
struct Best {
    lists: HashMap<Key, SmallVec<[Configuration; 1]>, FixedState>,
}

/// State, what is done, and whether the last move is of no use by itself.
type Key = (u32, SmallVec<[u64; 4]>, bool);

impl Best {
    /// False: one is there already that can do as much.
    fn insert(&mut self, it: &Configuration, owed: bool) -> bool {
        let list = self
            .lists
            .entry((it.state, it.done.clone(), owed))
            .or_default();
        if list.iter().any(|other| other.dominates(it)) {
            return false;
        }
        list.retain(|other| !it.dominates(other));
        list.push(it.clone());
        true
    }
}

/// One step of time: all that is open until this return.
pub(super) struct Step<'a, S> {
    pub(super) space: &'a mut S,
    /// By invocation; `returning` among them.
    pub(super) open: &'a [Open],
    /// Classes of unknown outcome, and how many of each were invoked.
    pub(super) crashed: &'a [(u32, u32)],
    pub(super) returning: Open,
    /// Configurations that may be looked at.
    pub(super) looks_max: usize,
}

impl<S: Space> Step<'_, S> {
    /// All configurations once it has returned, none of them needless; none when they are too many.
    pub(super) fn through(&mut self, frontier: &[Configuration]) -> Option<Vec<Configuration>> {
        let mut seen = Best::default();
        let mut after = Best::default();
        let mut work: Vec<(Configuration, bool)> =
            frontier.iter().map(|it| (it.clone(), false)).collect();
        let mut looks = 0;
        while let Some((mut it, owed)) = work.pop() {
            looks += 1;
            if looks > self.looks_max {
                return None;
            }
            if let Ok(at) = it.done.binary_search(&self.returning.invoke) {
                it.hides = self.hides(&it).0;
                it.done.remove(at);
                after.insert(&it, false);
                continue;
            }
            for next in self.next(&it, owed) {
                if seen.insert(&next.0, next.1) {
                    work.push(next);
                }
            }
        }
        Some(after.lists.into_values().flatten().collect())
    }

    fn left<'b>(&'b self, it: &'b Configuration) -> impl Iterator<Item = Open> + 'b {
        let left = |open: &&Open| !it.is_done(open.invoke);
        self.open.iter().filter(left).copied()
    }

    /// How late a write may have been invoked that can still hide, and whether some cannot.
    fn hides(&self, it: &Configuration) -> (u64, bool) {
        let (mut hides, mut unhidden) = (0, false);
        for open in self.left(it) {
            if self.space.effect(open.class) == Effect::Overwrites {
                if open.invoke < it.hides {
                    hides = hides.max(open.invoke + 1);
                } else {
                    unhidden = true;
                }
            }
        }
        (hides, unhidden)
    }

    /// What may follow, each with whether its last move is of no use by itself.
    fn next(&mut self, it: &Configuration, owed: bool) -> Vec<(Configuration, bool)> {
        let mut next = Vec::new();
        let (_, unhidden) = self.hides(it);
        // Of interchangeable ones, the first to return.
        let mut first: Vec<Open> = Vec::new();
        for open in self.left(it) {
            match first.iter_mut().find(|other| other.class == open.class) {
                Some(other) if other.ret <= open.ret => {}
                Some(other) => *other = open,
                None => first.push(open),
            }
        }
        for &open in &first {
            let effect = self.space.effect(open.class);
            if effect == Effect::Observes || open.class == self.returning.class {
                continue;
            }
            if let Some(state) = self.space.step(it.state, open.class)
                && (effect == Effect::Updates || (!owed && self.is_needed(it, &first, state)))
            {
                next.push(self.taken(it, Some(open.invoke), open.class, state));
            }
        }
        for at in 0..self.crashed.len() {
            let (class, count) = self.crashed[at];
            let effect = self.space.effect(class);
            if it.used_of(class) == count || (owed && effect != Effect::Updates) {
                continue;
            }
            let Some(state) = self.space.step(it.state, class) else {
                continue;
            };
            let changes = state != it.state || (unhidden && effect == Effect::Overwrites);
            if changes && self.is_needed(it, &first, state) {
                next.push(self.taken(it, None, class, state));
            }
        }
        self.goes(it, owed, &mut next);
        next
    }

    /// The returning operation takes effect.
    fn goes(&mut self, it: &Configuration, owed: bool, next: &mut Vec<(Configuration, bool)>) {
        let Open { invoke, class, .. } = self.returning;
        let effect = self.space.effect(class);
        if effect == Effect::Observes || (effect == Effect::Overwrites && owed) {
            return;
        }
        if let Some(state) = self.space.step(it.state, class) {
            next.push(self.taken(it, Some(invoke), class, state));
        }
        if effect == Effect::Overwrites && invoke < it.hides {
            let mut hidden = it.clone();
            hidden.finish(invoke);
            next.push((hidden, owed));
        }
    }

    fn taken(
        &mut self,
        before: &Configuration,
        known: Option<u64>,
        class: u32,
        state: u32,
    ) -> (Configuration, bool) {
        let mut it = before.clone();
        it.state = state;
        match known {
            Some(invoke) => it.finish(invoke),
            None => it.use_one(class),
        }
        let overwrites = self.space.effect(class) == Effect::Overwrites;
        if overwrites {
            it.hides = self.returning.ret;
        }
        let mut observed = false;
        for open in self.open {
            if self.space.effect(open.class) == Effect::Observes {
                observed |= it.observe(self.space, open.invoke, open.class);
            }
        }
        let returns = known == Some(self.returning.invoke);
        let optional = known.is_none() || (overwrites && !returns);
        (it, optional && !observed)
    }

    /// Whether something that is open can go in this state only because of the state.
    fn is_needed(&mut self, it: &Configuration, first: &[Open], state: u32) -> bool {
        let open = first.iter().any(|open| {
            self.space.effect(open.class) != Effect::Overwrites
                && self.space.step(state, open.class).is_some()
        });
        open || self.crashed.iter().any(|&(class, count)| {
            it.used_of(class) < count
                && self.space.effect(class) == Effect::Updates
                && self
                    .space
                    .step(state, class)
                    .is_some_and(|after| after != state)
        })
    }
}
