//! Reads the plain part of JSON by hand: no escapes, no floats, no maps. What it cannot read it
//! declines, and the caller asks a whole parser.

use super::values::{ValueId, Values};

/// Lists deeper than that are left to the whole parser.
const DEPTH_MAX: u32 = 32;

/// Where a number that begins here, not with a zero, ends; none when it may not fit 64 bits.
fn digits(text: &[u8], from: usize) -> Option<usize> {
    const DIGITS_MAX: usize = 18;
    let length = text[from..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())?;
    (length <= DIGITS_MAX).then_some(from + length)
}

pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0 }
    }

    /// The next byte that is not blank, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.at)? {
                b' ' | b'\t' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// The next byte that is not blank.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    pub(super) fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    pub(super) fn at_end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Exactly these bytes, blanks and all.
    #[inline]
    pub(super) fn literal(&mut self, wanted: &[u8]) -> Option<()> {
        let found = self.text.get(self.at..)?.starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found.then_some(())
    }

    /// A string of printable ASCII without escapes.
    #[inline]
    pub(super) fn plain_string(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.plain_bytes()?).ok()
    }

    #[inline]
    pub(super) fn plain_bytes(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = &self.text[self.at..];
        let is_plain = |byte: u8| (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\';
        let len = rest.iter().position(|&byte| !is_plain(byte))?;
        self.at += len + 1;
        (rest[len] == b'"').then_some(&rest[..len])
    }

    /// An integer without sign, at most 19 digits.
    #[inline]
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        self.peek()?;
        let from = self.at;
        let mut number = 0u64;
        while let Some(digit) = self.text.get(self.at).filter(|it| it.is_ascii_digit()) {
            number = number
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - from;
        let leading_zero = digits > 1 && self.text[from] == b'0';
        let goes_on = matches!(self.text.get(self.at), Some(b'.' | b'e' | b'E'));
        ((1..=19).contains(&digits) && !leading_zero && !goes_on).then_some(number)
    }

    fn integer(&mut self) -> Option<i64> {
        let negative = self.peek()? == b'-';
        if negative {
            self.at += 1;
            if !self.text.get(self.at)?.is_ascii_digit() {
                return None;
            }
        }
        let number = i64::try_from(self.unsigned()?).ok()?;
        // Minus zero is a float.
        (!negative || number != 0).then_some(if negative { -number } else { number })
    }

    /// Null, an integer, a plain string, a boolean, or lists of those.
    #[inline]
    pub(super) fn value(&mut self, values: &mut Values, scratch: &mut Vec<u8>) -> Option<ValueId> {
        match self.peek()? {
            b'n' => self.word(b"null").map(|()| ValueId::NULL),
            b'0'..=b'9' | b'-' => self.integer().map(|integer| values.integer(integer)),
            b'"' => {
                let from = self.at;
                self.plain_bytes()?;
                Some(values.canonical(&self.text[from..self.at]))
            }
            first => {
                let from = self.at;
                if first == b'[' && self.compact_list().is_some() {
                    return Some(values.canonical(&self.text[from..self.at]));
                }
                self.at = from;
                scratch.clear();
                self.canonical(scratch, 0)?;
                Some(values.canonical(scratch))
            }
        }
    }

    /// A list of two small integers or nulls.
    pub(super) fn small_pair(&mut self) -> Option<[ValueId; 2]> {
        self.expect(b'[')?;
        let first = self.small()?;
        self.expect(b',')?;
        let second = self.small()?;
        self.expect(b']')?;
        Some([first, second])
    }

    fn small(&mut self) -> Option<ValueId> {
        match self.peek()? {
            b'n' => self.literal(b"null").map(|()| ValueId::NULL),
            _ => self.integer().and_then(ValueId::of_small),
        }
    }

    /// The steps of a transaction: a list that is not looked for among the values.
    #[inline]
    pub(super) fn steps(&mut self, values: &mut Values) -> Option<ValueId> {
        (self.peek()? == b'[').then_some(())?;
        let from = self.at;
        let steps = self.compact_list();
        steps.map(|()| values.keep(&self.text[from..self.at]))
    }

    /// Passes over a list that stands as it is kept, without a blank: a transaction of long lists
    /// is nothing else. Declines what [`Scanner::canonical`] must look at.
    fn compact_list(&mut self) -> Option<()> {
        let (text, mut at, mut depth) = (self.text, self.at, 0_u32);
        loop {
            match *text.get(at)? {
                b'[' => {
                    at += 1;
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return None;
                    }
                    if *text.get(at)? != b']' {
                        continue;
                    }
                }
                b'0' => at += 1,
                b'1'..=b'9' => at = digits(text, at)?,
                b'-' if matches!(text.get(at + 1)?, b'1'..=b'9') => at = digits(text, at + 1)?,
                b'"' => {
                    at += 1;
                    while *text.get(at)? != b'"' {
                        if matches!(text[at], b'\\' | 0..0x20 | 0x80..) {
                            return None;
                        }
                        at += 1;
                    }
                    at += 1;
                }
                b'n' if text[at..].starts_with(b"null") => at += 4,
                _ => return None,
            }
            loop {
                let separator = *text.get(at)?;
                at += 1;
                match separator {
                    b',' => break,
                    b']' => depth -= 1,
                    _ => return None,
                }
                if depth == 0 {
                    self.at = at;
                    return Some(());
                }
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let found = self.text[self.at..].starts_with(word);
        self.at += word.len();
        found.then_some(())
    }

    /// Copies a value without its blanks.
    fn canonical(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        let first = self.peek()?;
        let from = self.at;
        match first {
            b'[' if depth < DEPTH_MAX => {
                self.at += 1;
                out.push(b'[');
                if self.peek()? == b']' {
                    self.at += 1;
                    out.push(b']');
                    return Some(());
                }
                loop {
                    self.canonical(out, depth + 1)?;
                    let separator = self.next()?;
                    out.push(separator);
                    match separator {
                        b',' => {}
                        b']' => return Some(()),
                        _ => return None,
                    }
                }
            }
            b'"' => self.plain_bytes().map(drop)?,
            b'n' => self.word(b"null")?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'0'..=b'9' | b'-' => self.integer().map(drop)?,
            _ => return None,
        }
        out.extend_from_slice(&self.text[from..self.at]);
        Some(())
    }
}
