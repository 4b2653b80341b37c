//! The five-tuple of a flow, the handset's side first, and its hash.
//!
//! In: a packet's view. Out: its two sides, and a hash that is the same for both directions.

use std::{
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
};

use crate::packet::{Transport, View};

/// One end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side {
    /// Address.
    pub addr: IpAddr,
    /// Port, for protocols that have one.
    pub port: Option<u16>,
}

impl Side {
    /// Equality without a call: addresses are compared as numbers.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        self.port == other.port
            && match (self.addr, other.addr) {
                (IpAddr::V4(one), IpAddr::V4(other)) => one.to_bits() == other.to_bits(),
                (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() == other.to_bits(),
                _ => false,
            }
    }
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

impl FiveTuple {
    /// Whether these are its ends, whichever of them is the handset's.
    #[inline]
    pub(super) fn is_between(&self, protocol: u8, one: &Side, other: &Side) -> bool {
        let (local, remote) = (&self.local, &self.remote);
        self.protocol == protocol
            && ((remote.is(other) && local.is(one)) || (remote.is(one) && local.is(other)))
    }
}

/// The hash of a five-tuple, the same for both directions. IPv4 packets are kept apart from IPv6 ones
/// that carry such addresses, and packets without ports from those with port 0.
pub(super) fn hash(hasher: &impl BuildHasher, protocol: u8, one: &Side, other: &Side) -> u64 {
    let of_side = |side: &Side| {
        let port = side.port.map_or(0, |port| 1 << 16 | u32::from(port));
        let rest = port << 8 | u32::from(protocol);
        match side.addr {
            IpAddr::V4(addr) => hasher.hash_one(u64::from(addr.to_bits()) << 32 | u64::from(rest)),
            IpAddr::V6(addr) => hasher.hash_one((addr.to_bits(), 1 << 31 | rest)),
        }
    };
    of_side(one).wrapping_add(of_side(other))
}

/// The side of a socket.
pub(super) const fn side_of(socket: SocketAddr) -> Side {
    Side {
        addr: socket.ip(),
        port: Some(socket.port()),
    }
}

/// Source and destination of a packet; ports where the packet itself has them.
pub(super) const fn sides(view: &View<'_>) -> (Side, Side) {
    let (sport, dport) = match view.transport {
        Transport::Tcp(tcp) => (Some(tcp.sport), Some(tcp.dport)),
        Transport::Udp(udp) => (Some(udp.sport), Some(udp.dport)),
        _ => (None, None),
    };
    let src = Side {
        addr: view.src,
        port: sport,
    };
    let dst = Side {
        addr: view.dst,
        port: dport,
    };
    (src, dst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(addr: &str, port: Option<u16>) -> Side {
        Side {
            addr: addr.parse().unwrap(),
            port,
        }
    }

    fn hash_of(protocol: u8, one: &str, other: &str, port: Option<u16>) -> u64 {
        let hasher = foldhash::fast::FixedState::with_seed(7);
        hash(&hasher, protocol, &side(one, port), &side(other, port))
    }

    #[test]
    fn both_directions_have_one_hash() {
        let (one, other) = ("10.0.0.1", "10.0.0.2");
        let there = hash_of(6, one, other, Some(9));
        assert_eq!(there, hash_of(6, other, one, Some(9)));
    }

    #[test]
    fn ports_families_and_protocols_are_told_apart() {
        let base = hash_of(17, "10.0.0.1", "10.0.0.2", Some(0));
        let mapped = ("::ffff:10.0.0.1", "::ffff:10.0.0.2");
        assert_ne!(base, hash_of(17, "10.0.0.1", "10.0.0.2", None));
        assert_ne!(base, hash_of(17, mapped.0, mapped.1, Some(0)));
        assert_ne!(base, hash_of(6, "10.0.0.1", "10.0.0.2", Some(0)));
    }
}
