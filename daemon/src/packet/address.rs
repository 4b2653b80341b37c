//! The two addresses of an IP header, as numbers.
//!
//! In: the bytes of a header. Out: numbers to find flows by, and [`IpAddr`]s for whoever reads them.
//! A packet's addresses are read once and compared often: as numbers of the machine's own size they are
//! stored and loaded whole.

use std::net::IpAddr;

/// Source and destination of one IP header, both of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The upper half of the source, its lower one, and the same of the destination; an IPv4 address
    /// is a lower half.
    words: [u64; 4],
    is_v6: bool,
}

impl Addresses {
    /// Of an IPv4 header.
    #[inline]
    pub const fn v4(src: [u8; 4], dst: [u8; 4]) -> Self {
        let (src, dst) = (u32::from_be_bytes(src), u32::from_be_bytes(dst));
        Self {
            words: [0, src as u64, 0, dst as u64],
            is_v6: false,
        }
    }

    /// Of an IPv6 header.
    #[inline]
    pub const fn v6(src: [u8; 16], dst: [u8; 16]) -> Self {
        let ([a, b], [c, d]) = (halves(src), halves(dst));
        Self {
            words: [a, b, c, d],
            is_v6: true,
        }
    }

    /// Source.
    #[inline]
    pub fn src(&self) -> IpAddr {
        let [high, low, ..] = self.words;
        address([high, low], self.is_v6)
    }

    /// Destination.
    #[inline]
    pub fn dst(&self) -> IpAddr {
        let [.., high, low] = self.words;
        address([high, low], self.is_v6)
    }

    /// Whether they are of IPv6.
    pub const fn is_v6(&self) -> bool {
        self.is_v6
    }

    /// The upper half of the source, its lower one, and the same of the destination.
    pub const fn words(&self) -> [u64; 4] {
        self.words
    }
}

/// An address as two numbers, and whether it is of IPv6.
#[inline]
pub const fn words(addr: IpAddr) -> ([u64; 2], bool) {
    match addr {
        IpAddr::V4(addr) => ([0, addr.to_bits() as u64], false),
        IpAddr::V6(addr) => (halves(addr.octets()), true),
    }
}

/// The address of [`words`].
#[inline]
pub fn address([high, low]: [u64; 2], is_v6: bool) -> IpAddr {
    if is_v6 {
        IpAddr::V6((u128::from(high) << 64 | u128::from(low)).into())
    } else {
        IpAddr::V4(((low & 0xffff_ffff) as u32).into())
    }
}

const fn halves(octets: [u8; 16]) -> [u64; 2] {
    match octets.as_chunks() {
        ([high, low], _) => [u64::from_be_bytes(*high), u64::from_be_bytes(*low)],
        // Not reachable: sixteen bytes are two halves.
        _ => [0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_out_as_they_went_in() {
        let v4 = Addresses::v4([192, 0, 2, 255], [10, 0, 0, 1]);
        assert_eq!(v4.src().to_string(), "192.0.2.255");
        assert_eq!(v4.dst().to_string(), "10.0.0.1");
        let of = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let v6 = Addresses::v6(of("2001:db8::1:ffff"), of("::ffff:10.0.0.1"));
        assert_eq!(v6.src().to_string(), "2001:db8::1:ffff");
        assert_eq!(v6.dst().to_string(), "::ffff:10.0.0.1");
        for addr in [v4.src(), v4.dst(), v6.src(), v6.dst()] {
            let (words, is_v6) = words(addr);
            assert_eq!(address(words, is_v6), addr);
        }
    }
}
