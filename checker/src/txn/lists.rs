//! The lists that reads returned, each key's kept once.
//!
//! In a sound history every read of a key is a prefix of that key's longest read. So a key keeps one
//! list, the longest so far, with the text it was written as; a read that is a prefix of it is only
//! a length, found by comparing text. Reads that fit no prefix (an order that differs, a value
//! twice) are kept whole, aside: each of them is an anomaly.

use super::intern::Interner;
use super::scan::{Cursor, Malformed};

/// Set in a read's value when the list is kept aside.
const ASIDE: u32 = 1 << 31;
/// No position: the version is not in its key's list.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// One key's longest read.
#[derive(Debug, Default)]
struct Longest {
    text: Vec<u8>,
    /// Where each element's text ends in `text`.
    ends: Vec<u32>,
    versions: Vec<u32>,
}

impl Longest {
    /// The number of elements of `inside`, if it is a prefix of this list as text.
    fn prefix(&self, inside: &[u8]) -> Option<usize> {
        if inside.is_empty() {
            return Some(0);
        }
        if !self.text.starts_with(inside) {
            return None;
        }
        if inside.len() == self.text.len() {
            return Some(self.ends.len());
        }
        self.ends
            .binary_search(&(inside.len() as u32))
            .ok()
            .map(|last| last + 1)
    }

    /// What of `inside` goes beyond this list, if this list is a prefix of it as text.
    fn beyond<'a>(&self, inside: &'a [u8]) -> Option<&'a [u8]> {
        let rest = inside.strip_prefix(self.text.as_slice())?;
        if self.text.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix(b",")
        }
    }

    fn push(&mut self, version: u32, text: &[u8]) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len() as u32);
        self.versions.push(version);
    }
}

/// Every key's longest read, and the reads that do not fit it.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    longest: Vec<Longest>,
    aside: Vec<Box<[u32]>>,
    /// A version's place in its key's longest read.
    positions: Vec<u32>,
    fresh: Vec<u32>,
}

impl Lists {
    /// Takes in one read: the text between the list's brackets. The answer stands for the list.
    pub(crate) fn read(
        &mut self,
        key: u32,
        inside: &[u8],
        values: &mut Interner,
    ) -> Result<u32, Malformed> {
        if self.longest.len() <= key as usize {
            self.longest.resize_with(key as usize + 1, Longest::default);
        }
        let longest = &self.longest[key as usize];
        if let Some(length) = longest.prefix(inside) {
            return Ok(length as u32);
        }
        self.fresh.clear();
        let beyond = longest.beyond(inside);
        let fresh = &mut self.fresh;
        Cursor::elements(beyond.unwrap_or(inside), |name| {
            fresh.push(values.intern(key, name));
        })?;
        if beyond.is_none() {
            let same = longest
                .versions
                .iter()
                .zip(&self.fresh)
                .take_while(|(a, b)| a == b)
                .count();
            if same == self.fresh.len() {
                return Ok(same as u32);
            }
            if same < longest.versions.len() {
                return Ok(self.put_aside(None));
            }
            self.fresh.drain(..same);
        }
        Ok(self.extend(key, values))
    }

    /// Appends the fresh versions to the key's longest read, unless one of them is there twice.
    fn extend(&mut self, key: u32, values: &Interner) -> u32 {
        self.positions.resize(values.len(), NOWHERE);
        let longest = &mut self.longest[key as usize];
        let before = longest.versions.len();
        for (offset, &version) in self.fresh.iter().enumerate() {
            if self.positions[version as usize] != NOWHERE {
                for &undo in &self.fresh[..offset] {
                    self.positions[undo as usize] = NOWHERE;
                }
                return self.put_aside(Some(key));
            }
            self.positions[version as usize] = (before + offset) as u32;
        }
        for &version in &self.fresh {
            longest.push(version, values.text_bytes(version));
        }
        longest.versions.len() as u32
    }

    /// Keeps a list whole: the fresh versions, after the longest list of `after` when given.
    fn put_aside(&mut self, after: Option<u32>) -> u32 {
        let mut whole =
            after.map_or_else(Vec::new, |key| self.longest[key as usize].versions.clone());
        whole.extend_from_slice(&self.fresh);
        self.aside.push(whole.into_boxed_slice());
        ASIDE | (self.aside.len() - 1) as u32
    }

    /// The versions of a read that [`Lists::read`] took in.
    pub(crate) fn versions(&self, key: u32, read: u32) -> &[u32] {
        if read & ASIDE != 0 {
            return &self.aside[(read & !ASIDE) as usize];
        }
        self.longest
            .get(key as usize)
            .map_or(&[], |longest| &longest.versions[..read as usize])
    }

    /// The reads that were kept aside.
    pub(crate) fn aside(&self) -> &[Box<[u32]>] {
        &self.aside
    }

    /// Whether the read was kept aside, as it fits no prefix of its key's longest read.
    pub(crate) fn is_aside(read: u32) -> bool {
        read & ASIDE != 0
    }

    /// A key's longest read.
    pub(crate) fn longest(&self, key: u32) -> &[u32] {
        self.longest
            .get(key as usize)
            .map_or(&[], |longest| &longest.versions)
    }

    /// A version's place in its key's longest read, or [`NOWHERE`].
    pub(crate) fn position(&self, version: u32) -> u32 {
        self.positions
            .get(version as usize)
            .copied()
            .unwrap_or(NOWHERE)
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let lists = self.longest.iter().map(|longest| {
            longest.text.capacity() + 4 * (longest.ends.capacity() + longest.versions.capacity())
        });
        lists.sum::<usize>()
            + self.longest.capacity() * size_of::<Longest>()
            + self
                .aside
                .iter()
                .map(|list| 4 * list.len() + 16)
                .sum::<usize>()
            + 4 * self.positions.capacity()
    }
}
