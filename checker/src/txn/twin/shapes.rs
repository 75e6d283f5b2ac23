//! Every cycle by walking every path.

use std::collections::BTreeSet;

use super::super::analysis::Analysis;
use super::super::anomaly::{Because, Evidence, Kind, Order, Shape};
use super::super::table::Status;
use super::history::{KEYS, Op, Txn, show};

/// The kinds of dependency between two transactions, by the definitions.
fn dependencies(txns: &[Txn], live: &[bool], lists: &[Vec<u64>]) -> Vec<(usize, usize, char)> {
    let writer = |key: usize, value: u64| {
        (0..txns.len()).find(|&t| live[t] && txns[t].writes(key).contains(&value))
    };
    let next = |key: usize, value: Option<u64>| -> Vec<usize> {
        let at = value.map_or(Some(0), |v| {
            lists[key].iter().position(|&o| o == v).map(|p| p + 1)
        });
        match at.map(|at| lists[key].get(at)) {
            Some(Some(&value)) => writer(key, value).into_iter().collect(),
            Some(None) => (0..txns.len())
                .filter(|&t| live[t] && txns[t].writes(key).iter().any(|v| !lists[key].contains(v)))
                .collect(),
            None => Vec::new(),
        }
    };
    let mut edges = Vec::new();
    for (t, txn) in txns.iter().enumerate().filter(|(t, _)| live[*t]) {
        for op in &txn.ops {
            match op {
                Op::Write(key, value) => {
                    edges.extend(next(*key, Some(*value)).into_iter().map(|to| (t, to, 'w')));
                }
                Op::Read(..) if txn.status != Status::Committed => {}
                Op::Read(key, list) => {
                    let from = list.last().and_then(|&value| writer(*key, value));
                    if from == Some(t) {
                        continue;
                    }
                    edges.extend(from.map(|from| (from, t, 'r')));
                    edges.extend(
                        next(*key, list.last().copied())
                            .into_iter()
                            .map(|to| (t, to, 'a')),
                    );
                }
            }
        }
    }
    edges.retain(|(from, to, _)| from != to);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Every shape of simple cycle, with the length of its shortest.
fn shapes(txns: usize, edges: &[(usize, usize, char)]) -> Vec<(Shape, usize)> {
    fn walk(
        edges: &[(usize, usize, char)],
        start: usize,
        path: &mut Vec<usize>,
        kinds: &mut String,
        found: &mut BTreeSet<(Shape, usize)>,
    ) {
        let at = *path.last().unwrap();
        for &(from, to, kind) in edges.iter().filter(|(from, ..)| *from == at) {
            debug_assert_eq!(from, at);
            kinds.push(kind);
            if to == start {
                found.insert((shape(kinds), path.len()));
            } else if to > start && !path.contains(&to) {
                path.push(to);
                walk(edges, start, path, kinds, found);
                path.pop();
            }
            kinds.pop();
        }
    }
    let mut found = BTreeSet::new();
    for start in 0..txns {
        walk(
            edges,
            start,
            &mut vec![start],
            &mut String::new(),
            &mut found,
        );
    }
    let mut shortest: Vec<(Shape, usize)> = Vec::new();
    for (shape, length) in found {
        if shortest.last().is_none_or(|(other, _)| *other != shape) {
            shortest.push((shape, length));
        }
    }
    shortest
}

fn shape(kinds: &str) -> Shape {
    let around = format!("{kinds}{}", kinds.chars().next().unwrap());
    match kinds.matches('a').count() {
        0 if kinds.contains('r') => Shape::G1c,
        0 => Shape::G0,
        1 => Shape::GSingle,
        _ if around.contains("aa") => Shape::G2Item,
        _ => Shape::GNonadjacent,
    }
}

/// Compares the shapes of cycles and the lengths of the smallest, and every step told.
pub(super) fn compare_cycles(txns: &[Txn], analysis: &Analysis, round: u64) {
    let mut lists: Vec<Vec<u64>> = vec![Vec::new(); KEYS];
    for op in txns
        .iter()
        .filter(|t| t.status == Status::Committed)
        .flat_map(|t| &t.ops)
    {
        if let Op::Read(key, list) = op
            && list.len() > lists[*key].len()
        {
            lists[*key].clone_from(list);
        }
    }
    let seen = |txn: &Txn| (0..KEYS).any(|k| txn.writes(k).iter().any(|v| lists[k].contains(v)));
    let live: Vec<bool> = txns
        .iter()
        .map(|t| t.status == Status::Committed || (t.status == Status::Unknown && seen(t)))
        .collect();
    let edges = dependencies(txns, &live, &lists);
    let expected = shapes(txns.len(), &edges);
    let mut told: Vec<(Shape, usize)> = Vec::new();
    for anomaly in &analysis.findings.kept {
        let Evidence::Cycle(steps) = &anomaly.evidence else {
            continue;
        };
        for step in steps {
            let (from, to) = (step.from as usize, step.to as usize);
            let holds = match step.because {
                Because::Ww { .. } => edges.contains(&(from, to, 'w')),
                Because::Wr { .. } => edges.contains(&(from, to, 'r')),
                Because::Rw { .. } => edges.contains(&(from, to, 'a')),
                Because::Process => txns[from].process == txns[to].process && from < to,
                Because::Realtime => txns[from].ended() < txns[to].invoked,
                Because::Seen { .. } => false,
            };
            assert!(
                holds,
                "round {round}: {step:?} is no dependency\n{}",
                show(txns)
            );
        }
        if let Kind::Cycle(shape, Order::Data) = anomaly.kind {
            told.push((shape, steps.len()));
        }
    }
    told.sort_unstable();
    told.dedup_by_key(|(shape, _)| *shape);
    assert_eq!(
        told,
        expected,
        "round {round}: shapes and their lengths\n{}",
        show(txns)
    );
}
