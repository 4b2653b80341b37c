//! A small dataset for tests: a few ranges of every kind.

use super::{
    dataset::{
        CloudPrefix, Dataset, Location, NO_COUNTRY, Organisation, ProviderList, Ranges, Row,
        Source, SpreadPrefix, System,
    },
    prefix::Prefix,
};
use crate::time::Timestamp;

/// Publication of every source: 2026-01-01T00:00:00Z.
pub const PUBLISHED: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

fn source(name: &str) -> Source {
    Source {
        name: name.to_owned(),
        version: "1".to_owned(),
        published: PUBLISHED,
        file: format!("{name}.txt"),
        sha256: "ab".repeat(32),
        url: format!("https://{name}.example/"),
        licence: "CC-BY-4.0".to_owned(),
        attribution: String::new(),
        passing: false,
    }
}

fn location(region: &str, border_group: &str, country: [u8; 2]) -> Location {
    Location {
        region: region.to_owned(),
        border_group: border_group.to_owned(),
        country,
    }
}

/// Country codes at 20.0.0.0/8 and up, clouds in 30.0.0.0/8, an anycast network at 40.0.0.0/8.
pub fn dataset() -> Dataset {
    let names = ["countries", "cloud", "spread", "regions", "groups"];
    let row = |vote: u8| {
        let mut row = Row::default();
        row.votes[0] = vote;
        row
    };
    let cloud = |prefix: &str, location, services| CloudPrefix {
        prefix: Prefix::parse(prefix).unwrap(),
        location,
        services,
    };
    Dataset {
        sources: names.map(source).to_vec(),
        countries: vec![
            NO_COUNTRY, *b"IN", *b"EU", *b"XK", *b"HK", *b"AP", *b"ZZ", *b"SG",
        ],
        databases: vec![0],
        systems: [System::default()].into_iter().collect(),
        rows: (0..8).map(row).collect(),
        ipv4: Ranges::new(
            &[0, 20, 21, 22, 23, 24, 25, 26, 30, 31].map(|n| n << 24),
            &[0, 1, 2, 3, 4, 5, 6, 0, 7, 0],
            8,
        ),
        ipv6: Ranges::new(
            &[0, 0x2600 << 112, (0x2600 << 112) + 1, 0x2601 << 112],
            &[0, 1, 7, 0],
            8,
        ),
        lists: vec![ProviderList {
            source: 1,
            key: "aws".to_owned(),
            name: "Amazon Web Services".to_owned(),
            locations: vec![
                location("GLOBAL", "GLOBAL", NO_COUNTRY),
                location("ap-south-1", "ap-south-1", *b"IN"),
                location("ap-southeast-1", "ap-southeast-1-bkk-1", *b"TH"),
            ],
            services: ["AMAZON", "CLOUDFRONT", "EC2", "GLOBALACCELERATOR"]
                .map(str::to_owned)
                .to_vec(),
            prefixes: vec![
                cloud("30.0.0.0/16", 0, 0b1),
                cloud("30.0.1.0/24", 1, 0b101),
                cloud("30.1.0.0/16", 1, 0b11),
                cloud("30.1.1.0/24", 1, 0b101),
                cloud("30.2.0.0/16", 1, 0b1001),
                cloud("30.3.0.0/16", 2, 0b1),
                cloud("2600::/48", 1, 0b1),
            ],
        }],
        organisations: vec![Organisation {
            source: 2,
            key: "spread".to_owned(),
            name: "Spread".to_owned(),
            kind: "anycast".to_owned(),
            document: "https://spread.example/".to_owned(),
        }],
        spread: vec![SpreadPrefix {
            prefix: Prefix::parse("40.0.0.0/8").unwrap(),
            organisation: 0,
        }],
        domains: Vec::new(),
    }
}
