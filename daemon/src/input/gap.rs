//! What was not seen, and why.
//!
//! In: what a producer noticed. Out: a [`Gap`]. Its cause is one of a list that later versions add
//! to: a word that this version does not know is kept as it is, so that such a case stays readable.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// Longest word of a cause that is kept, in bytes; a longer one is cut.
const WORD_MAX: usize = 48;

/// Why something was not seen. An open enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GapCause {
    /// The kernel could not deliver packets to us (socket buffer full).
    KernelLoss,
    /// Our own bounded queue was full.
    QueueFull,
    /// Our rules were missing and had to be repaired.
    RulesMissing,
    /// Something else decided about packets before our rules saw them: they may or may not have
    /// been sent.
    DecidedEarlier,
    /// The wall clock stepped.
    ClockStep,
    /// The daemon did not run between two sessions of the case.
    NotRunning,
    /// The previous session ended without a stop record.
    UncleanStop,
    /// A capture could not be read to its end.
    CaptureDamaged,
    /// A table of named bound was full.
    TableFull,
    /// A way of watching was not available, and a weaker one was used.
    Degraded,
    /// No room was left for the case: the watch ended.
    DiskFull,
    /// Packets were seen and counted, and not kept in the case's segments.
    NotKept,
    /// Our own probe was not found whole: it is not shown that the watch worked.
    ProbeFailed,
    /// A cause that a later version knows.
    Other(Word),
}

impl GapCause {
    /// Every cause of this version.
    const KNOWN: [Self; 13] = [
        Self::KernelLoss,
        Self::QueueFull,
        Self::RulesMissing,
        Self::DecidedEarlier,
        Self::ClockStep,
        Self::NotRunning,
        Self::UncleanStop,
        Self::CaptureDamaged,
        Self::TableFull,
        Self::Degraded,
        Self::DiskFull,
        Self::NotKept,
        Self::ProbeFailed,
    ];

    /// Its word, as stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::KernelLoss => "kernel_loss",
            Self::QueueFull => "queue_full",
            Self::RulesMissing => "rules_missing",
            Self::DecidedEarlier => "decided_earlier",
            Self::ClockStep => "clock_step",
            Self::NotRunning => "not_running",
            Self::UncleanStop => "unclean_stop",
            Self::CaptureDamaged => "capture_damaged",
            Self::TableFull => "table_full",
            Self::Degraded => "degraded",
            Self::DiskFull => "disk_full",
            Self::NotKept => "not_kept",
            Self::ProbeFailed => "probe_failed",
            Self::Other(word) => word.as_str(),
        }
    }
}

impl Serialize for GapCause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for GapCause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        let known = Self::KNOWN.iter().find(|cause| cause.as_str() == word);
        Ok(known.map_or_else(|| Self::Other(Word::of(&word)), |known| *known))
    }
}

/// A short text that is copied like a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Word {
    bytes: [u8; WORD_MAX],
    len: usize,
}

impl Word {
    fn of(text: &str) -> Self {
        let len = text.floor_char_boundary(WORD_MAX);
        let mut bytes = [0; WORD_MAX];
        for (to, from) in bytes.iter_mut().zip(text.bytes().take(len)) {
            *to = from;
        }
        Self { bytes, len }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        // It was cut between two letters of a text.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Something that was not seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it was noticed.
    pub at: Timestamp,
    /// Why.
    pub cause: GapCause,
    /// Start of the span in which it happened, where known.
    pub from: Option<Timestamp>,
    /// End of the span, where known.
    pub to: Option<Timestamp>,
    /// Packets not seen; none when it cannot be known (never 0 for unknown).
    pub packets: Option<u64>,
    /// Which part of the watch: a group, a chain, a file.
    pub place: String,
    /// In plain words, with the remedy where there is one.
    pub detail: String,
}

impl Gap {
    /// What was not seen up to `now`: since when, and how many packets, is not known.
    pub fn uncounted(cause: GapCause, now: Timestamp, place: &str, detail: String) -> Self {
        Self {
            at: now,
            cause,
            from: None,
            to: Some(now),
            packets: None,
            place: place.to_owned(),
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_of_a_later_version_keeps_its_name() {
        let long = "ü".repeat(WORD_MAX);
        for (word, kept) in [
            ("eaten_by_a_grue", "eaten_by_a_grue"),
            (&long, &long[..WORD_MAX]),
        ] {
            let text = format!("\"{word}\"");
            let cause: GapCause = serde_json::from_str(&text).unwrap();
            assert!(matches!(cause, GapCause::Other(_)), "{cause:?}");
            assert_eq!(cause.as_str(), kept);
            assert_eq!(
                serde_json::to_string(&cause).unwrap(),
                format!("\"{kept}\"")
            );
        }
        for cause in GapCause::KNOWN {
            let text = format!("\"{}\"", cause.as_str());
            assert_eq!(serde_json::from_str::<GapCause>(&text).unwrap(), cause);
        }
        assert!(serde_json::from_str::<GapCause>("3").is_err());
    }
}
