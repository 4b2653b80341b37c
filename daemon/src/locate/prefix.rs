//! CIDR prefixes of both families in one 128-bit space, and a table that finds those around an
//! address.
//!
//! In: addresses and prefixes. Out: the prefixes that contain an address, most specific first.
//! IPv4 is held as IPv4-mapped IPv6 (`::ffff:0:0/96`, RFC 4291 section 2.5.5.2), so one table
//! serves both.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// First address of the IPv4-mapped block.
const MAPPED: u128 = 0xffff_0000_0000;
/// Bits that an IPv4 prefix gains in the 128-bit space.
const MAPPED_BITS: u8 = 96;

/// An address in the common 128-bit space.
pub fn key(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => MAPPED | u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// A block of addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    start: u128,
    len: u8,
}

impl Prefix {
    /// From its first address and length in the common space; none when the length exceeds 128 or
    /// bits behind it are set.
    pub const fn new(start: u128, len: u8) -> Option<Self> {
        let prefix = Self { start, len };
        if len > 128 || start & prefix.host_mask() != 0 {
            return None;
        }
        Some(prefix)
    }

    /// An IPv4 prefix; bits behind `len` (at most 32) are cleared.
    pub const fn v4(octets: [u8; 4], len: u8) -> Self {
        let start = MAPPED | u32::from_be_bytes(octets) as u128;
        Self::clamped(
            start,
            if len > 32 {
                128
            } else {
                len.saturating_add(MAPPED_BITS)
            },
        )
    }

    /// An IPv6 prefix; bits behind `len` (at most 128) are cleared.
    pub const fn v6(segments: [u16; 8], len: u8) -> Self {
        let mut rest: &[u16] = &segments;
        let mut start = 0_u128;
        while let Some((segment, after)) = rest.split_first() {
            start = start << 16 | *segment as u128;
            rest = after;
        }
        Self::clamped(start, len)
    }

    /// Reads `10.0.0.0/8` or `2001:db8::/32`; none when it is not in CIDR notation, or bits behind
    /// the length are set.
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, len) = text.split_once('/')?;
        let addr: IpAddr = addr.parse().ok()?;
        let len: u8 = len.parse().ok()?;
        match addr {
            IpAddr::V4(_) if len > 32 => None,
            IpAddr::V4(_) => Self::new(key(addr), len.checked_add(MAPPED_BITS)?),
            IpAddr::V6(_) => Self::new(key(addr), len),
        }
    }

    /// The largest block around `addr` that lies within `first..=last`.
    pub fn largest_within(addr: u128, first: u128, last: u128) -> Self {
        let mut best = Self::clamped(addr, 128);
        for len in (0..128).rev() {
            let wider = Self::clamped(addr, len);
            if wider.start < first || wider.last() > last {
                break;
            }
            best = wider;
        }
        best
    }

    const fn clamped(start: u128, len: u8) -> Self {
        let len = if len > 128 { 128 } else { len };
        let mask = Self { start: 0, len }.host_mask();
        Self {
            start: start & !mask,
            len,
        }
    }

    const fn host_mask(self) -> u128 {
        match u128::MAX.checked_shr(self.len as u32) {
            Some(mask) => mask,
            None => 0,
        }
    }

    /// First address, in the common space.
    pub const fn start(self) -> u128 {
        self.start
    }

    /// Last address, in the common space.
    pub const fn last(self) -> u128 {
        self.start | self.host_mask()
    }

    /// Length in the common space (an IPv4 length and 96).
    pub const fn bits(self) -> u8 {
        self.len
    }

    /// Whether the address (in the common space) lies in it.
    pub const fn contains(self, addr: u128) -> bool {
        addr & !self.host_mask() == self.start
    }

    const fn covers(self, other: Self) -> bool {
        self.len <= other.len && self.contains(other.start)
    }
}

impl fmt::Display for Prefix {
    /// CIDR notation, IPv4 in dotted form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = Ipv6Addr::from_bits(self.start);
        match (self.len.checked_sub(MAPPED_BITS), addr.to_ipv4_mapped()) {
            (Some(len), Some(addr)) => write!(f, "{addr}/{len}"),
            _ => write!(f, "{addr}/{}", self.len),
        }
    }
}

