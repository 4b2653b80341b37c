//! Places of known addresses, from a small dataset and from the embedded one.

use std::{net::IpAddr, sync::LazyLock};

use proptest::prelude::*;
use sakshi_rules::contact::{Grade, Place};

use super::{Atlas, sample, unknown_place};
use crate::time::Timestamp;

const DAY: i64 = 86_400_000_000_000;
const MAX_AGE: u32 = 180;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// From the small dataset, `days` after its publication.
fn small(text: &str, days: i64) -> Place {
    let at = sample::PUBLISHED.plus_nanos(days * DAY);
    Atlas::new(sample::dataset()).locate(addr(text), at, MAX_AGE)
}

fn says(place: &Place) -> Vec<(&str, &str, &str)> {
    place
        .basis
        .iter()
        .map(|basis| {
            (
                basis.source.as_str(),
                basis.prefix.as_str(),
                basis.says.as_str(),
            )
        })
        .collect()
}

#[test]
fn a_region_outweighs_the_database_and_keeps_its_word() {
    let place = small("30.3.0.9", 10);
    assert_eq!(
        place.country.as_deref(),
        Some("TH"),
        "by border group, not by region"
    );
    assert_eq!(place.region.as_deref(), Some("ap-southeast-1"));
    assert_eq!(place.provider.as_deref(), Some("aws"));
    assert_eq!(place.grade, Grade::High);
    assert_eq!(
        says(&place),
        [
            (
                "cloud",
                "30.3.0.0/16",
                "TH ap-southeast-1-bkk-1 of ap-southeast-1"
            ),
            ("countries", "30.0.0.0/8", "SG"),
        ]
    );
}

#[test]
fn the_age_of_the_list_grades_it() {
    for (days, grade) in [
        (-1, Grade::Medium),
        (0, Grade::High),
        (100, Grade::High),
        (180, Grade::High),
        (181, Grade::Medium),
        (389, Grade::Medium),
    ] {
        let place = small("30.3.0.9", days);
        assert_eq!((place.grade, place.basis[0].age_days), (grade, days));
        assert_eq!(place.country.as_deref(), Some("TH"));
    }
}

#[test]
fn edge_services_have_no_place_whatever_is_inside_them() {
    for text in ["30.0.0.1", "30.1.0.1", "30.1.1.1", "30.2.0.1", "40.1.2.3"] {
        let place = small(text, 1);
        assert_eq!(place.grade, Grade::NotLocatable, "{text}");
        assert_eq!(place.country, None, "{text}");
        assert_eq!(place.region, None, "{text}");
        assert!(place.organisation.is_some(), "{text}");
    }
    assert_eq!(
        says(&small("30.1.1.1", 1)),
        [("cloud", "30.1.0.0/16", "ap-south-1 (AMAZON, CLOUDFRONT)")]
    );
    assert_eq!(
        says(&small("40.1.2.3", 1)),
        [(
            "spread",
            "40.0.0.0/8",
            "Spread: anycast (https://spread.example/)"
        )]
    );
}

#[test]
fn a_region_inside_a_global_block_counts() {
    let place = small("30.0.1.7", 1);
    assert_eq!(place.country.as_deref(), Some("IN"));
    assert_eq!(place.grade, Grade::High);
    assert_eq!(place.basis[0].prefix, "30.0.1.0/24");
}

#[test]
fn codes_that_name_no_country_give_none() {
    for (text, country, word) in [
        ("20.1.1.1", Some("IN"), "IN"),
        ("21.1.1.1", None, "EU, which is no country"),
        ("22.1.1.1", Some("XK"), "XK"),
        ("23.1.1.1", Some("HK"), "HK"),
        ("24.1.1.1", None, "AP, which is no country"),
        ("25.1.1.1", None, "ZZ, which is no country"),
    ] {
        let place = small(text, 1);
        assert_eq!(place.country.as_deref(), country, "{text}");
        assert_eq!(place.basis[0].says, word, "{text}");
        let grade = if country.is_some() {
            Grade::Low
        } else {
            Grade::None
        };
        assert_eq!(place.grade, grade, "{text}");
    }
    assert_eq!(small("26.1.1.1", 1), unknown_place());
}

#[test]
fn addresses_that_a_standard_sets_aside_have_no_place() {
    let place = small("10.1.2.3", 1);
    assert_eq!(place.grade, Grade::None);
    assert_eq!(
        says(&place),
        [("iana-special-purpose", "10.0.0.0/8", "private use")]
    );
    assert_eq!(place.basis[0].version, "RFC 1918");
}

#[test]
fn mapped_and_translated_addresses_are_located_as_ipv4() {
    assert_eq!(small("::ffff:30.3.0.9", 1), small("30.3.0.9", 1));
    let plain = small("30.3.0.9", 1);
    let translated = small("64:ff9b::30.3.0.9", 1);
    assert_eq!(
        says(&translated)[0],
        (
            "iana-special-purpose",
            "64:ff9b::/96",
            "NAT64, located by the embedded address 30.3.0.9"
        )
    );
    assert_eq!(translated.basis[1..], plain.basis[..]);
    assert_eq!(translated.country, plain.country);
    assert_eq!(translated.grade, plain.grade);
    let local = small("64:ff9b:1::30.3.0.9", 1);
    assert_eq!(local.grade, Grade::None);
    assert_eq!(local.basis[0].version, "RFC 8215");
}

