//! One object, followed: what it may hold at a moment in the past, and all operations since.
//!
//! The moment, the *cut*, moves forward as soon as the outcome of everything that was invoked before
//! the next return is known; so it never stands further back than the oldest open invocation. Each
//! answer is judged at once, with what is still open as operations of unknown outcome: a history that
//! can be put in order can be so up to any moment, so what is found wrong is wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::frontier::{Configuration, Open, Step};
use crate::linear::budget::{Meter, Purse};
use crate::linear::search::{Answer, Start, search_from};
use crate::linear::space::{Numbered, Space, Timed};
use crate::model::Specification;
use crate::model::register::NEVER;
use crate::options::Budget;

/// More operations since the cut than this are not kept.
pub(super) const WINDOW_MAX: usize = 4096;
/// Up to so many returns since the cut, each answer is judged at once; beyond, when their number
/// has grown by a sixteenth.
const AT_ONCE: usize = 256;
/// Configurations that are kept, and that may be looked at in one step.
const FRONTIER_MAX: usize = 1024;
const LOOKS_MAX: usize = 16 * FRONTIER_MAX;
/// Steps that the search may take to judge one answer, and memory.
const JUDGE_STEPS: u64 = 200_000;
const JUDGE_BYTES: u64 = 64 << 20;
/// So many answers in a row that could not be judged are enough.
const DOUBTS_MAX: u32 = 8;

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Returned(u64),
    Crashed,
}

/// An operation since the cut, or one that may still take effect.
#[derive(Clone, Copy, Debug)]
struct Live {
    /// Position of the invocation: its name too.
    invoke: u64,
    end: End,
    /// What it does, or may do while its outcome is not known; none: nothing to anybody.
    class: Option<u32>,
}

/// What an answer came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It can be put in order.
    Fits,
    /// No order of all that happened until now is legal.
    Violates,
    /// It cannot be followed any further, because …
    Lost(String),
}

pub(super) struct Track<M: Specification> {
    model: Arc<M>,
    space: Numbered<'static, Arc<M>>,
    classes: HashMap<M::Op, u32, FixedState>,
    /// Everything that the object may be in at the cut.
    frontier: Vec<Configuration>,
    /// By invocation.
    live: Vec<Live>,
    /// Returns since the cut, in order.
    returns: VecDeque<u64>,
    /// How many invocations have been let in at the cut.
    cut: u64,
    /// Too many configurations: the cut stays where it is.
    stuck: bool,
    /// Returns that are not judged before there are so many.
    judge_at: usize,
    doubts: u32,
    /// Why the last answer could not be judged.
    doubt: Option<String>,
}

impl<M: Specification> Track<M> {
    pub(super) fn new(model: &Arc<M>) -> Self {
        let space = Numbered::new(Arc::clone(model), Vec::new());
        let frontier = vec![Configuration::of_state(space.initial())];
        Track {
            model: Arc::clone(model),
            space,
            classes: HashMap::default(),
            frontier,
            live: Vec::new(),
            returns: VecDeque::new(),
            cut: 0,
            stuck: false,
            judge_at: 0,
            doubts: 0,
            doubt: None,
        }
    }

    /// Why it is not known whether what happened until now fits; none when it does.
    pub(super) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// How many operations are kept.
    pub(super) fn held(&self) -> usize {
        self.live.len()
    }

    /// An operation begins; `may` is what it may do as long as its outcome is not known.
    pub(super) fn invoke(&mut self, position: u64, may: Option<M::Op>) -> Judged {
        let class = may.map(|op| self.class(op));
        self.live.push(Live {
            invoke: position,
            end: End::Open,
            class,
        });
        if self.live.len() > WINDOW_MAX {
            let held = self.live.len();
            return Judged::Lost(format!(
                "{held} operations had to be kept, for some of them are open for long"
            ));
        }
        Judged::Fits
    }

    /// What becomes of an operation will never be known.
    pub(super) fn crash(&mut self, invoke: u64) -> Judged {
        let at = self.find(invoke);
        if self.live[at].class.is_some() {
            self.live[at].end = End::Crashed;
        } else {
            self.live.remove(at);
        }
        // Nothing new is known, but the cut may move.
        self.advance()
    }

    /// An operation ends; none: it did not happen and says nothing.
    pub(super) fn complete(&mut self, invoke: u64, position: u64, did: Option<M::Op>) -> Judged {
        let at = self.find(invoke);
        match did {
            Some(op) => {
                self.live[at].class = Some(self.class(op));
                self.live[at].end = End::Returned(position);
                self.returns.push_back(position);
            }
            None => {
                self.live.remove(at);
            }
        }
        match self.advance() {
            Judged::Fits if self.returns.len() >= self.judge_at => self.judge(),
            judged => judged,
        }
    }

    /// Judges what was put off.
    pub(super) fn catch_up(&mut self) -> Judged {
        match self.advance() {
            Judged::Fits => self.judge(),
            judged => judged,
        }
    }

    fn find(&self, invoke: u64) -> usize {
        let at = self.live.binary_search_by_key(&invoke, |it| it.invoke);
        at.expect("what ends has begun")
    }

    fn class(&mut self, op: M::Op) -> u32 {
        let space = &mut self.space;
        *self
            .classes
            .entry(op)
            .or_insert_with_key(|op| space.add(op.clone()))
    }

