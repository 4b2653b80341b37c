//! Puts what published files say together into one [`Dataset`].
//!
//! In: a dataset to begin with, and for each further file its source and its [`Piece`]s. Out: a
//! dataset; the same files in the same order give the same one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    LocateError,
    dataset::{
        CloudPrefix, CountryCode, DATABASES_MAX, Dataset, DomainList, Location, NO_COUNTRY,
        Organisation, ProviderList, Ranges, Row, SOURCES_MAX, Source, SpreadPrefix, System,
        Systems, UNKNOWN_COUNTRY,
    },
    format::SERVICES_MAX,
    prefix::{self, Prefix},
};

/// Addresses from a first to a last, in the common space of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First address.
    pub first: u128,
    /// Last address.
    pub last: u128,
}

impl From<Prefix> for Span {
    fn from(prefix: Prefix) -> Self {
        Self {
            first: prefix.start(),
            last: prefix.last(),
        }
    }
}

/// A line of a provider's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The prefix.
    pub prefix: Prefix,
    /// Where the provider says it is.
    pub location: Location,
    /// The service that it is used for; empty where the list tells none.
    pub service: String,
}

/// What a published file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A country database; spans may nest, the narrowest counts.
    Countries(Vec<(Span, CountryCode)>),
    /// Which system announces what; spans may nest, the narrowest counts.
    Systems(Vec<(Span, System)>),
    /// A provider's own list.
    Regions {
        /// Provider key (`gcp`).
        key: String,
        /// Its name.
        name: String,
        /// Its lines.
        lines: Vec<Listed>,
    },
    /// Addresses in many places at once, with who says so (its `source` is set here).
    Spread(Vec<(Organisation, Vec<Prefix>)>),
    /// Names with their categories.
    Domains(Vec<(String, String)>),
}

/// What holds from a first address on, until the next one.
type Steps<T> = Vec<(u128, T)>;

/// What one source says of systems: its name, the systems, and which one announces what.
type SystemsOf = (String, Vec<System>, Steps<u32>);

/// First address behind the IPv4-mapped block.
const IPV4_END: u128 = 0x1_0000_0000_0000;

/// Collects pieces.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    sources: Vec<Source>,
    databases: Vec<(String, Steps<CountryCode>)>,
    systems: Vec<SystemsOf>,
    lists: Vec<(String, ProviderList)>,
    spread: Vec<(String, Organisation, Vec<Prefix>)>,
    domains: Vec<(String, DomainList)>,
}

impl Builder {
    /// Begins with what a dataset holds.
    pub fn from_dataset(data: Dataset) -> Self {
        let name = |index: u16| {
            let source = data.sources.get(usize::from(index));
            source.map_or_else(String::new, |source| source.name.clone())
        };
        let databases = data.databases.iter().enumerate().map(|(number, &source)| {
            let vote = |row: &Row| {
                let vote = row.votes.get(number).copied().unwrap_or(0);
                let code = data.countries.get(usize::from(vote));
                code.copied().unwrap_or(NO_COUNTRY)
            };
            (name(source), steps_of(&data, vote))
        });
        let all: Vec<System> = data.systems.iter().collect();
        let of_systems: BTreeSet<u16> = all
            .iter()
            .filter(|system| system.number != 0)
            .map(|system| system.source)
            .collect();
        let systems = of_systems.into_iter().map(|source| {
            let own = |row: &Row| {
                let system = usize::try_from(row.system).ok();
                let system = system.and_then(|index| all.get(index));
                let is_own = system.is_some_and(|system| system.source == source);
                if is_own { row.system } else { 0 }
            };
            (name(source), all.clone(), steps_of(&data, own))
        });
        let systems = systems.collect();
        let spread = data.organisations.iter().zip(0_u16..);
        let spread = spread.map(|(organisation, index)| {
            let own = data
                .spread
                .iter()
                .filter(|entry| entry.organisation == index);
            let prefixes = own.map(|entry| entry.prefix).collect();
            (name(organisation.source), organisation.clone(), prefixes)
        });
        let (databases, spread) = (databases.collect(), spread.collect());
        let named = |source| name(source);
        Self {
            databases,
            systems,
            spread,
            lists: data
                .lists
                .iter()
                .map(|list| (named(list.source), list.clone()))
                .collect(),
            domains: data
                .domains
                .iter()
                .map(|list| (named(list.source), list.clone()))
                .collect(),
            sources: data.sources,
        }
    }

