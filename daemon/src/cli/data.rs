//! `sakshi data` and `sakshi locate`.
//!
//! In: published files; addresses. Out: the collection's list and its compiled file; places, one
//! line each, in the order asked. Exit code 1 of `data verify`: a file is not as it was added.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, stdin},
    net::IpAddr,
    path::Path,
};

use serde::Serialize;

use super::{
    Failure, Outcome,
    args::TextOrJsonl,
    data_args::{AddArgs, DataCommand, LocateArgs, RefreshArgs},
    output::{Stdout, say},
};
use crate::{
    gather::{Added, Collection, Fetcher, Refreshed, Standing, manifest},
    locate::{Atlas, published::Said},
    platform::clock::{Clock, SystemClock},
    time::Timestamp,
};

/// Lists, adds, fetches, checks.
pub fn data(command: DataCommand) -> Result<Outcome, Failure> {
    match command {
        DataCommand::List { dir } => list(&dir),
        DataCommand::Add(args) => add(args),
        DataCommand::Refresh(args) => refresh(&args),
        DataCommand::Verify { dir } => verify(&dir),
    }
}

fn add(args: AddArgs) -> Result<Outcome, Failure> {
    let mut collection = Collection::open(&args.dir)?;
    let said = Said {
        name: args.name,
        version: args.source_version,
        published: args.published,
        licence: args.licence,
        url: args.url,
        provider: args.provider,
        category: args.category,
        passing: args.old_versions_forbidden,
    };
    for added in collection.add(&args.files, &said)? {
        say_added(&added);
    }
    say(format_args!("compiled: {}", collection.places().display()));
    Ok(Outcome::Done)
}

fn say_added(added: &Added) {
    let item = &added.item;
    say(format_args!(
        "{}: {}, {} {}, licence: {}",
        item.file, item.kind, item.name, item.version, item.licence
    ));
    if item.passing {
        say(format_args!(
            "its licence forbids keeping old versions: a case keeps what it said and its hash, never \
                 the file"
        ));
    }
    for name in added.gone.iter().filter(|name| **name != item.name) {
        say(format_args!("it takes the place of {name}"));
    }
    for file in &added.deleted {
        say(format_args!("deleted, as its licence asks: {file}"));
    }
    for note in &added.notes {
        say(note);
    }
}

fn refresh(args: &RefreshArgs) -> Result<Outcome, Failure> {
    let (text, file) = match &args.manifest {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                format!("{} cannot be read: {error}; check the path", path.display())
            })?;
            (Some(text), path.display().to_string())
        }
        None => (None, "the built-in list".to_owned()),
    };
    let mut officials = manifest::read(text.as_deref(), &file)?;
    let known = |name: &&String| officials.iter().any(|official| official.name == **name);
    if let Some(name) = args.only.iter().find(|name| !known(name)) {
        return Err(format!("{file} names no source {name:?}").into());
    }
    officials.retain(|official| args.only.is_empty() || args.only.contains(&official.name));
    let mut collection = Collection::open(&args.dir)?;
    let fetcher = Fetcher::new(&args.dir, args.roots.as_deref())?;
    let mut outcome = Outcome::Done;
    collection.refresh(
        &officials,
        &fetcher,
        &mut |official, refreshed| match refreshed {
            Refreshed::Unchanged => say(format_args!("{}: not changed", official.name)),
            Refreshed::Added(added, resumed) => {
                if *resumed > 0 {
                    say(format_args!(
                        "{}: went on after {resumed} bytes",
                        official.name
                    ));
                }
                say_added(added);
                say(format_args!("SHA-256 {}", added.item.sha256));
            }
            Refreshed::Failed(error) => {
                outcome = Outcome::No;
                say(format_args!("{}: {error}", official.name));
            }
        },
    );
    Ok(outcome)
}

fn list(dir: &Path) -> Result<Outcome, Failure> {
    let collection = Collection::open(dir)?;
    let places = collection.places();
    let atlas = if places.exists() {
        read_atlas(&places)?
    } else {
        Atlas::embedded()?
    };
    let mut out = Stdout::open();
    for source in atlas.manifest() {
        let item = collection
            .items()
            .iter()
            .find(|item| item.replaced_by.is_none() && item.name == source.name);
        let kind = item.map_or("built in", |item| item.kind.as_str());
        let passing = if source.passing {
            "; old versions must not be kept"
        } else {
            ""
        };
        out.line(format_args!(
            "{}\t{}\t{}\t{kind}\t{}{passing}\t{}",
            source.name, source.version, source.published, source.licence, source.sha256
        ))?;
    }
    out.close()?;
    Ok(Outcome::Done)
}

