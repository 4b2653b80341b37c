//! The project's own reviewed lists in `daemon/data/`: regions, border groups, networks that
//! cannot be located.
//!
//! In: CSV and TOML files. Out: their content and their lines in the manifest.

use std::{collections::BTreeSet, path::Path};

use sakshi::{
    locate::{
        build::Piece,
        dataset::{Organisation, Source},
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
        passing: false,
    })
}

fn read(folder: &Path, file: &str) -> Result<Vec<u8>, Error> {
    let path = folder.join(file);
    Ok(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Lines in the manifest of the tables of regions and border groups, which the readers of clouds'
/// lists have built in.
pub fn tables(folder: &Path) -> Result<[Source; 2], Error> {
    let of = |name, file| source(name, REVIEWED, file, &read(folder, file)?);
    Ok([
        of("cloud-regions", "cloud-regions.csv")?,
        of("aws-border-groups", "aws-border-groups.csv")?,
    ])
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
    /// What it says.
    pub pieces: Vec<Piece>,
}

/// Reads the list of networks that cannot be located.
pub fn spread(folder: &Path) -> Result<Spread, Error> {
    let file = "not-locatable.toml";
    let bytes = read(folder, file)?;
    let list: NotLocatable =
        toml::from_str(std::str::from_utf8(&bytes)?).map_err(|error| format!("{file}: {error}"))?;
    let mut seen = BTreeSet::new();
    let mut networks = Vec::new();
    for network in list.network {
        let mut prefixes = Vec::new();
        for text in &network.prefixes {
            let prefix = Prefix::parse(text)
                .ok_or_else(|| format!("{file}: expected a CIDR prefix, found {text:?}"))?;
            if !seen.insert(prefix) {
                return Err(format!("{file}: {text} stands there twice").into());
            }
            prefixes.push(prefix);
        }
        let organisation = Organisation {
            source: 0,
            key: network.key,
            name: network.name,
            kind: network.kind,
            document: network.document,
        };
        networks.push((organisation, prefixes));
    }
    Ok(Spread {
        source: source("not-locatable", &list.version, file, &bytes)?,
        pieces: vec![Piece::Spread(networks)],
    })
}
