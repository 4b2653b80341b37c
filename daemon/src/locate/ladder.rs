//! The verdict ladder: from what each source says of an address to one graded [`Place`].
//!
//! In: the atlas, an address, the time of the contact. Out: the place. The rungs, the first that
//! holds wins: set aside by a standard, not locatable, the provider's own region, the country
//! database, nothing.

use std::net::IpAddr;

use sakshi_rules::contact::{Grade, Place, PlaceBasis};

use super::{
    Atlas, CloudEntry,
    dataset::{CountryCode, Location, NO_COUNTRY, Source},
    prefix::{self, NAT64, Prefix},
    unknown_place,
};
use crate::time::Timestamp;

/// AWS services whose addresses are announced from many places at once, whatever region the list
/// gives them.
pub(super) const EDGE_SERVICES: [&str; 2] = ["CLOUDFRONT", "GLOBALACCELERATOR"];

/// Key of the one cloud whose list is embedded.
const CLOUD: &str = "aws";
/// Its name.
const CLOUD_NAME: &str = "Amazon Web Services";

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

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

impl Query<'_> {
    fn place(&self, addr: IpAddr) -> Place {
        let key = prefix::key(addr);
        if let Some((prefix, block)) = self.atlas.special.narrowest(key) {
            return Place {
                basis: vec![standard(block.rfc, prefix, block.purpose.to_owned())],
                ..unknown_place()
            };
        }
        let cloud = self.cloud(key);
        if let Some(place) = self.not_locatable(key, cloud.as_ref()) {
            return place;
        }
        match cloud {
            Some(Cloud {
                entry: (prefix, _),
                location,
                ..
            }) => self.in_region(addr, prefix, location),
            None => self.by_database(addr),
        }
    }

    /// What the cloud's own list says: the narrowest prefix, and the narrowest that is an edge
    /// network's.
    fn cloud(&self, key: u128) -> Option<Cloud<'_>> {
        let mut around = self
            .atlas
            .cloud
            .around(key)
            .map(|(prefix, &entry)| (prefix, entry));
        let entry = around.next()?;
        let is_edge =
            |(_, entry): &(Prefix, CloudEntry)| entry.services & self.atlas.edge_services != 0;
        let edge = if is_edge(&entry) {
            Some(entry)
        } else {
            around.find(is_edge)
        };
        let location = self.location(entry.1)?;
        Some(Cloud {
            entry,
            edge,
            location,
        })
    }

    fn location(&self, entry: CloudEntry) -> Option<&Location> {
        self.atlas.locations.get(usize::from(entry.location))
    }

    /// Rung 1: an organisation's own documents, or the cloud's list, say that the addresses are in
    /// many places. The organisation is named, a country is not.
    fn not_locatable(&self, key: u128, cloud: Option<&Cloud<'_>>) -> Option<Place> {
        let [_, cloud_list, spread_list, ..] = &self.atlas.sources;
        let mut place = Place {
            grade: Grade::NotLocatable,
            ..unknown_place()
        };
        if let Some((prefix, &index)) = self.atlas.spread.narrowest(key)
            && let Some(organisation) = self.atlas.organisations.get(usize::from(index))
        {
            place.provider = Some(organisation.key.clone());
            place.organisation = Some(organisation.name.clone());
            let says = format!(
                "{}: {} ({})",
                organisation.name, organisation.kind, organisation.document
            );
            place.basis.push(self.basis(spread_list, prefix, says));
        }
        if let Some(cloud) = cloud
            && (cloud.edge.is_some() || cloud.location.country == NO_COUNTRY)
        {
            place.provider.get_or_insert_with(|| CLOUD.to_owned());
            place
                .organisation
                .get_or_insert_with(|| CLOUD_NAME.to_owned());
            let (prefix, entry) = cloud.edge.unwrap_or(cloud.entry);
            let group = self
                .location(entry)
                .map_or("", |at| at.border_group.as_str());
            let says = format!("{group} ({})", self.service_names(entry));
            place.basis.push(self.basis(cloud_list, prefix, says));
        }
        (!place.basis.is_empty()).then_some(place)
    }

    fn service_names(&self, entry: CloudEntry) -> String {
        let names: Vec<&str> = self
            .atlas
            .services
            .iter()
            .zip(0_u32..)
            .filter(|&(_, bit)| entry.services.checked_shr(bit).unwrap_or(0) & 1 == 1)
            .map(|(name, _)| name.as_str())
            .collect();
        names.join(", ")
    }

    /// Rung 2: the provider's own region. It outweighs the database, whose word is kept.
    fn in_region(&self, addr: IpAddr, prefix: Prefix, location: &Location) -> Place {
        let [_, cloud_list, ..] = &self.atlas.sources;
        let country = text(location.country);
        let says = if location.border_group == location.region {
            format!("{country} {}", location.region)
        } else {
            format!("{country} {} of {}", location.border_group, location.region)
        };
        let own = self.basis(cloud_list, prefix, says);
        let grade = if (0..=i64::from(self.max_age_days)).contains(&own.age_days) {
            Grade::High
        } else {
            // Too old, or published after the contact: it may not have held then.
            Grade::Medium
        };
        let mut basis = vec![own];
        basis.extend(self.database(addr).map(|(_, basis)| basis));
        Place {
            country: Some(country),
            provider: Some(CLOUD.to_owned()),
            region: Some(location.region.clone()),
            organisation: Some(CLOUD_NAME.to_owned()),
            asn: None,
            grade,
            basis,
        }
    }

    /// Rung 4: the one database alone, or nothing.
    fn by_database(&self, addr: IpAddr) -> Place {
        let Some((country, basis)) = self.database(addr) else {
            return unknown_place();
        };
        let grade = if country.is_some() {
            Grade::Low
        } else {
            Grade::None
        };
        Place {
            country,
            grade,
            basis: vec![basis],
            ..unknown_place()
        }
    }

    fn database(&self, addr: IpAddr) -> Option<(Option<String>, PlaceBasis)> {
        let [database, ..] = &self.atlas.sources;
        let (code, prefix) = self.atlas.database_country(addr)?;
        let country = country(code);
        let says = country
            .clone()
            .unwrap_or_else(|| format!("{}, which is no country", text(code)));
        Some((country, self.basis(database, prefix, says)))
    }

    fn basis(&self, source: &Source, prefix: Prefix, says: String) -> PlaceBasis {
        PlaceBasis {
            source: source.name.clone(),
            version: source.version.clone(),
            sha256: Some(source.sha256.clone()),
            prefix: prefix.to_string(),
            says,
            age_days: self
                .at
                .nanos_since(source.published)
                .div_euclid(NANOS_PER_DAY),
        }
    }
}

/// What the cloud's own list says of an address.
struct Cloud<'a> {
    entry: (Prefix, CloudEntry),
    edge: Option<(Prefix, CloudEntry)>,
    location: &'a Location,
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
/// is, `HK`, `MO` and `TW` stay apart from `CN`; `EU`, `AP` (registries' regions) and `ZZ`
/// (unknown) name no country.
fn country(code: CountryCode) -> Option<String> {
    match &code {
        b"EU" | b"AP" | b"ZZ" | &NO_COUNTRY => None,
        _ => Some(text(code)),
    }
}

fn text(code: CountryCode) -> String {
    code.iter().map(|&byte| char::from(byte)).collect()
}
