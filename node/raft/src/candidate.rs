//! A candidate, and the pre-candidate that asks first whether a campaign would succeed.

use std::collections::BTreeMap;

use crate::bugs::Bug;
use crate::core::Core;
use crate::log::NodeId;
use crate::message::{Body, Stage};
use crate::quorum::Ballot;
use crate::raft::{Campaign, Next};

/// A candidate's own state.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) stage: Stage,
    votes: BTreeMap<NodeId, bool>,
    deadline: u64,
}

impl Candidate {
    /// Begins the ballot of `stage`; in the real one the term has been raised already.
    pub(crate) fn new(core: &mut Core, stage: Stage, forced: bool) -> Candidate {
        let last = core.log.last();
        let asks_ahead = stage == Stage::Pre && !core.bug(Bug::PreVoteOwnTerm);
        let term = core.term() + u64::from(asks_ahead);
        let me = core.id();
        let voters: Vec<NodeId> = core.configuration().members().collect();
        for id in voters {
            if id != me && core.configuration().is_voter(id) {
                core.send_in_term(
                    term,
                    id,
                    Body::VoteRequest {
                        stage,
                        last,
                        forced,
                    },
                );
            }
        }
        core.campaigned = true;
        let deadline = core.draw_deadline();
        Candidate {
            stage,
            votes: BTreeMap::new(),
            deadline,
        }
    }

    pub(crate) fn tick(&mut self, core: &Core) -> Next {
        if core.now < self.deadline {
            Next::Stay
        } else {
            Next::Campaign(Campaign::Usual)
        }
    }

    pub(crate) fn step(&mut self, core: &Core, from: NodeId, body: &Body) -> Next {
        if let Body::VoteReply { stage, granted } = *body
            && stage == self.stage
        {
            // First come, as with the vote itself.
            self.votes.entry(from).or_insert(granted);
        }
        self.count(core)
    }

    /// Counts. The own vote counts once it is on disk; a pre-vote binds nobody and counts at once.
    pub(crate) fn count(&mut self, core: &Core) -> Next {
        if self.stage == Stage::Pre || core.term_is_durable() {
            self.votes.insert(core.id(), true);
        }
        let ballot = core.ballot(|id| self.votes.get(&id).copied());
        match (ballot, self.stage) {
            (Ballot::Won, Stage::Pre) => Next::Campaign(Campaign::Elected),
            (Ballot::Won, Stage::Real) => Next::Lead,
            (Ballot::Lost, _) => Next::Follow,
            (Ballot::Open, _) => Next::Stay,
        }
    }
}
