//! Bounds of what a counter can answer.
//!
//! What is added before an answer is at least all that was surely added (its `add` had returned), but for
//! what may have been taken away, and at most all that may have been added. An answer beyond these
//! bounds is illegal by itself. Within them it takes a search.

use super::{Contradiction, Outcome, Structured};
use crate::linear::budget::Meter;
use crate::linear::object::Object;
use crate::linear::space::Timed;
use crate::model::aggregate::{Counter, CounterOp};

impl Structured for Counter {
    fn decide(&self, object: &Object<CounterOp>, _: &mut Meter<'_>) -> Outcome {
        check(self.initial, &object.operations, &object.classes)
    }
}

/// Looks for an answer that is out of bounds.
fn check(initial: i64, operations: &[Timed], classes: &[CounterOp]) -> Outcome {
    let by = |it: &Timed| match classes[it.class as usize] {
        CounterOp::Add(by, _) => i128::from(by),
        CounterOp::Read(_) => 0,
    };
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
        let (CounterOp::Read(answer) | CounterOp::Add(_, Some(answer))) =
            classes[it.class as usize]
        else {
            continue;
        };
        if it.is_open() {
            continue;
        }
        let began = operations.partition_point(|other| other.invoke < it.ret);
        let ended = returned.partition_point(|other| other.ret < it.invoke);
        let initial = i128::from(initial);
        let own = by(it);
        let least = initial + (ended_up[ended] + own.max(0)) + began_down[began];
        let most = initial + began_up[began] + (ended_down[ended] + own.min(0));
        // What must be shown beside: the fewest that were surely added, or taken away.
        let (why, sign) = if i128::from(answer) > most {
            (format!("by then at most {most} can have been reached"), -1)
        } else if i128::from(answer) < least {
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
        let (mut reached, mut involved) = (initial, vec![number as u32]);
        for other in surely {
            if (reached - i128::from(answer)) * sign > 0 {
                break;
            }
            reached += by(&operations[other as usize]);
            involved.push(other);
        }
        return Outcome::Invalid(Contradiction {
            operations: involved,
            why: Some(why),
            ..Contradiction::default()
        });
    }
    Outcome::Undecided
}
