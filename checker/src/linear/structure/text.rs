//! Strings that are put and appended to: as registers, whose zones decide them.
//!
//! When what a `get` answered can be taken apart into one `put` (or the empty string) and `append`s
//! in one way only, and each of those texts was given by one operation, then the `append`s saw what
//! stands before them: they are `cas` of a register from one string to the next. An `append` that no
//! `get` shows leaves what nobody sees, as a `put` that nobody sees does: it can go right before the next
//! `put`, or after all that was seen. So the zones of the register are those of the strings.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Contradiction, Outcome, Structured, keeps_to_time};
use crate::linear::budget::Meter;
use crate::linear::space::Timed;
use crate::linear::zones;
use crate::model::kv::{Kv, Op};
use crate::model::register::{Action, Operation};

impl Structured for Kv {
    fn decide(&self, operations: &[Timed], classes: &[Op], meter: &mut Meter<'_>) -> Outcome {
        let mut strings = Strings::new(operations, classes);
        let registers = match strings.registers() {
            Ok(registers) => registers,
            Err(outcome) => return outcome,
        };
        match zones::check(&registers, EMPTY, true, meter) {
            zones::Outcome::Valid(Some(order))
                if self.allows(operations, classes, &order, meter) =>
            {
                Outcome::Valid(order)
            }
            zones::Outcome::Invalid(violation) => {
                strings.contradiction(&registers, &violation.involved())
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

/// Texts, and who gave them.
#[derive(Default)]
struct Texts<'a> {
    givers: HashMap<&'a [u8], Giver, FixedState>,
    /// The lengths that there are.
    lengths: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Giver {
    operation: u32,
    is_only: bool,
}

impl<'a> Texts<'a> {
    fn add(&mut self, text: &'a str, operation: u32) {
        let given = self.givers.entry(text.as_bytes());
        given.and_modify(|it| it.is_only = false).or_insert(Giver {
            operation,
            is_only: true,
        });
        if let Err(at) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(at, text.len());
        }
    }
}

/// A string that was seen, or the beginning of one.
#[derive(Clone, Copy)]
struct Seen {
    before: u32,
    /// Who made it of the one before.
    by: u32,
    /// A `get` that shows it.
    shown_by: u32,
}

struct Strings<'a> {
    operations: &'a [Timed],
    classes: &'a [Op],
    puts: Texts<'a>,
    appends: Texts<'a>,
    /// By the register's value.
    seen: Vec<Seen>,
    /// The value that an operation left, where it was seen.
    left: HashMap<u32, u32, FixedState>,
}

impl<'a> Strings<'a> {
    fn new(operations: &'a [Timed], classes: &'a [Op]) -> Self {
        let (mut puts, mut appends) = (Texts::default(), Texts::default());
        for (number, it) in operations.iter().enumerate() {
            match &classes[it.class as usize] {
                Op::Put(text) => puts.add(text, number as u32),
                Op::Append(text) => appends.add(text, number as u32),
                Op::Get(_) => {}
            }
        }
        let nobody = Seen {
            before: EMPTY,
            by: u32::MAX,
            shown_by: u32::MAX,
        };
        Strings {
            operations,
            classes,
            puts,
            appends,
            seen: vec![nobody],
            left: HashMap::default(),
        }
    }

    /// The operations as those of a register.
    fn registers(&mut self) -> Result<Vec<Operation>, Outcome> {
        if self.appends.lengths.first() == Some(&0) {
            return Err(Outcome::Undecided);
        }
        let mut values: HashMap<u32, u32, FixedState> = HashMap::default();
        for (number, it) in self.operations.iter().enumerate() {
            if let Op::Get(text) = &self.classes[it.class as usize]
                && !values.contains_key(&it.class)
            {
                let value = self.value_of(text, number as u32)?;
                values.insert(it.class, value);
            }
        }
        let mut fresh = self.seen.len() as u32;
        let actions = self.operations.iter().enumerate().map(|(number, it)| {
            let left = self.left.get(&(number as u32)).copied();
            let action = match (&self.classes[it.class as usize], left) {
                (Op::Get(_), _) => Action::Read(values[&it.class]),
                (Op::Append(_), Some(left)) => Action::Cas(self.seen[left as usize].before, left),
                (Op::Put(_), Some(left)) => Action::Write(left),
                (Op::Put(_) | Op::Append(_), None) => {
                    fresh += 1;
                    Action::Write(fresh - 1)
                }
            };
            Operation {
                invoke: it.invoke,
                ret: it.ret,
                action,
            }
        });
        Ok(actions.collect())
    }

    /// What a `get` saw, as a value; new ones are numbered.
    fn value_of(&mut self, text: &str, get: u32) -> Result<u32, Outcome> {
        let givers = self.take_apart(text.as_bytes(), get)?;
        let mut value = EMPTY;
        for by in givers {
            let is_put = matches!(self.class(by), Op::Put(_));
            let before = if is_put { EMPTY } else { value };
            value = match self.left.get(&by) {
                Some(&left) if is_put || self.seen[left as usize].before == before => left,
                Some(&left) => {
                    // It stands behind two different strings.
                    let mut operations = self.made_of(left);
                    operations.extend(self.made_of(before));
                    operations.extend([self.seen[left as usize].shown_by, get, by]);
                    return Err(contradiction(operations));
                }
                None => {
                    self.seen.push(Seen {
                        before,
                        by,
                        shown_by: get,
                    });
                    let value = self.seen.len() as u32 - 1;
                    self.left.insert(by, value);
                    value
                }
            };
        }
        Ok(value)
    }

    fn class(&self, number: u32) -> &'a Op {
        &self.classes[self.operations[number as usize].class as usize]
    }

    /// The only operations whose texts make up this one, in order.
    fn take_apart(&self, text: &[u8], get: u32) -> Result<Vec<u32>, Outcome> {
        // For each beginning in how many ways it can be made, and the last text of one.
        let mut ways = vec![(0u8, None::<Giver>); text.len() + 1];
        ways[0].0 = 1;
        let known = |texts: &Texts<'_>, part: &[u8]| texts.givers.get(part).copied();
        for &len in self.puts.lengths.iter().filter(|&&len| len <= text.len()) {
            if let Some(giver) = known(&self.puts, &text[..len]) {
                ways[len] = (ways[len].0 + 1, Some(giver));
            }
        }
        for end in 1..=text.len() {
            for &len in self.appends.lengths.iter().take_while(|&&len| len <= end) {
                if ways[end - len].0 > 0
                    && let Some(giver) = known(&self.appends, &text[end - len..end])
                {
                    ways[end] = (ways[end].0.saturating_add(ways[end - len].0), Some(giver));
                }
            }
        }
        let mut end = text.len();
        match ways[end].0 {
            0 => {
                return Err(Outcome::Invalid(Contradiction {
                    operations: vec![get],
                    why: Some("no texts that were put and appended make up what it saw".into()),
                    ..Contradiction::default()
                }));
            }
            1 => {}
            _ => return Err(Outcome::Undecided),
        }
        let mut givers = Vec::new();
        while let Some(giver) = ways[end].1 {
            if !giver.is_only {
                return Err(Outcome::Undecided);
            }
            if givers.contains(&giver.operation) {
                return Err(contradiction(vec![get, giver.operation]));
            }
            givers.push(giver.operation);
            match self.class(giver.operation) {
                Op::Append(text) => end -= text.len(),
                Op::Put(_) | Op::Get(_) => break,
            }
        }
        givers.reverse();
        Ok(givers)
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
    fn contradiction(&self, registers: &[Operation], involved: &[u32]) -> Outcome {
        let mut operations = involved.to_vec();
        for &number in involved {
            let (Action::Read(value) | Action::Write(value) | Action::Cas(_, value)) =
                registers[number as usize].action
            else {
                return Outcome::Undecided;
            };
            if let Some(seen) = self.seen.get(value as usize).filter(|_| value != EMPTY) {
                operations.push(seen.shown_by);
                let Op::Get(_) = self.class(seen.shown_by) else {
                    return Outcome::Undecided;
                };
                let Action::Read(shown) = registers[seen.shown_by as usize].action else {
                    return Outcome::Undecided;
                };
                operations.extend(self.made_of(shown));
            }
        }
        contradiction(operations)
    }
}

fn contradiction(mut operations: Vec<u32>) -> Outcome {
    operations.sort_unstable();
    operations.dedup();
    operations.into()
}
