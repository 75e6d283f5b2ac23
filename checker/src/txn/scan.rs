//! A cursor over the JSON text of one transaction: `[["append",1,2],["r",3,[1,2]]]`.
//!
//! Micro-operations are read straight from the text, without a tree of values between: a history of
//! a million transactions holds tens of millions of list elements, and nearly all of them repeat
//! what an earlier read already said.

use super::intern::Name;

/// The text is not a list of micro-operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of the value: expected {expected}")]
pub struct Malformed {
    /// Where in the value's text, counted in bytes from 1.
    pub column: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// The bytes that end a number or a word.
const ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    let bytes = b",]}: \t\n\r\x0c";
    let mut at = 0;
    while at < bytes.len() {
        ends[bytes[at] as usize] = true;
        at += 1;
    }
    ends
};

pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn expected<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed {
            column: self.at + 1,
            expected,
        })
    }

    /// The next byte that is not white space, without taking it; 0 at the end.
    pub(crate) fn peek(&mut self) -> u8 {
        while let Some(byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Takes exactly this text, blanks and all, if it is what comes next.
    pub(crate) fn skip(&mut self, text: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    pub(crate) fn need(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.take(byte) {
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    /// Takes the whole text of the next JSON value.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => self.string()?,
            b'[' | b'{' => self.nested()?,
            _ => {
                let rest = &self.text[start..];
                self.at += rest
                    .iter()
                    .position(|&byte| ENDS[usize::from(byte)])
                    .unwrap_or(rest.len());
            }
        }
        if self.at == start {
            self.expected("a value")
        } else {
            Ok(&self.text[start..self.at])
        }
    }

    /// Takes the next JSON value as a name.
    pub(crate) fn name(&mut self) -> Result<Name<'a>, Malformed> {
        if let Some(number) = Name::leading(&self.text[self.at..]) {
            let end = self.at + number.text.len();
            let ends = |byte: &u8| ENDS[usize::from(*byte)];
            if self.text.get(end).is_none_or(ends) {
                self.at = end;
                return Ok(number);
            }
        }
        self.value().map(Name::of)
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        self.at = self.at.min(self.text.len());
        self.expected("the end of a string")
    }

    fn nested(&mut self) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        self.expected("a closing bracket")
    }

    /// Takes a list and gives the text between its brackets.
    pub(crate) fn list(&mut self) -> Result<&'a [u8], Malformed> {
        if self.peek() != b'[' {
            return self.expected("a list or null");
        }
        let inside = self.at + 1;
        let Some(length) = memchr::memchr(b']', &self.text[inside..]) else {
            return self.expected("a list that is closed");
        };
        let simple = &self.text[inside..inside + length];
        if memchr::memchr3(b'"', b'[', b'{', simple).is_none() {
            self.at = inside + length + 1;
            return Ok(simple);
        }
        let whole = self.value()?;
        Ok(&whole[1..whole.len() - 1])
    }

    /// Calls `each` with every element of a list's inside.
    pub(crate) fn elements(
        inside: &'a [u8],
        mut each: impl FnMut(Name<'a>),
    ) -> Result<(), Malformed> {
        let mut cursor = Self::new(inside);
        if cursor.peek() == 0 {
            return Ok(());
        }
        loop {
            each(cursor.name()?);
            if cursor.peek() == 0 {
                return Ok(());
            }
            cursor.need(b',', "a comma")?;
        }
    }
}
