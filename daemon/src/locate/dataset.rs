//! What the embedded file holds, as plain values: the sources and their tables.
//!
//! In: the decoder, or the builder that read the published files. Out: the atlas, or the encoder.

use serde::Serialize;

use super::prefix::Prefix;
use crate::time::Timestamp;

/// One published file that the tables were made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Short name, as it stands in a place's basis (`dbip-country-lite`).
    pub name: String,
    /// The publisher's version or date.
    pub version: String,
    /// When it was published.
    pub published: Timestamp,
    /// Which file.
    pub file: String,
    /// SHA-256 of that file, lower-case hex.
    pub sha256: String,
    /// Where it is published.
    pub url: String,
    /// Licence (an SPDX identifier where there is one).
    pub licence: String,
    /// The attribution that the licence asks for.
    pub attribution: String,
}

/// How many sources a file has; their order is fixed, see [`Dataset::sources`].
pub const SOURCES: usize = 5;

/// An ISO 3166-1 alpha-2 code, or one of the few others that databases use; zeros for none.
pub type CountryCode = [u8; 2];

/// No country.
pub const NO_COUNTRY: CountryCode = [0, 0];

/// Ranges of one family that cover its whole space: each reaches to the next one's start, the
/// first begins at 0. Neighbours differ in country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges<K> {
    /// First addresses, strictly rising.
    pub starts: Vec<K>,
    /// Index into [`Dataset::countries`], one for each start.
    pub countries: Vec<u8>,
}

/// A region of a cloud, or a border group within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The provider's name of the region (`ap-southeast-1`).
    pub region: String,
    /// The provider's name of the border group (`ap-southeast-1-bkk-1`).
    pub border_group: String,
    /// Where that is; [`NO_COUNTRY`] for `GLOBAL`.
    pub country: CountryCode,
}

/// A prefix of a cloud's own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// Index into [`Dataset::locations`].
    pub location: u16,
    /// One bit for each entry of [`Dataset::services`].
    pub services: u64,
}

/// An organisation whose own documents say that its addresses are in many places at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Provider key (`cloudflare`).
    pub key: String,
    /// Name (`Cloudflare`).
    pub name: String,
    /// What the addresses are (`anycast content network`).
    pub kind: String,
    /// The document that says so.
    pub document: String,
}

/// A prefix of such an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpreadPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// Index into [`Dataset::organisations`].
    pub organisation: u16,
}

/// Everything that the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// In this order: the country database, the cloud's list, the list of networks that cannot be
    /// located, the table of regions, the table of border groups.
    pub sources: [Source; SOURCES],
    /// Country codes; the first is [`NO_COUNTRY`].
    pub countries: Vec<CountryCode>,
    /// IPv4 addresses to countries.
    pub ipv4: Ranges<u32>,
    /// IPv6 addresses to countries.
    pub ipv6: Ranges<u128>,
    /// Regions and border groups.
    pub locations: Vec<Location>,
    /// Names of the cloud's services.
    pub services: Vec<String>,
    /// The cloud's prefixes, rising.
    pub cloud: Vec<CloudPrefix>,
    /// Organisations that cannot be located.
    pub organisations: Vec<Organisation>,
    /// Their prefixes, rising.
    pub spread: Vec<SpreadPrefix>,
}
