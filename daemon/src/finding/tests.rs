//! A contact that is judged anew from its record gets the answer that it got in the watch.

use std::collections::BTreeMap;

use sakshi_rules::{
    RuleSet,
    contact::{AppProtocol, Grade, Place, Proto},
    judge,
    vocabulary::Word,
};

use super::{Claim, ContactBook, Found, recorded_input};
use crate::{
    attribute::{
        inventory::Version,
        owner::{Basis, Conclusion},
    },
    evidence::body::{Record, Total, Via},
    input::{Observation, SHIM},
    time::Timestamp,
};

const RULES: &str = r#"
schema = 1
id = "abroad"
version = "1"
title = "Abroad"
home = ["IN"]

[[rule]]
id = "ABR-001"
title = "Destination outside India"
kind = "destination"
severity = "medium"
when = { payload = true, country_not = ["@home"] }
min_grade = "low"
"#;

const IDLE_RULES: &str = r#"
schema = 1
id = "idle"
version = "1"
title = "Idle"
home = ["IN"]

[[rule]]
id = "IDL-001"
title = "Sent while the handset was idle"
kind = "owner"
severity = "low"
when = { idle = true }
"#;

fn claim(via: Via) -> Claim<'static> {
    Claim {
        owner: Conclusion {
            uid: Some(10_050),
            basis: Basis::XtBpf,
            creator_uid: None,
            disputed_uid: None,
            may_act_for_app: false,
        },
        process: None,
        charged_to: Vec::new(),
        inventory: Version::default(),
        addr: "13.228.10.20".parse().expect("an address"),
        embedded_ipv4: None,
        port: Some(443),
        proto: Proto::Tcp,
        app_protocol: AppProtocol::Tls,
        name: None,
        said: Vec::new(),
        names_hidden: None,
        via: Some(via),
        resolver_abroad: None,
        payload: true,
        probe: false,
        at: Timestamp::from_nanos(1_768_449_600_000_000_000),
    }
}

fn singapore(_: Option<&str>) -> Found {
    Found {
        place: Place {
            country: Some("SG".to_owned()),
            grade: Grade::High,
            ..Place::unknown()
        },
        categories: None,
        resolvers: Vec::new(),
        names: Vec::new(),
        packets: Vec::new(),
    }
}

/// Outcomes and reasons of the watch, and of judging what it recorded by the same rules.
fn watched_and_anew(rules: &str, via: Via, told: &[Observation]) -> [Vec<(String, String)>; 2] {
    let set = RuleSet::parse("rules.toml", rules, &[]).expect("sound rules");
    let mut book = ContactBook::new(1, vec![set.clone()]);
    for observation in told {
        book.hear(observation);
    }
    let mut records = Vec::new();
    book.settle(claim(via), singapore, None, &mut records)
        .expect("room in the book");
    let mut contact = None;
    let mut watched = Vec::new();
    for record in records {
        match record {
            Record::Contact(one) => contact = Some(one),
            Record::Finding(one) => watched.push((one.outcome, one.reason)),
            _ => {}
        }
    }
    let contact = contact.expect("a contact record");
    let total = Total {
        contact: contact.contact.clone(),
        flows: 1,
        packets_out: 1,
        bytes_out: 100,
        payload: Some(true),
        first: contact.at,
        last: contact.at,
    };
    let input = recorded_input(&contact, &total).expect("enough to judge");
    let anew = judge(&[set], &input)
        .into_iter()
        .map(|verdict| (verdict.outcome.word().to_owned(), verdict.reason))
        .collect();
    [watched, anew]
}

#[test]
fn a_place_reached_through_a_vpn_needs_review_when_judged_anew_too() {
    for (via, outcome) in [(Via::Direct, "finding"), (Via::Vpn, "needs_review")] {
        let [watched, anew] = watched_and_anew(RULES, via, &[]);
        let outcomes: Vec<&str> = watched.iter().map(|(said, _)| said.as_str()).collect();
        assert_eq!(outcomes, [outcome]);
        assert_eq!(anew, watched);
    }
}

#[test]
fn the_idle_mode_of_the_watch_is_judged_anew_too() {
    for (value, outcomes) in [
        ("true", &["finding"][..]),
        ("false", &[]),
        ("not told", &["needs_review"]),
    ] {
        let told = Observation {
            at: Timestamp::default(),
            source: SHIM.to_owned(),
            topic: "doze".to_owned(),
            facts: BTreeMap::from([("value".to_owned(), value.to_owned())]),
        };
        let [watched, anew] = watched_and_anew(IDLE_RULES, Via::Direct, &[told]);
        let said: Vec<&str> = watched.iter().map(|(said, _)| said.as_str()).collect();
        assert_eq!(said, outcomes, "{value}");
        assert_eq!(anew, watched, "{value}");
    }
}
