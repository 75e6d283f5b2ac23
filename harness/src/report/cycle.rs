//! A cycle of transactions, drawn: each had to come before the next, and the last before the
//! first.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::axis::round;
use super::folder::text;

const WIDTH: f64 = 900.0;
const BOX_WIDTH: f64 = 132.0;
const BOX_HEIGHT: f64 = 42.0;
const SAMPLES: usize = 48;
/// More than that is a tangle, and the words tell it better.
const VERTICES_MAX: usize = 10;

/// The picture.
#[derive(Debug, Serialize)]
pub(super) struct Cycle {
    width: f64,
    height: f64,
    box_width: f64,
    box_height: f64,
    vertices: Vec<Vertex>,
    edges: Vec<Edge>,
}

#[derive(Debug, Serialize)]
struct Vertex {
    x: f64,
    y: f64,
    name: String,
    process: String,
}

#[derive(Debug, Serialize)]
struct Edge {
    path: String,
    head: String,
    label: String,
    x: f64,
    y: f64,
    label_width: f64,
}

/// The instance of an anomaly, as the checker gives it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    transactions: Vec<Transaction>,
    steps: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transaction {
    process: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Step {
    from: usize,
    to: usize,
    kind: String,
    key: Value,
    value: Value,
    next: Value,
}

impl Step {
    /// Why one came before the other, in as few words as say it.
    fn label(&self) -> String {
        let Self {
            key, value, next, ..
        } = self;
        let (key, value, next) = (text(key), text(value), text(next));
        match self.kind.as_str() {
            "wr" => format!("wr  {key} = {value} was read"),
            "ww" => format!("ww  {key}: {value}, then {next}"),
            "rw" => format!("rw  {key}: {next} was not seen"),
            "process" => "same process".into(),
            "realtime" => "ended before".into(),
            other => other.into(),
        }
    }
}

/// Draws an anomaly's details; none when they are no cycle.
pub(super) fn draw(details: &Value) -> Option<Cycle> {
    let Details {
        transactions,
        steps,
    } = Details::deserialize(details).ok()?;
    let count = transactions.len();
    let inside = steps.iter().all(|step| step.from.max(step.to) < count);
    if steps.is_empty() || !inside || count > VERTICES_MAX {
        return None;
    }
    let height = if count <= 2 {
        200.0
    } else {
        190.0 + 34.0 * count as f64
    };
    let (middle_x, middle_y) = (WIDTH / 2.0, height / 2.0);
    let place = |position: usize| {
        // The first stands on the left, the others follow clockwise.
        let angle = std::f64::consts::PI * (1.0 + 2.0 * position as f64 / count as f64);
        let (x, y) = (WIDTH / 2.0 - 190.0, height / 2.0 - BOX_HEIGHT);
        (middle_x + x * angle.cos(), middle_y + y * angle.sin())
    };
    let vertices = transactions
        .iter()
        .enumerate()
        .map(|(position, transaction)| Vertex {
            x: round(place(position).0),
            y: round(place(position).1),
            name: format!("T{}", position + 1),
            process: format!("process {}", text(&transaction.process)),
        });
    Some(Cycle {
        width: WIDTH,
        height,
        box_width: BOX_WIDTH,
        box_height: BOX_HEIGHT,
        vertices: vertices.collect(),
        edges: steps
            .iter()
            .map(|s| edge(place(s.from), place(s.to), s.label()))
            .collect(),
    })
}

/// A bow from box to box, bent to its left so that there and back do not meet.
fn edge(from: (f64, f64), to: (f64, f64), label: String) -> Edge {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let control = (
        f64::midpoint(from.0, to.0) + 0.16 * dy,
        f64::midpoint(from.1, to.1) - 0.16 * dx,
    );
    let at = |share: f64| {
        let mix = |a: f64, c: f64, b: f64| {
            (1.0 - share).powi(2) * a + 2.0 * share * (1.0 - share) * c + share.powi(2) * b
        };
        (mix(from.0, control.0, to.0), mix(from.1, control.1, to.1))
    };
    let within = |point: (f64, f64), centre: (f64, f64), margin: f64| {
        (point.0 - centre.0).abs() < BOX_WIDTH / 2.0 + margin
            && (point.1 - centre.1).abs() < BOX_HEIGHT / 2.0 + margin
    };
    let points: Vec<(f64, f64)> = (0..=SAMPLES)
        .map(|sample| at(sample as f64 / SAMPLES as f64))
        .filter(|point| !within(*point, from, 0.0) && !within(*point, to, 9.0))
        .collect();
    let middle = at(0.5);
    let path = points
        .iter()
        .map(|(x, y)| format!("{} {}", round(*x), round(*y)));
    Edge {
        path: format!("M{}", path.collect::<Vec<_>>().join("L")),
        head: points.last().map(|tip| head(*tip, to)).unwrap_or_default(),
        label_width: label.chars().count() as f64 * 6.4 + 12.0,
        label,
        x: round(middle.0),
        y: round(middle.1),
    }
}

/// A triangle from the end of the line towards the box.
fn head(from: (f64, f64), towards: (f64, f64)) -> String {
    let (dx, dy) = (towards.0 - from.0, towards.1 - from.1);
    let length = dx.hypot(dy).max(1e-9);
    let (ux, uy) = (dx / length, dy / length);
    let corner = |along: f64, across: f64| {
        format!(
            "{},{}",
            round(from.0 + along * ux - across * uy),
            round(from.1 + along * uy + across * ux)
        )
    };
    [corner(9.0, 0.0), corner(0.0, 5.0), corner(0.0, -5.0)].join(" ")
}