    /// Moves the cut as far as all outcomes before it are known.
    fn advance(&mut self) -> Judged {
        let oldest = self.live.iter().find(|it| it.end == End::Open);
        let oldest = oldest.map_or(u64::MAX, |it| it.invoke);
        while let Some(&ret) = self.returns.front()
            && ret < oldest
            && !self.stuck
        {
            let Some(next) = self.through(ret) else {
                self.stuck = true;
                break;
            };
            self.frontier = next;
            self.returns.pop_front();
            self.cut = ret;
            self.live.retain(|it| it.end != End::Returned(ret));
            self.judge_at = 0;
            if self.frontier.is_empty() {
                return Judged::Violates;
            }
        }
        self.forget();
        Judged::Fits
    }

    /// The configurations after one more return.
    fn through(&mut self, ret: u64) -> Option<Vec<Configuration>> {
        let mut open: Vec<Open> = Vec::new();
        let mut crashed: Vec<(u32, u32)> = Vec::new();
        for it in self.live.iter().take_while(|it| it.invoke < ret) {
            match (it.end, it.class) {
                (End::Returned(ret), Some(class)) => open.push(Open {
                    invoke: it.invoke,
                    ret,
                    class,
                }),
                (End::Crashed, Some(class)) => {
                    match crashed.iter_mut().find(|(other, _)| *other == class) {
                        Some((_, count)) => *count += 1,
                        None => crashed.push((class, 1)),
                    }
                }
                _ => {}
            }
        }
        let returning = *open.iter().find(|it| it.ret == ret)?;
        let mut frontier = std::mem::take(&mut self.frontier);
        for it in &mut frontier {
            for new in open.iter().filter(|it| it.invoke > self.cut) {
                if self.space.effect(new.class) == crate::model::Effect::Observes {
                    it.observe(&mut self.space, new.invoke, new.class);
                }
            }
        }
        let mut step = Step {
            space: &mut self.space,
            open: &open,
            crashed: &crashed,
            returning,
            looks_max: LOOKS_MAX,
        };
        let next = step.through(&frontier);
        self.frontier = frontier;
        next.filter(|it| it.len() <= FRONTIER_MAX)
    }

    /// Whether what returned since the cut can be put in order after it.
    fn judge(&mut self) -> Judged {
        if self.returns.is_empty() {
            self.settle();
            return Judged::Fits;
        }
        let len = self.returns.len();
        self.judge_at = if len <= AT_ONCE { 0 } else { len + len / 16 };
        let budget = Budget {
            time: Duration::from_secs(1),
            memory_bytes: JUDGE_BYTES,
        };
        let purse = Purse::new(&budget, Instant::now());
        let mut doubt = None;
        for at in 0..self.frontier.len() {
            let (start, operations) = self.since(&self.frontier[at]);
            let mut meter = Meter::new(&purse, JUDGE_STEPS);
            match search_from(&mut self.space, start, &operations, &mut meter) {
                Ok(Answer::Linearization(_)) => {
                    self.settle();
                    self.frontier.swap(0, at);
                    return Judged::Fits;
                }
                Ok(Answer::Stuck(_)) => {}
                Ok(Answer::TooWide(width)) => {
                    doubt = Some(format!("{width} operations are open at once"));
                }
                Err(_) => {
                    doubt = Some("it takes too long to judge as the run goes on".to_owned());
                    break;
                }
            }
        }
        let Some(why) = doubt else {
            return Judged::Violates;
        };
        self.doubts += 1;
        if self.doubts >= DOUBTS_MAX {
            return Judged::Lost(why);
        }
        self.doubt = Some(why);
        Judged::Fits
    }

    fn settle(&mut self) {
        (self.doubts, self.doubt) = (0, None);
    }

    /// What has not taken effect in this configuration, with positions counted from the oldest.
    fn since(&self, from: &Configuration) -> (Start, Vec<Timed>) {
        let base = self.live.first().map_or(0, |it| it.invoke);
        let at = |position: u64| (position.saturating_sub(base) + 1) as u32;
        let mut used = from.used.clone();
        let mut operations = Vec::with_capacity(self.live.len());
        for it in &self.live {
            let Some(class) = it.class else { continue };
            let ret = match it.end {
                End::Returned(ret) => at(ret),
                End::Open => NEVER,
                End::Crashed => {
                    // The first of a class are the ones that were used.
                    if let Some((_, count)) = used.iter_mut().find(|(c, n)| *c == class && *n > 0) {
                        *count -= 1;
                        continue;
                    }
                    NEVER
                }
            };
            if !from.is_done(it.invoke) {
                let invoke = at(it.invoke);
                operations.push(Timed { invoke, ret, class });
            }
        }
        let overwritten = if from.hides == 0 { 0 } else { at(from.hides) };
        let start = Start {
            state: from.state,
            overwritten,
        };
        (start, operations)
    }

    /// Drops states and classes that nothing refers to any more, once they outnumber the others.
    fn forget(&mut self) {
        let needed = self.live.len() + self.frontier.len();
        if self.space.memory_entries() < 1024 + 8 * needed {
            return;
        }
        let mut space = Numbered::new(Arc::clone(&self.model), Vec::new());
        let mut classes: HashMap<M::Op, u32, FixedState> = HashMap::default();
        let mut renamed: HashMap<u32, u32, FixedState> = HashMap::default();
        for it in &mut self.live {
            let Some(old) = it.class else { continue };
            let op = self.space.class(old);
            let new = *classes
                .entry(op.clone())
                .or_insert_with_key(|op| space.add(op.clone()));
            renamed.insert(old, new);
            it.class = Some(new);
        }
        for it in &mut self.frontier {
            it.state = space.number(self.space.state(it.state).clone());
            for (class, _) in &mut it.used {
                *class = renamed[class];
            }
            it.used.sort_unstable();
        }
        self.space = space;
        self.classes = classes;
    }
}
