//! What a brand says of itself, as one dated file a brand holds it.
//!
//! In: what [`parse::declaration`](crate::parse::declaration) read and checked. Out: values that
//! [`register`](crate::register) holds traffic against. A statement is kept in the brand's own
//! words; each *claim* is one testable part of it.

use std::collections::BTreeSet;

use crate::day::Day;
use crate::glob::Glob;
use crate::problem::TomlError;
use crate::rule_set::{AllowedPlace, ClaimKind, Declaration, Status, Vendor};

/// How a claim is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimTest {
    /// By where packets go.
    Traffic,
    /// By what they hold: by another instrument, whose result is attached.
    Payload,
    /// By the handset's state, likewise.
    DeviceState,
    /// By a document that the vendor hands over.
    Document,
    /// Nothing that a lab can do tests it.
    None,
}

/// What an attached result says of its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResultSays {
    /// The claim holds as far as was tested.
    Consistent,
    /// It does not.
    Contradicted,
    /// The test did not tell.
    NotDeterminable,
}

/// A result of another test, attached by its document's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalResult {
    /// What was done, and by whom.
    pub title: String,
    /// When.
    pub on: Day,
    /// SHA-256 of the document, lower-case hex.
    pub sha256: String,
    /// What it says of the claim.
    pub says: ResultSays,
}

/// One testable part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Id within the statement.
    pub id: String,
    /// What it is about.
    pub kind: ClaimKind,
    /// How it is tested.
    pub test: ClaimTest,
    /// The claim in a sentence.
    pub about: String,
    /// The places that it names.
    pub allow: BTreeSet<AllowedPlace>,
    /// Names and organisations that it names as those who get data.
    pub(crate) parties: BTreeSet<Glob>,
    /// Packages that it is about; empty: all of the brand's.
    pub(crate) packages: BTreeSet<Glob>,
    /// Results of other tests.
    pub results: Vec<ExternalResult>,
}

/// What a brand said on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Id within the file.
    pub id: String,
    /// When it was said.
    pub said_on: Day,
    /// In the brand's own words.
    pub words: String,
    /// Where it can be read.
    pub source: String,
    /// SHA-256 of the document as it was kept, lower-case hex; none: only its address is known.
    pub document_sha256: Option<String>,
    /// Whether it stands.
    pub status: Status,
    /// Ids of the statements that it takes the place of, from its day on.
    pub supersedes: BTreeSet<String>,
    /// Its testable parts.
    pub claims: Vec<Claim>,
}

/// One brand's file. Made by [`BrandFile::parse`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandFile {
    /// The brand.
    pub brand: String,
    /// When the file was last gone over.
    pub dated: Day,
    /// Services that it speaks of, in words.
    pub services: Vec<String>,
    /// Packages of the brand.
    pub(crate) packages: BTreeSet<Glob>,
    /// SHA-256 of the certificates that sign them, lower-case hex; empty: not known.
    pub signers: BTreeSet<String>,
    /// Names and organisations that are the brand's own.
    pub(crate) own: BTreeSet<Glob>,
    /// What the reader should know, such as that no statement was found.
    pub note: String,
    /// What it said, in the order of the file.
    pub statements: Vec<Statement>,
}

impl BrandFile {
    /// The last day before another statement of the file takes the place of `statement`; none:
    /// none does.
    pub fn superseded_on(&self, statement: &Statement) -> Option<Day> {
        self.statements
            .iter()
            .filter(|later| later.supersedes.contains(&statement.id))
            .map(|later| later.said_on)
            .min()
    }

    /// The brand's apps.
    pub(crate) fn vendor(&self) -> Vendor {
        Vendor {
            brand: self.brand.clone(),
            packages: self.packages.clone(),
            signers: self.signers.clone(),
        }
    }

    /// Its claims that name places, as rules ask them.
    pub(crate) fn on_places(&self) -> impl Iterator<Item = Declaration> {
        let claims = self
            .statements
            .iter()
            .flat_map(|said| said.claims.iter().map(move |claim| (said, claim)));
        claims
            .filter(|(_, claim)| !claim.allow.is_empty())
            .map(|(said, claim)| Declaration {
                id: format!("{}/{}/{}", self.brand, said.id, claim.id),
                of: Vendor {
                    packages: if claim.packages.is_empty() {
                        self.packages.clone()
                    } else {
                        claim.packages.clone()
                    },
                    ..self.vendor()
                },
                said_on: said.said_on,
                superseded_on: self.superseded_on(said),
                words: said.words.clone(),
                allow: claim.allow.clone(),
            })
    }
}

/// The files that the built-in rule sets ask, by name.
pub fn asked_by_built_in() -> &'static [(&'static str, &'static str)] {
    &[("oppo.toml", include_str!("../declarations/oppo.toml"))]
}

/// What [`embedded`] holds, read.
///
/// # Errors
/// A built-in file is broken.
pub fn read_embedded() -> Result<Vec<BrandFile>, TomlError> {
    let files = embedded().iter();
    files
        .map(|(name, text)| BrandFile::parse(name, text))
        .collect()
}

/// The files of the matter's brands that are built in, by name.
pub fn embedded() -> &'static [(&'static str, &'static str)] {
    macro_rules! files {
        ($($name:literal),+ $(,)?) => {
            &[$((concat!($name, ".toml"), include_str!(concat!("../declarations/", $name, ".toml")))),+]
        };
    }
    files![
        "apple", "asus", "gionee", "hmd", "honor", "huawei", "infocus", "lava", "lenovo", "lyf",
        "micromax", "motorola", "oneplus", "oppo", "realme", "samsung", "sony", "vivo", "xiaomi",
    ]
}
