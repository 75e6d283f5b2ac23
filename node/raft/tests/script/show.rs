//! How things are shown in a script.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use raft::{
    Body, Configuration, Entry, Message, NodeId, Position, ReplicationState, Stage, Status,
};

pub(super) fn entry(entry: &Entry) -> String {
    format!("{}@{} {}", entry.index, entry.term, super::payload(entry))
}

fn position(position: Position) -> String {
    format!("{}@{}", position.index, position.term)
}

fn nodes(ids: &BTreeSet<NodeId>) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(" ")
}

fn push(shown: &mut String, more: fmt::Arguments<'_>) {
    shown.write_fmt(more).expect("a string takes it");
}

pub(super) fn configuration(configuration: &Configuration) -> String {
    let mut shown = format!("[{}", nodes(&configuration.voters));
    for (word, ids) in [
        ("& ", &configuration.outgoing),
        ("learners ", &configuration.learners),
        ("then learners ", &configuration.learners_next),
        ("joining ", &configuration.joining),
    ] {
        if !ids.is_empty() {
            push(&mut shown, format_args!(" {word}{}", nodes(ids)));
        }
    }
    shown + "]"
}

pub(super) fn kind(body: &Body) -> &'static str {
    match body {
        Body::VoteRequest {
            stage: Stage::Pre, ..
        } => "PreVoteRequest",
        Body::VoteRequest { .. } => "VoteRequest",
        Body::VoteReply {
            stage: Stage::Pre, ..
        } => "PreVoteReply",
        Body::VoteReply { .. } => "VoteReply",
        Body::Append { .. } => "Append",
        Body::Accepted { .. } => "Accepted",
        Body::Held { .. } => "Held",
        Body::Rejected { .. } => "Rejected",
        Body::Heartbeat { .. } => "Heartbeat",
        Body::HeartbeatReply { .. } => "HeartbeatReply",
        Body::Snapshot { .. } => "Snapshot",
        Body::TimeoutNow => "TimeoutNow",
        Body::ReadRequest { .. } => "ReadRequest",
        Body::ReadReply { .. } => "ReadReply",
    }
}

pub(super) fn message(message: &Message) -> String {
    let said = match &message.body {
        Body::VoteRequest { last, forced, .. } => {
            format!(
                " last {}{}",
                position(*last),
                if *forced { " forced" } else { "" }
            )
        }
        Body::VoteReply { granted, .. } => if *granted { " yes" } else { " no" }.to_owned(),
        Body::Append {
            previous,
            entries,
            commit,
        } => {
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!(
                " after {} [{}] commit {commit}",
                position(*previous),
                entries.join(", ")
            )
        }
        Body::Accepted { matched } | Body::Held { matched } => format!(" matched {matched}"),
        Body::Rejected { at, hint } => format!(" at {at} hint {}", position(*hint)),
        Body::Heartbeat {
            commit,
            round,
            sleep,
        } => {
            format!(
                " round {round} commit {commit}{}",
                if *sleep { " sleep" } else { "" }
            )
        }
        Body::HeartbeatReply { round } => format!(" round {round}"),
        Body::Snapshot { meta } => {
            format!(
                " {}@{} {}",
                meta.index,
                meta.term,
                configuration(&meta.configuration)
            )
        }
        Body::ReadReply { index, commit, .. } => format!(" index {index} commit {commit}"),
        Body::TimeoutNow | Body::ReadRequest { .. } => String::new(),
    };
    format!("{} term {}{said}", kind(&message.body), message.term)
}

pub(super) fn status(status: &Status) -> String {
    let mut shown = format!("n{} {} term {}", status.id, status.role, status.term);
    if let Some(leader) = status.leader.filter(|leader| *leader != status.id) {
        push(&mut shown, format_args!(" of n{leader}"));
    }
    push(
        &mut shown,
        format_args!(
            " last {} commit {} applied {}",
            status.last, status.commit, status.applied
        ),
    );
    if status.first > 1 {
        push(&mut shown, format_args!(" first {}", status.first));
    }
    if status.asleep {
        shown += " asleep";
    }
    push(
        &mut shown,
        format_args!(" {}", configuration(&status.configuration)),
    );
    for peer in &status.progress {
        let state = match peer.state {
            ReplicationState::Probe => "probe",
            ReplicationState::Replicate => "replicate",
            ReplicationState::Snapshot => "snapshot",
        };
        push(
            &mut shown,
            format_args!(
                " | n{} {state} {} next {}",
                peer.id, peer.matched, peer.next
            ),
        );
    }
    shown
}
