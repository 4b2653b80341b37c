//! The blocks of a segment: pcapng, one little-endian section, times in nanoseconds.
//!
//! In: packets as they were captured. Out: bytes, and from bytes the blocks again as far as they
//! are whole. Sources: draft-ietf-opsawg-pcapng; `linux/netfilter/nfnetlink_log.h` and the
//! tcpdump.org description of `LINKTYPE_NFLOG`.

use crate::{
    input::{LinkType, Packet, TimeBasis, Vantage},
    time::Timestamp,
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// Type, length, length again.
const FRAME_LEN: usize = 12;
/// Interface, time (two words), captured and original length.
const PACKET_FIELDS_LEN: usize = 20;
/// Bytes of a section header and one interface description: what a segment begins with.
pub const BEGINNING_LEN: usize = 28 + 32;
/// Most bytes that a packet's block has beside the packet itself: its own fields and padding, and
/// NFLOG's attributes.
pub const PACKET_OVERHEAD_MAX: usize = FRAME_LEN + PACKET_FIELDS_LEN + 4 + NFLOG_OVERHEAD_MAX;
/// Family, version, group; header of the packet (8), interface (8), UID (8), time (20), payload (4).
const NFLOG_OVERHEAD_MAX: usize = 4 + 8 + 8 + 8 + 20 + 4 + 4;
/// Longest value of a netlink attribute.
const ATTRIBUTE_VALUE_MAX: usize = 0xffff - 4;

/// Number of NFLOG in the tcpdump.org registry.
pub const LINK_NFLOG: u16 = 239;

const NFULA_PACKET_HDR: u16 = 1;
const NFULA_TIMESTAMP: u16 = 3;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_UID: u16 = 11;
/// Netfilter hooks (`enum nf_inet_hooks`).
const LOCAL_IN: u8 = 1;
const LOCAL_OUT: u8 = 3;

/// The number of a link type in the tcpdump.org registry.
pub const fn link_number(link: LinkType) -> u16 {
    match link {
        LinkType::Ethernet => 1,
        // The UID that PCAPdroid wrote beside a packet is no part of its bytes.
        LinkType::RawIp | LinkType::Pcapdroid => 101,
        LinkType::Null => 0,
        LinkType::Loop => 108,
        LinkType::Sll => 113,
        LinkType::Sll2 => 276,
        LinkType::Ppp => 9,
        LinkType::Nflog => LINK_NFLOG,
        LinkType::Pktap => 258,
        LinkType::Other(number) => number,
    }
}

/// Begins a file.
pub fn section(out: &mut Vec<u8>) {
    block(out, SECTION_HEADER, |out| {
        out.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0; the section's length is not told.
        out.extend_from_slice(&[1, 0, 0, 0]);
        out.extend_from_slice(&[0xff; 8]);
    });
}

/// Describes the interface with the next number.
pub fn interface(out: &mut Vec<u8>, link: u16) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend_from_slice(&link.to_le_bytes());
        // Reserved; no limit of captured bytes; if_tsresol 10⁻⁹; end of options.
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    });
}

/// A packet on the interface `number`: as it was captured, or as an NFLOG record.
pub fn packet(out: &mut Vec<u8>, number: u32, packet: &Packet<'_>, as_nflog: bool) {
    block(out, ENHANCED_PACKET, |out| {
        let nanos = u64::try_from(packet.at.as_nanos()).unwrap_or(0);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&word(nanos >> 32).to_le_bytes());
        out.extend_from_slice(&word(nanos & 0xffff_ffff).to_le_bytes());
        let lengths = out.len();
        out.extend_from_slice(&[0; 8]);
        let start = out.len();
        if as_nflog {
            nflog(out, packet);
        } else {
            out.extend_from_slice(packet.data);
        }
        let captured = word(out.len() - start);
        let cut = packet.original_len.saturating_sub(word(packet.data.len()));
        patch(out, lengths, captured);
        patch(out, lengths + 4, captured.saturating_add(cut));
        pad(out);
    });
}

