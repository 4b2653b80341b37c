//! Which rows of an export are wanted: by app, country, rule, phase and time.
//!
//! In: what was asked, and rows one by one. Out: whether a row is wanted, and which of the asked
//! values no row has. A filter leaves rows out and never changes one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::fold::{ContactRow, FindingRow};
use crate::{
    evidence::body::{Flow, Gap, Owner},
    time::Timestamp,
};

/// Values that are remembered for a hint, of each kind; further ones are not told.
const KNOWN_MAX: usize = 1_024;
/// Values that a hint lists; of the others, how many there are.
const TOLD_MAX: usize = 12;
/// How a country is asked for that is not known.
pub const UNKNOWN_COUNTRY: &str = "unknown";

/// What was asked. Several values of one kind: any of them; of several kinds: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The owner's packages, its name as a platform UID, its process, or its UID in decimal.
    pub app: Vec<String>,
    /// ISO 3166-1 alpha-2 codes, or [`UNKNOWN_COUNTRY`].
    pub country: Vec<String>,
    /// Rules that say something of the contact.
    pub rule: Vec<String>,
    /// Phases; empty: before the first.
    pub phase: Vec<String>,
    /// Rows that last until this moment, or longer.
    pub since: Option<Timestamp>,
    /// Rows that begin before this moment.
    pub until: Option<Timestamp>,
}

/// An option that says nothing of what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} have no {option}: leave --{option} out{instead}")]
pub struct NoSuchPart {
    what: &'static str,
    option: &'static str,
    instead: &'static str,
}

impl Filter {
    /// Whether everything is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The options that were given, with their values.
    pub fn given_values(&self) -> BTreeMap<String, Vec<String>> {
        let times = [("since", self.since), ("until", self.until)];
        let texts = [
            ("app", &self.app),
            ("country", &self.country),
            ("rule", &self.rule),
            ("phase", &self.phase),
        ];
        let times =
            times.map(|(option, at)| (option, at.iter().map(ToString::to_string).collect()));
        let texts = texts.map(|(option, values)| (option, values.clone()));
        texts
            .into_iter()
            .chain(times)
            .filter(|(_, values)| !values.is_empty())
            .map(|(option, values): (_, Vec<String>)| (option.to_owned(), values))
            .collect()
    }

    /// For gaps, which are of a time and of nothing else.
    pub fn only_time(&self) -> Result<(), NoSuchPart> {
        let [app, country, rule, phase, _, _] = self.given();
        none_of(
            &[app, country, rule, phase],
            "gaps",
            ", and narrow by --since and --until",
        )
    }

    /// For records as stored, whose chain has a meaning as a whole only.
    pub fn nothing(&self) -> Result<(), NoSuchPart> {
        none_of(
            &self.given(),
            "records as stored",
            ": they are exported whole, so that their chain can be followed",
        )
    }

    fn given(&self) -> [(&'static str, bool); 6] {
        [
            ("app", !self.app.is_empty()),
            ("country", !self.country.is_empty()),
            ("rule", !self.rule.is_empty()),
            ("phase", !self.phase.is_empty()),
            ("since", self.since.is_some()),
            ("until", self.until.is_some()),
        ]
    }

    /// Whether it asks for times and nothing else.
    pub fn is_of_time_only(&self) -> bool {
        self.only_time().is_ok()
    }

    /// Whether a span that is known in part reaches into the asked one.
    pub fn touches(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        let late = self.since.zip(to).is_some_and(|(since, to)| to < since);
        let early = self
            .until
            .zip(from)
            .is_some_and(|(until, from)| from >= until);
        !late && !early
    }
}

fn none_of(
    given: &[(&'static str, bool)],
    what: &'static str,
    instead: &'static str,
) -> Result<(), NoSuchPart> {
    let Some((option, _)) = given.iter().find(|(_, given)| *given) else {
        return Ok(());
    };
    Err(NoSuchPart {
        what,
        option,
        instead,
    })
}

/// Which rules say something of a contact, by its label.
pub type RulesOf = BTreeMap<String, BTreeSet<String>>;

/// Lets the wanted rows through and remembers what the others were.
#[derive(Debug)]
pub struct Sieve<'a> {
    filter: &'a Filter,
    rules: RulesOf,
    app: Known,
    country: Known,
    rule: Known,
    phase: Known,
}

/// What a row is of.
struct Parts<'a> {
    owner: &'a Owner,
    country: Option<&'a str>,
    phase: &'a str,
    span: (Timestamp, Timestamp),
}

impl<'a> Sieve<'a> {
    /// For a filter; `rules` is needed only where it asks for rules.
    pub fn new(filter: &'a Filter, rules: RulesOf) -> Self {
        Self {
            filter,
            rules,
            app: Known::default(),
            country: Known::default(),
            rule: Known::default(),
            phase: Known::default(),
        }
    }

