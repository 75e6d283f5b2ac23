//! The last resort when a majority is lost for good: a survivor is made the sole voter.
//!
//! What may be lost: every entry that was committed by others and never reached the survivor. What
//! may appear: entries that the survivor holds and that were never committed. Any other member that
//! still lives must be kept from ever speaking to the new cluster: wipe it, and let it join again.

use crate::log::{Entry, HardState, NodeId, Payload};
use crate::membership::Configuration;
use crate::raft::Restored;

/// What makes `id` the sole voter: to be written after its log, and as its hard state, while the
/// node does not run. When it starts, it elects itself and commits all that it holds.
pub fn sole_voter(id: NodeId, restored: &Restored) -> (HardState, Entry) {
    let snapshot = restored
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.index);
    let last = restored
        .entries
        .last()
        .map_or(0, |entry| entry.index)
        .max(snapshot);
    let term = restored.hard_state.term + 1;
    let known = restored
        .entries
        .iter()
        .rev()
        .find_map(|entry| match &entry.payload {
            Payload::Configuration(configuration) => Some(&**configuration),
            _ => None,
        });
    let known = known.or(restored
        .snapshot
        .as_ref()
        .map(|snapshot| &snapshot.configuration));
    let mut configuration = Configuration::of_voters([id]);
    if let Some(context) = known.and_then(|known| known.context.get(&id)) {
        configuration.context.insert(id, context.clone());
    }
    let payload = Payload::Configuration(Box::new(configuration));
    (
        HardState {
            term,
            vote: Some(id),
        },
        Entry {
            index: last + 1,
            term,
            payload,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Raft};

    #[test]
    fn a_survivor_leads_alone_and_keeps_its_entries() {
        let configuration = Configuration::of_voters([1, 2, 3]);
        let entries = vec![
            Entry {
                index: 1,
                term: 1,
                payload: Payload::Configuration(Box::new(configuration)),
            },
            Entry {
                index: 2,
                term: 4,
                payload: Payload::Command("held".into()),
            },
        ];
        let hard_state = HardState {
            term: 5,
            vote: Some(2),
        };
        let mut restored = Restored {
            hard_state,
            entries,
            ..Restored::default()
        };
        let (hard_state, entry) = sole_voter(1, &restored);
        restored.hard_state = hard_state;
        restored.entries.push(entry);

        let mut raft = Raft::new(Config::new(1, Configuration::default()), restored).unwrap();
        raft.campaign();
        for _ in 0..4 {
            if let Some(write) = raft.ready().write {
                raft.persisted(write.tag);
            }
        }
        assert!(raft.is_leader());
        assert_eq!(
            raft.commit(),
            4,
            "configuration, command, recovery and no-op"
        );
    }
}
