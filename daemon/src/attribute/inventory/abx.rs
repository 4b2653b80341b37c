//! ABX, Android Binary XML, as `BinaryXmlSerializer` writes it since Android 12.
//!
//! In: bytes. Out: the events of [`super::document`]. After the magic `41 42 58` and a version
//! byte, each token is one byte: low nibble the event of `XmlPullParser` (15 for an attribute),
//! high nibble the type of what follows. All numbers are big-endian. A string is a 16-bit length
//! and that many bytes of modified UTF-8; an interned string is a 16-bit index into the strings
//! interned so far, or `FFFF` and a string that joins them. So a string is at most 65,535 bytes
//! long and the pool holds at most 65,535 of them.

use std::borrow::Cow;

use super::{
    document::{ATTRIBUTES_MAX, DEPTH_MAX, Element, Event, Fault, Stop, Value},
    modified_utf8,
};

/// How an ABX file begins; a version byte follows.
pub(super) const MAGIC: &[u8] = b"ABX";
/// `FastDataOutput` interns no further strings beyond this, and writes them each time.
const POOL_MAX: usize = 65_535;
/// In place of an index: a new string follows.
const NEW_STRING: u16 = 0xffff;

/// Low nibbles of a token.
mod event {
    pub(super) const START_DOCUMENT: u8 = 0;
    pub(super) const END_DOCUMENT: u8 = 1;
    pub(super) const START_TAG: u8 = 2;
    pub(super) const END_TAG: u8 = 3;
    pub(super) const TEXT: u8 = 4;
    pub(super) const COMMENT: u8 = 9;
    pub(super) const DOCUMENT_TYPE: u8 = 10;
    pub(super) const ATTRIBUTE: u8 = 15;
}

/// High nibbles of a token.
mod tag {
    pub(super) const NULL: u8 = 0x10;
    pub(super) const STRING: u8 = 0x20;
    pub(super) const STRING_INTERNED: u8 = 0x30;
    pub(super) const BYTES_HEX: u8 = 0x40;
    pub(super) const BYTES_BASE64: u8 = 0x50;
    pub(super) const INT: u8 = 0x60;
    pub(super) const INT_HEX: u8 = 0x70;
    pub(super) const LONG: u8 = 0x80;
    pub(super) const LONG_HEX: u8 = 0x90;
    pub(super) const FLOAT: u8 = 0xa0;
    pub(super) const DOUBLE: u8 = 0xb0;
    pub(super) const BOOLEAN_TRUE: u8 = 0xc0;
    pub(super) const BOOLEAN_FALSE: u8 = 0xd0;
}

/// Reads ABX event by event.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    pool: Vec<Cow<'a, str>>,
    open: Vec<Cow<'a, str>>,
    seen_element: bool,
}

