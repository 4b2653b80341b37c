//! Packets inside datagrams: Teredo (RFC 4380), GTP-U (3GPP TS 29.281), VXLAN (RFC 7348), Geneve (RFC
//! 8926) and GRE in UDP (RFC 8086).
//!
//! In: a datagram's ports and payload. Out: where the packet in it begins. A socket may be given any
//! port by chance, so that the port decides nothing alone: what has to be zero is zero, and the packet
//! inside is as long as what is left of the datagram.

use etherparse::{Ipv6Header, Ipv6HeaderSlice};

use super::{ethernet, gre, payload};
use crate::packet::{Udp, link::Version};

const GTP_PORT: u16 = 2152;
const TEREDO_PORT: u16 = 3544;
const GRE_PORT: u16 = 4754;
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;
/// Bytes of the headers that VXLAN, Geneve and GTP-U have at least.
const HEADER_LEN: usize = 8;
/// Extension headers of GTP-U that are passed over; senders have one or two.
const GTP_EXTENSIONS_MAX: usize = 8;
/// Bytes to which an Ethernet frame's payload is filled up.
const ETHERNET_PAYLOAD_MIN: usize = 46;

#[inline]
pub(super) const fn is_tunnel_port(port: u16) -> bool {
    matches!(
        port,
        GTP_PORT | TEREDO_PORT | GRE_PORT | VXLAN_PORT | GENEVE_PORT
    )
}

/// The packet in a datagram, and the bytes before it.
pub(super) fn carried(udp: &Udp<'_>, bytes: &[u8]) -> Option<(Version, usize)> {
    let len = usize::try_from(udp.payload_len).ok()?;
    if (udp.sport == TEREDO_PORT || udp.dport == TEREDO_PORT)
        && let Some(at) = teredo(bytes, len)
    {
        return Some((Version::V6, at));
    }
    let (version, at) = match (udp.sport, udp.dport) {
        (_, GTP_PORT) | (GTP_PORT, _) => gtp(bytes, len)?,
        (_, GRE_PORT) => gre_in_udp(bytes)?,
        (_, VXLAN_PORT) => vxlan(bytes)?,
        (_, GENEVE_PORT) => geneve(bytes)?,
        _ => return None,
    };
    fills(bytes.get(at..)?, len.checked_sub(at)?).then_some((version, at))
}

/// Whether the packet that begins here is as long as what there is, or shorter and filled up.
fn fills(packet: &[u8], len: usize) -> bool {
    let stated = match packet {
        [first, _, high, low, ..] if first >> 4 == 4 => {
            usize::from(u16::from_be_bytes([*high, *low]))
        }
        [first, _, _, _, high, low, ..] if first >> 4 == 6 => {
            Ipv6Header::LEN + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => return false,
    };
    stated == len || (stated < len && len <= ETHERNET_PAYLOAD_MIN)
}

/// A user's packet (G-PDU) of version 1, behind optional fields and extension headers.
fn gtp(bytes: &[u8], len: usize) -> Option<(Version, usize)> {
    let &[flags, 255, high, low] = bytes.first_chunk()? else {
        return None;
    };
    let stated = usize::from(u16::from_be_bytes([high, low]));
    if flags & 0xf8 != 0x30 || HEADER_LEN + stated != len {
        return None;
    }
    if flags == 0x30 {
        return Some((Version::Nibble, HEADER_LEN));
    }
    let mut at = HEADER_LEN + 4;
    if flags & 4 != 0 {
        let mut next = *bytes.get(at - 1)?;
        for _ in 0..GTP_EXTENSIONS_MAX {
            if next == 0 {
                break;
            }
            // An extension says its length in words, which is never 0, and ends with what follows.
            let words = usize::from(*bytes.get(at)?);
            at += 4 * words;
            next = *bytes.get(at - 1).filter(|_| words > 0)?;
        }
        if next != 0 {
            return None;
        }
    }
    Some((Version::Nibble, at))
}

fn gre_in_udp(bytes: &[u8]) -> Option<(Version, usize)> {
    match bytes {
        [flags, 0, ..] if flags & 0x4f == 0 => gre(bytes),
        _ => None,
    }
}

/// An Ethernet frame in a network that has a number. Other bits are ignored, as the RFC has it.
fn vxlan(bytes: &[u8]) -> Option<(Version, usize)> {
    match *bytes.first_chunk()? {
        [flags, _, _, _, _, _, _, 0] if flags & 0x08 != 0 => ethernet(bytes, HEADER_LEN),
        _ => None,
    }
}

/// A packet or an Ethernet frame behind options; not what is for the tunnel's own ends.
fn geneve(bytes: &[u8]) -> Option<(Version, usize)> {
    match *bytes.first_chunk()? {
        [words, flags, high, low, _, _, _, 0] if words & 0xc0 == 0 && flags & 0xbf == 0 => {
            let at = HEADER_LEN + 4 * usize::from(words);
            payload(u16::from_be_bytes([high, low]), bytes, at)
        }
        _ => None,
    }
}

/// The bytes before the IPv6 packet of a Teredo datagram: indications of authentication and of origin
/// (section 5.1.1). An end of the packet has an address that Teredo has (section 5.2.3).
fn teredo(bytes: &[u8], len: usize) -> Option<usize> {
    let mut at = 0;
    if let [0, 1, id_len, value_len, ..] = bytes {
        at = 4 + usize::from(*id_len) + usize::from(*value_len) + 9;
    }
    if bytes.get(at..at + 2) == Some(&[0, 0]) {
        at += 8;
    }
    let header = Ipv6HeaderSlice::from_slice(bytes.get(at..)?).ok()?;
    let fits = at + Ipv6Header::LEN + usize::from(header.payload_length()) == len;
    (fits && has_teredo_address(&header)).then_some(at)
}

/// Whether an end has the prefix of Teredo (`2001::/32`), or asks a server for one from its own link.
fn has_teredo_address(header: &Ipv6HeaderSlice<'_>) -> bool {
    let is_teredo = |addr: [u8; 16]| addr.starts_with(&[0x20, 0x01, 0, 0]);
    is_teredo(header.source())
        || is_teredo(header.destination())
        || header.source_addr().is_unicast_link_local()
}
