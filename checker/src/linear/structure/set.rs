//! Sets that nothing is removed from (else [`members`] has a go): decided in time linear in what the
//! reads hold, but for sorting.
//!
//! # Why it is exact
//!
//! A member is there from one moment on, its *arrival*: the first `add` of it takes effect then, and
//! all others find it there. Without removals a history is legal exactly when each operation that saw
//! a member comes after its arrival, and each that missed it before. Reads of the whole set must
//! contain one another; so they form a chain of *levels*, a member arrives between the last level
//! without it and the first with it, and all that is left are bounds in time from below and above.
//! Each arrival and each read is put at its least moment; when one of these is past what bounds it
//! from above, there is a chain of at most five operations from the one to the other, which
//! contradict each other by themselves, about at most two members.
//!
//! An `add` that answers whether it changed anything saw the member or missed it. Of several that
//! answer nothing, the one invoked first may always be the one that took effect.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{Contradiction, Gaps, NO_GAP, Outcome, Structured, keeps_to_time, members};
use crate::linear::budget::Meter;
use crate::linear::space::Timed;
use crate::model::aggregate::{Set, SetOp};

/// In place of an operation.
const NOBODY: u32 = u32::MAX;

/// A moment that is not before, and the operation whose invocation says so.
#[derive(Clone, Copy)]
struct Bound {
    gap: u32,
    by: u32,
}

impl Bound {
    fn raise(&mut self, gap: u32, by: u32) {
        if gap > self.gap {
            *self = Bound { gap, by };
        }
    }

    fn lower(&mut self, gap: u32, by: u32) {
        if gap < self.gap {
            *self = Bound { gap, by };
        }
    }
}

/// What is known of one member.
struct Member {
    number: u32,
    /// The `add` that may take effect first, and the one that said that it did.
    adder: u32,
    changer: u32,
    /// When it arrives at the earliest, by its own `add` and by who missed it.
    from: Bound,
    /// When it is there at the latest, by who saw it and by the returns of its `add`s.
    upto: Bound,
    /// Somebody saw it, or an `add` of it returned.
    is_there: bool,
    /// The first level that has it.
    level: u32,
    arrival: u32,
}

impl Structured for Set {
    fn decide(&self, operations: &[Timed], classes: &[SetOp], meter: &mut Meter<'_>) -> Outcome {
        if classes.iter().any(|it| matches!(it, SetOp::Remove(..))) {
            return members::decide(self, operations, classes, meter);
        }
        let gaps = Gaps::new(operations);
        let decided = Members::new(self, operations, classes, &gaps).and_then(|mut members| {
            if !members.rank(meter)? {
                return Ok(None);
            }
            members.place()?;
            Ok(Some(members.write_out()))
        });
        match decided {
            Ok(Some(order)) if self.allows(operations, classes, &order, meter) => {
                Outcome::Valid(order)
            }
            Ok(_) => Outcome::Undecided,
            Err(contradiction) => Outcome::Invalid(contradiction),
        }
    }

    fn allows(
        &self,
        operations: &[Timed],
        classes: &[SetOp],
        order: &[u32],
        meter: &Meter<'_>,
    ) -> bool {
        let mut members: HashSet<u32, FixedState> = HashSet::default();
        let mut step = |number: u32| match &classes[operations[number as usize].class as usize] {
            SetOp::Add(member, changed) => {
                let did = members.insert(*member);
                changed.is_none_or(|it| it == did)
            }
            SetOp::Contains(member, there) => members.contains(member) == *there,
            SetOp::Read(read) => {
                meter.time_left().is_ok()
                    && read.len() == members.len()
                    && read.iter().all(|it| members.contains(it))
                    && read.windows(2).all(|pair| pair[0] != pair[1])
            }
            SetOp::Remove(member, changed) => {
                let did = members.remove(member);
                changed.is_none_or(|it| it == did)
            }
        };
        keeps_to_time(operations, order) && order.iter().all(|&number| step(number))
    }

    fn read_list(&self, f: &str, text: &[u8], room: &mut Vec<u32>) -> Option<SetOp> {
        let is_read = f == "read" && self.members.number_list(text, room);
        is_read.then(|| Set::read(room))
    }