impl<'a> Reader<'a> {
    /// Checks the version and prepares to read.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Stop> {
        let mut reader = Self {
            bytes,
            at: MAGIC.len(),
            pool: Vec::new(),
            open: Vec::new(),
            seen_element: false,
        };
        let at = reader.at;
        match reader.byte()? {
            0 => Ok(reader),
            version => Err(Stop {
                at,
                fault: Fault::Version(version),
            }),
        }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Result<Event<'a>, Stop> {
        loop {
            let at = self.at;
            let stop = |fault| Stop { at, fault };
            if at == self.bytes.len() && !self.open.is_empty() {
                let open = self.open.len();
                return Err(stop(Fault::NotClosed { open }));
            }
            let token = self.byte()?;
            match token & 0x0f {
                // Android's reader ignores the type of these two as well.
                event::START_DOCUMENT => {}
                event::END_DOCUMENT => return self.end_document(at),
                event::START_TAG => return self.start_tag(token, at),
                event::END_TAG => return self.end_tag(token, at),
                event::TEXT..=event::COMMENT => self.skip_text(token, at)?,
                event::DOCUMENT_TYPE => return Err(stop(Fault::DocumentType)),
                event::ATTRIBUTE => return Err(stop(Fault::StrayAttribute)),
                _ => return Err(stop(Fault::Token(token))),
            }
        }
    }

    fn end_document(&mut self, at: usize) -> Result<Event<'a>, Stop> {
        let trailing = self.bytes.len().saturating_sub(self.at);
        if !self.open.is_empty() {
            let open = self.open.len();
            let fault = Fault::NotClosed { open };
            return Err(Stop { at, fault });
        }
        if !self.seen_element {
            let fault = Fault::Empty;
            return Err(Stop { at, fault });
        }
        if trailing > 0 {
            let fault = Fault::Trailing(trailing);
            return Err(Stop { at: self.at, fault });
        }
        Ok(Event::Eof)
    }

    fn start_tag(&mut self, token: u8, at: usize) -> Result<Event<'a>, Stop> {
        expect_tag(token, tag::STRING_INTERNED, at)?;
        if self.open.len() >= DEPTH_MAX {
            let fault = Fault::Depth;
            return Err(Stop { at, fault });
        }
        let name = self.interned()?;
        self.open.push(name.clone());
        self.seen_element = true;
        let mut attributes = Vec::new();
        // Something must follow: a file cut short between attributes must not pass for an element
        // that has fewer of them.
        while self.peek()? & 0x0f == event::ATTRIBUTE {
            if attributes.len() >= ATTRIBUTES_MAX {
                let fault = Fault::Attributes;
                return Err(Stop { at: self.at, fault });
            }
            attributes.push(self.attribute()?);
        }
        Ok(Event::Start(Element {
            at,
            name,
            attributes,
        }))
    }

    fn end_tag(&mut self, token: u8, at: usize) -> Result<Event<'a>, Stop> {
        expect_tag(token, tag::STRING_INTERNED, at)?;
        let found = self.interned()?;
        let expected = self.open.pop().unwrap_or_default();
        if found == expected && !expected.is_empty() {
            return Ok(Event::End);
        }
        let fault = Fault::WrongEnd {
            expected: expected.into_owned(),
            found: found.into_owned(),
        };
        Err(Stop { at, fault })
    }

    fn attribute(&mut self) -> Result<(Cow<'a, str>, Value<'a>), Stop> {
        let at = self.at;
        let token = self.byte()?;
        let tag = token & 0xf0;
        if !(tag::NULL..=tag::BOOLEAN_FALSE).contains(&tag) {
            let fault = Fault::Type { token, tag };
            return Err(Stop { at, fault });
        }
        let name = self.interned()?;
        let value = match tag {
            tag::STRING => Value::Text(self.string()?),
            tag::STRING_INTERNED => Value::Text(self.interned()?),
            tag::BYTES_HEX | tag::BYTES_BASE64 => Value::Bytes(self.counted()?.1),
            tag::INT | tag::INT_HEX => Value::Integer(i32::from_be_bytes(self.array()?).into()),
            tag::LONG | tag::LONG_HEX => Value::Integer(i64::from_be_bytes(self.array()?)),
            tag::FLOAT => Value::Real(f32::from_be_bytes(self.array()?).into()),
            tag::DOUBLE => Value::Real(f64::from_be_bytes(self.array()?)),
            tag::BOOLEAN_TRUE => Value::Boolean(true),
            tag::BOOLEAN_FALSE => Value::Boolean(false),
            _ => Value::Null,
        };
        Ok((name, value))
    }

    /// Text, white space, comments and the like: nothing in them is read.
    fn skip_text(&mut self, token: u8, at: usize) -> Result<(), Stop> {
        match token & 0xf0 {
            tag::NULL => Ok(()),
            tag::STRING => self.counted().map(drop),
            tag::STRING_INTERNED => self.interned().map(drop),
            tag => Err(Stop {
                at,
                fault: Fault::Type { token, tag },
            }),
        }
    }

    fn interned(&mut self) -> Result<Cow<'a, str>, Stop> {
        let at = self.at;
        let index = u16::from_be_bytes(self.array()?);
        if index == NEW_STRING {
            let text = self.string()?;
            if self.pool.len() < POOL_MAX {
                self.pool.push(text.clone());
            }
            return Ok(text);
        }
        let size = self.pool.len();
        self.pool.get(usize::from(index)).cloned().ok_or(Stop {
            at,
            fault: Fault::Pool { index, size },
        })
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        let (start, bytes) = self.counted()?;
        modified_utf8::decode(bytes).map_err(|malformed| Stop {
            at: start + malformed.at,
            fault: Fault::Encoding,
        })
    }

    /// Bytes after their 16-bit length, and where they begin.
    fn counted(&mut self) -> Result<(usize, &'a [u8]), Stop> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let start = self.at;
        self.take(length).map(|bytes| (start, bytes))
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop {
            at: self.at,
            fault: Fault::Truncated { needed: 1, had: 0 },
        })
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let at = self.at;
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Stop {
            at,
            fault: Fault::Truncated { needed: N, had: 0 },
        })
    }

    fn take(&mut self, needed: usize) -> Result<&'a [u8], Stop> {
        let at = self.at;
        let rest = self.bytes.get(at..).unwrap_or_default();
        let taken = rest.get(..needed).ok_or(Stop {
            at,
            fault: Fault::Truncated {
                needed,
                had: rest.len(),
            },
        })?;
        self.at += needed;
        Ok(taken)
    }
}

