//! Strings that are put and appended to: as registers, whose zones decide them.
//!
//! What a `get` answered is taken apart into one `put` (or the empty string) and the `append`s behind it. Where
//! that is possible in one way only, and it is certain which operation gave each of the texts, the
//! `append`s saw what stands before them: they are `cas` of a register from one string to the next. An `append`
//! that no `get` shows leaves what nobody sees, as a `put` that nobody sees does: it can go right before the next
//! `put`, or after all that was seen. So the zones of the register are those of the strings.
//!
//! A text that only one operation gave is that one's. Of one that several gave it is certain too when all of
//! them but one were invoked too late, had returned too early, or stand elsewhere: behind a string that came
//! about only once, a text can be appended only once. A `get` that is not certain is left out, and what
//! contradicts itself without it does so with it; but then nothing is found valid.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Contradiction, Outcome, Structured, keeps_to_time};
use crate::linear::budget::{Meter, Spent, grown};
use crate::linear::space::Timed;
use crate::linear::zones;
use crate::model::kv::{Kv, Op};
use crate::model::register::{Action, NEVER, Operation};

impl Structured for Kv {
    fn decide(&self, operations: &[Timed], classes: &[Op], meter: &mut Meter<'_>) -> Outcome {
        let mut strings = Strings::new(operations, classes);
        let actions = match strings.actions(meter) {
            Ok(actions) => actions,
            Err(outcome) => return outcome,
        };
        let mut numbers = Vec::with_capacity(operations.len());
        let mut registers = Vec::with_capacity(operations.len());
        for (number, (it, action)) in operations.iter().zip(&actions).enumerate() {
            if let Some(action) = *action {
                let (invoke, ret) = (it.invoke, it.ret);
                numbers.push(number as u32);
                registers.push(Operation {
                    invoke,
                    ret,
                    action,
                });
            }
        }
        let mut apart = Meter::new(meter.purse(), u64::MAX);
        match zones::check(&registers, EMPTY, true, &mut apart) {
            zones::Outcome::Valid(Some(order))
                if registers.len() == operations.len()
                    && self.allows(operations, classes, &order, meter) =>
            {
                Outcome::Valid(order)
            }
            zones::Outcome::Invalid(violation) => {
                let involved = violation.involved().into_iter();
                let involved: Vec<u32> = involved.map(|at| numbers[at as usize]).collect();
                strings.contradiction(&actions, &involved)
            }
            _ => Outcome::Undecided,
        }
    }

    fn allows(&self, operations: &[Timed], classes: &[Op], order: &[u32], _: &Meter<'_>) -> bool {
        let mut state = String::new();
        let mut step = |number: u32| match &classes[operations[number as usize].class as usize] {
            Op::Put(text) => {
                state.clone_from(text);
                true
            }
            Op::Append(text) => {
                state.push_str(text);
                true
            }
            Op::Get(seen) => *seen == state,
        };
        keeps_to_time(operations, order) && order.iter().all(|&number| step(number))
    }
}

/// The empty string that there is at first, as a register's value.
const EMPTY: u32 = 0;
const NOBODY: u32 = u32::MAX;

/// The budget is looked at once in so many bytes, and values.
const LOOK_EVERY: usize = 1 << 14;

/// What was put, or what was appended: each text has a number.
#[derive(Default)]
struct Texts<'a> {
    numbers: HashMap<&'a [u8], u32, FixedState>,
    /// The lengths that there are.
    lengths: Vec<usize>,
}

/// Who gave a text.
struct Given {
    is_put: bool,
    len: usize,
    by: Vec<u32>,
}

impl<'a> Texts<'a> {
    fn add(&mut self, text: &'a str, is_put: bool, by: u32, given: &mut Vec<Given>) {
        let number = *self.numbers.entry(text.as_bytes()).or_insert_with(|| {
            given.push(Given {
                is_put,
                len: text.len(),
                by: Vec::new(),
            });
            given.len() as u32 - 1
        });
        given[number as usize].by.push(by);
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
    }
}

