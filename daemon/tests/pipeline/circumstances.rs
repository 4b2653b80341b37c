//! What steers where a name leads to, as contacts have it and as rules hear of it.

use std::collections::BTreeMap;

use serde_json::Value;

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
title = "Of places, the screen and the idle mode"
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

[[rule]]
id = "IDL-001"
title = "Sent while the handset was idle"
kind = "owner"
severity = "low"
when = { payload = true, port = [9], idle = true }
"#;

/// What one said of a topic.
type Told = (&'static str, &'static str, &'static str);

/// A name is asked of a resolver, and its address reached, after what was told.
fn reached_by(resolver: &str, told: &[Told]) -> (Contact, Vec<(String, String)>) {
    let mut witness = Witness::new(core_with(PACKAGES, &[RULES]));
    for (source, topic, value) in told {
        witness.hear(&Event::Observation(Observation {
            at: at(0),
            source: (*source).to_owned(),
            topic: (*topic).to_owned(),
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
    let mine =
        |(rule, _): &(String, String)| ["ABR-001", "SCR-001", "IDL-001"].contains(&rule.as_str());
    let findings = witness.findings().into_iter().filter(mine).collect();
    (contact.expect("a contact"), findings)
}

fn said(rule: &str, outcome: &str) -> (String, String) {
    (rule.to_owned(), outcome.to_owned())
}

#[test]
fn a_resolver_abroad_steers_and_one_at_home_does_not() {
    let with_unseen = |of_place: &str| {
        let unseen = ["SCR-001", "IDL-001"].map(|rule| said(rule, "needs_review"));
        [vec![said("ABR-001", of_place)], unseen.to_vec()].concat()
    };
    let (contact, findings) = reached_by("49.45.0.1:53", &[]);
    assert_eq!(contact.resolvers.len(), 1);
    assert_eq!(contact.resolvers[0].country.as_deref(), Some("IN"));
    assert_eq!(contact.steered, None);
    assert_eq!(findings, with_unseen("finding"));
    let (contact, findings) = reached_by("1.180.18.20:53", &[]);
    assert_eq!(contact.resolvers[0].country.as_deref(), Some("CN"));
    assert_eq!(
        contact.steered.as_deref(),
        Some("through the resolver 1.180.18.20 (CN), which may lead names to other servers")
    );
    assert_eq!(findings, with_unseen("needs_review"));
    // The router of the lab's own network: whom it asks is not seen.
    let (contact, findings) = reached_by("192.168.1.1:53", &[]);
    assert_eq!(contact.resolvers[0].country, None);
    assert_eq!(contact.steered, None);
    assert_eq!(findings, with_unseen("finding"));
}

/// What a rule said; none: it was silent.
fn outcome_of<'f>(rule: &str, findings: &'f [(String, String)]) -> Option<&'f str> {
    let mut of_rule = findings.iter().filter(|(id, _)| id == rule);
    of_rule.next().map(|(_, outcome)| outcome.as_str())
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
        let told: Vec<Told> = told
            .iter()
            .map(|value| ("shim", "screen", *value))
            .collect();
        let (contact, findings) = reached_by("49.45.0.1:53", &told);
        assert_eq!((contact.screen_on, contact.idle), (on, None));
        assert_eq!(outcome_of("SCR-001", &findings), outcome);
    }
}

#[test]
fn the_idle_mode_is_as_it_was_told_last() {
    let doze = |value| ("shim", "doze", value);
    for (told, outcome, idle) in [
        (
            vec![doze("false"), doze("true")],
            Some("finding"),
            Some(true),
        ),
        (vec![doze("true"), doze("false")], None, Some(false)),
        // It could not tell any more, or in words that are not its own.
        (
            vec![doze("true"), doze("unknown: no service")],
            Some("needs_review"),
            None,
        ),
        (vec![doze("true"), doze("on")], Some("needs_review"), None),
        // Somebody else says it, or it is another topic.
        (
            vec![("technician", "doze", "true"), ("shim", "charging", "true")],
            Some("needs_review"),
            None,
        ),
        (
            vec![doze("true"), ("technician", "doze", "false")],
            Some("finding"),
            Some(true),
        ),
        // The screen is no answer to it.
        (vec![("shim", "screen", "off")], Some("needs_review"), None),
    ] {
        let (contact, findings) = reached_by("49.45.0.1:53", &told);
        assert_eq!(contact.idle, idle, "{told:?}");
        assert_eq!(outcome_of("IDL-001", &findings), outcome, "{told:?}");
        let record = serde_json::to_value(&contact).expect("a record");
        assert_eq!(record.get("idle").and_then(Value::as_bool), idle);
        assert_eq!(record.get("idle").is_some(), idle.is_some(), "left out");
    }
}

#[test]
fn what_could_not_be_told_of_the_idle_mode_is_not_known() {
    let mut witness = Witness::new(core_with(PACKAGES, &[RULES]));
    for facts in [("value", "true"), ("unknown", "no service")] {
        witness.hear(&Event::Observation(Observation {
            at: at(0),
            source: "shim".to_owned(),
            topic: "doze".to_owned(),
            facts: BTreeMap::from([(facts.0.to_owned(), facts.1.to_owned())]),
        }));
    }
    witness.see(&udp(2, APP, 40_000, "13.228.10.20:9", false, b"\x99x"));
    witness.finish();
    assert_eq!(
        outcome_of("IDL-001", &witness.findings()),
        Some("needs_review")
    );
}
