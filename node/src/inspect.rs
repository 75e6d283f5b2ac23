//! `ordeal-node inspect`: a data directory in words.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use raft::{Configuration, Payload};

use crate::storage;

/// Prints what the directory holds; the exit code says whether a node would start from it.
pub(crate) fn print(dir: &Path, records: bool) -> anyhow::Result<ExitCode> {
    let found = storage::inspect(dir, |place, group, record| {
        if records {
            println!(
                "segment {} offset {} batch {} group {group} {record:?}",
                place.segment, place.offset, place.batch
            );
        }
    })?;
    match &found.identity {
        Some(own) => println!(
            "node {} of cluster {:?}, incarnation {:016x}",
            own.node, own.cluster, own.incarnation
        ),
        None => println!("no identity: the directory is new, or none of a node"),
    }
    for segment in &found.segments {
        println!(
            "segment {} format {} bytes {}",
            segment.path.display(),
            segment.format_version,
            segment.len
        );
    }
    for snapshot in &found.snapshots {
        match &snapshot.verified {
            Ok((group, meta)) => println!(
                "snapshot {} group {group} index {} term {} sums right, {}",
                snapshot.path.display(),
                meta.index,
                meta.term,
                describe(&meta.configuration)
            ),
            Err(error) => println!("snapshot {} DAMAGED: {error}", snapshot.path.display()),
        }
    }
    match &found.log {
        Err(error) => println!("log DAMAGED: {error}"),
        Ok((groups, report)) => {
            println!(
                "log records {} bytes {} {}, all sums right",
                report.records,
                report.bytes,
                if report.closed {
                    "closed in good order"
                } else {
                    "not closed: it was killed"
                }
            );
            if let Some(torn) = &report.torn {
                println!(
                    "log torn at {} offset {}: the next start cuts it there",
                    torn.path.display(),
                    torn.offset
                );
            }
            for (group, restored) in groups {
                print_group(*group, restored);
            }
        }
    }
    Ok(if found.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_group(group: storage::GroupId, restored: &raft::Restored) {
    let snapshot = restored.snapshot.as_ref();
    let first = restored.entries.first().map(|entry| entry.index);
    let last = restored.entries.last();
    let configured = restored
        .entries
        .iter()
        .rev()
        .find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.index, configuration.as_ref())),
            _ => None,
        });
    println!(
        "group {group} term {} vote {} snapshot {} entries {}..={} last term {}{}",
        restored.hard_state.term,
        restored
            .hard_state
            .vote
            .map_or("none".into(), |vote| vote.to_string()),
        snapshot.map_or(0, |meta| meta.index),
        first.unwrap_or(0),
        last.map_or(0, |entry| entry.index),
        last.map_or(0, |entry| entry.term),
        if restored.wiped {
            ", wiped: has no vote until readmitted"
        } else {
            ""
        },
    );
    let in_force = configured.or(snapshot.map(|meta| (meta.index, &meta.configuration)));
    match in_force {
        Some((index, configuration)) => {
            println!(
                "group {group} configuration at {index}: {}",
                describe(configuration)
            );
        }
        None => println!("group {group} has no configuration"),
    }
}

fn describe(configuration: &Configuration) -> String {
    let mut text = format!("voters {:?}", configuration.voters);
    for (name, ids) in [
        ("outgoing", &configuration.outgoing),
        ("learners", &configuration.learners),
        ("joining", &configuration.joining),
    ] {
        if !ids.is_empty() {
            let _ = write!(text, " {name} {ids:?}");
        }
    }
    text
}
