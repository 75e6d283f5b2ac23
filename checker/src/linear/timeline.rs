//! Invocations and returns in one row, and a slot for each operation while it is open.

use super::space::Timed;

/// An end of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event(u32);

impl Event {
    pub(crate) fn operation(self) -> u32 {
        self.0 >> 1
    }

    pub(crate) fn is_return(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The events of one object in order of time.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) events: Vec<Event>,
    /// Slot of each operation that returns; slots are used again.
    pub(crate) slots: Vec<u16>,
    /// How many slots there are: the most operations that were open at once.
    pub(crate) width: usize,
}

impl Timeline {
    /// Lays out operations that are sorted by invocation.
    pub(crate) fn new(operations: &[Timed]) -> Self {
        let mut returns: Vec<u64> = Vec::with_capacity(operations.len());
        let numbered = operations.iter().zip(0u64..);
        let returning = numbered.filter(|(it, _)| !it.is_open());
        returns.extend(returning.map(|(it, number)| u64::from(it.ret) << 32 | number));
        returns.sort_unstable();
        let mut events = Vec::with_capacity(operations.len() + returns.len());
        let mut slots = vec![0u16; operations.len()];
        let mut free: Vec<u16> = Vec::new();
        let mut width = 0usize;
        let mut invoked = 0;
        for &packed in &returns {
            let (ret, number) = ((packed >> 32) as u32, packed as u32);
            while invoked < operations.len() && operations[invoked].invoke < ret {
                events.push(Event((invoked as u32) << 1));
                if !operations[invoked].is_open() {
                    slots[invoked] = free.pop().unwrap_or_else(|| {
                        width += 1;
                        width as u16 - 1
                    });
                }
                invoked += 1;
            }
            events.push(Event(number << 1 | 1));
            free.push(slots[number as usize]);
        }
        Timeline {
            events,
            slots,
            width,
        }
    }
}
