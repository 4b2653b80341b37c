//! A rule set as the engine holds it.
//!
//! In: what [`parse`](crate::parse) read and checked. Out: values that [`judge`](crate::judge())
//! asks. Lists are kept sorted, so that the order in which somebody typed them never shows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::contact::{AppClass, AppProtocol, Grade, NameSource, PlaceStatus, Proto};
use crate::day::Day;
use crate::glob::Glob;
use crate::hours::{Hours, Offset};
use crate::judge::Outcome;

/// Days after which a provider's list of regions no longer gives grade *high*, unless the set
/// says otherwise.
pub const PLACE_AGE_DAYS_DEFAULT: u32 = 180;

/// The fewest days that one of these sets allows: none is given a grade that it does not allow.
pub fn max_place_age_days(sets: &[RuleSet]) -> u32 {
    let ages = sets.iter().map(RuleSet::max_place_age_days);
    ages.min().unwrap_or(PLACE_AGE_DAYS_DEFAULT)
}

/// How much a matching rule matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Minor.
    Low,
    /// Worth a question to the vendor.
    Medium,
    /// Worth an expert's time.
    High,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Where traffic goes.
    Destination,
    /// Where traffic goes, against what a vendor said.
    Declaration,
    /// Traffic that anybody on the way can read.
    Cleartext,
    /// Who sent.
    Owner,
}

impl RuleKind {
    /// What reports call it. Facts only: a tool can't say that a law was broken.
    pub fn label(self) -> &'static str {
        match self {
            Self::Destination | Self::Declaration => "destination finding",
            Self::Cleartext => "indicator",
            Self::Owner => "unknown owner",
        }
    }
}

/// Whether the owner of a contact is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerState {
    /// A UID is known.
    Known,
    /// No UID is known.
    Unknown,
}

/// What a rule does when the answer to one of its conditions is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Undeterminable {
    /// Say so: the outcome is *needs review*.
    Review,
    /// Stay silent.
    Ignore,
}

/// What a statement is about; decides what traffic can say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimKind {
    /// Data goes to a place.
    Path,
    /// Data goes to a place and nowhere else.
    ExclusivePath,
    /// Who else gets data.
    ThirdParty,
    /// How data is protected on the way.
    Transit,
    /// What the user agreed to.
    Consent,
    /// Where data is stored.
    Storage,
    /// How long data is kept.
    Retention,
    /// How the device is protected.
    DeviceSecurity,
    /// What the vendor does in its own house.
    Procedure,
}

impl ClaimKind {
    /// Whether traffic alone can contradict such a claim. Where data is stored, how long, by whose
    /// consent and by what procedure does not show in where it is sent first.
    pub const fn can_be_contradicted(self) -> bool {
        matches!(self, Self::ExclusivePath | Self::ThirdParty | Self::Transit)
    }

    /// Whether traffic can be held against it at all.
    pub const fn shows_in_traffic(self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::ExclusivePath
                | Self::ThirdParty
                | Self::Transit
                | Self::Storage
                | Self::Retention
        )
    }
}

/// Whether a vendor still stands by a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// As far as is known, it does.
    Current,
    /// Made long ago and not renewed.
    Historic,
    /// Taken back.
    Withdrawn,
}

/// A place that a statement names; each part that is absent leaves it open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowedPlace {
    /// Provider key (`aws`).
    pub provider: Option<String>,
    /// The provider's own name of the region.
    pub region: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
}

/// Whose apps are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vendor {
    /// The brand.
    pub(crate) brand: String,
    /// Their packages.
    pub(crate) packages: BTreeSet<Glob>,
    /// SHA-256 of the certificates that sign them, lower-case hex; empty: not known.
    pub(crate) signers: BTreeSet<String>,
}

/// A claim about places in a brand's file, as a rule asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// `BRAND/STATEMENT/CLAIM`.
    pub(crate) id: String,
    /// Whose apps it is about.
    pub(crate) of: Vendor,
    /// When it was said.
    pub(crate) said_on: Day,
    /// First day on which another statement takes its place.
    pub(crate) superseded_on: Option<Day>,
    /// In the brand's own words.
    pub(crate) words: String,
    /// The places that it names.
    pub(crate) allow: BTreeSet<AllowedPlace>,
}

/// A provision that may be relevant to a contact on some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// How it is cited.
    pub text: String,
    /// First day on which it is in force.
    pub from: Day,
    /// Last day on which it is in force; none while it is.
    pub to: Option<Day>,
}

impl Reference {
    /// Whether it was in force on a day.
    pub fn valid_on(&self, day: Day) -> bool {
        self.from <= day && self.to.is_none_or(|to| day <= to)
    }
}