/// A string that was seen, or the beginning of one.
#[derive(Clone, Copy)]
struct Seen {
    before: u32,
    /// The last text.
    text: u32,
    /// Who gave it, when that is certain.
    by: u32,
    /// Who gave the other texts is certain, too.
    is_certain: bool,
    /// The first `get` to return that shows it.
    shown_by: u32,
}

struct Strings<'a> {
    operations: &'a [Timed],
    classes: &'a [Op],
    puts: Texts<'a>,
    appends: Texts<'a>,
    given: Vec<Given>,
    /// By the register's value; each stands behind those that it begins with.
    seen: Vec<Seen>,
    /// By the string before, and the text.
    values: HashMap<(u32, u32), u32, FixedState>,
    /// The value that an operation left, where it was seen.
    left: HashMap<u32, u32, FixedState>,
}

impl<'a> Strings<'a> {
    fn new(operations: &'a [Timed], classes: &'a [Op]) -> Self {
        let (mut puts, mut appends) = (Texts::default(), Texts::default());
        let mut given = Vec::new();
        for (number, it) in operations.iter().enumerate() {
            match &classes[it.class as usize] {
                Op::Put(text) => puts.add(text, true, number as u32, &mut given),
                Op::Append(text) => appends.add(text, false, number as u32, &mut given),
                Op::Get(_) => {}
            }
        }
        let empty = Seen {
            before: EMPTY,
            text: NOBODY,
            by: NOBODY,
            is_certain: true,
            shown_by: NOBODY,
        };
        Strings {
            operations,
            classes,
            puts,
            appends,
            given,
            seen: vec![empty],
            values: HashMap::default(),
            left: HashMap::default(),
        }
    }

    /// What the operations do to a register; none, where that is not certain.
    fn actions(&mut self, meter: &mut Meter<'_>) -> Result<Vec<Option<Action>>, Outcome> {
        if self.appends.lengths.first() == Some(&0) {
            return Err(Outcome::Undecided);
        }
        let shown = self.read(meter)?;
        self.name_givers(meter)?;
        let mut fresh = self.seen.len() as u32;
        let action = |(number, it): (usize, &Timed)| {
            let left = self.left.get(&(number as u32)).copied();
            let left = left.filter(|&left| self.seen[left as usize].is_certain);
            match (&self.classes[it.class as usize], left) {
                (Op::Get(_), _) => shown[it.class as usize]
                    .filter(|&value| self.seen[value as usize].is_certain)
                    .map(Action::Read),
                (Op::Append(_), Some(left)) => {
                    Some(Action::Cas(self.seen[left as usize].before, left))
                }
                (Op::Put(_), Some(left)) => Some(Action::Write(left)),
                (Op::Put(_) | Op::Append(_), None) => {
                    fresh += 1;
                    Some(Action::Write(fresh - 1))
                }
            }
        };
        Ok(self.operations.iter().enumerate().map(action).collect())
    }

    /// When the budget has ended it is the search that says so.
    fn look(&self, meter: &mut Meter<'_>, beside: usize) -> Result<(), Outcome> {
        // A table that grows holds its old self too.
        let tables = 3 * (self.values.allocation_size() + self.left.allocation_size());
        let held = meter.hold((grown(&self.seen) + tables + beside) as u64);
        let looked = held.and_then(|()| meter.time_left());
        looked.map_err(|_| Outcome::Undecided)
    }

    /// What each class of `get` saw, as a value; none, where it can be taken apart in several ways.
    fn read(&mut self, meter: &mut Meter<'_>) -> Result<Vec<Option<u32>>, Outcome> {
        let mut shown: Vec<Option<Option<u32>>> = vec![None; self.classes.len()];
        let mut parts = Parts::default();
        let mut looked_at = 0;
        for (number, it) in (0..).zip(self.operations) {
            let Op::Get(text) = &self.classes[it.class as usize] else {
                continue;
            };
            let value = if let Some(value) = shown[it.class as usize] {
                value
            } else {
                looked_at += 1 + text.len();
                if looked_at >= LOOK_EVERY {
                    looked_at = 0;
                    self.look(meter, text.len() * size_of::<Way>())?;
                }
                let taken = parts.take(text.as_bytes(), &self.puts, &self.appends, meter);
                taken.map_err(|_| Outcome::Undecided)?;
                let value = match parts.ways() {
                    0 => return Err(made_of_nothing(number)),
                    1 => Some(self.value_of(&parts)),
                    _ => None,
                };
                *shown[it.class as usize].insert(value)
            };
            if let Some(value) = value {
                self.is_shown(value, number);
            }
        }
        for value in (1..self.seen.len()).rev() {
            let it = self.seen[value];
            if !self.is_put(value) {
                self.is_shown(it.before, it.shown_by);
            }
        }
        Ok(shown.into_iter().map(Option::flatten).collect())
    }

