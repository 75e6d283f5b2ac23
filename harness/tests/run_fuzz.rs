//! Whatever is in a file of YAML: it is read or refused at once, and nothing panics or grows.
//!
//! Bounded, so that it runs with the other tests; `PROPTEST_CASES=100000` looks for longer. A case
//! that fails is printed small, and kept by proptest to be tried first from then on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ordeal::playbook::source::Source;
use ordeal::playbook::{self, matrix};
use ordeal::runner::Plan;
use proptest::prelude::*;

/// Far more than any of these files needs, far less than a hang.
const LONG: Duration = Duration::from_secs(120);

/// Files that are right, to be made wrong.
fn seeds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks");
    let files = [
        "quickstart.yaml",
        "register/register.yaml",
        "raft/read-modes.yaml",
        "raft/safe-retries.yaml",
        "standard.yaml",
        "campaigns/bugs.yaml",
        "systems/raft-node.yaml",
        "systems/redis.yaml",
    ];
    let read = |name| std::fs::read_to_string(folder.join(name)).expect("it is shipped");
    files.into_iter().map(read).collect()
}

/// Pieces that mean something somewhere.
const PIECES: &[&str] = &[
    "name:",
    "system:",
    "use:",
    "faults:",
    "- kill: all",
    "every:",
    "1ns",
    "10s ± 20s",
    "9999999d",
    "at: [",
    "workloads:",
    "kind: kv",
    "clients: 10000n",
    "keys: 1000000",
    "include:",
    "${",
    "}",
    "${bug}",
    "parameters:",
    "nodes: 64",
    "-1",
    "1e308",
    ".nan",
    "&a",
    "*a",
    "!!binary",
    "!kill x",
    "<<: *a",
    "{{ ",
    "{% for a in range(99999) %}",
    "{{ key | urlencode }}",
    "? ",
    "|",
    ">-",
    "\t",
    "\u{feff}",
    "\0",
    "'",
    "\"",
    "[[[[",
    "{a: {a: {a:",
    "standard",
    "until: ready",
    "seeds:",
];

/// Everything that can be done with a text without a host.
fn read_as_anything(text: &str, folder: &Path) {
    let file = folder.join("p.yaml");
    std::fs::write(&file, text).expect("written");
    let began = Instant::now();
    if let Ok(source) = Source::read(&file) {
        let _ = source.kind();
    }
    if let Ok(plan) = Plan::read(&file, &BTreeMap::new(), Some(1)) {
        let again = plan.loaded.written_again();
        assert!(again.is_ok(), "{}\n{text}", again.unwrap_err());
    }
    if let Ok(sheet) = matrix::read(&file) {
        let _ = sheet.cells(&BTreeMap::new(), 1);
    }
    let _ = Plan::check_system(&file);
    let _ = playbook::load(&file, &BTreeMap::from([("bug".into(), "${".into())]));
    assert!(
        began.elapsed() < LONG,
        "it took {:?}:\n{text}",
        began.elapsed()
    );
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_file_that_is_right_but_for_a_few_places_is_read_or_refused(
        file in 0..8_usize,
        changes in prop::collection::vec((0.0..1.0_f64, 0..12_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut text = seeds()[file].clone();
        for (place, cut, piece) in changes {
            let mut from = (place * text.len() as f64) as usize;
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (from + cut).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            text.replace_range(from..to, PIECES[piece]);
        }
        read_as_anything(&text, folder().path());
    }

    #[test]
    fn lines_of_nothing_in_particular_are_read_or_refused(
        lines in prop::collection::vec((0..6_usize, 0..PIECES.len(), 0..PIECES.len()), 0..30),
    ) {
        let line = |(indent, one, other): (usize, usize, usize)| {
            format!("{}{} {}\n", "  ".repeat(indent), PIECES[one], PIECES[other])
        };
        let text: String = lines.into_iter().map(line).collect();
        read_as_anything(&text, folder().path());
    }
}

#[test]
fn what_would_take_all_memory_or_time_is_refused() {
    let head = "name: x\nsystem: {use: raft-node}\n";
    let texts = [
        // The product of clients and keys, of faults and time, of a matrix's axes.
        format!("{head}nodes: 64\nworkloads: [{{kind: kv, clients: 10000n, keys: 1000000}}]\n"),
        format!("{head}workloads: [{{kind: kv, clients: 10000, keys: 1000000}}]\n"),
        format!(
            "{head}workloads: [{{kind: register}}]\ntime: {{during: 7d}}\n\
             faults: [{{kill: one, every: 10ms}}]\n"
        ),
        format!("{head}workloads: [{{kind: register}}]\nfaults_at_once: 0\nfaults: standard\n"),
        format!("{head}workloads: [{}]\n", "{kind: register},".repeat(5_000)),
        // Aliases that double with every line.
        (0..40).fold("a0: &a0 [x]\n".to_owned(), |text, at| {
            text + &format!("a{}: &a{} [*a{at}, *a{at}]\n", at + 1, at + 1)
        }),
        "[".repeat(200_000),
        "x".repeat(2 << 20),
    ];
    for text in texts {
        let folder = folder();
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, &text).expect("written");
        let began = Instant::now();
        let read = Plan::read(&file, &BTreeMap::new(), Some(1));
        assert!(read.is_err(), "{}", &text[..text.len().min(300)]);
        let said = read.unwrap_err().to_string();
        assert!(said.len() < 4_096, "{}", &said[..200]);
        assert!(began.elapsed() < LONG);
    }
}
