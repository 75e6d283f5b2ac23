//! What must hold after every step. A broken law panics with its name in brackets.

use std::collections::{BTreeMap, HashMap, HashSet};

use raft::{
    Body, Configuration, Entry, Envelope, Index, NodeId, Payload, Raft, SnapshotMeta, Stage, Term,
    Write,
};

use super::disk::{Disk, Tape};
use super::machine::{Command, Machine, Request, digest_entry};

/// More than a cluster ever has under way, unless answers beget more messages than they free.
const EVENTS_MAX: usize = 3_000;

#[derive(Debug)]
struct Committed {
    term: Term,
    digest: u64,
    /// The term of the node that was first seen to have committed it.
    in_term: Term,
}

/// What has been seen, of all nodes and all times.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    leaders: BTreeMap<Term, NodeId>,
    votes: HashMap<(NodeId, Term), NodeId>,
    /// Each entry ever written: the term of the one before it, and its content.
    entries: HashMap<(Index, Term), (Option<Term>, u64)>,
    committed: Vec<Committed>,
    /// The digest of the state after each index.
    states: Vec<u64>,
    /// What each register came to hold, and at which index.
    values: HashMap<u8, Vec<(Index, u64)>>,
    /// Where each request of a session was carried out.
    requests: HashMap<Request, Index>,
    /// The attempts that were refused: they must never be applied.
    refused: HashSet<u64>,
    /// The highest term that each node has promised something in.
    promised: HashMap<NodeId, Term>,
    /// The only law that is enforced, to see it break.
    only: Option<&'static str>,
    /// The greatest index at which a finished operation took effect.
    pub(crate) floor: Index,
}

macro_rules! law {
    ($laws:expr, $name:literal, $holds:expr, $($said:tt)+) => {
        assert!(
            $holds || $laws.only.is_some_and(|only| only != $name),
            "[{}] {}", $name, format!($($said)+)
        )
    };
}

impl Laws {
    pub(crate) fn new(only: Option<&'static str>) -> Laws {
        Laws {
            only,
            ..Laws::default()
        }
    }

    pub(crate) fn committed(&self) -> Index {
        self.committed.len() as Index
    }

    pub(crate) fn leads(&mut self, id: NodeId, term: Term, log: &Tape) {
        let first = *self.leaders.entry(term).or_insert(id);
        law!(
            self,
            "election safety",
            first == id,
            "both {first} and {id} lead term {term}"
        );
        let known = self.committed.partition_point(|entry| entry.in_term < term) as Index;
        let complete = known <= log.start()
            || log
                .get(known)
                .is_some_and(|it| it.term == self.committed[known as usize - 1].term);
        law!(
            self,
            "leader completeness",
            complete,
            "leader {id} of term {term} lacks entry {known}"
        );
    }

    /// So much is to happen yet, most of it messages on their way.
    pub(crate) fn awaits(&self, events: usize) {
        law!(
            self,
            "messages do not multiply",
            events < EVENTS_MAX,
            "{events} are under way"
        );
    }

    pub(crate) fn sends(&mut self, id: NodeId, envelope: &Envelope) {
        let term = envelope.message.term;
        let promise = matches!(
            envelope.message.body,
            Body::Accepted { .. }
                | Body::VoteReply {
                    stage: Stage::Real,
                    ..
                }
        );
        if promise {
            let promised = self.promised.entry(id).or_insert(term);
            let before = *promised;
            *promised = before.max(term);
            law!(
                self,
                "terms grow",
                term >= before,
                "{id} was in term {before}, is in {term}"
            );
        }
        let vote = match envelope.message.body {
            Body::VoteReply {
                stage: Stage::Real,
                granted: true,
            } => envelope.to,
            Body::VoteRequest {
                stage: Stage::Real, ..
            } => id,
            _ => return,
        };
        let first = *self.votes.entry((id, term)).or_insert(vote);
        law!(
            self,
            "one vote",
            first == vote,
            "{id} voted for {first} and {vote} in term {term}"
        );
    }