fn verify(dir: &Path) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Done;
    let mut out = Stdout::open();
    for (file, standing) in Collection::open(dir)?.verify()? {
        let how = match standing {
            Standing::Intact => "intact",
            Standing::Missing => "missing",
            Standing::Changed => "not as it was added",
        };
        if standing != Standing::Intact {
            outcome = Outcome::No;
        }
        out.line(format_args!("{file}: {how}"))?;
    }
    out.close()?;
    Ok(outcome)
}

fn read_atlas(path: &Path) -> Result<Atlas, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        format!(
            "{} cannot be read: {error}; make one with `sakshi data add`",
            path.display()
        )
    })?;
    Ok(Atlas::from_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// A place as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    addr: IpAddr,
    country: Option<&'a str>,
    provider: Option<&'a str>,
    region: Option<&'a str>,
    asn: Option<u32>,
    asn_country: Option<&'a str>,
    organisation: Option<&'a str>,
    grade: sakshi_rules::contact::Grade,
    basis: &'a [sakshi_rules::contact::PlaceBasis],
}

/// Tells where addresses are, in the order asked.
pub fn locate(args: &LocateArgs) -> Result<Outcome, Failure> {
    let atlas = match &args.data {
        Some(path) => read_atlas(path)?,
        None => Atlas::embedded()?,
    };
    let at = args.at.unwrap_or_else(|| SystemClock.now());
    let mut out = Stdout::open();
    for addr in &args.addrs {
        if addr == "-" {
            for (line, number) in stdin().lock().lines().zip(1..) {
                let line = line.map_err(|error| format!("standard input: {error}"))?;
                let text = line.trim();
                if !text.is_empty() {
                    let addr = parse(text, format_args!("standard input, line {number}"))?;
                    tell(&mut out, &atlas, addr, at, args)?;
                }
            }
        } else {
            let addr = parse(addr, format_args!("the command line"))?;
            tell(&mut out, &atlas, addr, at, args)?;
        }
    }
    out.close()?;
    Ok(Outcome::Done)
}

fn parse(text: &str, whence: std::fmt::Arguments<'_>) -> Result<IpAddr, Failure> {
    text.parse()
        .map_err(|_| format!("{whence}: expected an IPv4 or IPv6 address, found {text:?}").into())
}

fn tell(
    out: &mut Stdout,
    atlas: &Atlas,
    addr: IpAddr,
    at: Timestamp,
    args: &LocateArgs,
) -> Result<(), Failure> {
    let place = atlas.locate(addr, at, args.max_age_days);
    let line = Line {
        addr,
        country: place.country.as_deref(),
        provider: place.provider.as_deref(),
        region: place.region.as_deref(),
        asn: place.asn,
        asn_country: place.asn_country.as_deref(),
        organisation: place.organisation.as_deref(),
        grade: place.grade,
        basis: &place.basis,
    };
    match args.format {
        TextOrJsonl::Jsonl => out.line(serde_json::to_string(&line)?)?,
        TextOrJsonl::Text => out.text(text(&line))?,
    }
    Ok(())
}

/// `203.0.113.9  SG  aws ap-southeast-1  AS16509 Amazon  high`, and each source's word below it.
fn text(line: &Line<'_>) -> String {
    let known = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let grade = serde_json::to_value(line.grade)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default();
    let system = line
        .asn
        .map_or_else(|| "-".to_owned(), |asn| format!("AS{asn}"));
    let mut text = format!(
        "{}\t{}\t{}\t{}\t{system}\t{}\t{grade}\n",
        line.addr,
        known(line.country),
        known(line.provider),
        known(line.region),
        known(line.organisation),
    );
    for basis in line.basis {
        let age = match basis.age_days {
            1 => "1 day old".to_owned(),
            days @ 0.. => format!("{days} days old"),
            days => format!("{} days younger than asked for", days.unsigned_abs()),
        };
        let age = basis
            .sha256
            .as_ref()
            .map_or_else(String::new, |_| format!(", {age}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\t{} {}{age}: {} is {}",
            basis.source, basis.version, basis.prefix, basis.says
        );
    }
    text
}
