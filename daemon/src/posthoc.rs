//! Judging a case's contacts by other rules than those it was watched with.
//!
//! In: the contacts of a case with their last counts, and rule sets. Out: rows as of the findings
//! export, of a list that stands beside the case's own and never in its place
//! (`docs/decisions/0230-post-hoc-is-a-list-of-its-own.md`).

use sakshi_rules::{
    RuleSet, judge,
    judge::explain::{Explanation, explain},
    register::Seen,
    rule_set::max_place_age_days,
};
use serde::Serialize;

use crate::{
    evidence::{Hash, Head, Reader, StoreError, body, canonical::CanonicalError},
    finding::{finding_body, recorded_input},
    locate::{Regraded, regrade},
    report::{
        export::{ExportError, fold},
        fold::{FindingRow, Fold},
    },
    time::Timestamp,
};

/// What the list is called wherever it is shown.
pub const HEADING: &str = "POST HOC";

/// Why a case cannot be judged anew.
#[derive(Debug, thiserror::Error)]
pub enum PostHocError {
    /// Its records cannot be read.
    #[error(transparent)]
    Records(#[from] ExportError),
    /// The case cannot be read.
    #[error(transparent)]
    Case(#[from] StoreError),
}

impl From<CanonicalError> for PostHocError {
    fn from(error: CanonicalError) -> Self {
        Self::Records(error.into())
    }
}

/// What the list is of and by: it stands before the rows.
#[derive(Debug, Clone, Serialize)]
pub struct Heading {
    /// Always `post_hoc`: the list was made after the watch, and is not the case's own.
    pub list: &'static str,
    /// Id of the case.
    pub case: String,
    /// The last record that the case had.
    pub head: Head,
    /// The program that judged.
    pub tool: String,
    /// By which sets, in order.
    pub sets: Vec<SetHeading>,
    /// Files of brands that were given, or that a set asks.
    pub declarations: Vec<BrandHeading>,
    /// Contacts that were judged.
    pub judged: u64,
    /// Contacts that were not: a probe's own, or their counts are not in the case.
    pub not_judged: u64,
    /// Days that a provider's list may be old for the grade *high*: the fewest that a set allows.
    pub max_place_age_days: u32,
    /// Contacts whose place has another grade than in the case, by that bound.
    pub graded_anew: u64,
    /// Contacts whose place rests on a provider's list, and the case does not say of what age: they
    /// are judged by the grade that is recorded.
    pub graded_as_recorded: u64,
    /// Findings that stand in the case, whatever their outcome; they are left as they are.
    pub standing: u64,
}

/// A rule set as the list names it.
#[derive(Debug, Clone, Serialize)]
pub struct SetHeading {
    /// The file as it was named.
    pub file: String,
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// A brand's file as the list names it.
#[derive(Debug, Clone, Serialize)]
pub struct BrandHeading {
    /// The file as it was named.
    pub file: String,
    /// The brand.
    pub brand: String,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// A case, judged anew.
#[derive(Debug)]
pub struct PostHoc {
    /// What it is.
    pub heading: Heading,
    /// What the rules say, as rows of the findings export.
    pub rows: Vec<FindingRow>,
}

/// Judges every contact of a case. No list of places is asked again: the place of each is graded by
/// what the case keeps of it and by how old a list may be under these sets.
pub fn judge_anew(
    reader: &Reader,
    sets: &[RuleSet],
    by: (Vec<SetHeading>, Vec<BrandHeading>),
) -> Result<PostHoc, PostHocError> {
    let stored = fold(reader)?;
    let standing = stored.findings().len();
    let (mut judged, mut not_judged) = (0, 0);
    let (mut graded_anew, mut graded_as_recorded) = (0, 0);
    let max_place_age_days = max_place_age_days(sets);
    let anew = stored.judged_anew(|contact, total, packets| {
        let Some(mut input) = recorded_input(contact, total) else {
            not_judged += 1;
            return Vec::new();
        };
        judged += 1;
        match regrade(&input.place, max_place_age_days) {
            Regraded::Same => {}
            Regraded::Other(place) => {
                graded_anew += 1;
                input.place = *place;
            }
            Regraded::NotTold => graded_as_recorded += 1,
        }
        judge(sets, &input)
            .iter()
            .map(|verdict| finding_body(&contact.contact, verdict, packets, contact.at))
            .collect()
    });
    let (sets, declarations) = by;
    Ok(PostHoc {
        heading: Heading {
            list: "post_hoc",
            case: reader.case().meta().id.clone(),
            head: reader.head()?,
            tool: format!("sakshi {}", env!("CARGO_PKG_VERSION")),
            sets,
            declarations,
            judged,
            not_judged,
            max_place_age_days,
            graded_anew,
            graded_as_recorded,
            standing: u64::try_from(standing).unwrap_or(u64::MAX),
        },
        rows: anew.finding_rows()?,
    })
}

/// The contacts of a case as the register of claims asks them, and how many it cannot ask: a
/// probe's own, or those whose counts are not in the case.
pub fn seen(reader: &Reader) -> Result<(Vec<Seen>, u64), PostHocError> {
    let day = |at: Timestamp| at.to_string().chars().take(10).collect::<String>();
    let (mut seen, mut not_asked) = (Vec::new(), 0);
    // What the contacts are asked of gives no finding: only the walk is wanted.
    let _ = fold(reader)?.judged_anew(|contact, total, _| {
        match recorded_input(contact, total) {
            Some(mut input) => {
                input.day = day(total.first);
                seen.push(Seen {
                    label: contact.contact.clone(),
                    contact: input,
                    last_day: day(total.last),
                    flows: total.flows,
                });
            }
            None => not_asked += 1,
        }
        Vec::new()
    });
    Ok((seen, not_asked))
}

/// A contact of a case with what it comes to under rule sets.
#[derive(Debug)]
pub struct Explained {
    /// The contact.
    pub contact: body::Contact,
    /// Its last counts.
    pub total: body::Total,
    /// Each set's id with its rules; none: the case does not say enough of the contact.
    pub sets: Option<Vec<(String, Vec<Explanation>)>>,
}

/// Explains what rule sets say of a contact; none when the case has no such contact.
pub fn explain_contact(stored: &Fold, label: &str, sets: &[RuleSet]) -> Option<Explained> {
    let (contact, total) = stored.contact_of(label)?;
    let input = recorded_input(contact, &total).map(|mut input| {
        if let Regraded::Other(place) = regrade(&input.place, max_place_age_days(sets)) {
            input.place = *place;
        }
        input
    });
    Some(Explained {
        sets: input.map(|input| {
            sets.iter()
                .map(|set| (set.id().to_owned(), explain(set, &input)))
                .collect()
        }),
        contact: contact.clone(),
        total,
    })
}
