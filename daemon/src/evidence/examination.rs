//! Record `doctor`: what an examination of the machine found.
//!
//! In: lines of the doctor. Out: a record's body, and what `sakshi doctor --format json` prints:
//! the same object. Documented in `docs/export-format.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Timestamp;

/// How one thing stands. An open enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something is lost by it; the watch goes on without.
    Degraded,
    /// Nobody should watch before something is done about it.
    Failed,
    /// It cannot be told.
    Unknown,
}

impl Verdict {
    /// Every verdict, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Degraded, Self::Failed, Self::Unknown];

    /// Its word, as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Facts behind a line: small values by name, none of them a fraction.
pub type Facts = BTreeMap<String, Value>;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is about; stable.
    pub key: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, in plain words.
    pub says: String,
    /// What is lost; null: nothing.
    pub lost: Option<String>,
    /// What to do; null: nothing.
    pub remedy: Option<String>,
    /// What it rests on.
    pub facts: Facts,
}

/// How many lines have each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// [`Verdict::Ok`].
    pub ok: u64,
    /// [`Verdict::Degraded`].
    pub degraded: u64,
    /// [`Verdict::Failed`].
    pub failed: u64,
    /// [`Verdict::Unknown`].
    pub unknown: u64,
}

impl Counts {
    /// How many have this one.
    pub const fn of(&self, verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Ok => self.ok,
            Verdict::Degraded => self.degraded,
            Verdict::Failed => self.failed,
            Verdict::Unknown => self.unknown,
        }
    }
}

/// An examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// When it ended.
    pub at: Timestamp,
    /// Version of the program.
    pub tool_version: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// What was looked at, always in the same order.
    pub lines: Vec<Line>,
    /// The lines, counted.
    pub counts: Counts,
}

impl Examination {
    /// An examination of these lines.
    pub fn new(at: Timestamp, kernel: String, lines: Vec<Line>) -> Self {
        let count = |verdict| {
            lines
                .iter()
                .map(|line| u64::from(line.verdict == verdict))
                .sum()
        };
        let counts = Counts {
            ok: count(Verdict::Ok),
            degraded: count(Verdict::Degraded),
            failed: count(Verdict::Failed),
            unknown: count(Verdict::Unknown),
        };
        Self {
            at,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel,
            lines,
            counts,
        }
    }
}
