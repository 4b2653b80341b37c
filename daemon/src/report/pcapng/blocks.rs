//! The blocks of a pcapng file: one little-endian section, times in nanoseconds.
//!
//! In: packets and texts. Out: bytes on a writer. Source: draft-ietf-opsawg-pcapng. The evidence's
//! own segments are written by `evidence::segments`, without comments.

use std::io::{self, Write};

use crate::{input::Vantage, time::Timestamp};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
/// Bits of `epb_flags`.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Longest value of an option, in bytes; a longer one is cut.
const VALUE_MAX: usize = 0xfff0;

/// A packet as it goes into the file.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Its link type's number.
    pub link: u16,
    /// When it passed.
    pub at: Timestamp,
    /// Where it was seen.
    pub vantage: Vantage,
    /// Its length before it was cut, counted like `data`.
    pub original_len: u32,
    /// What is there of it.
    pub data: &'a [u8],
    /// What is known of it, a line each.
    pub comments: &'a [String],
}

/// Writes a file.
pub struct Blocks<'a> {
    to: &'a mut dyn Write,
    links: Vec<u16>,
    block: Vec<u8>,
}

impl<'a> Blocks<'a> {
    /// Begins a file.
    pub fn begin(to: &'a mut dyn Write, writer: &str, comment: &str) -> io::Result<Self> {
        let mut blocks = Self {
            to,
            links: Vec::new(),
            block: Vec::new(),
        };
        // Version 1.0; the section's length is not told.
        let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        body.extend([0xff; 8]);
        option(&mut body, OPT_COMMENT, comment.as_bytes());
        option(&mut body, SHB_USERAPPL, writer.as_bytes());
        body.extend([0; 4]);
        blocks.put(SECTION_HEADER, &body)?;
        Ok(blocks)
    }

    /// Writes a packet, on the interface of its link type.
    pub fn packet(&mut self, packet: &Block<'_>) -> io::Result<()> {
        let number = self.interface(packet.link)?;
        let nanos = u64::try_from(packet.at.as_nanos()).unwrap_or(0);
        let captured = word(packet.data.len());
        let mut body = std::mem::take(&mut self.block);
        body.clear();
        for value in [
            number,
            word(nanos >> 32),
            word(nanos & 0xffff_ffff),
            captured,
            packet.original_len.max(captured),
        ] {
            body.extend(value.to_le_bytes());
        }
        body.extend(packet.data);
        pad(&mut body);
        for comment in packet.comments {
            option(&mut body, OPT_COMMENT, comment.as_bytes());
        }
        let flags = match packet.vantage {
            Vantage::Output => OUTBOUND,
            Vantage::Input => INBOUND,
            Vantage::Both => 0,
        };
        option(&mut body, EPB_FLAGS, &flags.to_le_bytes());
        body.extend([0; 4]);
        self.put(ENHANCED_PACKET, &body)?;
        self.block = body;
        Ok(())
    }

    /// Hands on what is held back.
    pub fn finish(self) -> io::Result<()> {
        self.to.flush()
    }

    /// The number of the interface of a link type; described where it is the first of its kind.
    fn interface(&mut self, link: u16) -> io::Result<u32> {
        if let Some(number) = self.links.iter().position(|known| *known == link) {
            return Ok(word(number));
        }
        // Reserved; no limit of captured bytes.
        let mut body = link.to_le_bytes().to_vec();
        body.extend([0; 6]);
        option(&mut body, IF_TSRESOL, &[9]);
        body.extend([0; 4]);
        self.put(INTERFACE_DESCRIPTION, &body)?;
        self.links.push(link);
        Ok(word(self.links.len() - 1))
    }

    fn put(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = word(body.len() + 12).to_le_bytes();
        self.to.write_all(&kind.to_le_bytes())?;
        self.to.write_all(&length)?;
        self.to.write_all(body)?;
        self.to.write_all(&length)
    }
}

/// An option, padded to four bytes.
fn option(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let value = value.get(..VALUE_MAX).unwrap_or(value);
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    for word in [kind, length] {
        out.extend(word.to_le_bytes());
    }
    out.extend(value);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn word<T: TryInto<u32>>(value: T) -> u32 {
    value.try_into().unwrap_or(u32::MAX)
}
