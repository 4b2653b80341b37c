//! What the engine says, condition by condition, and what must hold whatever it is asked.

mod claims;
mod contacts;

use proptest::prelude::*;
use sakshi_rules::contact::{
    AppClass, AppProtocol, Contact, Grade, Name, NameSource, NameStrength, Package, Proto,
};
use sakshi_rules::declare::{BrandFile, asked_by_built_in};
use sakshi_rules::judge::explain::{Asked, Said, explain};
use sakshi_rules::{Outcome, RuleSet, judge};

use crate::contacts::{any_contact, ordinary_contact};

const HEAD: &str = "schema = 1\nid = \"s\"\nversion = \"1\"\ntitle = \"t\"\nhome = [\"IN\"]\n";

fn parse(text: &str) -> RuleSet {
    let demo = (
        "sample-vendor.toml",
        include_str!("../sets/demo/sample-vendor.toml"),
    );
    let asked = asked_by_built_in().iter().chain([&demo]);
    let brands: Vec<BrandFile> = asked
        .map(|(name, text)| BrandFile::parse(name, text).expect("a sound file"))
        .collect();
    RuleSet::parse("test.toml", text, &brands).unwrap_or_else(|error| panic!("{error}"))
}

/// A set of one rule with these conditions.
fn rule(when: &str) -> RuleSet {
    parse(&format!("{HEAD}{}", rule_text("R", when)))
}

fn rule_text(id: &str, when: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\ntitle = \"t\"\nkind = \"owner\"\nseverity = \"low\"\n\
         when = {{ {when} }}\n"
    )
}

fn check(when: &str, contact: &Contact, expected: Option<Outcome>) {
    let verdicts = judge(&[rule(when)], contact);
    let found = verdicts.first().map(|verdict| verdict.outcome);
    assert_eq!(found, expected, "{when}: {verdicts:?}");
}

const YES: Option<Outcome> = Some(Outcome::Finding);
const REVIEW: Option<Outcome> = Some(Outcome::NeedsReview);
const NO: Option<Outcome> = None;

#[test]
fn conditions_on_the_endpoint() {
    let mut contact = ordinary_contact();
    check("port = [443, 80]", &contact, YES);
    check("port = [80]", &contact, NO);
    check("proto = [\"tcp\"]", &contact, YES);
    check("proto = [\"udp\", \"icmp\"]", &contact, NO);
    check("app_protocol = [\"tls\"]", &contact, YES);
    check("cleartext = true", &contact, NO);
    check("payload = true, bytes_out_over = 0x3e7", &contact, YES);
    check("bytes_out_over = 1_000", &contact, NO);
    check("phase = [\"idle\"]", &contact, NO);
    contact.cleartext = None;
    check("cleartext = true", &contact, REVIEW);
    contact.phase = "idle".into();
    check("phase = [\"idle\"]", &contact, YES);
    contact.endpoint.port = None;
    contact.endpoint.proto = Proto::Icmp;
    contact.endpoint.app_protocol = AppProtocol::Unknown;
    check("port = [443]", &contact, NO);
    check("app_protocol = [\"unknown\"]", &contact, YES);
}

#[test]
fn conditions_on_the_name() {
    let name = |name: &str, source| Name {
        name: name.into(),
        source,
        strength: (source == NameSource::Resolved).then_some(NameStrength::Candidate),
        packet: None,
    };
    let mut contact = ordinary_contact();
    check("name = [\"*.example\"]", &contact, REVIEW);
    check("name_source = [\"tls\"]", &contact, NO);
    contact.endpoint.names = vec![
        name("asked.test", NameSource::Dns),
        name("a.example", NameSource::Resolved),
        name("b.test", NameSource::Resolved),
    ];
    check("name = [\"*.example\"]", &contact, REVIEW);
    // However many candidates fit, another name may have been meant.
    check("name = [\"*.example\", \"b.*\"]", &contact, REVIEW);
    check("name = [\"asked.*\"]", &contact, NO);
    check(
        "name = [\"asked.*\"], name_source = [\"dns\"]",
        &contact,
        YES,
    );
    check(
        "name = [\"*.example\"], name_source = [\"tls\"]",
        &contact,
        NO,
    );
    let resolved = "name = [\"*.example\"], name_source = [\"resolved\"]";
    check("name_source = [\"resolved\"]", &contact, REVIEW);
    check(resolved, &contact, REVIEW);
    contact.endpoint.names[1].strength = Some(NameStrength::Resolved);
    check("name_source = [\"resolved\"]", &contact, YES);
    check(resolved, &contact, YES);
    contact.endpoint.name = Some("b.test".into());
    check("name = [\"*.example\"]", &contact, NO);
    check("name = [\"B.Test\"]", &contact, YES);
}

