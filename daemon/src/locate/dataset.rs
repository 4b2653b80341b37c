//! What a location file holds, as plain values: the sources and their tables.
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
    /// Whether its licence forbids keeping an old version: then a case keeps what it said and its
    /// hash, never the file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
}

/// Most sources of a file.
pub const SOURCES_MAX: usize = 256;
/// Most country databases of a file: a [`Row`] has a place for each.
pub const DATABASES_MAX: usize = 8;

/// An ISO 3166-1 alpha-2 code, or one of the few others that databases use; zeros for none.
pub type CountryCode = [u8; 2];

/// No country.
pub const NO_COUNTRY: CountryCode = [0, 0];
/// Country of a region that is in no table of ours (user-assigned in ISO 3166-1).
pub const UNKNOWN_COUNTRY: CountryCode = *b"ZZ";

/// Ranges of one family that cover its whole space: each reaches to the next one's start, the
/// first begins at 0. Neighbours differ in their row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges<K> {
    /// First addresses, strictly rising.
    pub starts: Vec<K>,
    /// Index into [`Dataset::rows`], one for each start.
    pub rows: Vec<u32>,
}

/// What the databases say together of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Row {
    /// Index into [`Dataset::countries`] for each of [`Dataset::databases`]; 0 beyond them.
    pub votes: [u8; DATABASES_MAX],
    /// Index into [`Dataset::systems`].
    pub system: u32,
}

/// An autonomous system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct System {
    /// Index into [`Dataset::sources`]: who says so.
    pub source: u16,
    /// Its number; 0 for none.
    pub number: u32,
    /// The country that it is registered in, which is not where its addresses are.
    pub country: CountryCode,
    /// Who runs it.
    pub name: String,
}

/// A region of a cloud, or a border group within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The provider's name of the region (`ap-southeast-1`).
    pub region: String,
    /// The provider's name of the border group (`ap-southeast-1-bkk-1`); else the region's.
    pub border_group: String,
    /// Where that is; [`NO_COUNTRY`] for `GLOBAL`, [`UNKNOWN_COUNTRY`] where no table says it.
    pub country: CountryCode,
}

/// A prefix of a cloud's own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// Index into [`ProviderList::locations`].
    pub location: u16,
    /// One bit for each entry of [`ProviderList::services`].
    pub services: u64,
}

/// A provider's own list of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderList {
    /// Index into [`Dataset::sources`].
    pub source: u16,
    /// Provider key (`aws`).
    pub key: String,
    /// Name (`Amazon Web Services`).
    pub name: String,
    /// Regions and border groups.
    pub locations: Vec<Location>,
    /// Names of the services that it tells apart.
    pub services: Vec<String>,
    /// Its prefixes, rising.
    pub prefixes: Vec<CloudPrefix>,
}

/// An organisation whose own documents say that its addresses are in many places at once; or a
/// list of such addresses, which names nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Index into [`Dataset::sources`].
    pub source: u16,
    /// Provider key (`cloudflare`); empty for a list.
    pub key: String,
    /// Name (`Cloudflare`); empty for a list.
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

/// What a list says of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainList {
    /// Index into [`Dataset::sources`].
    pub source: u16,
    /// Categories (`advertising`).
    pub categories: Vec<String>,
    /// Domains in lower case, rising, with an index into `categories` each; they stand for the
    /// names below them, too.
    pub domains: Vec<(String, u16)>,
}

/// Everything that the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Published files.
    pub sources: Vec<Source>,
    /// Country codes; the first is [`NO_COUNTRY`].
    pub countries: Vec<CountryCode>,
    /// Country databases: indices into `sources`, at most [`DATABASES_MAX`].
    pub databases: Vec<u16>,
    /// Autonomous systems; the first is none.
    pub systems: Vec<System>,
    /// Distinct rows.
    pub rows: Vec<Row>,
    /// IPv4 addresses to rows.
    pub ipv4: Ranges<u32>,
    /// IPv6 addresses to rows.
    pub ipv6: Ranges<u128>,
    /// Providers' own lists.
    pub lists: Vec<ProviderList>,
    /// Organisations that cannot be located.
    pub organisations: Vec<Organisation>,
    /// Their prefixes, rising.
    pub spread: Vec<SpreadPrefix>,
    /// Lists of names.
    pub domains: Vec<DomainList>,
}
