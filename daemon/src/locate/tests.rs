//! Places of known addresses, from a small dataset and from the embedded one.

use std::{net::IpAddr, sync::LazyLock};

use proptest::prelude::*;
use sakshi_rules::contact::{Grade, Place};

use super::{
    Atlas, Source,
    build::{Builder, Listed, Piece, Span},
    dataset::{Location, Organisation, System, UNKNOWN_COUNTRY},
    encode, format,
    prefix::Prefix,
    regrade::{Regraded, regrade},
    sample,
};
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
    assert_eq!(small("26.1.1.1", 1), Place::unknown());
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
    assert_eq!(small("2601::", 1), Place::unknown());
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
        let hash = format::hex(Sha256::digest(bytes).into());
        assert_eq!(
            source.sha256, hash,
            "{}: run `cargo xtask data`",
            source.file
        );
    }
}

/// The seeds of fuzz targets; `SAKSHI_BLESS=1` writes them anew.
#[test]
fn the_seeds_are_the_small_dataset() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/places");
    let data = sample::dataset();
    for (name, bytes) in [
        ("sample.payload", encode::payload(&data).unwrap()),
        ("sample.bin", encode::encode(&data, format::ZLIB).unwrap()),
        ("plain.bin", encode::encode(&data, format::PLAIN).unwrap()),
    ] {
        let path = folder.join(name);
        if std::env::var_os("SAKSHI_BLESS").is_some_and(|value| value == "1") {
            std::fs::write(&path, &bytes).unwrap();
        }
        // What zlib makes of the same bytes may change with its version.
        let committed = std::fs::read(&path).unwrap();
        if name == "sample.bin" {
            assert_eq!(format::decode(&committed).unwrap(), data, "{name}");
        } else {
            assert_eq!(committed, bytes, "{name}");
        }
    }
}

fn source(name: &str, days: i64) -> Source {
    Source {
        name: name.to_owned(),
        published: sample::PUBLISHED.plus_nanos(days * DAY),
        ..sample::dataset().sources[0].clone()
    }
}

/// Country databases of one block each, 50.0.0.0/8, on top of the small dataset's own.
fn with_votes(votes: &[&[u8; 2]]) -> Builder {
    let mut builder = Builder::from_dataset(sample::dataset());
    for (number, &&code) in votes.iter().enumerate() {
        let span = Span::from(Prefix::v4([50, 0, 0, 0], 8));
        let cloud = Span::from(Prefix::v4([30, 3, 0, 0], 16));
        let pieces = vec![Piece::Countries(vec![(span, code), (cloud, code)])];
        builder
            .add(source(&format!("db{number}"), 0), pieces)
            .unwrap();
    }
    builder
}

fn place(builder: Builder, text: &str, days: i64) -> Place {
    let at = sample::PUBLISHED.plus_nanos(days * DAY);
    Atlas::new(builder.finish().unwrap()).locate(addr(text), at, MAX_AGE)
}

#[test]
fn databases_are_believed_as_far_as_they_agree() {
    for (votes, country, grade) in [
        (&[b"IN"][..], Some("IN"), Grade::Low),
        (&[b"IN", b"IN"], Some("IN"), Grade::Low),
        (&[b"IN", b"SG"], None, Grade::Conflict),
        (&[b"IN", b"IN", b"IN"], Some("IN"), Grade::Medium),
        (&[b"IN", b"IN", b"SG"], Some("IN"), Grade::Low),
        (&[b"IN", b"SG", b"US"], None, Grade::Conflict),
        // Who names no country has no voice: the rest are two.
        (&[b"IN", b"IN", b"EU"], Some("IN"), Grade::Low),
        (&[b"GB", b"UK", b"GB"], Some("GB"), Grade::Medium),
        (&[b"IN", b"IN", b"IN", b"EU"], Some("IN"), Grade::Medium),
        (&[b"IN", b"IN", b"SG", b"SG"], None, Grade::Conflict),
        (&[b"IN", b"IN", b"IN", b"SG"], Some("IN"), Grade::Low),
    ] {
        let place = place(with_votes(votes), "50.1.2.3", 1);
        assert_eq!(place.grade, grade, "{votes:?}");
        assert_eq!(place.country.as_deref(), country, "{votes:?}");
        assert_eq!(place.basis.len(), votes.len(), "every word is kept");
    }
}