/// Several hosts of one connection: a rule finds each of them, an exception needs all of them.
#[test]
fn each_host_of_a_connection_is_a_name_of_it() {
    let mut contact = ordinary_contact();
    let said = |name: &str| Name {
        name: name.to_owned(),
        source: NameSource::Http,
        strength: Some(NameStrength::Said),
        packet: None,
    };
    contact.endpoint.names = vec![said("a.example"), said("b.test")];
    contact.endpoint.name = Some("a.example".into());
    check("name = [\"a.*\"]", &contact, YES);
    check("name = [\"b.*\"]", &contact, YES);
    check("name = [\"c.*\"]", &contact, NO);
    let outcome = |contact: &Contact| {
        let text = format!(
            "{HEAD}{}[[exception]]\nid = \"E\"\nrules = [\"R\"]\nreason = \"r\"\n\
             approved_by = \"a\"\nexpires = 2099-01-01\nwhen = {{ name = [\"a.*\"] }}\n",
            rule_text("R", "port = [443]")
        );
        judge(&[parse(&text)], contact)[0].outcome
    };
    assert_eq!(outcome(&contact), Outcome::Finding);
    contact.endpoint.names.pop();
    assert_eq!(outcome(&contact), Outcome::Excepted);
    // The name of a proxy is not one of what is asked of it.
    contact.endpoint.name = Some("proxy.example".into());
    check("name = [\"a.*\"]", &contact, NO);
}

#[test]
fn conditions_on_the_place() {
    let mut contact = ordinary_contact();
    check(
        "country = [\"SG\"], region = [\"ap-southeast-*\"]",
        &contact,
        YES,
    );
    check("provider = [\"AWS\"]", &contact, YES);
    check("provider = [\"gcp\"]", &contact, NO);
    check("country_not = [\"@home\", \"SG\"]", &contact, NO);
    check("place_known = true, grade = [\"high\"]", &contact, YES);
    check("asn = [16509]", &contact, REVIEW);
    check("organisation = [\"amazon*\"]", &contact, REVIEW);
    contact.place.organisation = Some("Amazon.com".into());
    contact.place.asn = Some(16509);
    check("asn = [16509], organisation = [\"amazon*\"]", &contact, YES);
    contact.place.provider = None;
    check("provider = [\"aws\"]", &contact, NO);
    contact.place.grade = Grade::Low;
    check("country = [\"SG\"]", &contact, REVIEW);
    contact.place.grade = Grade::Conflict;
    check("country = [\"SG\"]", &contact, REVIEW);
    check("place_known = false", &contact, YES);
    contact.endpoint.addr = "fe80::1".parse().expect("an address");
    check("country_not = [\"@home\"]", &contact, NO);
    contact.endpoint.addr = "::ffff:10.0.0.1".parse().expect("an address");
    check("country_not = [\"@home\"]", &contact, NO);
}

