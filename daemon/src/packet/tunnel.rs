//! Packets inside packets: IPv4 and IPv6 in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, RFC
//! 2890) and Teredo (RFC 4380).
//!
//! In: a view and the bytes it was made of. Out: the view of the packet that its payload is, if it is
//! one. Flows are those of the outermost addresses; what is inside is looked at besides.

use etherparse::{Ipv6Header, Ipv6HeaderSlice};

use super::{
    Transport, View, ip,
    link::{Network, Version},
};

/// Tunnels in tunnels that are followed.
pub const TUNNELS_MAX: usize = 4;

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const TEREDO_PORT: u16 = 3544;
/// `EtherType`s that GRE carries.
const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_BRIDGING: u16 = 0x6558;
/// Bytes of an Ethernet header without tags.
const ETHERNET_LEN: usize = 14;

/// The packet inside of one, whose view's offsets count in `data` too; none where there is none, or
/// it cannot be dissected.
#[inline]
pub fn inner<'a>(view: &View<'a>, data: &'a [u8]) -> Option<View<'a>> {
    let may_carry = match view.transport {
        Transport::Other => true,
        Transport::Udp(udp) => udp.sport == TEREDO_PORT || udp.dport == TEREDO_PORT,
        _ => false,
    };
    if may_carry && view.fragment_id.is_none() {
        carried(view, data)
    } else {
        None
    }
}

fn carried<'a>(view: &View<'a>, data: &'a [u8]) -> Option<View<'a>> {
    let behind = data.get(view.headers_len..)?;
    let (version, skipped) = match (view.transport, view.protocol) {
        (Transport::Other, IPV4_IN_IP) => (Version::V4, 0),
        (Transport::Other, IPV6_IN_IP) => (Version::V6, 0),
        (Transport::Other, GRE) => gre(behind)?,
        (Transport::Udp(udp), _) => (Version::V6, teredo(behind, udp.payload_len)?),
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
    let &[flags, version, high, low] = bytes.first_chunk()?;
    // Version 0 only, without the routing of RFC 1701: the one with PPP inside is another protocol.
    if version & 7 != 0 || flags & 0x40 != 0 {
        return None;
    }
    let fields = [0x80_u8, 0x20, 0x10]
        .iter()
        .filter(|flag| flags & **flag != 0);
    let len = 4 + 4 * fields.count();
    match u16::from_be_bytes([high, low]) {
        ETHER_IPV4 => Some((Version::V4, len)),
        ETHER_IPV6 => Some((Version::V6, len)),
        ETHER_BRIDGING => {
            let ethernet = bytes.get(len..)?;
            let &[high, low] = ethernet.get(ETHERNET_LEN - 2..)?.first_chunk()?;
            let version = match u16::from_be_bytes([high, low]) {
                ETHER_IPV4 => Version::V4,
                ETHER_IPV6 => Version::V6,
                _ => return None,
            };
            Some((version, len + ETHERNET_LEN))
        }
        _ => None,
    }
}

/// The bytes before the IPv6 packet of a Teredo datagram: indications of authentication and of origin
/// (RFC 4380, section 5.1.1). A socket may be given the port by chance: the packet's length must be what
/// is left of the datagram, and an address one that Teredo has (section 5.2.3).
fn teredo(bytes: &[u8], datagram_len: u32) -> Option<usize> {
    let mut at = 0;
    if let [0, 1, id_len, value_len, ..] = bytes {
        at = 4 + usize::from(*id_len) + usize::from(*value_len) + 9;
    }
    if bytes.get(at..at + 2) == Some(&[0, 0]) {
        at += 8;
    }
    let header = Ipv6HeaderSlice::from_slice(bytes.get(at..)?).ok()?;
    let len = Ipv6Header::LEN + usize::from(header.payload_length());
    let fits = u32::try_from(at + len) == Ok(datagram_len);
    (fits && has_teredo_address(&header)).then_some(at)
}

/// Whether an end has the prefix of Teredo (`2001::/32`), or asks a server for one from its own link.
fn has_teredo_address(header: &Ipv6HeaderSlice<'_>) -> bool {
    let is_teredo = |addr: [u8; 16]| addr.starts_with(&[0x20, 0x01, 0, 0]);
    is_teredo(header.source())
        || is_teredo(header.destination())
        || header.source_addr().is_unicast_link_local()
}
