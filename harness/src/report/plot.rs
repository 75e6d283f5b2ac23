//! The run on one time axis: throughput, latency, and below them who was under which fault.
//!
//! Only geometry is decided here, in the picture's own units; the template draws it. That keeps
//! every word that came from a history inside the template engine's escaping.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::axis::{Linear, Log, Tick, duration_us, moment_ns, nice_step, round, short};
use super::faults::{Shown, colours};
use super::folder::Phase;
use super::timeline::{Bucket, Counts, Timeline};

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 1066.0;
const CHART_HEIGHT: f64 = 170.0;
const LANE_HEIGHT: f64 = 20.0;
const LANES_MAX: usize = 24;
const BARS_MAX: usize = 600;
/// A letter of the small labels, on average.
const LETTER: f64 = 6.0;

/// All there is to draw.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    /// How long the axis is.
    seconds: f64,
    phases: Vec<Span>,
    times: Vec<Tick>,
    throughput: Chart,
    latency: Chart,
    shades: Vec<Span>,
    lanes: Vec<Lane>,
    lanes_top: f64,
    bottom: f64,
    marks: Vec<Mark>,
    pub(super) legend: Vec<Legend>,
    /// Faults beyond what is drawn; the table has them all.
    pub(super) not_drawn: usize,
    pub(super) data: Data,
}

/// A frame with its horizontal lines and its curves.
#[derive(Debug, Serialize)]
struct Chart {
    top: f64,
    bottom: f64,
    ticks: Vec<Tick>,
    curves: Vec<Curve>,
}

/// A path of SVG and the class that colours it.
#[derive(Debug, Serialize)]
struct Curve {
    class: &'static str,
    path: String,
}

/// A stretch of time with a label.
#[derive(Debug, Serialize)]
struct Span {
    x: f64,
    y: f64,
    width: f64,
    colour: usize,
    /// What fits into it.
    label: String,
    /// The whole truth, shown when pointed at.
    title: String,
    number: usize,
}

/// What was done to one node.
#[derive(Debug, Serialize)]
struct Lane {
    name: String,
    y: f64,
    height: f64,
    bars: Vec<Span>,
}

/// A moment to look at.
#[derive(Debug, Serialize)]
struct Mark {
    x: f64,
    label: String,
    /// Whether the label must stand to the left of its line.
    flip: bool,
}

/// A kind of fault, its colour and how often it was injected.
#[derive(Debug, Serialize)]
pub(super) struct Legend {
    kind: String,
    colour: usize,
    count: usize,
}

/// The numbers behind the curves, for the cursor and for the table.
#[derive(Debug, Serialize)]
pub(super) struct Data {
    bucket_s: f64,
    ok: Vec<u64>,
    fail: Vec<u64>,
    info: Vec<u64>,
    /// Milliseconds; absent where nothing was ok.
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
}

/// Lays the picture out.
pub(super) fn plot(
    timeline: &Timeline,
    faults: &[Shown],
    phases: &[Phase],
    marks: &[(u64, String)],
) -> Plot {
    let last_fault_ns = faults.iter().map(|fault| fault.end_ns).max().unwrap_or(0);
    let end_ns = timeline.end_ns.max(last_fault_ns).max(1);
    let x = Linear {
        top: end_ns as f64,
        from: LEFT,
        to: RIGHT,
    };
    let place = |ns: u64| x.place(ns as f64);

    let phases_height = if phases.is_empty() { 0.0 } else { 22.0 };
    let throughput_top = phases_height + 22.0;
    let latency_top = throughput_top + CHART_HEIGHT + 34.0;
    let lanes_top = latency_top + CHART_HEIGHT + 30.0;
    let colours = colours(faults);
    let (lanes, not_drawn) = lanes(faults, &colours, place, lanes_top);
    let bottom = lanes
        .last()
        .map_or(latency_top + CHART_HEIGHT, |lane| lane.y + lane.height);

    let second_step = nice_step(end_ns as f64 / 1e9 / 12.0);
    let seconds = Linear {
        top: end_ns as f64 / 1e9,
        ..x
    };
    let count = (seconds.top / second_step).ceil().max(1.0) as usize;
    Plot {
        width: WIDTH,
        height: bottom + 30.0,
        left: LEFT,
        right: RIGHT,
        seconds: seconds.top,
        phases: phases
            .iter()
            .map(|phase| phase_span(phase, end_ns, place))
            .collect(),
        times: seconds.ticks(count, |s| format!("{} s", short(s))),
        throughput: throughput(timeline, x, throughput_top),
        latency: latency(timeline, x, latency_top),
        shades: faults
            .iter()
            .take(BARS_MAX)
            .map(|f| span(f, &colours, place))
            .collect(),
        lanes,
        lanes_top,
        bottom,
        marks: marks
            .iter()
            .map(|(ns, label)| mark(place(*ns), label))
            .collect(),
        legend: colours
            .iter()
            .map(|(kind, &colour)| Legend {
                kind: kind.clone(),
                colour,
                count: faults.iter().filter(|fault| fault.kind == *kind).count(),
            })
            .collect(),
        not_drawn,
        data: data(timeline),
    }
}

