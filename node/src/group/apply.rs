//! Applying what is committed, beside the groups' loop.
//!
//! One task serves all groups in the order in which their cores hand entries out. It alone writes
//! the states; it answers the proposals whose entries it applied, and tells the loop how far it came.

use std::sync::Arc;

use raft::{Entry, Index, Payload};
use tokio::sync::mpsc;

use super::engine::Event;
use super::forward::Waiter;
use super::{Failure, GroupId, Shared};
use crate::state_machine::{Answer, State};

/// Something for the task to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Apply entries, and answer whoever proposed them.
    Entries {
        group: GroupId,
        entries: Vec<Entry>,
        waiters: Vec<Option<Waiter<Answer>>>,
    },
    /// Put the state of a snapshot in place of the present one.
    Install { group: GroupId, state: Box<State> },
}

/// Applies until the loop is gone.
pub(super) async fn run(
    mut work: mpsc::UnboundedReceiver<Work>,
    groups: Vec<Arc<Shared>>,
    events: mpsc::UnboundedSender<Event>,
) {
    while let Some(work) = work.recv().await {
        let done = perform(work, &groups);
        if events.send(done).is_err() {
            return;
        }
    }
}

/// Does one piece of work; gives what the loop has to know.
pub(super) fn perform(work: Work, groups: &[Arc<Shared>]) -> Event {
    match work {
        Work::Entries {
            group,
            entries,
            waiters,
        } => {
            let shared = &groups[group as usize];
            let mut answers = Vec::with_capacity(entries.len());
            let mut state = shared.state.write();
            for entry in &entries {
                answers.push(apply(&mut state, entry, group));
            }
            let (index, clock_ms) = (state.applied(), state.clock_ms());
            drop(state);
            for (waiter, answer) in waiters.into_iter().zip(answers) {
                if let Some(waiter) = waiter {
                    waiter.answer(answer);
                }
            }
            Event::Applied {
                group,
                index,
                clock_ms,
            }
        }
        Work::Install { group, state } => {
            let (index, clock_ms): (Index, u64) = (state.applied(), state.clock_ms());
            let before = std::mem::replace(&mut *groups[group as usize].state.write(), *state);
            drop(before);
            Event::Installed {
                group,
                index,
                clock_ms,
            }
        }
    }
}

fn apply(state: &mut State, entry: &Entry, group: GroupId) -> Result<Answer, Failure> {
    match &entry.payload {
        Payload::Command(command) => {
            state
                .apply(entry.index, entry.term, command)
                .map_err(|error| {
                    // The same on every replica; only a proposer with a wire of its own can cause it.
                    tracing::error!(group, index = entry.index, %error, "an entry is no command");
                    Failure::Refused("the command does not decode".into())
                })
        }
        Payload::Empty => {
            state.skip(entry.index);
            Err(Failure::Lost)
        }
        Payload::Configuration(configuration) => {
            state.configure(entry.index, |node| configuration.is_member(node));
            Err(Failure::Lost)
        }
    }
}
