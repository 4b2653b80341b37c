//! Where an address is, with grade and basis.
//!
//! In: an address, the time of the contact and how old a provider's list may be. Out: a
//! [`Place`], which names each source with its version, its SHA-256 and the prefix that matched.
//! The tables are embedded, so it works without a network; `docs/data.md` tells what is in them,
//! how they are laid out and how they are rebuilt.

#[cfg(any(test, feature = "lab"))]
pub mod build;
mod columns;
pub mod dataset;
#[cfg(any(test, feature = "lab"))]
pub mod encode;
pub mod format;
mod ladder;
#[cfg(feature = "lab")]
pub mod light;
pub mod nat64;
pub mod prefix;
#[cfg(feature = "lab")]
pub mod published;
mod reader;
#[cfg(any(test, feature = "lab"))]
mod regrade;
mod special;
mod steps;

use std::{collections::BTreeSet, net::IpAddr};

use sakshi_rules::contact::Place;
use thiserror::Error;

#[cfg(feature = "lab")]
pub use self::regrade::{Regraded, regrade};
pub use self::{dataset::Source, ladder::Verdict};
use self::{
    dataset::{
        CountryCode, Dataset, DomainList, Location, NO_COUNTRY, Organisation, Ranges, Row, Systems,
    },
    prefix::{Prefix, PrefixTable},
    special::Block,
    steps::Address,
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
    /// The payload is not what was written.
    #[error("location data: the payload is not the one that was written; copy the file again")]
    Checksum,
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

/// The tables that are built in, to be added to.
#[cfg(feature = "lab")]
pub fn embedded_dataset() -> Result<Dataset, LocateError> {
    format::decode(EMBEDDED)
}

/// What a prefix is listed as.
#[derive(Debug, Clone, Copy)]
enum Holder {
    /// Set aside by a standard.
    Special(u16),
    /// Announced from many places: which organisation.
    Spread(u16),
    /// In a provider's own list.
    Cloud(CloudEntry),
}

/// What is known of a cloud's prefix.
#[derive(Debug, Clone, Copy)]
struct CloudEntry {
    list: u16,
    location: u16,
    /// Which of the list's prefixes.
    number: u32,
    /// Whether a service whose addresses are announced from many places uses it.
    edge: bool,
}

/// A provider's own list, without its prefixes.
#[derive(Debug)]
struct Provider {
    source: u16,
    key: String,
    name: String,
    locations: Vec<Location>,
    services: Vec<String>,
    /// Bits of the services that use each of its prefixes.
    used_by: Vec<u64>,
}

/// Rows in as little space as their databases need: they are looked up at random.
#[derive(Debug)]
enum Rows {
    /// Of up to four databases.
    Short(Vec<([u8; 4], u32)>),
    /// Of more.
    Long(Vec<Row>),
}

impl Rows {
    fn new(rows: Vec<Row>, databases: usize) -> Self {
        if databases > 4 {
            return Self::Long(rows);
        }
        let short = |row: Row| {
            let [a, b, c, d, ..] = row.votes;
            ([a, b, c, d], row.system)
        };
        // In the space of those before, of which the rest is given back.
        let mut rows: Vec<_> = rows.into_iter().map(short).collect();
        rows.shrink_to_fit();
        Self::Short(rows)
    }

    fn get(&self, at: usize) -> Option<Row> {
        match self {
            Self::Short(rows) => {
                let &([a, b, c, d], system) = rows.get(at)?;
                let votes = [a, b, c, d, 0, 0, 0, 0];
                Some(Row { votes, system })
            }
            Self::Long(rows) => rows.get(at).copied(),
        }
    }
}

/// The tables, ready for look-ups. Immutable, so threads may share it.
#[derive(Debug)]
pub struct Atlas {
    sources: Vec<Source>,
    countries: Vec<CountryCode>,
    /// What each of them counts as; none for a code that is no country's.
    nations: Vec<CountryCode>,
    databases: Vec<u16>,
    systems: Systems,
    rows: Rows,
    ipv4: Ranges<u32>,
    ipv6: Ranges<u128>,
    providers: Vec<Provider>,
    organisations: Vec<Organisation>,
    special: Vec<Block>,
    listed: PrefixTable<Holder>,
    domains: Vec<DomainList>,
}

impl Atlas {
    /// The data that is built in.
    pub fn embedded() -> Result<Self, LocateError> {
        Self::from_bytes(EMBEDDED)
    }

    /// Without any data: of no address anything is known beyond what standards say.
    pub fn empty() -> Self {
        Self::new(Dataset::empty())
    }

    /// Reads a data file (layout: `docs/data.md`).
    pub fn from_bytes(file: &[u8]) -> Result<Self, LocateError> {
        format::decode(file).map(Self::new)
    }

    /// Prepares tables for look-ups.
    pub fn new(data: Dataset) -> Self {
        let (blocks, special): (Vec<Prefix>, Vec<Block>) = special::blocks().unzip();
        let mut listed: Vec<(Prefix, Holder)> =
            blocks.into_iter().zip((0..).map(Holder::Special)).collect();
        let spread = data.spread.into_iter();
        listed.extend(spread.map(|entry| (entry.prefix, Holder::Spread(entry.organisation))));
        let mut providers = Vec::with_capacity(data.lists.len());
        for (number, list) in (0_u16..).zip(data.lists) {
            let edge = ladder::edge_services(&list.services);
            listed.extend((0_u32..).zip(&list.prefixes).map(|(of_list, entry)| {
                let holder = Holder::Cloud(CloudEntry {
                    list: number,
                    location: entry.location,
                    number: of_list,
                    edge: entry.services & edge != 0,
                });
                (entry.prefix, holder)
            }));
            providers.push(Provider {
                source: list.source,
                key: list.key,
                name: list.name,
                locations: list.locations,
                services: list.services,
                used_by: list.prefixes.iter().map(|entry| entry.services).collect(),
            });
        }
        Self {
            sources: data.sources,
            nations: (data.countries.iter())
                .map(|&code| ladder::nation(code).unwrap_or(NO_COUNTRY))
                .collect(),
            countries: data.countries,
            rows: Rows::new(data.rows, data.databases.len()),
            databases: data.databases,
            systems: data.systems,
            ipv4: data.ipv4,
            ipv6: data.ipv6,
            providers,
            organisations: data.organisations,
            special,
            listed: PrefixTable::new(listed),
            domains: data.domains,
        }
    }

    /// The published files behind the tables, for the case's manifest.
    pub fn manifest(&self) -> &[Source] {
        &self.sources
    }

    /// Whether a licence forbids keeping the file once a newer one is out.
    pub fn is_passing(&self) -> bool {
        self.sources.iter().any(|source| source.passing)
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

    /// The same without its words: allocates nothing.
    pub fn verdict(&self, addr: IpAddr, at: Timestamp, max_age_days: u32) -> Verdict {
        ladder::verdict(self, addr, at, max_age_days)
    }

    /// What one country database says of an address (no ladder, no translation), and the largest
    /// block around it of which it says the same; none when it says nothing. They are counted from
    /// 0, as [`Atlas::databases`] names them.
    pub fn database_country(&self, database: usize, addr: IpAddr) -> Option<(CountryCode, Prefix)> {
        let (row, at) = self.row(addr)?;
        let vote = *row.votes.get(database)?;
        let code = *self.countries.get(usize::from(vote))?;
        let same = |row: &Row| row.votes.get(database) == Some(&vote);
        (code != NO_COUNTRY).then(|| (code, self.block(addr, at, same)))
    }

    /// Names of the country databases.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        self.databases
            .iter()
            .filter_map(|&source| self.source(source))
            .map(|source| source.name.as_str())
    }

    /// What lists of names say of one: each category with its source, by the narrowest domain of
    /// each list that the name is or is below. The name is in lower case, without a final dot.
    pub fn categories(&self, name: &str) -> Vec<(&str, &Source)> {
        let mut found = Vec::new();
        for list in &self.domains {
            let mut rest = Some(name);
            while let Some(domain) = rest {
                let at = list
                    .domains
                    .binary_search_by(|(known, _)| known.as_str().cmp(domain));
                let category = at
                    .ok()
                    .and_then(|at| list.domains.get(at))
                    .and_then(|&(_, category)| list.categories.get(usize::from(category)));
                if let (Some(category), Some(source)) = (category, self.source(list.source)) {
                    found.push((category.as_str(), source));
                    break;
                }
                rest = domain.split_once('.').map(|(_, parent)| parent);
            }
        }
        found
    }

    /// What lists of names say that a name is for, sorted, each once; none where there is no such list.
    /// Of a name that is not known they say nothing.
    pub fn purposes(&self, name: Option<&str>) -> Option<Vec<String>> {
        if self.domains.is_empty() {
            return None;
        }
        let found = name.map(|name| self.categories(name)).unwrap_or_default();
        let said = found.into_iter().map(|(category, _)| category.to_owned());
        Some(said.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// How many ranges and prefixes the tables hold: IPv4 ranges, IPv6 ranges, listed prefixes.
    pub fn sizes(&self) -> [usize; 3] {
        [
            self.ipv4.steps.count(),
            self.ipv6.steps.count(),
            self.listed.count(),
        ]
    }

    fn source(&self, index: u16) -> Option<&Source> {
        self.sources.get(usize::from(index))
    }

    /// The row of an address, and the number of its range within the family.
    fn row(&self, addr: IpAddr) -> Option<(Row, usize)> {
        match addr {
            IpAddr::V4(addr) => {
                let at = self.ipv4.steps.find(addr.to_bits())?;
                Some((self.row_of(&self.ipv4, at)?, at))
            }
            IpAddr::V6(addr) => {
                let at = self.ipv6.steps.find(addr.to_bits())?;
                Some((self.row_of(&self.ipv6, at)?, at))
            }
        }
    }

    fn row_of<K: Address>(&self, family: &Ranges<K>, at: usize) -> Option<Row> {
        self.rows.get(family.rows.get(at)?)
    }

    /// The largest block around an address, which is in range `at`, whose ranges are all the same.
    fn block(&self, addr: IpAddr, at: usize, same: impl Fn(&Row) -> bool) -> Prefix {
        match addr {
            IpAddr::V4(addr) => {
                let base = prefix::key(IpAddr::from([0, 0, 0, 0]));
                let key = |start: u32| base | u128::from(start);
                let whole = (base, key(u32::MAX));
                self.block_in(&self.ipv4, whole, key(addr.to_bits()), at, key, same)
            }
            IpAddr::V6(addr) => {
                let whole = (0, u128::MAX);
                self.block_in(&self.ipv6, whole, addr.to_bits(), at, |start| start, same)
            }
        }
    }

    /// Widens the block bit by bit, looking only at the ranges that a wider one needs.
    fn block_in<K: Address>(
        &self,
        family: &Ranges<K>,
        (first, last): (u128, u128),
        addr: u128,
        at: usize,
        key: impl Fn(K) -> u128,
        same: impl Fn(&Row) -> bool,
    ) -> Prefix {
        let start_of = |at: usize| family.steps.start(at).map_or(first, &key);
        let end_of = |at: usize| {
            let next = family.steps.start(at + 1);
            next.map_or(last, |next| key(next).saturating_sub(1))
        };
        let is_same = |at: usize| self.row_of(family, at).is_some_and(|row| same(&row));
        let (mut low, mut high) = (at, at);
        let mut best = Prefix::around(addr, 128);
        for len in (0..128).rev() {
            let wider = Prefix::around(addr, len);
            if wider.start() < first || wider.last() > last {
                break;
            }
            while wider.start() < start_of(low) && low > 0 && is_same(low - 1) {
                low -= 1;
            }
            while wider.last() > end_of(high) && is_same(high + 1) {
                high += 1;
            }
            if wider.start() < start_of(low) || wider.last() > end_of(high) {
                break;
            }
            best = wider;
        }
        best
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
