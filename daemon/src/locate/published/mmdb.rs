//! `MaxMind`'s database format, whoever filled it: countries, flat or nested, or systems.
//!
//! In: the bytes of an MMDB. Out: spans with countries, with systems, or with both.

use std::net::IpAddr;

use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;

use super::{Draft, PublishedError, code, day};
use crate::{
    locate::{
        build::{Piece, Span},
        dataset::{CountryCode, NO_COUNTRY, System},
        prefix::{self, Prefix},
    },
    time::Timestamp,
};

/// Where the metadata begins (MMDB specification 2.0).
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// How far from the end it may be, in bytes.
const MARKER_WITHIN: usize = 128 * 1024;

pub(super) fn is_one(bytes: &[u8]) -> bool {
    let end = bytes.len().saturating_sub(MARKER_WITHIN);
    let end = bytes.get(end..).unwrap_or_default();
    end.windows(MARKER.len()).any(|window| window == MARKER)
}

/// The keys in use: flat ones, nested ones, and those of systems.
#[derive(Deserialize)]
struct Record {
    country_code: Option<String>,
    country: Option<Country>,
    #[serde(alias = "asn")]
    autonomous_system_number: Option<Number>,
    #[serde(alias = "as_name")]
    autonomous_system_organization: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Country {
    Flat(String),
    Nested { iso_code: Option<String> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

impl Record {
    fn country(&self) -> Option<CountryCode> {
        let nested = match &self.country {
            Some(Country::Flat(code)) => Some(code),
            Some(Country::Nested { iso_code }) => iso_code.as_ref(),
            None => None,
        };
        code(self.country_code.as_ref().or(nested)?)
    }

    fn system(&self) -> Option<System> {
        let number = match self.autonomous_system_number.as_ref()? {
            Number::Number(number) => *number,
            Number::Text(text) => text.trim_start_matches("AS").parse().ok()?,
        };
        Some(System {
            source: 0,
            number,
            country: NO_COUNTRY,
            name: self
                .autonomous_system_organization
                .clone()
                .unwrap_or_default(),
        })
    }
}

pub(super) fn read(bytes: &[u8], entries_max: usize) -> Result<Draft, PublishedError> {
    let reader = Reader::from_source(bytes)?;
    let mut countries = Vec::new();
    let mut systems = Vec::new();
    let mut seen = 0_usize;
    for network in reader.networks(WithinOptions::default())? {
        seen += 1;
        if seen > entries_max {
            return Err(PublishedError::TooMany(entries_max));
        }
        let network = network?;
        let Some(record) = network.decode::<Record>()? else {
            continue;
        };
        let block = network.network()?;
        let len = match block.ip() {
            IpAddr::V4(_) => block.prefix().saturating_add(96),
            IpAddr::V6(_) => block.prefix(),
        };
        let span = Span::from(Prefix::around(prefix::key(block.ip()), len));
        countries.extend(record.country().map(|code| (span, code)));
        systems.extend(record.system().map(|system| (span, system)));
    }
    let metadata = reader.metadata();
    let built = i64::try_from(metadata.build_epoch)
        .ok()
        .and_then(|seconds| seconds.checked_mul(1_000_000))
        .filter(|&micros| micros < MICROS_MAX)
        .map(Timestamp::from_micros);
    let mut draft = Draft {
        kind: "MMDB",
        name: metadata.database_type.to_lowercase().replace(' ', "-"),
        version: built.map(day),
        published: built,
        ..Draft::default()
    };
    known(&mut draft);
    if !countries.is_empty() {
        draft.pieces.push(Piece::Countries(countries));
    }
    if !systems.is_empty() {
        draft.pieces.push(Piece::Systems(systems));
    }
    Ok(draft)
}

/// A build time beyond this (the year 2262) is none.
const MICROS_MAX: i64 = i64::MAX / 1_000;

/// Licences of databases that many use.
fn known(draft: &mut Draft) {
    if draft.name.starts_with("geolite2") || draft.name.starts_with("geoip2") {
        draft.licence = Some("MaxMind's EULA: old versions must be destroyed within 30 days");
        draft.passing = true;
        draft.attribution = "GeoLite2 data created by MaxMind (https://www.maxmind.com)";
    } else if draft.name.contains("dbip") || draft.name.contains("db-ip") {
        draft.licence = Some("CC-BY-4.0");
        draft.attribution = "IP Geolocation by DB-IP (https://db-ip.com)";
    }
}
