//! The pcapng format: sections of blocks.
//!
//! In: bytes of one block. Out: what the block says: [`Interface`]s and [`PacketBlock`]s. Blocks
//! of other types, decryption secrets among them, are passed over.
//! Source: draft-ietf-opsawg-pcapng.

use super::{
    bytes::{Fields, Order},
    damage::DamageKind,
};
use crate::{input::LinkType, time::Timestamp};

/// Type of a section header block: a palindrome, since its byte order is not known yet.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Custom blocks and systemd journal entries: no packets, but Wireshark numbers them as frames,
/// and the frame numbers of evidence must lead to the right packet there.
pub(super) const CUSTOM: u32 = 0x0bad;
const CUSTOM_NOT_COPIED: u32 = 0x4000_0bad;
const JOURNAL: u32 = 9;
/// Major version of the sections that are read.
const VERSION_MAJOR: u16 = 1;
/// Bytes of a section header block up to and including its byte-order magic.
pub(super) const SECTION_PREFIX_LEN: usize = 12;
/// Type and length at a block's beginning.
pub(super) const BLOCK_PREFIX_LEN: usize = 8;
/// A block without a body: type, length, length.
const BLOCK_LEN_MIN: u32 = 12;
/// A section header block without options.
const SECTION_LEN_MIN: u32 = 28;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

/// Interfaces kept per section; a section that describes more is damaged.
pub(super) const INTERFACES_MAX: usize = 65_536;

/// What is to be done with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// It begins a section.
    Section,
    /// Its body is to be parsed.
    Parsed,
    /// It is passed over, whatever its length, but has a frame number.
    Numbered,
    /// It is passed over, whatever its length.
    Passed,
}

/// A block's type and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPrefix {
    pub(super) kind: u32,
    pub(super) length: u32,
}

impl BlockPrefix {
    pub(super) const fn parse(bytes: [u8; BLOCK_PREFIX_LEN], order: Order) -> Self {
        let [k0, k1, k2, k3, l0, l1, l2, l3] = bytes;
        Self {
            kind: order.u32([k0, k1, k2, k3]),
            length: order.u32([l0, l1, l2, l3]),
        }
    }

    /// What to do with the block, or what is wrong with its length.
    pub(super) fn check(self) -> Result<BlockKind, DamageKind> {
        let (what, length_min) = match self.kind {
            SECTION_HEADER => (BlockKind::Section, SECTION_LEN_MIN),
            INTERFACE_DESCRIPTION | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                (BlockKind::Parsed, BLOCK_LEN_MIN)
            }
            CUSTOM | CUSTOM_NOT_COPIED | JOURNAL => (BlockKind::Numbered, BLOCK_LEN_MIN),
            _ => (BlockKind::Passed, BLOCK_LEN_MIN),
        };
        if self.length < length_min || !self.length.is_multiple_of(4) {
            return Err(self.length_damage());
        }
        Ok(what)
    }

    pub(super) const fn length_damage(self) -> DamageKind {
        DamageKind::BlockLength {
            kind: self.kind,
            length: self.length,
        }
    }
}

/// Byte order of a section by its magic.
pub(super) const fn section_order(bytes: [u8; SECTION_PREFIX_LEN]) -> Result<Order, DamageKind> {
    let [.., m0, m1, m2, m3] = bytes;
    match [m0, m1, m2, m3] {
        [0x1a, 0x2b, 0x3c, 0x4d] => Ok(Order::Big),
        [0x4d, 0x3c, 0x2b, 0x1a] => Ok(Order::Little),
        other => Err(DamageKind::ByteOrder(other)),
    }
}

/// Checks a section's version by the first 16 bytes of its header block.
pub(super) const fn section_version(bytes: [u8; 16], order: Order) -> Result<(), DamageKind> {
    let [.., v0, v1, _, _] = bytes;
    match order.u16([v0, v1]) {
        VERSION_MAJOR => Ok(()),
        major => Err(DamageKind::Version { major }),
    }
}

/// How an interface's packets are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) link: LinkType,
    snap_len: u32,
    /// The `if_tsresol` octet: a power of ten, or of two if the highest bit is set.
    resolution: u8,
    /// Seconds to add to each time.
    offset_s: i64,
}

impl Interface {
    /// Parses the body of an interface description block.
    fn parse(body: &[u8], order: Order) -> Option<Self> {
        let mut fields = Fields::new(body, order);
        let link = super::link_type(u32::from(fields.u16()?));
        let _reserved = fields.u16()?;
        let mut interface = Self {
            link,
            snap_len: fields.u32()?,
            resolution: 6,
            offset_s: 0,
        };
        // Options that are cut off end the list; those before them hold.
        while let Some((code, value)) = option(&mut fields) {
            match (code, value) {
                (OPTION_END, _) => break,
                (OPTION_TSRESOL, [resolution, ..]) => interface.resolution = *resolution,
                (OPTION_TSOFFSET, _) => {
                    interface.offset_s = Fields::new(value, order).i64().unwrap_or(0);
                }
                _ => {}
            }
        }
        Some(interface)
    }

    /// A packet's time; saturates at the ends of the range.
    fn time(&self, high: u32, low: u32) -> Timestamp {
        let units = (u128::from(high) << 32) | u128::from(low);
        let scaled = units * 1_000_000_000;
        let exponent = u32::from(self.resolution & 0x7f);
        let nanos = if self.resolution & 0x80 == 0 {
            10_u128
                .checked_pow(exponent)
                .map_or(0, |per_second| scaled / per_second)
        } else {
            scaled.checked_shr(exponent).unwrap_or(0)
        };
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
        let total = i128::from(self.offset_s) * 1_000_000_000 + nanos;
        Timestamp::from_nanos(i64::try_from(total).unwrap_or(if total < 0 {
            i64::MIN
        } else {
            i64::MAX
        }))
    }
}

