//! `cargo verify`: all that must hold before a change lands. Runs every step, whatever failed
//! before it, and ends with one line that counts.

use std::process::Command;

use crate::step::{Outcome, binaries, cargo, run, run_to};

/// Everything is built once, in the `dev` profile (the protocol and the checker are optimised in
/// it), with the historic bugs at hand for the canaries.
const FEATURES: [&str; 3] = ["--workspace", "--features", "ordeal-node/bugs"];

/// Runs all steps and prints the summary. Whether all of them passed.
pub(crate) fn verify() -> bool {
    let mut outcomes = vec![
        run("format", &mut cargo(&["fmt", "--all", "--check"])),
        run(
            "clippy",
            cargo(&["clippy", "--all-targets"])
                .args(FEATURES)
                .args(["--", "-D", "warnings"]),
        ),
        run(
            "docs",
            cargo(&["doc", "--no-deps", "--document-private-items"])
                .args(FEATURES)
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
        run("build", cargo(&["test", "--no-run"]).args(FEATURES)),
        run(
            "doctor",
            Command::new(binaries("debug").join("ordeal")).args(["doctor", "--fix"]),
        ),
    ];
    let tests = run("tests", cargo(&["test", "--no-fail-fast"]).args(FEATURES));
    let (tests_passed, tests_failed) = count(&tests);
    outcomes.push(tests);
    outcomes.push(run(
        "quickstart: kept its promises",
        &mut playbook("quickstart.yaml"),
    ));
    outcomes.push(run_to(
        "canary: caught",
        &mut playbook("canary/stale-reads.yaml"),
        1,
    ));

    println!("\n==> summary");
    for Outcome {
        name, ok, elapsed, ..
    } in &outcomes
    {
        println!(
            "{} {:>7.1} s  {name}",
            if *ok { "ok    " } else { "FAILED" },
            elapsed.as_secs_f64()
        );
    }
    // The tests step counts by its tests; a step that fails before any test can fail counts once.
    let failed = outcomes.iter().filter(|outcome| !outcome.ok).count();
    println!("{tests_passed} passed, {} failed", tests_failed.max(failed));
    failed == 0 && tests_failed == 0
}

/// A run of a playbook on a lab of its own.
fn playbook(file: &str) -> Command {
    let mut command = Command::new(binaries("debug").join("ordeal"));
    let store = binaries("verify-store");
    command
        .args([
            "run",
            &format!("playbooks/{file}"),
            "--on",
            "lab:verify",
            "--store",
        ])
        .arg(store);
    command
}

/// How many tests passed and failed, from the closing lines of each test binary.
fn count(tests: &Outcome) -> (usize, usize) {
    let results = tests
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix("test result: "));
    results.fold((0, 0), |(passed, failed), line| {
        (
            passed + before(line, " passed"),
            failed + before(line, " failed"),
        )
    })
}

/// The number that stands before a word.
fn before(line: &str, word: &str) -> usize {
    let head = line.split(word).next().unwrap_or_default();
    head.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let line = |text: &str| text.to_owned();
        let outcome = Outcome {
            name: "tests",
            ok: false,
            elapsed: std::time::Duration::ZERO,
            lines: vec![
                line("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured"),
                line("test some::name ... ok"),
                line("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured"),
            ],
        };
        assert_eq!(count(&outcome), (15, 2));
    }
}
