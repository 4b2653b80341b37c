//! How right the location data is, held against lists that it was not made from.
//!
//! In: the folder that `SAKSHI_LOCATION_DATA` names, with `cloud_prefixes.csv.gz` (what the clouds
//! publish of themselves, 2026-08), `anycast-v4.txt` and `anycast-v6.txt`; these state no licence,
//! so they are not part of the project. Where `SAKSHI_LOCATION_DATABASES` names a folder with
//! `geo-whois-asn-country.mmdb`, `geoip` and `geoip6` (`IPFire`'s, as Tor ships it), the consensus of
//! three databases is held against the same file. Out: a report on standard output, which
//! `docs/results.md` keeps with its day, and what must hold. Without the folder a line says so.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read as _,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use sakshi::{
    locate::{
        Atlas, Source,
        build::{Builder, Listed, Piece},
        dataset::{Location, NO_COUNTRY},
        embedded_dataset,
        prefix::Prefix,
        published::{self, Said},
    },
    time::Timestamp,
};
use sakshi_rules::contact::{Grade, Place};
use serde::Deserialize;

/// Day of the contacts: that of the hold-out file, 2026-08-20.
const DAY: &str = "2026-08-20";
/// Wrong places that are explained one by one.
const TOLD_MAX: usize = 60;

#[derive(Debug, Deserialize)]
struct Row {
    provider: String,
    prefix: String,
    region: String,
    border_group: String,
    country: String,
    service: String,
    /// An address of it that no narrower row begins at, else one that is in none.
    #[serde(skip, default = "nowhere")]
    addr: IpAddr,
}

fn nowhere() -> IpAddr {
    IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

impl Row {
    fn prefix(&self) -> Prefix {
        Prefix::parse(&self.prefix).expect("a prefix")
    }
}

fn folder() -> Option<PathBuf> {
    let folder = env::var_os("SAKSHI_LOCATION_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("not run: SAKSHI_LOCATION_DATA names no folder with cloud_prefixes.csv.gz");
    }
    folder
}

fn rows(folder: &Path) -> Vec<Row> {
    let path = folder.join("cloud_prefixes.csv.gz");
    let packed = fs::read(&path).expect("the hold-out file");
    let mut text = String::new();
    GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .expect("text");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.deserialize().map(|row| row.expect("a row"));
    let mut rows: Vec<Row> = rows.collect();
    let mut narrowest: BTreeMap<u128, u8> = BTreeMap::new();
    for prefix in rows.iter().map(Row::prefix) {
        let bits = narrowest.entry(prefix.start()).or_default();
        *bits = prefix.bits().max(*bits);
    }
    let all: Vec<Prefix> = rows.iter().map(Row::prefix).collect();
    rows.retain_mut(|row| {
        let prefix = row.prefix();
        let inside =
            |other: &&Prefix| other.bits() > prefix.bits() && prefix.contains(other.start());
        let bits = if narrowest.get(&prefix.start()) == Some(&prefix.bits()) {
            Some(prefix.start())
        } else {
            let narrower: Vec<&Prefix> = all.iter().filter(inside).collect();
            let behind = narrower
                .iter()
                .filter_map(|other| other.last().checked_add(1));
            let mut free = behind.filter(|&bits| {
                prefix.contains(bits) && !narrower.iter().any(|other| other.contains(bits))
            });
            free.next()
        };
        if let Some(bits) = bits {
            row.addr = IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical();
        } else {
            println!("{prefix}: narrower rows hold all of it, so it is not asked for");
        }
        bits.is_some()
    });
    rows
}

fn at() -> Timestamp {
    published::moment(DAY).expect("a day")
}

fn source(name: &str) -> Source {
    Source {
        name: name.to_owned(),
        published: at(),
        version: DAY.to_owned(),
        ..embedded_dataset().expect("embedded").sources[0].clone()
    }
}

/// The hold-out file itself as the providers' lists.
fn with_newer_lists(mut builder: Builder, rows: &[Row]) -> Builder {
    let mut lists: BTreeMap<&str, Vec<Listed>> = BTreeMap::new();
    for row in rows {
        let country = match *row.country.as_bytes() {
            [a, b] => [a, b],
            _ => NO_COUNTRY,
        };
        let group = if row.border_group.is_empty() {
            &row.region
        } else {
            &row.border_group
        };
        let location = Location {
            region: row.region.clone(),
            border_group: group.clone(),
            country,
        };
        let services = row.service.split('+').map(|service| Listed {
            prefix: row.prefix(),
            location: location.clone(),
            service: service.to_owned(),
        });
        lists.entry(&row.provider).or_default().extend(services);
    }
    for (provider, lines) in lists {
        let piece = Piece::Regions {
            key: provider.to_owned(),
            name: provider.to_owned(),
            lines,
        };
        builder
            .add(source(&format!("{provider}-2026-08")), vec![piece])
            .expect("added");
    }
    builder
}

fn add(builder: &mut Builder, path: &Path, said: &Said) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_name().expect("a name").to_string_lossy();
    let found = published::read(&bytes, &name, said, published::ENTRIES_MAX).expect("a list");
    builder.add(found.source, found.pieces).expect("added");
}

