//! A follower: takes what its leader sends, and campaigns when it hears from none. A learner is a
//! follower that never campaigns.

use crate::bugs::Bug;
use crate::core::Core;
use crate::log::NodeId;
use crate::message::Body;
use crate::raft::{Campaign, Next};
use crate::read::Forwarded;

/// A follower's own state.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) leader: Option<NodeId>,
    /// The tick at which the election timeout has passed.
    deadline: u64,
    pub(crate) reads: Forwarded,
}

impl Follower {
    pub(crate) fn new(core: &mut Core, leader: Option<NodeId>) -> Follower {
        Follower {
            leader,
            deadline: core.draw_deadline(),
            reads: Forwarded::default(),
        }
    }

    /// A newer term alone is no reason to wait longer than before: one that keeps campaigning in vain
    /// would hold off whoever could win.
    pub(crate) fn goes_on_waiting(&mut self, before: &Follower) {
        self.deadline = before.deadline;
    }

    /// The leader lives: the election timeout begins anew.
    fn heard(&mut self, core: &mut Core) {
        core.heard_leader();
        self.deadline = core.draw_deadline();
    }

    /// Time went by that nobody counted: the leader gets an election timeout to speak.
    pub(crate) fn wake(&mut self, core: &mut Core) {
        self.deadline = core.draw_deadline();
    }

    /// A vote was given: its candidate gets time.
    pub(crate) fn voted(&mut self, core: &mut Core) {
        self.deadline = core.draw_deadline();
    }

    pub(crate) fn tick(&mut self, core: &mut Core) -> Next {
        if core.now < self.deadline {
            return Next::Stay;
        }
        self.deadline = core.draw_deadline();
        if core.campaigns_by_itself() {
            Next::Campaign(Campaign::Usual)
        } else {
            Next::Stay
        }
    }

    /// Asks the leader for a read index, when reads wait.
    pub(crate) fn flush(&mut self, core: &mut Core) {
        if let Some(leader) = self.leader {
            self.reads.ask(core, leader);
        }
    }

    /// A message of this term; `from` leads it when the message is one that only leaders send.
    pub(crate) fn step(&mut self, core: &mut Core, from: NodeId, body: Body) -> Next {
        match body {
            Body::Append {
                previous,
                entries,
                commit,
            } => {
                self.heard(core);
                core.append_from(from, previous, entries, commit);
            }
            Body::Heartbeat {
                commit,
                round,
                sleep,
            } => {
                self.heard(core);
                core.commit_to(commit);
                core.send(from, Body::HeartbeatReply { round });
                if sleep {
                    core.follow_to_sleep(commit);
                }
            }
            Body::Snapshot { meta } => {
                self.heard(core);
                core.install(from, *meta);
            }
            Body::ReadReply {
                round,
                index,
                commit,
            } => {
                core.commit_to(commit);
                let early = core.bug(Bug::FollowerReadEarly);
                let index = if early { core.applying.applied } else { index };
                self.reads.answered(core, round, index);
            }
            Body::TimeoutNow if core.may_campaign() => return Next::Campaign(Campaign::Forced),
            _ => {}
        }
        Next::Stay
    }
}
