//! The register: each claim of a brand against what a handset was seen to do.
//!
//! In: brands' files and contacts. Out: one row a claim with what its test came to, counts,
//! examples and the next step; and whom preloaded apps reached that no file names. Pure, so that
//! the same contacts give the same register.
//!
//! *Contradicted* is said only of claims that traffic can contradict, by an app that is the
//! brand's by name and signer, at a place of grade *high*
//! (`docs/decisions/0232-what-the-register-says.md`).

mod claim;
mod parties;

use serde::Serialize;

pub use self::parties::{KnownBy, ThirdParty};
use crate::contact::Contact;
use crate::day::Day;
use crate::declare::{BrandFile, Statement};
use crate::vocabulary::Word;

/// Examples that a row gives of each answer.
pub const EXAMPLES_MAX: usize = 3;

/// A contact with how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name in the case.
    pub label: String,
    /// The contact.
    pub contact: Contact,
    /// Day of its last packet, `YYYY-MM-DD` in UTC; the first one's is the contact's own.
    pub last_day: String,
    /// Flows counted to it.
    pub flows: u64,
}

/// What a claim's test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// What was seen is as the claim says.
    Consistent,
    /// What was seen is not as the claim says.
    Contradicted,
    /// Traffic went to a place that the statement does not name: no contradiction, since the claim
    /// is not about every path.
    UnnamedPlace,
    /// What was seen does not tell.
    NotDeterminable,
    /// Nothing that the claim is about was seen.
    NotExercised,
    /// A document decides.
    NeedsDocument,
}

impl Standing {
    /// As people read it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Contradicted => "contradicted",
            Self::UnnamedPlace => "traffic to a place that the statement does not name",
            Self::NotDeterminable => "not determinable",
            Self::NotExercised => "not exercised",
            Self::NeedsDocument => "needs document",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Nothing.
    NoAction,
    /// Ask the vendor.
    AskTheVendor,
    /// Test again, with better data or with the app in use.
    TestAgain,
    /// Let an expert look.
    Expert,
}

impl NextStep {
    /// As people read it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoAction => "no action",
            Self::AskTheVendor => "ask the vendor",
            Self::TestAgain => "test again",
            Self::Expert => "expert",
        }
    }
}

/// How many contacts gave which answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Contacts that the claim is about.
    pub contacts: u64,
    /// Flows of those.
    pub flows: u64,
    /// As the claim says.
    pub agree: u64,
    /// Not as the claim says, for certain.
    pub against: u64,
    /// At a place that the statement does not name.
    pub elsewhere: u64,
    /// Not to be told.
    pub open: u64,
    /// Of the contacts: by package name only, since no signer is known.
    pub by_name_only: u64,
}

/// A contact that shows something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its name in the case.
    pub contact: String,
    /// `agrees`, `against`, `elsewhere` or `open`.
    pub answer: &'static str,
    /// Who.
    pub who: String,
    /// What was reached.
    pub endpoint: String,
    /// Why it gives that answer.
    pub why: String,
}

/// A row: one claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimRow {
    /// Id in its statement.
    pub claim: String,
    /// Kind.
    pub kind: &'static str,
    /// Test.
    pub test: &'static str,
    /// The claim in a sentence.
    pub about: String,
    /// What its test came to.
    pub standing: Standing,
    /// Why, in a sentence.
    pub why: String,
    /// How many contacts gave which answer.
    pub counts: Counts,
    /// Contacts that show it.
    pub examples: Vec<Example>,
    /// Results of other tests: title, day, what it says, SHA-256.
    pub results: Vec<String>,
    /// What to do next.
    pub next: NextStep,
}

/// A statement with its claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementRows {
    /// Id in the brand's file.
    pub statement: String,
    /// When it was said; contacts before are left alone.
    pub said_on: String,
    /// First day on which a later statement takes its place; contacts from then on are left alone.
    pub superseded_on: Option<String>,
    /// `current`, `historic` or `withdrawn`.
    pub status: &'static str,
    /// In the brand's own words.
    pub words: String,
    /// Where it can be read.
    pub source: String,
    /// SHA-256 of the document as it was kept.
    pub document_sha256: Option<String>,
    /// Its claims.
    pub claims: Vec<ClaimRow>,
}

/// A brand with its statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrandRows {
    /// The brand.
    pub brand: String,
    /// When its file was last gone over.
    pub dated: String,
    /// What the reader should know.
    pub note: String,
    /// Contacts of its apps.
    pub contacts: u64,
    /// Its statements.
    pub statements: Vec<StatementRows>,
}

/// Every claim, and whom no claim names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Register {
    /// Contacts that were looked at.
    pub contacts: u64,
    /// Brands, in the order of their files.
    pub brands: Vec<BrandRows>,
    /// Whom preloaded apps reached that no file of a brand seen here names.
    pub undeclared: Vec<ThirdParty>,
}

/// Holds what was seen against what was said.
pub fn register(files: &[BrandFile], seen: &[Seen]) -> Register {
    let brands = files.iter().map(|file| brand(file, seen)).collect();
    Register {
        contacts: count(seen.len()),
        brands,
        undeclared: parties::undeclared(files, seen),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn brand(file: &BrandFile, seen: &[Seen]) -> BrandRows {
    let covered = seen
        .iter()
        .filter(|seen| claim::names_any(&seen.contact.owner, &file.packages));
    let statements = file.statements.iter().map(|said| StatementRows {
        statement: said.id.clone(),
        said_on: said.said_on.to_string(),
        superseded_on: file.superseded_on(said).map(|day| day.to_string()),
        status: said.status.word(),
        words: said.words.clone(),
        source: said.source.clone(),
        document_sha256: said.document_sha256.clone(),
        claims: claims(file, said, seen),
    });
    BrandRows {
        brand: file.brand.clone(),
        dated: file.dated.to_string(),
        note: file.note.clone(),
        contacts: count(covered.count()),
        statements: statements.collect(),
    }
}

fn claims(file: &BrandFile, said: &Statement, seen: &[Seen]) -> Vec<ClaimRow> {
    let until = file.superseded_on(said);
    // A statement says nothing of the time before it, nor of that after which another stands.
    let in_time: Vec<&Seen> = seen
        .iter()
        .filter(|seen| {
            let within = |day: &str| {
                let day: Option<Day> = day.parse().ok();
                day.is_some_and(|day| said.said_on <= day && until.is_none_or(|until| day < until))
            };
            // On both days packets were sent; of those between it is not on record.
            within(&seen.contact.day) || within(&seen.last_day)
        })
        .collect();
    let rows = said.claims.iter();
    rows.map(|claim| claim::row(file, said, claim, &in_time))
        .collect()
}
