//! Append-only logs: what was read, and the offsets that were answered, give the order.
//!
//! The reads must each begin the longest one; that one and the offsets say who stands where. Between
//! them only operations of unknown outcome have a choice: they fill the holes, those that were invoked
//! first first, for they never return. Then all are in one row, each put at its least moment; whoever
//! stands behind another one and had returned before that was invoked contradicts it.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Contradiction, Gaps, Outcome, Structured, keeps_to_time};
use crate::linear::budget::Meter;
use crate::linear::space::Timed;
use crate::model::elements::Elements;
use crate::model::sequence::{self, LogOp};

impl Structured for sequence::Log {
    fn decide(&self, operations: &[Timed], classes: &[LogOp], meter: &mut Meter<'_>) -> Outcome {
        let mut log = Log::new(&self.values, operations, classes);
        let decided = log
            .stand()
            .and_then(|()| log.fill())
            .and_then(|guessed| match log.row() {
                Err(_) if guessed => Err(Outcome::Undecided),
                // Who else stands where is a matter of all, unless it is about values that differ.
                Err(late) if late.about.is_empty() => {
                    Err(Outcome::Illegal((0..operations.len() as u32).collect()))
                }
                result => result.map_err(Outcome::Invalid),
            });
        match decided {
            Ok(order) if self.allows(operations, classes, &order, meter) => Outcome::Valid(order),
            Ok(_) => Outcome::Undecided,
            Err(outcome) => outcome,
        }
    }

    fn allows(
        &self,
        operations: &[Timed],
        classes: &[LogOp],
        order: &[u32],
        _: &Meter<'_>,
    ) -> bool {
        let mut log: Vec<u32> = Vec::new();
        let mut step = |number: u32| match &classes[operations[number as usize].class as usize] {
            LogOp::Append(value, offset) => {
                log.push(*value);
                offset.is_none_or(|it| it == log.len() as u64 - 1)
            }
            LogOp::Read(seen) => seen[..] == log[..],
        };
        keeps_to_time(operations, order) && order.iter().all(|&number| step(number))
    }

    fn read_list(&self, f: &str, text: &[u8], room: &mut Vec<u32>) -> Option<LogOp> {
        let is_read = f == "read" && self.values.number_list(text, room);
        is_read.then(|| LogOp::Read(room.as_slice().into()))
    }

    /// The values that it is about stand in their order.
    fn narrow(&self, op: &LogOp, about: &[String]) -> LogOp {
        let about = about.iter().filter_map(|it| serde_json::from_str(it).ok());
        let about = self.values.numbers(&about.collect::<Vec<_>>());
        let place = |value: u32| about.iter().position(|&it| it == value);
        match op {
            LogOp::Read(seen) => {
                let within = seen.iter().copied().filter(|&it| place(it).is_some());
                LogOp::Read(within.collect())
            }
            LogOp::Append(value, told) => {
                let at = told.and_then(|_| place(*value)).map(|at| at as u64);
                LogOp::Append(*value, at)
            }
        }
    }
}

struct Log<'a> {
    values: &'a Elements,
    operations: &'a [Timed],
    classes: &'a [LogOp],
    gaps: Gaps,
    reads: Vec<u32>,
    longest: &'a [u32],
    /// Who stands at each offset.
    places: Vec<Option<u32>>,
    /// Appends that nobody told the offset of, by invocation.
    loose: Vec<u32>,
}

impl<'a> Log<'a> {
    fn new(values: &'a Elements, operations: &'a [Timed], classes: &'a [LogOp]) -> Self {
        let mut log = Log {
            values,
            operations,
            classes,
            gaps: Gaps::new(operations),
            reads: Vec::new(),
            longest: &[],
            places: Vec::new(),
            loose: Vec::new(),
        };
        for number in 0..operations.len() as u32 {
            match log.class(number) {
                LogOp::Read(seen) => {
                    log.reads.push(number);
                    if seen.len() > log.longest.len() {
                        log.longest = seen;
                    }
                }
                LogOp::Append(_, None) => log.loose.push(number),
                LogOp::Append(..) => {}
            }
        }
        log
    }