    /// A node writes to its log, which `log` shows as it was before.
    pub(crate) fn writes(&mut self, raft: &Raft, write: &Write, log: &Tape) {
        let Some(first) = write.entries.first() else {
            return;
        };
        let mut previous = match log.get(first.index - 1) {
            Some(entry) => Some(entry.term),
            None if first.index == 1 => Some(0),
            None => None, // Compacted away.
        };
        for entry in &write.entries {
            let digest = digest_entry(entry);
            let seen = self
                .entries
                .entry((entry.index, entry.term))
                .or_insert((previous, digest));
            seen.0 = seen.0.or(previous);
            let same = seen.1 == digest && (previous.is_none() || seen.0 == previous);
            law!(self, "log matching", same, "entry {entry:?} has a twin");
            previous = Some(entry.term);
        }
        one_change_at_a_time(self, raft, write, log);
    }

    /// A node's commit index has moved from `from` on.
    pub(crate) fn commits(
        &mut self,
        raft: &Raft,
        from: Index,
        log: &Tape,
        disks: &BTreeMap<NodeId, &Disk>,
    ) {
        for index in from + 1..=raft.commit() {
            let Some(entry) = log.get(index) else {
                continue;
            };
            let digest = digest_entry(entry);
            if let Some(known) = self.committed.get(index as usize - 1) {
                let same = (known.term, known.digest) == (entry.term, digest);
                law!(
                    self,
                    "state machine safety",
                    same,
                    "two entries are committed at {index}"
                );
                continue;
            }
            if index != self.committed() + 1 {
                law!(
                    self,
                    "committed in order",
                    false,
                    "{index} before those before it"
                );
                continue;
            }
            let (term, in_term) = (entry.term, raft.term());
            let holds = |id: NodeId| {
                disks
                    .get(&id)
                    .is_some_and(|disk| disk.wiped || disk.holds(index, term))
            };
            let configuration = raft.configuration();
            let durable = [&configuration.voters, &configuration.outgoing]
                .iter()
                .all(|half| {
                    half.is_empty() || 2 * half.iter().filter(|&&id| holds(id)).count() > half.len()
                });
            law!(
                self,
                "durable on a quorum",
                durable,
                "entry {index} of {configuration:?}"
            );
            if raft.is_leader() {
                let counted = log
                    .get(raft.commit())
                    .is_some_and(|last| last.term == in_term);
                law!(
                    self,
                    "commits its own term",
                    counted,
                    "of term {term}, in {in_term}"
                );
            }
            self.committed.push(Committed {
                term,
                digest,
                in_term,
            });
        }
    }

    /// A node has applied an entry, which left its state as `machine` is.
    pub(crate) fn applies(&mut self, raft: &Raft, entry: &Entry, machine: &Machine) {
        law!(
            self,
            "applied is committed",
            entry.index <= raft.commit(),
            "{entry:?}"
        );
        let at = entry.index as usize - 1;
        if at == self.states.len() {
            self.states.push(machine.digest);
            self.remember(entry, machine);
        }
        let same = self.states.get(at) == Some(&machine.digest);
        law!(
            self,
            "equal states",
            same,
            "states differ after {}",
            entry.index
        );
        if let Payload::Command(bytes) = &entry.payload {
            let attempt = Command::decode(bytes).attempt;
            law!(
                self,
                "refused is refused",
                !self.refused.contains(&attempt),
                "{entry:?}"
            );
        }
    }

    fn remember(&mut self, entry: &Entry, machine: &Machine) {
        let Payload::Command(bytes) = &entry.payload else {
            return;
        };
        let key = Command::decode(bytes).key;
        if let Some(&value) = machine.registers.get(&key) {
            self.values
                .entry(key)
                .or_default()
                .push((entry.index, value));
        }
    }

    /// A node that has applied so much shows a register as it stands there, however old that is.
    pub(crate) fn shows(&self, id: NodeId, applied: Index, key: u8, value: Option<u64>) {
        let all = self.values.get(&key).map_or(&[][..], Vec::as_slice);
        let past = all.partition_point(|(index, _)| *index <= applied);
        let held = all[..past].last().map(|(_, value)| *value);
        law!(
            self,
            "stale reads are of the past",
            applied <= self.committed() && value == held,
            "{id} shows {value:?} for {key} after {applied} of {} entries, where it was {held:?}",
            self.committed()
        );
    }

