//! What may be typed after `sakshi data` and `sakshi locate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sakshi_rules::rule_set::PLACE_AGE_DAYS_DEFAULT;

use super::args::TextOrJsonl;
use crate::{locate::light::Position, time::Timestamp};

/// Where the collection is, if nothing else is said.
const DIR: &str = "sakshi-data";

/// `sakshi data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the sources in use, with versions, licences and hashes.
    List {
        /// Folder of the collection.
        #[arg(long, value_name = "DIR", default_value = DIR)]
        dir: PathBuf,
    },
    /// Add published files, and compile DIR/places.bin for `--data`.
    #[command(
        after_help = "Taken: MMDB (flat and nested keys), AWS's ip-ranges.json, Google Cloud's cloud.json, \
        Azure's ServiceTags_Public_DATE.json, Oracle's public_ip_ranges.json, geofeeds (RFC 8805), IPFire's \
        text, lists of systems (CSV, TSV), of anycast prefixes, of names (hosts, plain, AdGuard's trackers.json).\n\n\
        Examples:\n  \
        sakshi data add ip-ranges.json cloud.json\n  \
        sakshi data add anycast-v4.txt --published 2026-08-20 --licence unknown"
    )]
    Add(AddArgs),
    /// Fetch newer versions from official addresses. Only here, on the lab's PC, and only at this
    /// command, anything is asked of the network. Exit code 1: something could not be fetched.
    #[command(
        after_help = "A fetch that was cut goes on at the next call. Without --manifest, AWS, Google Cloud and \
        Oracle are asked; docs/data.md shows how a list of one's own is written.\n\n\
        Example:\n  sakshi data refresh --only aws"
    )]
    Refresh(RefreshArgs),
    /// Hold every file against its hash, and make places.bin again. Exit code 1: something differs.
    Verify {
        /// Folder of the collection.
        #[arg(long, value_name = "DIR", default_value = DIR)]
        dir: PathBuf,
    },
}

/// `sakshi data add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Files as they were published.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folder of the collection.
    #[arg(long, value_name = "DIR", default_value = DIR)]
    pub dir: PathBuf,
    /// Short name of the source, as it shall stand in a place's basis.
    #[arg(long)]
    pub name: Option<String>,
    /// The publisher's version, where the file does not say it.
    #[arg(long, value_name = "VERSION")]
    pub source_version: Option<String>,
    /// When it was published, where the file does not say it: a day or a time.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub published: Option<Timestamp>,
    /// Licence, where it is not known by the kind of file.
    #[arg(long)]
    pub licence: Option<String>,
    /// Where it was fetched.
    #[arg(long)]
    pub url: Option<String>,
    /// Key of the provider that a geofeed is of (`digitalocean`).
    #[arg(long, value_name = "KEY")]
    pub provider: Option<String>,
    /// Category of the names in a list that tells none.
    #[arg(long)]
    pub category: Option<String>,
    /// Its licence forbids keeping old versions.
    #[arg(long)]
    pub old_versions_forbidden: bool,
}

/// `sakshi data refresh`.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// Folder of the collection.
    #[arg(long, value_name = "DIR", default_value = DIR)]
    pub dir: PathBuf,
    /// List of official addresses, instead of what is built in.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Ask for this source of the list alone; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Certificates of the authorities to trust (PEM), instead of this machine's.
    #[arg(long, value_name = "FILE")]
    pub roots: Option<PathBuf>,
}

/// `sakshi distance`.
#[derive(Debug, Args)]
pub struct DistanceArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Where the lab was, degrees north and east.
    #[arg(long, value_name = "LAT,LON", value_parser = position, allow_hyphen_values = true)]
    pub position: Position,
    /// How it is shown on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJsonl,
}

fn position(text: &str) -> Result<Position, String> {
    Position::parse(text)
        .ok_or_else(|| "expected degrees north and east, as 28.61,77.21".to_owned())
}

/// `sakshi locate`.
#[derive(Debug, Args)]
pub struct LocateArgs {
    /// Addresses; `-` reads them from standard input, one a line.
    #[arg(required = true, value_name = "ADDR")]
    pub addrs: Vec<String>,
    /// Location data made by `sakshi data add`; without it, what is built in.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// When the address was reached; without it, now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub at: Option<Timestamp>,
    /// How old a provider's own list may be for the grade high, in days.
    #[arg(long, value_name = "DAYS", default_value_t = PLACE_AGE_DAYS_DEFAULT)]
    pub max_age_days: u32,
    /// How it is shown on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJsonl,
}

/// A day (its beginning, UTC) or a time.
fn moment(text: &str) -> Result<Timestamp, String> {
    crate::locate::published::moment(text)
        .ok_or_else(|| "expected a day as 2026-08-20, or a time as 2026-08-20T10:00:00Z".to_owned())
}