    /// Adds a file. A source of the same name, and a provider's earlier list, make room for it;
    /// the names of the sources that went are given back.
    pub fn add(&mut self, source: Source, pieces: Vec<Piece>) -> Result<Vec<String>, LocateError> {
        let name = source.name.clone();
        let mut gone = Vec::new();
        let keys: Vec<&str> = pieces.iter().filter_map(key_of).collect();
        let same_provider = self
            .lists
            .iter()
            .filter(|(_, list)| keys.contains(&list.key.as_str()));
        gone.extend(same_provider.map(|(source, _)| source.clone()));
        gone.extend(
            self.sources
                .iter()
                .map(|known| known.name.clone())
                .filter(|known| *known == name),
        );
        gone.sort_unstable();
        gone.dedup();
        for source in &gone {
            self.remove(source);
        }
        self.sources.push(source);
        for piece in pieces {
            self.piece(&name, piece)?;
        }
        Ok(gone)
    }

    /// Removes a source with all that it says.
    pub fn remove(&mut self, name: &str) {
        self.sources.retain(|source| source.name != name);
        self.databases.retain(|(source, _)| source != name);
        self.lists.retain(|(source, _)| source != name);
        self.spread.retain(|(source, ..)| source != name);
        self.domains.retain(|(source, _)| source != name);
        self.systems.retain(|(source, ..)| source != name);
    }

    fn piece(&mut self, source: &str, piece: Piece) -> Result<(), LocateError> {
        let source = source.to_owned();
        match piece {
            Piece::Countries(spans) => {
                let spans = spans.into_iter().map(|(span, code)| (span, stored(code)));
                let steps = flatten(spans.collect(), NO_COUNTRY);
                self.databases.push((source, steps));
            }
            Piece::Systems(spans) => {
                let mut known = BTreeMap::from([((0, NO_COUNTRY, String::new()), 0)]);
                let mut systems = vec![System::default()];
                let spans = spans.into_iter().map(|(span, system)| {
                    let key = (system.number, system.country, system.name.clone());
                    let index = *known.entry(key).or_insert_with(|| {
                        systems.push(system);
                        u32::try_from(systems.len() - 1).unwrap_or(0)
                    });
                    (span, index)
                });
                let steps = flatten(spans.collect(), 0);
                self.systems.push((source, systems, steps));
            }
            Piece::Regions { key, name, lines } => {
                self.lists.push((source, list(key, name, lines)?));
            }
            Piece::Spread(networks) => {
                self.spread.extend(
                    networks
                        .into_iter()
                        .map(|(organisation, prefixes)| (source.clone(), organisation, prefixes)),
                );
            }
            Piece::Domains(names) => self.domains.push((source, domains(names)?)),
        }
        Ok(())
    }

    /// The dataset.
    pub fn finish(self) -> Result<Dataset, LocateError> {
        if self.sources.len() > SOURCES_MAX {
            return Err(LocateError::Unwritable("at most 256 sources"));
        }
        if self.databases.len() > DATABASES_MAX {
            return Err(LocateError::Unwritable("at most 8 country databases"));
        }
        let index: BTreeMap<&str, u16> = self
            .sources
            .iter()
            .zip(0..)
            .map(|(source, index)| (source.name.as_str(), index))
            .collect();
        let of = |name: &str| index.get(name).copied().unwrap_or(0);
        let (systems, announced) = systems_of(&self.systems, of);
        let tables = tables(&self.databases, &announced)?;
        let (organisations, spread) = spread_of(&self.spread, of)?;
        Ok(Dataset {
            databases: self.databases.iter().map(|(name, _)| of(name)).collect(),
            systems,
            countries: tables.countries,
            rows: tables.rows,
            ipv4: tables.ipv4,
            ipv6: tables.ipv6,
            lists: self
                .lists
                .iter()
                .map(|(name, list)| ProviderList {
                    source: of(name),
                    ..list.clone()
                })
                .collect(),
            organisations,
            spread,
            domains: self
                .domains
                .iter()
                .map(|(name, list)| DomainList {
                    source: of(name),
                    ..list.clone()
                })
                .collect(),
            sources: self.sources.clone(),
        })
    }
}

