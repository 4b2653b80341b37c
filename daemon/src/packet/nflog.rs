//! The NFLOG link type (239): netlink attributes around an IP packet.
//!
//! In: a record as `tcpdump -i nflog` writes it. Out: [`NflogAttributes`], among them the UID that
//! the kernel reported and the hook at which the packet was seen.
//! Source: `linux/netfilter/nfnetlink_log.h` and the tcpdump.org description of `LINKTYPE_NFLOG`.

use super::{
    Unparsed,
    link::{Network, Version},
};

/// Family, version, resource id.
const HEADER_LEN: usize = 4;
/// Attributes that are read of one record; the kernel knows fewer than 32 types.
const ATTRIBUTES_MAX: usize = 64;
/// Attribute types above this one are not of this protocol: the other byte order is meant.
const TYPE_MAX: u16 = 0xff;
/// Netfilter families that carry IP: unspecified, inet, IPv4, IPv6.
const FAMILIES: [u8; 4] = [0, 1, 2, 10];

const PACKET_HDR: u16 = 1;
const PAYLOAD: u16 = 9;
const UID: u16 = 11;

/// A netfilter hook (`linux/netfilter.h`, `enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before routing (0).
    Prerouting,
    /// Received for this machine (1).
    Input,
    /// On its way through (2).
    Forward,
    /// Sent by this machine (3).
    Output,
    /// After routing (4).
    Postrouting,
    /// Any other number.
    Other(u8),
}

/// What an NFLOG record says beside its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NflogAttributes<'a> {
    /// Netfilter family: 2 is IPv4, 10 IPv6, 7 a bridge.
    pub family: u8,
    /// `NFULA_UID`: the creator of the socket, where the record has it.
    pub uid: Option<u32>,
    /// The hook of `NFULA_PACKET_HDR`.
    pub hook: Option<Hook>,
    /// Captured bytes of the packet.
    pub payload: &'a [u8],
    /// Offset of `payload` in the record.
    pub payload_offset: usize,
    /// Length of the payload as its attribute states it; more than `payload` if cut off.
    pub payload_len: usize,
}

/// Reads the attributes of one record, in either byte order of its writer.
///
/// A record that ends within an attribute keeps what was read before; without a payload it is
/// [`Unparsed::LinkTruncated`]. An attribute shorter than its own header is
/// [`Unparsed::LinkMalformed`].
pub fn nflog_attributes(data: &[u8]) -> Result<NflogAttributes<'_>, Unparsed> {
    let mut found = NflogAttributes {
        family: *data.first().ok_or(Unparsed::Empty)?,
        uid: None,
        hook: None,
        payload: &[],
        payload_offset: 0,
        payload_len: 0,
    };
    let little = is_little_endian(data)?;
    let mut at = HEADER_LEN;
    for _ in 0..ATTRIBUTES_MAX {
        let Some([l0, l1, t0, t1]) = data.get(at..).and_then(<[u8]>::first_chunk::<4>) else {
            break;
        };
        let (stated, kind) = if little {
            (
                u16::from_le_bytes([*l0, *l1]),
                u16::from_le_bytes([*t0, *t1]),
            )
        } else {
            (
                u16::from_be_bytes([*l0, *l1]),
                u16::from_be_bytes([*t0, *t1]),
            )
        };
        let stated = usize::from(stated);
        let value_len = stated.checked_sub(4).ok_or(Unparsed::LinkMalformed)?;
        let start = at + 4;
        let end = (start + value_len).min(data.len());
        read_attribute(&mut found, kind, value_len, data, start..end);
        at += stated.next_multiple_of(4);
    }
    if found.payload_offset == 0 {
        return Err(Unparsed::LinkTruncated);
    }
    Ok(found)
}

/// Numbers within attributes are in network byte order whatever the writer's.
fn read_attribute<'a>(
    found: &mut NflogAttributes<'a>,
    kind: u16,
    value_len: usize,
    data: &'a [u8],
    range: std::ops::Range<usize>,
) {
    let offset = range.start;
    let value = data.get(range).unwrap_or_default();
    match kind {
        PACKET_HDR => found.hook = value.get(2).copied().map(hook),
        UID => found.uid = value.first_chunk().copied().map(u32::from_be_bytes),
        PAYLOAD => {
            found.payload = value;
            found.payload_offset = offset;
            found.payload_len = value_len;
        }
        _ => {}
    }
}

const fn hook(number: u8) -> Hook {
    match number {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        other => Hook::Other(other),
    }
}

/// The first attribute's type is a small number in one byte order only.
fn is_little_endian(data: &[u8]) -> Result<bool, Unparsed> {
    let attribute = data.get(HEADER_LEN..).and_then(<[u8]>::first_chunk::<4>);
    let [_, _, t0, t1] = attribute.ok_or(Unparsed::LinkTruncated)?;
    Ok(u16::from_le_bytes([*t0, *t1]) <= TYPE_MAX)
}

/// The IP packet within a record.
pub(super) fn network(data: &[u8]) -> Result<Network<'_>, Unparsed> {
    let attributes = nflog_attributes(data)?;
    if !FAMILIES.contains(&attributes.family) {
        return Err(Unparsed::NotIp);
    }
    Ok(Network {
        version: Version::Nibble,
        bytes: attributes.payload,
        offset: attributes.payload_offset,
        wire_len: u32::try_from(attributes.payload_len).unwrap_or(u32::MAX),
    })
}