#[test]
fn a_stale_list_that_three_databases_contradict_is_a_conflict() {
    let votes: [&[u8; 2]; 3] = [b"SG", b"SG", b"SG"];
    // The list says TH; the small dataset's own database says SG as well.
    for (days, grade, country) in [(10, Grade::High, Some("TH")), (200, Grade::Conflict, None)] {
        let place = place(with_votes(&votes), "30.3.0.9", days);
        assert_eq!(place.grade, grade);
        assert_eq!(place.country.as_deref(), country);
        assert_eq!(place.region.as_deref(), Some("ap-southeast-1"));
    }
    let votes: [&[u8; 2]; 3] = [b"TH", b"SG", b"SG"];
    assert_eq!(
        place(with_votes(&votes), "30.3.0.9", 200).grade,
        Grade::Medium
    );
}

#[test]
fn who_announces_an_address_says_nothing_of_where_it_is() {
    let mut builder = with_votes(&[b"IN"]);
    let system = |number, name: &str| System {
        source: 0,
        number,
        country: *b"US",
        name: name.to_owned(),
    };
    let wide = Span::from(Prefix::v4([50, 0, 0, 0], 8));
    let narrow = Span::from(Prefix::v4([50, 1, 0, 0], 16));
    let spans = vec![(wide, system(1, "One")), (narrow, system(2, "Two, Inc."))];
    builder
        .add(source("systems", 0), vec![Piece::Systems(spans)])
        .unwrap();
    let found = place(builder.clone(), "50.1.2.3", 1);
    assert_eq!(
        (found.asn, found.asn_country.as_deref()),
        (Some(2), Some("US"))
    );
    assert_eq!(found.organisation.as_deref(), Some("Two, Inc."));
    assert_eq!(
        (found.country.as_deref(), found.grade),
        (Some("IN"), Grade::Low)
    );
    assert_eq!(
        says(&found)[1],
        ("systems", "50.1.0.0/16", "AS2 Two, Inc., registered in US")
    );
    // A second source of systems fills what the first leaves, and counts where both speak.
    let more = vec![(narrow, system(3, "Three"))];
    builder
        .add(source("more", 0), vec![Piece::Systems(more)])
        .unwrap();
    assert_eq!(place(builder.clone(), "50.1.2.3", 1).asn, Some(3));
    let wide = place(builder, "50.2.0.0", 1);
    assert_eq!((wide.asn, says(&wide)[1].1), (Some(1), "50.2.0.0/15"));
}

#[test]
fn a_list_of_anycast_prefixes_outweighs_regions_and_databases() {
    let mut builder = with_votes(&[b"IN", b"IN", b"IN"]);
    let nobody = Organisation {
        source: 0,
        key: String::new(),
        name: String::new(),
        kind: "anycast".to_owned(),
        document: String::new(),
    };
    let blocks = vec![Prefix::v4([50, 0, 0, 0], 16), Prefix::v4([30, 3, 0, 0], 24)];
    builder
        .add(
            source("anycast", 0),
            vec![Piece::Spread(vec![(nobody, blocks)])],
        )
        .unwrap();
    let found = place(builder.clone(), "50.0.0.9", 1);
    assert_eq!((found.grade, &found.country), (Grade::NotLocatable, &None));
    assert_eq!(says(&found), [("anycast", "50.0.0.0/16", "anycast")]);
    let cloud = place(builder.clone(), "30.3.0.9", 1);
    assert_eq!((cloud.grade, cloud.region), (Grade::NotLocatable, None));
    assert_eq!(
        cloud.provider.as_deref(),
        Some("aws"),
        "the organisation only"
    );
    assert_eq!(place(builder, "30.3.1.9", 1).grade, Grade::High);
}

#[test]
fn a_newer_list_of_a_provider_takes_the_older_one_s_place() {
    let mut builder = Builder::from_dataset(sample::dataset());
    let line = |text: &str, region: &str, country| Listed {
        prefix: Prefix::parse(text).unwrap(),
        location: Location {
            region: region.to_owned(),
            border_group: region.to_owned(),
            country,
        },
        service: String::new(),
    };
    let lines = vec![
        line("30.3.0.0/16", "me-west-9", *b"TR"),
        line("30.4.0.0/16", "me-new-1", UNKNOWN_COUNTRY),
    ];
    let pieces = vec![Piece::Regions {
        key: "aws".to_owned(),
        name: "Amazon Web Services".to_owned(),
        lines,
    }];
    let gone = builder.add(source("newer", 200), pieces).unwrap();
    assert_eq!(gone, ["cloud"]);
    let found = place(builder.clone(), "30.3.0.9", 201);
    assert_eq!(
        (found.grade, found.country.as_deref()),
        (Grade::High, Some("TR"))
    );
    assert_eq!(place(builder.clone(), "30.0.1.7", 201).provider, None);
    // A region in no table keeps its name; where it is, the databases say.
    let found = place(builder, "30.4.0.9", 201);
    assert_eq!(
        (found.grade, found.country.as_deref()),
        (Grade::Low, Some("SG"))
    );
    assert_eq!(found.region.as_deref(), Some("me-new-1"));
    assert_eq!(says(&found)[0].2, "country not known, me-new-1");
}

