//! Markdown for a CI job's summary page.

use std::fmt::Write as _;

use super::Report;
use super::findings::Findings;
use super::folder::{Verdict, text};

const FAULTS_SHOWN: usize = 30;

/// Renders the summary.
pub(super) fn render(report: &Report) -> String {
    let Report {
        folder,
        summary,
        faults,
        ..
    } = report;
    let mut out = String::new();
    let banner = &summary.banner;
    let sign = match banner.class {
        "valid" => "✅",
        "invalid" => "❌",
        _ => "❔",
    };
    let _ = writeln!(
        out,
        "## {sign} {}: {}\n",
        banner.title,
        escape(&folder.name())
    );
    let _ = writeln!(out, "{}\n", escape(&banner.sentence()));
    let _ = writeln!(out, "| | | |\n|---|---|---|");
    for part in &summary.parts {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            part.mark,
            part.what,
            escape(&part.says)
        );
    }
    let _ = writeln!(out, "\n| figure | value | |\n|---|---:|---|");
    for figure in &summary.figures {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            figure.name,
            figure.value,
            escape(&figure.note)
        );
    }
    for property in folder
        .results
        .properties
        .iter()
        .filter(|p| p.verdict != Verdict::Valid)
    {
        let _ = writeln!(
            out,
            "\n### {}: {}\n",
            escape(&property.name),
            property.verdict.word()
        );
        let _ = writeln!(out, "{}\n", escape(&property.reason));
        for step in Findings::of(&property.report).explanation {
            let _ = writeln!(out, "1. {}", escape(&step));
        }
    }
    for row in folder.results.coverage.iter().filter(|row| !row.met) {
        let (wanted, got) = (text(&row.wanted), text(&row.got));
        let _ = writeln!(
            out,
            "\n- **{}** fell short: wanted {}, got {}",
            escape(&row.name),
            escape(&wanted),
            escape(&got)
        );
    }
    for error in &folder.results.harness.errors {
        let _ = writeln!(out, "\n- harness: {}", escape(error));
    }
    if !faults.is_empty() {
        let _ = writeln!(
            out,
            "\n| # | fault | on | from s | for s |\n|---:|---|---|---:|---:|"
        );
        for fault in faults.iter().take(FAULTS_SHOWN) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {:.1} | {:.1} |",
                fault.number,
                escape(&fault.kind),
                escape(&fault.targets.join(", ")),
                fault.start_ns as f64 / 1e9,
                (fault.end_ns - fault.start_ns) as f64 / 1e9,
            );
        }
    }
    let _ = writeln!(
        out,
        "\nRepeat it with seed {}, on the `playbook.yaml` in the folder of this run",
        escape(&text(&folder.run.seed))
    );
    out
}

/// Text on one line in which nothing is markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '>' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    escaped
}
