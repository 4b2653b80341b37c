//! Targets of files that somebody gives us: the package manager's, rule sets, places.

use std::{net::IpAddr, sync::LazyLock};

use sakshi::{
    attribute::inventory::{Inventory, PROBLEMS_MAX},
    locate::{
        Atlas,
        build::Builder,
        encode, format,
        published::{self, Said},
    },
    time::Timestamp,
};
use sakshi_rules::{
    RuleSet, TomlError, cases,
    declare::{BrandFile, read_embedded},
    problem,
    register::register,
};

/// Addresses that are looked up in whatever places could be read.
const ADDRESSES: [&str; 5] = [
    "0.0.0.0",
    "20.1.1.1",
    "255.255.255.255",
    "2600::1",
    "ff02::1",
];

fn inventory(name: &str, data: &[u8]) {
    let (read, problems) = Inventory::from_files(&[(name, data)]);
    // Each file has its own bound, one line about the rest, and one that a missing file costs.
    assert!(problems.len() <= 5 * (PROBLEMS_MAX + 2));
    for problem in &problems {
        assert!(!problem.to_string().is_empty());
    }
    let apps = read.apps();
    assert!(
        apps.windows(2)
            .all(|pair| (pair[0].appid, &pair[0].package) <= (pair[1].appid, &pair[1].package))
    );
    for app in apps {
        assert_eq!(read.app(&app.package), Some(app), "a name stands once");
        let described = read.describe(app.appid);
        assert!(described.apps.is_empty() || described.apps.contains(&app));
    }
    // What a case keeps of it reads back.
    let text = serde_json::to_string(&read).expect("an inventory is JSON");
    let again: Inventory = serde_json::from_str(&text).expect("its JSON is an inventory");
    assert_eq!(again, read);
    assert_eq!(read.diff(&again), (Vec::new(), Vec::new()));
}

/// `packages.list`.
pub(super) fn inventory_list(data: &[u8]) {
    inventory("packages.list", data);
}

/// `packages.xml`, as text or ABX.
pub(super) fn inventory_xml(data: &[u8]) {
    inventory("packages.xml", data);
}

/// `users/userlist.xml`, as text or ABX.
pub(super) fn inventory_users(data: &[u8]) {
    inventory("users/userlist.xml", data);
}

/// `preload-folders.txt`.
pub(super) fn inventory_preloads(data: &[u8]) {
    inventory("preload-folders.txt", data);
}

fn check_rule_error(error: &TomlError) {
    assert!((1..=problem::PROBLEMS_MAX).contains(&error.problems.len()));
    assert!(
        error
            .problems
            .iter()
            .all(|problem| problem.line > 0 && problem.column > 0)
    );
    assert!(error.to_string().contains("fuzz.toml"));
}

/// What a rule may ask of brands.
static BRANDS: LazyLock<Vec<BrandFile>> =
    LazyLock::new(|| read_embedded().expect("the built-in files are sound"));

/// A rule set's file.
pub(super) fn rule_set(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match RuleSet::parse("fuzz.toml", text, &BRANDS) {
        Ok(set) => {
            assert!(!set.rules().is_empty());
            let _ = set.byte_bounds();
        }
        Err(error) => check_rule_error(&error),
    }
}

/// A rule set's cases, judged by the embedded rules.
pub(super) fn rule_cases(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match cases::parse_cases("fuzz.toml", text) {
        Ok(read) => {
            for set in super::pipeline::rules() {
                let _ = cases::check_cases(set, &read);
            }
        }
        Err(error) => check_rule_error(&error),
    }
}

/// Most entries of a published file, so that a few bytes that stand for many end soon.
const ENTRIES: usize = 5_000;

/// A file as others publish it: what it says can be put into tables, written and read again, and an
/// error says something.
pub(super) fn published(data: &[u8]) {
    let said = Said {
        published: Some(Timestamp::from_micros(0)),
        ..Said::default()
    };
    match published::read(data, "list_20260820.txt", &said, ENTRIES) {
        Ok(found) => {
            let mut builder = Builder::default();
            let written = builder
                .add(found.source, found.pieces)
                .and_then(|_| builder.finish())
                .and_then(|dataset| Ok((encode::encode(&dataset, format::PLAIN)?, dataset)));
            // Too many services or regions are refused with words.
            let Ok((file, dataset)) = written else {
                return;
            };
            assert_eq!(format::decode(&file).ok(), Some(dataset));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A brand's file of statements. What could be read is held against nothing, which must not fail.
pub(super) fn declaration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match BrandFile::parse("fuzz.toml", text) {
        Ok(read) => {
            let register = register(std::slice::from_ref(&read), &[]);
            assert_eq!(register.brands.len(), 1);
            assert!(register.undeclared.is_empty());
        }
        Err(error) => check_rule_error(&error),
    }
}

/// A places file, or what is inside its compression.
pub(super) fn places(data: &[u8]) {
    let decoded = if data.starts_with(&format::MAGIC) {
        format::decode(data)
    } else {
        format::decode_payload(data)
    };
    let Ok(dataset) = decoded else {
        return;
    };
    let payload = encode::payload(&dataset).expect("what was read can be written");
    assert_eq!(
        format::decode_payload(&payload).as_ref().ok(),
        Some(&dataset)
    );
    let atlas = Atlas::new(dataset);
    for address in ADDRESSES {
        let address: IpAddr = address.parse().expect("an address");
        let place = atlas.locate(address, Timestamp::from_micros(0), 180);
        assert!(!place.basis.is_empty());
        if let Some((_, prefix)) = atlas.database_country(0, address) {
            assert!(!prefix.to_string().is_empty());
        }
    }
}
