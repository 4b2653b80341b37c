//! Link headers: from the first byte of a packet to its outermost IP header.
//!
//! In: bytes and their [`LinkType`]. Out: where the IP header begins ([`Network`]), or the reason
//! why there is none. Every function is bounded by [`NESTED_MAX`] steps.

use etherparse::ether_type;

use super::{NOT_A_PACKET, Unparsed, nflog, pktap};
use crate::input::LinkType;

/// Tags, labels and encapsulations that are followed below one link header; more is
/// [`Unparsed::LinkMalformed`] (the deepest stacks in use have three or four).
pub(super) const NESTED_MAX: usize = 16;

/// Largest value of the length field of 802.3; from 0x600 on it is an `EtherType`.
const LENGTH_802_3_MAX: u16 = 0x5ff;
/// Cisco metadata (security group tags): version, length in words, options, then an `EtherType`.
const CISCO_METADATA: u16 = 0x8909;
/// Bytes of an Ethernet header.
const ETHERNET_LEN: usize = 14;
/// Offset in it of the `EtherType`.
pub(super) const ETHERTYPE_AT: usize = 12;
/// Link type of FDDI: frame control, two addresses, then LLC.
const FDDI: u16 = 10;
/// Link type of Cisco HDLC: address, control, then an `EtherType`.
const CISCO_HDLC: u16 = 104;
/// `EtherType` of the older double tags (0x9200 is a further one seen in the field).
const VLAN_9200: u16 = 0x9200;
/// MPLS, unicast and multicast (RFC 5332).
const MPLS: [u16; 2] = [0x8847, 0x8848];
/// `PPPoE` session stage (RFC 2516).
const PPPOE_SESSION: u16 = 0x8864;
/// The protocol number that Linux cooked captures give to an 802.2 LLC header.
const SLL_LLC: u16 = 0x0004;
/// ARPHRD of a netlink monitor in a Linux cooked capture: the protocol is no `EtherType` there.
const ARPHRD_NETLINK: u16 = 824;

/// What the link header said of the bytes that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// The version nibble tells.
    Nibble,
}

/// Where the outermost IP header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network<'a> {
    /// The version announced.
    pub version: Version,
    /// Captured bytes from the IP header on.
    pub bytes: &'a [u8],
    /// Offset of `bytes` in the packet's data.
    pub offset: usize,
    /// Bytes from the IP header on before truncation.
    pub wire_len: u32,
}

/// Finds the outermost IP header.
#[inline]
pub(super) fn network(
    link: LinkType,
    data: &[u8],
    original_len: u32,
) -> Result<Network<'_>, Unparsed> {
    let (version, offset) = match (link, data.get(12..14)) {
        (LinkType::RawIp, _) => (Version::Nibble, 0),
        (LinkType::Ethernet, Some([0x08, 0x00])) => (Version::V4, ETHERNET_LEN),
        (LinkType::Ethernet, Some([0x86, 0xdd])) => (Version::V6, ETHERNET_LEN),
        _ => return less_common(link, data, original_len),
    };
    at(version, offset, data, original_len)
}

/// The same of the link headers that few packets have.
#[inline(never)]
fn less_common(link: LinkType, data: &[u8], original_len: u32) -> Result<Network<'_>, Unparsed> {
    let (version, offset) = match link {
        LinkType::RawIp | LinkType::Pcapdroid => (Version::Nibble, 0),
        LinkType::Ethernet => ethertype(data, ETHERTYPE_AT, NESTED_MAX)?,
        LinkType::Sll => sll(data)?,
        LinkType::Sll2 => sll2(data)?,
        LinkType::Null | LinkType::Loop => (loopback(data)?, 4),
        LinkType::Ppp => ppp(data, 0, NESTED_MAX)?,
        LinkType::Nflog => return nflog::network(data),
        LinkType::Pktap => return pktap::network(data, original_len),
        LinkType::Other(FDDI) => ethertype(data, snap(data, 13)?, NESTED_MAX)?,
        LinkType::Other(CISCO_HDLC) => ethertype(data, 2, NESTED_MAX)?,
        NOT_A_PACKET => return Err(Unparsed::NotAPacket),
        LinkType::Other(_) => return Err(Unparsed::LinkType),
    };
    at(version, offset, data, original_len)
}

