//! Why a rule says what it says of a contact, value by value.
//!
//! In: a rule set and a contact. Out: for each rule, every condition with what it wants, its answer
//! and what the contact shows, those behind the first *no* included; what [`judge`](super::judge())
//! says comes of the same answers.

use std::collections::BTreeSet;

use super::circumstance::{idle_text, screen_text, status};
use super::owner::who;
use super::place::{grade_text, located, place_text};
use super::{Answer, Ask, Verdict, ask, ask_of_exception, judge_rule, too_low};
use crate::contact::Contact;
use crate::day::Day;
use crate::glob::Glob;
use crate::hours::clock;
use crate::rule_set::{Condition, Exception, Rule, RuleSet, When};
use crate::vocabulary::Word;

/// An answer to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It can't be told.
    NotKnown,
}

impl Said {
    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::NotKnown => "not known",
        }
    }
}

/// One condition, asked of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Key of the condition.
    pub key: &'static str,
    /// What it wants, as in the file, groups written out.
    pub wanted: String,
    /// Its answer.
    pub said: Said,
    /// The value of the contact, or why it is not known.
    pub found: String,
}

/// An exception that names the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionAsked {
    /// Its id.
    pub id: String,
    /// Last day on which it applies.
    pub expires: Day,
    /// Whether it had expired on the day of the contact; none when that day is not known.
    pub expired: Option<bool>,
    /// Its conditions.
    pub asked: Vec<Asked>,
}

/// A rule, asked of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Id of the rule.
    pub rule: String,
    /// What it finds.
    pub title: String,
    /// What it said; none: it is silent.
    pub verdict: Option<Verdict>,
    /// Its conditions, in the order in which they are asked.
    pub asked: Vec<Asked>,
    /// Why the place is not known well enough for a finding.
    pub grade_too_low: Option<String>,
    /// The exceptions that name it.
    pub exceptions: Vec<ExceptionAsked>,
}

/// Asks every condition of every rule of a set.
pub fn explain(set: &RuleSet, contact: &Contact) -> Vec<Explanation> {
    let day: Option<Day> = contact.day.parse().ok();
    let explained = |rule: &Rule| Explanation {
        rule: rule.id.clone(),
        title: rule.title.clone(),
        verdict: judge_rule(set, rule, contact, day),
        asked: asked(set, &rule.when, contact, day, ask),
        grade_too_low: too_low(rule, contact),
        exceptions: set
            .exceptions()
            .iter()
            .filter(|exception| exception.rules.contains(&rule.id))
            .map(|exception| exception_asked(set, exception, contact, day))
            .collect(),
    };
    set.rules().iter().map(explained).collect()
}

fn exception_asked(
    set: &RuleSet,
    exception: &Exception,
    contact: &Contact,
    day: Option<Day>,
) -> ExceptionAsked {
    ExceptionAsked {
        id: exception.id.clone(),
        expires: exception.expires,
        expired: day.map(|day| day > exception.expires),
        asked: asked(set, &exception.when, contact, day, ask_of_exception),
    }
}

fn asked(set: &RuleSet, when: &When, contact: &Contact, day: Option<Day>, ask: Ask) -> Vec<Asked> {
    let one = |condition: &Condition| {
        let (said, found) = match ask(set, condition, contact, day) {
            Answer::Yes(value) => (Said::Yes, value),
            Answer::No => (Said::No, value(set, condition, contact)),
            Answer::NotKnown(why) => (Said::NotKnown, why),
        };
        Asked {
            key: key(condition),
            wanted: wanted(condition),
            said,
            found,
        }
    };
    when.0.iter().map(one).collect()
}

/// The key of a condition in a rule file.
fn key(condition: &Condition) -> &'static str {
    match condition {
        Condition::Owner(_) => "owner",
        Condition::AppClass(_) => "app_class",
        Condition::User(_) => "user",
        Condition::Package(_) => "package",
        Condition::Signer(_) => "signer",
        Condition::Vendor(_) => "vendor",
        Condition::Phase(_) => "phase",
        Condition::TimeOfDay(_) => "time_of_day",
        Condition::ScreenOn(_) => "screen_on",
        Condition::Idle(_) => "idle",
        Condition::Payload(_) => "payload",
        Condition::BytesOutOver(_) => "bytes_out_over",
        Condition::Port(_) => "port",
        Condition::Proto(_) => "proto",
        Condition::AppProtocol(_) => "app_protocol",
        Condition::Cleartext(_) => "cleartext",
        Condition::Name { patterns: None, .. } => "name_source",
        Condition::Name { .. } => "name",
        Condition::Category(_) => "category",
        Condition::Country(_) => "country",
        Condition::CountryNot(_) => "country_not",
        Condition::Provider(_) => "provider",
        Condition::Region(_) => "region",
        Condition::Organisation(_) => "organisation",
        Condition::Asn(_) => "asn",
        Condition::Grade(_) => "grade",
        Condition::PlaceKnown(_) => "place_known",
        Condition::PlaceStatus(_) => "place_status",
        Condition::NameAgainstPlace(_) => "name_against_place",
        Condition::OutsideDeclaration(_) => "outside_declaration",
    }
}