    fn narrow(&self, op: &SetOp, about: &[String]) -> SetOp {
        match op {
            SetOp::Read(members) => {
                let about = about.iter().filter_map(|it| serde_json::from_str(it).ok());
                let about = self.members.numbers(&about.collect::<Vec<_>>());
                let within = members.iter().copied().filter(|it| about.contains(it));
                SetOp::Read(within.collect())
            }
            other => other.clone(),
        }
    }
}

struct Members<'a> {
    set: &'a Set,
    operations: &'a [Timed],
    classes: &'a [SetOp],
    gaps: &'a Gaps,
    /// Where what is known of a member stands.
    places: HashMap<u32, u32, FixedState>,
    known: Vec<Member>,
    /// The classes of whole reads, smallest first, each with its reads by invocation.
    levels: Vec<(u32, Vec<u32>)>,
    /// For each level the members that it is the first to have.
    fresh: Vec<Vec<u32>>,
}

impl<'a> Members<'a> {
    fn new(
        set: &'a Set,
        operations: &'a [Timed],
        classes: &'a [SetOp],
        gaps: &'a Gaps,
    ) -> Result<Self, Contradiction> {
        let mut it = Members {
            set,
            operations,
            classes,
            gaps,
            places: HashMap::default(),
            known: Vec::new(),
            levels: Vec::new(),
            fresh: Vec::new(),
        };
        for (number, operation) in operations.iter().enumerate() {
            if let SetOp::Add(member, changed) = classes[operation.class as usize] {
                it.added(member, changed, number as u32)?;
            }
        }
        let mut reads: HashMap<u32, Vec<u32>, FixedState> = HashMap::default();
        for (number, operation) in operations.iter().enumerate() {
            if operation.is_open() {
                continue;
            }
            let number = number as u32;
            match &classes[operation.class as usize] {
                SetOp::Add(member, Some(false)) | SetOp::Contains(member, true) => {
                    it.saw(*member, number)?;
                }
                SetOp::Contains(member, false) => {
                    if let Some(&member) = it.places.get(member) {
                        let first = gaps.first[number as usize];
                        it.known[member as usize].from.raise(first, number);
                    }
                }
                SetOp::Read(_) => reads.entry(operation.class).or_default().push(number),
                _ => {}
            }
        }
        let mut levels: Vec<(u32, Vec<u32>)> = reads.into_iter().collect();
        levels.sort_unstable_by_key(|(class, reads)| (it.read(*class).len(), reads[0]));
        it.levels = levels;
        Ok(it)
    }

