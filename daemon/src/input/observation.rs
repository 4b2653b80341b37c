//! What something beside the packets tells of the handset: the lab's PC, or Android itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Most facts of one observation; one with more is refused, so nothing is cut off silently.
pub const FACTS_MAX: usize = 64;
/// Longest name of a source, topic or fact, in bytes: `a`–`z`, `0`–`9`, `_`.
pub const WORD_MAX: usize = 32;
/// Longest value of a fact, in bytes.
pub const VALUE_MAX: usize = 2_000;

/// Who tells of Android: the part that runs in its Java.
pub const SHIM: &str = "shim";
/// What a consent step is about.
pub const CONSENT: &str = "consent";
/// The fact that names an app.
pub const PACKAGE: &str = "package";
/// The fact that tells its version as Android counts them.
pub const VERSION_CODE: &str = "version_code";

/// The fact that is `true` where the lab's own work is among what is watched.
pub const CONFOUNDER: &str = "confounder";

/// Somebody beside the packets told something: an open form, so that what is told next year needs
/// no new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When we were told.
    pub at: Timestamp,
    /// Who told it (open): `pc` the lab's PC, `shim` the part that runs in Android's Java,
    /// `technician` the person at the handset.
    pub source: String,
    /// What it is about (open): `clock`, `transport`, `baseline`, `screen`, `foreground`, …
    pub topic: String,
    /// What was told, each by its name; what is not known is absent.
    pub facts: BTreeMap<String, String>,
}

/// An observation that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an observation has names of 1 to {WORD_MAX} of a-z, 0-9 and _, at most {FACTS_MAX} facts, and \
     values of at most {VALUE_MAX} bytes; this one has not: {0:?}"
)]
pub struct ObservationRefused(pub String);

/// Whether an observation keeps to the bounds above.
pub fn checked_observation(
    source: &str,
    topic: &str,
    facts: &BTreeMap<String, String>,
) -> Result<(), ObservationRefused> {
    let is_word = |text: &str| {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(plain)
    };
    let mut names = [source, topic]
        .into_iter()
        .chain(facts.keys().map(String::as_str));
    if let Some(bad) = names.find(|name| !is_word(name)) {
        return Err(ObservationRefused(bad.chars().take(WORD_MAX).collect()));
    }
    if let Some((name, _)) = facts.iter().find(|(_, value)| value.len() > VALUE_MAX) {
        return Err(ObservationRefused(name.clone()));
    }
    if facts.len() > FACTS_MAX {
        return Err(ObservationRefused(format!("{} facts", facts.len())));
    }
    Ok(())
}