/// What a condition wants.
fn wanted(condition: &Condition) -> String {
    match condition {
        Condition::Owner(states) => words(states),
        Condition::AppClass(classes) => words(classes),
        Condition::Proto(protos) => words(protos),
        Condition::AppProtocol(protocols) => words(protocols),
        Condition::Grade(grades) => words(grades),
        Condition::PlaceStatus(statuses) => words(statuses),
        Condition::User(numbers) | Condition::Asn(numbers) => list(numbers),
        Condition::Port(ports) => list(ports),
        Condition::TimeOfDay(hours) => list(hours),
        Condition::Signer(texts)
        | Condition::Phase(texts)
        | Condition::Country(texts)
        | Condition::CountryNot(texts)
        | Condition::Provider(texts) => list(texts),
        Condition::Package(globs)
        | Condition::Region(globs)
        | Condition::Category(globs)
        | Condition::Organisation(globs) => patterns(globs),
        Condition::Payload(flag)
        | Condition::ScreenOn(flag)
        | Condition::Idle(flag)
        | Condition::Cleartext(flag)
        | Condition::PlaceKnown(flag)
        | Condition::NameAgainstPlace(flag) => flag.to_string(),
        Condition::BytesOutOver(bound) => bound.to_string(),
        Condition::Name {
            patterns: globs,
            sources,
        } => {
            let mut parts: Vec<String> = globs.iter().map(patterns).collect();
            parts.extend(sources.iter().map(|s| format!("known from {}", words(s))));
            parts.join(", ")
        }
        Condition::Vendor(vendors) => {
            let brands: Vec<&str> = vendors.iter().map(|of| of.brand.as_str()).collect();
            brands.join(", ")
        }
        Condition::OutsideDeclaration(said) => said.id.clone(),
    }
}

/// What the contact shows where a condition does not hold.
fn value(set: &RuleSet, condition: &Condition, contact: &Contact) -> String {
    let (endpoint, place) = (&contact.endpoint, &contact.place);
    let known = |text: Option<String>| text.unwrap_or_else(|| "not known".to_owned());
    match condition {
        Condition::Owner(_) | Condition::Package(_) | Condition::Vendor(_) => who(&contact.owner),
        Condition::AppClass(_) => {
            format!("{}: {}", who(&contact.owner), contact.owner.class.word())
        }
        Condition::User(_) => known(contact.owner.user.map(|user| user.to_string())),
        Condition::Signer(_) => {
            let packages = contact.owner.packages.iter();
            let signers: BTreeSet<&String> = packages.flat_map(|p| &p.signers).collect();
            list(&signers)
        }
        Condition::Phase(_) if contact.phase.is_empty() => "before any phase".to_owned(),
        Condition::Phase(_) => contact.phase.clone(),
        Condition::TimeOfDay(_) => known(
            contact
                .minute
                .map(|minute| clock(set.utc_offset.local(minute))),
        ),
        Condition::ScreenOn(wanted) => screen_text(!wanted).to_owned(),
        Condition::Idle(wanted) => idle_text(!wanted).to_owned(),
        Condition::Payload(wanted) | Condition::Cleartext(wanted) => (!wanted).to_string(),
        Condition::BytesOutOver(_) => contact.bytes_out.to_string(),
        Condition::Port(_) => known(endpoint.port.map(|port| port.to_string())),
        Condition::Proto(_) => endpoint.proto.word().to_owned(),
        Condition::AppProtocol(_) => endpoint.app_protocol.word().to_owned(),
        Condition::Name { .. } => {
            let names: BTreeSet<String> = endpoint
                .names
                .iter()
                .map(|name| format!("{} ({})", name.name, name.source.word()))
                .collect();
            match (&endpoint.name, names.is_empty()) {
                (_, false) => list(&names),
                (name, true) => known(name.clone()),
            }
        }
        Condition::Category(_) => match contact.endpoint.categories.as_deref() {
            None | Some([]) => "listed as nothing".to_owned(),
            Some(categories) => categories.join(", "),
        },
        Condition::Organisation(_) => known(place.organisation.clone()),
        Condition::Asn(_) => known(place.asn.map(|asn| format!("AS{asn}"))),
        Condition::Grade(_) => grade_text(place.grade).to_owned(),
        Condition::PlaceStatus(_) | Condition::PlaceKnown(_) => status(contact).1,
        Condition::Country(_)
        | Condition::CountryNot(_)
        | Condition::Provider(_)
        | Condition::Region(_) => whereabouts(contact),
        Condition::NameAgainstPlace(wanted) if *wanted => match &endpoint.name {
            Some(name) => format!("{name} says no other country; {}", whereabouts(contact)),
            None => "no name is known".to_owned(),
        },
        Condition::NameAgainstPlace(_) => "the name says another country".to_owned(),
        Condition::OutsideDeclaration(_) => outside(contact),
    }
}

fn whereabouts(contact: &Contact) -> String {
    match located(contact) {
        Ok(Some(_)) => place_text(&contact.place),
        Ok(None) => "an address of the local network".to_owned(),
        Err(why) => why,
    }
}

fn outside(contact: &Contact) -> String {
    format!(
        "{} on {}, {}: not covered by the statement, or within it",
        who(&contact.owner),
        contact.day,
        whereabouts(contact)
    )
}

fn words<W: Word>(set: &BTreeSet<W>) -> String {
    let words: Vec<&str> = set.iter().map(|word| word.word()).collect();
    words.join(", ")
}

fn list<T: ToString>(set: &BTreeSet<T>) -> String {
    let texts: Vec<String> = set.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(", ")
    }
}

fn patterns(globs: &BTreeSet<Glob>) -> String {
    let texts: Vec<&str> = globs.iter().map(Glob::as_str).collect();
    texts.join(", ")
}
