//! Counts what is in a journal block, and holds it against what the record says of it.
//!
//! In: a block's bytes. Out: its counts and its span of time, or the first thing that is wrong. No
//! input is made of it: that is a replay's work. Memory is bounded by [`RAW_MAX`].

use flate2::{Decompress, FlushDecompress, Status};
use serde::Deserialize;
use serde_json::Value;

use crate::{canonical::is_canonical, damage::JournalFlaw, time};

/// First bytes of a block; the last one is its version.
const MAGIC: [u8; 4] = *b"SKJ\x01";
/// Longest block when it is inflated, in bytes.
const RAW_MAX: usize = 17_039_360;
/// Room by which the inflated bytes grow.
const STEP: usize = 256 * 1024;
/// Link types that have a code of their own: 0 to this one.
const LINK_MAX: u8 = 9;
/// Code of a link type that follows by its number.
const LINK_OTHER: u8 = 255;
/// Flags of a packet that the format knows.
const FLAGS: u8 = 0b0011_1111;
const FLAG_UID: u8 = 1 << 4;
const FLAG_INTERFACE: u8 = 1 << 5;

/// Body of a `journal` record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct JournalBody {
    pub(crate) version: u64,
    pub(crate) first: u64,
    pub(crate) inputs: u64,
    pub(crate) packets: u64,
    pub(crate) raw_len: u64,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// What a block holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inputs.
    pub inputs: u64,
    /// Inputs that are packets.
    pub packets: u64,
    /// Length when inflated, in bytes.
    pub raw_len: u64,
    /// Earliest and latest time, in nanoseconds since the Unix epoch; none in an empty block.
    pub span: Option<(i64, i64)>,
}

impl Counts {
    /// Compares with what the record's body says.
    pub(crate) fn check(&self, body: &JournalBody) -> Result<(), JournalFlaw> {
        let (from, to) = self.span.unwrap_or_default();
        for (field, declared, found) in [
            ("version", body.version.to_string(), "1".to_owned()),
            ("inputs", body.inputs.to_string(), self.inputs.to_string()),
            (
                "packets",
                body.packets.to_string(),
                self.packets.to_string(),
            ),
            (
                "raw_len",
                body.raw_len.to_string(),
                self.raw_len.to_string(),
            ),
            ("from", body.from.clone(), time::text(from)),
            ("to", body.to.clone(), time::text(to)),
        ] {
            if declared != found {
                return Err(JournalFlaw::Declared {
                    field,
                    declared,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// Reads a block from its first byte to its last.
pub fn count_block(block: &[u8]) -> Result<Counts, JournalFlaw> {
    let raw = inflate(block)?;
    let mut cursor = Cursor {
        rest: &raw,
        whole: raw.len(),
        input: 0,
        nanos: 0,
    };
    let mut counts = Counts {
        raw_len: raw.len() as u64,
        ..Counts::default()
    };
    while !cursor.rest.is_empty() {
        counts.inputs += 1;
        cursor.input = counts.inputs;
        let tag = cursor.byte()?;
        cursor.nanos = cursor.nanos.wrapping_add(cursor.signed()?);
        match tag {
            1 => {
                cursor.packet()?;
                counts.packets += 1;
            }
            2 => cursor.event()?,
            _ => return Err(cursor.wrong("an input is a packet (1) or an event (2)")),
        }
        let at = cursor.nanos;
        let (from, to) = counts.span.unwrap_or((at, at));
        counts.span = Some((from.min(at), to.max(at)));
    }
    Ok(counts)
}

fn inflate(block: &[u8]) -> Result<Vec<u8>, JournalFlaw> {
    let mut rest = match block.split_at_checked(MAGIC.len()) {
        Some((magic, rest)) if magic == MAGIC => rest,
        _ => return Err(JournalFlaw::Header),
    };
    let mut stream = Decompress::new(true);
    let mut raw = Vec::new();
    loop {
        if raw.len() == raw.capacity() {
            raw.reserve(STEP);
        }
        let (read, written) = (stream.total_in(), raw.len());
        let status = stream
            .decompress_vec(rest, &mut raw, FlushDecompress::None)
            .map_err(|error| JournalFlaw::Inflate(error.to_string()))?;
        let read = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
        rest = rest.get(read..).unwrap_or_default();
        if raw.len() > RAW_MAX {
            return Err(JournalFlaw::TooLong);
        }
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(raw),
            Status::StreamEnd => return Err(JournalFlaw::Trailing(rest.len())),
            _ if read == 0 && raw.len() == written && raw.len() < raw.capacity() => {
                return Err(JournalFlaw::Inflate("it ends too early".to_owned()));
            }
            _ => {}
        }
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
    whole: usize,
    input: u64,
    nanos: i64,
}

impl<'a> Cursor<'a> {
    fn packet(&mut self) -> Result<(), JournalFlaw> {
        let flags = self.byte()?;
        if flags & !FLAGS != 0 || flags & 3 == 3 || flags >> 2 & 3 == 3 {
            return Err(self.wrong("a packet has flags that the format does not know"));
        }
        match self.byte()? {
            LINK_OTHER => self.below(1 << 16, "a link type has 16 bits")?,
            code if code <= LINK_MAX => {}
            _ => return Err(self.wrong("a packet has a link type that the format does not know")),
        }
        if flags & FLAG_UID != 0 {
            self.below(1 << 32, "a UID has 32 bits")?;
        }
        if flags & FLAG_INTERFACE != 0 {
            self.below(1 << 32, "an interface has 32 bits")?;
        }
        self.below(1 << 16, "a source has 16 bits")?;
        self.signed()?;
        self.below(1 << 32, "a length has 32 bits")?;
        let captured = self.integer()?;
        let kept = self.integer()?;
        if kept > captured {
            return Err(self.wrong("more bytes are kept than were captured"));
        }
        self.bytes(kept).map(|_| ())
    }

    fn event(&mut self) -> Result<(), JournalFlaw> {
        let length = self.integer()?;
        let text = std::str::from_utf8(self.bytes(length)?)
            .ok()
            .filter(|text| is_canonical(text))
            .ok_or_else(|| self.wrong("an event is not canonical JSON"))?;
        let event: Value =
            serde_json::from_str(text).map_err(|_| self.wrong("an event is no JSON"))?;
        let mut values = event.as_object().into_iter().flat_map(|all| all.values());
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(self.wrong("an event has one key, its name"));
        };
        let at = value.get("at").unwrap_or(value);
        if at.as_str() == Some(time::text(self.nanos).as_str()) {
            return Ok(());
        }
        Err(self.wrong("an event's two times differ"))
    }

    fn byte(&mut self) -> Result<u8, JournalFlaw> {
        let (byte, rest) = self.rest.split_first().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*byte)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], JournalFlaw> {
        let (bytes, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Unsigned LEB128 of at most 64 bits in its shortest form.
    fn integer(&mut self) -> Result<u64, JournalFlaw> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || byte == 0 && shift > 0 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong("an integer has a wrong spelling"))
    }

    fn signed(&mut self) -> Result<i64, JournalFlaw> {
        let value = self.integer()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn below(&mut self, limit: u64, rule: &'static str) -> Result<(), JournalFlaw> {
        if self.integer()? < limit {
            return Ok(());
        }
        Err(self.wrong(rule))
    }

    fn short(&self) -> JournalFlaw {
        self.wrong("it ends within an input")
    }

    fn wrong(&self, what: &'static str) -> JournalFlaw {
        JournalFlaw::Malformed {
            input: self.input,
            offset: self.whole - self.rest.len(),
            what,
        }
    }
}
