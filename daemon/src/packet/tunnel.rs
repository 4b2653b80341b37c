//! Packets inside packets: IPv4 and IPv6 in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, RFC
//! 2890; RFC 2637 for PPTP), and what carries packets in datagrams ([`datagram`]).
//!
//! In: a view and the bytes it was made of. Out: the view of the packet that its payload is, if it is
//! one. Flows are those of the outermost addresses; what is inside is looked at besides.

mod datagram;

use super::{
    Transport, View, ip,
    link::{self, Network, Version},
};

/// Tunnels in tunnels that are followed.
pub const TUNNELS_MAX: usize = 4;

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
/// `EtherType`s that GRE carries.
const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_BRIDGING: u16 = 0x6558;
/// The protocol of GRE that PPTP has.
const PPP: u16 = 0x880b;

/// The packet inside of one, whose view's offsets count in `data` too; none where there is none, or
/// it cannot be dissected.
#[inline]
pub fn inner<'a>(view: &View<'a>, data: &'a [u8]) -> Option<View<'a>> {
    let may_carry = match view.transport {
        Transport::Other => true,
        Transport::Udp(udp) => {
            datagram::is_tunnel_port(udp.dport) || datagram::is_tunnel_port(udp.sport)
        }
        _ => false,
    };
    if may_carry && view.fragment_id.is_none() {
        carried(view, data)
    } else {
        None
    }
}

#[inline(never)]
fn carried<'a>(view: &View<'a>, data: &'a [u8]) -> Option<View<'a>> {
    let behind = data.get(view.headers_len..)?;
    let (version, skipped) = match (view.transport, view.protocol) {
        (Transport::Other, IPV4_IN_IP) => (Version::V4, 0),
        (Transport::Other, IPV6_IN_IP) => (Version::V6, 0),
        (Transport::Other, GRE) => gre(behind)?,
        (Transport::Udp(udp), _) => datagram::carried(&udp, behind)?,
        _ => return None,
    };
    let bytes = behind.get(skipped..)?;
    ip::dissect(Network {
        version,
        bytes,
        offset: view.headers_len + skipped,
        wire_len: u32::try_from(bytes.len()).ok()?,
    })
    .ok()
}

/// What GRE carries, and the bytes before it.
fn gre(bytes: &[u8]) -> Option<(Version, usize)> {
    let &[flags, more, high, low] = bytes.first_chunk()?;
    let kind = u16::from_be_bytes([high, low]);
    // Not with the routing of RFC 1701.
    if flags & 0x40 != 0 {
        return None;
    }
    match (more & 7, kind) {
        (0, _) => payload(kind, bytes, 4 + fields(flags, &[0x80, 0x20, 0x10])),
        // Version 1: the key is the length of the payload and a call, and there may be an
        // acknowledgment.
        (1, PPP) => {
            let len = 4 + fields(flags, &[0x20, 0x10]) + fields(more, &[0x80]);
            link::ppp(bytes, len, link::NESTED_MAX).ok()
        }
        _ => None,
    }
}

/// Bytes of the fields that flags say are there, of four bytes each.
fn fields(flags: u8, known: &[u8]) -> usize {
    4 * known.iter().filter(|flag| flags & **flag != 0).count()
}

/// What is at an offset, by its `EtherType`: a packet, or a packet in an Ethernet frame.
fn payload(kind: u16, bytes: &[u8], at: usize) -> Option<(Version, usize)> {
    match kind {
        ETHER_IPV4 => Some((Version::V4, at)),
        ETHER_IPV6 => Some((Version::V6, at)),
        ETHER_BRIDGING => ethernet(bytes, at),
        _ => None,
    }
}

/// The packet in an Ethernet frame at an offset.
fn ethernet(bytes: &[u8], at: usize) -> Option<(Version, usize)> {
    link::ethertype(bytes, at + link::ETHERTYPE_AT, link::NESTED_MAX).ok()
}