#[inline]
fn at(
    version: Version,
    offset: usize,
    data: &[u8],
    original_len: u32,
) -> Result<Network<'_>, Unparsed> {
    let bytes = data.get(offset..).ok_or(Unparsed::LinkTruncated)?;
    let offset_u32 = u32::try_from(offset).unwrap_or(u32::MAX);
    Ok(Network {
        version,
        bytes,
        offset,
        wire_len: original_len.saturating_sub(offset_u32),
    })
}

fn be16(data: &[u8], at: usize) -> Result<u16, Unparsed> {
    match data.get(at..).and_then(<[u8]>::first_chunk::<2>) {
        Some(bytes) => Ok(u16::from_be_bytes(*bytes)),
        None => Err(Unparsed::LinkTruncated),
    }
}

/// An `EtherType` (or 802.3 length) at `at`, VLAN tags, labels and sessions behind it.
pub(super) fn ethertype(
    data: &[u8],
    at: usize,
    steps: usize,
) -> Result<(Version, usize), Unparsed> {
    let mut at = at;
    for left in (0..steps).rev() {
        let kind = be16(data, at)?;
        match kind {
            _ if kind == ether_type::IPV4.0 => return Ok((Version::V4, at + 2)),
            _ if kind == ether_type::IPV6.0 => return Ok((Version::V6, at + 2)),
            _ if kind == ether_type::VLAN_TAGGED_FRAME.0
                || kind == ether_type::PROVIDER_BRIDGING.0
                || kind == ether_type::VLAN_DOUBLE_TAGGED_FRAME.0
                || kind == VLAN_9200 =>
            {
                at += 4;
            }
            CISCO_METADATA => {
                let words = *data.get(at + 3).ok_or(Unparsed::LinkTruncated)?;
                at += 4 + usize::from(words) * 4;
            }
            _ if MPLS.contains(&kind) => return mpls(data, at + 2, left),
            PPPOE_SESSION => return ppp(data, at + 8, left),
            0..=LENGTH_802_3_MAX => at = snap(data, at + 2)?,
            _ => return Err(Unparsed::NotIp),
        }
    }
    Err(Unparsed::LinkMalformed)
}

/// An LLC header at `at`: the offset of the `EtherType` if it is SNAP with OUI 0 (RFC 1042).
fn snap(data: &[u8], at: usize) -> Result<usize, Unparsed> {
    match data.get(at..at + 6) {
        Some([0xaa, 0xaa, 0x03, 0, 0, 0]) => Ok(at + 6),
        Some(_) => Err(Unparsed::NotIp),
        None => match data.get(at..) {
            Some([0xaa, ..]) | None => Err(Unparsed::LinkTruncated),
            Some(_) => Err(Unparsed::NotIp),
        },
    }
}

/// Labels from `at` to the bottom of the stack (RFC 3032). Below it, IP is told by its nibble, and
/// nibble 0 is the control word of an Ethernet pseudowire (RFC 4448).
fn mpls(data: &[u8], at: usize, steps: usize) -> Result<(Version, usize), Unparsed> {
    for step in 0..NESTED_MAX {
        let label = at + step * 4;
        let low = be16(data, label + 2)?;
        if low & 0x0100 != 0 {
            let payload = label + 4;
            return match data.get(payload).map(|byte| byte >> 4) {
                Some(4) => Ok((Version::V4, payload)),
                Some(6) => Ok((Version::V6, payload)),
                Some(0) => ethertype(data, payload + 16, steps),
                Some(_) => Err(Unparsed::NotIp),
                None => Err(Unparsed::LinkTruncated),
            };
        }
    }
    Err(Unparsed::LinkMalformed)
}

