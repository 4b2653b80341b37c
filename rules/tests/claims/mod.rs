//! What a contact may say of a claim, and whom no claim names.

use super::contacts::ordinary_contact;
use sakshi_rules::contact::{AppProtocol, Contact, Name, NameSource, NameStrength};
use sakshi_rules::declare::BrandFile;
use sakshi_rules::register::{KnownBy, Register, Seen, Standing, register};

/// The sample vendor says that nobody else gets data, and that none goes in clear.
fn brand(parties: &str) -> BrandFile {
    let signer = "ab".repeat(32);
    let text = format!(
        "schema = 1\nbrand = \"Sample\"\ndated = 2026-01-01\npackages = [\"com.sample.*\"]\n\
         signers = [\"{signer}\"]\nown = [\"*.sample.example\"]\n[[statement]]\nid = \"a\"\n\
         said_on = 2026-01-01\nwords = \"w\"\nsource = \"s\"\nstatus = \"current\"\n\
         [[statement.claim]]\nid = \"nobody\"\nkind = \"third_party\"\ntest = \"traffic\"\n\
         about = \"a\"\nparties = [{parties}]\n[[statement.claim]]\nid = \"encrypted\"\n\
         kind = \"transit\"\ntest = \"traffic\"\nabout = \"a\"\n"
    );
    BrandFile::parse("sample.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn named(name: &str, source: NameSource, strength: NameStrength) -> Contact {
    let mut contact = ordinary_contact();
    contact.endpoint.name = Some(name.to_owned());
    contact.endpoint.names = vec![Name {
        name: name.to_owned(),
        source,
        strength: Some(strength),
        packet: None,
    }];
    contact
}

fn said(name: &str) -> Contact {
    named(name, NameSource::Tls, NameStrength::Said)
}

fn made(parties: &str, contacts: &[Contact]) -> Register {
    let seen: Vec<Seen> = contacts
        .iter()
        .zip(1..)
        .map(|(contact, number)| Seen {
            label: format!("1-{number}"),
            contact: contact.clone(),
            last_day: contact.day.clone(),
            flows: 1,
        })
        .collect();
    register(&[brand(parties)], &seen)
}

/// How the claims on third parties and on transit stand.
fn standings(parties: &str, contact: Contact) -> (Standing, Standing) {
    let made = made(parties, &[contact]);
    let claims = &made.brands[0].statements[0].claims;
    (claims[0].standing, claims[1].standing)
}

#[test]
fn only_a_name_that_was_said_is_against_a_claim() {
    use Standing::{Consistent, Contradicted, NotDeterminable};
    let of = |contact: Contact| standings("", contact).0;
    assert_eq!(of(said("ads.other.example")), Contradicted);
    for strength in [NameStrength::Resolved, NameStrength::ResolvedByOwner] {
        let learnt = named("ads.other.example", NameSource::Resolved, strength);
        assert_eq!(of(learnt), NotDeterminable);
    }
    assert_eq!(of(said("push.sample.example")), Consistent);
    // A party may be named by the company that a list of domains gives.
    let mut listed = said("ads.other.example");
    listed.endpoint.categories = Some(vec!["advertising (Other Inc.)".to_owned()]);
    assert_eq!(standings("\"Other Inc.\"", listed.clone()).0, Consistent);
    assert_eq!(standings("\"Another Inc.\"", listed).0, Contradicted);
}

#[test]
fn cleartext_within_a_vpn_leaves_a_claim_on_transit_open() {
    let mut contact = said("push.sample.example");
    contact.endpoint.app_protocol = AppProtocol::Http;
    contact.cleartext = Some(true);
    assert_eq!(standings("", contact.clone()).1, Standing::Contradicted);
    contact.tunnelled = true;
    assert_eq!(standings("", contact.clone()).1, Standing::NotDeterminable);
    contact.cleartext = Some(false);
    assert_eq!(standings("", contact).1, Standing::Consistent);
}

#[test]
fn those_whom_nobody_declares_are_companies_and_not_hosts() {
    let listed = |name: &str| {
        let mut contact = said(name);
        contact.endpoint.categories = Some(vec!["advertising (Other Inc.)".to_owned()]);
        contact
    };
    let mut nameless = ordinary_contact();
    nameless.place.organisation = Some("Some Cloud".to_owned());
    let made = made(
        "",
        &[
            said("a.one.example"),
            said("b.one.example"),
            listed("x.two.example"),
            listed("y.three.example"),
            nameless,
            said("push.sample.example"),
        ],
    );
    let parties: Vec<(&str, KnownBy, u64)> = made
        .undeclared
        .iter()
        .map(|party| (party.party.as_str(), party.known_by, party.contacts))
        .collect();
    assert_eq!(
        parties,
        [
            ("Other Inc.", KnownBy::List, 2),
            ("Some Cloud", KnownBy::Address, 1),
            ("one.example", KnownBy::Domain, 2),
        ]
    );
    let hosts: Vec<&String> = made.undeclared[2].hosts.iter().collect();
    assert_eq!(hosts, ["a.one.example", "b.one.example"]);
}