/// One condition of a rule or an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Owner(BTreeSet<OwnerState>),
    AppClass(BTreeSet<AppClass>),
    User(BTreeSet<u32>),
    Package(BTreeSet<Glob>),
    Signer(BTreeSet<String>),
    /// Vendors, as their brands' files say whose apps are theirs.
    Vendor(Vec<Vendor>),
    Phase(BTreeSet<String>),
    TimeOfDay(BTreeSet<Hours>),
    ScreenOn(bool),
    /// Android's idle mode (Doze).
    Idle(bool),
    Payload(bool),
    BytesOutOver(u64),
    Port(BTreeSet<u16>),
    Proto(BTreeSet<Proto>),
    AppProtocol(BTreeSet<AppProtocol>),
    Cleartext(bool),
    /// `name` and `name_source` look at the same name, so they are one condition.
    Name {
        patterns: Option<BTreeSet<Glob>>,
        sources: Option<BTreeSet<NameSource>>,
    },
    Category(BTreeSet<Glob>),
    Country(BTreeSet<String>),
    CountryNot(BTreeSet<String>),
    Provider(BTreeSet<String>),
    Region(BTreeSet<Glob>),
    Organisation(BTreeSet<Glob>),
    Asn(BTreeSet<u32>),
    Grade(BTreeSet<Grade>),
    PlaceKnown(bool),
    PlaceStatus(BTreeSet<PlaceStatus>),
    NameAgainstPlace(bool),
    /// A claim of a brand's file.
    OutsideDeclaration(Box<Declaration>),
}

/// Conditions that must all hold, in the order of
/// [`WHEN_KEYS`](crate::vocabulary::WHEN_KEYS).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct When(pub(crate) Vec<Condition>);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Id within the set.
    pub id: String,
    /// What it finds, in a few words.
    pub title: String,
    /// What it is about.
    pub kind: RuleKind,
    /// How much it matters.
    pub severity: Severity,
    /// What it says when every condition holds: a finding, or that a person must look.
    pub outcome: Outcome,
    /// Grade that a place must have for a finding.
    pub min_grade: Grade,
    /// What it does when a condition can't be answered.
    pub undeterminable: Undeterminable,
    /// What the reader of a finding should know.
    pub note: String,
    /// Provisions that may be relevant.
    pub reference: Vec<Reference>,
    pub(crate) when: When,
}

/// A contact that is known and not reported as a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Id within the set.
    pub id: String,
    /// Ids of the rules that it silences.
    pub rules: BTreeSet<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub approved_by: String,
    /// Last day on which it applies.
    pub expires: Day,
    pub(crate) when: When,
}

/// A checked rule set. Made by [`RuleSet::parse`] only, so what it refers to exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) title: String,
    pub(crate) home: BTreeSet<String>,
    pub(crate) max_place_age_days: u32,
    pub(crate) utc_offset: Offset,
    pub(crate) rules: Vec<Rule>,
    pub(crate) exceptions: Vec<Exception>,
}

impl RuleSet {
    /// Name of the set.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Version, as its author wrote it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it is for, in a few words.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Countries that count as inside (`@home`).
    pub fn home(&self) -> &BTreeSet<String> {
        &self.home
    }

    /// Days between a provider's list and a contact beyond which the list no longer gives grade
    /// *high*.
    pub fn max_place_age_days(&self) -> u32 {
        self.max_place_age_days
    }

    /// Brands whose files it asks: without those files it cannot be read.
    pub fn brands(&self) -> BTreeSet<&str> {
        self.conditions()
            .flat_map(|condition| match condition {
                Condition::Vendor(vendors) => vendors.iter().map(|of| of.brand.as_str()).collect(),
                Condition::OutsideDeclaration(said) => vec![said.of.brand.as_str()],
                _ => Vec::new(),
            })
            .collect()
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let rules = self.rules.iter().map(|rule| &rule.when);
        let exceptions = self.exceptions.iter().map(|exception| &exception.when);
        rules.chain(exceptions).flat_map(|when| &when.0)
    }

    /// Rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Exceptions, in the order of the file.
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// Byte counts that change a verdict when they are passed, sorted: a contact has to be judged
    /// again when [`bytes_out`](crate::contact::Contact::bytes_out) first exceeds one.
    pub fn byte_bounds(&self) -> Vec<u64> {
        let bounds: BTreeSet<u64> = self
            .conditions()
            .filter_map(|condition| match condition {
                Condition::BytesOutOver(bound) => Some(*bound),
                _ => None,
            })
            .collect();
        bounds.into_iter().collect()
    }
}
