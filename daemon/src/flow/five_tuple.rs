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
    /// Of the first end and of the second; zeros where there are none.
    ports: [u16; 2],
    has_ports: bool,
    /// Whether the first address is of IPv6, and the second.
    is_v6: [bool; 2],
    protocol: u8,
}

impl Ends {
    /// Source and destination of a packet; ports where the packet itself has them.
    #[inline]
    pub(super) fn of(view: &View<'_>) -> Self {
        let ports = match view.transport {
            Transport::Tcp(tcp) => Some([tcp.sport, tcp.dport]),
            Transport::Udp(udp) => Some([udp.sport, udp.dport]),
            _ => None,
        };
        Self::with_ports(view, ports)
    }

    /// The same with these ports.
    #[inline]
    pub(super) fn with_ports(view: &View<'_>, ports: Option<[u16; 2]>) -> Self {
        Self {
            addresses: view.addresses.words(),
            ports: ports.unwrap_or_default(),
            has_ports: ports.is_some(),
            is_v6: [view.addresses.is_v6(); 2],
            protocol: view.protocol,
        }
    }

    /// The ends of two sockets.
    pub(super) fn of_sockets(protocol: u8, one: SocketAddr, other: SocketAddr) -> Self {
        let ([one_high, one_low], one_v6) = words(one.ip());
        let ([other_high, other_low], other_v6) = words(other.ip());
        Self {
            addresses: [one_high, one_low, other_high, other_low],
            ports: [one.port(), other.port()],
            has_ports: true,
            is_v6: [one_v6, other_v6],
            protocol,
        }
    }

    /// IP protocol number.
    pub(super) const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Both ports, where there are any.
    pub(super) fn ports(&self) -> Option<[u16; 2]> {
        self.has_ports.then_some(self.ports)
    }

    /// The five-tuple, of which these are the handset's end and the other one.
    #[inline]
    pub(super) fn tuple(&self) -> FiveTuple {
        let [one_high, one_low, other_high, other_low] = self.addresses;
        let side = |words, at: usize| Side {
            addr: address(words, self.is_v6[at]),
            port: self.has_ports.then_some(self.ports[at]),
        };
        FiveTuple {
            protocol: self.protocol,
            local: side([one_high, one_low], 0),
            remote: side([other_high, other_low], 1),
        }
    }

    /// The same the other way.
    #[must_use]
    #[inline]
    pub(super) const fn swapped(&self) -> Self {
        let [one_high, one_low, other_high, other_low] = self.addresses;
        let ([one_port, other_port], [one_v6, other_v6]) = (self.ports, self.is_v6);
        Self {
            addresses: [other_high, other_low, one_high, one_low],
            ports: [other_port, one_port],
            is_v6: [other_v6, one_v6],
            ..*self
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

    /// Equality without a branch for each half of an address.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        let halves = self.addresses.iter().zip(&other.addresses);
        let differing = halves.fold(0, |all, (one, other)| all | (one ^ other));
        differing == 0
            && self.ports == other.ports
            && self.protocol == other.protocol
            && self.has_ports == other.has_ports
            && self.is_v6 == other.is_v6
    }

    /// A hash that is the same for both directions.
    #[inline]
    pub(super) fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        let [one_high, one_low, other_high, other_low] = self.addresses;
        let [one_port, other_port] = self.ports.map(u64::from);
        let kind = u64::from(self.has_ports) << 56 | u64::from(self.protocol) << 48;
        if self.is_v6 == [false; 2] {
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
        Ends {
            ports: ports.unwrap_or_default(),
            has_ports: ports.is_some(),
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
