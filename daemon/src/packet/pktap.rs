//! Apple's PKTAP header: interface, process and direction in front of a packet.
//!
//! In: a record of link type 258 (or 149, which macOS wrote before), as `tcpdump -i pktap` and a
//! capture on an iPhone's remote virtual interface (`rvictl`) hold it. Out: [`Pktap`], and where the
//! packet behind it begins. Both layouts are read: the first one, of 108 bytes or more, and the
//! second, whose names stand where its offsets say. Numbers are little-endian, as on every machine
//! that Apple's systems run on today.
//! Source: `bsd/net/pktap.h` of XNU.

use super::{
    Unparsed,
    link::{self, Network, Version},
};
use crate::input::LinkType;

/// Bytes of the first layout before its later additions.
const FIRST_LEN_MIN: usize = 108;
/// Bytes of the second layout without its names.
const SECOND_LEN_MIN: usize = 40;
/// A longer header is none.
const HEADER_LEN_MAX: usize = 1024;
/// `MAXCOMLEN` and its end.
const NAME_LEN_MAX: usize = 17;
/// `pth_type_next`: a packet follows.
const TYPE_PACKET: u32 = 1;
/// `PTH_FLAG_V2_HDR`, at the same place in both layouts.
const FLAG_SECOND: u32 = 0x0008_0000;
/// Where the flags stand in both.
const FLAGS_AT: usize = 36;
/// `AF_INET` and `AF_INET6` of Apple's systems.
const FAMILIES: [(u32, Version); 2] = [(2, Version::V4), (30, Version::V6)];

/// What a PKTAP header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pktap<'a> {
    /// Length of the header: the packet begins behind it.
    pub header_len: usize,
    /// Link type of the packet, as a DLT number.
    pub dlt: u32,
    /// Bytes of the packet before its IP header.
    pub frame_pre_len: usize,
    /// Address family of the packet.
    pub family: u32,
    /// Process that holds the socket; none: not known (0, or −1).
    pub pid: Option<u32>,
    /// Its name, at most 16 bytes; empty: not known.
    pub process: &'a [u8],
    /// Process on whose behalf it acts; none: not known, or itself.
    pub effective_pid: Option<u32>,
    /// Its name; empty: not known, or itself.
    pub effective: &'a [u8],
}

/// Reads a PKTAP header.
pub fn pktap(data: &[u8]) -> Result<Pktap<'_>, Unparsed> {
    if u32_at(data, FLAGS_AT)? & FLAG_SECOND == 0 {
        first(data)
    } else {
        second(data)
    }
}

fn first(data: &[u8]) -> Result<Pktap<'_>, Unparsed> {
    let header_len = length(u32_at(data, 0)?, FIRST_LEN_MIN)?;
    let header = data.get(..header_len).ok_or(Unparsed::LinkTruncated)?;
    if u32_at(header, 4)? != TYPE_PACKET {
        return Err(Unparsed::NotAPacket);
    }
    Ok(Pktap {
        header_len,
        dlt: u32_at(header, 8)?,
        family: u32_at(header, 40)?,
        frame_pre_len: length(u32_at(header, 44)?, 0)?,
        pid: pid(u32_at(header, 52)?),
        process: name_at(header, 56),
        effective_pid: pid(u32_at(header, 84)?),
        effective: name_at(header, 88),
    })
}

fn second(data: &[u8]) -> Result<Pktap<'_>, Unparsed> {
    let [length_of, _, _, _, process_at, effective_at, ..] =
        *data.first_chunk::<8>().ok_or(Unparsed::LinkTruncated)?;
    let header_len = length(u32::from(length_of), SECOND_LEN_MIN)?;
    let header = data.get(..header_len).ok_or(Unparsed::LinkTruncated)?;
    // Offset 0 says that there is no such name.
    let name = |at: u8| match usize::from(at) {
        0..SECOND_LEN_MIN => &[],
        at => name_at(header, at),
    };
    Ok(Pktap {
        header_len,
        dlt: u32::from(u16_at(header, 6)?),
        frame_pre_len: usize::from(u16_at(header, 8)?),
        family: u32_at(header, 16)?,
        pid: pid(u32_at(header, 28)?),
        process: name(process_at),
        effective_pid: pid(u32_at(header, 32)?),
        effective: name(effective_at),
    })
}

/// Whether a record is one of PKTAP: link type 149 is anybody's to use.
pub fn is_pktap(data: &[u8]) -> bool {
    pktap(data).is_ok()
}

/// Finds the outermost IP header of the packet behind the header.
pub(super) fn network(data: &[u8], original_len: u32) -> Result<Network<'_>, Unparsed> {
    let header = pktap(data)?;
    let behind = data
        .get(header.header_len..)
        .ok_or(Unparsed::LinkTruncated)?;
    let taken = u32::try_from(header.header_len).unwrap_or(u32::MAX);
    let wire_len = original_len.saturating_sub(taken);
    let inner = match header.dlt {
        0 => LinkType::Null,
        1 => LinkType::Ethernet,
        12 | 14 | 101 => LinkType::RawIp,
        108 => LinkType::Loop,
        _ => return by_family(&header, behind, wire_len),
    };
    let network = link::network(inner, behind, wire_len)?;
    Ok(Network {
        offset: network.offset + header.header_len,
        ..network
    })
}

/// A link header that we don't know, passed over by its length.
fn by_family<'a>(
    header: &Pktap<'_>,
    behind: &'a [u8],
    wire_len: u32,
) -> Result<Network<'a>, Unparsed> {
    let family = FAMILIES.iter().find(|(family, _)| *family == header.family);
    let (_, version) = family.ok_or(Unparsed::NotIp)?;
    let taken = u32::try_from(header.frame_pre_len).unwrap_or(u32::MAX);
    Ok(Network {
        version: *version,
        bytes: behind
            .get(header.frame_pre_len..)
            .ok_or(Unparsed::LinkTruncated)?,
        offset: header.header_len + header.frame_pre_len,
        wire_len: wire_len.saturating_sub(taken),
    })
}

fn length(stated: u32, min: usize) -> Result<usize, Unparsed> {
    usize::try_from(stated)
        .ok()
        .filter(|length| (min..=HEADER_LEN_MAX).contains(length))
        .ok_or(Unparsed::LinkMalformed)
}

fn pid(number: u32) -> Option<u32> {
    (number != 0 && number <= i32::MAX.cast_unsigned()).then_some(number)
}

fn name_at(header: &[u8], at: usize) -> &[u8] {
    let field = header.get(at..).unwrap_or_default();
    let field = field.get(..NAME_LEN_MAX).unwrap_or(field);
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn u16_at(data: &[u8], at: usize) -> Result<u16, Unparsed> {
    let bytes = data.get(at..).and_then(<[u8]>::first_chunk::<2>);
    bytes
        .map(|bytes| u16::from_le_bytes(*bytes))
        .ok_or(Unparsed::LinkTruncated)
}

fn u32_at(data: &[u8], at: usize) -> Result<u32, Unparsed> {
    let bytes = data.get(at..).and_then(<[u8]>::first_chunk::<4>);
    bytes
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(Unparsed::LinkTruncated)
}
