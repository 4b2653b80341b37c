//! What is left of a packet when what is personal is taken out of it: the headers of IP and
//! transport, with another address in place of the handset's own.
//!
//! In: an IP packet's bytes. Out: bytes again. Payload, link header and everything that cannot be
//! dissected is left out; the length that it had stays known.

use std::net::IpAddr;

use crate::packet::{Transport, View};

/// Stands in place of the handset's own IPv4 address (RFC 5737).
pub const V4: [u8; 4] = [192, 0, 2, 1];
/// Stands in place of the handset's own IPv6 address (RFC 3849): `2001:db8::1`.
pub const V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Bytes of an ICMP header, and of a UDP header.
const SHORT_HEADER: usize = 8;

/// The headers of an IP packet that begins at `offset` of `data`. `own` says which of its addresses
/// are the handset's.
pub fn covered(
    data: &[u8],
    offset: usize,
    view: &View<'_>,
    own: impl Fn(IpAddr) -> bool,
) -> Vec<u8> {
    let end = view.headers_len.min(data.len());
    let mut bytes = data.get(offset..end).unwrap_or_default().to_vec();
    clear_checksum(&mut bytes, view);
    let is_v4 = !view.addresses.is_v6();
    let (addresses, length) = if is_v4 { ([12, 16], 4) } else { ([8, 24], 16) };
    for (at, address) in addresses.into_iter().zip([view.src(), view.dst()]) {
        let Some(place) = bytes.get_mut(at..at + length) else {
            continue;
        };
        match address {
            IpAddr::V4(_) if own(address) => place.copy_from_slice(&V4),
            IpAddr::V6(_) if own(address) => place.copy_from_slice(&V6),
            // The last 24 bits of some host's address (RFC 4291, 2.7.1).
            IpAddr::V6(v6)
                if matches!(v6.segments(), [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _]) =>
            {
                place.iter_mut().skip(13).for_each(|byte| *byte = 0);
            }
            _ => {}
        }
    }
    if is_v4 {
        sum_header(&mut bytes);
    }
    bytes
}

/// The transport's checksum was made over the addresses that are gone.
fn clear_checksum(bytes: &mut [u8], view: &View<'_>) {
    let len = bytes.len();
    let at = match (view.transport, view.protocol) {
        (Transport::Udp(_), UDP) => len.checked_sub(2),
        (Transport::Icmp(_), _) => len.checked_sub(SHORT_HEADER - 2),
        (Transport::Tcp(tcp), TCP) => (20..=60)
            .step_by(4)
            .filter_map(|header| len.checked_sub(header).map(|start| (header, start)))
            .find(|(header, start)| {
                let ports = [tcp.sport.to_be_bytes(), tcp.dport.to_be_bytes()].concat();
                bytes.get(*start..start + 4) == Some(&ports[..])
                    && bytes
                        .get(start + 12)
                        .is_some_and(|words| usize::from(words >> 4) * 4 == *header)
            })
            .map(|(_, start)| start + 16),
        _ => None,
    };
    if let Some(place) = at.and_then(|at| bytes.get_mut(at..at + 2)) {
        place.fill(0);
    }
}

/// Makes the checksum of an IPv4 header anew (RFC 791, RFC 1071).
fn sum_header(bytes: &mut [u8]) {
    let length = bytes
        .first()
        .map_or(0, |first| usize::from(first & 0x0f) * 4);
    let Some(header) = bytes.get_mut(..length).filter(|_| length >= 20) else {
        return;
    };
    let mut sum: u32 = 0;
    for (at, pair) in header.chunks_exact(2).enumerate() {
        if let ([high, low], true) = (pair, at != 5) {
            sum += u32::from(u16::from_be_bytes([*high, *low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap_or(u16::MAX);
    if let Some(place) = header.get_mut(10..12) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}