/// A code as it is stored: withdrawn codes and those that were never a country's are *not known*, so
/// that those of all countries fit into a byte.
fn stored(code: CountryCode) -> CountryCode {
    match &code {
        b"UK" => *b"GB",
        b"AB" | b"AN" | b"OS" | b"SU" | b"UN" | b"XX" => UNKNOWN_COUNTRY,
        _ => code,
    }
}

fn key_of(piece: &Piece) -> Option<&str> {
    match piece {
        Piece::Regions { key, .. } => Some(key),
        _ => None,
    }
}

/// One column of the rows, in the common space.
fn steps_of<T: Copy + PartialEq>(data: &Dataset, value: impl Fn(&Row) -> T) -> Steps<T> {
    let of = |row: usize| value(data.rows.get(row).unwrap_or(&Row::default()));
    let base = prefix::key(std::net::IpAddr::from([0, 0, 0, 0]));
    let wide = data.ipv6.iter().map(|(start, row)| (start, of(row)));
    let wide: Vec<(u128, T)> = wide.collect();
    let narrow = data.ipv4.iter();
    let narrow = narrow.map(|(start, row)| (base | u128::from(start), of(row)));
    // IPv4 stands in the IPv6 space where nothing of IPv6 is: what was there goes on behind it.
    let before = wide.partition_point(|&(start, _)| start < base);
    let behind = wide.partition_point(|&(start, _)| start < IPV4_END);
    let goes_on = behind.checked_sub(1).and_then(|at| wide.get(at));
    let mut steps: Steps<T> = Vec::with_capacity(wide.len() + data.ipv4.steps.count() + 1);
    steps.extend(wide.get(..before).unwrap_or_default());
    steps.extend(narrow);
    steps.extend(goes_on.map(|&(_, value)| (IPV4_END, value)));
    let rest = wide.get(behind..).unwrap_or_default();
    let rest = rest.iter().filter(|&&(start, _)| start > IPV4_END);
    steps.extend(rest);
    if let Some(&(start, value)) = wide.get(behind).filter(|(start, _)| *start == IPV4_END) {
        replace(&mut steps, start, value);
    }
    steps.dedup_by(|later, earlier| later.1 == earlier.1);
    steps
}

fn replace<T>(steps: &mut Steps<T>, start: u128, value: T) {
    if let Some((_, of)) = steps.iter_mut().find(|(at, _)| *at == start) {
        *of = value;
    }
}

/// Spans that may nest become steps, of which the narrowest span's counts; `none` holds where there
/// is none.
fn flatten<T: Copy + PartialEq>(mut spans: Vec<(Span, T)>, none: T) -> Steps<T> {
    spans.sort_by(|(one, _), (other, _)| {
        one.first.cmp(&other.first).then(other.last.cmp(&one.last))
    });
    let mut steps: Steps<T> = vec![(0, none)];
    let mut push = |start: u128, value: T| match steps.last_mut() {
        Some((last, of)) if *last == start => *of = value,
        Some((_, of)) if *of == value => {}
        _ => steps.push((start, value)),
    };
    let mut open: Vec<(u128, T)> = Vec::new();
    for (span, value) in spans {
        while let Some(&(last, _)) = open.last()
            && last < span.first
        {
            open.pop();
            let outer = open.last().map_or(none, |&(_, value)| value);
            push(last + 1, outer);
        }
        push(span.first, value);
        open.push((span.last, value));
    }
    while let Some((last, _)) = open.pop() {
        let outer = open.last().map_or(none, |&(_, value)| value);
        if let Some(after) = last.checked_add(1) {
            push(after, outer);
        }
    }
    steps.dedup_by(|later, earlier| later.1 == earlier.1);
    steps
}

