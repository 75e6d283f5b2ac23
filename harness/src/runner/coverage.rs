//! What the playbook expects, held against what was counted.

use std::time::Duration;

use serde_json::json;

use crate::playbook::Loaded;
use crate::playbook::source::Step;
use crate::playbook::units::Span;
use crate::tally::{Counts, Part, Tally};
use crate::verdict::{Coverage, FaultRecord, installed};

/// Every expectation with its outcome. What nobody asked for is there too: a run in which nothing
/// succeeded, or a fault of the playbook that never came, covers nothing.
pub(super) fn measure(loaded: &Loaded, tally: &Tally, faults: &[FaultRecord]) -> Vec<Coverage> {
    let expect = &loaded.playbook.expect;
    let counts = tally.counts();
    let line = |path: &[Step]| {
        let path = [&["expect".into()], path].concat();
        loaded.source.place(&path).map(|place| place.line)
    };
    let total = counts.total();
    let mut all = vec![Coverage::least(
        "operations that succeeded".into(),
        1,
        total.ok,
        None,
    )];
    let parts = [
        ("before", Part::Before, &expect.ok.before),
        ("during", Part::During, &expect.ok.during),
        ("after", Part::After, &expect.ok.after),
    ];
    for (name, part, least) in parts {
        for (f, wanted) in least {
            let line = line(&["ok".into(), name.into(), f.as_str().into()]);
            let what = format!("ok {f} {name} the faults");
            all.push(Coverage::least(what, *wanted, counts.ok(part, f), line));
        }
    }
    let kinds = installed(faults);
    for (kind, wanted) in &expect.faults {
        let got = kinds.get(kind.as_str()).copied().unwrap_or(0);
        let line = line(&["faults".into(), kind.as_str().into()]);
        all.push(Coverage::least(
            format!("{kind} installed"),
            *wanted,
            got,
            line,
        ));
    }
    all.extend(never_came(loaded, faults));
    if let Some(wanted) = expect.recovery {
        let line = line(&["recovery".into()]);
        all.push(within(
            "recovery on every node",
            wanted,
            tally.recovery(),
            line,
        ));
    }
    if let Some(wanted) = expect.outage {
        let line = line(&["outage".into()]);
        let got = Some(tally.longest_outage());
        all.push(within("longest time without success", wanted, got, line));
    }
    for (word, share) in &expect.errors {
        let got = count_of(&counts, word) as f64 / total.total().max(1) as f64;
        all.push(Coverage {
            name: format!("share of `{word}`"),
            wanted: json!(format!("at most {share}")),
            got: json!(format!("{:.2}%", got * 100.0)),
            met: got <= share.0,
            line: line(&["errors".into(), word.as_str().into()]),
        });
    }
    all
}

/// Entries of the playbook of which not one fault was installed though some were planned.
fn never_came<'a>(
    loaded: &'a Loaded,
    faults: &'a [FaultRecord],
) -> impl Iterator<Item = Coverage> + 'a {
    loaded
        .playbook
        .faults
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| {
            let planned = faults.iter().filter(|fault| fault.entry == Some(at));
            let came = planned.clone().filter(|fault| fault.installed).count() as u64;
            if came > 0 || planned.count() == 0 {
                return None;
            }
            let line = loaded
                .source
                .place(&["faults".into(), at.into()])
                .map(|place| place.line);
            Some(Coverage::least(
                format!("{} planned and installed", entry.fault.kind()),
                1,
                0,
                line,
            ))
        })
}

fn within(name: &str, wanted: Span, got: Option<Duration>, line: Option<usize>) -> Coverage {
    let millis = |span: Duration| Span(Duration::from_millis(span.as_millis() as u64)).to_string();
    Coverage {
        name: name.into(),
        wanted: json!(format!("within {wanted}")),
        got: json!(got.map_or_else(|| "never".into(), millis)),
        met: got.is_some_and(|got| got <= wanted.0),
        line,
    }
}

fn count_of(counts: &Counts, word: &str) -> u64 {
    match word {
        "fail" => counts.total().fail,
        "info" => counts.total().info,
        _ => counts.errors.get(word).copied().unwrap_or(0),
    }
}
