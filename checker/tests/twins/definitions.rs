//! What each check promises, as plainly as it can be said. Nothing here is fast.

use std::collections::{BTreeMap, BTreeSet};

use ordeal_checker::Verdict;
use serde_json::Value;

use super::world::Call;

/// What a definition says of a history.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) found: BTreeSet<&'static str>,
    pub(crate) undecided: bool,
}

impl Told {
    pub(crate) fn verdict(&self) -> Verdict {
        if self.found.iter().any(|name| *name != "stale") {
            Verdict::Invalid
        } else if self.undecided {
            Verdict::Unknown
        } else {
            Verdict::Valid
        }
    }
}

fn of<'a>(calls: &'a [Call], f: &'static str) -> impl Iterator<Item = &'a Call> + Clone {
    calls.iter().filter(move |call| call.f == f && call.may())
}

fn ok<'a>(calls: &'a [Call], f: &'static str) -> impl Iterator<Item = &'a Call> + Clone {
    of(calls, f).filter(|call| call.is_ok())
}

pub(crate) fn set(calls: &[Call]) -> Told {
    let mut told = Told::default();
    for read in ok(calls, "read") {
        let list = read.numbers();
        for element in &list {
            let mut adds = of(calls, "add").filter(|add| add.argument == *element);
            if !adds.any(|add| add.invoked < read.ended()) {
                told.found.insert("unexpected");
            } else if list.iter().filter(|other| *other == element).count() > 1 {
                told.found.insert("duplicated");
            }
        }
    }
    let elements: BTreeSet<i64> = of(calls, "add")
        .filter_map(|add| add.argument.as_i64())
        .collect();
    for element in elements {
        let begun = |read: &&Call| {
            let mut adds = of(calls, "add").filter(|add| add.argument == element);
            adds.any(|add| add.invoked < read.ended())
        };
        let saw = |read: &&Call| read.numbers().contains(&element) && begun(read);
        let acknowledged = ok(calls, "add").filter(|add| add.argument == element);
        let seen = ok(calls, "read").filter(saw);
        let known = acknowledged.chain(seen.clone()).map(Call::ended).min();
        let Some(known) = known else { continue };
        let owed = || ok(calls, "read").filter(|read| read.invoked > known);
        if owed().next().is_none() && seen.clone().next().is_none() {
            told.undecided = true;
        }
        let last_seen = seen.map(|read| read.invoked).max();
        let last_missed = owed()
            .filter(|read| !saw(read))
            .map(|read| read.invoked)
            .max();
        match (last_missed, last_seen) {
            (Some(missed), Some(seen)) if seen > missed => told.found.insert("stale"),
            (Some(_), _) => told.found.insert("lost"),
            (None, _) => continue,
        };
    }
    told
}

/// Whether each take can have an enqueue of its own that began before the take had ended.
fn matches(takes: &[usize], enqueues: &[usize]) -> bool {
    let Some((end, rest)) = takes.split_first() else {
        return true;
    };
    (0..enqueues.len()).any(|at| {
        let mut left = enqueues.to_vec();
        left.remove(at) < *end && matches(rest, &left)
    })
}

pub(crate) fn queue(calls: &[Call]) -> Told {
    let mut told = Told::default();
    let mut takes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for call in ok(calls, "dequeue").chain(ok(calls, "drain")) {
        for item in call.answer.as_i64().into_iter().chain(call.numbers()) {
            takes.entry(item).or_default().push(call.ended());
        }
    }
    for (item, ends) in &takes {
        let enqueues = of(calls, "enqueue").filter(|call| call.argument == *item);
        let began: Vec<usize> = enqueues.map(|call| call.invoked).collect();
        if ends.iter().any(|end| began.iter().all(|began| began > end)) {
            told.found.insert("unexpected");
        }
        let known: Vec<usize> = ends
            .iter()
            .copied()
            .filter(|end| began.iter().any(|began| began < end))
            .collect();
        if !matches(&known, &began) {
            told.found.insert("duplicated");
        }
    }
    let mut missing: Vec<i64> = Vec::new();
    let items: BTreeSet<i64> = ok(calls, "enqueue")
        .filter_map(|call| call.argument.as_i64())
        .collect();
    for item in items {
        let put = ok(calls, "enqueue")
            .filter(|call| call.argument == item)
            .count();
        let began = |end: &&usize| {
            let mut all = of(calls, "enqueue").filter(|call| call.argument == item);
            all.any(|call| call.invoked < **end)
        };
        let out = takes
            .get(&item)
            .map_or(0, |ends| ends.iter().filter(began).count());
        missing.extend((out..put).map(|_| item));
    }
    if missing.is_empty() {
        return told;
    }
    let last = ok(calls, "enqueue").map(Call::ended).max().unwrap_or(0);
    let empty = |call: &Call| match call.f {
        "drain" => true,
        "dequeue" => call.answer.is_null(),
        _ => false,
    };
    let emptied = calls
        .iter()
        .any(|call| call.is_ok() && call.invoked > last && empty(call));
    let open = |f| of(calls, f).filter(|call| !call.is_ok()).count();
    if !emptied || open("drain") > 0 {
        told.undecided = true;
    } else if missing.len() > open("dequeue") {
        told.found.insert("lost");
    }
    told
}

