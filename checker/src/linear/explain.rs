//! Makes the reader believe an invalid verdict: the least part that is illegal, how far the best
//! orders of it get, and where each is stuck. As data, and in words.

use serde_json::{Value, json};

use super::budget::Purse;
use super::rounds::Culprits;
use super::shrink;
use super::space::{Space, Timed};
use crate::history::{Calls, History, Op, Outcome, Process};
use crate::model::register::NEVER;

/// What is known of a violation.
#[derive(Debug)]
pub(crate) struct Explained {
    /// The ops of the least part, in order of time.
    pub(crate) counterexample: Vec<Op>,
    pub(crate) words: Vec<String>,
    pub(crate) data: Value,
}

/// An order that is legal as far as it goes.
struct Partial {
    order: Vec<u32>,
    state: u32,
    /// What must have taken effect by now, and cannot.
    stuck: u32,
}

/// Of a part that could not be made small, so many lines are told, the last ones. One that is larger has
/// too many orders to look at.
const TOLD_MAX: usize = 64;

/// At most this many orders are shown, and looked at.
const SHOWN: usize = 8;
const LOOKED_AT: usize = 200_000;

/// Shrinks and explains.
pub(crate) fn explain(
    space: &mut impl Space,
    operations: &[Timed],
    culprits: &Culprits,
    history: &History,
    calls: &Calls,
    purse: &Purse,
) -> Explained {
    let core: Vec<(u32, Timed)> = match culprits {
        Culprits::Alone(contradiction) => {
            let numbers = contradiction.operations.iter();
            numbers.map(|&it| (it, operations[it as usize])).collect()
        }
        Culprits::Involved(involved) => shrink::shrink(space, operations, involved, purse),
    };
    let confirmed = shrink::confirmed(space, &core, purse);
    let timed: Vec<Timed> = core.iter().map(|&(_, it)| it).collect();
    let partials = if timed.len() > TOLD_MAX {
        Vec::new()
    } else {
        longest(space, &timed)
    };
    let told: Vec<Told> = timed
        .iter()
        .map(|it| Told::new(history, calls, it))
        .collect();
    let mut rows: Vec<usize> = told.iter().flat_map(|it| it.rows.iter().copied()).collect();
    rows.sort_unstable();

    let mut words = vec![match told.len() {
        1 => "This operation is illegal by itself, whatever else happened:".to_owned(),
        many => format!(
            "These {many} operations cannot be put in any legal order, whatever else happened:"
        ),
    }];
    let lines = lines(&told, &rows);
    let (earlier, shown) = lines.split_at(lines.len().saturating_sub(TOLD_MAX));
    if !earlier.is_empty() {
        let more: usize = earlier.iter().map(|line| line.times).sum();
        words.push(match culprits {
            Culprits::Alone(_) => format!("… and {more} earlier ones, which are needed too"),
            Culprits::Involved(_) => {
                format!("… {more} earlier ones: the budget ended before they could be left out")
            }
        });
    }
    words.extend(shown.iter().map(Line::sentence));
    if let Culprits::Alone(contradiction) = culprits {
        if !contradiction.about.is_empty() {
            words.push(format!(
                "They are about {} only.",
                contradiction.about.join(" and ")
            ));
        }
        words.extend(contradiction.why.iter().map(|why| format!("Why: {why}.")));
    }
    for partial in partials.iter().take(3) {
        words.push(stuck_in_words(space, history, &told, partial));
    }
    match confirmed {
        Some(true) => words.push("A second, independent engine finds the same.".into()),
        Some(false) => words.push(
            "The second engine does not agree: this is a mistake in the checker, please report it."
                .into(),
        ),
        None => words.push("The second engine gave up within its budget.".into()),
    }
    let partial_data = |partial: &Partial| {
        let order: Vec<u64> = partial
            .order
            .iter()
            .map(|&it| told[it as usize].index)
            .collect();
        json!({
            "order": order,
            "state": space.show(history, partial.state),
            "stuck": told[partial.stuck as usize].index,
        })
    };
    let data = json!({
        "operations": told.iter().map(Told::data).collect::<Vec<_>>(),
        "partial_linearizations": partials.iter().map(partial_data).collect::<Vec<_>>(),
        "confirmed_by_second_engine": confirmed,
    });
    let counterexample = rows.into_iter().map(|row| history.op(row)).collect();
    Explained {
        counterexample,
        words,
        data,
    }
}

