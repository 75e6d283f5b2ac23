//! The summary that ends a run on the terminal.

use std::fmt::Write as _;

use super::Report;
use super::findings::Findings;
use super::folder::{Verdict, text};

const STEPS_SHOWN: usize = 12;
const STEPS_FIRST: usize = 4;

/// Renders the summary.
pub(super) fn render(report: &Report, color: bool) -> String {
    let Report {
        folder, summary, ..
    } = report;
    let paint = |class: &str, text: &str| match (color, class) {
        (false, _) => text.to_owned(),
        (true, "valid") => format!("\x1b[1;32m{text}\x1b[0m"),
        (true, "invalid") => format!("\x1b[1;31m{text}\x1b[0m"),
        (true, "soft") => format!("\x1b[2m{text}\x1b[0m"),
        (true, _) => format!("\x1b[1;33m{text}\x1b[0m"),
    };
    let mut out = String::new();
    let banner = &summary.banner;
    let title = paint(banner.class, &banner.title.to_uppercase());
    let _ = writeln!(out, "\n{title}  {}\n", plain(&banner.sentence()));
    for part in &summary.parts {
        let mark = paint(part.class, part.mark);
        let _ = writeln!(out, "  {mark} {:<11} {}", part.what, plain(&part.says));
    }
    out.push('\n');
    for figure in &summary.figures {
        let note = paint("soft", &plain(&figure.note));
        let _ = writeln!(out, "  {:<15} {:>9}  {note}", figure.name, figure.value);
    }
    for property in folder
        .results
        .properties
        .iter()
        .filter(|p| p.verdict != Verdict::Valid)
    {
        let steps = Findings::of(&property.report).explanation;
        if !steps.is_empty() {
            let _ = writeln!(
                out,
                "\n{}",
                paint(property.verdict.word(), &plain(&property.name))
            );
            let left_out = steps.len().saturating_sub(STEPS_SHOWN);
            for (at, step) in steps.iter().enumerate() {
                // The begin says what it is about, the end what follows from it.
                if at == STEPS_FIRST && left_out > 0 {
                    let _ = writeln!(out, "  · … {left_out} more: see the report");
                }
                if at < STEPS_FIRST || at >= STEPS_FIRST + left_out {
                    let _ = writeln!(out, "  · {}", plain(step));
                }
            }
        }
    }
    for row in folder.results.coverage.iter().filter(|row| !row.met) {
        let _ = writeln!(
            out,
            "  {} {}: wanted {}, got {}",
            paint("unknown", "short"),
            plain(&row.name),
            plain(&text(&row.wanted)),
            plain(&text(&row.got)),
        );
    }
    for error in &folder.results.harness.errors {
        let _ = writeln!(out, "  {} {}", paint("unknown", "harness"), plain(error));
    }
    out
}

/// Text without control characters: a history must not drive the reader's terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
