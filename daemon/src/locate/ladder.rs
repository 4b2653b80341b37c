//! The verdict ladder: from what each source says of an address to one graded [`Place`].
//!
//! In: the atlas, an address, the time of the contact. Out: the place. The rungs, the first that
//! holds wins: set aside by a standard, not locatable, the provider's own region, the country
//! databases together, nothing. [`Verdict`] is the answer without its words.

use std::net::IpAddr;

use sakshi_rules::contact::{Grade, Place, PlaceBasis};

use super::{
    Atlas, CloudEntry, Holder, Provider,
    dataset::{
        CountryCode, DATABASES_MAX, Location, NO_COUNTRY, Row, Source, System, UNKNOWN_COUNTRY,
    },
    prefix::{self, NAT64, Prefix},
};
use crate::time::Timestamp;

/// Services whose addresses are announced from many places at once, whatever region the provider's
/// list gives them.
const EDGE_SERVICES: [&str; 3] = ["AzureFrontDoor", "CLOUDFRONT", "GLOBALACCELERATOR"];

/// Databases that must agree, none differing, for the grade *medium*.
pub(super) const CONSENSUS: usize = 3;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// Bits of the edge services among a list's.
pub(super) fn edge_services(services: &[String]) -> u64 {
    services
        .iter()
        .zip(0_u32..)
        .filter(|(name, _)| EDGE_SERVICES.contains(&name.as_str()))
        .fold(0, |bits, (_, bit)| {
            bits | 1_u64.checked_shl(bit).unwrap_or(0)
        })
}

/// Where an address is, without the words: indices are into the atlas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How well it is known.
    pub grade: Grade,
    /// The country; zeros where it is not known.
    pub country: CountryCode,
    /// The autonomous system; 0 where no source says it.
    pub asn: u32,
    /// Which provider's list has it.
    list: Option<u16>,
    /// Which of the list's locations is told.
    location: Option<u16>,
    /// Which organisation says that it is in many places.
    organisation: Option<u16>,
}

impl Verdict {
    /// Whether it rests on nothing that ages: it is the same at any other moment.
    pub const fn is_ageless(&self) -> bool {
        self.list.is_none()
    }
}

pub(super) fn verdict(atlas: &Atlas, addr: IpAddr, at: Timestamp, max_age_days: u32) -> Verdict {
    let addr = match addr {
        IpAddr::V6(translated) => {
            prefix::nat64(translated).map_or_else(|| addr.to_canonical(), IpAddr::V4)
        }
        IpAddr::V4(_) => addr,
    };
    let query = Query {
        atlas,
        at,
        max_age_days,
    };
    query.verdict(&query.look(addr))
}

pub(super) fn locate(atlas: &Atlas, addr: IpAddr, at: Timestamp, max_age_days: u32) -> Place {
    let query = Query {
        atlas,
        at,
        max_age_days,
    };
    if let IpAddr::V6(translated) = addr
        && let Some(inner) = prefix::nat64(translated)
    {
        let mut place = query.place(IpAddr::V4(inner));
        let says = format!("NAT64, located by the embedded address {inner}");
        place.basis.insert(0, standard("RFC 6052", NAT64, says));
        return place;
    }
    query.place(addr.to_canonical())
}

/// One question to the atlas.
struct Query<'a> {
    atlas: &'a Atlas,
    at: Timestamp,
    max_age_days: u32,
}

/// What the tables hold of an address; of each prefix around it the length.
#[derive(Default)]
struct Looked {
    special: Option<(u8, u16)>,
    spread: Option<(u8, u16)>,
    /// The narrowest prefix in a provider's list.
    cloud: Option<(u8, CloudEntry)>,
    /// The narrowest that is an edge network's.
    edge: Option<(u8, CloudEntry)>,
    /// The same prefix in another provider's list.
    rival: Option<(u8, CloudEntry)>,
    row: Row,
    /// The number of the row's range.
    range: usize,
}

/// What the databases say together.
#[derive(Clone, Copy)]
struct Consensus {
    grade: Grade,
    country: CountryCode,
}