    fn class(&self, number: u32) -> &'a LogOp {
        &self.classes[self.operations[number as usize].class as usize]
    }

    /// What it appends.
    fn value(&self, number: u32) -> Option<u32> {
        match self.class(number) {
            LogOp::Append(value, _) => Some(*value),
            LogOp::Read(_) => None,
        }
    }

    fn seen(&self, number: u32) -> &'a [u32] {
        match self.class(number) {
            LogOp::Read(seen) => seen,
            LogOp::Append(..) => &[],
        }
    }

    /// The first read that shows an offset.
    fn reader(&self, offset: usize) -> Option<u32> {
        let shows = |&it: &u32| self.seen(it).len() > offset;
        self.reads.iter().copied().find(shows)
    }

    /// Puts those in their places whose places are told.
    fn stand(&mut self) -> Result<(), Outcome> {
        let mut told: HashMap<u64, u32, FixedState> = HashMap::default();
        for number in 0..self.operations.len() as u32 {
            let LogOp::Append(value, Some(offset)) = self.class(number) else {
                continue;
            };
            if self.operations[number as usize].is_open() {
                return Err(Outcome::Undecided);
            }
            if let Some(other) = told.insert(*offset, number) {
                return Err(because(
                    vec![other, number],
                    "both were told the same offset",
                ));
            }
            let at = usize::try_from(*offset).unwrap_or(usize::MAX);
            if self.longest.get(at).is_some_and(|seen| seen != value) {
                let shows_another =
                    |&it: &u32| self.seen(it).get(at).is_some_and(|seen| seen != value);
                let other = self.reads.iter().copied().find(shows_another);
                let both = std::iter::once(number).chain(other);
                return Err(because(
                    both.collect(),
                    "the read shows another value at that offset",
                ));
            }
        }
        if let Some((&offset, &number)) = told.iter().max()
            && offset >= self.operations.len() as u64
        {
            return Err(because(vec![number], "there were never that many appends"));
        }
        for &read in &self.reads {
            let seen = self.seen(read);
            if let Some(at) = (0..seen.len()).find(|&at| seen[at] != self.longest[at]) {
                let shows = |&&it: &&u32| self.seen(it).get(at) == Some(&self.longest[at]);
                let other = *self.reads.iter().find(shows).expect("the longest does");
                return Err(because(
                    vec![read, other],
                    "the two reads show other values at the same offset",
                ));
            }
        }
        let len = told.keys().map(|&offset| offset as usize + 1).max();
        self.places = vec![None; len.unwrap_or(0).max(self.longest.len())];
        for (&offset, &number) in &told {
            self.places[offset as usize] = Some(number);
        }
        Ok(())
    }

    /// Finds who stands where nobody was told so. True: there was a choice.
    fn fill(&mut self) -> Result<bool, Outcome> {
        let mut by_value: HashMap<u32, Vec<u32>, FixedState> = HashMap::default();
        for &number in self.loose.iter().rev() {
            if let Some(value) = self.value(number) {
                by_value.entry(value).or_default().push(number);
            }
        }
        let mut guessed = false;
        for at in 0..self.longest.len() {
            if self.places[at].is_some() {
                continue;
            }
            let who = by_value.get_mut(&self.longest[at]);
            guessed |= who.as_ref().is_some_and(|it| it.len() > 1);
            let Some(who) = who.and_then(Vec::pop) else {
                let why = "nobody can have appended what it shows there";
                return Err(if guessed {
                    Outcome::Undecided
                } else {
                    because(self.reader(at).into_iter().collect(), why)
                });
            };
            self.places[at] = Some(who);
        }
        let mut left: Vec<u32> = by_value.into_values().flatten().collect();
        left.sort_unstable();
        // Those that returned must stand somewhere, the others may.
        let (open, returned): (Vec<u32>, Vec<u32>) = left
            .into_iter()
            .partition(|&it| self.operations[it as usize].is_open());
        let holes = self.places.iter().filter(|it| it.is_none()).count();
        if holes > open.len() + returned.len() {
            let last = self.places.last().copied().flatten();
            let last = last.expect("a hole is before who was told an offset");
            return Err(because(
                vec![last],
                "not so many can have been appended before it",
            ));
        }
        let mut fill = returned.into_iter().chain(open);
        for place in self.places.iter_mut().filter(|it| it.is_none()) {
            *place = fill.next();
        }
        self.loose = fill.collect();
        self.loose
            .retain(|&it| !self.operations[it as usize].is_open());
        Ok(guessed || holes > 0)
    }

    /// The order of all operations.
    fn row(&self) -> Result<Vec<u32>, Contradiction> {
        let mut reads = self.reads.clone();
        reads.sort_by_key(|&it| self.seen(it).len());
        let mut reads = reads.into_iter().peekable();
        let mut order = Vec::with_capacity(self.operations.len());
        let mut placed = self.places.iter().copied().flatten();
        let mut now = (0, u32::MAX);
        for at in 0..=self.places.len() {
            while let Some(read) = reads.next_if(|&it| self.seen(it).len() == at) {
                self.put(read, &mut now)?;
                order.push(read);
            }
            if let Some(append) = placed.next() {
                self.put(append, &mut now)?;
                order.push(append);
            }
        }
        for &append in &self.loose {
            self.put(append, &mut now)?;
            order.push(append);
        }
        Ok(order)
    }

    /// Puts one behind all that were put: not before `now`, for whose invocation it is so.
    fn put(&self, number: u32, now: &mut (u32, u32)) -> Result<(), Contradiction> {
        if self.gaps.last[number as usize] < now.0 {
            return Err(self.late(now.1, number));
        }
        if self.gaps.first[number as usize] > now.0 {
            *now = (self.gaps.first[number as usize], number);
        }
        Ok(())
    }

    /// `later` stands behind `earlier`, and had returned before that was invoked.
    fn late(&self, earlier: u32, later: u32) -> Contradiction {
        let mut operations = vec![earlier, later];
        let mut about = Vec::new();
        for number in [earlier, later] {
            match self.class(number) {
                LogOp::Append(value, told) => {
                    about.push(*value);
                    let at = self.places.iter().position(|&it| it == Some(number));
                    if let Some(at) = at.filter(|_| told.is_none()) {
                        operations.extend(self.reader(at));
                    }
                }
                LogOp::Read(_) => {}
            }
        }
        if about.is_empty() {
            // Two reads: what the one misses and the other shows.
            let at = self.seen(earlier).len();
            about.push(self.longest[at]);
            operations.extend(self.places[at]);
        }
        let is_one = |&value: &u32| {
            let numbers = 0..self.operations.len() as u32;
            numbers.filter(|&it| self.value(it) == Some(value)).count() == 1
        };
        if !about.iter().all(is_one) {
            about.clear();
        }
        Contradiction {
            operations,
            about: about.into_iter().map(|it| self.values.text(it)).collect(),
            why: Some(
                "what stands later in the log was over before what stands earlier began".into(),
            ),
        }
    }
}

fn because(operations: Vec<u32>, why: &str) -> Outcome {
    Outcome::Invalid(Contradiction {
        operations,
        why: Some(why.to_owned()),
        ..Contradiction::default()
    })
}
