//! Sakshi's rule engine: rule sets and contacts go in, verdicts come out.
//!
//! Pure: no I/O, no clock, and no dependency on any other room. A rule set is a TOML file with a
//! closed vocabulary ([`rule_set`], [`parse`]); a contact is what the daemon concluded
//! ([`contact`]); [`judge()`] answers with a [`Verdict`] for each rule that has something to say.
//! The handbook for people who write rules is `docs/rules.md`.

pub mod cases;
pub mod contact;
pub mod day;
pub mod declare;
pub mod form;
mod glob;
mod hours;
pub mod judge;
pub mod parse;
pub mod problem;
pub mod register;
pub mod rule_set;
pub mod shape;
pub mod token;
pub mod vocabulary;

pub use judge::{Outcome, Verdict, judge};
pub use parse::declaration::is_declaration;
pub use problem::{Problem, TomlError};
pub use rule_set::RuleSet;

/// The rule sets that are built in, by name: those that apply when no other is given.
pub fn embedded() -> &'static [(&'static str, &'static str)] {
    &[("in-lab", include_str!("../sets/in-lab/set.toml"))]
}