/// The systems of all sources in one list, which is in use only, and what each source says by it.
fn systems_of(sources: &[SystemsOf], of: impl Fn(&str) -> u16) -> (Systems, Vec<Steps<u32>>) {
    let mut systems = vec![System::default()];
    let mut announced = Vec::with_capacity(sources.len());
    for (name, own, steps) in sources {
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::from([(0, 0)]);
        let mut number_of = |index: u32| {
            *numbers.entry(index).or_insert_with(|| {
                let system = usize::try_from(index).ok().and_then(|index| own.get(index));
                systems.push(System {
                    source: of(name),
                    ..system.cloned().unwrap_or_default()
                });
                u32::try_from(systems.len() - 1).unwrap_or(0)
            })
        };
        let steps = steps
            .iter()
            .map(|&(start, index)| (start, number_of(index)));
        announced.push(steps.collect());
    }
    (systems.into_iter().collect(), announced)
}

/// Countries, rows and ranges.
struct Tables {
    countries: Vec<CountryCode>,
    rows: Vec<Row>,
    ipv4: Ranges<u32>,
    ipv6: Ranges<u128>,
}

fn tables(
    databases: &[(String, Steps<CountryCode>)],
    systems: &[Steps<u32>],
) -> Result<Tables, LocateError> {
    let mut codes = BTreeMap::from([(NO_COUNTRY, 0_u8)]);
    for (_, steps) in databases {
        codes.extend(steps.iter().map(|&(_, code)| (code, 0)));
    }
    if codes.len() > usize::from(u8::MAX) + 1 {
        return Err(LocateError::Unwritable("at most 256 country codes"));
    }
    for (value, index) in codes.values_mut().zip(0..=u8::MAX) {
        *value = index;
    }
    let merged = merge(databases, systems, &codes);
    let (rows, indices) = ranked(&merged);
    let (ipv4, ipv6) = by_family(&merged, &indices, rows.len());
    Ok(Tables {
        countries: codes.into_keys().collect(),
        rows,
        ipv4,
        ipv6,
    })
}

/// All steps together.
fn merge(
    databases: &[(String, Steps<CountryCode>)],
    systems: &[Steps<u32>],
    codes: &BTreeMap<CountryCode, u8>,
) -> Steps<Row> {
    let base = prefix::key(std::net::IpAddr::from([0, 0, 0, 0]));
    let mut starts: Vec<u128> = vec![0, base, IPV4_END];
    for (_, steps) in databases {
        starts.extend(steps.iter().map(|&(start, _)| start));
    }
    starts.extend(systems.iter().flatten().map(|&(start, _)| start));
    starts.sort_unstable();
    starts.dedup();
    let mut columns: Vec<_> = databases
        .iter()
        .map(|(_, steps)| steps.iter().peekable())
        .collect();
    let mut announced: Vec<_> = systems
        .iter()
        .map(|steps| (steps.iter().peekable(), 0))
        .collect();
    let mut row = Row::default();
    let mut merged: Steps<Row> = Vec::with_capacity(starts.len());
    for start in starts {
        for (column, vote) in columns.iter_mut().zip(&mut row.votes) {
            while let Some((_, code)) = column.next_if(|(at, _)| *at <= start) {
                *vote = codes.get(code).copied().unwrap_or(0);
            }
        }
        row.system = 0;
        for (column, said) in &mut announced {
            while let Some(&(_, index)) = column.next_if(|(at, _)| *at <= start) {
                *said = index;
            }
            // Who was added last counts, where it says anything.
            if *said != 0 {
                row.system = *said;
            }
        }
        merged.push((start, row));
    }
    merged
}

/// Distinct rows, the most frequent first, so that their numbers are short.
fn ranked(merged: &Steps<Row>) -> (Vec<Row>, BTreeMap<Row, u32>) {
    let mut counts: BTreeMap<Row, u32> = BTreeMap::new();
    for (_, row) in merged {
        *counts.entry(*row).or_default() += 1;
    }
    let mut rows: Vec<(u32, Row)> = counts
        .into_iter()
        .map(|(row, count)| (count, row))
        .collect();
    rows.sort_by(|(one, a), (other, b)| other.cmp(one).then(a.cmp(b)));
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let indices = rows.iter().copied().zip(0..).collect();
    (rows, indices)
}

