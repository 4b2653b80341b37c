//! Why each rule says what it says of a contact, condition by condition.
//!
//! In: rule sets and a contact. Out: for every rule, matching or not, each condition with its
//! answer and the value that gave it. [`judge`](super::judge()) decides; this shows.

use super::{Answer, Outcome, ask, judge_rule, owner, place};
use crate::contact::Contact;
use crate::day::Day;
use crate::rule_set::{Condition, Rule, RuleSet};
use crate::vocabulary::Word;

/// The answer to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerWord {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It can't be told.
    NotKnown,
}

impl AnswerWord {
    /// As people read it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::NotKnown => "not known",
        }
    }
}

/// One condition of a rule, asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its key in `when`.
    pub key: &'static str,
    /// The answer.
    pub answer: AnswerWord,
    /// The value that gave it, or why none could be given.
    pub value: String,
}

/// One rule, asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Id of the set.
    pub set: String,
    /// Its version.
    pub set_version: String,
    /// Id of the rule.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// Its note; may be empty.
    pub note: String,
    /// Its conditions, in the order in which they are asked.
    pub conditions: Vec<Asked>,
    /// What it concluded; none: nothing.
    pub outcome: Option<Outcome>,
    /// Its reason, as a finding gives it; why it is silent, if it is.
    pub reason: String,
}

/// Asks every condition of every rule of every set, and says what came of it.
pub fn explain(sets: &[RuleSet], contact: &Contact) -> Vec<Explained> {
    let day: Option<Day> = contact.day.parse().ok();
    sets.iter()
        .flat_map(|set| set.rules().iter().map(move |rule| (set, rule)))
        .map(|(set, rule)| explain_rule(set, rule, contact, day))
        .collect()
}

fn explain_rule(set: &RuleSet, rule: &Rule, contact: &Contact, day: Option<Day>) -> Explained {
    let conditions: Vec<Asked> = rule
        .when
        .0
        .iter()
        .map(|condition| asked(set, condition, contact, day))
        .collect();
    let (outcome, reason) = match judge_rule(set, rule, contact, day) {
        Some(verdict) => (Some(verdict.outcome), verdict.reason),
        None => (None, silence(&conditions)),
    };
    Explained {
        set: set.id().to_owned(),
        set_version: set.version().to_owned(),
        rule: rule.id.clone(),
        title: rule.title.clone(),
        note: rule.note.clone(),
        conditions,
        outcome,
        reason,
    }
}

/// Why a rule says nothing.
fn silence(conditions: &[Asked]) -> String {
    let no: Vec<&str> = conditions
        .iter()
        .filter(|asked| asked.answer == AnswerWord::No)
        .map(|asked| asked.key)
        .collect();
    if no.is_empty() {
        return "something is not known, and the rule says to ignore that (undeterminable = \
                \"ignore\")"
            .to_owned();
    }
    format!("does not hold: {}", no.join(", "))
}

fn asked(set: &RuleSet, condition: &Condition, contact: &Contact, day: Option<Day>) -> Asked {
    let (answer, value) = match ask(set, condition, contact, day) {
        Answer::Yes(value) => (AnswerWord::Yes, value),
        Answer::No => (AnswerWord::No, value_of(condition, contact)),
        Answer::NotKnown(why) => (AnswerWord::NotKnown, why),
    };
    Asked {
        key: condition.key(),
        answer,
        value,
    }
}

impl Condition {
    /// The key in `when` that it was read from.
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::AppClass(_) => "app_class",
            Self::User(_) => "user",
            Self::Package(_) => "package",
            Self::Signer(_) => "signer",
            Self::Vendor(_) => "vendor",
            Self::Phase(_) => "phase",
            Self::TimeOfDay(_) => "time_of_day",
            Self::Payload(_) => "payload",
            Self::BytesOutOver(_) => "bytes_out_over",
            Self::Port(_) => "port",
            Self::Proto(_) => "proto",
            Self::AppProtocol(_) => "app_protocol",
            Self::Cleartext(_) => "cleartext",
            Self::Name {
                patterns: Some(_), ..
            } => "name",
            Self::Name { .. } => "name_source",
            Self::Category(_) => "category",
            Self::Country(_) => "country",
            Self::CountryNot(_) => "country_not",
            Self::Provider(_) => "provider",
            Self::Region(_) => "region",
            Self::Organisation(_) => "organisation",
            Self::Asn(_) => "asn",
            Self::Grade(_) => "grade",
            Self::PlaceKnown(_) => "place_known",
            Self::OutsideDeclaration(_) => "outside_declaration",
        }
    }
}

/// What the contact has where a condition asks for something else.
fn value_of(condition: &Condition, contact: &Contact) -> String {
    let (owner, endpoint) = (&contact.owner, &contact.endpoint);
    match condition {
        Condition::Owner(_)
        | Condition::Package(_)
        | Condition::Signer(_)
        | Condition::Vendor(_)
        | Condition::User(_) => owner::who(owner),
        Condition::AppClass(_) => format!("{} is {}", owner::who(owner), owner.class.word()),
        Condition::Phase(_) if contact.phase.is_empty() => "before any phase".to_owned(),
        Condition::Phase(_) => format!("phase {}", contact.phase),
        Condition::TimeOfDay(_) => format!("time of day {} UTC", contact.time),
        Condition::Payload(_) if contact.payload => "payload was sent".to_owned(),
        Condition::Payload(_) => "no payload was sent".to_owned(),
        Condition::BytesOutOver(_) => format!("{} bytes were sent", contact.bytes_out),
        Condition::Port(_) => endpoint
            .port
            .map_or_else(|| "no port".to_owned(), |port| format!("port {port}")),
        Condition::Proto(_) => format!("protocol {}", endpoint.proto.word()),
        Condition::AppProtocol(_) | Condition::Cleartext(_) => {
            format!("app_protocol {}", endpoint.app_protocol.word())
        }
        Condition::Name { .. } => endpoint.name.as_ref().map_or_else(
            || "no name of such a source".to_owned(),
            |name| format!("name {name}"),
        ),
        Condition::Category(_) => format!("categories {}", endpoint.categories.join(", ")),
        Condition::Organisation(_) | Condition::Asn(_) => format!(
            "organisation {}, AS {}",
            contact.place.organisation.as_deref().unwrap_or("not known"),
            contact
                .place
                .asn
                .map_or_else(|| "not known".to_owned(), |asn| asn.to_string())
        ),
        Condition::Grade(_)
        | Condition::Country(_)
        | Condition::CountryNot(_)
        | Condition::Provider(_)
        | Condition::Region(_)
        | Condition::PlaceKnown(_) => where_it_is(contact),
        Condition::OutsideDeclaration(id) => format!(
            "{id} does not cover {}, or names the place, or was said later; {}",
            owner::who(owner),
            where_it_is(contact)
        ),
    }
}

fn where_it_is(contact: &Contact) -> String {
    match place::located(contact) {
        Ok(None) => "an address of the local network".to_owned(),
        Ok(Some(_)) => place::place_text(&contact.place),
        Err(why) => why,
    }
}