    fn is_shown(&mut self, value: u32, by: u32) {
        let shown_by = &mut self.seen[value as usize].shown_by;
        let returned = |get: u32| match get {
            NOBODY => NEVER,
            get => self.operations[get as usize].ret,
        };
        if returned(by) < returned(*shown_by) {
            *shown_by = by;
        }
    }

    /// The value of a string that was taken apart; new ones are numbered.
    fn value_of(&mut self, parts: &Parts<'_>) -> u32 {
        let mut value = EMPTY;
        for text in parts.texts(&self.given) {
            value = *self.values.entry((value, text)).or_insert_with(|| {
                self.seen.push(Seen {
                    before: value,
                    text,
                    by: NOBODY,
                    is_certain: false,
                    shown_by: NOBODY,
                });
                self.seen.len() as u32 - 1
            });
        }
        value
    }

    fn is_put(&self, value: usize) -> bool {
        self.given[self.seen[value].text as usize].is_put
    }

    /// Finds out who gave what was seen.
    fn name_givers(&mut self, meter: &mut Meter<'_>) -> Result<(), Outcome> {
        for value in 1..self.seen.len() as u32 {
            if let [by] = self.given_by(value)[..] {
                self.name_giver(value, by)?;
            }
        }
        // Who is named for one is out of the question for others; it is not followed without end.
        for _ in 0..4 {
            let named = self.left.len();
            for value in 1..self.seen.len() as u32 {
                if self.seen[value as usize].by == NOBODY {
                    self.choose_giver(value)?;
                }
                if (value as usize).is_multiple_of(LOOK_EVERY) {
                    self.look(meter, 0)?;
                }
            }
            if self.left.len() == named {
                break;
            }
        }
        for value in 1..self.seen.len() {
            let it = self.seen[value];
            let before = self.is_put(value) || self.seen[it.before as usize].is_certain;
            self.seen[value].is_certain = it.by != NOBODY && before;
        }
        Ok(())
    }

    fn given_by(&self, value: u32) -> &[u32] {
        &self.given[self.seen[value as usize].text as usize].by
    }

    fn name_giver(&mut self, value: u32, by: u32) -> Result<(), Outcome> {
        self.seen[value as usize].by = by;
        let Some(other) = self.left.insert(by, value) else {
            return Ok(());
        };
        let Seen {
            before,
            shown_by: get,
            ..
        } = self.seen[value as usize];
        if !self.is_put(value as usize) && self.begins_with(before, other) {
            // It stands in one string twice.
            return Err(contradiction(vec![get, by]));
        }
        // It stands behind two different strings.
        let gets = [self.seen[other as usize].shown_by, get];
        if !(self.is_plain(other) && self.is_plain(before)) {
            return Err(self.illegal(&gets));
        }
        let mut operations = self.made_of(other);
        operations.extend(self.made_of(before));
        operations.extend(gets);
        operations.push(by);
        Err(contradiction(operations))
    }