    fn read(&self, class: u32) -> &'a [u32] {
        match &self.classes[class as usize] {
            SetOp::Read(members) => members,
            _ => unreachable!("only reads have levels"),
        }
    }

    fn text(&self, member: u32) -> String {
        self.set.members.text(member)
    }

    fn added(
        &mut self,
        added: u32,
        changed: Option<bool>,
        number: u32,
    ) -> Result<(), Contradiction> {
        let operation = &self.operations[number as usize];
        if changed == Some(false) {
            return Ok(());
        }
        let at = *self.places.entry(added).or_insert_with(|| {
            self.known.push(Member {
                number: added,
                adder: number,
                changer: NOBODY,
                from: Bound {
                    gap: self.gaps.first[number as usize],
                    by: number,
                },
                upto: Bound {
                    gap: NO_GAP,
                    by: NOBODY,
                },
                is_there: false,
                level: u32::MAX,
                arrival: NO_GAP,
            });
            self.known.len() as u32 - 1
        });
        let member = &mut self.known[at as usize];
        if changed == Some(true) && !operation.is_open() {
            if member.changer != NOBODY {
                let operations = vec![member.changer, number];
                let text = self.text(added);
                return Err(Contradiction {
                    operations,
                    why: Some(format!("both added {text}, and it was never removed")),
                    about: vec![text],
                });
            }
            (member.adder, member.changer) = (number, number);
            member.from.raise(self.gaps.first[number as usize], number);
        }
        if !operation.is_open() {
            member.is_there = true;
            member.upto.lower(self.gaps.last[number as usize], number);
        }
        Ok(())
    }

    fn saw(&mut self, member: u32, number: u32) -> Result<u32, Contradiction> {
        let Some(&at) = self.places.get(&member) else {
            let text = self.text(member);
            return Err(Contradiction {
                operations: vec![number],
                why: Some(format!("nobody ever added {text}")),
                about: vec![text],
            });
        };
        let member = &mut self.known[at as usize];
        member.is_there = true;
        member.upto.lower(self.gaps.last[number as usize], number);
        Ok(at)
    }

    /// Finds the first level of each member, and that the levels contain one another. False: the time
    /// ended.
    fn rank(&mut self, meter: &Meter<'_>) -> Result<bool, Contradiction> {
        let mut before = 0;
        for level in 0..self.levels.len() {
            if meter.time_left().is_err() {
                return Ok(false);
            }
            let (class, reads) = &self.levels[level];
            let (class, first) = (*class, reads[0]);
            let (mut fresh, mut known) = (Vec::new(), 0);
            let read = self.read(class);
            if read.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(self.odd(read, first));
            }
            for member in read {
                let Some(&at) = self.places.get(member) else {
                    return Err(self.odd(read, first));
                };
                let member = &mut self.known[at as usize];
                if member.level == u32::MAX {
                    (member.level, member.is_there) = (level as u32, true);
                    fresh.push(at);
                } else {
                    known += 1;
                }
            }
            if known < before {
                let fresh = fresh.iter().map(|&at| self.known[at as usize].number);
                return Err(self.apart(level, fresh));
            }
            before = read.len();
            // What is told does not depend on who met which member first.
            fresh.sort_by_cached_key(|&at| self.text(self.known[at as usize].number));
            self.fresh.push(fresh);
        }
        Ok(true)
    }

    /// The read answers what none can.
    fn odd(&self, read: &[u32], number: u32) -> Contradiction {
        let odd = odd(self.set, read, |member| self.places.contains_key(&member));
        Contradiction {
            operations: vec![number],
            ..odd.expect("a member is there twice, or foreign")
        }
    }

    /// The level misses a member of the one before, and has one that the one before misses.
    fn apart(&self, level: usize, fresh: impl Iterator<Item = u32>) -> Contradiction {
        let [(smaller, first), (class, second)] = [&self.levels[level - 1], &self.levels[level]];
        let read = self.read(*class);
        let missed = self.read(*smaller).iter().copied();
        let missed = missed.filter(|it| read.binary_search(it).is_err());
        let members = &self.set.members;
        let one = members
            .least(missed)
            .expect("fewer are known than there were");
        let other = members.least(fresh).expect("it has no fewer");
        let adder = |member| self.known[self.places[&member] as usize].adder;
        let operations = vec![adder(one), adder(other), first[0], second[0]];
        let [one, other] = [one, other].map(|it| self.text(it));
        Contradiction {
            operations,
            why: Some(format!(
                "one read has {one} and not {other}, the other {other} and not {one}, and nothing was removed"
            )),
            about: vec![one, other],
        }
    }

    /// Puts each arrival and each read at its least moment.
    fn place(&mut self) -> Result<(), Contradiction> {
        // The least moment after the last level, whose invocation says so, and by which read and
        // for which member it does.
        let mut after = Bound { gap: 0, by: NOBODY };
        let mut through = (NOBODY, None);
        for level in 0..self.levels.len() {
            let mut least = after;
            let mut told_by = None;
            let fresh = std::mem::take(&mut self.fresh[level]);
            for &at in &fresh {
                let arrival = self.arrive(at, after, through)?;
                if arrival.gap > least.gap {
                    (least, told_by) = (arrival, Some(at));
                }
            }
            let reads = &self.levels[level].1;
            let hurried = reads.iter().min_by_key(|&&it| self.gaps.last[it as usize]);
            let hurried = *hurried.expect("a level has reads");
            if least.gap > self.gaps.last[hurried as usize] {
                let operations = vec![least.by, hurried];
                return Err(match told_by {
                    Some(at) => self.against(operations, (NOBODY, None), at),
                    None => self.against(operations, through, fresh[0]),
                });
            }
            if told_by.is_some() {
                through = (reads[0], told_by);
            }
            after = least;
            let latest = *reads.last().expect("a level has reads");
            if self.gaps.first[latest as usize] > after.gap {
                after.raise(self.gaps.first[latest as usize], latest);
                through = (latest, None);
            }
            self.fresh[level] = fresh;
        }
        for at in 0..self.known.len() as u32 {
            let member = &self.known[at as usize];
            if member.level == u32::MAX && member.is_there {
                self.arrive(at, after, through)?;
            }
        }
        Ok(())
    }

    /// Puts one arrival at its least moment.
    fn arrive(
        &mut self,
        at: u32,
        after: Bound,
        through: (u32, Option<u32>),
    ) -> Result<Bound, Contradiction> {
        let member = &mut self.known[at as usize];
        let mut least = member.from;
        let late = after.gap > least.gap;
        if late {
            least = after;
        }
        member.arrival = least.gap;
        if least.gap <= member.upto.gap {
            return Ok(least);
        }
        let operations = vec![least.by, member.upto.by];
        Err(self.against(operations, if late { through } else { (NOBODY, None) }, at))
    }

    /// What was over before something that had to precede it began: about this member, and when
    /// the reason came through a read, about the member that it came from.
    fn against(
        &self,
        mut operations: Vec<u32>,
        (read, other): (u32, Option<u32>),
        at: u32,
    ) -> Contradiction {
        let both = std::iter::once(at).chain(other);
        operations.extend(both.clone().map(|it| self.known[it as usize].adder));
        operations.extend((read != NOBODY).then_some(read));
        let about = both.map(|it| self.text(self.known[it as usize].number));
        let about: Vec<String> = about.collect();
        let why = format!(
            "what had {} was over before what missed it, or added it, began",
            about[0]
        );
        Contradiction {
            operations,
            why: (about.len() == 1).then_some(why),
            about,
        }
    }

    /// The order of all operations: within a gap by level, who misses a member before its arrival.
    fn write_out(&self) -> Vec<u32> {
        let mut level_of: HashMap<u32, u32, FixedState> = HashMap::default();
        let mut least = Vec::with_capacity(self.levels.len());
        let mut after = 0;
        for (level, (class, reads)) in self.levels.iter().enumerate() {
            level_of.insert(*class, level as u32);
            let arrivals = self.fresh[level].iter();
            let arrivals = arrivals.map(|&it| self.known[it as usize].arrival);
            let begin = arrivals.fold(after, u32::max);
            least.push(begin);
            let latest = *reads.last().expect("a level has reads");
            after = begin.max(self.gaps.first[latest as usize]);
        }
        let mut placed: Vec<(u32, u32, u8, u32)> = Vec::with_capacity(self.operations.len());
        for (number, operation) in self.operations.iter().enumerate() {
            let first = self.gaps.first[number];
            let number = number as u32;
            let (member, sees) = match &self.classes[operation.class as usize] {
                SetOp::Read(_) => {
                    let level = level_of[&operation.class];
                    placed.push((first.max(least[level as usize]), level, 3, number));
                    continue;
                }
                SetOp::Contains(member, false) => (member, false),
                SetOp::Add(member, _)
                | SetOp::Contains(member, true)
                | SetOp::Remove(member, _) => (member, true),
            };
            let Some(&at) = self.places.get(member) else {
                if !operation.is_open() {
                    placed.push((first, 0, 0, number));
                }
                continue;
            };
            let member = &self.known[at as usize];
            if !sees {
                placed.push((first, member.level, 0, number));
            } else if member.adder == number {
                if member.is_there {
                    placed.push((member.arrival, member.level, 1, number));
                }
            } else if !operation.is_open() {
                placed.push((first.max(member.arrival), member.level, 2, number));
            }
        }
        placed.sort_unstable();
        placed.into_iter().map(|(.., number)| number).collect()
    }
}

/// What no read of a set can answer: a member twice, or one that nobody can have added.
pub(super) fn odd(set: &Set, read: &[u32], can_be: impl Fn(u32) -> bool) -> Option<Contradiction> {
    let about = |text: String, why| Contradiction {
        about: vec![text],
        why: Some(why),
        ..Contradiction::default()
    };
    let twice = read.windows(2).filter(|pair| pair[0] == pair[1]);
    if let Some(twice) = set.members.least(twice.map(|pair| pair[0])) {
        let text = set.members.text(twice);
        let why = format!("it has {text} twice");
        return Some(about(text, why));
    }
    let foreign = read.iter().copied().filter(|&it| !can_be(it));
    let text = set.members.text(set.members.least(foreign)?);
    let why = format!("nobody ever added {text}");
    Some(about(text, why))
}
