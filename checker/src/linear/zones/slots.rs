//! Where what is known of each value stands.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::model::register::{Action, Operation};

/// Dense when the values are, hashed otherwise.
pub(super) enum Slots {
    Dense { low: u32, low_len: u32, high: u32 },
    Hashed(HashMap<u32, u32, FixedState>),
}

impl Slots {
    /// Slots for all values that are seen or written.
    pub(super) fn new(operations: &[Operation], initial: u32) -> (Self, usize) {
        // Small integers have the top bit set, all other ids have not: two ranges.
        const TOP: u32 = 1 << 31;
        let mut ranges = [(u32::MAX, 0u32); 2];
        let mut take = |value: u32| {
            let range = &mut ranges[usize::from(value & TOP != 0)];
            *range = (range.0.min(value), range.1.max(value));
        };
        take(initial);
        for operation in operations {
            match operation.action {
                Action::Read(value) | Action::Write(value) | Action::Differs(value) => take(value),
                Action::Cas(old, new) => {
                    take(old);
                    take(new);
                }
            }
        }
        let len = |(low, high): (u32, u32)| {
            if low > high {
                0
            } else {
                (high - low) as usize + 1
            }
        };
        let total = len(ranges[0]) + len(ranges[1]);
        if total <= operations.len() * 4 + 1024 {
            let slots = Slots::Dense {
                low: ranges[0].0,
                low_len: len(ranges[0]) as u32,
                high: ranges[1].0,
            };
            return (slots, total);
        }
        // About half of the operations write what was not there before.
        let mut map =
            HashMap::with_capacity_and_hasher(operations.len() / 2, FixedState::default());
        let mut take = |value: u32| {
            let next = map.len() as u32;
            map.entry(value).or_insert(next);
        };
        take(initial);
        for operation in operations {
            match operation.action {
                Action::Read(value) | Action::Write(value) | Action::Differs(value) => take(value),
                Action::Cas(old, new) => {
                    take(old);
                    take(new);
                }
            }
        }
        let total = map.len();
        (Slots::Hashed(map), total)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Slots::Dense { .. } => 0,
            Slots::Hashed(map) => map.capacity() * 9,
        }
    }

    pub(super) fn of(&self, value: u32) -> usize {
        match self {
            Slots::Dense { low, low_len, high } => {
                if value >> 31 == 0 {
                    (value - low) as usize
                } else {
                    (value - high + low_len) as usize
                }
            }
            Slots::Hashed(map) => map[&value] as usize,
        }
    }
}
