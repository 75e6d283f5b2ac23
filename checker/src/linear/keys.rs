//! A history cut into what concerns each key.
//!
//! Parts are taken side by side, and each is sorted by key for itself, so that what is moved stays in a
//! core's cache. Whoever decides a key puts its pieces together, again side by side. Nothing of it
//! depends on the threads: keys stand in the order in which the history meets them.

use std::borrow::Cow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rayon::prelude::*;

use super::budget::{Purse, Spent};
use crate::history::{Call, Calls, History, ValueId};

/// What concerns each key, by invocation.
pub(crate) struct Keys<T> {
    ids: Vec<ValueId>,
    parts: Vec<Part<T>>,
    /// Where the pieces of each key begin; one more than keys.
    starts: Vec<u32>,
    pieces: Vec<Piece>,
}

/// What a part has of a key.
#[derive(Clone, Copy, Default)]
struct Piece {
    part: u32,
    from: u32,
    upto: u32,
}

/// What is of one part of the history, by key.
struct Part<T> {
    /// In the order in which the part meets them, each with the end of what it has.
    keys: Vec<(ValueId, u32)>,
    items: Vec<T>,
}

/// Why a history could not be cut.
pub(crate) enum Uncut {
    /// It does not fit the model.
    Misfit(String),
    /// The budget ended.
    Spent(Spent),
}

impl<T: Copy + Send + Sync> Keys<T> {
    /// Cuts a history. Calls of which there is nothing to `take` are left out.
    pub(crate) fn cut(
        history: &History,
        calls: &Calls,
        by_key: bool,
        purse: &Purse,
        take: impl Fn(Call) -> Result<Option<T>, String> + Sync,
    ) -> Result<Self, Uncut> {
        let bytes = calls.memory_bytes() as u64;
        purse.take(bytes).map_err(Uncut::Spent)?;
        let key_of = |call: &Call| {
            if by_key {
                history.key_column()[call.invoke as usize]
            } else {
                ValueId::NULL
            }
        };
        let part = |desk: &mut Desk<T>, calls: &Vec<Call>| {
            purse.time_left().map_err(Uncut::Spent)?;
            let bytes = calls.len() * size_of::<T>();
            purse.take(bytes as u64).map_err(Uncut::Spent)?;
            desk.sort(calls, key_of, &take).map_err(Uncut::Misfit)
        };
        // To wake a thread takes longer than to take a short history apart.
        let parts: Vec<Result<Part<T>, Uncut>> = match calls.parts() {
            [only] => vec![part(&mut Desk::default(), only)],
            all => all.par_iter().map_init(Desk::default, part).collect(),
        };
        // In their order, so that the first complaint is the one that is heard.
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Keys::of(parts))
    }

    fn of(parts: Vec<Part<T>>) -> Self {
        let mut numbers: HashMap<ValueId, u32, FixedState> = HashMap::default();
        let mut ids = Vec::new();
        let (mut pieces, mut key_of) = (Vec::new(), Vec::new());
        for (part, number) in parts.iter().zip(0..) {
            let mut from = 0;
            for &(key, upto) in &part.keys {
                let key = *numbers.entry(key).or_insert_with(|| {
                    ids.push(key);
                    ids.len() as u32 - 1
                });
                key_of.push(key);
                pieces.push(Piece {
                    part: number,
                    from,
                    upto,
                });
                from = upto;
            }
        }
        if ids.len() == 1 && parts.len() > 1 {
            // Put together once, rather than by whoever asks.
            let mut whole = Part {
                keys: Vec::new(),
                items: Vec::with_capacity(parts.iter().map(|it| it.items.len()).sum()),
            };
            for part in parts {
                whole.items.extend(part.items);
            }
            whole.keys.push((ids[0], whole.items.len() as u32));
            return Keys::of(vec![whole]);
        }
        let (pieces, starts) = by_number(&pieces, &key_of, ids.len());
        Keys {
            ids,
            parts,
            starts,
            pieces,
        }
    }

    /// The keys, by number.
    pub(crate) fn ids(&self) -> &[ValueId] {
        &self.ids
    }

    /// What concerns the key of this number.
    pub(crate) fn of_key(&self, number: usize) -> Cow<'_, [T]> {
        let pieces = self.starts[number] as usize..self.starts[number + 1] as usize;
        let items =
            |it: &Piece| &self.parts[it.part as usize].items[it.from as usize..it.upto as usize];
        match &self.pieces[pieces] {
            [only] => Cow::Borrowed(items(only)),
            several => {
                let len = several.iter().map(|it| (it.upto - it.from) as usize).sum();
                let mut whole = Vec::with_capacity(len);
                for piece in several {
                    whole.extend_from_slice(items(piece));
                }
                Cow::Owned(whole)
            }
        }
    }
}

/// Where parts are sorted, one after the other.
struct Desk<T> {
    numbers: HashMap<ValueId, u32, FixedState>,
    items: Vec<T>,
    /// Of each the number of its key.
    key_of: Vec<u32>,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Desk {
            numbers: HashMap::default(),
            items: Vec::new(),
            key_of: Vec::new(),
        }
    }
}

impl<T: Copy> Desk<T> {
    fn sort(
        &mut self,
        calls: &[Call],
        key_of: impl Fn(&Call) -> ValueId,
        take: impl Fn(Call) -> Result<Option<T>, String>,
    ) -> Result<Part<T>, String> {
        self.numbers.clear();
        self.items.clear();
        self.items.reserve(calls.len());
        self.key_of.clear();
        self.key_of.reserve(calls.len());
        let mut keys: Vec<ValueId> = Vec::new();
        let mut number = 0;
        for call in calls {
            let Some(item) = take(*call)? else { continue };
            let key = key_of(call);
            if keys.get(number as usize) != Some(&key) {
                number = *self.numbers.entry(key).or_insert_with(|| {
                    keys.push(key);
                    keys.len() as u32 - 1
                });
            }
            self.key_of.push(number);
            self.items.push(item);
        }
        if let [only] = keys[..] {
            let items = std::mem::take(&mut self.items);
            let keys = vec![(only, items.len() as u32)];
            return Ok(Part { keys, items });
        }
        let (items, starts) = by_number(&self.items, &self.key_of, keys.len());
        let keys = keys.into_iter().zip(starts.into_iter().skip(1)).collect();
        Ok(Part { keys, items })
    }
}

/// Sorts by numbers below `count`, what has the same as it stands; and where each number begins, and the
/// last one ends.
fn by_number<T: Copy>(items: &[T], numbers: &[u32], count: usize) -> (Vec<T>, Vec<u32>) {
    let mut starts = vec![0u32; count + 1];
    for &number in numbers {
        starts[number as usize + 1] += 1;
    }
    for number in 0..count {
        starts[number + 1] += starts[number];
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; items.len()];
    for (at, &number) in (0..).zip(numbers) {
        let place = &mut next[number as usize];
        order[*place as usize] = at;
        *place += 1;
    }
    let sorted = order.iter().map(|&at| items[at as usize]).collect();
    (sorted, starts)
}
