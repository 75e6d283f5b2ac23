//! The project's own two commands: `cargo demo` shows what Ordeal does, `cargo verify` checks all
//! of it. No dependencies, so that the first build of either starts at once.

mod demo;
mod step;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command: fn() -> bool = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["demo"] => demo::demo,
        ["verify"] => verify::verify,
        _ => {
            eprintln!("usage: cargo demo | cargo verify");
            return ExitCode::from(64);
        }
    };
    if !is_root() {
        eprintln!(
            "error: `cargo {0}` makes network namespaces, which takes root; \
             type: sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo {0}",
            arguments[0]
        );
        return ExitCode::from(3);
    }
    if command() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the effective user is root, as the kernel tells it without a library.
fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.is_some_and(|uids| uids.split_whitespace().nth(1) == Some("0"))
    })
}