#[test]
fn ipv6_is_exact_to_the_address() {
    assert_eq!(small("2600::", 1).basis[1].says, "IN");
    assert_eq!(small("2600::", 1).basis[1].prefix, "2600::/128");
    assert_eq!(small("2600::1", 1).basis[1].says, "SG");
    assert_eq!(small("2600:0:1::", 1).basis[0].prefix, "2600:0:1::/48");
    assert_eq!(small("2601::", 1), unknown_place());
}

/// Read once: it takes a while without optimisation.
static EMBEDDED: LazyLock<Atlas> = LazyLock::new(|| Atlas::embedded().unwrap());

/// 100 days after the embedded cloud list was published.
fn embedded(text: &str) -> Place {
    let atlas = &*EMBEDDED;
    let list = &atlas.manifest()[1];
    atlas.locate(addr(text), list.published.plus_nanos(100 * DAY), MAX_AGE)
}

#[test]
fn known_addresses_are_where_their_sources_say() {
    for (text, country, region, grade) in [
        ("13.232.0.10", Some("IN"), Some("ap-south-1"), Grade::High),
        (
            "64:ff9b::13.232.0.10",
            Some("IN"),
            Some("ap-south-1"),
            Grade::High,
        ),
        (
            "13.250.0.10",
            Some("SG"),
            Some("ap-southeast-1"),
            Grade::High,
        ),
        ("2406:da1a::10", Some("IN"), Some("ap-south-1"), Grade::High),
        (
            "2406:da18::10",
            Some("SG"),
            Some("ap-southeast-1"),
            Grade::High,
        ),
        (
            "15.220.192.5",
            Some("TH"),
            Some("ap-southeast-1"),
            Grade::High,
        ),
        ("13.32.0.10", None, None, Grade::NotLocatable),
        ("75.2.0.10", None, None, Grade::NotLocatable),
        ("104.16.1.1", None, None, Grade::NotLocatable),
        ("2606:4700::1111", None, None, Grade::NotLocatable),
        ("8.8.8.8", None, None, Grade::NotLocatable),
        ("114.114.114.114", Some("CN"), None, Grade::Low),
        ("2408:8000::1", Some("CN"), None, Grade::Low),
        ("192.168.1.1", None, None, Grade::None),
    ] {
        let place = embedded(text);
        assert_eq!(place.country.as_deref(), country, "{text}: {place:?}");
        assert_eq!(place.region.as_deref(), region, "{text}: {place:?}");
        assert_eq!(place.grade, grade, "{text}: {place:?}");
        assert!(!place.basis.is_empty(), "{text}");
    }
}

#[test]
fn the_embedded_cloud_list_grows_old() {
    let atlas = &*EMBEDDED;
    let list = &atlas.manifest()[1];
    let at = list.published.plus_nanos(389 * DAY);
    let place = atlas.locate(addr("13.250.0.10"), at, MAX_AGE);
    assert_eq!(place.grade, Grade::Medium);
    assert_eq!(place.basis[0].age_days, 389);
    assert_eq!(place.country.as_deref(), Some("SG"));
}

#[test]
fn the_manifest_names_every_source() {
    let atlas = &*EMBEDDED;
    let names: Vec<&str> = atlas
        .manifest()
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "dbip-country-lite",
            "aws-ip-ranges",
            "not-locatable",
            "cloud-regions",
            "aws-border-groups"
        ]
    );
    for source in atlas.manifest() {
        assert_eq!(source.sha256.len(), 64, "{}", source.name);
        assert!(!source.licence.is_empty(), "{}", source.name);
    }
}

#[test]
fn the_committed_lists_are_the_ones_in_the_data() {
    use sha2::{Digest, Sha256};
    let atlas = &*EMBEDDED;
    let [.., spread, regions, groups] = atlas.manifest() else {
        panic!("five sources");
    };
    for (source, bytes) in [
        (
            spread,
            include_bytes!("../../data/not-locatable.toml").as_slice(),
        ),
        (
            regions,
            include_bytes!("../../data/cloud-regions.csv").as_slice(),
        ),
        (
            groups,
            include_bytes!("../../data/aws-border-groups.csv").as_slice(),
        ),
    ] {
        let hash = super::format::hex(Sha256::digest(bytes).into());
        assert_eq!(
            source.sha256, hash,
            "{}: run `cargo xtask data`",
            source.file
        );
    }
}

proptest! {
    /// The basis' prefix always contains the address it is given for.
    #[test]
    fn any_address_has_a_place_whose_basis_contains_it(bits: u128, low: u32, v4: bool, nanos: i64) {
        let atlas = Atlas::new(sample::dataset());
        let at = Timestamp::from_nanos(nanos);
        let asked = if v4 {
            IpAddr::from(low.to_be_bytes())
        } else {
            IpAddr::from(bits.to_be_bytes())
        };
        let place = atlas.locate(asked, at, MAX_AGE);
        for basis in &place.basis {
            let prefix = super::prefix::Prefix::parse(&basis.prefix).unwrap();
            prop_assert!(prefix.contains(super::prefix::key(asked)));
        }
        prop_assert!(place.country.is_some() == (place.grade >= Grade::Low));
    }
}