fn by_family(
    merged: &Steps<Row>,
    indices: &BTreeMap<Row, u32>,
    of: usize,
) -> (Ranges<u32>, Ranges<u128>) {
    let base = prefix::key(std::net::IpAddr::from([0, 0, 0, 0]));
    let mut ipv4 = (Vec::new(), Vec::new());
    let mut ipv6 = (Vec::new(), Vec::new());
    for &(start, row) in merged {
        let index = indices.get(&row).copied().unwrap_or(0);
        if let Ok(start) = u32::try_from(start ^ base) {
            push(&mut ipv4, start, index);
        } else {
            push(&mut ipv6, start, index);
        }
    }
    (
        Ranges::new(&ipv4.0, &ipv4.1, of),
        Ranges::new(&ipv6.0, &ipv6.1, of),
    )
}

fn push<K>((starts, rows): &mut (Vec<K>, Vec<u32>), start: K, row: u32) {
    if rows.last() != Some(&row) {
        starts.push(start);
        rows.push(row);
    }
}

/// A provider's list. A prefix that it gives two regions is at neither; its services add up.
fn list(key: String, name: String, lines: Vec<Listed>) -> Result<ProviderList, LocateError> {
    let mut services: BTreeMap<String, u64> = BTreeMap::new();
    let mut prefixes: BTreeMap<Prefix, (Location, Vec<String>)> = BTreeMap::new();
    for line in lines {
        if !line.service.is_empty() {
            services.insert(line.service.clone(), 0);
        }
        let (location, used) = prefixes
            .entry(line.prefix)
            .or_insert_with(|| (line.location.clone(), Vec::new()));
        used.push(line.service);
        if *location != line.location && location.country != NO_COUNTRY {
            *location = if line.location.country == NO_COUNTRY {
                line.location
            } else {
                both(location, &line.location)
            };
        }
    }
    if services.len() > SERVICES_MAX {
        return Err(LocateError::Unwritable("at most 64 services"));
    }
    for (bits, shift) in services.values_mut().zip(0_u32..) {
        *bits = 1_u64.checked_shl(shift).unwrap_or(0);
    }
    let mut locations: BTreeMap<(String, String, CountryCode), u16> = BTreeMap::new();
    for (location, _) in prefixes.values() {
        locations.insert(place_of(location), 0);
    }
    if locations.len() > usize::from(u16::MAX) {
        return Err(LocateError::Unwritable(
            "at most 65535 regions of a provider",
        ));
    }
    for (index, number) in locations.values_mut().zip(0..) {
        *index = number;
    }
    let entries = prefixes
        .iter()
        .map(|(&prefix, (location, used))| CloudPrefix {
            prefix,
            location: locations.get(&place_of(location)).copied().unwrap_or(0),
            services: used
                .iter()
                .filter_map(|service| services.get(service))
                .fold(0, |bits, bit| bits | bit),
        });
    Ok(ProviderList {
        source: 0,
        key,
        name,
        prefixes: entries.collect(),
        services: services.into_keys().collect(),
        locations: locations
            .into_keys()
            .map(|(region, border_group, country)| Location {
                region,
                border_group,
                country,
            })
            .collect(),
    })
}

fn place_of(location: &Location) -> (String, String, CountryCode) {
    (
        location.region.clone(),
        location.border_group.clone(),
        location.country,
    )
}

/// Two regions of one prefix: one country if they share it, else not known.
fn both(one: &Location, other: &Location) -> Location {
    let region = format!("{} or {}", one.region, other.region);
    Location {
        border_group: region.clone(),
        region,
        country: if one.country == other.country {
            one.country
        } else {
            UNKNOWN_COUNTRY
        },
    }
}

fn domains(names: Vec<(String, String)>) -> Result<DomainList, LocateError> {
    let names: BTreeMap<String, String> = names.into_iter().collect();
    let mut categories: BTreeMap<&str, u16> = names
        .values()
        .map(|category| (category.as_str(), 0))
        .collect();
    if categories.len() > usize::from(u16::MAX) {
        return Err(LocateError::Unwritable(
            "at most 65535 categories of a list",
        ));
    }
    for (index, number) in categories.values_mut().zip(0..) {
        *index = number;
    }
    Ok(DomainList {
        source: 0,
        domains: names
            .iter()
            .map(|(name, category)| {
                let index = categories.get(category.as_str()).copied().unwrap_or(0);
                (name.clone(), index)
            })
            .collect(),
        categories: categories.into_keys().map(str::to_owned).collect(),
    })
}

