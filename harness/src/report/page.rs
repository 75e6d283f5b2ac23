//! The report as one page of HTML that needs nothing but itself.
//!
//! A history is hostile input: every word of it goes through the template engine's escaping, and
//! a content policy lets only our own script run, by its digest.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::axis::{count, duration_ns, duration_us, moment_ns, round, short};
use super::counterexample::{Drawing, draw};
use super::cycle::{self, Cycle};
use super::faults::{Shown, colours};
use super::findings::{Findings, KeyFinding, Op};
use super::folder::{Harness, Property, rows, text};
use super::plot::{Plot, plot};
use super::summary::Summary;
use super::timeline::{Counts, Timeline};
use super::{Report, ReportError};

const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/script.js");
const TEMPLATES: [(&str, &str); 4] = [
    ("page.html", include_str!("templates/page.html")),
    ("plot.html", include_str!("templates/plot.html")),
    ("cycle.html", include_str!("templates/cycle.html")),
    (
        "counterexample.html",
        include_str!("templates/counterexample.html"),
    ),
];
const ERRORS_SHOWN: usize = 20;
const FAULTS_SHOWN: usize = 500;
const KEYS_SHOWN: usize = 200;
const PLAYBOOK_BYTES_MAX: usize = 200_000;

/// Renders the page.
pub(super) fn render(report: &Report) -> Result<String, ReportError> {
    let Report {
        folder,
        timeline,
        faults,
        summary,
    } = report;
    let properties = &folder.results.properties;
    let properties: Vec<_> = properties
        .iter()
        .map(|p| PropertyView::new(p, faults))
        .collect();
    let plot = plot(
        timeline,
        faults,
        &folder.run.phases,
        &violations(&properties),
    );
    let page = Page {
        name: folder.name(),
        version: env!("CARGO_PKG_VERSION"),
        style: STYLE,
        script: SCRIPT,
        script_hash: format!("sha256-{}", BASE64.encode(Sha256::digest(SCRIPT))),
        summary,
        seed: text(&folder.run.seed),
        started: moment_of(&folder.run.started),
        system: name_of(&folder.run.system),
        workload: name_of(&folder.run.workload),
        properties,
        coverage: folder.results.coverage.iter().map(coverage_row).collect(),
        harness: &folder.results.harness,
        plot,
        faults: fault_rows(timeline, faults),
        faults_left_out: faults.len().saturating_sub(FAULTS_SHOWN),
        functions: functions(timeline),
        errors_left_out: timeline.errors.len().saturating_sub(ERRORS_SHOWN),
        errors: errors(timeline),
        unreadable: timeline.unreadable,
        playbook: clip(&folder.playbook, PLAYBOOK_BYTES_MAX),
        facts: rows(&folder.facts, &["name", "seed", "phases", "playbook"]),
        history: folder.history().display().to_string(),
        folder: folder.path.display().to_string(),
    };
    let page = minijinja::Value::from(minijinja::value::Serde(&page));
    environment()
        .get_template("page.html")?
        .render(page)
        .map_err(ReportError::from)
}

/// All that the template draws from.
#[derive(Debug, Serialize)]
struct Page<'a> {
    name: String,
    version: &'static str,
    style: &'static str,
    script: &'static str,
    script_hash: String,
    #[serde(flatten)]
    summary: &'a Summary,
    seed: String,
    started: String,
    system: String,
    workload: String,
    properties: Vec<PropertyView>,
    coverage: Vec<CoverageRow>,
    harness: &'a Harness,
    plot: Plot,
    faults: Vec<FaultRow>,
    faults_left_out: usize,
    functions: Vec<FunctionRow>,
    errors: Vec<ErrorRow>,
    errors_left_out: usize,
    unreadable: u64,
    playbook: &'a str,
    facts: BTreeMap<String, String>,
    history: String,
    folder: String,
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("our own templates are sound");
    }
    environment
}

/// A system or workload is its name, an object that has one, or a list of those.
fn name_of(value: &serde_json::Value) -> String {
    match value.as_array() {
        Some(several) => several.iter().map(name_of).collect::<Vec<_>>().join(", "),
        None => text(
            value
                .get("name")
                .or_else(|| value.get("kind"))
                .unwrap_or(value),
        ),
    }
}