#[test]
fn names_have_the_categories_of_the_narrowest_domain() {
    let mut builder = Builder::default();
    let names = [("example.com", "shop"), ("ads.example.com", "advertising")];
    let names = names.map(|(name, category)| (name.to_owned(), category.to_owned()));
    builder
        .add(source("one", 0), vec![Piece::Domains(names.to_vec())])
        .unwrap();
    let other = vec![("example.com".to_owned(), "other".to_owned())];
    builder
        .add(source("two", 0), vec![Piece::Domains(other)])
        .unwrap();
    let atlas = Atlas::new(builder.finish().unwrap());
    let of = |name: &str| {
        let found = atlas.categories(name).into_iter();
        found
            .map(|(category, source)| format!("{} {category}", source.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("x.ads.example.com"), ["one advertising", "two other"]);
    assert_eq!(of("badexample.com"), Vec::<String>::new());
    assert_eq!(of("example.com"), ["one shop", "two other"]);
}

#[test]
fn a_place_without_its_basis_is_not_graded_anew() {
    let mut place = small("30.3.0.9", 200);
    assert!(matches!(regrade(&place, 365), Regraded::Other(_)));
    place.basis.clear();
    assert_eq!(regrade(&place, 365), Regraded::NotTold);
}

proptest! {
    /// What is found quickly, and without words, is what is told.
    #[test]
    fn a_verdict_is_the_place_without_its_words(bits: u32, wide: u128, days in -10_i64..400) {
        let builder = with_votes(&[b"IN", b"SG", b"SG"]);
        let atlas = Atlas::new(builder.finish().unwrap());
        let at = sample::PUBLISHED.plus_nanos(days * DAY);
        let [_, b, c, d] = bits.to_be_bytes();
        for addr in [
            IpAddr::from(bits.to_be_bytes()),
            IpAddr::from([30, b % 5, c, d]),
            IpAddr::from([50, b, c, d]),
            IpAddr::from(wide.to_be_bytes()),
        ] {
            let place = atlas.locate(addr, at, MAX_AGE);
            let verdict = atlas.verdict(addr, at, MAX_AGE);
            prop_assert_eq!(verdict.grade, place.grade);
            let country = String::from_utf8(verdict.country.to_vec()).unwrap();
            prop_assert_eq!(place.country.unwrap_or_else(|| "\0\0".to_owned()), country);
        }
    }

    /// What the basis says is enough to grade a place by another bound, as the ladder would.
    #[test]
    fn a_place_graded_anew_is_as_the_ladder_grades_it(
        third in 0_u8..6,
        low: u16,
        agree: bool,
        days in -10_i64..400,
        bounds in (0_u32..400, 0_u32..400),
    ) {
        let votes: [&[u8; 2]; 3] = if agree { [b"SG"; 3] } else { [b"TH", b"SG", b"SG"] };
        let atlas = Atlas::new(with_votes(&votes).finish().unwrap());
        let at = sample::PUBLISHED.plus_nanos(days * DAY);
        let [c, d] = low.to_be_bytes();
        for addr in [IpAddr::from([30, third, c, d]), IpAddr::from([50, third, c, d])] {
            let recorded = atlas.locate(addr, at, bounds.0);
            let now = atlas.locate(addr, at, bounds.1);
            let graded = match regrade(&recorded, bounds.1) {
                Regraded::Same => recorded,
                Regraded::Other(place) => *place,
                Regraded::NotTold => panic!("the basis is whole"),
            };
            prop_assert_eq!(graded, now);
        }
    }

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
            let prefix = Prefix::parse(&basis.prefix).unwrap();
            prop_assert!(prefix.contains(super::prefix::key(asked)));
        }
        prop_assert!(place.country.is_some() == (place.grade >= Grade::Low));
    }
}
