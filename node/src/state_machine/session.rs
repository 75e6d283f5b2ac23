//! Sessions: a client's retries take effect once (thesis 6.3).
//!
//! The table is part of the state, so it is in every snapshot and on every replica. A session ends
//! when the group's replicated time passes its last use by [`TTL_MS`]; a request of an ended session
//! is refused, never applied, since nobody could tell whether it is a retry.

use std::collections::VecDeque;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::command::{Answer, Outcome, Refusal, Ticket};

/// A session unused for this long, in replicated time, is over.
pub(super) const TTL_MS: u64 = 15 * 60 * 1000;
/// Ended sessions are removed this often.
const SWEEP_MS: u64 = TTL_MS / 8;
/// Answers kept for each session: so many requests may be in flight in it at once.
const ANSWERS_MAX: usize = 32;
/// Sessions open at once.
const SESSIONS_MAX: usize = 100_000;

/// The table of sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    pub(super) open: OrdMap<u64, Session>,
    pub(super) swept_ms: u64,
}

/// One client's recent answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    used_ms: u64,
    /// The highest sequence whose answer was dropped to make room.
    forgotten: u64,
    /// In the order of application.
    answers: VecDeque<(u64, Answer)>,
}

impl Sessions {
    /// The answer that `ticket` got before, or `None` if it is new.
    pub(super) fn find(&mut self, ticket: Ticket, now_ms: u64) -> Result<Option<Answer>, Refusal> {
        let session = self
            .alive(ticket.session, now_ms)
            .ok_or(Refusal::SessionExpired)?;
        session.used_ms = now_ms;
        let earlier = session
            .answers
            .iter()
            .find(|(sequence, _)| *sequence == ticket.sequence);
        match earlier {
            Some((_, answer)) => Ok(Some(answer.clone())),
            None if ticket.sequence <= session.forgotten => Err(Refusal::SequenceForgotten),
            None => Ok(None),
        }
    }

    /// Keeps the answer for retries.
    pub(super) fn remember(&mut self, ticket: Ticket, answer: &Answer) {
        let Some(session) = self.open.get_mut(&ticket.session) else {
            return;
        };
        session.answers.push_back((ticket.sequence, answer.clone()));
        if session.answers.len() > ANSWERS_MAX {
            let oldest = session
                .answers
                .iter()
                .enumerate()
                .min_by_key(|(_, (number, _))| number);
            if let Some((sequence, _)) = oldest
                .map(|(at, _)| at)
                .and_then(|at| session.answers.remove(at))
            {
                session.forgotten = session.forgotten.max(sequence);
            }
        }
    }

    pub(super) fn open(&mut self, id: u64, now_ms: u64) -> Outcome {
        if self.open.len() >= SESSIONS_MAX {
            return Outcome::Refused(Refusal::TooManySessions);
        }
        self.open.insert(
            id,
            Session {
                used_ms: now_ms,
                ..Session::default()
            },
        );
        Outcome::Session { id }
    }

    pub(super) fn touch(&mut self, id: u64, now_ms: u64) -> Outcome {
        match self.alive(id, now_ms) {
            Some(session) => {
                session.used_ms = now_ms;
                Outcome::Session { id }
            }
            None => Outcome::Refused(Refusal::SessionExpired),
        }
    }

    /// Removes what has ended, now and then.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        if now_ms < self.swept_ms.saturating_add(SWEEP_MS) {
            return;
        }
        self.swept_ms = now_ms;
        let over = |session: &Session| !session.is_alive(now_ms);
        let ended: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, session)| over(session))
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.open.remove(&id);
        }
    }

    fn alive(&mut self, id: u64, now_ms: u64) -> Option<&mut Session> {
        self.open
            .get_mut(&id)
            .filter(|session| session.is_alive(now_ms))
    }
}

impl Session {
    fn is_alive(&self, now_ms: u64) -> bool {
        now_ms < self.used_ms.saturating_add(TTL_MS)
    }
}