fn mark(x: f64, label: &str) -> Mark {
    Mark {
        x,
        label: label.to_owned(),
        flip: x > f64::midpoint(LEFT, RIGHT),
    }
}

fn phase_span(phase: &Phase, end_ns: u64, place: impl Fn(u64) -> f64) -> Span {
    let (start, end) = (
        place(phase.start_ns.min(end_ns)),
        place(phase.end_ns.min(end_ns)),
    );
    let title = format!(
        "{}: {} to {}",
        phase.name,
        moment_ns(phase.start_ns),
        moment_ns(phase.end_ns)
    );
    Span {
        x: start,
        y: 0.0,
        width: round((end - start).max(1.0)),
        colour: 0,
        label: fitting(&phase.name, end - start),
        title,
        number: 0,
    }
}

fn span(fault: &Shown, colours: &BTreeMap<String, usize>, place: impl Fn(u64) -> f64) -> Span {
    let (start, end) = (place(fault.start_ns), place(fault.end_ns));
    let width = round((end - start).max(1.5));
    let trouble = fault
        .trouble
        .map(|trouble| format!(" ({trouble})"))
        .unwrap_or_default();
    Span {
        x: start,
        y: 0.0,
        width,
        colour: colours[&fault.kind],
        label: fitting(&fault.kind, width),
        title: format!(
            "#{} {} on {}, {} to {}{trouble}. {}",
            fault.number,
            fault.kind,
            if fault.targets.is_empty() {
                "the cluster".into()
            } else {
                fault.targets.join(", ")
            },
            moment_ns(fault.start_ns),
            moment_ns(fault.end_ns),
            fault.description
        ),
        number: fault.number,
    }
}

/// The label if it fits, else as much of it as does, else nothing.
fn fitting(label: &str, width: f64) -> String {
    let letters = ((width - 6.0) / LETTER).max(0.0) as usize;
    if label.chars().count() <= letters {
        label.to_owned()
    } else if letters >= 4 {
        label.chars().take(letters - 1).chain(['…']).collect()
    } else {
        String::new()
    }
}

/// One lane a target; within a lane, faults that overlap stand below each other.
fn lanes(
    faults: &[Shown],
    colours: &BTreeMap<String, usize>,
    place: impl Fn(u64) -> f64,
    top: f64,
) -> (Vec<Lane>, usize) {
    let mut by_target: BTreeMap<(usize, String), Vec<&Shown>> = BTreeMap::new();
    for fault in faults.iter().take(BARS_MAX) {
        let cluster = ["cluster".to_owned()];
        let targets = if fault.targets.is_empty() {
            &cluster[..]
        } else {
            &fault.targets
        };
        for target in targets {
            // n2 before n10.
            by_target
                .entry((target.len(), target.clone()))
                .or_default()
                .push(fault);
        }
    }
    let mut y = top;
    let mut lanes = Vec::new();
    for ((_, name), faults) in by_target.into_iter().take(LANES_MAX) {
        let mut rows: Vec<u64> = Vec::new();
        let bars = faults
            .into_iter()
            .map(|fault| {
                let free = rows.iter().position(|&end_ns| end_ns <= fault.start_ns);
                let row = free.unwrap_or_else(|| {
                    rows.push(0);
                    rows.len() - 1
                });
                rows[row] = fault.end_ns.max(fault.start_ns + 1);
                Span {
                    y: y + 2.0 + row as f64 * LANE_HEIGHT,
                    ..span(fault, colours, &place)
                }
            })
            .collect();
        let height = rows.len() as f64 * LANE_HEIGHT + 4.0;
        lanes.push(Lane {
            name,
            y,
            height,
            bars,
        });
        y += height;
    }
    (lanes, faults.len().saturating_sub(BARS_MAX))
}

