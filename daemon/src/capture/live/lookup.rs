//! Asks for the owner of a socket at its first packet, in the capture thread: a tenth of a
//! millisecond later a short flow's socket is gone.
//!
//! In: outbound IP packets. Out: an [`OwnerFact`] for each five-tuple that is new.

use std::{
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use foldhash::quality::FixedState;

use crate::{
    attribute::sock_diag::{SockDiag, SockDiagError},
    input::{FactBasis, OwnerFact, SocketProto},
    time::Timestamp,
};

/// Five-tuples that are remembered; one that pushes another out only costs a second lookup.
const RECENT_MAX: usize = 8192;
/// After this long a five-tuple counts as new: ports are used again.
const RECENT_NANOS_MAX: i64 = 30_000_000_000;
/// Any number: the table's layout never shows in what comes out.
const HASH_SEED: u64 = 0x5a4b;

/// A socket as a packet shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) proto: SocketProto,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    /// Whether this packet opens a connection.
    pub(crate) opens: bool,
    /// Of a question to a resolver, its id and flags (RFC 1035, section 4.1.1): the next question
    /// from a port may be of a socket that was given to another app. Else 0.
    pub(crate) question: u32,
}

/// Port of resolvers that are asked over UDP.
const DNS_PORT: u16 = 53;

/// Reads the ends of a TCP or UDP packet that begins with its IP header.
pub(crate) fn ends(packet: &[u8]) -> Option<Ends> {
    let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
    let (src, dst): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Arp(_) => return None,
    };
    let (proto, sport, dport, opens, question) = match sliced.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => (
            SocketProto::Tcp,
            tcp.source_port(),
            tcp.destination_port(),
            tcp.syn() && !tcp.ack(),
            0,
        ),
        TransportSlice::Udp(udp) => (
            SocketProto::Udp,
            udp.source_port(),
            udp.destination_port(),
            false,
            udp.payload()
                .first_chunk()
                .filter(|_| udp.destination_port() == DNS_PORT)
                .map_or(0, |first| u32::from_ne_bytes(*first)),
        ),
        _ => return None,
    };
    Some(Ends {
        proto,
        src: SocketAddr::new(src, sport),
        dst: SocketAddr::new(dst, dport),
        opens,
        question,
    })
}

/// Length of an IP packet by its own header; none when there is no IP header, or it says 0 (as
/// packets longer than 65,535 bytes do).
pub(crate) fn ip_len(packet: &[u8]) -> Option<u32> {
    let field = |at: usize| {
        let bytes = packet.get(at..at + 2)?;
        Some(u32::from(u16::from_be_bytes(bytes.try_into().ok()?)))
    };
    let len = match packet.first()? >> 4 {
        4 => field(2)?,
        6 => match field(4)? {
            0 => 0,
            payload => payload + 40,
        },
        _ => 0,
    };
    (len != 0).then_some(len)
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    hash: u64,
    at: i64,
}

/// Asks for each new five-tuple once.
pub(crate) struct OwnerLookup {
    diag: SockDiag,
    hasher: FixedState,
    recent: Box<[Option<Seen>]>,
    errors: u64,
}

impl OwnerLookup {
    pub(crate) fn open() -> Result<Self, SockDiagError> {
        Ok(Self {
            diag: SockDiag::open()?,
            hasher: FixedState::with_seed(HASH_SEED),
            recent: vec![None; RECENT_MAX].into_boxed_slice(),
            errors: 0,
        })
    }

    /// Lookups that failed for another reason than that there is no such socket.
    pub(crate) const fn errors(&self) -> u64 {
        self.errors
    }

    /// The owner of an outbound packet's socket, if its five-tuple is new.
    pub(crate) fn ask(&mut self, ends: &Ends, at: Timestamp, monotonic: i64) -> Option<OwnerFact> {
        if !self.is_new(ends, monotonic) {
            return None;
        }
        let Ok(socket) = self.diag.owner(ends.proto, ends.src, ends.dst) else {
            self.errors += 1;
            return None;
        };
        Some(OwnerFact {
            at,
            proto: ends.proto,
            local: ends.src,
            remote: ends.dst,
            uid: socket.map(|socket| socket.uid),
            inode: socket.map_or(0, |socket| socket.inode),
            basis: FactBasis::SockDiag,
            cookie: socket.and_then(|socket| socket.cookie),
            kernel_nanos: None,
            opening: None,
        })
    }

    fn is_new(&mut self, ends: &Ends, monotonic: i64) -> bool {
        let hash = self
            .hasher
            .hash_one((ends.proto, ends.src, ends.dst, ends.question));
        let slot = usize::try_from(hash % RECENT_MAX as u64).unwrap_or(0);
        let Some(seen) = self.recent.get_mut(slot) else {
            return true;
        };
        let known = seen.is_some_and(|seen| {
            seen.hash == hash && monotonic.saturating_sub(seen.at) < RECENT_NANOS_MAX
        });
        *seen = Some(Seen {
            hash,
            at: monotonic,
        });
        !known || ends.opens
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn udp(sport: u16) -> Vec<u8> {
        let builder = PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 53], 64).udp(sport, 53);
        let mut packet = Vec::new();
        builder.write(&mut packet, b"question").unwrap();
        packet
    }

    #[test]
    fn reads_ends_and_length_of_a_cut_packet() {
        let packet = udp(40_000);
        let ends = ends(&packet[..30]).unwrap();
        assert_eq!(ends.src, "192.0.2.1:40000".parse().unwrap());
        assert_eq!(ends.dst, "198.51.100.53:53".parse().unwrap());
        assert_eq!(ip_len(&packet[..30]), Some(36));
        assert_eq!(super::ends(&packet[..22]), None);
        assert_eq!(ip_len(&[0x45]), None);
    }

    #[test]
    fn asks_once_until_the_tuple_is_old_or_opens_anew() {
        let mut lookup = OwnerLookup::open().unwrap();
        let mut ends = ends(&udp(1)).unwrap();
        assert!(lookup.is_new(&ends, 0));
        assert!(!lookup.is_new(&ends, 1));
        assert!(lookup.is_new(&ends, 2 + RECENT_NANOS_MAX));
        ends.opens = true;
        assert!(lookup.is_new(&ends, 3 + RECENT_NANOS_MAX));
        assert!(lookup.is_new(&super::ends(&udp(2)).unwrap(), 4));
    }

    #[test]
    fn says_that_it_found_nobody() {
        let mut lookup = OwnerLookup::open().unwrap();
        let fact = lookup
            .ask(&ends(&udp(40_000)).unwrap(), Timestamp::default(), 0)
            .unwrap();
        assert_eq!((fact.uid, fact.inode), (None, 0));
    }
}
