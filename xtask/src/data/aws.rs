//! AWS's own list of its addresses, `ip-ranges.json`: the one that the pinned crate `aws-ip-ranges`
//! carries, or another.
//!
//! In: the file as published. Out: what it says; an unknown border group is an error, so that a new
//! one is looked at by a person.

use std::{path::PathBuf, process::Command};

use sakshi::locate::published::{self, Found, Said};
use serde::Deserialize;

use super::Error;

/// Reads `file`, or the file in the pinned crate.
pub fn read(file: Option<PathBuf>) -> Result<Found, Error> {
    let from_crate = file.is_none();
    let path = match file {
        Some(path) => path,
        None => in_crate()?,
    };
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let said = Said::default();
    let mut found = published::read(&bytes, "ip-ranges.json", &said, published::ENTRIES_MAX)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if let Some(note) = found.notes.first() {
        return Err(format!("{note}; add them to daemon/data/aws-border-groups.csv").into());
    }
    if from_crate {
        if found.source.version != aws_ip_ranges::IP_RANGES.create_date {
            return Err("the crate's file is not the one that it was compiled from".into());
        }
        found.source.file = "ip-ranges.json of the crate aws-ip-ranges 0.1517.0".to_owned();
        found.source.licence =
            "published by Amazon without a licence; the crate is MIT OR Apache-2.0".to_owned();
    }
    Ok(found)
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
