//! Makes the reader believe an invalid verdict: the least part that is illegal, how far the best
//! orders of it get, and where each is stuck. As data, and in words.

use serde_json::{Value, json};

use super::budget::Purse;
use super::rounds::Culprits;
use super::shrink;
use super::space::{Space, Timed};
use crate::history::{Call, Calls, History, Op, Outcome};
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

/// Of a part that could not be made small, so many operations are told, the last ones.
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

    let mut words = vec![match told.len() {
        1 => "This operation is illegal by itself, whatever else happened:".to_owned(),
        many => format!(
            "These {many} operations cannot be put in any legal order, whatever else happened:"
        ),
    }];
    if let Some(more) = told.len().checked_sub(TOLD_MAX).filter(|&more| more > 0) {
        words.push(format!(
            "… {more} earlier ones: the budget ended before they could be left out"
        ));
    }
    let first = told.len().saturating_sub(TOLD_MAX);
    words.extend(told[first..].iter().map(|it| it.sentence.clone()));
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
    let mut rows: Vec<usize> = told.iter().flat_map(|it| it.rows.iter().copied()).collect();
    rows.sort_unstable();
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
    short: String,
    sentence: String,
    weakened: bool,
}

impl Told {
    fn new(history: &History, calls: &Calls, timed: &Timed) -> Self {
        let at = calls.partition_point(|call| call.invoke < timed.invoke);
        let call: Call = calls[at];
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
        let span = match (outcome, completion) {
            (Outcome::Info, Some(row)) => {
                format!(
                    "invoked at op {}, unknown since op {}",
                    invoke.index,
                    history.index(row)
                )
            }
            (_, Some(row)) => format!("from op {} to op {}", invoke.index, history.index(row)),
            (_, None) => format!("invoked at op {}, never completed", invoke.index),
        };
        let note = if weakened {
            "; let it take effect at any time since then, or never"
        } else {
            ""
        };
        Told {
            index: invoke.index,
            rows: std::iter::once(call.invoke as usize)
                .chain(completion)
                .collect(),
            sentence: format!("process {}: {short}, {span}{note}", invoke.process),
            short,
            weakened,
        }
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