fn spread_of(
    networks: &[(String, Organisation, Vec<Prefix>)],
    of: impl Fn(&str) -> u16,
) -> Result<(Vec<Organisation>, Vec<SpreadPrefix>), LocateError> {
    let mut organisations = Vec::with_capacity(networks.len());
    let mut spread: BTreeMap<Prefix, u16> = BTreeMap::new();
    for (index, (source, organisation, prefixes)) in networks.iter().enumerate() {
        let index = u16::try_from(index)
            .map_err(|_| LocateError::Unwritable("at most 65536 organisations"))?;
        organisations.push(Organisation {
            source: of(source),
            ..organisation.clone()
        });
        for &prefix in prefixes {
            // Who says whose it is comes before a list that names nobody.
            spread.entry(prefix).or_insert(index);
        }
    }
    let spread = spread
        .into_iter()
        .map(|(prefix, organisation)| SpreadPrefix {
            prefix,
            organisation,
        });
    Ok((organisations, spread.collect()))
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn a_dataset_comes_back_as_it_was() {
        let mut data = sample::dataset();
        let built = Builder::from_dataset(data.clone()).finish().unwrap();
        // Rows and codes are numbered anew, by frequency; what an address gives is the same.
        let (old, new) = (
            super::super::Atlas::new(data.clone()),
            super::super::Atlas::new(built.clone()),
        );
        for text in [
            "20.1.1.1", "22.0.0.0", "30.3.0.9", "40.0.0.1", "2600::", "2600::1", "2601::",
        ] {
            let addr = text.parse().unwrap();
            assert_eq!(
                old.locate(addr, sample::PUBLISHED, 180),
                new.locate(addr, sample::PUBLISHED, 180),
                "{text}"
            );
        }
        data.sources.clone_from(&built.sources);
        assert_eq!(data.lists, built.lists);
        assert_eq!(
            Builder::from_dataset(built.clone()).finish().unwrap(),
            built
        );
    }

    #[test]
    fn the_narrowest_of_nested_spans_counts() {
        let span = |first, last, value| (Span { first, last }, value);
        let steps = flatten(
            vec![
                span(10, 99, 1),
                span(20, 29, 2),
                span(20, 20, 3),
                span(99, 99, 4),
            ],
            0,
        );
        assert_eq!(
            steps,
            [
                (0, 0),
                (10, 1),
                (20, 3),
                (21, 2),
                (30, 1),
                (99, 4),
                (100, 0)
            ]
        );
        assert_eq!(flatten(vec![span(0, u128::MAX, 1)], 0), [(0, 1)]);
    }

    #[test]
    fn a_prefix_in_two_regions_is_at_neither() {
        let line = |region: &str, country, service: &str| Listed {
            prefix: Prefix::v4([30, 0, 0, 0], 8),
            location: Location {
                region: region.to_owned(),
                border_group: region.to_owned(),
                country,
            },
            service: service.to_owned(),
        };
        let built = list(
            "azure".into(),
            "Azure".into(),
            vec![line("one", *b"IN", "A"), line("two", *b"SG", "B")],
        )
        .unwrap();
        let [location] = built.locations.as_slice() else {
            panic!("one place")
        };
        assert_eq!(
            (location.region.as_str(), location.country),
            ("one or two", UNKNOWN_COUNTRY)
        );
        assert_eq!(built.prefixes[0].services, 0b11);
        let shared = list(
            "a".into(),
            "A".into(),
            vec![line("one", *b"IN", ""), line("two", *b"IN", "")],
        )
        .unwrap();
        assert_eq!(shared.locations[0].country, *b"IN");
        let global = list(
            "a".into(),
            "A".into(),
            vec![line("one", *b"IN", ""), line("global", NO_COUNTRY, "")],
        )
        .unwrap();
        assert_eq!(global.locations[0].country, NO_COUNTRY);
    }
}
