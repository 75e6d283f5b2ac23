//! `cargo demo`: from a fresh machine to a cluster that has survived its ordeal, and one that has not.

use std::process::Command;

use crate::step::{binaries, cargo, run};

/// Builds in release, mends the host, runs the demonstration. Stops at the first failure.
pub(crate) fn demo() -> bool {
    let ordeal = binaries("release").join("ordeal");
    let sound = [
        "build",
        "--release",
        "--package",
        "ordeal",
        "--package",
        "ordeal-node",
    ];
    // The broken node is built apart: its features never reach the sound one.
    let broken = [
        "build",
        "--release",
        "--bin",
        "ordeal-node-bugs",
        "--features",
        "ordeal-node/bugs",
    ];
    run("build", &mut cargo(&sound)).ok
        && run("build the broken node", &mut cargo(&broken)).ok
        && run("doctor", Command::new(&ordeal).args(["doctor", "--fix"])).ok
        && run("demo", Command::new(&ordeal).arg("demo")).ok
}
