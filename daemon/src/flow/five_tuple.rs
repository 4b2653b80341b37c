//! The five-tuple of a flow, the handset's side first, and the compact key of the table.
//!
//! In: a packet's view. Out: [`FiveTuple`] and [`Key`]; the key is the same for both directions.

use std::net::{IpAddr, SocketAddr};

use crate::packet::{Transport, View};

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

/// A five-tuple without direction, in 40 bytes. IPv4 addresses are stored as IPv4-mapped ones; the
/// flag keeps them apart from IPv6 packets that carry such addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    low: [u8; 16],
    high: [u8; 16],
    low_port: u16,
    high_port: u16,
    protocol: u8,
    /// Bit 0: IPv6. Bit 1: with ports.
    flags: u8,
}

impl Key {
    pub(super) fn new(protocol: u8, one: Side, other: Side) -> Self {
        let (low, high) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        Self {
            low: bytes(low.addr),
            high: bytes(high.addr),
            low_port: low.port.unwrap_or(0),
            high_port: high.port.unwrap_or(0),
            protocol,
            flags: u8::from(low.addr.is_ipv6()) | u8::from(low.port.is_some()) << 1,
        }
    }

    pub(super) fn of_sockets(protocol: u8, one: SocketAddr, other: SocketAddr) -> Self {
        Self::new(protocol, side_of(one), side_of(other))
    }
}

fn side_of(socket: SocketAddr) -> Side {
    Side {
        addr: socket.ip(),
        port: Some(socket.port()),
    }
}

const fn bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
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

    #[test]
    fn both_directions_have_one_key() {
        let (a, b) = (side("10.0.0.1", Some(9)), side("10.0.0.2", Some(1)));
        assert_eq!(Key::new(6, a, b), Key::new(6, b, a));
    }

    #[test]
    fn ports_families_and_protocols_are_told_apart() {
        let key =
            |protocol, one, other, port| Key::new(protocol, side(one, port), side(other, port));
        let base = key(17, "10.0.0.1", "10.0.0.2", Some(0));
        let mapped = ("::ffff:10.0.0.1", "::ffff:10.0.0.2");
        assert_ne!(base, key(17, "10.0.0.1", "10.0.0.2", None));
        assert_ne!(base, key(17, mapped.0, mapped.1, Some(0)));
        assert_ne!(base, key(6, "10.0.0.1", "10.0.0.2", Some(0)));
    }
}
