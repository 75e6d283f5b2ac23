//! Names as dense numbers: every key, and every value under its key, gets an id and keeps its text.
//!
//! A name is a JSON text, compared byte by byte: `1` and `"1"` are different names. The texts lie
//! end to end in one buffer, so a million names cost a few bytes each and no allocation of their own.
//! Most names are small numbers that come one after the other: those are looked up by place.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A JSON text, with the number that it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) text: &'a [u8],
    number: u32,
}

/// In place of a name's number: it is none that is small and written in the shortest way.
const NO_NUMBER: u32 = u32::MAX;
const DIGITS_MAX: usize = 8;

impl<'a> Name<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        let whole = Self::leading(text).filter(|number| number.text.len() == text.len());
        let number = whole.map_or(NO_NUMBER, |whole| whole.number);
        Self { text, number }
    }

    /// The small number that a text begins with, if no digit is too many.
    pub(crate) fn leading(text: &'a [u8]) -> Option<Self> {
        let (mut number, mut length) = (0, 0);
        while let Some(digit) = text.get(length).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            if length == DIGITS_MAX || (length == 1 && number == 0) {
                return None;
            }
            number = 10 * number + u32::from(digit);
            length += 1;
        }
        let text = &text[..length];
        (length > 0).then_some(Self { text, number })
    }
}

/// Ids by number.
#[derive(Debug, Default)]
struct Places {
    /// The id plus one; 0: none.
    ids: Vec<u32>,
    taken: usize,
}

/// Interns pairs of (scope, text). Keys have one scope; a value's scope is its key.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    /// By scope: the names that are numbers.
    numbers: Vec<Places>,
    /// All other names.
    ids: HashTable<u32>,
    scopes: Vec<u32>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
    state: FixedState,
}

impl Interner {
    /// The id of a name within `scope`; ids are dense, in order of first sight.
    pub(crate) fn intern(&mut self, scope: u32, name: Name) -> u32 {
        let Name { text, number } = name;
        let numbers = self.numbers.get(scope as usize);
        let place = numbers.and_then(|numbers| numbers.ids.get(number as usize));
        if let Some(id) = place.and_then(|place| place.checked_sub(1)) {
            return id;
        }
        if let Some(&id) = self.unplaced(scope, text) {
            return id;
        }
        let id = u32::try_from(self.ends.len()).expect("fewer than 2^32 names");
        self.scopes.push(scope);
        self.bytes.extend_from_slice(text);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("less than 4 GiB of names"));
        if number != NO_NUMBER && self.place(scope, number as usize, id) {
            return id;
        }
        let (scopes, ends, bytes, state) = (&self.scopes, &self.ends, &self.bytes, &self.state);
        let code = |&id: &u32| hash(state, scopes[id as usize], slice(ends, bytes, id));
        self.ids.insert_unique(code(&id), id, code);
        id
    }

    /// The id of a name that has no place as a number.
    fn unplaced(&self, scope: u32, text: &[u8]) -> Option<&u32> {
        if self.ids.is_empty() {
            return None;
        }
        let same = |&id: &u32| self.scopes[id as usize] == scope && self.text_bytes(id) == text;
        self.ids.find(hash(&self.state, scope, text), same)
    }

    /// Puts a number at its place, unless that would leave most places empty.
    fn place(&mut self, scope: u32, number: usize, id: u32) -> bool {
        let scope = scope as usize;
        if self.numbers.len() <= scope {
            self.numbers.resize_with(scope + 1, Places::default);
        }
        let Places { ids, taken } = &mut self.numbers[scope];
        if number >= 4 * *taken + 16 {
            return false;
        }
        if ids.len() <= number {
            ids.resize(number + 1, 0);
        }
        ids[number] = id + 1;
        *taken += 1;
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn scope(&self, id: u32) -> u32 {
        self.scopes[id as usize]
    }

    /// The bytes of a name's text.
    pub(crate) fn text_bytes(&self, id: u32) -> &[u8] {
        slice(&self.ends, &self.bytes, id)
    }

    /// The JSON text of a name.
    pub(crate) fn text(&self, id: u32) -> &str {
        std::str::from_utf8(self.text_bytes(id)).unwrap_or("?")
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let places = self.numbers.iter().map(|places| 4 * places.ids.capacity());
        places.sum::<usize>()
            + self.numbers.capacity() * size_of::<Places>()
            + self.ids.allocation_size()
            + 4 * (self.scopes.capacity() + self.ends.capacity())
            + self.bytes.capacity()
    }
}

fn slice<'a>(ends: &[u32], bytes: &'a [u8], id: u32) -> &'a [u8] {
    let start = if id == 0 { 0 } else { ends[id as usize - 1] };
    &bytes[start as usize..ends[id as usize] as usize]
}

fn hash(state: &FixedState, scope: u32, text: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(scope);
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_id_whatever_their_shape_and_order() {
        let names = [
            "7", "07", "0", "-7", "\"7\"", "7.0", "99999999", "3", "40", "5", "1e3", "",
        ];
        let mut interner = Interner::default();
        let mut ids = Vec::new();
        for scope in [0, 3] {
            for name in names {
                ids.push((
                    scope,
                    name,
                    interner.intern(scope, Name::of(name.as_bytes())),
                ));
            }
        }
        for number in 0..100 {
            interner.intern(3, Name::of(number.to_string().as_bytes()));
        }
        for (at, (scope, name, id)) in ids.iter().enumerate() {
            assert_eq!(*id as usize, at, "{name}");
            let again = interner.intern(*scope, Name::of(name.as_bytes()));
            assert_eq!(again, *id, "{name}");
            assert_eq!((interner.scope(*id), interner.text(*id)), (*scope, *name));
        }
    }
}
