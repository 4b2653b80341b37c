//! What steers where a name leads to, as contacts have it and as rules hear of it.

use std::collections::BTreeMap;

use sakshi::{
    evidence::body::{Contact, Record},
    input::{Event, Observation},
};

use super::{
    APP, PACKAGES,
    stream::{Witness, at, core_with, dns, udp},
};

const RULES: &str = r#"
schema = 1
id = "steered"
version = "1"
title = "Of places and the screen"
home = ["IN"]

[[rule]]
id = "ABR-001"
title = "Destination outside India"
kind = "destination"
severity = "low"
when = { payload = true, port = [9], country_not = ["@home"] }
min_grade = "low"

[[rule]]
id = "SCR-001"
title = "Sent while the screen was off"
kind = "owner"
severity = "low"
when = { payload = true, port = [9], screen_on = false }
"#;

/// A name is asked of a resolver, and its address reached.
fn reached_by(resolver: &str, told: &[&str]) -> (Contact, Vec<(String, String)>) {
    let mut witness = Witness::new(core_with(PACKAGES, &[RULES]));
    for value in told {
        witness.hear(&Event::Observation(Observation {
            at: at(0),
            source: "shim".to_owned(),
            topic: "screen".to_owned(),
            facts: BTreeMap::from([("value".to_owned(), (*value).to_owned())]),
        }));
    }
    let (name, port) = ("one.example", 40_000);
    witness.see(&udp(0, Some(0), port, resolver, false, &dns(name, None)));
    let answer = dns(name, Some([13, 228, 10, 20]));
    witness.see(&udp(1, None, port, resolver, true, &answer));
    witness.see(&udp(2, APP, port, "13.228.10.20:9", false, b"\x99x"));
    witness.finish();
    let contact = witness.records.iter().find_map(|record| match record {
        Record::Contact(contact) if contact.owner.uid == APP => Some((**contact).clone()),
        _ => None,
    });
    let mine = |(rule, _): &(String, String)| ["ABR-001", "SCR-001"].contains(&rule.as_str());
    let findings = witness.findings().into_iter().filter(mine).collect();
    (contact.expect("a contact"), findings)
}

fn said(rule: &str, outcome: &str) -> (String, String) {
    (rule.to_owned(), outcome.to_owned())
}

#[test]
fn a_resolver_abroad_steers_and_one_at_home_does_not() {
    let unseen = said("SCR-001", "needs_review");
    let (contact, findings) = reached_by("49.45.0.1:53", &[]);
    assert_eq!(contact.resolvers.len(), 1);
    assert_eq!(contact.resolvers[0].country.as_deref(), Some("IN"));
    assert_eq!(contact.steered, None);
    assert_eq!(findings, [said("ABR-001", "finding"), unseen.clone()]);
    let (contact, findings) = reached_by("1.180.18.20:53", &[]);
    assert_eq!(contact.resolvers[0].country.as_deref(), Some("CN"));
    assert_eq!(
        contact.steered.as_deref(),
        Some("through the resolver 1.180.18.20 (CN), which may lead names to other servers")
    );
    assert_eq!(findings, [said("ABR-001", "needs_review"), unseen.clone()]);
    // The router of the lab's own network: whom it asks is not seen.
    let (contact, findings) = reached_by("192.168.1.1:53", &[]);
    assert_eq!(contact.resolvers[0].country, None);
    assert_eq!(contact.steered, None);
    assert_eq!(findings, [said("ABR-001", "finding"), unseen]);
}

#[test]
fn the_screen_is_as_it_was_told_last() {
    for (told, outcome, on) in [
        (&["on", "off"][..], Some("finding"), Some(false)),
        (&["off", "on"][..], None, Some(true)),
        (
            &["off", "unknown: no service"][..],
            Some("needs_review"),
            None,
        ),
    ] {
        let (contact, findings) = reached_by("49.45.0.1:53", told);
        assert_eq!(contact.screen_on, on);
        let found = findings.iter().find(|(rule, _)| rule == "SCR-001");
        assert_eq!(found.map(|(_, outcome)| outcome.as_str()), outcome);
    }
}
