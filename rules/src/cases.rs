//! Cases beside a rule set: *given this contact, that rule says this*.
//!
//! In: a `cases.toml` and the rule set that it tests. Out: the cases that fail, and the rules that
//! lack a case that matches or one that does not. Whatever a case does not give has a plain
//! default ([`Given`]), so that a case shows only what matters to it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use crate::contact::{
    AppClass, AppProtocol, Contact, Endpoint, Grade, Name, Owner, Package, Place, PlaceBasis, Proto,
};
use crate::hours::minute_of;
use crate::judge::{Outcome, judge};
use crate::parse::{SCHEMA, SET_BYTES_MAX};
use crate::problem::{Problem, TomlError};
use crate::rule_set::RuleSet;
use crate::vocabulary::Word;

/// What a case expects of its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// A finding.
    Finding,
    /// A contact that a person must look at.
    NeedsReview,
    /// A contact that an exception covers.
    Excepted,
    /// Nothing: the rule does not match.
    None,
}

impl Expected {
    fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Finding => Some(Outcome::Finding),
            Self::NeedsReview => Some(Outcome::NeedsReview),
            Self::Excepted => Some(Outcome::Excepted),
            Self::None => None,
        }
    }
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: String,
    /// The rule that it tests.
    pub rule: String,
    /// What the rule shall say.
    pub expect: Expected,
    /// A text that the reason must hold.
    pub reason: Option<String>,
    /// The contact.
    pub contact: Contact,
}

/// Why a rule set and its cases do not agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseFailure {
    /// The rule said something else.
    #[error("case \"{case}\": {rule} should say {expected}, and says {found}")]
    Wrong {
        /// The case.
        case: String,
        /// The rule.
        rule: String,
        /// What was expected.
        expected: String,
        /// What it said.
        found: String,
    },
    /// A case tests a rule that the set does not have.
    #[error("case \"{case}\": the set has no rule {rule}")]
    NoSuchRule {
        /// The case.
        case: String,
        /// The rule.
        rule: String,
    },
    /// No case shows what a rule matches.
    #[error("rule {rule} has no case that matches: add one")]
    NoMatchingCase {
        /// The rule.
        rule: String,
    },
    /// No case shows what a rule leaves alone.
    #[error("rule {rule} has no case that does not match: add one with expect = \"none\"")]
    NoOtherCase {
        /// The rule.
        rule: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    schema: u64,
    case: Vec<CaseText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: String,
    rule: String,
    expect: Expected,
    reason: Option<String>,
    #[serde(default)]
    given: Given,
}

/// What a case says of its contact. The defaults are a preloaded app `com.example.app` of unknown
/// signer (UID 10100) that sent 1000 bytes over TLS to 203.0.113.10, port 443, on 2026-11-24.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    owner_known: Option<bool>,
    uid: Option<u32>,
    user: Option<u32>,
    app_class: Option<AppClass>,
    packages: Option<Vec<GivenPackage>>,
    may_act_for_app: bool,
    addr: Option<IpAddr>,
    port: Option<u16>,
    proto: Option<Proto>,
    app_protocol: Option<AppProtocol>,
    name: Option<String>,
    names: Vec<Name>,
    country: Option<String>,
    provider: Option<String>,
    region: Option<String>,
    asn: Option<u32>,
    organisation: Option<String>,
    grade: Option<Grade>,
    says: Option<String>,
    list_age_days: i64,
    phase: String,
    payload: Option<bool>,
    cleartext: Option<bool>,
    cleartext_known: Option<bool>,
    bytes_out: Option<u64>,
    day: Option<String>,
    time: Option<Time>,
    categories: Option<Vec<String>>,
    screen_on: Option<bool>,
    idle: Option<bool>,
}

/// A time of the day in UTC, as minutes after midnight.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Time(u16);

impl TryFrom<String> for Time {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        minute_of(&text)
            .map(Self)
            .ok_or("expected a time of the day in UTC, such as \"04:30\"")
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenPackage {
    name: String,
    class: Option<AppClass>,
    #[serde(default)]
    signers: Vec<String>,
}

const UID_DEFAULT: u32 = 10_100;
const ADDR_DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
const DAY_DEFAULT: &str = "2026-11-24";

impl Given {
    fn contact(self) -> Contact {
        let place = self.place();
        let endpoint = Endpoint {
            addr: self.addr.unwrap_or(ADDR_DEFAULT),
            embedded_ipv4: None,
            port: Some(self.port.unwrap_or(443)),
            proto: self.proto.unwrap_or(Proto::Tcp),
            app_protocol: self.app_protocol.unwrap_or(AppProtocol::Tls),
            name: self.name.clone(),
            names: self.names.clone(),
            categories: self.categories.clone(),
        };
        Contact {
            steered: None,
            tunnelled: false,
            owner: self.owner(),
            endpoint,
            place,
            phase: self.phase,
            payload: self.payload.unwrap_or(true),
            cleartext: self
                .cleartext_known
                .unwrap_or(true)
                .then_some(self.cleartext.unwrap_or(false)),
            bytes_out: self.bytes_out.unwrap_or(1000),
            day: self.day.unwrap_or_else(|| DAY_DEFAULT.to_owned()),
            minute: self.time.map(|Time(minute)| minute),
            screen_on: self.screen_on,
            idle: self.idle,
        }
    }