    /// A node has applied an entry whose command it says was carried out at `index`.
    pub(crate) fn carries_out(&mut self, entry: &Entry, index: Index) {
        let Payload::Command(bytes) = &entry.payload else {
            return;
        };
        let Some(request) = Command::decode(bytes)
            .request
            .filter(|_| index == entry.index)
        else {
            return;
        };
        let first = *self.requests.entry(request).or_insert(index);
        law!(
            self,
            "exactly once",
            first == index,
            "{request:?} is carried out at {first} and at {index}"
        );
    }

    /// A node has cut its log, which `log` shows as it is after: the configuration went with it.
    pub(crate) fn cut(&self, raft: &Raft, log: &Tape) {
        let last = log
            .entries()
            .iter()
            .rev()
            .find_map(|entry| match &entry.payload {
                Payload::Configuration(configuration) => Some(&**configuration),
                _ => None,
            });
        if let Some(last) = last {
            let same = raft.configuration() == last;
            law!(
                self,
                "configuration of the log",
                same,
                "{:?}",
                raft.configuration()
            );
        }
    }

    /// A node begins anew from a snapshot: its log is empty behind it, and the configuration that of
    /// the snapshot.
    pub(crate) fn installs(&self, raft: &Raft, snapshot: &SnapshotMeta) {
        law!(
            self,
            "configuration of the snapshot",
            *raft.configuration() == snapshot.configuration,
            "{:?}",
            raft.configuration()
        );
    }

    /// The node lost its disk. It may fall back in terms, but not vote again in one.
    pub(crate) fn forgets(&mut self, id: NodeId) {
        self.promised.remove(&id);
    }

    /// The node was taken back with its new disk. The votes that it gave before elect nobody who is
    /// not elected yet: it was removed since, a majority of the others holds that entry, and whoever
    /// it voted for lacks it.
    pub(crate) fn readmitted(&mut self, id: NodeId) {
        self.votes.retain(|(voter, _), _| *voter != id);
    }

    pub(crate) fn refuses(&mut self, attempt: u64) {
        self.refused.insert(attempt);
    }

    /// An operation that began when `floor` was the greatest finished index took effect at `index`
    /// (a read: saw the state of it).
    pub(crate) fn finishes(&mut self, what: &str, floor: Index, index: Index, reads: bool) {
        let fresh = index > floor || reads && index == floor;
        law!(
            self,
            "linearizable",
            fresh,
            "{what} took effect at {index}, though {floor} had finished"
        );
        self.floor = self.floor.max(index);
    }
}

/// A leader takes no change before the last one has committed.
fn one_change_at_a_time(laws: &Laws, raft: &Raft, write: &Write, log: &Tape) {
    if !raft.is_leader() {
        return;
    }
    let cut = write.truncate_from.unwrap_or(Index::MAX);
    let kept = log.entries().iter().filter(|entry| entry.index < cut);
    let mut last: Option<(&Entry, &Configuration)> = None;
    for entry in kept.chain(&write.entries) {
        let Payload::Configuration(new) = &entry.payload else {
            continue;
        };
        if let Some((before, old)) = last
            && entry.term == raft.term()
            && write
                .entries
                .first()
                .is_some_and(|first| entry.index >= first.index)
        {
            let own = log
                .get(raft.commit())
                .is_some_and(|it| it.term == raft.term());
            law!(laws, "change after own commit", own, "at {}", entry.index);
            let done = before.index <= raft.commit();
            law!(
                laws,
                "one change at a time",
                done,
                "{} follows {}",
                entry.index,
                before.index
            );
            law!(
                laws,
                "majorities overlap",
                overlap(old, new),
                "{old:?} is followed by {new:?}"
            );
        }
        last = Some((entry, new));
    }
}

/// Whether every quorum of one configuration meets every quorum of the other.
fn overlap(old: &Configuration, new: &Configuration) -> bool {
    match (old.is_joint(), new.is_joint()) {
        (false, false) => old.voters.symmetric_difference(&new.voters).count() <= 1,
        (false, true) => new.outgoing == old.voters,
        (true, false) => new.voters == old.voters,
        (true, true) => false,
    }
}
