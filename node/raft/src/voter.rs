//! A voter: who is voted for is the same whatever the node's role (5.2, 5.4.1; thesis 4.2.3, 9.6).

use std::cmp::Ordering;

use crate::bugs::Bug;
use crate::core::Core;
use crate::log::{NodeId, Position, Term};
use crate::message::{Body, Stage};
use crate::raft::{Raft, Role};

impl Raft {
    /// A request for a vote or a pre-vote.
    pub(crate) fn vote_requested(
        &mut self,
        from: NodeId,
        term: Term,
        stage: Stage,
        last: Position,
        forced: bool,
    ) {
        let sticky = self.keeps_to_a_leader(stage) && !forced;
        if stage == Stage::Real && term > self.core.term() {
            if sticky {
                return;
            }
            self.follow(term, None);
        }
        // The word given to a leader outlasts its term: a lease may rest on it.
        let free = match stage {
            Stage::Pre => term > self.core.term() && !sticky,
            Stage::Real => {
                let vote = self.core.vote();
                let first = vote.is_none() && self.leader().is_none() && !sticky;
                term == self.core.term() && (vote == Some(from) || first)
            }
        };
        let granted = self.core.answer_vote(from, term, stage, last, free);
        if granted
            && stage == Stage::Real
            && let Role::Follower(follower) = &mut self.role
        {
            follower.voted(&mut self.core);
        }
    }

    /// Whether the node leads, or heard a leader within an election timeout.
    fn keeps_to_a_leader(&self, stage: Stage) -> bool {
        if stage == Stage::Real && !self.core.config.check_quorum {
            return false;
        }
        matches!(self.role, Role::Leader(_)) || self.core.now < self.core.sticky_until
    }
}

impl Core {
    /// Answers a request for a vote of this term, or for a pre-vote of any.
    fn answer_vote(
        &mut self,
        from: NodeId,
        term: Term,
        stage: Stage,
        last: Position,
        free: bool,
    ) -> bool {
        let fresh = match last.cmp(&self.log.last()) {
            Ordering::Less => self.bug(Bug::VoteAnyLog),
            Ordering::Equal => !self.bug(Bug::VoteEqualRefused),
            Ordering::Greater => true,
        };
        let wiped = self.wiped && !self.bug(Bug::WipedVotes);
        let granted = free && fresh && !wiped;
        if granted && stage == Stage::Real {
            self.cast_vote(Some(from));
        }
        // A grant names the term asked for, a refusal this node's own.
        let term = if granted { term } else { self.term() };
        self.send_in_term(term, from, Body::VoteReply { stage, granted });
        granted
    }
}