    /// Names the one of several who can have appended the last text of this string, if it came about only once.
    fn choose_giver(&mut self, value: u32) -> Result<(), Outcome> {
        /// Where more gave the same text, it is not asked who it was.
        const GIVERS_MAX: usize = 16;
        let it = self.seen[value as usize];
        let before = self.seen[it.before as usize];
        if self.given_by(value).len() > GIVERS_MAX
            || self.is_put(value as usize)
            || (it.before != EMPTY && before.by == NOBODY)
        {
            return Ok(());
        }
        let shown = self.operations[it.shown_by as usize].ret;
        let began = match it.before {
            EMPTY => 0,
            _ => self.operations[before.by as usize].invoke,
        };
        let can = |&&by: &&u32| {
            let giver = self.operations[by as usize];
            giver.invoke < shown && giver.ret >= began && !self.left.contains_key(&by)
        };
        let mut candidates = self.given_by(value).iter().filter(can);
        match (candidates.next().copied(), candidates.next()) {
            (Some(by), None) => self.name_giver(value, by),
            (None, _) => Err(self.illegal(&[it.shown_by])),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    fn begins_with(&self, mut value: u32, beginning: u32) -> bool {
        while value > beginning {
            value = self.seen[value as usize].before;
        }
        value == beginning
    }

    /// Who made this value.
    fn made_of(&self, mut value: u32) -> Vec<u32> {
        let mut makers = Vec::new();
        while value != EMPTY {
            let seen = self.seen[value as usize];
            makers.push(seen.by);
            value = seen.before;
        }
        makers
    }

    /// What clashes, with all that shows where it stands.
    fn contradiction(&self, actions: &[Option<Action>], involved: &[u32]) -> Outcome {
        let mut operations = involved.to_vec();
        let mut is_plain = true;
        for &number in involved {
            let Some(Action::Read(value) | Action::Write(value) | Action::Cas(_, value)) =
                actions[number as usize]
            else {
                return Outcome::Undecided;
            };
            if let Some(seen) = self.seen.get(value as usize).filter(|_| value != EMPTY) {
                operations.push(seen.shown_by);
                let Some(Action::Read(shown)) = actions[seen.shown_by as usize] else {
                    return self.illegal(involved);
                };
                is_plain &= self.is_plain(shown);
                operations.extend(self.made_of(shown));
            }
        }
        if is_plain {
            contradiction(operations)
        } else {
            self.illegal(involved)
        }
    }

    /// What shows who gave a text may be anywhere among the `get`s that were traced.
    fn illegal(&self, involved: &[u32]) -> Outcome {
        let gets = self.seen[1..].iter().map(|it| it.shown_by);
        let mut involved: Vec<u32> = involved.iter().copied().chain(gets).collect();
        involved.sort_unstable();
        involved.dedup();
        Outcome::Illegal(involved)
    }

    /// Whether nobody else gave one of the texts of this string.
    fn is_plain(&self, mut value: u32) -> bool {
        while value != EMPTY && self.given_by(value).len() == 1 {
            value = self.seen[value as usize].before;
        }
        value == EMPTY
    }
}

/// A string taken apart into texts.
#[derive(Default)]
struct Parts<'a> {
    text: &'a [u8],
    ways: Vec<Way>,
}

/// In how many ways a beginning can be made, and the last text of one.
type Way = (u8, u32);

impl<'a> Parts<'a> {
    /// Takes the next one apart. What it begins with like the last one is not looked at again.
    fn take(
        &mut self,
        text: &'a [u8],
        puts: &Texts<'_>,
        appends: &Texts<'_>,
        meter: &Meter<'_>,
    ) -> Result<(), Spent> {
        let alike = self
            .text
            .iter()
            .zip(text)
            .take_while(|(a, b)| a == b)
            .count();
        let known = if self.ways.is_empty() { 0 } else { alike + 1 };
        self.text = text;
        self.ways.truncate(known);
        self.ways.resize(text.len() + 1, (0, NOBODY));
        let from_puts = puts.lengths.iter().take_while(|&&len| len <= text.len());
        for &len in from_puts.filter(|&&len| len >= known) {
            if let Some(&put) = puts.numbers.get(&text[..len]) {
                self.ways[len] = (1, put);
            }
        }
        if known == 0 {
            self.ways[0].0 += 1;
        }
        for end in known.max(1)..=text.len() {
            if end.is_multiple_of(LOOK_EVERY) {
                meter.time_left()?;
            }
            for &len in appends.lengths.iter().take_while(|&&len| len <= end) {
                let before = self.ways[end - len].0;
                if before > 0
                    && let Some(&append) = appends.numbers.get(&text[end - len..end])
                {
                    self.ways[end] = (self.ways[end].0.saturating_add(before), append);
                }
            }
        }
        Ok(())
    }

