//! `cargo xtask bench places`: how fast a place is found with all tables loaded, and how much the
//! tables take; beside `maxminddb`, which answers with one database's country, in the same run.
//!
//! In: a folder that `sakshi data add` made (`places.bin` and `files/`), or what is built in. Out:
//! figures on standard output. They are told, not judged: machines differ.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::{Duration, Instant},
};

use maxminddb::Reader;
use sakshi::{
    locate::{Atlas, Verdict},
    time::Timestamp,
};
use serde::Deserialize;

use super::Error;

/// Addresses that are asked for, half of each family.
const ADDRESSES: usize = 200_000;
/// Addresses that are timed together: a clock's own cost is as long as a look-up.
const BATCH: usize = 100;
/// How often each file is loaded.
const LOADS: usize = 15;
/// Day of the contacts: 2026-08-30.
const AT: Timestamp = Timestamp::from_micros(1_788_048_000_000_000);

#[derive(Deserialize)]
struct Record<'a> {
    country_code: Option<&'a str>,
}

/// Measures.
pub fn run(args: &[String]) -> Result<(), Error> {
    let file = match args {
        [] => {
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/data/places.bin"))?
        }
        [folder] => std::fs::read(Path::new(folder).join("places.bin"))
            .map_err(|error| format!("{folder}/places.bin: {error}"))?,
        _ => return Err("usage: cargo xtask bench places [FOLDER]".into()),
    };
    // As in the daemon: loaded once, by a process that has loaded nothing before.
    let before = resident()?;
    let from = Instant::now();
    let atlas = Atlas::from_bytes(&file)?;
    let mut loads = vec![from.elapsed()];
    let grown = (resident()? - before) / 1024.0;
    for _ in 1..LOADS {
        let from = Instant::now();
        black_box(Atlas::from_bytes(&file)?);
        loads.push(from.elapsed());
    }
    loads.sort_unstable();
    let databases: Vec<&str> = atlas.databases().collect();
    println!(
        "file {} bytes, tables {:?}, databases {databases:?}",
        file.len(),
        atlas.sizes()
    );
    println!(
        "load: median {:?}, least {:?}, most {:?}; resident memory grew by {:.1} MiB at the first",
        at(&loads, 50),
        at(&loads, 0),
        at(&loads, 100),
        grown
    );
    let addresses = addresses(&atlas);
    let mut counts = [0_u32; 2];
    tell("verdict", &addresses, |addr| {
        let verdict: Verdict = atlas.verdict(addr, AT, 180);
        counts[usize::from(verdict.country != [0, 0])] += 1;
    });
    println!(
        "  of these, with a country: {} of {}",
        counts[1],
        counts[0] + counts[1]
    );
    tell("place with its words", &addresses, |addr| {
        black_box(atlas.locate(addr, AT, 180));
    });
    if let [folder] = args {
        for path in mmdbs(&Path::new(folder).join("files"))? {
            let from = Instant::now();
            let reader = Reader::open_readfile(&path)?;
            println!("maxminddb, {}: load {:?}", path.display(), from.elapsed());
            tell("  look-up and country code", &addresses, |addr| {
                if let Ok(found) = reader.lookup(addr)
                    && let Ok(record) = found.decode::<Record<'_>>()
                {
                    black_box(record.map(|record| record.country_code.map(str::len)));
                }
            });
        }
    }
    Ok(())
}

fn mmdbs(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "mmdb")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Random addresses from a fixed seed: of IPv4 all, of IPv6 those that some database knows.
fn addresses(atlas: &Atlas) -> Vec<IpAddr> {
    let mut random = super::check::SplitMix(7);
    let mut found = Vec::with_capacity(ADDRESSES);
    while found.len() < ADDRESSES / 2 {
        let [a, b, c, d, ..] = random.next().to_be_bytes();
        found.push(Ipv4Addr::new(a, b, c, d).into());
    }
    while found.len() < ADDRESSES {
        // Within 2400::/6 and 2800::/5, of which much is handed out.
        let high = random.next() >> 5 | 0x2000_0000_0000_0000;
        let bits = u128::from(high) << 64 | u128::from(random.next());
        let addr = IpAddr::from(Ipv6Addr::from_bits(bits));
        if atlas.database_country(0, addr).is_some() {
            found.push(addr);
        }
    }
    // The families mixed, as contacts are.
    (0..found.len() / 2)
        .flat_map(|at| [at, at + found.len() / 2])
        .filter_map(|at| found.get(at).copied())
        .collect()
}

fn tell(what: &str, addresses: &[IpAddr], mut ask: impl FnMut(IpAddr)) {
    addresses.iter().for_each(|&addr| ask(addr));
    let mut times: Vec<Duration> = addresses
        .chunks_exact(BATCH)
        .map(|batch| {
            let from = Instant::now();
            batch.iter().for_each(|&addr| ask(black_box(addr)));
            from.elapsed() / u32::try_from(BATCH).unwrap_or(1)
        })
        .collect();
    times.sort_unstable();
    println!(
        "{what}: median {:?}, 99 of 100 {:?} (mean of {BATCH} each)",
        at(&times, 50),
        at(&times, 99)
    );
}

fn at(times: &[Duration], percent: usize) -> Duration {
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default()
}

/// Resident memory in KiB.
fn resident() -> Result<f64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
