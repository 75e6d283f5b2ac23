//! Configurations that were tried, and what they cost.

use std::hash::{BuildHasher, Hash, Hasher};

use super::{Entered, Place, Search};
use crate::linear::budget::{grown, while_growing};
use crate::linear::space::Space;

impl<S: Space, const N: usize> Search<'_, S, N> {
    /// Whether this configuration, or one that can do all that it can, was entered before.
    pub(super) fn known_to_fail(&mut self) -> bool {
        let Place {
            event,
            state,
            done,
            owed,
            ..
        } = self.place;
        let mut hasher = self.hasher.build_hasher();
        (event, state, owed).hash(&mut hasher);
        done.hash(&mut hasher);
        let hash = hasher.finish();
        let (entered, entered_used, used) = (&self.entered, &self.entered_used, &self.used);
        let hides = self.hides;
        let found = self.table.find(hash, |&id| {
            let it = &entered[id as usize];
            let list = it.used_from as usize..(it.used_from + it.used_len) as usize;
            (it.event, it.state, it.owed) == (event, state, owed)
                && it.done == done
                && it.hides >= hides
                && entered_used[list]
                    .iter()
                    .all(|&(class, count)| used[class as usize] >= count)
        });
        if found.is_some() {
            return true;
        }
        let used_from = self.entered_used.len() as u32;
        for &class in &self.unknown_classes {
            if self.used[class as usize] > 0 {
                self.entered_used.push((class, self.used[class as usize]));
            }
        }
        let used_len = self.entered_used.len() as u32 - used_from;
        let id = self.entered.len() as u32;
        self.entered.push(Entered {
            event,
            state,
            done,
            hides,
            owed,
            used_from,
            used_len,
        });
        let (entered, hasher) = (&self.entered, &self.hasher);
        self.table.insert_unique(hash, id, |&id| {
            let it = &entered[id as usize];
            let mut state = hasher.build_hasher();
            (it.event, it.state, it.owed).hash(&mut state);
            it.done.hash(&mut state);
            state.finish()
        });
        false
    }

    /// What is held, or will be after the next growth: the budget must not be passed by growing.
    pub(super) fn memory_bytes(&self) -> u64 {
        let table = &self.table;
        let bytes = grown(&self.entered)
            + grown(&self.entered_used)
            + grown(&self.frames)
            + grown(&self.candidates)
            + grown(&self.moves)
            + while_growing(table.len() + 1, table.capacity(), table.allocation_size());
        bytes as u64 + self.space.memory_bytes()
    }
}
