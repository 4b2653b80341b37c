//! Blocks that have no place on the Internet: private, documentation, multicast and the like.
//!
//! In: nothing; the table is the IANA special-purpose address registries (RFC 6890) as amended by
//! the RFC named with each block, and multicast. Out: for an address, the block and its RFC.

use super::prefix::Prefix;

/// One block of the registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Which RFC sets it aside.
    pub rfc: &'static str,
    /// For what.
    pub purpose: &'static str,
}

/// The blocks.
pub fn blocks() -> impl Iterator<Item = (Prefix, Block)> {
    let v4 = BLOCKS_V4
        .iter()
        .map(|&(octets, len, rfc, purpose)| (Prefix::v4(octets, len), Block { rfc, purpose }));
    let v6 = BLOCKS_V6
        .iter()
        .map(|&(segments, len, rfc, purpose)| (Prefix::v6(segments, len), Block { rfc, purpose }));
    v4.chain(v6)
}

type V4 = ([u8; 4], u8, &'static str, &'static str);
type V6 = ([u16; 8], u8, &'static str, &'static str);

const BLOCKS_V4: &[V4] = &[
    ([0, 0, 0, 0], 8, "RFC 791", "this network"),
    ([10, 0, 0, 0], 8, "RFC 1918", "private use"),
    (
        [100, 64, 0, 0],
        10,
        "RFC 6598",
        "shared address space (carrier-grade NAT)",
    ),
    ([127, 0, 0, 0], 8, "RFC 1122", "loopback"),
    ([169, 254, 0, 0], 16, "RFC 3927", "link-local"),
    ([172, 16, 0, 0], 12, "RFC 1918", "private use"),
    ([192, 0, 0, 0], 24, "RFC 6890", "IETF protocol assignments"),
    ([192, 0, 2, 0], 24, "RFC 5737", "documentation"),
    ([192, 88, 99, 0], 24, "RFC 7526", "6to4 relay anycast"),
    ([192, 168, 0, 0], 16, "RFC 1918", "private use"),
    ([198, 18, 0, 0], 15, "RFC 2544", "benchmarking"),
    ([198, 51, 100, 0], 24, "RFC 5737", "documentation"),
    ([203, 0, 113, 0], 24, "RFC 5737", "documentation"),
    ([224, 0, 0, 0], 4, "RFC 5771", "multicast"),
    ([240, 0, 0, 0], 4, "RFC 1112", "reserved"),
    ([255, 255, 255, 255], 32, "RFC 8190", "limited broadcast"),
];

const BLOCKS_V6: &[V6] = &[
    ([0; 8], 96, "RFC 4291", "IPv4-compatible, deprecated"),
    ([0; 8], 128, "RFC 4291", "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "RFC 4291", "loopback"),
    (
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        48,
        "RFC 8215",
        "local-use IPv4/IPv6 translation",
    ),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "RFC 6666", "discard-only"),
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "RFC 9780", "dummy prefix"),
    (
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        23,
        "RFC 2928",
        "IETF protocol assignments",
    ),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "RFC 4380", "Teredo"),
    (
        [0x2001, 2, 0, 0, 0, 0, 0, 0],
        48,
        "RFC 5180",
        "benchmarking",
    ),
    (
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        "RFC 3849",
        "documentation",
    ),
    (
        [0x2001, 0x10, 0, 0, 0, 0, 0, 0],
        28,
        "RFC 4843",
        "ORCHID, deprecated",
    ),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "RFC 7343", "ORCHIDv2"),
    (
        [0x2001, 0x30, 0, 0, 0, 0, 0, 0],
        28,
        "RFC 9374",
        "drone remote ID",
    ),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "RFC 3056", "6to4"),
    (
        [0x3fff, 0, 0, 0, 0, 0, 0, 0],
        20,
        "RFC 9637",
        "documentation",
    ),
    (
        [0x5f00, 0, 0, 0, 0, 0, 0, 0],
        16,
        "RFC 9602",
        "SRv6 segment identifiers",
    ),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "RFC 4193", "unique local"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "RFC 4291", "link-local"),
    (
        [0xfec0, 0, 0, 0, 0, 0, 0, 0],
        10,
        "RFC 3879",
        "site-local, deprecated",
    ),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "RFC 4291", "multicast"),
];

#[cfg(test)]
mod tests {
    use super::{
        super::prefix::{PrefixTable, key},
        *,
    };

    #[test]
    fn names_the_narrowest_block() {
        let table = PrefixTable::new(blocks().collect());
        let of = |text: &str| {
            let addr = key(text.parse().unwrap());
            let found = table.around(addr).next();
            found.map(|(len, block)| (Prefix::around(addr, len).to_string(), block.rfc))
        };
        for (addr, prefix, rfc) in [
            ("10.1.2.3", "10.0.0.0/8", "RFC 1918"),
            ("172.31.255.255", "172.16.0.0/12", "RFC 1918"),
            ("192.168.1.1", "192.168.0.0/16", "RFC 1918"),
            ("100.64.0.1", "100.64.0.0/10", "RFC 6598"),
            ("127.0.0.1", "127.0.0.0/8", "RFC 1122"),
            ("169.254.9.9", "169.254.0.0/16", "RFC 3927"),
            ("203.0.113.5", "203.0.113.0/24", "RFC 5737"),
            ("224.0.0.251", "224.0.0.0/4", "RFC 5771"),
            ("255.255.255.255", "255.255.255.255/32", "RFC 8190"),
            ("255.255.255.254", "240.0.0.0/4", "RFC 1112"),
            ("::1", "::1/128", "RFC 4291"),
            ("fe80::1", "fe80::/10", "RFC 4291"),
            ("fd00::1", "fc00::/7", "RFC 4193"),
            ("2001:db8::1", "2001:db8::/32", "RFC 3849"),
            ("2001:0:1::1", "2001::/32", "RFC 4380"),
            ("64:ff9b:1::1", "64:ff9b:1::/48", "RFC 8215"),
            ("ff02::fb", "ff00::/8", "RFC 4291"),
        ] {
            assert_eq!(of(addr), Some((prefix.to_owned(), rfc)), "{addr}");
        }
        for addr in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:4860::1",
            "2400:cb00::1",
        ] {
            assert_eq!(of(addr), None, "{addr}");
        }
    }
}
