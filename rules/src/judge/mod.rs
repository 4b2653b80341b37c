//! Judging a contact.
//!
//! In: rule sets and a contact. Out: a [`Verdict`] for each rule that has something to say, in the
//! order of the sets and of their rules.
//!
//! Each condition is answered *yes*, *no* or *not known*. One *no* and the rule is silent; all
//! *yes* and it finds; otherwise what is not known is said, and a person decides. So nothing is
//! guessed into a finding, and nothing that could not be told is passed over
//! (`docs/decisions/0042-three-answers.md`).

mod circumstance;
mod declaration;
mod endpoint;
pub mod explain;
mod owner;
mod place;

use serde::{Deserialize, Serialize};

use self::endpoint::Fitting;

pub(crate) use self::declaration::is_at;
pub(crate) use self::owner::{signed_by, who};
pub(crate) use self::place::{located, place_text};
use crate::contact::Contact;
use crate::day::Day;
use crate::rule_set::{
    Condition, Exception, Rule, RuleKind, RuleSet, Severity, Undeterminable, When,
};
use crate::vocabulary::Word;

/// What a rule concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every condition holds.
    Finding,
    /// It may hold; the reason says what is not known.
    NeedsReview,
    /// It holds or may hold, and an exception covers it.
    Excepted,
}

/// What a rule says of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Id of the rule set.
    pub set: String,
    /// Version of the rule set.
    pub set_version: String,
    /// Id of the rule.
    pub rule: String,
    /// What the rule is about; [`RuleKind::label`] is how reports call it.
    pub kind: RuleKind,
    /// How much it matters.
    pub severity: Severity,
    /// What it concluded.
    pub outcome: Outcome,
    /// Why, in plain words, with the values that matched and what they rest on.
    pub reason: String,
    /// Provisions that may be relevant and were in force on the day of the contact.
    pub reference: Vec<String>,
}

/// The answer to one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It holds; the value that makes it hold.
    Yes(String),
    /// It does not hold.
    No,
    /// It can't be told; why.
    NotKnown(String),
}

impl Answer {
    /// Yes with this value, or no.
    fn yes_if(holds: bool, value: impl FnOnce() -> String) -> Self {
        if holds { Self::Yes(value()) } else { Self::No }
    }
}

/// Judges a contact by every rule of every set.
pub fn judge(sets: &[RuleSet], contact: &Contact) -> Vec<Verdict> {
    let day: Option<Day> = contact.day.parse().ok();
    sets.iter()
        .flat_map(|set| set.rules().iter().map(move |rule| (set, rule)))
        .filter_map(|(set, rule)| judge_rule(set, rule, contact, day))
        .collect()
}

fn judge_rule(set: &RuleSet, rule: &Rule, contact: &Contact, day: Option<Day>) -> Option<Verdict> {
    let answers = ask_all(set, &rule.when, contact, day, ask)?;
    if !answers.not_known.is_empty() && rule.undeterminable == Undeterminable::Ignore {
        return None;
    }
    let mut doubts = answers.not_known;
    if doubts.is_empty() {
        doubts.extend(too_low(rule, contact));
    }
    let outcome = if doubts.is_empty() {
        rule.outcome
    } else {
        Outcome::NeedsReview
    };
    doubts.extend(answers.yes);
    let mut reason = doubts.join("; ");
    let exception = exception_for(set, rule, contact, day);
    if let Some(exception) = exception {
        reason = format!(
            "exception {}: {} (approved by {}, until {}); {reason}",
            exception.id, exception.reason, exception.approved_by, exception.expires
        );
    }
    let in_force = rule
        .reference
        .iter()
        .filter(|r| day.is_some_and(|day| r.valid_on(day)));
    Some(Verdict {
        set: set.id().to_owned(),
        set_version: set.version().to_owned(),
        rule: rule.id.clone(),
        kind: rule.kind,
        severity: rule.severity,
        outcome: if exception.is_some() {
            Outcome::Excepted
        } else {
            outcome
        },
        reason,
        reference: in_force.map(|reference| reference.text.clone()).collect(),
    })
}

/// Why the place is not known well enough for the rule, if it is not.
fn too_low(rule: &Rule, contact: &Contact) -> Option<String> {
    let grade = contact.place.grade;
    (asks_place(&rule.when) && grade < rule.min_grade).then(|| {
        format!(
            "the place has grade {}, and this rule asks for {}",
            place::grade_text(grade),
            rule.min_grade.word()
        )
    })
}

/// The answers to conditions none of which is *no*.
struct Answers {
    yes: Vec<String>,
    not_known: Vec<String>,
}

/// Asks a condition of a contact.
type Ask = fn(&RuleSet, &Condition, &Contact, Option<Day>) -> Answer;