    fn owner(&self) -> Owner {
        if self.owner_known == Some(false) {
            return Owner {
                uid: None,
                user: None,
                basis: "none".into(),
                class: AppClass::Unknown,
                packages: Vec::new(),
                may_act_for_app: false,
            };
        }
        let class = self.app_class.unwrap_or(AppClass::Preloaded);
        let absent = [GivenPackage::named("com.example.app")];
        let given = self.packages.as_deref().unwrap_or(&absent);
        let packages = given.iter().map(|package| package.package(class)).collect();
        Owner {
            uid: Some(self.uid.unwrap_or(UID_DEFAULT)),
            user: Some(self.user.unwrap_or(0)),
            basis: "nflog".into(),
            class,
            packages,
            may_act_for_app: self.may_act_for_app,
        }
    }

    fn place(&self) -> Place {
        let absent = if self.country.is_some() {
            Grade::High
        } else {
            Grade::None
        };
        let grade = self.grade.unwrap_or(absent);
        let says = self.says.clone().or_else(|| self.country.clone());
        let basis = says.map(|says| PlaceBasis {
            source: "case".into(),
            version: "1".into(),
            sha256: Some("0".repeat(64)),
            prefix: "203.0.113.0/24".into(),
            says,
            age_days: self.list_age_days,
        });
        Place {
            country: self.country.clone(),
            provider: self.provider.clone(),
            region: self.region.clone(),
            asn: self.asn,
            asn_country: None,
            organisation: self.organisation.clone(),
            grade,
            basis: basis.into_iter().collect(),
        }
    }
}

impl GivenPackage {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            class: None,
            signers: Vec::new(),
        }
    }

    fn package(&self, class: AppClass) -> Package {
        Package {
            name: self.name.clone(),
            class: self.class.unwrap_or(class),
            signers: self.signers.clone(),
        }
    }
}

/// Reads the cases of a `cases.toml`; `file` is its name in messages.
pub fn parse_cases(file: &str, text: &str) -> Result<Vec<Case>, TomlError> {
    let wrong = |span: std::ops::Range<usize>, message: String, help: &str| TomlError {
        file: file.to_owned(),
        problems: vec![Problem::at(text, span, message, help.to_owned())],
        more: 0,
    };
    if text.len() > SET_BYTES_MAX {
        return Err(wrong(
            0..0,
            "the file is too large".into(),
            "it may have at most 1 MiB",
        ));
    }
    let read: CaseFile = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        wrong(
            span,
            error.message().to_owned(),
            "see docs/rules.md for what a case may say",
        )
    })?;
    if read.schema != SCHEMA {
        return Err(wrong(
            0..0,
            "unknown format version".into(),
            "this program reads schema = 1",
        ));
    }
    let case = |text: CaseText| Case {
        name: text.name,
        rule: text.rule,
        expect: text.expect,
        reason: text.reason,
        contact: text.given.contact(),
    };
    Ok(read.case.into_iter().map(case).collect())
}

/// Runs the cases, and asks that each rule has one that matches and one that does not.
pub fn check_cases(set: &RuleSet, cases: &[Case]) -> Vec<CaseFailure> {
    let mut failures: Vec<CaseFailure> = cases
        .iter()
        .filter_map(|case| check_case(set, case))
        .collect();
    for rule in set.rules() {
        let mut of_rule = cases.iter().filter(|case| case.rule == rule.id);
        if !of_rule.clone().any(|case| case.expect != Expected::None) {
            failures.push(CaseFailure::NoMatchingCase {
                rule: rule.id.clone(),
            });
        }
        if !of_rule.any(|case| case.expect == Expected::None) {
            failures.push(CaseFailure::NoOtherCase {
                rule: rule.id.clone(),
            });
        }
    }
    failures
}

fn check_case(set: &RuleSet, case: &Case) -> Option<CaseFailure> {
    if !set.rules().iter().any(|rule| rule.id == case.rule) {
        let (case, rule) = (case.name.clone(), case.rule.clone());
        return Some(CaseFailure::NoSuchRule { case, rule });
    }
    let verdicts = judge(std::slice::from_ref(set), &case.contact);
    let verdict = verdicts.iter().find(|verdict| verdict.rule == case.rule);
    let outcome = verdict.map(|verdict| verdict.outcome);
    let reason = verdict.map_or("", |verdict| verdict.reason.as_str());
    let holds = case
        .reason
        .as_ref()
        .is_none_or(|text| reason.contains(text));
    if outcome == case.expect.outcome() && holds {
        return None;
    }
    Some(CaseFailure::Wrong {
        case: case.name.clone(),
        rule: case.rule.clone(),
        expected: Said(case.expect.outcome(), case.reason.as_deref().unwrap_or("")).to_string(),
        found: Said(outcome, reason).to_string(),
    })
}

/// An outcome with its reason, for messages.
struct Said<'a>(Option<Outcome>, &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (None, _) => f.write_str("nothing"),
            (Some(outcome), "") => f.write_str(outcome.word()),
            (Some(outcome), reason) => write!(f, "{} with \"{reason}\"", outcome.word()),
        }
    }
}
