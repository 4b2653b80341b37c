//! IPv4 addresses that stand inside IPv6 ones: NAT64 (RFC 6052), and how a network tells which
//! prefix it uses (RFC 7050).
//!
//! In: IPv6 addresses, and answers for the name `ipv4only.arpa`. Out: the IPv4 address of the server
//! that a translator sends on to, which is what can be located. An address below no known prefix is
//! taken as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name that every translator's network answers for (RFC 7050, section 2.2).
pub const DISCOVERY_NAME: &str = "ipv4only.arpa";
/// Prefixes that are remembered at most; further ones are not, and their addresses stay as they are.
pub const PREFIXES_MAX: usize = 16;

/// What `ipv4only.arpa` resolves to (RFC 7050, section 8.2).
const DISCOVERY_ADDRESSES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// Lengths that a prefix may have (RFC 6052, section 2.2), and where the four octets then stand:
/// octet 8 is skipped and is zero.
const LAYOUTS: [(u8, [usize; 4]); 6] = [
    (96, [12, 13, 14, 15]),
    (64, [9, 10, 11, 12]),
    (56, [7, 9, 10, 11]),
    (48, [6, 7, 9, 10]),
    (40, [5, 6, 7, 9]),
    (32, [4, 5, 6, 7]),
];
/// `64:ff9b::/96` (RFC 6052, section 2.1).
const WELL_KNOWN: Prefix = Prefix {
    bits: 0x0064_ff9b << 96,
    len: 96,
};

/// A translator's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    bits: u128,
    len: u8,
}

impl Prefix {
    fn holds(self, addr: Ipv6Addr) -> bool {
        masked(addr, self.len) == self.bits
    }
}

/// The prefixes that are known to translate.
#[derive(Debug, Clone, Default)]
pub struct Nat64 {
    learnt: Vec<Prefix>,
}

impl Nat64 {
    /// The IPv4 address inside an address; none when it is below no known prefix.
    pub fn embedded(&self, addr: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(addr) = addr else {
            return None;
        };
        let prefix = std::iter::once(&WELL_KNOWN)
            .chain(&self.learnt)
            .find(|prefix| prefix.holds(addr))?;
        extract(addr, prefix.len)
    }

    /// Learns the prefix from an address that was answered for [`DISCOVERY_NAME`].
    pub fn learn(&mut self, answer: IpAddr) {
        let IpAddr::V6(addr) = answer else {
            return;
        };
        let found = LAYOUTS.iter().map(|(len, _)| *len).find(|len| {
            extract(addr, *len).is_some_and(|inside| DISCOVERY_ADDRESSES.contains(&inside))
        });
        let Some(len) = found else {
            return;
        };
        let prefix = Prefix {
            bits: masked(addr, len),
            len,
        };
        let known = prefix == WELL_KNOWN || self.learnt.contains(&prefix);
        if !known && self.learnt.len() < PREFIXES_MAX {
            self.learnt.push(prefix);
        }
    }
}

fn masked(addr: Ipv6Addr, len: u8) -> u128 {
    let shift = 128_u32.saturating_sub(len.into());
    addr.to_bits() & u128::MAX.checked_shl(shift).unwrap_or(0)
}

/// None when the octet that every address of this kind leaves zero is not.
fn extract(addr: Ipv6Addr, len: u8) -> Option<Ipv4Addr> {
    let octets = addr.octets();
    let (_, places) = LAYOUTS.iter().find(|(known, _)| *known == len)?;
    if len < 96 && octets.get(8) != Some(&0) {
        return None;
    }
    let mut inside = [0; 4];
    for (to, place) in inside.iter_mut().zip(places) {
        *to = *octets.get(*place)?;
    }
    Some(inside.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6052, section 2.4.
    const EXAMPLES: [(&str, &str); 6] = [
        ("2001:db8:c000:221::", "2001:db8:c000:aa::"),
        ("2001:db8:1c0:2:21::", "2001:db8:1c0:0:aa::"),
        ("2001:db8:122:c000:2:2100::", "2001:db8:122:c000:0:aa00::"),
        ("2001:db8:122:3c0:0:221::", "2001:db8:122:3c0:0:aa::"),
        (
            "2001:db8:122:344:c0:2:2100::",
            "2001:db8:122:344:c0:0:aa00::",
        ),
        (
            "2001:db8:122:344::192.0.2.33",
            "2001:db8:122:344::192.0.0.170",
        ),
    ];

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn reads_the_examples_of_the_rfc_once_the_prefix_is_known() {
        for (example, answer) in EXAMPLES {
            let mut nat64 = Nat64::default();
            assert_eq!(nat64.embedded(addr(example)), None, "{example}");
            nat64.learn(addr(answer));
            let inside = nat64.embedded(addr(example));
            assert_eq!(inside, Some(Ipv4Addr::new(192, 0, 2, 33)), "{example}");
        }
    }

    #[test]
    fn knows_the_well_known_prefix_and_nothing_else() {
        let nat64 = Nat64::default();
        let inside = nat64.embedded(addr("64:ff9b::13.228.10.20"));
        assert_eq!(inside, Some(Ipv4Addr::new(13, 228, 10, 20)));
        for other in ["64:ff9b:1::13.228.10.20", "2400:cb00::1", "13.228.10.20"] {
            assert_eq!(nat64.embedded(addr(other)), None, "{other}");
        }
    }

    #[test]
    fn an_answer_without_the_address_teaches_nothing() {
        let mut nat64 = Nat64::default();
        for answer in [
            "2001:db8:64::8.8.8.8",
            "192.0.0.170",
            "64:ff9b::192.0.0.170",
        ] {
            nat64.learn(addr(answer));
        }
        assert_eq!(nat64.learnt, []);
        for network in 0..20_u32 {
            let answer = format!("2001:db8:{network:x}::192.0.0.171");
            nat64.learn(addr(&answer));
            nat64.learn(addr(&answer));
        }
        assert_eq!(nat64.learnt.len(), PREFIXES_MAX);
    }
}
