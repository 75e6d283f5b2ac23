//! Bounds of what a counter can answer.
//!
//! What is added before an answer is at least all that was surely added (its `add` had returned), but for
//! what may have been taken away, and at most all that may have been added. An answer beyond these
//! bounds is illegal by itself. Where nothing is ever taken away, who went on from one sum to another leaves
//! no room in between, neither for who saw a sum there nor for who came from one or got to one. Nor can an
//! answer be less than what another one that was over before was, and what was surely added in between.
//! Where all `add`s are of one amount there is no other contradiction: put off as long as can be, an `add`
//! takes effect at its return, or earlier because an answer demands it. When that makes a later answer too
//! low, look at the last demand that took one which returns only after that answer begins: all that would
//! return before had been taken by then, so all that was added since had also begun since. And an answer
//! that demands more than has begun is out of bounds.
//!
//! Within these [`levels`](super::levels) are a proof that there is no order, [`climb`] finds one, or it takes a
//! search.

use super::levels::Levels;
use super::{Contradiction, Gaps, Outcome, Structured, climb, keeps_to_time};
use crate::linear::budget::Meter;
use crate::linear::space::Timed;
use crate::model::aggregate::{Counter, CounterOp};

impl Structured for Counter {
    fn decide(
        &self,
        operations: &[Timed],
        classes: &[CounterOp],
        meter: &mut Meter<'_>,
    ) -> Outcome {
        let adds_only = |it: &Timed| classes[it.class as usize].by() >= 0;
        let adds_only = operations.iter().all(adds_only);
        let mut contradiction = out_of_bounds(self.initial, operations, classes);
        if contradiction.is_none() && adds_only {
            contradiction =
                without_room(operations, classes).or_else(|| too_low(operations, classes, meter));
        }
        if let Some(contradiction) = contradiction {
            return Outcome::Invalid(contradiction);
        }
        let gaps = Gaps::new(operations);
        let levels = Levels::new(self.initial, operations, classes, &gaps);
        let Some(levels) = levels.filter(|it| meter.hold(it.bytes()).is_ok()) else {
            return Outcome::Undecided;
        };
        let order = |width, meter: &mut Meter<'_>| {
            let order = with_idle(operations, classes, climb::order(&levels, width, meter)?);
            let legal = self.allows(operations, classes, &order, meter);
            legal.then_some(order)
        };
        if let Some(order) = order(climb::NARROW, meter) {
            return Outcome::Valid(order);
        }
        if let Ok(Some(level)) = levels.unreachable(meter) {
            return Outcome::Illegal(levels.seers(level));
        }
        let order = climb::WIDER.iter().find_map(|&width| order(width, meter));
        order.map_or(Outcome::Undecided, Outcome::Valid)
    }

    fn allows(
        &self,
        operations: &[Timed],
        classes: &[CounterOp],
        order: &[u32],
        _: &Meter<'_>,
    ) -> bool {
        let mut sum = i128::from(self.initial);
        let mut step = |number: u32| {
            let op = &classes[operations[number as usize].class as usize];
            sum += op.by();
            op.answer().is_none_or(|it| it == sum)
        };
        keeps_to_time(operations, order) && order.iter().all(|&number| step(number))
    }
}

/// The order with those that add nothing and were told nothing: each right after all that returned before
/// it began. Who begins after it has returned comes after one of those, or stands behind all the same.
fn with_idle(operations: &[Timed], classes: &[CounterOp], order: Vec<u32>) -> Vec<u32> {
    let is_idle = |it: &Timed| {
        let adds_nothing = matches!(classes[it.class as usize], CounterOp::Add(0, _));
        adds_nothing && !it.is_open() && told(it, classes).is_none()
    };
    let mut idle: Vec<u32> = (0..operations.len() as u32).collect();
    idle.retain(|&it| is_idle(&operations[it as usize]));
    if idle.is_empty() {
        return order;
    }
    let ret = |it: u32| operations[it as usize].ret;
    let mut returned: Vec<(u32, usize)> = order.iter().map(|&it| ret(it)).zip(1..).collect();
    returned.sort_unstable();
    let (mut before, mut ended) = (0, returned.into_iter().peekable());
    let mut whole = Vec::with_capacity(order.len() + idle.len());
    for it in idle {
        let invoke = operations[it as usize].invoke;
        let from = before;
        while let Some((_, place)) = ended.next_if(|&(ret, _)| ret < invoke) {
            before = place.max(before);
        }
        whole.extend_from_slice(&order[from..before]);
        whole.push(it);
    }
    whole.extend_from_slice(&order[before..]);
    whole
}

