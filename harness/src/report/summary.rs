//! The run in a few words and figures: what every format begins with.

use std::collections::BTreeSet;

use serde::Serialize;

use super::axis::{count, duration_ns, duration_us, moment_ns, short};
use super::faults::Shown;
use super::folder::{Course, Folder, Property, Verdict};
use super::timeline::Timeline;

/// What a reader must have seen after the first glance.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) banner: Banner,
    /// Properties, coverage, harness: in this order.
    pub(super) parts: [Part; 3],
    pub(super) figures: Vec<Figure>,
}

/// The verdict in a word and a sentence.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Banner {
    pub(super) title: &'static str,
    /// `valid`, `invalid` or `unknown`.
    pub(super) class: &'static str,
    /// The property that decided it, when one did.
    pub(super) what: Option<String>,
    pub(super) why: String,
}

impl Banner {
    fn new(title: &'static str, verdict: Verdict, why: impl Into<String>) -> Self {
        Self {
            title,
            class: verdict.word(),
            what: None,
            why: why.into(),
        }
    }

    /// The banner of a property; its own words, if it has any.
    fn of(title: &'static str, property: &Property, otherwise: &str) -> Self {
        let why = if property.reason.is_empty() {
            otherwise
        } else {
            &property.reason
        };
        Self {
            what: Some(property.name.clone()),
            ..Self::new(title, property.verdict, why)
        }
    }

    /// The sentence with what it is about.
    pub(super) fn sentence(&self) -> String {
        match &self.what {
            Some(what) => format!("{what}: {}", self.why),
            None => self.why.clone(),
        }
    }
}

/// One of the three parts of a verdict.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    pub(super) class: &'static str,
    pub(super) mark: &'static str,
    pub(super) what: &'static str,
    pub(super) says: String,
    pub(super) anchor: &'static str,
}

/// A headline figure.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) note: String,
}

impl Summary {
    pub(super) fn new(folder: &Folder, timeline: &Timeline, faults: &[Shown]) -> Self {
        Self {
            banner: banner(folder, timeline, faults),
            parts: [properties(folder), coverage(folder), harness(folder)],
            figures: [figures(timeline, faults), terms(folder)].concat(),
        }
    }
}

/// `1 fault`, `3 faults`.
pub(crate) fn many(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ if noun.ends_with('y') => format!("{number} {}ies", &noun[..noun.len() - 1]),
        _ => format!("{} {noun}s", count(number as u64)),
    }
}

/// A violation outweighs all else, for it is proof; then what the harness did not manage; then
/// doubt; and only then success.
fn banner(folder: &Folder, timeline: &Timeline, faults: &[Shown]) -> Banner {
    let results = &folder.results;
    let first = |verdict| {
        results
            .properties
            .iter()
            .find(|property| property.verdict == verdict)
    };
    if let Some(property) = first(Verdict::Invalid) {
        return Banner::of("Invalid", property, "does not hold.");
    }
    if !results.harness.ok {
        let why = results.harness.errors.first().map(String::as_str);
        let why = why.unwrap_or("The run did not end as it should; nothing is proved.");
        return Banner::new("Harness failed", Verdict::Unknown, why);
    }
    if let Some(property) = first(Verdict::Unknown) {
        return Banner::of("Unknown", property, "could not be decided.");
    }
    let short: Vec<&str> = results
        .coverage
        .iter()
        .filter(|row| !row.met)
        .map(|row| row.name.as_str())
        .collect();
    if !short.is_empty() {
        let why = format!(
            "Nothing broke, but too little happened to pass: {}.",
            short.join(", ")
        );
        return Banner::new("Coverage short", Verdict::Unknown, why);
    }
    if results.verdict != Verdict::Valid {
        return Banner::new("Unknown", Verdict::Unknown, "No property was decided.");
    }
    let why = format!(
        "Every promise was kept through {} and {}.",
        many(faults.iter().filter(|it| it.installed).count(), "fault"),
        many(timeline.counts().total() as usize, "operation"),
    );
    Banner::new("Valid", Verdict::Valid, why)
}

fn part(what: &'static str, anchor: &'static str, verdict: Verdict, says: String) -> Part {
    let mark = match verdict {
        Verdict::Valid => "✓",
        Verdict::Invalid => "✗",
        Verdict::Unknown => "?",
    };
    Part {
        class: verdict.word(),
        mark,
        what,
        says,
        anchor,
    }
}

fn properties(folder: &Folder) -> Part {
    let properties = &folder.results.properties;
    let with = |verdict| properties.iter().filter(|p| p.verdict == verdict).count();
    let (invalid, unknown) = (with(Verdict::Invalid), with(Verdict::Unknown));
    let (verdict, says) = if invalid > 0 {
        (
            Verdict::Invalid,
            format!("{invalid} of {} violated", properties.len()),
        )
    } else if unknown > 0 || properties.is_empty() {
        (
            Verdict::Unknown,
            format!("{unknown} of {} not decided", properties.len()),
        )
    } else {
        (
            Verdict::Valid,
            format!("{} held", many(properties.len(), "property")),
        )
    };
    part("Properties", "properties", verdict, says)
}

