//! The project's own reviewed lists in `daemon/data/`: regions, border groups, networks that
//! cannot be located.
//!
//! In: CSV and TOML files. Out: their content and their lines in the manifest.

use std::{collections::BTreeMap, path::Path};

use sakshi::{
    locate::{
        dataset::{CountryCode, NO_COUNTRY, Organisation, Source, SpreadPrefix},
        prefix::Prefix,
    },
    time::Timestamp,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Error;

/// When the tables of regions and border groups were last reviewed: 2026-11-24, as their version.
const REVIEWED: &str = "2026-11-24";

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn source(name: &str, version: &str, file: &str, bytes: &[u8]) -> Result<Source, Error> {
    let published: Timestamp = serde_json::from_value(format!("{version}T00:00:00Z").into())
        .map_err(|error| format!("{file}: version {version:?} is not a date: {error}"))?;
    Ok(Source {
        name: name.to_owned(),
        version: version.to_owned(),
        published,
        file: file.to_owned(),
        sha256: sha256(bytes),
        url: String::new(),
        licence: "Apache-2.0".to_owned(),
        attribution: "The Sakshi authors".to_owned(),
    })
}

fn read(folder: &Path, file: &str) -> Result<Vec<u8>, Error> {
    let path = folder.join(file);
    Ok(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)
}

#[derive(Deserialize)]
struct RegionRow {
    provider: String,
    region: String,
    country: String,
}

#[derive(Deserialize)]
struct GroupRow {
    border_group: String,
    country: String,
}

/// Countries of AWS's regions and border groups, by name, and the two sources.
pub struct Countries {
    /// By name of the border group (a region's own group bears the region's name).
    pub by_group: BTreeMap<String, CountryCode>,
    /// `cloud-regions.csv`.
    pub regions: Source,
    /// `aws-border-groups.csv`.
    pub groups: Source,
}

/// Reads both tables.
pub fn countries(folder: &Path) -> Result<Countries, Error> {
    let (regions_file, groups_file) = ("cloud-regions.csv", "aws-border-groups.csv");
    let regions = read(folder, regions_file)?;
    let groups = read(folder, groups_file)?;
    let mut by_group = BTreeMap::new();
    for row in csv::Reader::from_reader(regions.as_slice()).deserialize() {
        let row: RegionRow = row.map_err(|error| format!("{regions_file}: {error}"))?;
        if row.provider == "aws" {
            let code = code(&row.country).ok_or_else(|| bad_code(regions_file, &row.country))?;
            by_group.insert(row.region, code);
        }
    }
    for row in csv::Reader::from_reader(groups.as_slice()).deserialize() {
        let row: GroupRow = row.map_err(|error| format!("{groups_file}: {error}"))?;
        let code = code(&row.country).ok_or_else(|| bad_code(groups_file, &row.country))?;
        by_group.insert(row.border_group, code);
    }
    Ok(Countries {
        by_group,
        regions: source("cloud-regions", REVIEWED, regions_file, &regions)?,
        groups: source("aws-border-groups", REVIEWED, groups_file, &groups)?,
    })
}

fn bad_code(file: &str, found: &str) -> String {
    format!("{file}: expected a country code of two capital letters, found {found:?}")
}

fn code(text: &str) -> Option<CountryCode> {
    match *text.as_bytes() {
        [] => Some(NO_COUNTRY),
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some([a, b]),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotLocatable {
    version: String,
    network: Vec<Network>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    key: String,
    name: String,
    kind: String,
    document: String,
    #[serde(rename = "read")]
    _read: String,
    prefixes: Vec<String>,
}

/// Networks that cannot be located.
pub struct Spread {
    /// `not-locatable.toml`.
    pub source: Source,
    /// Organisations in the file's order.
    pub organisations: Vec<Organisation>,
    /// Prefixes, rising.
    pub prefixes: Vec<SpreadPrefix>,
}

/// Reads the list of networks that cannot be located.
pub fn spread(folder: &Path) -> Result<Spread, Error> {
    let file = "not-locatable.toml";
    let bytes = read(folder, file)?;
    let list: NotLocatable =
        toml::from_str(std::str::from_utf8(&bytes)?).map_err(|error| format!("{file}: {error}"))?;
    let mut prefixes: BTreeMap<Prefix, u16> = BTreeMap::new();
    for (organisation, network) in (0_u16..).zip(&list.network) {
        for text in &network.prefixes {
            let prefix = Prefix::parse(text)
                .ok_or_else(|| format!("{file}: expected a CIDR prefix, found {text:?}"))?;
            if prefixes.insert(prefix, organisation).is_some() {
                return Err(format!("{file}: {text} stands there twice").into());
            }
        }
    }
    Ok(Spread {
        source: source("not-locatable", &list.version, file, &bytes)?,
        organisations: list
            .network
            .into_iter()
            .map(|network| Organisation {
                key: network.key,
                name: network.name,
                kind: network.kind,
                document: network.document,
            })
            .collect(),
        prefixes: prefixes
            .into_iter()
            .map(|(prefix, organisation)| SpreadPrefix {
                prefix,
                organisation,
            })
            .collect(),
    })
}