/// The sum that an operation was told, which surely happened.
fn told(it: &Timed, classes: &[CounterOp]) -> Option<i128> {
    let sum = classes[it.class as usize].answer();
    sum.filter(|_| !it.is_open())
}

/// Looks for an answer that is out of bounds.
fn out_of_bounds(
    initial: i64,
    operations: &[Timed],
    classes: &[CounterOp],
) -> Option<Contradiction> {
    let by = |it: &Timed| classes[it.class as usize].by();
    let mut returned: Vec<&Timed> = operations.iter().filter(|it| !it.is_open()).collect();
    returned.sort_unstable_by_key(|it| it.ret);
    // What was added by operations that began, or ended, before each in order.
    let sums = |adds: &mut dyn Iterator<Item = i128>, sign: i128| {
        let mut sum = 0;
        let mut sums = vec![0];
        for by in adds {
            sum += (by * sign).max(0) * sign;
            sums.push(sum);
        }
        sums
    };
    let [began_up, began_down] = [1, -1].map(|sign| sums(&mut operations.iter().map(by), sign));
    let [ended_up, ended_down] =
        [1, -1].map(|sign| sums(&mut returned.iter().map(|it| by(it)), sign));
    for (number, it) in operations.iter().enumerate() {
        let Some(answer) = told(it, classes) else {
            continue;
        };
        let began = operations.partition_point(|other| other.invoke < it.ret);
        let ended = returned.partition_point(|other| other.ret < it.invoke);
        let initial = i128::from(initial);
        let own = by(it);
        let least = initial + (ended_up[ended] + own.max(0)) + began_down[began];
        let most = initial + began_up[began] + (ended_down[ended] + own.min(0));
        // What must be shown beside: all that may have led there, and the fewest of those that surely led
        // away from there.
        let (why, sign) = if answer > most {
            (format!("by then at most {most} can have been reached"), -1)
        } else if answer < least {
            (format!("by then at least {least} had been reached"), 1)
        } else {
            continue;
        };
        let mut surely: Vec<u32> = (0..operations.len() as u32).collect();
        surely.retain(|&other| {
            let other = &operations[other as usize];
            (other.ret < it.invoke || std::ptr::eq(other, it)) && by(other) * sign > 0
        });
        surely.sort_by_key(|&other| -by(&operations[other as usize]).abs());
        let began = (0..began as u32).filter(|&other| by(&operations[other as usize]) * sign < 0);
        let mut involved: Vec<u32> = began.collect();
        let led = involved.iter().map(|&it| by(&operations[it as usize]));
        let mut reached = initial + led.sum::<i128>();
        involved.push(number as u32);
        for other in surely {
            if (reached - answer) * sign > 0 {
                break;
            }
            reached += by(&operations[other as usize]);
            involved.push(other);
        }
        return Some(Contradiction {
            operations: involved,
            why: Some(why),
            ..Contradiction::default()
        });
    }
    None
}

/// Looks for two answers that leave each other no room, where nothing is taken away.
fn without_room(operations: &[Timed], classes: &[CounterOp]) -> Option<Contradiction> {
    // From which sum to which one each went.
    let went = |number: u32| {
        let it = &operations[number as usize];
        told(it, classes).map(|sum| (sum - classes[it.class as usize].by(), sum))
    };
    let mut seers: Vec<u32> = (0..operations.len() as u32).collect();
    seers.retain(|&it| went(it).is_some());
    seers.sort_unstable_by_key(|&it| (went(it), it));
    // When each begins where the one before it has got to, or above, none is in the way of another.
    seers.windows(2).find_map(|pair| {
        let [(from, to), (next, upto)] = [went(pair[0])?, went(pair[1])?];
        let words = |from, to| {
            if from == to {
                format!("saw {to}")
            } else {
                format!("went from {from} to {to}")
            }
        };
        (next < to).then(|| Contradiction {
            operations: pair.to_vec(),
            why: Some(format!(
                "one {}, the other {}, and nothing was taken away",
                words(from, to),
                words(next, upto)
            )),
            ..Contradiction::default()
        })
    })
}

