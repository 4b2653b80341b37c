//! Reads a block back. Every length is checked, and no more than a bound is inflated: bytes of any
//! origin give inputs or a typed error.

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    BLOCK_RAW_MAX, FLAG_INTERFACE, FLAG_UID, JournalBody, JournalError, LINK_OTHER, LINKS, MAGIC,
    TAG_EVENT, TAG_PACKET, TIME_BASES, VANTAGES, VERSION, event_time, value_of,
    varint::{self, Varint},
};
use crate::{
    evidence::canonical::is_canonical,
    input::{Batch, Event, Input, LinkType, Packet},
    time::Timestamp,
};

/// Room that the inflated bytes grow by.
const INFLATE_STEP: usize = 256 * 1024;

/// What a block holds.
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    /// Its inputs. A packet that was cut has the bytes that were kept.
    pub inputs: Batch,
    /// Packets that were cut when they were journaled.
    pub cut: u64,
    /// What the record's body should say; `first` is not in the block and is 0 here.
    pub found: JournalBody,
}

impl DecodedBlock {
    /// Packets whose time lies between two moments, both included.
    pub fn packets_within(&self, from: Timestamp, to: Timestamp) -> u64 {
        let within = self.inputs.iter().filter(
            |input| matches!(input, Input::Packet(packet) if from <= packet.at && packet.at <= to),
        );
        u64::try_from(within.count()).unwrap_or(u64::MAX)
    }

    /// Compares the block with what its record's body says, `first` excepted.
    pub fn check(&self, declared: &JournalBody) -> Result<(), JournalError> {
        let numbers = [
            (
                "version",
                declared.version.into(),
                self.found.version.into(),
            ),
            ("inputs", declared.inputs, self.found.inputs),
            ("packets", declared.packets, self.found.packets),
            ("raw_len", declared.raw_len, self.found.raw_len),
        ];
        for (field, declared, found) in numbers {
            differs(field, &declared, &found)?;
        }
        let micros = |at: Timestamp| Timestamp::from_micros(at.as_micros());
        differs("from", &declared.from, &micros(self.found.from))?;
        differs("to", &declared.to, &micros(self.found.to))
    }
}

fn differs<T: PartialEq + ToString>(
    field: &'static str,
    declared: &T,
    found: &T,
) -> Result<(), JournalError> {
    if declared == found {
        return Ok(());
    }
    Err(JournalError::Declared {
        field,
        declared: declared.to_string(),
        found: found.to_string(),
    })
}

/// Decodes an attachment.
pub fn read_block(attachment: &[u8]) -> Result<DecodedBlock, JournalError> {
    let raw = inflate(attachment)?;
    let mut cursor = Cursor {
        raw: &raw,
        offset: 0,
        input: 0,
        last_nanos: 0,
        last_frame: 0,
    };
    let mut inputs = Batch::new();
    let (mut packets, mut cut) = (0, 0);
    let mut span: Option<(Timestamp, Timestamp)> = None;
    while cursor.offset < raw.len() {
        cursor.input += 1;
        let at = match cursor.byte()? {
            TAG_PACKET => {
                let (packet, was_cut) = cursor.packet()?;
                inputs.push_packet(&packet);
                packets += 1;
                cut += u64::from(was_cut);
                packet.at
            }
            TAG_EVENT => {
                let (event, at) = cursor.event()?;
                inputs.push_event(event);
                at
            }
            _ => return Err(cursor.malformed("unknown tag")),
        };
        let (from, to) = span.unwrap_or((at, at));
        span = Some((from.min(at), to.max(at)));
    }
    let (from, to) = span.unwrap_or_default();
    let found = JournalBody {
        version: VERSION,
        first: 0,
        inputs: cursor.input,
        packets,
        raw_len: raw.len() as u64,
        from,
        to,
    };
    Ok(DecodedBlock { inputs, cut, found })
}

fn inflate(attachment: &[u8]) -> Result<Vec<u8>, JournalError> {
    let compressed = match attachment.split_at_checked(MAGIC.len()) {
        Some((magic, [version, rest @ ..])) if magic == MAGIC => match *version {
            VERSION => rest,
            other => return Err(JournalError::Version(other)),
        },
        _ => return Err(JournalError::Header),
    };
    let mut inflater = Decompress::new(true);
    let mut raw = Vec::with_capacity(INFLATE_STEP);
    let mut rest = compressed;
    loop {
        let (before_in, before_out) = (rest.len(), raw.len());
        let consumed = inflater.total_in();
        let status = inflater
            .decompress_vec(rest, &mut raw, FlushDecompress::None)
            .map_err(|error| JournalError::Inflate(error.to_string()))?;
        let consumed = usize::try_from(inflater.total_in() - consumed).unwrap_or(usize::MAX);
        rest = rest.get(consumed..).unwrap_or_default();
        if raw.len() > BLOCK_RAW_MAX {
            return Err(JournalError::TooLong);
        }
        if status == Status::StreamEnd {
            break;
        }
        if raw.len() == raw.capacity() {
            raw.reserve(INFLATE_STEP);
        } else if (rest.len(), raw.len()) == (before_in, before_out) {
            return Err(JournalError::Inflate("it ends too early".to_owned()));
        }
    }
    match rest.len() {
        0 => Ok(raw),
        left => Err(JournalError::Trailing(left)),
    }
}

