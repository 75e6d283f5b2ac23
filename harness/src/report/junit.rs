//! `JUnit` XML: the one format that every CI shows.
//!
//! A violated property and coverage that fell short are failures; what could not be decided and
//! what the harness did not manage are errors. Nothing is ever `skipped`: that would pass.

use std::fmt::Write as _;

use super::Report;
use super::folder::{Verdict, text};

enum Trouble {
    Failure(String),
    Error(String),
}

struct Case {
    class: &'static str,
    name: String,
    trouble: Option<Trouble>,
}

/// Renders the suite.
pub(super) fn render(report: &Report) -> String {
    let cases = cases(report);
    let failures = cases
        .iter()
        .filter(|c| matches!(c.trouble, Some(Trouble::Failure(_))))
        .count();
    let errors = cases
        .iter()
        .filter(|c| matches!(c.trouble, Some(Trouble::Error(_))))
        .count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        xml,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{:.3}\" timestamp=\"{}\">",
        escape(&report.folder.name()),
        cases.len(),
        report.timeline.end_ns as f64 / 1e9,
        escape(&report.folder.run.started),
    );
    for Case {
        class,
        name,
        trouble,
    } in cases
    {
        let head = format!(
            "<testcase classname=\"ordeal.{class}\" name=\"{}\"",
            escape(&name)
        );
        let _ = match trouble {
            None => writeln!(xml, "{head}/>"),
            Some(Trouble::Failure(why)) => writeln!(
                xml,
                "{head}><failure message=\"{0}\">{0}</failure></testcase>",
                escape(&why)
            ),
            Some(Trouble::Error(why)) => {
                writeln!(
                    xml,
                    "{head}><error message=\"{0}\">{0}</error></testcase>",
                    escape(&why)
                )
            }
        };
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn cases(report: &Report) -> Vec<Case> {
    let results = &report.folder.results;
    let properties = results.properties.iter().map(|property| Case {
        class: "properties",
        name: property.name.clone(),
        trouble: match property.verdict {
            Verdict::Valid => None,
            Verdict::Invalid => Some(Trouble::Failure(property.reason.clone())),
            Verdict::Unknown => Some(Trouble::Error(property.reason.clone())),
        },
    });
    let coverage = results.coverage.iter().map(|row| Case {
        class: "coverage",
        name: row.name.clone(),
        trouble: (!row.met).then(|| {
            Trouble::Failure(format!(
                "wanted {}, got {}",
                text(&row.wanted),
                text(&row.got)
            ))
        }),
    });
    let harness = Case {
        class: "harness",
        name: "the harness worked".into(),
        trouble: (!results.harness.ok).then(|| Trouble::Error(results.harness.errors.join("\n"))),
    };
    properties.chain(coverage).chain([harness]).collect()
}

/// Text for an attribute or an element; what XML 1.0 has no place for becomes a question mark.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push('\t'),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_words_stay_words() {
        assert_eq!(
            escape("</failure>\"&\u{0}\n"),
            "&lt;/failure&gt;&quot;&amp;?&#10;"
        );
    }
}