pub(crate) fn counter(calls: &[Call]) -> Told {
    let mut told = Told::default();
    for read in ok(calls, "read") {
        let adds: Vec<(i64, bool)> = of(calls, "add")
            .filter(|add| add.invoked < read.ended())
            .map(|add| {
                (
                    add.argument.as_i64().expect("a number"),
                    add.ended() < read.invoked,
                )
            })
            .collect();
        let mut sums: Vec<i64> = Vec::new();
        for subset in 0..1_u32 << adds.len() {
            let counted = |at: usize| subset >> at & 1 == 1;
            if (0..adds.len()).all(|at| counted(at) || !adds[at].1) {
                sums.push(
                    (0..adds.len())
                        .filter(|at| counted(*at))
                        .map(|at| adds[at].0)
                        .sum(),
                );
            }
        }
        let value = read.answer.as_i64().expect("a number");
        let (least, most) = (sums.iter().min().unwrap(), sums.iter().max().unwrap());
        if value < *least || value > *most {
            told.found.insert("out-of-bounds");
        }
    }
    told
}

pub(crate) fn ids(calls: &[Call]) -> Told {
    let mut told = Told::default();
    let all: Vec<&Call> = ok(calls, "generate").collect();
    for (at, call) in all.iter().enumerate() {
        if call.answer.is_null() {
            told.found.insert("missing");
        } else if all[..at].iter().any(|other| other.answer == call.answer) {
            told.found.insert("duplicated");
        }
    }
    told
}

pub(crate) fn bank(calls: &[Call]) -> Told {
    let mut told = Told::default();
    let mut totals: Vec<i64> = Vec::new();
    let mut reads: Vec<&Call> = ok(calls, "read").collect();
    reads.sort_by_key(|read| read.invoked);
    for read in reads {
        let Value::Object(balances) = &read.answer else {
            told.found.insert("unreadable");
            continue;
        };
        if balances.values().any(|balance| !balance.is_i64()) {
            told.found.insert("no-balance");
            continue;
        }
        totals.push(balances.values().filter_map(Value::as_i64).sum());
    }
    if totals.iter().any(|total| *total != totals[0]) {
        told.found.insert("wrong-total");
    }
    told
}

pub(crate) fn fork(calls: &[Call]) -> Told {
    let mut told = Told::default();
    let seen = |call: &Call, key: i64| {
        let steps = call.answer.as_array().into_iter().flatten();
        let mut reads = steps.filter(|step| step[0] == "r" && step[1] == key);
        reads.next().map(|step| !step[2].is_null())
    };
    for one in ok(calls, "txn") {
        for other in ok(calls, "txn") {
            for a in 1..=4 {
                for b in 1..=4 {
                    let both = |call| (seen(call, a), seen(call, b));
                    if both(one) == (Some(true), Some(false))
                        && both(other) == (Some(false), Some(true))
                    {
                        told.found.insert("long-fork");
                    }
                }
            }
        }
    }
    told
}

pub(crate) fn monotonic(calls: &[Call]) -> Told {
    let mut told = Told::default();
    let value = |call: &Call| {
        if call.f == "write" {
            call.argument.as_i64()
        } else {
            call.answer.as_i64()
        }
    };
    if ok(calls, "inc").any(|call| call.answer.is_null()) {
        told.undecided = true;
    }
    for one in calls.iter().filter(|call| call.is_ok()) {
        for later in calls.iter().filter(|call| call.is_ok()) {
            if one.process != later.process || one.invoked >= later.invoked {
                continue;
            }
            let (before, after) = (value(one), value(later));
            match (one.f, later.f) {
                ("read", "read") if after < before => told.found.insert("non-monotonic-read"),
                ("write" | "inc", "read") if after < before => {
                    told.found.insert("own-write-unread")
                }
                (_, "inc") if after.is_some() && after <= before => {
                    told.found.insert("non-monotonic-write")
                }
                _ => continue,
            };
        }
    }
    told
}