    /// In how many ways, if not too many, the string can be made.
    fn ways(&self) -> u8 {
        self.ways[self.text.len()].0
    }

    /// The texts of the only way to make it, in order.
    fn texts(&self, given: &[Given]) -> Vec<u32> {
        let mut texts = Vec::new();
        let mut end = self.text.len();
        while self.ways[end].1 != NOBODY {
            let text = self.ways[end].1;
            texts.push(text);
            let it = &given[text as usize];
            if it.is_put {
                break;
            }
            end -= it.len;
        }
        texts.reverse();
        texts
    }
}

fn made_of_nothing(get: u32) -> Outcome {
    Outcome::Invalid(Contradiction {
        operations: vec![get],
        why: Some("no texts that were put and appended make up what it saw".into()),
        ..Contradiction::default()
    })
}

fn contradiction(mut operations: Vec<u32>) -> Outcome {
    operations.sort_unstable();
    operations.dedup();
    operations.into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Kv, LOOK_EVERY, Meter, Op, Outcome, Structured, Timed};
    use crate::linear::budget::Purse;
    use crate::options::Budget;

    fn append(text: &str) -> Op {
        Op::Append(text.to_owned())
    }

    fn get(text: &str) -> Op {
        Op::Get(text.to_owned())
    }

    fn decide(operations: &[(u32, u32, Op)]) -> Outcome {
        decide_within(&Budget::default(), operations)
    }

    fn decide_within(budget: &Budget, operations: &[(u32, u32, Op)]) -> Outcome {
        let timed = operations.iter().zip(0..);
        let timed = timed.map(|((invoke, ret, _), class)| Timed {
            invoke: *invoke,
            ret: *ret,
            class,
        });
        let classes: Vec<Op> = operations.iter().map(|it| it.2.clone()).collect();
        let purse = Purse::new(budget, Instant::now());
        let mut meter = Meter::new(&purse, u64::MAX);
        Kv.decide(&timed.collect::<Vec<_>>(), &classes, &mut meter)
    }

    #[test]
    fn a_budget_that_has_ended_is_noticed_on_the_way() {
        let text = "x".repeat(LOOK_EVERY);
        let operations = [(0, 1, append(&text)), (2, 3, get(&text))];
        let within = |time, memory_bytes| {
            let budget = Budget { time, memory_bytes };
            decide_within(&budget, &operations)
        };
        let (time, bytes) = (Duration::from_secs(60), 1 << 20);
        assert_eq!(within(time, bytes), Outcome::Valid(vec![0, 1]));
        assert_eq!(within(Duration::ZERO, bytes), Outcome::Undecided);
        assert_eq!(within(time, 1 << 10), Outcome::Undecided);
    }

    #[test]
    fn who_gave_a_text_twice_given_is_found_out() {
        let the_other_was_invoked_later = [
            (0, 3, append("x")),
            (1, 2, get("x")),
            (4, 7, append("x")),
            // The first stands here already.
            (5, 6, get("xx")),
        ];
        let in_turn = Outcome::Valid(vec![0, 1, 2, 3]);
        assert_eq!(decide(&the_other_was_invoked_later), in_turn);
        let the_other_had_returned = [
            (0, 1, append("x")),
            (2, 3, Op::Put("y".into())),
            (4, 7, append("x")),
            (5, 6, get("yx")),
        ];
        assert_eq!(decide(&the_other_had_returned), in_turn);
        let neither = [
            (0, 1, append("x")),
            (2, 3, Op::Put("y".into())),
            (4, 5, get("yx")),
            (6, 7, append("x")),
        ];
        assert_eq!(decide(&neither), Outcome::Illegal(vec![2]));
        let either = [(0, 9, append("x")), (1, 8, append("x")), (2, 3, get("x"))];
        assert_eq!(decide(&either), Outcome::Undecided);
    }
}