fn with_anycast(mut builder: Builder, folder: &Path) -> Builder {
    for name in ["anycast-v4.txt", "anycast-v6.txt"] {
        let said = Said {
            published: Some(at()),
            ..Said::default()
        };
        add(&mut builder, &folder.join(name), &said);
    }
    builder
}

fn embedded() -> Builder {
    Builder::from_dataset(embedded_dataset().expect("embedded"))
}

fn atlas(builder: Builder) -> Atlas {
    Atlas::new(builder.finish().expect("tables"))
}

/// Counts of one provider.
#[derive(Debug, Default)]
struct Counts {
    right: u32,
    wrong: u32,
    other_grades: BTreeMap<Grade, u32>,
}

/// Asks for the first address of each row. `current`: as if every list were of that day.
fn held(atlas: &Atlas, rows: &[Row], max_age_days: u32) -> (BTreeMap<String, Counts>, Vec<String>) {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows {
        let place = atlas.locate(row.addr, at(), max_age_days);
        let of = counts.entry(row.provider.clone()).or_default();
        if place.grade != Grade::High {
            *of.other_grades.entry(place.grade).or_default() += 1;
        } else if place.country.as_deref() == Some(row.country.as_str()) {
            of.right += 1;
        } else {
            of.wrong += 1;
            wrong.push(explained(row, &place));
        }
    }
    (counts, wrong)
}

fn explained(row: &Row, place: &Place) -> String {
    let now = if row.country.is_empty() {
        "no country"
    } else {
        &row.country
    };
    let group = if row.border_group.is_empty() {
        &row.region
    } else {
        &row.border_group
    };
    let basis = &place.basis[0];
    format!(
        "{}: {} then ({} of {}); now {now} ({group}, {})",
        row.prefix, basis.says, basis.prefix, basis.version, row.service
    )
}

fn tell(what: &str, counts: &BTreeMap<String, Counts>) {
    println!("\n{what}");
    for (provider, of) in counts {
        println!(
            "  {provider}: at high right {}, wrong {}; not high {:?}",
            of.right, of.wrong, of.other_grades
        );
    }
}

