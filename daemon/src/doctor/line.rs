//! Building lines.
//!
//! In: a key, words and facts. Out: a [`Line`].

use serde_json::Value;

use crate::evidence::examination::{Facts, Line, Verdict};

/// Longest text of a fact or sentence, in bytes; what is longer is cut, and ends with `…`. Texts of
/// the machine (a property, what a command said) have any length.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Entries of a list among the facts; more are left out. Each list stands beside its count where it
/// can be longer.
pub const LIST_MAX: usize = 64;

fn line(key: &str, verdict: Verdict, says: impl Into<String>) -> Line {
    Line {
        key: key.to_owned(),
        verdict,
        says: cut(says.into()),
        lost: None,
        remedy: None,
        facts: Facts::new(),
    }
}

/// As it should be.
pub fn ok(key: &str, says: impl Into<String>) -> Line {
    line(key, Verdict::Ok, says)
}

/// Something is lost.
pub fn degraded(key: &str, says: impl Into<String>, lost: impl Into<String>) -> Line {
    Line {
        lost: Some(cut(lost.into())),
        ..line(key, Verdict::Degraded, says)
    }
}

/// Something must be done.
pub fn failed(key: &str, says: impl Into<String>, remedy: impl Into<String>) -> Line {
    line(key, Verdict::Failed, says).remedy(remedy)
}

/// It cannot be told.
pub fn unknown(key: &str, says: impl Into<String>) -> Line {
    line(key, Verdict::Unknown, says)
}

impl Line {
    /// With what to do.
    #[must_use]
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(cut(remedy.into()));
        self
    }

    /// With a fact.
    #[must_use]
    pub(super) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), bounded(value.into()));
        self
    }
}

fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => cut(text).into(),
        Value::Array(list) => list.into_iter().take(LIST_MAX).map(bounded).collect(),
        other => other,
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}