/// What the kernel told of a packet, as netlink attributes around it.
pub fn nflog(out: &mut Vec<u8>, packet: &Packet<'_>) {
    let is_v6 = packet.data.first().is_some_and(|first| first >> 4 == 6);
    let (family, [p0, p1]) = if is_v6 {
        (10, [0x86, 0xdd])
    } else {
        (2, [0x08, 0x00])
    };
    let (hook, interface) = match packet.vantage {
        Vantage::Input => (LOCAL_IN, NFULA_IFINDEX_INDEV),
        Vantage::Output | Vantage::Both => (LOCAL_OUT, NFULA_IFINDEX_OUTDEV),
    };
    out.extend_from_slice(&[family, 0, 0, 0]);
    attribute(out, NFULA_PACKET_HDR, &[p0, p1, hook, 0]);
    if let Some(index) = packet.interface {
        attribute(out, interface, &index.to_be_bytes());
    }
    if let Some(uid) = packet.uid {
        attribute(out, NFULA_UID, &uid.to_be_bytes());
    }
    if packet.time_basis == TimeBasis::Kernel {
        let micros = packet.at.as_micros();
        let mut value = [0; 16];
        let (seconds, rest) = value.split_at_mut(8);
        seconds.copy_from_slice(&micros.div_euclid(1_000_000).to_be_bytes());
        rest.copy_from_slice(&micros.rem_euclid(1_000_000).to_be_bytes());
        attribute(out, NFULA_TIMESTAMP, &value);
    }
    let payload = packet.data.get(..ATTRIBUTE_VALUE_MAX);
    attribute(out, NFULA_PAYLOAD, payload.unwrap_or(packet.data));
}

/// Its header is in the order of this file, numbers in its value in network byte order.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(value);
    pad(out);
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = word(out.len() - start + 4);
    out.extend_from_slice(&length.to_le_bytes());
    patch(out, start + 4, length);
}

/// Every block begins at a multiple of four bytes in `out`.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn patch(out: &mut [u8], at: usize, value: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn word<T: TryInto<u32>>(value: T) -> u32 {
    value.try_into().unwrap_or(u32::MAX)
}

/// What a whole block of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block<'a> {
    /// The file's beginning.
    Section,
    /// The next interface, with its link type's number.
    Interface(u16),
    /// A packet.
    Packet(PacketBlock<'a>),
}

/// A packet of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketBlock<'a> {
    /// Link type of its interface.
    pub link: u16,
    /// When it passed.
    pub at: Timestamp,
    /// Its length before it was cut off, in bytes, counted like `data`.
    pub original_len: u32,
    /// Its bytes, from the link type's first on.
    pub data: &'a [u8],
}

/// Reads the blocks of a segment as [`section`], [`interface`] and [`packet`] write them; ends at
/// the first that is not whole, or is none of these.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
    begun: bool,
    links: Vec<u16>,
}

impl<'a> Blocks<'a> {
    /// The blocks of a file.
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            begun: false,
            links: Vec::new(),
        }
    }

    /// How many bytes the blocks read so far have: after the last, where the whole ones end.
    pub const fn whole(&self) -> usize {
        self.at
    }

    fn read(&mut self) -> Option<Block<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let length = usize::try_from(u32_at(rest, 4)?).ok()?;
        let whole = rest.get(..length).filter(|_| length >= FRAME_LEN)?;
        if length % 4 != 0 || u32_at(whole, length - 4)? != u32_at(rest, 4)? {
            return None;
        }
        let body = whole.get(8..length - 4)?;
        let block = match (u32_at(rest, 0)?, self.begun) {
            (SECTION_HEADER, false) => (u32_at(body, 0)? == BYTE_ORDER_MAGIC
                && body.get(4..6) == Some(&[1, 0]))
            .then_some(Block::Section)?,
            (INTERFACE_DESCRIPTION, true) => {
                let link = u16::from_le_bytes([*body.first()?, *body.get(1)?]);
                Block::Interface(link)
            }
            (ENHANCED_PACKET, true) => Block::Packet(self.packet(body)?),
            _ => return None,
        };
        self.begun = true;
        if let Block::Interface(link) = block {
            self.links.push(link);
        }
        self.at += length;
        Some(block)
    }

    fn packet(&self, body: &'a [u8]) -> Option<PacketBlock<'a>> {
        let number = usize::try_from(u32_at(body, 0)?).ok()?;
        let nanos = u64::from(u32_at(body, 4)?) << 32 | u64::from(u32_at(body, 8)?);
        let captured = usize::try_from(u32_at(body, 12)?).ok()?;
        let end = PACKET_FIELDS_LEN.checked_add(captured)?;
        Some(PacketBlock {
            link: self.links.get(number).copied()?,
            at: Timestamp::from_nanos(i64::try_from(nanos).ok()?),
            original_len: u32_at(body, 16)?,
            data: body.get(PACKET_FIELDS_LEN..end)?,
        })
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read()
    }
}

