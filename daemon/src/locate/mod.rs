//! Where an address is, with grade and basis.
//!
//! In: an address, the time of the contact and how old a provider's list may be. Out: a
//! [`Place`], which names each source with its version, its SHA-256 and the prefix that matched.
//! The tables are embedded, so it works without a network; `docs/data.md` tells what is in them,
//! how they are laid out and how they are rebuilt.

pub mod dataset;
#[cfg(any(test, feature = "lab"))]
pub mod encode;
pub mod format;
mod ladder;
pub mod nat64;
pub mod prefix;
mod special;

use std::net::IpAddr;

use sakshi_rules::contact::{Grade, Place};
use thiserror::Error;

pub use self::dataset::Source;
use self::{
    dataset::{CountryCode, Dataset, Location, NO_COUNTRY, Organisation, Ranges, SOURCES},
    prefix::{Prefix, PrefixTable},
    special::Block,
};
use crate::time::Timestamp;

/// The data file that is built in.
const EMBEDDED: &[u8] = include_bytes!("../../data/places.bin");

/// Why the location data could not be read or written.
#[derive(Debug, Error)]
pub enum LocateError {
    /// Another kind of file.
    #[error("location data: this is not a Sakshi location file; build one with `cargo xtask data`")]
    NotOurs,
    /// A layout that this build does not know.
    #[error(
        "location data: layout version {0}, expected {version}; rebuild it with `cargo xtask data`, or use the sakshi that belongs to it",
        version = format::VERSION
    )]
    Version(u16),
    /// The stated length of the payload is beyond the bound.
    #[error(
        "location data: a payload of {0} bytes, expected at most {max}",
        max = format::PAYLOAD_MAX
    )]
    TooLong(u32),
    /// The compressed payload is damaged or cut.
    #[error("location data: the compressed payload cannot be read; copy the file again")]
    Inflate(#[source] std::io::Error),
    /// The payload is not as long as stated.
    #[error("location data: a payload of {found} bytes, expected {expected}; copy the file again")]
    Length {
        /// Length in the header.
        expected: u32,
        /// Length found.
        found: usize,
    },
    /// The payload breaks a rule of the layout.
    #[error("location data: byte {offset} of the payload: expected {expected}; rebuild the file")]
    Damaged {
        /// Offset in the payload.
        offset: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Tables that the layout cannot hold.
    #[error("location data: cannot be written: expected {0}")]
    Unwritable(&'static str),
}

/// What is known of a cloud's prefix.
#[derive(Debug, Clone, Copy)]
struct CloudEntry {
    location: u16,
    services: u64,
}

/// The tables, ready for look-ups. About 8 MB; immutable, so threads may share it.
#[derive(Debug)]
pub struct Atlas {
    sources: [Source; SOURCES],
    countries: Vec<CountryCode>,
    ipv4: Ranges<u32>,
    ipv6: Ranges<u128>,
    locations: Vec<Location>,
    services: Vec<String>,
    /// Bits of the services whose addresses are announced from many places.
    edge_services: u64,
    cloud: PrefixTable<CloudEntry>,
    organisations: Vec<Organisation>,
    spread: PrefixTable<u16>,
    special: PrefixTable<Block>,
}

impl Atlas {
    /// The data that is built in.
    pub fn embedded() -> Result<Self, LocateError> {
        Self::from_bytes(EMBEDDED)
    }

    /// Reads a data file (layout: `docs/data.md`).
    pub fn from_bytes(file: &[u8]) -> Result<Self, LocateError> {
        format::decode(file).map(Self::new)
    }

    /// Prepares tables for look-ups.
    pub fn new(data: Dataset) -> Self {
        let edge_services = data
            .services
            .iter()
            .zip(0_u32..)
            .filter(|(name, _)| ladder::EDGE_SERVICES.contains(&name.as_str()))
            .fold(0, |bits, (_, bit)| {
                bits | 1_u64.checked_shl(bit).unwrap_or(0)
            });
        let cloud = data.cloud.into_iter().map(|entry| {
            let value = CloudEntry {
                location: entry.location,
                services: entry.services,
            };
            (entry.prefix, value)
        });
        let spread = data.spread.into_iter();
        Self {
            sources: data.sources,
            countries: data.countries,
            ipv4: data.ipv4,
            ipv6: data.ipv6,
            locations: data.locations,
            services: data.services,
            edge_services,
            cloud: PrefixTable::new(cloud.collect()),
            organisations: data.organisations,
            spread: PrefixTable::new(
                spread
                    .map(|entry| (entry.prefix, entry.organisation))
                    .collect(),
            ),
            special: special::blocks(),
        }
    }

    /// The published files behind the tables, for the case's manifest.
    pub fn manifest(&self) -> &[Source] {
        &self.sources
    }

    /// Where `addr` is, as far as the sources say for a contact at `at`; `max_age_days` is how
    /// old a provider's own list may be for the grade *high*.
    ///
    /// The basis stands in the order of the reasoning: the translation prefix if there was one,
    /// then what decided, then what other sources say. IPv4-mapped addresses are looked up as
    /// IPv4, NAT64 addresses (RFC 6052, well-known prefix) by the IPv4 address in them.
    pub fn locate(&self, addr: IpAddr, at: Timestamp, max_age_days: u32) -> Place {
        ladder::locate(self, addr, at, max_age_days)
    }

    /// What the country database alone says of an address (no ladder, no translation), and the
    /// largest block around it of which it says the same; none when it says nothing.
    pub fn database_country(&self, addr: IpAddr) -> Option<(CountryCode, Prefix)> {
        let (code, first, last) = match addr {
            IpAddr::V4(addr) => {
                let (index, first, next) = span(&self.ipv4, addr.to_bits())?;
                let base = prefix::key(IpAddr::from([0, 0, 0, 0]));
                let last = next.map_or(u32::MAX, |next| next.saturating_sub(1));
                (index, base | u128::from(first), base | u128::from(last))
            }
            IpAddr::V6(addr) => {
                let (index, first, next) = span(&self.ipv6, addr.to_bits())?;
                (
                    index,
                    first,
                    next.map_or(u128::MAX, |next| next.saturating_sub(1)),
                )
            }
        };
        let code = *self.countries.get(usize::from(code))?;
        (code != NO_COUNTRY).then(|| (code, Prefix::largest_within(prefix::key(addr), first, last)))
    }

    /// How many ranges and prefixes the tables hold: IPv4 ranges, IPv6 ranges, cloud prefixes,
    /// prefixes that cannot be located.
    pub fn sizes(&self) -> [usize; 4] {
        [
            self.ipv4.starts.len(),
            self.ipv6.starts.len(),
            self.cloud.len(),
            self.spread.len(),
        ]
    }
}

/// The range around an address: its country's index, its start, and the next one's start.
fn span<K: Copy + Ord>(ranges: &Ranges<K>, addr: K) -> Option<(u8, K, Option<K>)> {
    let after = ranges.starts.partition_point(|&start| start <= addr);
    let index = after.checked_sub(1)?;
    Some((
        *ranges.countries.get(index)?,
        *ranges.starts.get(index)?,
        ranges.starts.get(after).copied(),
    ))
}

/// The place of an address of which nothing is known.
pub fn unknown_place() -> Place {
    Place {
        country: None,
        provider: None,
        region: None,
        asn: None,
        organisation: None,
        grade: Grade::None,
        basis: Vec::new(),
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
