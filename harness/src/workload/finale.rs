//! The last reads.

use std::collections::VecDeque;

use serde_json::Value;

use super::Making;
use crate::generator::{Draft, Ended, Generator};

/// How often a last read that failed is tried again: the node may not be back yet.
const TRIES: u32 = 10;

/// Does each thing until it has succeeded once.
#[derive(Debug)]
pub(super) struct Finale {
    left: VecDeque<Draft>,
    tries: u32,
}

impl Finale {
    /// These.
    pub(super) fn of(drafts: impl IntoIterator<Item = Draft>) -> Finale {
        Finale {
            left: drafts.into_iter().collect(),
            tries: 0,
        }
    }

    /// Reads every key; the processes share them out, and where there are more processes than keys
    /// each still reads one: every node's view of the end is seen.
    pub(super) fn every_key(f: &'static str, making: Making<'_>) -> Finale {
        let keys = making.keys();
        let slot = making.slot;
        let all = keys.count().max(slot.of);
        let mine = (slot.number..all).step_by(slot.of);
        Finale::of(mine.map(|at| Draft::new(f, Value::Null).on(keys.name(at % keys.count()))))
    }
}

impl Generator for Finale {
    fn next(&mut self) -> Option<Draft> {
        self.left.front().cloned()
    }

    fn ended(&mut self, _: &Draft, ended: Ended<'_>) {
        self.tries += 1;
        if matches!(ended, Ended::Ok(_)) || self.tries == TRIES {
            self.left.pop_front();
            self.tries = 0;
        }
    }
}
