//! Names as dense numbers: every key, and every value under its key, gets an id and keeps its text.
//!
//! A name is a JSON text, compared byte by byte: `1` and `"1"` are different names. The texts lie
//! end to end in one buffer, so a million names cost a few bytes each and no allocation of their own.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Interns pairs of (scope, text). Keys have one scope; a value's scope is its key.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    ids: HashTable<u32>,
    scopes: Vec<u32>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
    state: FixedState,
}

impl Interner {
    /// The id of `text` within `scope`; ids are dense, in order of first sight.
    pub(crate) fn intern(&mut self, scope: u32, text: &[u8]) -> u32 {
        let code = hash(&self.state, scope, text);
        let (scopes, ends, bytes) = (&self.scopes, &self.ends, &self.bytes);
        let found = self.ids.find(code, |&id| {
            scopes[id as usize] == scope && slice(ends, bytes, id) == text
        });
        if let Some(&id) = found {
            return id;
        }
        let id = u32::try_from(self.ends.len()).expect("fewer than 2^32 names");
        self.scopes.push(scope);
        self.bytes.extend_from_slice(text);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("less than 4 GiB of names"));
        let (scopes, ends, bytes, state) = (&self.scopes, &self.ends, &self.bytes, &self.state);
        self.ids.insert_unique(code, id, |&id| {
            hash(state, scopes[id as usize], slice(ends, bytes, id))
        });
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn scope(&self, id: u32) -> u32 {
        self.scopes[id as usize]
    }

    fn text_bytes(&self, id: u32) -> &[u8] {
        slice(&self.ends, &self.bytes, id)
    }

    /// The JSON text of a name.
    pub(crate) fn text(&self, id: u32) -> &str {
        std::str::from_utf8(self.text_bytes(id)).unwrap_or("?")
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.ids.allocation_size()
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
