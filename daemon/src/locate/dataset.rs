//! What a location file holds, as plain values: the sources and their tables.
//!
//! In: the decoder, or the builder that read the published files. Out: the atlas, or the encoder.

use serde::Serialize;

use super::{
    prefix::Prefix,
    steps::{Address, Numbers, Steps},
};
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
pub struct Ranges<K: Address> {
    /// First addresses.
    pub steps: Steps<K>,
    /// Index into [`Dataset::rows`], one for each start.
    pub rows: Numbers,
}

impl<K: Address> Ranges<K> {
    /// From first addresses, strictly rising, and their rows, of which there are `of`.
    pub fn new(starts: &[K], rows: &[u32], of: usize) -> Self {
        Self {
            steps: Steps::new(starts),
            rows: Numbers::below(of, rows),
        }
    }

    /// Each start with its row.
    pub fn iter(&self) -> impl Iterator<Item = (K, usize)> {
        let numbers = 0..self.steps.count();
        numbers.filter_map(|at| Some((self.steps.start(at)?, self.rows.get(at)?)))
    }
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

/// Autonomous systems in little space: there may be more than a hundred thousand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Systems {
    /// Apart from the others, as this alone is asked for each verdict.
    numbers: Vec<u32>,
    said: Vec<(u16, CountryCode)>,
    /// All names, one behind the other, and where each ends.
    names: String,
    ends: Vec<u32>,
}

impl Systems {
    /// How many.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// The number of one of them; 0 for none.
    pub fn number(&self, index: usize) -> u32 {
        self.numbers.get(index).copied().unwrap_or(0)
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<System> {
        let &(source, country) = self.said.get(index)?;
        let end = |at: usize| usize::try_from(*self.ends.get(at)?).ok();
        let start = index.checked_sub(1).map_or(Some(0), end)?;
        Some(System {
            source,
            number: self.number(index),
            country,
            name: self.names.get(start..end(index)?)?.to_owned(),
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = System> {
        (0..self.count()).filter_map(|index| self.get(index))
    }
}

impl FromIterator<System> for Systems {
    fn from_iter<T: IntoIterator<Item = System>>(systems: T) -> Self {
        let mut all = SystemsRead::new(0);
        for system in systems {
            let name = system.name.as_bytes();
            all.push(system.source, system.number, system.country, name);
        }
        all.finish().unwrap_or_default()
    }
}

/// Systems as they are read; whether their names are text is asked of all at once.
#[derive(Debug)]
pub struct SystemsRead {
    systems: Systems,
    names: Vec<u8>,
}

impl SystemsRead {
    /// For so many.
    pub fn new(count: usize) -> Self {
        let systems = Systems {
            numbers: Vec::with_capacity(count),
            said: Vec::with_capacity(count),
            names: String::new(),
            ends: Vec::with_capacity(count),
        };
        Self {
            systems,
            names: Vec::new(),
        }
    }

    /// One more.
    #[inline]
    pub fn push(&mut self, source: u16, number: u32, country: CountryCode, name: &[u8]) {
        let systems = &mut self.systems;
        systems.numbers.push(number);
        systems.said.push((source, country));
        self.names.extend_from_slice(name);
        // A file has at most 32 MiB.
        let end = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        systems.ends.push(end);
    }

    /// All of them; none where a name is not in UTF-8.
    pub fn finish(self) -> Option<Systems> {
        let Self { mut systems, names } = self;
        systems.names = String::from_utf8(names).ok()?;
        let whole = |&end: &u32| {
            let end = usize::try_from(end);
            end.is_ok_and(|end| systems.names.is_char_boundary(end))
        };
        if !systems.ends.iter().all(whole) {
            return None;
        }
        systems.numbers.shrink_to_fit();
        systems.said.shrink_to_fit();
        systems.names.shrink_to_fit();
        systems.ends.shrink_to_fit();
        Some(systems)
    }
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
    pub systems: Systems,
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

impl Dataset {
    /// One that says nothing.
    pub(super) fn empty() -> Self {
        Self {
            sources: Vec::new(),
            countries: vec![NO_COUNTRY],
            databases: Vec::new(),
            systems: Systems::default(),
            rows: Vec::new(),
            ipv4: Ranges::new(&[], &[], 0),
            ipv6: Ranges::new(&[], &[], 0),
            lists: Vec::new(),
            organisations: Vec::new(),
            spread: Vec::new(),
            domains: Vec::new(),
        }
    }
}
