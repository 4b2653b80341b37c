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

use super::steps::{Address, Steps};

/// First address of the IPv4-mapped block.
const MAPPED: u128 = 0xffff_0000_0000;
/// First address behind that block.
const MAPPED_END: u128 = 0x1_0000_0000_0000;
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

    /// The block of a length (at most 128) around an address, both in the common space.
    pub const fn around(addr: u128, len: u8) -> Self {
        Self::clamped(addr, len)
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

/// Starts, and a number for each.
type Numbered<K> = (Steps<K>, Vec<u32>);

/// A prefix without its first address, which is that of any address in it.
#[derive(Debug, Clone)]
struct Node<T> {
    /// Number of the narrowest other prefix around this one, counted from 1; 0 for none.
    parent: u32,
    len: u8,
    value: T,
}

/// Prefixes with what is known of each; they may nest, and the same one may occur again.
#[derive(Debug, Clone)]
pub struct PrefixTable<T> {
    nodes: Vec<Node<T>>,
    /// Where another prefix becomes the narrowest, by family; and which one, counted from 1.
    ipv4: Numbered<u32>,
    ipv6: Numbered<u128>,
}

impl<T> PrefixTable<T> {
    /// Orders the entries. Of entries with the same prefix the last one counts as the narrowest.
    pub fn new(mut entries: Vec<(Prefix, T)>) -> Self {
        entries.sort_by_key(|(prefix, _)| *prefix);
        let mut nodes: Vec<Node<T>> = Vec::with_capacity(entries.len());
        let mut edges = Edges::default();
        // Those around the present one, the narrowest last, with their numbers.
        let mut open: Vec<(Prefix, u32)> = Vec::new();
        for (number, (prefix, value)) in (1_u32..).zip(entries) {
            while let Some((before, _)) = open.pop_if(|(before, _)| !before.covers(prefix)) {
                edges.push(before.last().checked_add(1), narrowest(&open));
            }
            edges.push(Some(prefix.start()), number);
            nodes.push(Node {
                parent: narrowest(&open),
                len: prefix.bits(),
                value,
            });
            open.push((prefix, number));
        }
        while let Some((before, _)) = open.pop() {
            edges.push(before.last().checked_add(1), narrowest(&open));
        }
        let (ipv4, ipv6) = edges.by_family();
        Self { nodes, ipv4, ipv6 }
    }

    /// The prefixes around an address (in the common space), the narrowest first: the length of
    /// each, and what is known of it.
    pub fn around(&self, addr: u128) -> impl Iterator<Item = (u8, &T)> {
        let narrowest = match u32::try_from(addr ^ MAPPED) {
            Ok(addr) => at(&self.ipv4, addr),
            Err(_) => at(&self.ipv6, addr),
        };
        let mut next = narrowest.unwrap_or(0);
        std::iter::from_fn(move || {
            let index = usize::try_from(next.checked_sub(1)?).ok()?;
            let node = self.nodes.get(index)?;
            next = node.parent;
            Some((node.len, &node.value))
        })
    }

    /// How many prefixes it holds.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }
}

/// The number of the narrowest of the prefixes that are open; 0 for none.
fn narrowest(open: &[(Prefix, u32)]) -> u32 {
    open.last().map_or(0, |&(_, number)| number)
}

fn at<K: Address>((steps, numbers): &Numbered<K>, addr: K) -> Option<u32> {
    numbers.get(steps.find(addr)?).copied()
}

/// Where the narrowest prefix changes, rising: first address, and the number of the prefix, counted
/// from 1; 0 for none.
#[derive(Default)]
struct Edges(Vec<(u128, u32)>);

impl Edges {
    /// None behind the last address of all.
    fn push(&mut self, start: Option<u128>, number: u32) {
        let Some(start) = start else { return };
        match self.0.last_mut() {
            Some((last, of)) if *last == start => *of = number,
            _ => self.0.push((start, number)),
        }
    }

    fn by_family(self) -> (Numbered<u32>, Numbered<u128>) {
        let mut narrow = (vec![0], vec![0]);
        let mut wide = (vec![0], vec![0]);
        for (start, number) in self.0 {
            let before_ipv4 = start <= MAPPED;
            if before_ipv4 {
                narrow.1 = vec![number];
            } else if let Ok(start) = u32::try_from(start ^ MAPPED) {
                push(&mut narrow, start, number);
                // What it comes to holds behind the IPv4 block.
                push(&mut wide, MAPPED_END, number);
                continue;
            }
            push(&mut wide, start, number);
        }
        (
            (Steps::new(&narrow.0), narrow.1),
            (Steps::new(&wide.0), wide.1),
        )
    }
}

fn push<K: Address>((starts, numbers): &mut (Vec<K>, Vec<u32>), start: K, number: u32) {
    match (starts.last(), numbers.last_mut()) {
        (Some(last), Some(of)) if *last == start => *of = number,
        _ => {
            starts.push(start);
            numbers.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let around = table.around(probe).map(|(len, block)| (Prefix::around(probe, len), *block));
            let found: Vec<Prefix> = around
                .map(|(block, same)| {
                    assert_eq!(block, same);
                    block
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