/// The next option: code and value; the padding is passed over.
fn option<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let code = fields.u16()?;
    let length = usize::from(fields.u16()?);
    let value = fields.bytes(length)?;
    let padding = length.next_multiple_of(4) - length;
    fields.bytes(padding.min(fields.rest.len()))?;
    Some((code, value))
}

/// What a block of any packet type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketBlock<'a> {
    /// None in a simple packet block.
    pub(super) at: Option<Timestamp>,
    pub(super) link: LinkType,
    pub(super) original_len: u32,
    pub(super) data: &'a [u8],
    /// Its first comment; empty: none.
    pub(super) comment: &'a [u8],
}

/// What a parsed block was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block<'a> {
    Interface(Interface),
    Packet(PacketBlock<'a>),
}

/// Parses a block of a type that [`BlockKind::Parsed`] was said of; `bytes` is the whole block.
pub(super) fn parse<'a>(
    prefix: BlockPrefix,
    bytes: &'a [u8],
    order: Order,
    interfaces: &[Interface],
) -> Result<Block<'a>, DamageKind> {
    let body = body(prefix, bytes, order)?;
    if prefix.kind == INTERFACE_DESCRIPTION {
        let interface = Interface::parse(body, order).ok_or(prefix.length_damage())?;
        return Ok(Block::Interface(interface));
    }
    let mut fields = Fields::new(body, order);
    let packet = if prefix.kind == SIMPLE_PACKET {
        simple(&mut fields, interfaces)
    } else {
        timed(prefix.kind, &mut fields, interfaces)
    };
    packet.ok_or(prefix.length_damage())?.map(Block::Packet)
}

/// What stands between a block's two lengths, which must agree.
pub(super) fn body(prefix: BlockPrefix, bytes: &[u8], order: Order) -> Result<&[u8], DamageKind> {
    let (rest, trailer) = bytes
        .split_last_chunk::<4>()
        .ok_or(prefix.length_damage())?;
    check_trailer(prefix, order.u32(*trailer))?;
    rest.get(BLOCK_PREFIX_LEN..).ok_or(prefix.length_damage())
}

/// Compares a block's two lengths.
pub(super) const fn check_trailer(prefix: BlockPrefix, trailing: u32) -> Result<(), DamageKind> {
    if trailing == prefix.length {
        Ok(())
    } else {
        Err(DamageKind::BlockTrailer {
            leading: prefix.length,
            trailing,
        })
    }
}

/// An enhanced packet block, or the obsolete packet block; none if the block is too short for
/// its own fields.
fn timed<'a>(
    kind: u32,
    fields: &mut Fields<'a>,
    interfaces: &[Interface],
) -> Option<Result<PacketBlock<'a>, DamageKind>> {
    let number = if kind == OBSOLETE_PACKET {
        let number = u32::from(fields.u16()?);
        let _drops = fields.u16()?;
        number
    } else {
        fields.u32()?
    };
    let (high, low) = (fields.u32()?, fields.u32()?);
    let (captured_len, original_len) = (fields.u32()?, fields.u32()?);
    let Some(interface) = find(interfaces, number) else {
        return Some(Err(DamageKind::Interface(number)));
    };
    let Some(data) = usize::try_from(captured_len)
        .ok()
        .filter(|_| captured_len <= super::CAPTURED_MAX)
        .and_then(|length| fields.bytes(length))
    else {
        return Some(Err(DamageKind::PacketLength(captured_len)));
    };
    Some(Ok(PacketBlock {
        at: Some(interface.time(high, low)),
        link: interface.link,
        original_len: original_len.max(captured_len),
        data,
        comment: comment(fields, data.len()),
    }))
}

/// The first comment among the options behind a packet's data and its padding.
fn comment<'a>(fields: &mut Fields<'a>, data_len: usize) -> &'a [u8] {
    let padding = data_len.next_multiple_of(4) - data_len;
    let _ = fields.bytes(padding);
    while let Some((code, value)) = option(fields) {
        match code {
            OPTION_END => break,
            OPTION_COMMENT => return value,
            _ => {}
        }
    }
    &[]
}

/// A simple packet block: of the first interface, cut at its snap length, padded.
fn simple<'a>(
    fields: &mut Fields<'a>,
    interfaces: &[Interface],
) -> Option<Result<PacketBlock<'a>, DamageKind>> {
    let original_len = fields.u32()?;
    let Some(interface) = interfaces.first() else {
        return Some(Err(DamageKind::Interface(0)));
    };
    let limit = match interface.snap_len {
        0 => original_len,
        snap_len => original_len.min(snap_len),
    };
    let length = usize::try_from(limit).ok()?.min(fields.rest.len());
    if u32::try_from(length).map_or(true, |length| length > super::CAPTURED_MAX) {
        return Some(Err(DamageKind::PacketLength(limit)));
    }
    Some(Ok(PacketBlock {
        at: None,
        link: interface.link,
        original_len,
        data: fields.bytes(length)?,
        comment: &[],
    }))
}

fn find(interfaces: &[Interface], number: u32) -> Option<Interface> {
    interfaces.get(usize::try_from(number).ok()?).copied()
}