#[test]
fn conditions_on_the_owner() {
    let mut contact = ordinary_contact();
    check("owner = [\"known\"], user = [0]", &contact, YES);
    check("user = [10]", &contact, NO);
    check("package = [\"com.sample.*\"]", &contact, YES);
    let signer = "ab".repeat(32);
    check(&format!("signer = [\"{signer}\"]"), &contact, YES);
    check(&format!("signer = [\"{}\"]", "cd".repeat(32)), &contact, NO);
    let other = Package {
        name: "other".into(),
        class: AppClass::User,
        signers: Vec::new(),
    };
    contact.owner.packages.push(other);
    contact.owner.class = AppClass::Unknown;
    check("package = [\"com.sample.*\"]", &contact, REVIEW);
    check(&format!("signer = [\"{signer}\"]"), &contact, REVIEW);
    check("app_class = [\"user\"]", &contact, REVIEW);
    check("app_class = [\"user\", \"preloaded\"]", &contact, YES);
    check("app_class = [\"unknown\"]", &contact, YES);
    contact.owner.packages.clear();
    check("package = [\"com.sample.*\"]", &contact, REVIEW);
    contact.owner.class = AppClass::System;
    check("package = [\"com.sample.*\"]", &contact, NO);
    check("app_class = [\"user\"]", &contact, NO);
    check("app_class = [\"preloaded\"]", &contact, REVIEW);
    contact.owner.may_act_for_app = true;
    check("app_class = [\"user\"]", &contact, REVIEW);
    check("app_class = [\"system\"]", &contact, YES);
    contact.owner.uid = None;
    check("app_class = [\"preloaded\"]", &contact, NO);
    check("owner = [\"unknown\"]", &contact, YES);
}

#[test]
fn what_is_not_known_can_be_ignored() {
    let mut contact = ordinary_contact();
    contact.cleartext = None;
    let text = format!(
        "{HEAD}{}undeterminable = \"ignore\"\n",
        rule_text("R", "cleartext = true")
    );
    assert_eq!(judge(&[parse(&text)], &contact), []);
}

#[test]
fn conditions_on_the_hour_the_screen_and_the_idle_state() {
    let india = |when: &str| {
        let head = format!("{HEAD}utc_offset = \"+05:30\"\n");
        parse(&format!("{head}{}", rule_text("R", when)))
    };
    let mut contact = ordinary_contact();
    // 04:30 in UTC, 10:00 in India.
    check("time_of_day = [\"04:30-04:31\"]", &contact, YES);
    check("time_of_day = [\"22:00-04:30\"]", &contact, NO);
    let verdicts = judge(&[india("time_of_day = [\"09:00-17:00\"]")], &contact);
    assert_eq!(verdicts[0].reason, "it was 10:00 (UTC+05:30)");
    contact.minute = None;
    check("time_of_day = [\"00:00-24:00\"]", &contact, REVIEW);
    check("screen_on = false", &contact, REVIEW);
    contact.screen_on = Some(false);
    check("screen_on = false", &contact, YES);
    check("screen_on = true", &contact, NO);
    // What the screen was says nothing of the idle state.
    check("idle = true", &contact, REVIEW);
    check("idle = false", &contact, REVIEW);
    contact.idle = Some(true);
    check("idle = true", &contact, YES);
    check("idle = false", &contact, NO);
    contact.idle = Some(false);
    check("idle = true", &contact, NO);
    check("idle = false", &contact, YES);
}

#[test]
fn the_idle_state_is_said_in_plain_words() {
    let asks = |wanted: bool| rule(&format!("idle = {wanted}"));
    let mut contact = ordinary_contact();
    for (idle, said) in [
        (None, "whether the handset was idle (Doze) was not observed"),
        (Some(true), "the handset was idle (Doze)"),
        (Some(false), "the handset was not idle (Doze)"),
    ] {
        contact.idle = idle;
        let wanted = idle.unwrap_or(true);
        let verdicts = judge(&[asks(wanted)], &contact);
        assert!(verdicts[0].reason.contains(said), "{verdicts:?}");
        // Asked for the contrary, the explanation shows the same.
        for set in [asks(wanted), asks(!wanted)] {
            let explained = explain(&set, &contact);
            let asked = &explained[0].asked[0];
            assert_eq!((asked.key, asked.found.as_str()), ("idle", said));
        }
    }
}

#[test]
fn conditions_on_what_the_name_is_for() {
    let mut contact = ordinary_contact();
    check("category = [\"ad*\"]", &contact, REVIEW);
    contact.endpoint.categories = Some(Vec::new());
    // No name, and so no category.
    check("category = [\"ad*\"]", &contact, REVIEW);
    contact.endpoint.name = Some("plain.example".into());
    check("category = [\"ad*\"]", &contact, NO);
    contact.endpoint.categories = Some(vec!["advertising".into(), "analytics".into()]);
    check("category = [\"AD*\"]", &contact, YES);
    check("category = [\"cdn\"]", &contact, NO);
}

