//! What a round-trip time says of a place: light is no faster than it is.
//!
//! In: where the lab is, which region a server is said to be in, and a round-trip time from kernel or
//! file times. Out: whether the time refutes the place, or says nothing. A long time proves nothing,
//! so there is no third answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Kilometres that light makes in a millisecond in glass fibre, rounded up (refractive index 1.468
/// gives 204; cables are never straight).
const KM_PER_MS: f64 = 200.0;
/// Mean radius of the earth (IUGG), kilometres.
const EARTH_KM: f64 = 6371.0;
/// How far from its city a region's buildings may be, and the lab from its stated place, together:
/// taken off the distance, in favour of the stated region.
const SLACK_KM: f64 = 150.0;

const REGIONS: &str = include_str!("../../data/cloud-regions.csv");
const CITIES: &str = include_str!("../../data/cities.csv");

/// A point on the earth, degrees.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Position {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl Position {
    /// Reads `28.61,77.21`; none outside the earth.
    pub fn parse(text: &str) -> Option<Self> {
        let (latitude, longitude) = text.split_once(',')?;
        let position = Self {
            latitude: latitude.trim().parse().ok()?,
            longitude: longitude.trim().parse().ok()?,
        };
        let on_earth = (-90.0..=90.0).contains(&position.latitude)
            && (-180.0..=180.0).contains(&position.longitude);
        on_earth.then_some(position)
    }

    /// Kilometres along the great circle (haversine).
    pub fn km_to(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let north = (to - from) / 2.0;
        let east = (other.longitude - self.longitude).to_radians() / 2.0;
        let square = north.sin().powi(2) + from.cos() * to.cos() * east.sin().powi(2);
        2.0 * EARTH_KM * square.sqrt().min(1.0).asin()
    }
}

/// What the time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The server answered sooner than light could have come back from there.
    Refutes,
    /// It may be there, or elsewhere.
    SaysNothing,
}

/// A check with its figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Check {
    /// What the time says.
    pub answer: Answer,
    /// Great circle from the lab to the region's city, kilometres, rounded.
    pub km: u32,
    /// Least time there and back, microseconds, after what is taken off in the region's favour.
    pub least_us: u32,
}

/// Where regions are.
#[derive(Debug)]
pub struct Regions(BTreeMap<(String, String), Position>);

#[derive(Deserialize)]
struct RegionRow {
    provider: String,
    region: String,
    place: String,
}

#[derive(Deserialize)]
struct CityRow {
    place: String,
    #[serde(flatten)]
    position: Position,
}

impl Regions {
    /// The reviewed tables; a region whose city is in no table is left out.
    pub fn known() -> Self {
        let cities: BTreeMap<String, Position> = csv::Reader::from_reader(CITIES.as_bytes())
            .deserialize::<CityRow>()
            .flatten()
            .map(|row| (row.place, row.position))
            .collect();
        let rows = csv::Reader::from_reader(REGIONS.as_bytes());
        let regions = rows.into_deserialize::<RegionRow>().flatten();
        let known = regions.filter_map(|row| {
            let position = *cities.get(&row.place)?;
            Some(((row.provider, row.region), position))
        });
        Self(known.collect())
    }

    /// Whether a round trip of `rtt_us` microseconds can have gone from `lab` to a region and back;
    /// none where it is not known where the region is.
    pub fn check(
        &self,
        lab: Position,
        (provider, region): (&str, &str),
        rtt_us: u64,
    ) -> Option<Check> {
        let key = (provider.to_owned(), region.to_owned());
        let km = lab.km_to(*self.0.get(&key)?);
        let least_us = 2.0 * (km - SLACK_KM).max(0.0) / KM_PER_MS * 1000.0;
        Some(Check {
            answer: if rounded(least_us) > rtt_us {
                Answer::Refutes
            } else {
                Answer::SaysNothing
            },
            km: u32::try_from(rounded(km)).unwrap_or(u32::MAX),
            least_us: u32::try_from(rounded(least_us)).unwrap_or(u32::MAX),
        })
    }
}

/// A distance or a time on the earth as a whole number: never negative, and below 2^32.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "half of the earth's girth is 20,100 km, and 201,000 us there and back"
)]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELHI: Position = Position {
        latitude: 28.61,
        longitude: 77.21,
    };

    #[test]
    fn distances_are_great_circles() {
        for (to, km) in [
            ("1.35,103.82", 4150),
            ("39.04,-77.49", 12_040),
            ("28.61,77.21", 0),
        ] {
            let found = rounded(DELHI.km_to(Position::parse(to).unwrap()));
            assert!(found.abs_diff(km) < 40, "{to}: {found}");
        }
        for text in ["91,0", "0,181", "north,east", "28.61"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_short_time_refutes_and_a_long_one_says_nothing() {
        let regions = Regions::known();
        let singapore = ("aws", "ap-southeast-1");
        let check = |rtt| regions.check(DELHI, singapore, rtt).unwrap();
        assert_eq!(check(20_000).answer, Answer::Refutes);
        assert_eq!(check(39_000).answer, Answer::Refutes);
        assert_eq!(check(42_000).answer, Answer::SaysNothing);
        assert_eq!(check(400_000).answer, Answer::SaysNothing);
        assert!(
            check(1).least_us < 41_500,
            "never more than the distance alone asks"
        );
        // In the region's own city nothing can be refuted.
        let mumbai = Position::parse("19.08,72.88").unwrap();
        let near = regions.check(mumbai, ("aws", "ap-south-1"), 1).unwrap();
        assert_eq!((near.answer, near.km), (Answer::SaysNothing, 0));
        assert_eq!(regions.check(DELHI, ("aws", "xx-new-9"), 1), None);
    }

    #[test]
    fn the_regions_of_india_and_its_neighbours_are_known() {
        let regions = Regions::known();
        for region in [
            ("aws", "ap-south-1"),
            ("aws", "ap-south-2"),
            ("aws", "ap-southeast-1"),
            ("azure", "centralindia"),
            ("azure", "southindia"),
            ("gcp", "asia-south1"),
            ("gcp", "asia-south2"),
            ("oracle", "ap-mumbai-1"),
            ("oracle", "ap-hyderabad-1"),
        ] {
            assert!(regions.check(DELHI, region, 1).is_some(), "{region:?}");
        }
    }
}