/// Outcomes for each second, standing on each other: ok, then info, then fail.
fn throughput(timeline: &Timeline, x: Linear, top: f64) -> Chart {
    let bucket_s = timeline.bucket_ns as f64 / 1e9;
    let rate = |count: u64| count as f64 / bucket_s;
    let most = timeline
        .buckets
        .iter()
        .map(|bucket| rate(bucket.counts.total()))
        .fold(1.0, f64::max);
    let bottom = top + CHART_HEIGHT;
    let y = Linear {
        top: most * 1.05,
        from: bottom,
        to: top,
    };
    let curves = ["ok", "info", "fail"].into_iter().map(|class| {
        let part = |Counts { ok, fail, info }: Counts| match class {
            "ok" => (0, ok),
            "info" => (ok, info),
            _ => (ok + info, fail),
        };
        let mut path = String::new();
        for (position, bucket) in timeline.buckets.iter().enumerate() {
            let (below, count) = part(bucket.counts);
            if count > 0 {
                let left = x.place(position as f64 * timeline.bucket_ns as f64);
                let right = x
                    .place((position + 1) as f64 * timeline.bucket_ns as f64)
                    .min(RIGHT);
                let (low, high) = (y.place(rate(below)), y.place(rate(below + count)));
                let _ = write!(path, "M{left} {low}V{high}H{right}V{low}Z");
            }
        }
        Curve { class, path }
    });
    Chart {
        top,
        bottom,
        ticks: y.ticks(5, short),
        curves: curves.collect(),
    }
}

/// Quantiles of what was ok, on an axis of powers of ten.
fn latency(timeline: &Timeline, x: Linear, top: f64) -> Chart {
    let bottom = top + CHART_HEIGHT;
    let histograms = || {
        timeline
            .buckets
            .iter()
            .filter_map(|bucket| bucket.latency.as_ref())
    };
    let least = histograms()
        .map(|latency| latency.value_at_quantile(0.5))
        .min()
        .unwrap_or(100);
    let most = histograms()
        .map(hdrhistogram::Histogram::max)
        .max()
        .unwrap_or(1_000);
    let y = Log::around(least as f64, most as f64, bottom, top);
    let curves =
        [("max", 1.0), ("p99", 0.99), ("p50", 0.5)]
            .into_iter()
            .map(|(class, quantile)| {
                let mut path = String::new();
                let mut pen_down = false;
                for (position, bucket) in timeline.buckets.iter().enumerate() {
                    let middle = (position as f64 + 0.5) * timeline.bucket_ns as f64;
                    if let Some(latency) = &bucket.latency {
                        let at = y.place(latency.value_at_quantile(quantile) as f64);
                        let command = if pen_down { 'L' } else { 'M' };
                        let _ = write!(path, "{command}{} {at}", x.place(middle).min(RIGHT));
                        if !pen_down {
                            path.push_str("h0.5"); // So that a lonely point is seen.
                        }
                    }
                    pen_down = bucket.latency.is_some();
                }
                Curve { class, path }
            });
    Chart {
        top,
        bottom,
        ticks: y.ticks(duration_us),
        curves: curves.collect(),
    }
}

fn data(timeline: &Timeline) -> Data {
    let buckets = &timeline.buckets;
    let counts = |part: fn(&Bucket) -> u64| buckets.iter().map(part).collect();
    let quantiles = |quantile: f64| {
        let ms = |us: u64| round(us as f64 / 1e3);
        let at = |bucket: &Bucket| {
            bucket
                .latency
                .as_ref()
                .map(|l| ms(l.value_at_quantile(quantile)))
        };
        buckets.iter().map(at).collect()
    };
    Data {
        bucket_s: timeline.bucket_ns as f64 / 1e9,
        ok: counts(|bucket| bucket.counts.ok),
        fail: counts(|bucket| bucket.counts.fail),
        info: counts(|bucket| bucket.counts.info),
        p50: quantiles(0.5),
        p99: quantiles(0.99),
        max: quantiles(1.0),
    }
}
