//! What is known beforehand: where published address ranges stand, and who sends.
//!
//! In: nothing. Out: tables that do not come from the location data that conclusions rest on: each
//! range is stated as its operator or registry published it, with the source.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::Serialize;

/// Which place a range has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// A provider's own region, and the country of it.
    Region,
    /// The country of the holder, as the registry has it.
    Country,
    /// The operator says that one address answers from many places: none may be named.
    Anycast,
    /// Nobody's address: none may be named.
    Nowhere,
}

/// A range whose place was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// First address.
    pub first: IpAddr,
    /// Bits of its prefix.
    pub bits: u8,
    /// What is known of its place.
    pub known: Known,
    /// Country (ISO 3166-1); none where none may be named.
    pub country: Option<&'static str>,
    /// Key of the provider.
    pub provider: Option<&'static str>,
    /// The provider's name of the region.
    pub region: Option<&'static str>,
    /// Who published it.
    pub source: &'static str,
}

const AWS: &str =
    "Amazon, ip-ranges.json of 2025-10-31 (region); the region's country as Amazon names it";
const APNIC: &str = "APNIC, delegated statistics (country of the holder)";
const RIPE: &str = "RIPE NCC, delegated statistics (country of the holder)";
const CLOUDFLARE: &str = "Cloudflare, www.cloudflare.com/ips: its anycast network";

const fn v4(a: u8, b: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, 0, 0))
}

const fn v6(a: u16, b: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0))
}

const fn region(first: IpAddr, bits: u8, country: &'static str, region: &'static str) -> Range {
    Range {
        first,
        bits,
        known: Known::Region,
        country: Some(country),
        provider: Some("aws"),
        region: Some(region),
        source: AWS,
    }
}

const fn country(first: IpAddr, bits: u8, country: &'static str, source: &'static str) -> Range {
    Range {
        first,
        bits,
        known: Known::Country,
        country: Some(country),
        provider: None,
        region: None,
        source,
    }
}

const fn no_place(first: IpAddr, bits: u8, known: Known, source: &'static str) -> Range {
    Range {
        first,
        bits,
        known,
        country: None,
        provider: None,
        region: None,
        source,
    }
}

/// The ranges, those of IPv4 first.
pub const RANGES: [Range; 18] = [
    region(v4(13, 229), 16, "SG", "ap-southeast-1"),
    region(v4(13, 126), 15, "IN", "ap-south-1"),
    region(v4(18, 184), 15, "DE", "eu-central-1"),
    region(v4(52, 80), 16, "CN", "cn-north-1"),
    country(v4(1, 180), 16, "CN", APNIC),
    country(v4(49, 45), 16, "IN", APNIC),
    country(v4(84, 136), 16, "DE", RIPE),
    no_place(v4(104, 16), 16, Known::Anycast, CLOUDFLARE),
    no_place(
        v4(198, 18),
        15,
        Known::Nowhere,
        "RFC 2544: for measurements of networks",
    ),
    region(v6(0x2406, 0xda18), 36, "SG", "ap-southeast-1"),
    region(v6(0x2406, 0xda1a), 36, "IN", "ap-south-1"),
    region(v6(0x2a05, 0xd014), 36, "DE", "eu-central-1"),
    region(v6(0x2600, 0x1f18), 33, "US", "us-east-1"),
    country(v6(0x240e, 0x18), 32, "CN", APNIC),
    country(v6(0x2405, 0x200), 32, "IN", APNIC),
    country(v6(0x2003, 0xc0), 32, "DE", RIPE),
    no_place(v6(0x2606, 0x4700), 32, Known::Anycast, CLOUDFLARE),
    no_place(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 0)),
        48,
        Known::Nowhere,
        "RFC 3849: for documentation",
    ),
];

impl Range {
    /// The address of the range whose bits behind the prefix are the last of `number`.
    pub fn address(&self, number: u128) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => {
                let host = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                let low = u32::try_from(number & u128::from(host)).unwrap_or(0);
                IpAddr::V4((first.to_bits() | low).into())
            }
            IpAddr::V6(first) => {
                let host = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                IpAddr::V6((first.to_bits() | (number & host)).into())
            }
        }
    }

    /// As a route is typed.
    pub fn cidr(&self) -> String {
        format!("{}/{}", self.first, self.bits)
    }

    /// The range that an address lies in.
    pub fn of(addr: IpAddr) -> Option<&'static Self> {
        RANGES.iter().find(|range| match (range.first, addr) {
            (IpAddr::V4(first), IpAddr::V4(addr)) => {
                let mask = !u32::MAX.checked_shr(range.bits.into()).unwrap_or(0);
                addr.to_bits() & mask == first.to_bits()
            }
            (IpAddr::V6(first), IpAddr::V6(addr)) => {
                let mask = !u128::MAX.checked_shr(range.bits.into()).unwrap_or(0);
                addr.to_bits() & mask == first.to_bits()
            }
            _ => false,
        })
    }
}

/// Who sends: a UID with its packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// The kernel's UID.
    pub uid: u32,
    /// Packages that run under it; empty: none does.
    pub packages: &'static [&'static str],
    /// In plain words.
    pub what: &'static str,
}

/// UIDs of each Android user: `uid = user * 100_000 + appid`.
pub const PER_USER: u32 = 100_000;
/// The second Android user.
pub const SECOND_USER: u32 = 10;
/// First of the UIDs of apps (`AID_APP_START`).
pub const FIRST_APP: u32 = 10_000;

const WEATHER: &[&str] = &["org.example.validate.weather"];
const MARKET: &[&str] = &["org.example.validate.market"];
const SHARED: &[&str] = &[
    "org.example.validate.camera",
    "org.example.validate.gallery",
];

/// Who sends, each in a process of its own.
pub const SENDERS: [Sender; 8] = [
    Sender {
        uid: 10_050,
        packages: WEATHER,
        what: "an app",
    },
    Sender {
        uid: 10_051,
        packages: MARKET,
        what: "another app",
    },
    Sender {
        uid: SECOND_USER * PER_USER + 10_050,
        packages: WEATHER,
        what: "the first app for the second user",
    },
    Sender {
        uid: SECOND_USER * PER_USER + 10_051,
        packages: MARKET,
        what: "the other app for the second user",
    },
    Sender {
        uid: 10_056,
        packages: SHARED,
        what: "two apps of one shared UID",
    },
    Sender {
        uid: 99_010,
        packages: &[],
        what: "an isolated process",
    },
    Sender {
        uid: 1000,
        packages: &[],
        what: "the system server's UID",
    },
    Sender {
        uid: 1001,
        packages: &[],
        what: "the telephony's UID",
    },
];

/// The inventory that the daemon is given: `packages.list` and the list of users.
pub fn inventory() -> [(&'static str, String); 2] {
    let mut list = String::new();
    for sender in SENDERS.iter().filter(|sender| sender.uid < PER_USER) {
        for package in sender.packages {
            let uid = sender.uid;
            let _ = writeln!(
                list,
                "{package} {uid} 0 /data/user/0/{package} default 3003 0 1 1 @system"
            );
        }
    }
    let users = format!("<users><user id=\"0\"/><user id=\"{SECOND_USER}\"/></users>\n");
    [("packages.list", list), ("userlist.xml", users)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_their_range() {
        for range in &RANGES {
            for number in [0, 1, 0x1234_5678_9abc_def0, u128::MAX] {
                assert_eq!(Range::of(range.address(number)), Some(range));
            }
        }
        assert_eq!(Range::of(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }
}