/// An operation as it is told.
struct Told {
    /// Index of the invocation in the recording: the operation's name in the data.
    index: u64,
    rows: Vec<usize>,
    process: Process,
    short: String,
    span: Span,
    weakened: bool,
}

/// When an operation was open, by the indices of its ops.
#[derive(Clone, Copy, PartialEq)]
enum Span {
    Ended(u64),
    Unknown(u64),
    Never,
}

/// Operations as they are told in one line: what one process did again and again with the same answer,
/// and nothing else that is told began or ended in between.
struct Line<'a> {
    first: &'a Told,
    last: &'a Told,
    times: usize,
}

/// The lines that tell the operations, which are in order of time, as the rows of all of them are.
fn lines<'a>(told: &'a [Told], rows: &[usize]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for it in told {
        match lines.last_mut() {
            Some(line) if line.last.is_repeated_by(it, rows) => {
                (line.last, line.times) = (it, line.times + 1);
            }
            _ => lines.push(Line {
                first: it,
                last: it,
                times: 1,
            }),
        }
    }
    lines
}

impl Line<'_> {
    fn sentence(&self) -> String {
        let Told {
            index,
            process,
            short,
            weakened,
            ..
        } = self.first;
        let times = match self.times {
            1 => String::new(),
            times => format!(", {times} times"),
        };
        let span = match self.last.span {
            Span::Ended(at) => format!("from op {index} to op {at}"),
            Span::Unknown(at) => format!("invoked at op {index}, unknown since op {at}"),
            Span::Never => format!("invoked at op {index}, never completed"),
        };
        let note = if *weakened {
            "; let it take effect at any time since then, or never"
        } else {
            ""
        };
        format!("process {process}: {short}{times}, {span}{note}")
    }
}

impl Told {
    fn new(history: &History, calls: &Calls, timed: &Timed) -> Self {
        let call = calls.invoked_in(timed.invoke);
        let call = call.expect("an operation is a call");
        let invoke = history.op(call.invoke as usize);
        let completion = call.completion();
        let outcome = call.outcome(history);
        // Within the part that is shown its outcome may not matter any more.
        let weakened = timed.is_open() && outcome == Outcome::Ok;
        let answer = completion.map(|row| short_of(&history.op(row).value));
        let argument = short_of(&invoke.value);
        let short = match (outcome, answer) {
            (Outcome::Ok, Some(answer)) if invoke.value.is_null() || answer != argument => {
                let asked = if invoke.value.is_null() {
                    String::new()
                } else {
                    format!(" {argument}")
                };
                format!("{}{asked} → {answer}", invoke.f)
            }
            (Outcome::Fail, _) => format!("{} {argument} (failed)", invoke.f),
            _ if invoke.value.is_null() => invoke.f.clone(),
            _ => format!("{} {argument}", invoke.f),
        };
        let span = match completion.map(|row| history.index(row)) {
            Some(at) if outcome == Outcome::Info => Span::Unknown(at),
            Some(at) => Span::Ended(at),
            None => Span::Never,
        };
        Told {
            index: invoke.index,
            rows: std::iter::once(call.invoke as usize)
                .chain(completion)
                .collect(),
            process: invoke.process,
            short,
            span,
            weakened,
        }
    }

    /// Whether the other tells the same again, right after this one among the rows of all.
    fn is_repeated_by(&self, other: &Told, rows: &[usize]) -> bool {
        let ended = |it: &Told| matches!(it.span, Span::Ended(_)) && !it.weakened;
        let (Some(&end), begin) = (self.rows.last(), other.rows[0]) else {
            return false;
        };
        (self.process, &self.short) == (other.process, &other.short)
            && ended(self)
            && ended(other)
            && rows.partition_point(|&row| row <= end) == rows.partition_point(|&row| row < begin)
    }

    fn data(&self) -> Value {
        json!({ "index": self.index, "text": self.short, "weakened": self.weakened })
    }
}