fn expect_tag(token: u8, expected: u8, at: usize) -> Result<(), Stop> {
    match token & 0xf0 {
        tag if tag == expected => Ok(()),
        tag => Err(Stop {
            at,
            fault: Fault::Type { token, tag },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(bytes: &[u8]) -> Result<Vec<Event<'_>>, Stop> {
        let mut reader = Reader::new(bytes)?;
        let mut events = Vec::new();
        loop {
            let event = reader.next()?;
            if event == Event::Eof {
                return Ok(events);
            }
            events.push(event);
        }
    }

    /// `<a>` opened, its name the first string of the pool.
    const OPEN: &[u8] = b"ABX\0\x10\x32\xff\xff\0\x01a";

    fn stop(tail: &[u8]) -> Stop {
        let bytes = [OPEN, tail].concat();
        events(&bytes).unwrap_err()
    }

    #[test]
    fn reads_every_type_of_attribute() {
        let mut bytes = OPEN.to_vec();
        for (tag, payload) in [
            (tag::NULL, &b""[..]),
            (tag::STRING, b"\0\x02hi"),
            (tag::STRING_INTERNED, b"\0\0"),
            (tag::BYTES_HEX, b"\0\x02\x30\x82"),
            (tag::BYTES_BASE64, b"\0\x01\xff"),
            (tag::INT, b"\xff\xff\xff\xfe"),
            (tag::INT_HEX, b"\0\0\0\x0a"),
            (tag::LONG, b"\x7f\xff\xff\xff\xff\xff\xff\xff"),
            (tag::LONG_HEX, b"\0\0\0\0\0\0\0\x0b"),
            (tag::FLOAT, b"\x3f\x80\0\0"),
            (tag::DOUBLE, b"\x40\0\0\0\0\0\0\0"),
            (tag::BOOLEAN_TRUE, b""),
            (tag::BOOLEAN_FALSE, b""),
        ] {
            bytes.push(tag | event::ATTRIBUTE);
            bytes.extend([0, 0]);
            bytes.extend(payload);
        }
        bytes.extend(b"\x33\0\0\x11");
        let events = events(&bytes).unwrap();
        let [Event::Start(element), Event::End] = &events[..] else {
            panic!("{events:?}");
        };
        let values: Vec<_> = element.attributes.iter().map(|(_, value)| value).collect();
        assert_eq!(
            values,
            [
                &Value::Null,
                &Value::Text("hi".into()),
                &Value::Text("a".into()),
                &Value::Bytes(&[0x30, 0x82]),
                &Value::Bytes(&[0xff]),
                &Value::Integer(-2),
                &Value::Integer(10),
                &Value::Integer(i64::MAX),
                &Value::Integer(11),
                &Value::Real(1.0),
                &Value::Real(2.0),
                &Value::Boolean(true),
                &Value::Boolean(false),
            ]
        );
    }

    #[test]
    fn skips_text_comments_and_white_space() {
        let bytes = [OPEN, b"\x24\0\x02hi\x29\0\x01c\x17\x33\0\0\x11"].concat();
        assert_eq!(events(&bytes).unwrap().len(), 2);
    }

    #[test]
    fn says_at_which_byte_it_stopped_and_why() {
        let at = OPEN.len();
        let index = 7;
        for (tail, offset, fault) in [
            (&b"\x33\0\x07"[..], 1, Fault::Pool { index, size: 1 }),
            (
                b"\x2f\0\0\xff\xffshort",
                5,
                Fault::Truncated {
                    needed: 65_535,
                    had: 5,
                },
            ),
            (
                b"\x22\0\0",
                0,
                Fault::Type {
                    token: 0x22,
                    tag: 0x20,
                },
            ),
            (
                b"\xef\0\0",
                0,
                Fault::Type {
                    token: 0xef,
                    tag: 0xe0,
                },
            ),
            (b"\x3b", 0, Fault::Token(0x3b)),
            (b"\x2a\0\x01x", 0, Fault::DocumentType),
            (b"\x2f\0\0\0\x02\xc3\x28", 5, Fault::Encoding),
            (b"\x14\x1f", 1, Fault::StrayAttribute),
            (b"", 0, Fault::Truncated { needed: 1, had: 0 }),
            (b"\xcf\0\0", 3, Fault::Truncated { needed: 1, had: 0 }),
            (b"\x14", 1, Fault::NotClosed { open: 1 }),
            (b"\x11", 0, Fault::NotClosed { open: 1 }),
            (b"\x33\0\0\x11more", 4, Fault::Trailing(4)),
        ] {
            let expected = Stop {
                at: at + offset,
                fault,
            };
            assert_eq!(stop(tail), expected, "after {tail:x?}");
        }
    }

    #[test]
    fn refuses_a_later_version_and_an_empty_document() {
        assert_eq!(events(b"ABX\x01").unwrap_err().fault, Fault::Version(1));
        assert_eq!(events(b"ABX\0\x10\x11").unwrap_err().fault, Fault::Empty);
        assert_eq!(
            events(b"ABX").unwrap_err().fault,
            Fault::Truncated { needed: 1, had: 0 }
        );
    }

    #[test]
    fn depth_and_attributes_are_bounded() {
        let deep = b"\x32\0\0".repeat(DEPTH_MAX);
        assert_eq!(stop(&deep).fault, Fault::Depth);
        let wide = b"\xcf\0\0".repeat(ATTRIBUTES_MAX + 1);
        assert_eq!(stop(&wide).fault, Fault::Attributes);
    }
}