    /// Whether a finding is wanted.
    pub fn finding(&mut self, row: &FindingRow) -> bool {
        let named = self.rule.has(&self.filter.rule, [row.rule.as_str()]);
        named
            & self.parts(&Parts {
                owner: &row.owner,
                country: row.place.country.as_deref(),
                phase: &row.phase,
                span: (row.first, row.last),
            })
    }

    /// Whether a contact is wanted.
    pub fn contact(&mut self, row: &ContactRow) -> bool {
        let named = self.named(&row.labels);
        named
            & self.parts(&Parts {
                owner: &row.owner,
                country: row.place.country.as_deref(),
                phase: &row.phase,
                span: (row.first, row.last),
            })
    }

    /// Whether a flow is wanted.
    pub fn flow(&mut self, row: &Flow) -> bool {
        let named = self.named(row.contact.as_slice());
        named
            & self.parts(&Parts {
                owner: &row.owner,
                country: row.place.country.as_deref(),
                phase: &row.phase,
                span: (row.start, row.end),
            })
    }

    /// Whether a gap is wanted: one whose beginning or end is not known may reach anywhere.
    pub fn gap(&self, row: &Gap) -> bool {
        self.filter.touches(row.from, row.to)
    }

    /// Whether a rule that is asked for says something of one of these contacts.
    fn named(&mut self, labels: &[String]) -> bool {
        let found = labels.iter().filter_map(|label| self.rules.get(label));
        self.rule
            .has(&self.filter.rule, found.flatten().map(String::as_str))
    }

    /// Every part is looked at, so that each remembers what there is.
    fn parts(&mut self, of: &Parts<'_>) -> bool {
        let filter = self.filter;
        let uid = of.owner.uid.map(|uid| uid.to_string());
        let names = [&of.owner.name, &of.owner.process, &uid];
        let names = names.into_iter().flatten().chain(&of.owner.apps);
        self.app.has(&filter.app, names.map(String::as_str))
            & self
                .country
                .has(&filter.country, [of.country.unwrap_or(UNKNOWN_COUNTRY)])
            & self.phase.has(&filter.phase, [of.phase])
            & filter.touches(Some(of.span.0), Some(of.span.1))
    }

    /// The asked values that no row had, a sentence each, with those that there are.
    pub fn unknown(&self, rows: &str) -> Vec<String> {
        let filter = self.filter;
        [
            ("app", &filter.app, &self.app),
            ("country", &filter.country, &self.country),
            ("rule", &filter.rule, &self.rule),
            ("phase", &filter.phase, &self.phase),
        ]
        .into_iter()
        .flat_map(|(option, asked, known)| {
            asked
                .iter()
                .filter(|value| !known.values.contains(*value))
                .map(move |value| format!("no {rows} has {option} {value:?}; {}", known.told()))
        })
        .collect()
    }
}

/// The values that rows have, for hints.
#[derive(Debug, Default)]
struct Known {
    values: BTreeSet<String>,
    more: bool,
}

impl Known {
    /// Whether one of `values` is asked for; remembers them where anything is.
    fn has<'v>(&mut self, asked: &[String], values: impl IntoIterator<Item = &'v str>) -> bool {
        if asked.is_empty() {
            return true;
        }
        let mut found = false;
        for value in values {
            let wanted = asked.iter().any(|asked| asked == value);
            found |= wanted;
            // What was asked for is always remembered: it must not be told to be missing.
            if self.values.contains(value) {
                continue;
            }
            if wanted || self.values.len() < KNOWN_MAX {
                self.values.insert(value.to_owned());
            } else {
                self.more = true;
            }
        }
        found
    }

    fn told(&self) -> String {
        if self.values.is_empty() {
            return "there is none at all".to_owned();
        }
        let told: Vec<String> = self
            .values
            .iter()
            .take(TOLD_MAX)
            .map(|value| format!("{value:?}"))
            .collect();
        let mut text = format!("there are {}", told.join(", "));
        let others = self.values.len().saturating_sub(TOLD_MAX);
        if others > 0 || self.more {
            let sign = if self.more { " or more" } else { "" };
            // Writing to a text cannot fail.
            let _ = write!(text, " and {others}{sign} others");
        }
        text
    }
}