/// A value; of a long list its ends.
fn short_of(value: &Value) -> String {
    const ENDS: usize = 4;
    match value {
        Value::Array(items) if items.len() > 3 * ENDS => {
            let text = |items: &[Value]| {
                let texts: Vec<String> = items.iter().map(Value::to_string).collect();
                texts.join(",")
            };
            let (begin, end) = (&items[..ENDS], &items[items.len() - ENDS..]);
            let between = items.len() - 2 * ENDS;
            format!("[{},… {between} more …,{}]", text(begin), text(end))
        }
        _ => value.to_string(),
    }
}

fn stuck_in_words(
    space: &impl Space,
    history: &History,
    told: &[Told],
    partial: &Partial,
) -> String {
    let order: Vec<&str> = partial
        .order
        .iter()
        .map(|&it| told[it as usize].short.as_str())
        .collect();
    let stuck = &told[partial.stuck as usize];
    let state = space.show(history, partial.state);
    let begin = if order.is_empty() {
        format!("From the start the object holds {state}")
    } else {
        format!("After {} it holds {state}", order.join(", then "))
    };
    format!(
        "{begin}: but {:?} (op {}) returned, and cannot have taken effect.",
        stuck.short, stuck.index
    )
}

/// The longest orders that are legal, one per stuck operation and state.
fn longest(space: &mut impl Space, operations: &[Timed]) -> Vec<Partial> {
    let mut found: Vec<Partial> = Vec::new();
    let mut work = vec![(Vec::<u32>::new(), space.initial())];
    let mut looked_at = 0;
    while let Some((order, state)) = work.pop() {
        looked_at += 1;
        if looked_at > LOOKED_AT {
            break;
        }
        let left = || (0..operations.len() as u32).filter(|it| !order.contains(it));
        // What returns first among the rest bounds what may come next.
        let Some(first) = left().min_by_key(|&it| operations[it as usize].ret) else {
            continue;
        };
        let bound = operations[first as usize].ret;
        let mut went_on = false;
        for number in left().filter(|&it| operations[it as usize].invoke < bound) {
            if let Some(after) = space.step(state, operations[number as usize].class) {
                let mut order = order.clone();
                order.push(number);
                work.push((order, after));
                went_on = true;
            }
        }
        if !went_on && bound != NEVER {
            found.push(Partial {
                order,
                state,
                stuck: first,
            });
        }
    }
    found.sort_by_key(|partial| std::cmp::Reverse(partial.order.len()));
    let mut seen = Vec::new();
    found.retain(|partial| {
        let fresh = !seen.contains(&(partial.stuck, partial.state));
        seen.push((partial.stuck, partial.state));
        fresh
    });
    found.truncate(SHOWN);
    found
}

#[cfg(test)]
mod tests {
    use crate::history::text;
    use crate::{Model, Options, check};

    fn told(model: Model, lines: &str) -> Vec<String> {
        let history = text::read(lines.as_bytes(), false).expect("it is well-formed");
        check(&history, &Options::new(model)).explanation
    }

    #[test]
    fn what_one_process_repeats_is_told_in_one_line_unless_others_come_between() {
        let add = "0 :invoke :add 1\n 0 :ok :add 1\n";
        let read = "1 :invoke :read nil\n 1 :ok :read 3\n";
        let words = told(Model::Counter, &(add.repeat(4) + read));
        assert_eq!(
            words[1..3],
            [
                "process 0: add 1, 4 times, from op 0 to op 7",
                "process 1: read → 3, from op 8 to op 9"
            ]
        );
        let words = told(
            Model::Counter,
            &(add.repeat(2) + "1 :invoke :read nil\n 1 :ok :read 9\n"),
        );
        assert_eq!(words[1], "process 0: add 1, 2 times, from op 0 to op 3");
        assert!(
            words[3].ends_with("at most 2 can have been reached."),
            "{words:?}"
        );
        let begun = "2 :invoke :add 1\n";
        let ended = "2 :ok :add 1\n";
        let words = told(
            Model::Counter,
            &[begun, add, add, ended, add, read].concat(),
        );
        assert_eq!(
            words[1..4],
            [
                "process 2: add 1, from op 0 to op 5",
                "process 0: add 1, 2 times, from op 1 to op 4",
                "process 0: add 1, from op 6 to op 7",
            ]
        );
    }
}
