//! What clients, and peers for theirs, ask of the groups: taken into a core, or refused with the
//! reason.

use bytes::BytesMut;
use raft::NodeId;

use super::Engine;
use crate::group::forward::{Forwarded, Task, Waiter};
use crate::group::{AdminVerb, Failure, Forward, GroupId, ReadMode, Reply, Request};
use crate::state_machine::Answer;
use crate::transport;

impl Engine {
    /// A request that a peer passed on. It is not passed on again: one hop only.
    pub(super) fn serve_peer(&mut self, peer: NodeId, body: &[u8], reply: transport::Reply) {
        match postcard::from_bytes(body) {
            Ok(Forwarded { group, .. }) if group as usize >= self.members.len() => {
                tracing::warn!(peer, group, "a peer asked for a group that is not here");
            }
            Ok(Forwarded {
                group,
                task: Task::Propose(command),
            }) => {
                self.propose(group, command.into(), Waiter::Remote(reply));
            }
            Ok(Forwarded {
                group,
                task: Task::Admin(verb),
            }) => {
                self.administer(group, verb, Waiter::Remote(reply));
            }
            // Answered by the inbox, which can do so before the loop runs.
            Ok(Forwarded {
                task: Task::Recognise { .. } | Task::Identify,
                ..
            }) => {}
            Err(error) => tracing::warn!(peer, %error, "a forwarded request does not decode"),
        }
    }

    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Propose {
                group,
                command,
                reply,
            } => {
                self.propose(group, command, Waiter::Local(reply));
            }
            Request::Admin { group, verb, reply } => {
                self.administer(group, verb, Waiter::Local(reply));
            }
            Request::Read {
                group,
                mode,
                forward,
                reply,
            } => self.read(group, mode, forward, reply),
            Request::Status { reply } => drop(reply.send(self.status())),
        }
    }

    fn propose(&mut self, group: GroupId, command: BytesMut, waiter: Waiter<Answer>) {
        let failure = if self.wal.is_full() {
            Some(Failure::DiskFull)
        } else if command.len() > self.wal.command_len_max() {
            Some(Failure::Refused(
                "the command is longer than a log entry may be".into(),
            ))
        } else if self.members[group as usize].proposals() >= self.settings.proposals_max {
            Some(Failure::Overloaded)
        } else {
            None
        };
        if let Some(failure) = failure {
            return waiter.answer(Err(failure));
        }
        let Some(member) = self.touch(group) else {
            return;
        };
        if let Err((waiter, failure)) = member.propose(command, waiter) {
            waiter.answer(Err(failure));
        }
    }

    fn read(&mut self, group: GroupId, mode: ReadMode, forward: Forward, reply: Reply<()>) {
        let Some(member) = self.touch(group) else {
            return;
        };
        if mode != ReadMode::Follower && forward == Forward::No && !member.raft.is_leader() {
            let leader = member.raft.leader();
            return drop(reply.send(Err(Failure::NotLeader { leader })));
        }
        member.gather_read(mode == ReadMode::Lease, reply);
    }

    fn administer(&mut self, group: GroupId, verb: AdminVerb, waiter: Waiter<u64>) {
        if let AdminVerb::Snapshot = verb {
            let at = group as usize;
            return self
                .snapshots
                .requested(&self.members[at], waiter, &self.groups[at]);
        }
        let Some(member) = self.touch(group) else {
            return;
        };
        match verb {
            AdminVerb::Change(change) => match member.raft.change_membership(&change) {
                Ok((_, index)) => {
                    let span = member.span();
                    tracing::info!(parent: &span, index, ?change, "membership change proposed");
                    member.changes.push((index, waiter));
                }
                Err(refused) => waiter.answer(Err(refused.into())),
            },
            AdminVerb::Transfer(to) if member.leader == Some(to) => waiter.answer(Ok(0)),
            AdminVerb::Transfer(to) => match member.raft.transfer_leadership(to) {
                Ok(()) => member.transfer = Some((to, waiter)),
                Err(refused) => waiter.answer(Err(refused.into())),
            },
            AdminVerb::Campaign => {
                member.raft.campaign();
                waiter.answer(Ok(0));
            }
            AdminVerb::Snapshot => unreachable!("dealt with above"),
        }
    }
}
