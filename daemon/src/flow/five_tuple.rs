//! The five-tuple of a flow, the handset's side first, and what it is found by.
//!
//! In: a packet's view. Out: its two ends as numbers, and a hash that is the same for both directions.

use std::{
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
};

use crate::packet::{Transport, View, address, words};

/// One end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side {
    /// Address.
    pub addr: IpAddr,
    /// Port, for protocols that have one.
    pub port: Option<u16>,
}

/// Protocol and both ends, the handset's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FiveTuple {
    /// IP protocol number (6 is TCP, 17 UDP, 1 and 58 ICMP).
    pub protocol: u8,
    /// The handset's side.
    pub local: Side,
    /// The other side.
    pub remote: Side,
}

/// Both ends of a packet, or of a flow, as numbers: what flows are found by. IPv4 packets are kept apart
/// from IPv6 ones that carry such addresses, and packets without ports from those with port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// The upper half of the first address, its lower one, and the same of the second.
    addresses: [u64; 4],
    /// The ports, the first end's lowest, zeros where there are none; above them the protocol, and what
    /// [`Ends::HAS_PORTS`] and the like name.
    kind: u64,
}

impl Ends {
    /// Where the other end's port begins.
    const OTHER_PORT: u32 = 16;
    const PORTS: u64 = 0xffff_ffff;
    const PROTOCOL: u32 = 32;
    /// It has ports.
    const HAS_PORTS: u64 = 1 << 40;
    /// The first address is of IPv6.
    const ONE_V6: u64 = 1 << 41;
    /// The second one is.
    const OTHER_V6: u64 = 1 << 42;

    #[inline]
    const fn kind_of(protocol: u8, ports: Option<[u16; 2]>, is_v6: [bool; 2]) -> u64 {
        let ports = match ports {
            Some([one, other]) => Self::HAS_PORTS | one as u64 | (other as u64) << Self::OTHER_PORT,
            None => 0,
        };
        ports
            | (protocol as u64) << Self::PROTOCOL
            | if is_v6[0] { Self::ONE_V6 } else { 0 }
            | if is_v6[1] { Self::OTHER_V6 } else { 0 }
    }

    /// Source and destination of a packet; ports where the packet itself has them.
    #[inline]
    pub(super) fn of(view: &View<'_>) -> Self {
        let ports = match &view.transport {
            Transport::Tcp(tcp) => Some([tcp.sport, tcp.dport]),
            Transport::Udp(udp) => Some([udp.sport, udp.dport]),
            _ => None,
        };
        Self::with_ports(view, ports)
    }

    /// The same with these ports.
    #[inline]
    pub(super) const fn with_ports(view: &View<'_>, ports: Option<[u16; 2]>) -> Self {
        Self {
            addresses: view.addresses.words(),
            kind: Self::kind_of(view.protocol, ports, [view.addresses.is_v6(); 2]),
        }
    }

    /// The ends of two sockets.
    pub(super) fn of_sockets(protocol: u8, one: SocketAddr, other: SocketAddr) -> Self {
        let ([one_high, one_low], one_v6) = words(one.ip());
        let ([other_high, other_low], other_v6) = words(other.ip());
        let ports = Some([one.port(), other.port()]);
        Self {
            addresses: [one_high, one_low, other_high, other_low],
            kind: Self::kind_of(protocol, ports, [one_v6, other_v6]),
        }
    }

    /// IP protocol number.
    #[inline]
    pub(super) const fn protocol(&self) -> u8 {
        (self.kind >> Self::PROTOCOL & 0xff) as u8
    }

    /// Both ports, where there are any.
    pub(super) fn ports(&self) -> Option<[u16; 2]> {
        let [one, other] = self.port_numbers().map(|port| (port & 0xffff) as u16);
        (self.kind & Self::HAS_PORTS != 0).then_some([one, other])
    }

    const fn port_numbers(&self) -> [u64; 2] {
        [self.kind & 0xffff, self.kind >> Self::OTHER_PORT & 0xffff]
    }

    /// The five-tuple, of which these are the handset's end and the other one.
    #[inline]
    pub(super) fn tuple(&self) -> FiveTuple {
        let [one_high, one_low, other_high, other_low] = self.addresses;
        let ports = self.ports();
        let side = |words, v6, port: Option<u16>| Side {
            addr: address(words, self.kind & v6 != 0),
            port,
        };
        FiveTuple {
            protocol: self.protocol(),
            local: side([one_high, one_low], Self::ONE_V6, ports.map(|[one, _]| one)),
            remote: side(
                [other_high, other_low],
                Self::OTHER_V6,
                ports.map(|[_, other]| other),
            ),
        }
    }