/// PPP at `at`, with or without HDLC framing and protocol field compression (RFC 1661, RFC 1662),
/// or Cisco HDLC, which captures of serial lines mix in.
pub(super) fn ppp(data: &[u8], at: usize, steps: usize) -> Result<(Version, usize), Unparsed> {
    let at = match data.get(at..at + 2) {
        Some([0xff, 0x03]) => at + 2,
        Some([0x0f | 0x8f, 0x00]) => return ethertype(data, at + 2, steps),
        _ => at,
    };
    let first = *data.get(at).ok_or(Unparsed::LinkTruncated)?;
    let (protocol, payload) = if first & 1 == 1 {
        (u16::from(first), at + 1)
    } else {
        (be16(data, at)?, at + 2)
    };
    match protocol {
        0x0021 => Ok((Version::V4, payload)),
        0x0057 => Ok((Version::V6, payload)),
        0x0281 | 0x0283 => mpls(data, payload, steps),
        _ => Err(Unparsed::NotIp),
    }
}

/// The address family of BSD loopback captures; each system has its own number for IPv6, and the
/// byte order is the writer's. Some writers put an `EtherType` into the last two bytes.
fn loopback(data: &[u8]) -> Result<Version, Unparsed> {
    let family = data.first_chunk::<4>().ok_or(Unparsed::LinkTruncated)?;
    let big = u32::from_be_bytes(*family);
    match big.min(big.swap_bytes()) {
        2 => Ok(Version::V4),
        10 | 23 | 24 | 26 | 28 | 30 => Ok(Version::V6),
        _ => match u16::from_be_bytes([family[2], family[3]]) {
            number if number == ether_type::IPV4.0 => Ok(Version::V4),
            number if number == ether_type::IPV6.0 => Ok(Version::V6),
            _ => Err(Unparsed::NotIp),
        },
    }
}

/// Linux cooked capture v1: 16 bytes, the protocol in the last two.
fn sll(data: &[u8]) -> Result<(Version, usize), Unparsed> {
    if be16(data, 2)? == ARPHRD_NETLINK {
        return Err(Unparsed::NotIp);
    }
    cooked(data, be16(data, 14)?, 14, 16)
}

/// Linux cooked capture v2: 20 bytes, the protocol in the first two.
fn sll2(data: &[u8]) -> Result<(Version, usize), Unparsed> {
    if be16(data, 8)? == ARPHRD_NETLINK {
        return Err(Unparsed::NotIp);
    }
    let protocol = be16(data, 0)?;
    // The protocol does not stand next to its payload here, so what needs a walk starts over.
    match protocol {
        _ if protocol == ether_type::IPV4.0 => Ok((Version::V4, 20)),
        _ if protocol == ether_type::IPV6.0 => Ok((Version::V6, 20)),
        _ if protocol == ether_type::VLAN_TAGGED_FRAME.0
            || protocol == ether_type::PROVIDER_BRIDGING.0 =>
        {
            ethertype(data, 22, NESTED_MAX)
        }
        _ if MPLS.contains(&protocol) => mpls(data, 20, NESTED_MAX),
        PPPOE_SESSION => ppp(data, 26, NESTED_MAX),
        SLL_LLC => ethertype(data, snap(data, 20)?, NESTED_MAX),
        _ => Err(Unparsed::NotIp),
    }
}

fn cooked(
    data: &[u8],
    protocol: u16,
    at: usize,
    payload: usize,
) -> Result<(Version, usize), Unparsed> {
    match protocol {
        SLL_LLC => ethertype(data, snap(data, payload)?, NESTED_MAX),
        0..=LENGTH_802_3_MAX => Err(Unparsed::NotIp),
        _ => ethertype(data, at, NESTED_MAX),
    }
}