/// Asks every condition; none when one does not hold.
fn ask_all(
    set: &RuleSet,
    when: &When,
    contact: &Contact,
    day: Option<Day>,
    ask: Ask,
) -> Option<Answers> {
    let mut answers = Answers {
        yes: Vec::new(),
        not_known: Vec::new(),
    };
    for condition in &when.0 {
        let (list, text) = match ask(set, condition, contact, day) {
            Answer::No => return None,
            Answer::Yes(value) => (&mut answers.yes, value),
            Answer::NotKnown(why) => (&mut answers.not_known, why),
        };
        // Several conditions may rest on the same fact: it is said once.
        if !list.contains(&text) {
            list.push(text);
        }
    }
    Some(answers)
}

fn ask(set: &RuleSet, condition: &Condition, contact: &Contact, day: Option<Day>) -> Answer {
    match condition {
        Condition::Owner(states) => owner::state(&contact.owner, states),
        Condition::AppClass(classes) => owner::class(&contact.owner, classes),
        Condition::User(users) => owner::user(&contact.owner, users),
        Condition::Package(globs) => owner::package(&contact.owner, globs),
        Condition::Signer(signers) => owner::signer(&contact.owner, signers),
        Condition::Vendor(vendors) => declaration::vendor(&contact.owner, vendors),
        Condition::TimeOfDay(hours) => circumstance::hours(contact, hours, set.utc_offset),
        Condition::ScreenOn(wanted) => circumstance::screen(contact, *wanted),
        Condition::Idle(wanted) => circumstance::idle(contact, *wanted),
        Condition::Category(globs) => circumstance::category(contact, globs),
        Condition::PlaceStatus(wanted) => circumstance::place_status(contact, wanted),
        Condition::Phase(phases) => Answer::yes_if(phases.contains(&contact.phase), || {
            format!("phase {}", contact.phase)
        }),
        Condition::Payload(wanted) => Answer::yes_if(contact.payload == *wanted, || {
            if *wanted {
                "payload was sent".into()
            } else {
                "no payload was sent".into()
            }
        }),
        Condition::BytesOutOver(bound) => Answer::yes_if(contact.bytes_out > *bound, || {
            format!("more than {bound} bytes were sent")
        }),
        Condition::Port(ports) => endpoint::port(&contact.endpoint, ports),
        Condition::Proto(protos) => {
            let proto = contact.endpoint.proto;
            Answer::yes_if(protos.contains(&proto), || {
                format!("protocol {}", proto.word())
            })
        }
        Condition::AppProtocol(protocols) => endpoint::app_protocol(&contact.endpoint, protocols),
        Condition::Cleartext(wanted) => endpoint::cleartext(contact, *wanted),
        Condition::Name { patterns, sources } => {
            let (patterns, sources) = (patterns.as_ref(), sources.as_ref());
            endpoint::name(&contact.endpoint, patterns, sources, Fitting::One)
        }
        Condition::Country(countries) => place::country(contact, countries),
        Condition::CountryNot(countries) => place::country_not(contact, countries, set.home()),
        Condition::Provider(providers) => place::provider(contact, providers),
        Condition::Region(regions) => place::region(contact, regions),
        Condition::Organisation(globs) => place::organisation(contact, globs),
        Condition::Asn(numbers) => place::asn(contact, numbers),
        Condition::Grade(grades) => {
            let grade = contact.place.grade;
            Answer::yes_if(grades.contains(&grade), || {
                format!("grade of the place: {}", place::grade_text(grade))
            })
        }
        Condition::PlaceKnown(wanted) => place::known(contact, *wanted),
        Condition::NameAgainstPlace(wanted) => place::named_elsewhere(contact, *wanted),
        Condition::OutsideDeclaration(said) => declaration::outside(contact, said, day),
    }
}

/// Asks a condition of an exception: of several names each has to fit.
fn ask_of_exception(
    set: &RuleSet,
    condition: &Condition,
    contact: &Contact,
    day: Option<Day>,
) -> Answer {
    match condition {
        Condition::Name { patterns, sources } => {
            let (patterns, sources) = (patterns.as_ref(), sources.as_ref());
            endpoint::name(&contact.endpoint, patterns, sources, Fitting::Each)
        }
        _ => ask(set, condition, contact, day),
    }
}

fn asks_place(when: &When) -> bool {
    when.0.iter().any(|condition| {
        matches!(
            condition,
            Condition::Country(_)
                | Condition::CountryNot(_)
                | Condition::Provider(_)
                | Condition::Region(_)
                | Condition::NameAgainstPlace(_)
                | Condition::OutsideDeclaration(_)
        )
    })
}

/// The first exception that covers the contact. It needs a *yes* to every condition: what is not
/// known excuses nothing.
fn exception_for<'s>(
    set: &'s RuleSet,
    rule: &Rule,
    contact: &Contact,
    day: Option<Day>,
) -> Option<&'s Exception> {
    let day = day?;
    set.exceptions().iter().find(|exception| {
        exception.rules.contains(&rule.id)
            && day <= exception.expires
            && ask_all(set, &exception.when, contact, Some(day), ask_of_exception)
                .is_some_and(|answers| answers.not_known.is_empty())
    })
}