/// `2026-11-21T22:58:09.749650227Z` without the fraction that nobody reads.
fn moment_of(started: &str) -> String {
    let (second, zone) = started.split_once('.').unwrap_or((started, ""));
    format!(
        "{}{}",
        second.replace('T', " "),
        if zone.ends_with('Z') { " UTC" } else { "" }
    )
}

/// Cuts a text that would make the page too large, at a character.
fn clip(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// A property with what the checker found, ready to be shown.
#[derive(Debug, Serialize)]
struct PropertyView {
    name: String,
    verdict: &'static str,
    reason: String,
    /// When and where it broke, and under which faults.
    circumstances: Option<String>,
    explanation: Vec<String>,
    checked: String,
    drawing: Option<Drawing>,
    anomalies: Vec<AnomalyView>,
    keys: Vec<KeyFinding>,
    /// When the run could no longer be explained.
    #[serde(skip)]
    violated_ns: Option<u64>,
}

#[derive(Debug, Serialize)]
struct AnomalyView {
    name: String,
    count: u64,
    explanation: Vec<String>,
    cycle: Option<Cycle>,
    drawing: Option<Drawing>,
}

impl PropertyView {
    fn new(property: &Property, faults: &[Shown]) -> Self {
        let findings = Findings::of(&property.report);
        let last_answer = findings.last_answer();
        // The worst anomaly's operations are often the counterexample itself: they are drawn once.
        let told = |ops: &[Op]| ops == findings.counterexample;
        let anomalies = findings.anomalies.iter().map(|anomaly| AnomalyView {
            cycle: cycle::draw(&anomaly.details),
            drawing: draw(&anomaly.ops, None).filter(|_| !told(&anomaly.ops)),
            name: anomaly.name.clone(),
            count: anomaly.count,
            explanation: anomaly.explanation.clone(),
        });
        let figures = &findings.figures;
        Self {
            name: property.name.clone(),
            verdict: property.verdict.word(),
            reason: property.reason.clone(),
            circumstances: last_answer.map(|op| circumstances(op, faults)),
            explanation: findings.explanation.clone(),
            checked: match figures.ops {
                0 => String::new(),
                ops => format!(
                    "{} ops in {}",
                    count(ops),
                    duration_us(figures.elapsed_ms * 1e3)
                ),
            },
            drawing: draw(&findings.counterexample, findings.stuck()),
            anomalies: anomalies.collect(),
            keys: findings.keys.iter().take(KEYS_SHOWN).cloned().collect(),
            violated_ns: last_answer.map(|op| op.time),
        }
    }
}

/// When and where an op was answered, and what the nemesis was doing then.
fn circumstances(op: &Op, faults: &[Shown]) -> String {
    let asked = op
        .node
        .as_deref()
        .map(|node| format!(" by {node}"))
        .unwrap_or_default();
    let mut words = format!(
        "The proof was complete when process {} was answered{asked} at {}.",
        text(&op.process),
        moment_ns(op.time)
    );
    let on = |fault: &Shown| {
        // Who was cut off from whom says more than that all were hit.
        match (fault.description.as_str(), &fault.targets[..]) {
            ("", []) => String::new(),
            ("", targets) => format!(" on {}", targets.join(", ")),
            (description, _) => format!(" ({description})"),
        }
    };
    let active = |fault: &&Shown| (fault.start_ns..=fault.end_ns).contains(&op.time);
    for fault in faults.iter().filter(active).take(3) {
        let since = duration_ns(op.time - fault.start_ns);
        let _ = write!(
            words,
            " Fault #{}, {}{}, had been there for {since}.",
            fault.number,
            fault.kind,
            on(fault)
        );
    }
    if !faults.iter().any(|fault| active(&fault)) {
        let before = faults.iter().filter(|fault| fault.end_ns < op.time);
        if let Some(fault) = before.max_by_key(|fault| fault.end_ns) {
            let since = duration_ns(op.time - fault.end_ns);
            let _ = write!(
                words,
                " No fault was there; the last, #{}, {}{}, had been healed {since} before.",
                fault.number,
                fault.kind,
                on(fault)
            );
        }
    }
    words
}

/// The moments to mark on the time axis.
fn violations(properties: &[PropertyView]) -> Vec<(u64, String)> {
    let invalid = properties
        .iter()
        .filter(|property| property.verdict == "invalid");
    invalid
        .filter_map(|p| p.violated_ns.map(|ns| (ns, format!("{} broken", p.name))))
        .collect()
}

#[derive(Debug, Serialize)]
struct CoverageRow {
    name: String,
    wanted: String,
    got: String,
    met: bool,
    line: String,
}

fn coverage_row(coverage: &super::folder::Coverage) -> CoverageRow {
    CoverageRow {
        name: coverage.name.clone(),
        wanted: text(&coverage.wanted),
        got: text(&coverage.got),
        met: coverage.met,
        line: text(&coverage.line),
    }
}

#[derive(Debug, Serialize)]
struct FaultRow {
    number: usize,
    kind: String,
    colour: usize,
    targets: String,
    from: String,
    lasted: String,
    before: String,
    during: String,
    description: String,
    trouble: Option<&'static str>,
}

/// The faults as rows, each with what it did to the throughput: the rate in it beside the rate in
/// the five seconds before it.
fn fault_rows(timeline: &Timeline, faults: &[Shown]) -> Vec<FaultRow> {
    const BEFORE_NS: u64 = 5_000_000_000;
    let colours = colours(faults);
    let rate = |start_ns: u64, end_ns: u64| match end_ns.saturating_sub(start_ns) {
        // Shorter than a bucket: whatever we said would be about its neighbourhood.
        length_ns if length_ns < timeline.bucket_ns => "–".to_owned(),
        length_ns => {
            short((timeline.ok_between(start_ns, end_ns) * 1e9 / length_ns as f64).round())
        }
    };
    let row = |fault: &Shown| FaultRow {
        number: fault.number,
        kind: fault.kind.clone(),
        colour: colours[&fault.kind],
        targets: fault.targets.join(", "),
        from: moment_ns(fault.start_ns),
        lasted: duration_ns(fault.end_ns - fault.start_ns),
        before: rate(fault.start_ns.saturating_sub(BEFORE_NS), fault.start_ns),
        during: rate(fault.start_ns, fault.end_ns),
        description: fault.description.clone(),
        trouble: fault.trouble,
    };
    faults.iter().take(FAULTS_SHOWN).map(row).collect()
}

#[derive(Debug, Serialize)]
struct FunctionRow {
    name: String,
    ok: String,
    fail: String,
    info: String,
    ok_share: f64,
    info_share: f64,
    fail_share: f64,
    p50: String,
    p99: String,
    max: String,
}

fn functions(timeline: &Timeline) -> Vec<FunctionRow> {
    let rows = timeline.functions.iter().map(|(name, function)| {
        let Counts { ok, fail, info } = function.counts;
        let share = |part: u64| round(100.0 * part as f64 / function.counts.total().max(1) as f64);
        let quantile = |quantile| {
            if function.latency.is_empty() {
                String::new()
            } else {
                duration_us(function.latency.value_at_quantile(quantile) as f64)
            }
        };
        FunctionRow {
            name: name.clone(),
            ok: count(ok),
            fail: count(fail),
            info: count(info),
            ok_share: share(ok),
            info_share: share(info),
            fail_share: share(fail),
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: quantile(1.0),
        }
    });
    rows.collect()
}

#[derive(Debug, Serialize)]
struct ErrorRow {
    words: String,
    fail: String,
    info: String,
}

/// The most frequent errors.
fn errors(timeline: &Timeline) -> Vec<ErrorRow> {
    let mut errors: Vec<(&String, Counts)> = timeline
        .errors
        .iter()
        .map(|(words, counts)| (words, *counts))
        .collect();
    errors.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.total()));
    let row = |(words, counts): (&String, Counts)| ErrorRow {
        words: words.clone(),
        fail: count(counts.fail),
        info: count(counts.info),
    };
    errors.into_iter().take(ERRORS_SHOWN).map(row).collect()
}
