//! AWS's own list of its addresses: from `ip-ranges.json` to prefixes with border groups.
//!
//! In: the file as published, which the pinned crate `aws-ip-ranges` carries; the reviewed tables
//! of regions and border groups. Out: locations, services and prefixes; an unknown border group is
//! an error, so that a new one is looked at by a person.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use sakshi::{
    locate::{
        dataset::{CloudPrefix, CountryCode, Location, Source},
        prefix::Prefix,
    },
    time::Timestamp,
};
use serde::Deserialize;

use super::{Error, lists};

#[derive(Deserialize)]
struct List {
    #[serde(rename = "syncToken")]
    sync_token: String,
    #[serde(rename = "createDate")]
    create_date: String,
    prefixes: Vec<Entry>,
    ipv6_prefixes: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "ip_prefix", alias = "ipv6_prefix")]
    prefix: String,
    region: String,
    service: String,
    network_border_group: String,
}

/// What the list gives.
pub struct Cloud {
    /// Its line in the manifest.
    pub source: Source,
    /// Regions and border groups, in order.
    pub locations: Vec<Location>,
    /// Services, in order.
    pub services: Vec<String>,
    /// Prefixes, in order.
    pub prefixes: Vec<CloudPrefix>,
}

/// Reads `file`, or the file in the pinned crate.
pub fn read(
    file: Option<PathBuf>,
    countries: &BTreeMap<String, CountryCode>,
) -> Result<Cloud, Error> {
    let from_crate = file.is_none();
    let path = match file {
        Some(path) => path,
        None => in_crate()?,
    };
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let list: List =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    if from_crate && list.sync_token != aws_ip_ranges::IP_RANGES.sync_token {
        return Err("the crate's file is not the one that it was compiled from".into());
    }
    let seconds: i64 = list.sync_token.parse()?;
    let source = Source {
        name: "aws-ip-ranges".to_owned(),
        version: list.create_date.clone(),
        published: Timestamp::from_micros(seconds * 1_000_000),
        file: if from_crate {
            "ip-ranges.json of the crate aws-ip-ranges 0.1517.0".to_owned()
        } else {
            "ip-ranges.json".to_owned()
        },
        sha256: lists::sha256(&bytes),
        url: "https://ip-ranges.amazonaws.com/ip-ranges.json".to_owned(),
        licence: "published by Amazon without a licence; the crate is MIT OR Apache-2.0".to_owned(),
        attribution: "AWS IP address ranges, Amazon Web Services, Inc.".to_owned(),
    };
    tables(source, &list, countries)
}

fn tables(
    source: Source,
    list: &List,
    countries: &BTreeMap<String, CountryCode>,
) -> Result<Cloud, Error> {
    let entries = || list.prefixes.iter().chain(&list.ipv6_prefixes);
    let places: BTreeSet<(&str, &str)> = entries()
        .map(|entry| (entry.region.as_str(), entry.network_border_group.as_str()))
        .collect();
    let services: BTreeSet<&str> = entries().map(|entry| entry.service.as_str()).collect();
    let places: Vec<(&str, &str)> = places.into_iter().collect();
    let services: Vec<&str> = services.into_iter().collect();
    let mut prefixes: BTreeMap<Prefix, (u16, u64)> = BTreeMap::new();
    for entry in entries() {
        let prefix = Prefix::parse(&entry.prefix)
            .ok_or_else(|| format!("expected a CIDR prefix, found {:?}", entry.prefix))?;
        let place = (entry.region.as_str(), entry.network_border_group.as_str());
        let location = places
            .binary_search(&place)
            .map_err(|_| "a place got lost")?;
        let service = services
            .binary_search(&entry.service.as_str())
            .map_err(|_| "a service got lost")?;
        let location = u16::try_from(location)?;
        let bit = 1_u64
            .checked_shl(u32::try_from(service)?)
            .ok_or("more than 64 services: widen the flags in daemon/src/locate")?;
        let (known, flags) = prefixes.entry(prefix).or_insert((location, 0));
        if *known != location {
            return Err(format!("{prefix} stands in the list with two border groups").into());
        }
        *flags |= bit;
    }
    let locations = places
        .iter()
        .map(|&(region, group)| {
            let country = *countries.get(group).ok_or_else(|| {
                format!("{group}: add its country to daemon/data/aws-border-groups.csv")
            })?;
            Ok(Location {
                region: region.to_owned(),
                border_group: group.to_owned(),
                country,
            })
        })
        .collect::<Result<Vec<Location>, String>>()?;
    Ok(Cloud {
        source,
        locations,
        services: services.into_iter().map(str::to_owned).collect(),
        prefixes: prefixes
            .into_iter()
            .map(|(prefix, (location, services))| CloudPrefix {
                prefix,
                location,
                services,
            })
            .collect(),
    })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// Where cargo unpacked the pinned crate.
fn in_crate() -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .output()?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let package = metadata
        .packages
        .into_iter()
        .find(|package| package.name == "aws-ip-ranges")
        .ok_or("cargo metadata does not know the crate aws-ip-ranges")?;
    Ok(package
        .manifest_path
        .with_file_name("data")
        .join("ip-ranges.json"))
}
