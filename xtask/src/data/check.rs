//! Compares the data file with the database that it was made from.
//!
//! In: the atlas and the opened database. Out: an error at the first address of which they say
//! different things.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sakshi::locate::{Atlas, dataset::NO_COUNTRY};

use super::{Error, dbip::Database};

/// Random addresses of each family.
const RANDOM: u32 = 200_000;

/// First and last address of every network, and random addresses from a fixed seed.
pub fn compare(atlas: &Atlas, database: &Database) -> Result<(), Error> {
    let (ipv4, ipv6) = database.networks()?;
    let mut edges = 0_u64;
    let ends = ipv4.iter().flat_map(|&(first, last, _)| [first, last]);
    for addr in ends.map(Ipv4Addr::from_bits) {
        same(atlas, database, addr.into())?;
        edges += 1;
    }
    let ends = ipv6.iter().flat_map(|&(first, last, _)| [first, last]);
    for addr in ends.map(Ipv6Addr::from_bits) {
        same(atlas, database, addr.into())?;
        edges += 1;
    }
    let mut random = SplitMix(1);
    for _ in 0..RANDOM {
        let [a, b, c, d, ..] = random.next().to_be_bytes();
        same(atlas, database, Ipv4Addr::new(a, b, c, d).into())?;
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        // Within 2000::/3, where addresses are handed out.
        let bits = bits >> 3 | 1 << 125;
        same(atlas, database, Ipv6Addr::from_bits(bits).into())?;
    }
    println!(
        "{edges} ends of networks and {} random addresses: the same country",
        2 * RANDOM
    );
    Ok(())
}

fn same(atlas: &Atlas, database: &Database, addr: IpAddr) -> Result<(), Error> {
    let ours = atlas.database_country(0, addr);
    let theirs = database.country(addr)?;
    if ours.map_or(NO_COUNTRY, |(code, _)| code) == theirs {
        Ok(())
    } else {
        Err(format!("{addr}: ours {ours:?}, the database {theirs:?}").into())
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014): the same addresses in every run.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
