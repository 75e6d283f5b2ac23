//! One command that is run, shown while it runs, timed, and judged by its exit code.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a step ended.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) ok: bool,
    pub(crate) elapsed: Duration,
    /// What it printed on stdout, line by line.
    pub(crate) lines: Vec<String>,
}

/// The repository's top folder, wherever the command was typed.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The folder where cargo leaves its binaries for a profile.
pub(crate) fn binaries(profile: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(target).join(profile)
}

/// A call of the cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs a command in the repository's top folder, passing its output through; it is to succeed.
pub(crate) fn run(name: &'static str, command: &mut Command) -> Outcome {
    run_to(name, command, 0)
}

/// The same for a command that is to end with a certain exit code.
pub(crate) fn run_to(name: &'static str, command: &mut Command, code: i32) -> Outcome {
    println!("\n==> {name}");
    let start = Instant::now();
    let mut lines = Vec::new();
    let status = command
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let stdout = child.stdout.take().expect("stdout is piped");
            for line in BufReader::new(stdout).split(b'\n') {
                let line = String::from_utf8_lossy(&line?).into_owned();
                println!("{line}");
                lines.push(line);
            }
            child.wait()
        });
    let ok = match status {
        Ok(status) => status.code() == Some(code),
        Err(error) => {
            eprintln!("error: cannot run {command:?}: {error}");
            false
        }
    };
    let elapsed = start.elapsed();
    println!(
        "<== {name}: {} in {:.1} s",
        if ok { "ok" } else { "FAILED" },
        elapsed.as_secs_f64()
    );
    Outcome {
        name,
        ok,
        elapsed,
        lines,
    }
}
