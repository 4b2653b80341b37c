//! What the keys of a rule file hold, for editors.
//!
//! In: nothing. Out: each table with its keys, and for each key what may stand there
//! ([`shape()`]). The command `sakshi rules schema` writes it as JSON Schema.

use crate::contact::{AppClass, AppProtocol, Grade, NameSource, PlaceStatus, Proto};
use crate::judge::Outcome;
use crate::parse::{EXCEPTION_KEYS, LIST_ENTRIES_MAX, REFERENCE_KEYS, RULE_KEYS, SCHEMA, SET_KEYS};
use crate::rule_set::{OwnerState, RuleKind, Severity, Undeterminable};
use crate::vocabulary::{WHEN_KEYS, Word};

/// Longest list of a rule file.
pub const ENTRIES_MAX: usize = LIST_ENTRIES_MAX;

/// What may stand behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A day, with or without quotes.
    Day,
    /// `true` or `false`.
    Flag,
    /// A whole number up to the bound.
    Number(u64),
    /// This number.
    Exactly(u64),
    /// One of these words.
    Word(Vec<&'static str>),
    /// A list of these words and of groups.
    Words(Vec<&'static str>),
    /// A list of texts and of groups.
    Texts,
    /// A list of country codes and of groups.
    Countries,
    /// A list of SHA-256 values, which may be empty, and of groups.
    Digests,
    /// A list of spans of the day and of groups.
    Spans,
    /// A list of whole numbers up to the bound.
    Numbers(u64),
    /// Lists of texts by their names.
    Groups,
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    Tables(&'static Table),
}

/// A table of a rule file.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// How messages call it.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
    /// Keys that must be there; none: at least one of all.
    pub required: &'static [&'static str],
}

/// The whole file.
pub const SET: Table = Table {
    name: "set",
    keys: SET_KEYS,
    required: &["schema", "id", "version", "title", "home", "rule"],
};
const RULE: Table = Table {
    name: "rule",
    keys: RULE_KEYS,
    required: &["id", "title", "kind", "severity", "when"],
};
const REFERENCE: Table = Table {
    name: "reference",
    keys: REFERENCE_KEYS,
    required: &["text", "from"],
};
const EXCEPTION: Table = Table {
    name: "exception",
    keys: EXCEPTION_KEYS,
    required: EXCEPTION_KEYS,
};
const WHEN: Table = Table {
    name: "when",
    keys: WHEN_KEYS,
    required: &[],
};

/// What stands behind a key of a table.
pub fn shape(table: &Table, key: &str) -> Shape {
    match (table.name, key) {
        ("set", "schema") => Shape::Exactly(SCHEMA),
        ("set", "home") => Shape::Countries,
        ("set", "max_place_age_days") => Shape::Number(u64::from(u32::MAX)),
        ("set", "groups") => Shape::Groups,
        ("set", "rule") => Shape::Tables(&RULE),
        ("set", "exception") => Shape::Tables(&EXCEPTION),
        ("reference", "from" | "to") | ("exception", "expires") => Shape::Day,
        ("exception", "rules") => Shape::Texts,
        ("rule", "kind") => word::<RuleKind>(),
        ("rule", "severity") => word::<Severity>(),
        ("rule", "outcome") => {
            Shape::Word(vec![Outcome::Finding.word(), Outcome::NeedsReview.word()])
        }
        ("rule", "min_grade") => Shape::Word(
            [Grade::Low, Grade::Medium, Grade::High]
                .map(Word::word)
                .to_vec(),
        ),
        ("rule", "undeterminable") => word::<Undeterminable>(),
        ("rule", "reference") => Shape::Tables(&REFERENCE),
        ("rule" | "exception", "when") => Shape::Table(&WHEN),
        ("when", key) => condition(key),
        _ => Shape::Text,
    }
}

fn condition(key: &str) -> Shape {
    match key {
        "owner" => words::<OwnerState>(),
        "app_class" => words::<AppClass>(),
        "proto" => words::<Proto>(),
        "app_protocol" => words::<AppProtocol>(),
        "name_source" => words::<NameSource>(),
        "grade" => words::<Grade>(),
        "place_status" => words::<PlaceStatus>(),
        "user" | "asn" => Shape::Numbers(u64::from(u32::MAX)),
        "port" => Shape::Numbers(u64::from(u16::MAX)),
        "bytes_out_over" => Shape::Number(u64::MAX),
        "payload" | "cleartext" | "screen_on" | "idle" | "place_known" | "name_against_place" => {
            Shape::Flag
        }
        "country" | "country_not" => Shape::Countries,
        "signer" => Shape::Digests,
        "time_of_day" => Shape::Spans,
        "outside_declaration" => Shape::Text,
        _ => Shape::Texts,
    }
}

fn word<W: Word>() -> Shape {
    Shape::Word(W::ALL.iter().map(|(word, _)| *word).collect())
}

fn words<W: Word>() -> Shape {
    Shape::Words(W::ALL.iter().map(|(word, _)| *word).collect())
}