fn coverage(folder: &Folder) -> Part {
    let coverage = &folder.results.coverage;
    let met = coverage.iter().filter(|row| row.met).count();
    let verdict = if met == coverage.len() {
        Verdict::Valid
    } else {
        Verdict::Unknown
    };
    let says = if coverage.is_empty() {
        "none was asked for".to_owned()
    } else {
        format!("{met} of {} reached", many(coverage.len(), "goal"))
    };
    part("Coverage", "coverage", verdict, says)
}

fn harness(folder: &Folder) -> Part {
    let harness = &folder.results.harness;
    let (verdict, says) = match (harness.ok, harness.errors.len()) {
        (true, 0) => (Verdict::Valid, "worked throughout".to_owned()),
        (true, errors) => (
            Verdict::Valid,
            format!("worked, with {}", many(errors, "remark")),
        ),
        (false, errors) => (
            Verdict::Unknown,
            format!("failed: {}", many(errors, "error")),
        ),
    };
    part("Harness", "harness", verdict, says)
}

fn figures(timeline: &Timeline, faults: &[Shown]) -> Vec<Figure> {
    let counts = timeline.counts();
    let latency = timeline.latency();
    let figure = |name, value: String, note: String| Figure { name, value, note };
    let quantile = |quantile| {
        if latency.is_empty() {
            "–".to_owned()
        } else {
            duration_us(latency.value_at_quantile(quantile) as f64)
        }
    };
    // That a value is not the expected one is an answer, and a good one.
    let refused = timeline.sound_no();
    let share = 100.0 * (counts.ok + refused) as f64 / counts.total().max(1) as f64;
    let worked_ns = timeline.worked_ns.min(timeline.end_ns);
    let rate = match worked_ns {
        0 => 0.0,
        _ => timeline.ok_between(0, worked_ns) * 1e9 / worked_ns as f64,
    };
    let gap = timeline
        .gap_ns
        .map_or((0, "nothing was ok".to_owned()), |(start, end)| {
            (end - start, format!("no ok from {}", moment_ns(start)))
        });
    vec![
        figure(
            "Operations",
            count(counts.total()),
            format!("{} fail, {} info", count(counts.fail), count(counts.info)),
        ),
        figure(
            "Answered",
            format!("{share:.1}%"),
            match refused {
                0 => format!("{} ok", count(counts.ok)),
                _ => format!("{} ok, {} a sound no", count(counts.ok), count(refused)),
            },
        ),
        figure(
            "Throughput",
            format!("{}/s", short(rate)),
            "answered, without the last reads".into(),
        ),
        figure(
            "Latency p50",
            quantile(0.5),
            format!("p99 {}", quantile(0.99)),
        ),
        figure("Latency max", quantile(1.0), "of what was ok".into()),
        figure("Longest outage", duration_ns(gap.0), gap.1),
        of_faults(faults),
        figure("Duration", duration_ns(timeline.end_ns), String::new()),
    ]
}

/// How far the nodes' terms grew, when the system tells them: each term is an election at least.
fn terms(folder: &Folder) -> Vec<Figure> {
    let Some(nodes) = folder.results.figures.gauges.get("term") else {
        return Vec::new();
    };
    let most = |of: fn(&Course) -> f64| nodes.values().map(of).fold(0.0, f64::max);
    let (first, max) = (most(|it| it.first), most(|it| it.max));
    let ended: Vec<String> = nodes
        .iter()
        .map(|(name, it)| format!("{name} {}", it.last))
        .collect();
    let lasts: BTreeSet<String> = nodes.values().map(|it| it.last.to_string()).collect();
    let note = if lasts.len() == 1 {
        "at the end the same on every node".to_owned()
    } else {
        format!("at the end {}", ended.join(", "))
    };
    vec![Figure {
        name: "Terms",
        value: format!("{first} → {max}"),
        note,
    }]
}

/// How many faults came, and of which kinds.
fn of_faults(faults: &[Shown]) -> Figure {
    let (came, missed): (Vec<&Shown>, Vec<&Shown>) = faults.iter().partition(|it| it.installed);
    let kinds: BTreeSet<&str> = came.iter().map(|it| it.kind.as_str()).collect();
    let kinds = Vec::from_iter(kinds).join(", ");
    Figure {
        name: "Faults",
        value: came.len().to_string(),
        note: match missed.len() {
            0 => kinds,
            missed => format!("{kinds}; {missed} more did not come"),
        },
    }
}