/// The clock is looked at once in so many operations.
const LOOK_EVERY: usize = 1 << 13;

/// Looks for an answer that is less than an earlier one and what was surely added since, where nothing is taken
/// away.
fn too_low(
    operations: &[Timed],
    classes: &[CounterOp],
    meter: &mut Meter<'_>,
) -> Option<Contradiction> {
    let by = |it: &Timed| classes[it.class as usize].by();
    let answer = |it: &Timed| told(it, classes);
    let mut returned: Vec<u32> = (0..operations.len() as u32).collect();
    returned.retain(|&it| !operations[it as usize].is_open());
    returned.sort_unstable_by_key(|&it| operations[it as usize].ret);
    let at = |row: u32| returned.partition_point(|&it| operations[it as usize].ret < row);
    let bytes = returned.capacity() * size_of::<u32>() + Since::bytes(returned.len() + 1);
    meter.hold(bytes as u64).ok()?;
    let mut since = Since::new(returned.len() + 1);
    let mut ended = 0;
    for (number, it) in operations.iter().enumerate() {
        if number.is_multiple_of(LOOK_EVERY) {
            meter.time_left().ok()?;
        }
        let before = at(it.invoke);
        while ended < before {
            let other = &operations[returned[ended] as usize];
            since.set(at(other.invoke), by(other), None);
            if let Some(answer) = answer(other) {
                since.set(ended, 0, Some(answer));
            }
            ended += 1;
        }
        let seen = answer(it).map(|seen| seen - by(it));
        let Some(seen) = seen.filter(|&seen| since.most() > Some(seen)) else {
            continue;
        };
        // The earlier answer, and what was added in between, the most at once first.
        return (0..ended).rev().find_map(|end| {
            let earlier = &operations[returned[end] as usize];
            let mut least = answer(earlier)?;
            let mut added = returned[end + 1..ended].to_vec();
            added.retain(|&it| operations[it as usize].invoke > earlier.ret);
            added.sort_by_key(|&it| std::cmp::Reverse(by(&operations[it as usize])));
            let mut involved = vec![returned[end], number as u32];
            for add in added {
                if least > seen {
                    break;
                }
                least += by(&operations[add as usize]);
                involved.push(add);
            }
            (least > seen).then(|| Contradiction {
                operations: involved,
                why: Some(format!("by then at least {least} had been reached")),
                ..Contradiction::default()
            })
        });
    }
    None
}

/// What each answer came to with all that was surely added since: a tree over the returns. A node has
/// what was added by those that began right before a return within its range, and the most that an
/// answer in it comes to with what in its range began later.
struct Since {
    half: usize,
    tree: Vec<(i128, Option<i128>)>,
}

impl Since {
    fn new(len: usize) -> Self {
        let half = len.next_power_of_two();
        Since {
            half,
            tree: vec![(0, None); half * 2],
        }
    }

    /// What one of this length holds.
    fn bytes(len: usize) -> usize {
        len.next_power_of_two() * 2 * size_of::<(i128, Option<i128>)>()
    }

    /// Right before this return so much more began to be added; or it gave this answer.
    fn set(&mut self, at: usize, by: i128, answer: Option<i128>) {
        let mut node = self.half + at;
        self.tree[node].0 += by;
        self.tree[node].1 = self.tree[node].1.or(answer);
        while node > 1 {
            node /= 2;
            let [(early, most), (late, last)] = [self.tree[node * 2], self.tree[node * 2 + 1]];
            self.tree[node] = (early + late, last.max(most.map(|it| it + late)));
        }
    }

    fn most(&self) -> Option<i128> {
        self.tree[1].1
    }
}
