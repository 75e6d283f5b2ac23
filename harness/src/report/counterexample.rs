//! A handful of operations, drawn so that a reader sees which one cannot be.
//!
//! Each process has a lane, each operation a bar from its invocation to its completion. Only the
//! order of those moments matters to the verdict, and their distances may differ by a factor of a
//! million: the axis is therefore one of order, with every label given the room it needs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::axis::{Tick, duration_ns, moment_ns, round};
use super::call::{Call, pair};
use super::findings::Op;
use super::folder::text;

const LEFT: f64 = 92.0;
const LANE_HEIGHT: f64 = 40.0;
const STEP: f64 = 26.0;
const MARGIN: f64 = 14.0;
/// The page's width; a picture that needs more is scrolled.
const WIDTH: f64 = 1060.0;
const LETTER: f64 = 7.1;
const CALLS_MAX: usize = 40;

/// The picture.
#[derive(Debug, Serialize)]
pub(super) struct Drawing {
    left: f64,
    margin: f64,
    width: f64,
    height: f64,
    bottom: f64,
    lanes: Vec<Lane>,
    times: Vec<Tick>,
    calls: Vec<Bar>,
    /// Whether one of the bars is marked as impossible.
    stuck: bool,
    /// Operations that were left out, for there is no room.
    not_drawn: usize,
    /// The same operations as lines of a history.
    lines: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Lane {
    name: String,
    y: f64,
}

#[derive(Debug, Serialize)]
struct Bar {
    x: f64,
    y: f64,
    width: f64,
    label: String,
    title: String,
    outcome: &'static str,
    stuck: bool,
}

/// Draws a list of ops; none when there is nothing to draw.
///
/// `stuck` is the index, in the recording, of an op of the operation that cannot be explained.
pub(super) fn draw(ops: &[Op], stuck: Option<u64>) -> Option<Drawing> {
    let mut calls = pair(ops);
    let not_drawn = calls.len().saturating_sub(CALLS_MAX);
    calls.drain(..not_drawn);
    if calls.is_empty() {
        return None;
    }
    let is_stuck = |call: &Call<'_>| {
        stuck.is_some_and(|stuck| {
            call.invocation.index == stuck || call.completion.is_some_and(|op| op.index == stuck)
        })
    };
    let lanes: BTreeMap<(usize, String), usize> = calls
        .iter()
        .map(|call| text(&call.invocation.process))
        .map(|name| (name.len(), name))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .enumerate()
        .map(|(row, name)| (name, row))
        .collect();
    let places = stretch(places(&calls));
    let width = places.values().fold(LEFT, |right, place| place.max(right)) + MARGIN + STEP;
    let bars = calls.iter().map(|call| {
        let name = text(&call.invocation.process);
        let row = lanes[&(name.len(), name)];
        let x = places[&moment(call.invocation)];
        let end = call
            .end_ns()
            .and(call.completion)
            .map_or(width - MARGIN, |op| places[&moment(op)]);
        Bar {
            x,
            y: row as f64 * LANE_HEIGHT + 8.0,
            width: round(end - x),
            label: call.label(),
            title: call.title(),
            outcome: call.outcome(),
            stuck: is_stuck(call),
        }
    });
    let bottom = lanes.len() as f64 * LANE_HEIGHT + 4.0;
    Some(Drawing {
        left: LEFT,
        margin: MARGIN,
        width,
        height: bottom + 26.0,
        bottom,
        lanes: lanes
            .iter()
            .map(|((_, name), row)| Lane {
                name: format!("process {name}"),
                y: *row as f64 * LANE_HEIGHT + 4.0,
            })
            .collect(),
        times: times(&places),
        calls: bars.collect(),
        stuck: calls.iter().any(is_stuck),
        not_drawn,
        lines: ops.iter().map(Op::line).collect(),
    })
}

/// A moment is an op's time and, among ops of one time, its place in the recording.
fn moment(op: &Op) -> (u64, u64) {
    (op.time, op.index)
}

/// Gives each moment its place, from left to right, wide enough for the labels in between.
fn places(calls: &[Call<'_>]) -> BTreeMap<(u64, u64), f64> {
    let mut begin_of_end: BTreeMap<(u64, u64), Option<&Call<'_>>> = BTreeMap::new();
    for call in calls {
        begin_of_end.insert(moment(call.invocation), None);
        if let Some(completion) = call.completion.filter(|op| op.type_ != "info") {
            begin_of_end.insert(moment(completion), Some(call));
        }
    }
    let mut places: BTreeMap<(u64, u64), f64> = BTreeMap::new();
    let mut x = LEFT + 10.0 - STEP;
    let mut rightmost_label = x;
    for (moment_, ended) in begin_of_end {
        x += STEP;
        if let Some(call) = ended {
            x = x.max(places[&moment(call.invocation)] + label_width(call));
        }
        places.insert(moment_, round(x));
    }
    for call in calls.iter().filter(|call| call.end_ns().is_none()) {
        rightmost_label = rightmost_label.max(places[&moment(call.invocation)] + label_width(call));
    }
    // An operation without an end needs room for its label too.
    if rightmost_label > x {
        places.insert((u64::MAX, u64::MAX), rightmost_label);
    }
    places
}

/// Spreads a small picture over the page.
fn stretch(mut places: BTreeMap<(u64, u64), f64>) -> BTreeMap<(u64, u64), f64> {
    let right = places
        .values()
        .fold(LEFT + 1.0, |right, place| place.max(right));
    let factor = ((WIDTH - MARGIN - STEP - LEFT) / (right - LEFT)).clamp(1.0, 2.0);
    for place in places.values_mut() {
        *place = round(LEFT + (*place - LEFT) * factor);
    }
    places
}

fn label_width(call: &Call<'_>) -> f64 {
    call.label().chars().count() as f64 * LETTER + 16.0
}

/// Times below the picture, as many as do not touch, counted from the first moment.
fn times(places: &BTreeMap<(u64, u64), f64>) -> Vec<Tick> {
    let first_ns = places.keys().next().map_or(0, |moment| moment.0);
    let mut ticks: Vec<Tick> = Vec::new();
    for (&(ns, _), &at) in places.iter().filter(|(moment, _)| moment.0 != u64::MAX) {
        let label = if ticks.is_empty() {
            moment_ns(ns)
        } else {
            format!("+{}", duration_ns(ns - first_ns))
        };
        if ticks.last().is_none_or(|last| at - last.at >= 72.0) {
            ticks.push(Tick { at, label });
        }
    }
    ticks
}