/// The IPv4 address in a NAT64 address under the well-known prefix `64:ff9b::/96`
/// (RFC 6052 section 2.1). `64:ff9b:1::/48` (RFC 8215) is for local use and has no one layout, so
/// it is not decoded.
pub fn nat64(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = addr.to_bits();
    if !NAT64.contains(bits) {
        return None;
    }
    let [.., a, b, c, d] = addr.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

/// The well-known prefix of RFC 6052.
pub const NAT64: Prefix = Prefix::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

#[derive(Debug, Clone)]
struct Node<T> {
    prefix: Prefix,
    /// Index of the narrowest other prefix around this one.
    parent: Option<usize>,
    value: T,
}

/// Prefixes with what is known of each; they may nest.
#[derive(Debug, Clone)]
pub struct PrefixTable<T> {
    nodes: Vec<Node<T>>,
}

impl<T> PrefixTable<T> {
    /// Orders the entries. Of entries with the same prefix the last one counts.
    pub fn new(mut entries: Vec<(Prefix, T)>) -> Self {
        entries.sort_by_key(|(prefix, _)| *prefix);
        let mut nodes: Vec<Node<T>> = Vec::with_capacity(entries.len());
        for (prefix, value) in entries {
            let mut parent = nodes.len().checked_sub(1);
            while let Some(node) = parent.and_then(|index| nodes.get(index)) {
                if node.prefix.covers(prefix) {
                    break;
                }
                parent = node.parent;
            }
            match nodes.last_mut() {
                Some(node) if node.prefix == prefix => node.value = value,
                _ => nodes.push(Node {
                    prefix,
                    parent,
                    value,
                }),
            }
        }
        Self { nodes }
    }

    /// The prefixes around an address (in the common space), the narrowest first.
    ///
    /// Prefixes nest or are apart, so the last one that starts at or before the address is either
    /// the narrowest around it or inside that one: the way up its parents finds it.
    pub fn around(&self, addr: u128) -> impl Iterator<Item = (Prefix, &T)> {
        let after = self
            .nodes
            .partition_point(|node| node.prefix.start() <= addr);
        let mut next = after.checked_sub(1);
        std::iter::from_fn(move || {
            let node = next.and_then(|index| self.nodes.get(index))?;
            next = node.parent;
            Some(node)
        })
        .filter(move |node| node.prefix.contains(addr))
        .map(|node| (node.prefix, &node.value))
    }

    /// The narrowest prefix around an address (in the common space).
    pub fn narrowest(&self, addr: u128) -> Option<(Prefix, &T)> {
        self.around(addr).next()
    }

    /// Entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &T)> {
        self.nodes.iter().map(|node| (node.prefix, &node.value))
    }

    /// How many prefixes it holds.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> u128 {
        key(text.parse().unwrap())
    }

    #[test]
    fn reads_and_prints_cidr() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "9.9.9.9/32",
            "2001:db8::/32",
            "::/0",
        ] {
            assert_eq!(Prefix::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0",
            "x/8",
            "::/129",
            "10.0.0.0/-1",
        ] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
    }

    #[test]
    fn finds_the_largest_block_within_a_range() {
        let block = |a: &str, first: &str, last: &str| {
            Prefix::largest_within(addr(a), addr(first), addr(last)).to_string()
        };
        assert_eq!(block("10.0.0.5", "10.0.0.0", "10.0.1.255"), "10.0.0.0/23");
        assert_eq!(block("10.0.0.5", "10.0.0.4", "10.0.1.255"), "10.0.0.4/30");
        assert_eq!(block("10.0.0.5", "10.0.0.5", "10.0.0.5"), "10.0.0.5/32");
        assert_eq!(
            block("2001:db8::1", "2001:db8::", "2001:db8:1::"),
            "2001:db8::/48"
        );
    }

    #[test]
    fn only_the_well_known_nat64_prefix_is_decoded() {
        let decoded = |text: &str| nat64(text.parse().unwrap()).map(|addr| addr.to_string());
        assert_eq!(
            decoded("64:ff9b::d53:104").as_deref(),
            Some("13.83.1.4"),
            "the last 32 bits are the address"
        );
        assert_eq!(decoded("64:ff9b:1::d53:104"), None);
        assert_eq!(decoded("64:ff9b:0:1::d53:104"), None);
    }

    /// Within 10.0.0.0/16.
    fn near(bits: u16, len: u8) -> Prefix {
        let [c, d] = bits.to_be_bytes();
        Prefix::v4([10, 0, c, d], 16 + len)
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            blocks in proptest::collection::vec((any::<u16>(), 0u8..=16), 0..40),
            probe in any::<u16>(),
        ) {
            let blocks: Vec<Prefix> = blocks.iter().map(|&(bits, len)| near(bits, len)).collect();
            let table = PrefixTable::new(blocks.iter().map(|&block| (block, block)).collect());
            let probe = near(probe, 16).start();
            let mut expected: Vec<Prefix> =
                blocks.into_iter().filter(|block| block.contains(probe)).collect();
            expected.sort_by_key(|block| std::cmp::Reverse(block.bits()));
            expected.dedup();
            let found: Vec<Prefix> = table.around(probe).map(|(block, _)| block).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