/// A place in the raw bytes.
struct Cursor<'a> {
    raw: &'a [u8],
    offset: usize,
    input: u64,
    last_nanos: i64,
    last_frame: u64,
}

impl<'a> Cursor<'a> {
    fn packet(&mut self) -> Result<(Packet<'a>, bool), JournalError> {
        let at = self.time()?;
        let flags = self.byte()?;
        if flags & !(0x0f | FLAG_UID | FLAG_INTERFACE) != 0 {
            return Err(self.malformed("unknown flag"));
        }
        let time_basis =
            value_of(&TIME_BASES, flags & 3).ok_or_else(|| self.malformed("unknown time basis"))?;
        let vantage =
            value_of(&VANTAGES, flags >> 2 & 3).ok_or_else(|| self.malformed("unknown vantage"))?;
        let link = match self.byte()? {
            LINK_OTHER => LinkType::Other(self.integer("link type beyond 16 bits")?),
            code => value_of(&LINKS, code).ok_or_else(|| self.malformed("unknown link type"))?,
        };
        let uid = if flags & FLAG_UID == 0 {
            None
        } else {
            Some(self.integer("UID beyond 32 bits")?)
        };
        let interface = if flags & FLAG_INTERFACE == 0 {
            None
        } else {
            Some(self.integer("interface beyond 32 bits")?)
        };
        let source = self.integer("source beyond 16 bits")?;
        let step = varint::signed(self.varint()?);
        let frame = self.last_frame.wrapping_add(step.cast_unsigned());
        let original_len = self.integer("length beyond 32 bits")?;
        let captured = self.varint()?;
        let kept: usize = self.integer("length beyond the machine's")?;
        if kept as u64 > captured {
            return Err(self.malformed("more bytes kept than captured"));
        }
        let data = self.bytes(kept)?;
        self.last_frame = frame;
        let packet = Packet {
            at,
            time_basis,
            link,
            vantage,
            uid,
            interface,
            original_len,
            source,
            frame,
            data,
        };
        Ok((packet, (kept as u64) < captured))
    }

    fn event(&mut self) -> Result<(Event, Timestamp), JournalError> {
        let at = self.time()?;
        let length = self.integer("length beyond the machine's")?;
        let text = self.bytes(length)?;
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| is_canonical(text))
            .ok_or_else(|| self.malformed("an event is not canonical JSON"))?;
        let mut event: Event =
            serde_json::from_str(text).map_err(|_| self.malformed("unknown event"))?;
        let time = event_time(&mut event);
        if time.as_micros() != at.as_micros() {
            return Err(self.malformed("an event's two times differ"));
        }
        *time = at;
        Ok((event, at))
    }

    fn time(&mut self) -> Result<Timestamp, JournalError> {
        let step = varint::signed(self.varint()?);
        self.last_nanos = self.last_nanos.wrapping_add(step);
        Ok(Timestamp::from_nanos(self.last_nanos))
    }

    fn integer<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, JournalError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.malformed(what))
    }

    fn varint(&mut self) -> Result<u64, JournalError> {
        let rest = self.raw.get(self.offset..).unwrap_or_default();
        match varint::read(rest) {
            Varint::Value(value, length) => {
                self.offset += length;
                Ok(value)
            }
            Varint::Truncated => Err(self.truncated(rest.len() + 1)),
            Varint::Malformed => Err(self.malformed("an integer has a wrong spelling")),
        }
    }

    fn byte(&mut self) -> Result<u8, JournalError> {
        match self.bytes(1)? {
            [byte] => Ok(*byte),
            _ => Err(self.truncated(1)),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], JournalError> {
        let rest = self.raw.get(self.offset..).unwrap_or_default();
        let bytes = rest.get(..length).ok_or_else(|| self.truncated(length))?;
        self.offset += length;
        Ok(bytes)
    }

    fn truncated(&self, needed: usize) -> JournalError {
        JournalError::Truncated {
            input: self.input,
            offset: self.offset,
            needed,
            had: self.raw.len().saturating_sub(self.offset),
        }
    }

    fn malformed(&self, what: &'static str) -> JournalError {
        JournalError::Malformed {
            input: self.input,
            offset: self.offset,
            what,
        }
    }
}
