//! Counters: every read lies between what must and what may have been added.
//!
//! Ops: what the model `counter` knows: `add` with a number, which may be negative, `inc`, `dec`, `add-and-get`,
//! whose answer is not looked at; `read` answered with the sum. A read must count
//! every add that was acknowledged before it began, and may count any that began before it ended and
//! did not surely fail. The bounds are necessary, not sufficient: the model `counter` decides exactly.

use serde_json::json;

use crate::history::{Call, History};
use crate::model::aggregate::added;
use crate::model::sequence::whole_number;
use crate::options::Options;
use crate::tally::{Entry, Tally, check_keys};
use crate::verdict::Report;
use crate::wording::whole;

pub(crate) fn check(history: &History, options: &Options) -> Report {
    check_keys(history, options, bounds)
}

/// What was added, split by sign: by those that surely happened and by those that may have.
#[derive(Clone, Copy, Default)]
struct Sums {
    sure: [i128; 2],
    possible: [i128; 2],
}

enum Event<'a> {
    AddBegins(i64),
    AddEnded(i64),
    ReadBegins(usize),
    ReadEnded(usize, Entry<'a>),
}

fn bounds(tally: &mut Tally, entries: &[Entry]) {
    let initial = i128::from(tally.options.initial.as_i64().unwrap_or(0));
    let mut events: Vec<(u32, Event)> = Vec::new();
    let mut reads = 0;
    for entry in entries.iter().filter(|entry| entry.may_have_happened()) {
        if entry.f == "read" {
            if entry.is_ok() {
                events.push((entry.invoked, Event::ReadBegins(reads)));
                events.push((entry.ended, Event::ReadEnded(reads, *entry)));
                reads += 1;
            }
            continue;
        }
        let argument = tally.value(entry.argument);
        let amount = match added(entry.f, &argument) {
            Some(Ok(amount)) => amount,
            Some(Err(expected)) => {
                return tally.unknown(format!("{} of {argument}: expected {expected}", entry.f));
            }
            None => continue,
        };
        events.push((entry.invoked, Event::AddBegins(amount)));
        if entry.ended != Call::OPEN {
            events.push((entry.ended, Event::AddEnded(amount)));
        }
    }
    events.sort_unstable_by_key(|(row, _)| *row);
    tally.count("reads", reads as u64);
    let mut sums = Sums::default();
    let mut began = vec![Sums::default(); reads];
    for (_, event) in events {
        match event {
            Event::AddBegins(amount) => {
                sums.possible[usize::from(amount < 0)] += i128::from(amount);
            }
            Event::AddEnded(amount) => sums.sure[usize::from(amount < 0)] += i128::from(amount),
            Event::ReadBegins(read) => began[read] = sums,
            Event::ReadEnded(read, entry) => {
                let least = initial + began[read].sure[0] + sums.possible[1];
                let most = initial + sums.possible[0] + began[read].sure[1];
                judge(tally, entry, least, most);
            }
        }
    }
}

fn judge(tally: &mut Tally, read: Entry, least: i128, most: i128) {
    let value = tally.value(read.answer);
    let Some(sum) = whole_number(&value) else {
        return tally.wrong("not-a-number", &[read], || json!({"value": value}));
    };
    if sum < least || sum > most {
        let bounds = || json!({"value": value, "least": whole(least), "most": whole(most)});
        tally.wrong("out-of-bounds", &[read], bounds);
    }
}