    /// The same the other way.
    #[must_use]
    #[inline]
    pub(super) const fn swapped(&self) -> Self {
        let [one_high, one_low, other_high, other_low] = self.addresses;
        let ports = ((self.kind & Self::PORTS) as u32).rotate_left(Self::OTHER_PORT) as u64;
        let one_v6 = (self.kind & Self::ONE_V6) << 1;
        let other_v6 = (self.kind & Self::OTHER_V6) >> 1;
        let rest = self.kind & !(Self::PORTS | Self::ONE_V6 | Self::OTHER_V6);
        Self {
            addresses: [other_high, other_low, one_high, one_low],
            kind: rest | ports | one_v6 | other_v6,
        }
    }

    /// Whether a packet with these ends, source first, is of the flow; if so, whether it goes the
    /// flow's way. One that goes both ways, from an end to itself, does.
    #[inline]
    pub(super) fn way_of(&self, sent: &Self) -> Option<bool> {
        if self.is(sent) {
            return Some(true);
        }
        self.is(&sent.swapped()).then_some(false)
    }

    /// Equality without a branch for each part.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        let halves = self.addresses.iter().zip(&other.addresses);
        halves.fold(self.kind ^ other.kind, |all, (one, other)| {
            all | (one ^ other)
        }) == 0
    }

    /// A hash that is the same for both directions.
    #[inline]
    pub(super) fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        let [one_high, one_low, other_high, other_low] = self.addresses;
        let [one_port, other_port] = self.port_numbers();
        let kind = (self.kind & (Self::HAS_PORTS | 0xff << Self::PROTOCOL)) << 16;
        if self.kind & (Self::ONE_V6 | Self::OTHER_V6) == 0 {
            let (one, other) = (one_low << 16 | one_port, other_low << 16 | other_port);
            return hasher.hash_one((one.min(other) | kind, one.max(other)));
        }
        let one = (one_high, one_low, one_port);
        let other = (other_high, other_low, other_port);
        let (first, last) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        let ports = first.2 << 16 | last.2 | kind;
        hasher.hash_one(((first.0, first.1), (last.0, last.1), ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(protocol: u8, one: &str, other: &str, ports: Option<[u16; 2]>) -> Ends {
        let [one, other] = [one, other].map(|text| SocketAddr::new(text.parse().unwrap(), 0));
        let is_v6 = [one.is_ipv6(), other.is_ipv6()];
        Ends {
            kind: Ends::kind_of(protocol, ports, is_v6),
            ..Ends::of_sockets(protocol, one, other)
        }
    }

    fn hash_of(ends: Ends) -> u64 {
        ends.hash(&foldhash::fast::FixedState::with_seed(7))
    }

    #[test]
    fn both_directions_have_one_hash_and_are_told_apart() {
        for (one, other) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
            let there = ends(6, one, other, Some([9, 80]));
            let back = ends(6, other, one, Some([80, 9]));
            assert_eq!(hash_of(there), hash_of(back));
            assert_eq!(there.swapped(), back);
            assert_eq!(there.way_of(&there), Some(true));
            assert_eq!(there.way_of(&back), Some(false));
            // The same addresses with the ports exchanged are other ends.
            assert_eq!(there.way_of(&ends(6, one, other, Some([80, 9]))), None);
        }
        let itself = ends(17, "127.0.0.1", "127.0.0.1", Some([9, 9]));
        assert_eq!(itself.way_of(&itself), Some(true));
    }

    #[test]
    fn ports_families_and_protocols_are_told_apart() {
        let base = ends(17, "10.0.0.1", "10.0.0.2", Some([0, 0]));
        let mapped = ("::ffff:10.0.0.1", "::ffff:10.0.0.2");
        let others = [
            ends(17, "10.0.0.1", "10.0.0.2", None),
            ends(17, mapped.0, mapped.1, Some([0, 0])),
            ends(6, "10.0.0.1", "10.0.0.2", Some([0, 0])),
            ends(17, "10.0.0.1", mapped.1, Some([0, 0])),
            ends(17, "::a00:1", "::a00:2", Some([0, 0])),
        ];
        for other in others {
            assert_eq!(base.way_of(&other), None, "{other:?}");
            assert_ne!(hash_of(base), hash_of(other), "{other:?}");
        }
    }

    #[test]
    fn a_five_tuple_comes_out_as_it_went_in() {
        for (one, other, ports) in [
            ("10.0.0.1", "192.0.2.255", Some([65535, 0])),
            ("2001:db8::1", "fe80::2", Some([1, 65535])),
            ("10.0.0.1", "10.0.0.2", None),
        ] {
            let tuple = ends(255, one, other, ports).tuple();
            assert_eq!(tuple.protocol, 255);
            assert_eq!(tuple.local.addr.to_string(), one);
            assert_eq!(tuple.remote.addr.to_string(), other);
            assert_eq!(tuple.local.port, ports.map(|[one, _]| one));
            assert_eq!(tuple.remote.port, ports.map(|[_, other]| other));
        }
    }
}