#[test]
fn the_embedded_list_taken_as_current_against_the_newer_one() {
    let Some(folder) = folder() else { return };
    let rows = rows(&folder);
    let (counts, wrong) = held(&atlas(embedded()), &rows, u32::MAX);
    tell("embedded lists, taken as current, against 2026-08", &counts);
    for line in wrong.iter().take(TOLD_MAX) {
        println!("  wrong: {line}");
    }
    // As it is used, the list of 2025-10 is too old to say anything at high.
    let (counts, wrong) = held(&atlas(embedded()), &rows, 180);
    tell(
        "the same as it is used (lists of at most 180 days)",
        &counts,
    );
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn with_the_newer_lists_nothing_is_wrong_at_high() {
    let Some(folder) = folder() else { return };
    let rows = rows(&folder);
    let builder = with_newer_lists(embedded(), &rows);
    let (counts, wrong) = held(&atlas(builder.clone()), &rows, 180);
    tell("with the lists of 2026-08 loaded", &counts);
    assert_eq!(wrong, Vec::<String>::new());
    let right: u32 = counts.values().map(|of| of.right).sum();
    assert!(right > 20_000, "{right}");

    let (counts, wrong) = held(&atlas(with_anycast(builder, &folder)), &rows, 180);
    tell("with the anycast lists as well", &counts);
    assert_eq!(wrong, Vec::<String>::new());
    for provider in ["aws", "azure", "gcp", "oracle"] {
        let lost = rows
            .iter()
            .filter(|row| row.provider == provider && !row.country.is_empty());
        let all = lost.clone().count();
        let right = usize::try_from(counts[provider].right).expect("a count");
        println!(
            "  {provider}: {} of {all} regional prefixes lost (first address)",
            all - right
        );
    }
}

#[test]
fn nothing_of_the_anycast_lists_is_located() {
    let Some(folder) = folder() else { return };
    let rows = rows(&folder);
    let atlas = atlas(with_anycast(with_newer_lists(embedded(), &rows), &folder));
    let mut asked = 0;
    for name in ["anycast-v4.txt", "anycast-v6.txt"] {
        let text = fs::read_to_string(folder.join(name)).expect("a list");
        for line in text.lines().filter(|line| !line.is_empty()) {
            let prefix = Prefix::parse(line).expect("a prefix");
            for bits in [prefix.start(), prefix.last()] {
                let addr = IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical();
                let place = atlas.locate(addr, at(), 180);
                assert_eq!(place.country, None, "{addr}: {place:?}");
                asked += 1;
            }
        }
    }
    println!("anycast: first and last addresses of all prefixes, {asked} in all: none is located");
    let inside = |row: &&Row| {
        row.provider == "gcp" && !row.country.is_empty() && {
            let place = atlas.locate(row.addr, at(), 180);
            place.grade == Grade::NotLocatable
        }
    };
    let lost: Vec<&Row> = rows.iter().filter(inside).collect();
    let mut by_region: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &lost {
        *by_region.entry(&row.region).or_default() += 1;
    }
    println!(
        "gcp loses {} regional prefixes (first address): {by_region:?}",
        lost.len()
    );
}

#[test]
fn three_databases_against_the_same_file() {
    let (Some(folder), Some(databases)) = (
        folder(),
        env::var_os("SAKSHI_LOCATION_DATABASES").map(PathBuf::from),
    ) else {
        println!("not run: SAKSHI_LOCATION_DATABASES names no folder with databases");
        return;
    };
    let rows = rows(&folder);
    let mut builder = embedded();
    // The databases alone: the provider's list would outweigh them.
    builder.remove("aws-ip-ranges");
    for name in ["geo-whois-asn-country.mmdb", "geoip", "geoip6"] {
        add(&mut builder, &databases.join(name), &Said::default());
    }
    let atlas = atlas(builder);
    println!("\ndatabases: {:?}", atlas.databases().collect::<Vec<_>>());
    let mut counts: BTreeMap<(String, Grade), (u32, u32)> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.country.is_empty()) {
        let addr = row.addr;
        let place = atlas.locate(addr, at(), 180);
        let family = if addr.is_ipv4() { "IPv4" } else { "IPv6" };
        let of = counts
            .entry((format!("{} {family}", row.provider), place.grade))
            .or_default();
        if place.country.as_deref() == Some(row.country.as_str()) {
            of.0 += 1;
        } else {
            of.1 += 1;
        }
    }
    let mut medium = (0, 0);
    for ((provider, grade), (right, other)) in &counts {
        println!("  {provider}, {grade:?}: right {right}, else {other}");
        if *grade == Grade::Medium {
            medium = (medium.0 + right, medium.1 + other);
        }
    }
    println!("  three of three: right {}, wrong {}", medium.0, medium.1);
    assert!(medium.0 > 100 * medium.1, "{medium:?}");
}