#[test]
fn the_status_of_a_place_is_told_apart() {
    let mut contact = ordinary_contact();
    let status = |word: &str| format!("place_status = [\"{word}\"]");
    check(&status("located"), &contact, YES);
    check(&status("local"), &contact, NO);
    for (grade, word) in [
        (Grade::NotLocatable, "not_locatable"),
        (Grade::Conflict, "conflict"),
        (Grade::None, "unknown"),
    ] {
        contact.place.grade = grade;
        check(&status(word), &contact, YES);
        check(&status("located"), &contact, NO);
    }
    contact.endpoint.addr = "192.168.1.1".parse().expect("an address");
    check(&status("local"), &contact, YES);
    check(&status("unknown"), &contact, NO);
}

/// A set that knows the sample vendor's apps, by these signers.
fn of_vendor(signers: &str) -> RuleSet {
    asking(signers, "vendor = [\"Sample\"]")
}

/// A set that asks the sample vendor's file.
fn asking(signers: &str, when: &str) -> RuleSet {
    let file = format!(
        "schema = 1\nbrand = \"Sample\"\ndated = 2026-01-01\npackages = [\"com.sample.*\"]\n\
         signers = [{signers}]\n[[statement]]\nid = \"a\"\nsaid_on = 2026-01-01\nwords = \"w\"\n\
         source = \"s\"\nstatus = \"historic\"\n[[statement.claim]]\nid = \"c\"\nkind = \"path\"\n\
         test = \"traffic\"\nabout = \"a\"\nallow = [{{ country = \"JP\" }}]\n\
         [[statement]]\nid = \"b\"\nsaid_on = 2026-11-25\nwords = \"w\"\nsource = \"s\"\n\
         status = \"current\"\nsupersedes = [\"a\"]\n[[statement.claim]]\nid = \"c\"\n\
         kind = \"procedure\"\ntest = \"document\"\nabout = \"a\"\n"
    );
    let brand = BrandFile::parse("sample.toml", &file).unwrap_or_else(|error| panic!("{error}"));
    let text = format!("{HEAD}{}", rule_text("R", when));
    RuleSet::parse("test.toml", &text, &[brand]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_statement_is_asked_until_another_takes_its_place() {
    let signed = format!("\"{}\"", "ab".repeat(32));
    let set = [asking(&signed, "outside_declaration = \"Sample/a/c\"")];
    assert_eq!(set[0].brands().into_iter().collect::<Vec<_>>(), ["Sample"]);
    let said = |day: &str| {
        let contact = Contact {
            day: day.to_owned(),
            ..ordinary_contact()
        };
        judge(&set, &contact).pop().map(|verdict| verdict.outcome)
    };
    assert_eq!(said("2025-12-31"), NO);
    assert_eq!(said("2026-01-01"), YES);
    assert_eq!(said("2026-11-24"), YES);
    assert_eq!(said("2026-11-25"), NO);
}

#[test]
fn a_vendor_is_known_by_its_signers() {
    let said = |set: RuleSet, contact: &Contact| {
        let verdicts = judge(&[set], contact);
        verdicts.first().map(|verdict| verdict.outcome)
    };
    let signed = format!("\"{}\"", "ab".repeat(32));
    let mut contact = ordinary_contact();
    assert_eq!(said(of_vendor(&signed), &contact), YES);
    // By name only: a name can be imitated.
    assert_eq!(said(of_vendor(""), &contact), REVIEW);
    contact.owner.packages[0].signers = vec!["cd".repeat(32)];
    assert_eq!(said(of_vendor(&signed), &contact), REVIEW);
    contact.owner.packages[0].name = "org.other".into();
    assert_eq!(said(of_vendor(&signed), &contact), NO);
}

#[test]
fn an_explanation_says_the_value_of_every_condition() {
    let text = format!(
        "{HEAD}{}{}[[exception]]\nid = \"E\"\nrules = [\"R\"]\nwhen = {{ port = [80] }}\n\
         reason = \"r\"\napproved_by = \"a\"\nexpires = 2026-11-23\n",
        rule_text(
            "R",
            "port = [443], country_not = [\"@home\"], cleartext = false"
        ),
        rule_text(
            "Q",
            "country = [\"CN\", \"HK\"], app_protocol = [\"http\"], asn = [1]"
        ),
    );
    let explained = explain(&parse(&text), &ordinary_contact());
    let lines = |asked: &[Asked]| -> Vec<String> {
        let line = |a: &Asked| format!("{} {}={}: {}", a.said.as_str(), a.key, a.wanted, a.found);
        asked.iter().map(line).collect()
    };
    let place = "place SG (aws ap-southeast-1, grade high, list aged 24 days)";
    assert_eq!(
        explained[0].verdict,
        judge(&[parse(&text)], &ordinary_contact()).pop()
    );
    assert_eq!(
        lines(&explained[0].asked),
        [
            "yes port=443: port 443".to_owned(),
            "yes cleartext=false: payload is not readable in transit".to_owned(),
            format!("yes country_not=IN: IN is home; {place}"),
        ]
    );
    assert_eq!(explained[0].exceptions[0].expired, Some(true));
    assert_eq!(
        lines(&explained[0].exceptions[0].asked),
        ["no port=80: 443"]
    );
    assert_eq!(explained[1].verdict, None);
    assert_eq!(
        lines(&explained[1].asked),
        [
            "no app_protocol=http: tls".to_owned(),
            format!("no country=CN, HK: {place}"),
            "not known asn=1: no source names the AS of 203.0.113.10".to_owned(),
        ]
    );
}

fn with_exception(when: &str, expires: &str) -> RuleSet {
    parse(&format!(
        "{HEAD}{}[[exception]]\nid = \"E\"\nrules = [\"R\"]\nwhen = {{ {when} }}\n\
         reason = \"It asks for the time\"\napproved_by = \"A. Person\"\nexpires = {expires}\n",
        rule_text("R", "country_not = [\"@home\"]")
    ))
}

#[test]
fn an_exception_applies_until_it_expires() {
    let contact = ordinary_contact();
    let verdicts = judge(&[with_exception("port = [443]", "2026-11-24")], &contact);
    assert_eq!(verdicts[0].outcome, Outcome::Excepted);
    assert_eq!(
        verdicts[0].reason,
        "exception E: It asks for the time (approved by A. Person, until 2026-11-24); IN is home; \
         place SG (aws ap-southeast-1, grade high, list aged 24 days)"
    );
    let verdicts = judge(&[with_exception("port = [443]", "2026-11-23")], &contact);
    assert_eq!(verdicts[0].outcome, Outcome::Finding);
}

#[test]
fn an_exception_needs_certainty() {
    let verdicts = judge(
        &[with_exception("name = [\"time.*\"]", "2027-01-01")],
        &ordinary_contact(),
    );
    assert_eq!(verdicts[0].outcome, Outcome::Finding);
}

#[test]
fn references_are_those_of_the_day() {
    let text = format!(
        "{HEAD}{}reference = [{{ text = \"Old\", from = 2000-01-01, to = 2026-11-23 }}, \
         {{ text = \"Now\", from = \"2026-11-24\" }}]\n",
        rule_text("R", "payload = true")
    );
    let set = parse(&text);
    let mut contact = ordinary_contact();
    assert_eq!(
        judge(std::slice::from_ref(&set), &contact)[0].reference,
        ["Now"]
    );
    contact.day = "2026-11-23".into();
    assert_eq!(
        judge(std::slice::from_ref(&set), &contact)[0].reference,
        ["Old"]
    );
    contact.day = "some day".into();
    assert!(judge(&[set], &contact)[0].reference.is_empty());
}

#[test]
fn verdicts_come_in_the_order_of_sets_and_rules() {
    let two = |first, second| {
        let rules = [
            rule_text(first, "payload = true"),
            rule_text(second, "payload = true"),
        ];
        parse(&format!("{HEAD}{}", rules.concat()))
    };
    let verdicts = judge(&[two("Z", "A"), two("M", "B")], &ordinary_contact());
    let rules: Vec<&str> = verdicts
        .iter()
        .map(|verdict| verdict.rule.as_str())
        .collect();
    assert_eq!(rules, ["Z", "A", "M", "B"]);
}

#[test]
fn byte_bounds_are_sorted_and_told_once() {
    let rules = [
        rule_text("A", "bytes_out_over = 5000"),
        rule_text("B", "bytes_out_over = 10"),
        rule_text("C", "bytes_out_over = 5000, payload = true"),
    ];
    assert_eq!(
        parse(&format!("{HEAD}{}", rules.concat())).byte_bounds(),
        [10, 5000]
    );
}

/// The shipped sets and one that asks everything.
fn sets() -> Vec<RuleSet> {
    let everything = "owner = [\"known\"], app_class = [\"@preloads\"], user = [0], \
        package = [\"com.*\"], phase = [\"\u{1f4f1}\", \"idle\"], payload = true, bytes_out_over = 7, \
        port = [443], proto = [\"tcp\"], app_protocol = [\"tls\"], cleartext = false, \
        name = [\"*\"], country_not = [\"@home\"], provider = [\"aws\"], region = [\"*\"], \
        organisation = [\"*\"], asn = [1], grade = [\"high\"], place_known = true, \
        place_status = [\"located\"], category = [\"*\"], screen_on = true, idle = true, \
        time_of_day = [\"00:00-24:00\"]";
    vec![
        parse(include_str!("../sets/in-lab/set.toml")),
        parse(include_str!("../sets/demo/set.toml")),
        rule(everything),
        with_exception("name = [\"*\"]", "2027-01-01"),
    ]
}

fn list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn judging_never_panics_and_repeats(contact in any_contact()) {
        let sets = sets();
        let verdicts = judge(&sets, &contact);
        prop_assert_eq!(&verdicts, &judge(&sets, &contact));
        let explained: Vec<_> = sets.iter().flat_map(|set| explain(set, &contact)).collect();
        let said: Vec<_> = explained.iter().filter_map(|of| of.verdict.clone()).collect();
        prop_assert_eq!(&said, &verdicts);
        for of in &explained {
            let no = of.asked.iter().any(|asked| asked.said == Said::No);
            prop_assert!(!no || of.verdict.is_none(), "{:?}", of);
            prop_assert!(of.asked.iter().all(|asked| !asked.wanted.is_empty()));
        }
        for verdict in verdicts {
            prop_assert!(!verdict.reason.is_empty());
        }
    }

    #[test]
    fn nobody_unknown_is_named(mut contact in any_contact()) {
        contact.owner.uid = None;
        for verdict in judge(&sets(), &contact) {
            prop_assert!(["OWN-001", "R"].contains(&verdict.rule.as_str()), "{:?}", verdict);
        }
    }

    #[test]
    fn a_finding_on_a_destination_has_a_place_abroad(contact in any_contact()) {
        let judged = judge(&sets()[..1], &contact);
        for verdict in judged.iter().filter(|v| v.outcome == Outcome::Finding && v.rule == "LOC-001") {
            prop_assert!(contact.place.grade >= Grade::Medium, "{:?}", verdict);
            prop_assert!(contact.place.country.as_deref().is_some_and(|c| c != "IN"));
        }
    }

    #[test]
    fn the_order_within_a_list_never_shows(
        contact in any_contact(),
        (countries, shuffled) in Just(["IN", "SG", "CN", "TH"].map(String::from).to_vec())
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        (packages, turned) in Just(["com.a", "com.*", "org.*"].map(String::from).to_vec())
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
    ) {
        let set = |countries: &[String], packages: &[String]| {
            rule(&format!("country = {}, package = {}", list(countries), list(packages)))
        };
        let one = judge(&[set(&countries, &packages)], &contact);
        prop_assert_eq!(one, judge(&[set(&shuffled, &turned)], &contact));
    }

    #[test]
    fn an_unrelated_exception_changes_nothing(contact in any_contact(), port in 1u16..) {
        let rules = [rule_text("R", "country_not = [\"@home\"]"), rule_text("Q", "payload = true")];
        let text = format!("{HEAD}{}", rules.concat());
        let elsewhere = if contact.endpoint.port == Some(port) { port - 1 } else { port };
        let with = format!(
            "{text}[[exception]]\nid = \"E\"\nrules = [\"R\", \"Q\"]\n\
             when = {{ port = [{elsewhere}] }}\nreason = \"r\"\napproved_by = \"a\"\n\
             expires = 2999-01-01\n"
        );
        prop_assert_eq!(judge(&[parse(&text)], &contact), judge(&[parse(&with)], &contact));
    }
}
