//! One event stream for both encodings in which Android stores XML.
//!
//! In: the bytes of a file, text or ABX. Out: elements with their attributes, in order, and where
//! reading had to stop. Text content is skipped: Android keeps nothing in it that we read.

use std::borrow::Cow;

use super::{abx, text};

/// Elements may be nested this deep; Android's files need six. Deeper input is refused.
pub(super) const DEPTH_MAX: usize = 64;
/// An element may have this many attributes; Android's have about 40. More are refused.
pub(super) const ATTRIBUTES_MAX: usize = 256;

/// What comes next in a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event<'a> {
    /// An element begins.
    Start(Element<'a>),
    /// The element that began last and has not ended ends.
    End,
    /// The document is complete.
    Eof,
}

/// An element's name and attributes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Element<'a> {
    /// Byte offset of its start.
    pub(super) at: usize,
    pub(super) name: Cow<'a, str>,
    pub(super) attributes: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// An attribute's value, typed as far as the encoding types it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Integer(i64),
    Real(f64),
    Boolean(bool),
}

impl Element<'_> {
    /// The first attribute of that name.
    fn get(&self, name: &str) -> Option<&Value<'_>> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// A text attribute; none if it is missing, empty or of another type.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// An integer attribute; `Ok(None)` if it is missing.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, NotReadable> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Text(text)) => text.parse().map(Some).map_err(|_| NotReadable),
            Some(_) => Err(NotReadable),
        }
    }

    /// A byte string: raw in ABX, hexadecimal digits in text; `Ok(None)` if it is missing.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>, NotReadable> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(Cow::Borrowed(bytes))),
            Some(Value::Text(text)) => from_hex(text)
                .map(|bytes| Some(Cow::Owned(bytes)))
                .ok_or(NotReadable),
            Some(_) => Err(NotReadable),
        }
    }
}

/// An attribute is there, but not of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotReadable;

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// Why reading had to stop, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub(super) struct Stop {
    /// Byte offset, from the start of the file.
    pub(super) at: usize,
    pub(super) fault: Fault,
}

/// Why reading had to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the file ends here: {needed} more bytes were expected, {had} are there")]
    Truncated { needed: usize, had: usize },
    #[error("the file ends within {open} open element(s): it is cut short")]
    NotClosed { open: usize },
    #[error("the file holds no element")]
    Empty,
    #[error("ABX version {0} is not known, only version 0 is")]
    Version(u8),
    #[error("ABX token {0:#04x} is not known")]
    Token(u8),
    #[error("ABX token {token:#04x} cannot have type {tag:#04x}")]
    Type { token: u8, tag: u8 },
    #[error("string {index} of the pool is referred to, which holds {size}")]
    Pool { index: u16, size: usize },
    #[error("the string is neither UTF-8 nor modified UTF-8")]
    Encoding,
    #[error("an attribute stands outside a start tag")]
    StrayAttribute,
    #[error("</{found}> ends <{expected}>")]
    WrongEnd { expected: String, found: String },
    #[error("elements are nested deeper than {DEPTH_MAX}")]
    Depth,
    #[error("an element has more than {ATTRIBUTES_MAX} attributes")]
    Attributes,
    #[error("a document type declaration is not expected and not followed")]
    DocumentType,
    #[error("{0} byte(s) follow the end of the document")]
    Trailing(usize),
    #[error("{0}")]
    Syntax(String),
}

/// A document in either encoding.
#[derive(Debug)]
pub(super) enum Document<'a> {
    Text(text::Reader<'a>),
    Abx(abx::Reader<'a>),
}

impl<'a> Document<'a> {
    /// Tells the encoding by the magic; everything that is not ABX is read as text.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Stop> {
        if bytes.starts_with(abx::MAGIC) {
            abx::Reader::new(bytes).map(Self::Abx)
        } else {
            Ok(Self::Text(text::Reader::new(bytes)))
        }
    }

    /// Whether positions have a line as well as a byte.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// The next event. After [`Event::Eof`] or an error there is nothing more to read.
    pub(super) fn next(&mut self) -> Result<Event<'a>, Stop> {
        match self {
            Self::Text(reader) => reader.next(),
            Self::Abx(reader) => reader.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_refused_when_odd() {
        assert_eq!(from_hex("30A2ff"), Some(vec![0x30, 0xa2, 0xff]));
        assert_eq!(from_hex("30A"), None);
        assert_eq!(from_hex("zz"), None);
        assert_eq!(from_hex(""), Some(vec![]));
    }
}