/// Writes a packet that was read on another interface's number.
pub fn copy(out: &mut Vec<u8>, number: u32, packet: &PacketBlock<'_>) {
    block(out, ENHANCED_PACKET, |out| {
        let nanos = u64::try_from(packet.at.as_nanos()).unwrap_or(0);
        for value in [
            number,
            word(nanos >> 32),
            word(nanos & 0xffff_ffff),
            word(packet.data.len()),
            packet.original_len,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(packet.data);
        pad(out);
    });
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::nflog_attributes;

    fn sent(data: &[u8]) -> Packet<'_> {
        Packet {
            at: Timestamp::from_nanos(1_795_000_000_123_456_789),
            time_basis: TimeBasis::Kernel,
            link: LinkType::RawIp,
            vantage: Vantage::Output,
            uid: Some(10_050),
            interface: Some(7),
            original_len: 1500,
            source: 0,
            frame: 9,
            data,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let data = [0x45, 1, 2, 3, 4];
        let mut file = Vec::new();
        section(&mut file);
        interface(&mut file, LINK_NFLOG);
        assert_eq!(file.len(), BEGINNING_LEN);
        let before = file.len();
        packet(&mut file, 0, &sent(&data), true);
        assert!(file.len() - before <= data.len() + PACKET_OVERHEAD_MAX);
        interface(&mut file, 101);
        packet(&mut file, 1, &sent(&data), false);
        let mut blocks = Blocks::of(&file);
        assert_eq!(blocks.next(), Some(Block::Section));
        assert_eq!(blocks.next(), Some(Block::Interface(LINK_NFLOG)));
        let Some(Block::Packet(first)) = blocks.next() else {
            panic!("no packet");
        };
        assert_eq!(first.at.as_nanos(), 1_795_000_000_123_456_789);
        let told = nflog_attributes(first.data).unwrap();
        assert_eq!((told.uid, told.payload), (Some(10_050), &data[..]));
        let overhead = u32::try_from(first.data.len() - data.len()).unwrap();
        assert_eq!(first.original_len, 1500 + overhead);
        assert_eq!(blocks.next(), Some(Block::Interface(101)));
        let Some(Block::Packet(second)) = blocks.next() else {
            panic!("no packet");
        };
        assert_eq!((second.data, second.original_len), (&data[..], 1500));
        assert_eq!(blocks.next(), None);
        assert_eq!(blocks.whole(), file.len());
        let mut copied = Vec::new();
        copy(&mut copied, 1, &second);
        assert_eq!(copied, file[file.len() - copied.len()..]);
    }

    #[test]
    fn a_torn_tail_is_not_read() {
        let mut file = Vec::new();
        section(&mut file);
        interface(&mut file, 101);
        packet(&mut file, 0, &sent(&[0x45; 21]), false);
        let whole = file.len();
        packet(&mut file, 0, &sent(&[0x45; 33]), false);
        for end in whole..file.len() {
            let mut blocks = Blocks::of(&file[..end]);
            assert_eq!(blocks.by_ref().count(), 3, "{end}");
            assert_eq!(blocks.whole(), whole, "{end}");
        }
    }
}