impl Query<'_> {
    fn look(&self, addr: IpAddr) -> Looked {
        let mut looked = Looked::default();
        let key = prefix::key(addr);
        for (len, &holder) in self.atlas.listed.around(key) {
            match holder {
                Holder::Special(block) => {
                    looked.special.get_or_insert((len, block));
                }
                Holder::Spread(organisation) => {
                    looked.spread.get_or_insert((len, organisation));
                }
                Holder::Cloud(entry) => {
                    if entry.edge {
                        looked.edge.get_or_insert((len, entry));
                    }
                    match looked.cloud {
                        None => looked.cloud = Some((len, entry)),
                        Some((same, _)) if same == len => {
                            looked.rival.get_or_insert((len, entry));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        if let Some((row, range)) = self.atlas.row(addr) {
            (looked.row, looked.range) = (row, range);
        }
        looked
    }

    fn provider(&self, entry: CloudEntry) -> Option<&Provider> {
        self.atlas.providers.get(usize::from(entry.list))
    }

    fn location(&self, entry: CloudEntry) -> Option<&Location> {
        let list = self.provider(entry)?;
        list.locations.get(usize::from(entry.location))
    }

    fn system(&self, looked: &Looked) -> Option<System> {
        let index = usize::try_from(looked.row.system).ok()?;
        let system = self.atlas.systems.get(index);
        system.filter(|system| system.number != 0)
    }

    /// The ladder.
    fn verdict(&self, looked: &Looked) -> Verdict {
        let mut verdict = Verdict {
            grade: Grade::None,
            country: NO_COUNTRY,
            asn: usize::try_from(looked.row.system)
                .map_or(0, |index| self.atlas.systems.number(index)),
            list: None,
            location: None,
            organisation: None,
        };
        if looked.special.is_some() {
            return verdict;
        }
        let cloud = looked.cloud.map(|(_, entry)| entry);
        verdict.list = cloud.map(|entry| entry.list);
        let location = cloud.and_then(|entry| self.location(entry));
        let everywhere = location.is_some_and(|location| location.country == NO_COUNTRY);
        if looked.spread.is_some() || looked.edge.is_some() || everywhere {
            verdict.organisation = looked.spread.map(|(_, organisation)| organisation);
            verdict.grade = Grade::NotLocatable;
            return verdict;
        }
        verdict.location = cloud.map(|entry| entry.location);
        match (cloud, location) {
            (Some(entry), Some(location)) if location.country != UNKNOWN_COUNTRY => {
                let grade = self.in_region(looked, entry, location);
                verdict.grade = grade;
                if grade != Grade::Conflict {
                    verdict.country = location.country;
                }
            }
            _ => {
                let together = self.consensus(looked.row);
                (verdict.grade, verdict.country) = (together.grade, together.country);
            }
        }
        verdict
    }

    /// The provider's own region. It outweighs the databases while it is fresh; where it is not,
    /// and they agree on another country, nobody is believed.
    fn in_region(&self, looked: &Looked, entry: CloudEntry, location: &Location) -> Grade {
        let rival = looked.rival.and_then(|(_, entry)| self.location(entry));
        if rival.is_some_and(|rival| rival.country != location.country) {
            return Grade::Conflict;
        }
        let published = self
            .provider(entry)
            .and_then(|list| self.atlas.source(list.source))
            .map(|source| self.age_days(source));
        if published.is_some_and(|age| (0..=i64::from(self.max_age_days)).contains(&age)) {
            return Grade::High;
        }
        // Too old, or published after the contact: it may not have held then.
        let together = self.consensus(looked.row);
        if together.grade == Grade::Medium && together.country != location.country {
            Grade::Conflict
        } else {
            Grade::Medium
        }
    }

    /// The databases together: three that agree, none differing, give *medium*; more than half of
    /// those that name a country, or one alone, *low*; else they contradict each other.
    fn consensus(&self, row: Row) -> Consensus {
        let votes = row.votes.iter().take(self.atlas.databases.len());
        let mut voices = [NO_COUNTRY; DATABASES_MAX];
        let mut all = 0;
        for &vote in votes {
            let nation = self.atlas.nations.get(usize::from(vote));
            if let Some(&nation) = nation.filter(|&&nation| nation != NO_COUNTRY)
                && let Some(voice) = voices.get_mut(all)
            {
                *voice = nation;
                all += 1;
            }
        }
        let voices = voices.get(..all).unwrap_or_default();
        let mut best = (0, NO_COUNTRY);
        for &voice in voices {
            let count = voices.iter().filter(|&&other| other == voice).count();
            if count > best.0 {
                best = (count, voice);
            }
            if count == all {
                // Most often: they agree.
                break;
            }
        }
        let (count, country) = best;
        let (grade, country) = match all {
            0 => (Grade::None, NO_COUNTRY),
            _ if count == all && count >= CONSENSUS => (Grade::Medium, country),
            _ if count * 2 > all => (Grade::Low, country),
            _ => (Grade::Conflict, NO_COUNTRY),
        };
        Consensus { grade, country }
    }

    fn age_days(&self, source: &Source) -> i64 {
        self.at
            .nanos_since(source.published)
            .div_euclid(NANOS_PER_DAY)
    }

    /// The verdict in words, with what it rests on.
    fn place(&self, addr: IpAddr) -> Place {
        let looked = self.look(addr);
        if let Some((len, index)) = looked.special {
            let prefix = Prefix::around(prefix::key(addr), len);
            let block = self.atlas.special.get(usize::from(index));
            return Place {
                basis: block
                    .map(|block| standard(block.rfc, prefix, block.purpose.to_owned()))
                    .into_iter()
                    .collect(),
                ..Place::unknown()
            };
        }
        let verdict = self.verdict(&looked);
        let list = verdict
            .list
            .and_then(|list| self.atlas.providers.get(usize::from(list)));
        let named = verdict
            .organisation
            .and_then(|index| self.atlas.organisations.get(usize::from(index)))
            .filter(|organisation| !organisation.key.is_empty());
        let system = self.system(&looked);
        let system = system.as_ref();
        let location = list.zip(verdict.location).and_then(|(list, location)| {
            let location = list.locations.get(usize::from(location))?;
            Some(location.region.clone())
        });
        let provider = list.map(|list| (list.key.clone(), list.name.clone()));
        let provider = named
            .map(|named| (named.key.clone(), named.name.clone()))
            .or(provider)
            .unzip();
        Place {
            country: (verdict.country != NO_COUNTRY).then(|| text(verdict.country)),
            provider: provider.0,
            region: location,
            asn: system.map(|system| system.number),
            asn_country: system
                .filter(|system| system.country != NO_COUNTRY)
                .map(|system| text(system.country)),
            organisation: provider.1.or_else(|| {
                let system = system.filter(|system| !system.name.is_empty())?;
                Some(system.name.clone())
            }),
            grade: verdict.grade,
            basis: self.words(addr, &looked, verdict.grade),
        }
    }

    /// What each source says, in the order of the reasoning.
    fn words(&self, addr: IpAddr, looked: &Looked, grade: Grade) -> Vec<PlaceBasis> {
        let mut basis = Vec::new();
        if grade == Grade::NotLocatable {
            basis.extend(
                looked
                    .spread
                    .and_then(|found| self.spread_says(addr, found)),
            );
            let global = looked.cloud.filter(|&(_, entry)| {
                let at = self.location(entry);
                at.is_some_and(|at| at.country == NO_COUNTRY)
            });
            basis.extend(looked.edge.or(global).and_then(|found| {
                let (_, entry) = found;
                let group = self
                    .location(entry)
                    .map_or("", |at| at.border_group.as_str());
                self.list_says(
                    addr,
                    found,
                    format!("{group} ({})", self.service_names(entry)),
                )
            }));
        } else {
            let regions = [looked.cloud, looked.rival].into_iter().flatten();
            basis.extend(regions.filter_map(|found| self.region_says(addr, found)));
            let databases = 0..self.atlas.databases.len();
            basis.extend(databases.filter_map(|number| self.database_says(addr, number)));
        }
        basis.extend(self.system_says(addr, looked));
        basis
    }

    fn spread_says(&self, addr: IpAddr, (len, index): (u8, u16)) -> Option<PlaceBasis> {
        let organisation = self.atlas.organisations.get(usize::from(index))?;
        let source = self.atlas.source(organisation.source)?;
        let says = if organisation.name.is_empty() {
            organisation.kind.clone()
        } else {
            format!(
                "{}: {} ({})",
                organisation.name, organisation.kind, organisation.document
            )
        };
        Some(self.basis(source, Prefix::around(prefix::key(addr), len), says))
    }

    fn list_says(
        &self,
        addr: IpAddr,
        (len, entry): (u8, CloudEntry),
        says: String,
    ) -> Option<PlaceBasis> {
        let source = self.atlas.source(self.provider(entry)?.source)?;
        Some(self.basis(source, Prefix::around(prefix::key(addr), len), says))
    }

    fn region_says(&self, addr: IpAddr, found: (u8, CloudEntry)) -> Option<PlaceBasis> {
        let location = self.location(found.1)?;
        let country = if location.country == UNKNOWN_COUNTRY {
            "country not known,".to_owned()
        } else {
            text(location.country)
        };
        let says = if location.border_group == location.region {
            format!("{country} {}", location.region)
        } else {
            format!("{country} {} of {}", location.border_group, location.region)
        };
        self.list_says(addr, found, says)
    }

    fn service_names(&self, entry: CloudEntry) -> String {
        let Some(list) = self.provider(entry) else {
            return String::new();
        };
        let number = usize::try_from(entry.number).unwrap_or(usize::MAX);
        let bits = list.used_by.get(number).copied().unwrap_or(0);
        let names: Vec<&str> = list
            .services
            .iter()
            .zip(0_u32..)
            .filter(|&(_, bit)| bits.checked_shr(bit).unwrap_or(0) & 1 == 1)
            .map(|(name, _)| name.as_str())
            .collect();
        names.join(", ")
    }

    fn database_says(&self, addr: IpAddr, number: usize) -> Option<PlaceBasis> {
        let source = self.atlas.source(*self.atlas.databases.get(number)?)?;
        let (code, prefix) = self.atlas.database_country(number, addr)?;
        let says = match nation(code) {
            Some(nation) if nation == code => text(code),
            Some(nation) => format!("{}, which is {}", text(code), text(nation)),
            None => format!("{}, which is no country", text(code)),
        };
        Some(self.basis(source, prefix, says))
    }

    fn system_says(&self, addr: IpAddr, looked: &Looked) -> Option<PlaceBasis> {
        let system = self.system(looked)?;
        let source = self.atlas.source(system.source)?;
        let same = |row: &Row| row.system == looked.row.system;
        let prefix = self.atlas.block(addr, looked.range, same);
        let mut says = format!("AS{} {}", system.number, system.name);
        if system.country != NO_COUNTRY {
            says.push_str(", registered in ");
            says.push_str(&text(system.country));
        }
        Some(self.basis(source, prefix, says))
    }

    fn basis(&self, source: &Source, prefix: Prefix, says: String) -> PlaceBasis {
        PlaceBasis {
            source: source.name.clone(),
            version: source.version.clone(),
            sha256: Some(source.sha256.clone()),
            prefix: prefix.to_string(),
            says,
            age_days: self.age_days(source),
        }
    }
}

/// A standard's word: it has no file, so no SHA-256, and does not age.
fn standard(rfc: &str, prefix: Prefix, says: String) -> PlaceBasis {
    PlaceBasis {
        source: "iana-special-purpose".to_owned(),
        version: rfc.to_owned(),
        sha256: None,
        prefix: prefix.to_string(),
        says,
        age_days: 0,
    }
}

/// A database's code as a country. `XK` (Kosovo, a user-assigned code in wide use) is kept as it
/// is, `HK`, `MO` and `TW` stay apart from `CN`, `UK` is read as `GB`; `EU`, `AP` (registries'
/// regions), `ZZ`, `XX` (unknown), `UN`, codes that ISO 3166-1 has withdrawn or never had, and the
/// codes of databases for satellites and proxies name no country.
pub(super) fn nation(code: CountryCode) -> Option<CountryCode> {
    match &code {
        b"EU" | b"AP" | b"ZZ" | b"XX" | b"UN" | b"SU" | b"AN" | b"OS" | b"AB" | &NO_COUNTRY => None,
        b"UK" => Some(*b"GB"),
        _ => Some(code),
    }
}

fn text(code: CountryCode) -> String {
    code.iter().map(|&byte| char::from(byte)).collect()
}
