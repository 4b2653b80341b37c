//! Files as others publish them: from bytes to what they say.
//!
//! In: the bytes, the file's name, and what the person who adds it says of it. Out: its [`Source`]
//! and its pieces; or where it is wrong and what was expected. What kind of file it is, is seen by
//! its content.

mod clouds;
mod domains;
mod mmdb;
mod ranges;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    build::Piece,
    dataset::{CountryCode, Source},
    format,
};
use crate::time::Timestamp;

/// Most entries of one file; a file with more is refused.
pub const ENTRIES_MAX: usize = 4_000_000;

/// Why a file could not be used.
#[derive(Debug, Error)]
pub enum PublishedError {
    /// No kind that is known.
    #[error(
        "this is no file that can be added: expected an MMDB, AWS's, Google Cloud's, Azure's or Oracle's list, \
         a geofeed (RFC 8805), IPFire's text, a list of systems, of prefixes, or of names"
    )]
    Unknown,
    /// A line or an entry is not as it should be.
    #[error("{at}: expected {expected}, found {found:?}")]
    Entry {
        /// Line or entry (`line 7`).
        at: String,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// JSON that is damaged, or another thing than it seems.
    #[error("{0}; fetch the file again")]
    Json(#[from] serde_json::Error),
    /// An MMDB that is damaged.
    #[error("the MMDB cannot be read: {0}; fetch the file again")]
    Mmdb(#[from] maxminddb::MaxMindDbError),
    /// It holds nothing that can be used.
    #[error("the file holds no entry that can be used")]
    Empty,
    /// More than a file may hold.
    #[error("more than {0} entries: this is another kind of file than it seems")]
    TooMany(usize),
    /// It does not say when it was published, and nobody else did.
    #[error("the file does not say when it was published: give --published YYYY-MM-DD")]
    NoDate,
}

/// What the person who adds a file says of it.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Short name, as it stands in a place's basis.
    pub name: Option<String>,
    /// The publisher's version.
    pub version: Option<String>,
    /// When it was published.
    pub published: Option<Timestamp>,
    /// Licence.
    pub licence: Option<String>,
    /// Where it is published.
    pub url: Option<String>,
    /// Provider key and name of a geofeed.
    pub provider: Option<String>,
    /// Category of the names in a list that tells none.
    pub category: Option<String>,
    /// The licence forbids keeping old versions.
    pub passing: bool,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Found {
    /// What kind it is, in words.
    pub kind: &'static str,
    /// Its line in the manifest.
    pub source: Source,
    /// What it says.
    pub pieces: Vec<Piece>,
    /// What a person should look at: regions in no table of ours, and the like.
    pub notes: Vec<String>,
}

/// What a reader of one kind found, before the person's word is added.
#[derive(Debug, Default)]
struct Draft {
    kind: &'static str,
    name: String,
    version: Option<String>,
    published: Option<Timestamp>,
    licence: Option<&'static str>,
    attribution: &'static str,
    url: &'static str,
    passing: bool,
    pieces: Vec<Piece>,
    notes: Vec<String>,
}

/// Reads a file of at most `entries_max` entries.
pub fn read(
    bytes: &[u8],
    file: &str,
    said: &Said,
    entries_max: usize,
) -> Result<Found, PublishedError> {
    let draft = if mmdb::is_one(bytes) {
        mmdb::read(bytes, entries_max)?
    } else {
        let text = std::str::from_utf8(bytes).map_err(|_| PublishedError::Unknown)?;
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with('{') {
            json(text, file, said, entries_max)?
        } else {
            ranges::read(text, file, said, entries_max)?
        }
    };
    let published = said
        .published
        .or(draft.published)
        .ok_or(PublishedError::NoDate)?;
    if draft.pieces.is_empty() {
        return Err(PublishedError::Empty);
    }
    let source = Source {
        name: said.name.clone().unwrap_or(draft.name),
        version: said
            .version
            .clone()
            .or(draft.version)
            .unwrap_or_else(|| day(published)),
        published,
        file: file.to_owned(),
        sha256: format::hex(Sha256::digest(bytes).into()),
        url: said.url.clone().unwrap_or_else(|| draft.url.to_owned()),
        licence: said
            .licence
            .clone()
            .unwrap_or_else(|| draft.licence.unwrap_or("not stated").to_owned()),
        attribution: draft.attribution.to_owned(),
        passing: said.passing || draft.passing,
    };
    Ok(Found {
        kind: draft.kind,
        source,
        pieces: draft.pieces,
        notes: draft.notes,
    })
}

fn json(text: &str, file: &str, said: &Said, entries_max: usize) -> Result<Draft, PublishedError> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    let has = |key: &str| value.get(key).is_some();
    if has("trackerDomains") {
        domains::companies(&value, entries_max)
    } else if has("prefixes") || has("values") || has("regions") {
        clouds::read(value, file, entries_max)
    } else {
        let _ = said;
        Err(PublishedError::Unknown)
    }
}

/// `YYYY-MM-DD` of a moment.
fn day(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// Midnight of a `YYYY-MM-DD`, `YYYYMMDD`, or a whole time.
pub fn moment(text: &str) -> Option<Timestamp> {
    let whole = match text.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] => format!("{text}T00:00:00Z"),
        digits if digits.len() == 8 && digits.iter().all(u8::is_ascii_digit) => {
            let (year, rest) = text.split_at(4);
            let (month, day) = rest.split_at(2);
            format!("{year}-{month}-{day}T00:00:00Z")
        }
        _ => text.to_owned(),
    };
    serde_json::from_value(whole.into()).ok()
}

/// A country code, two letters of either case.
fn code(text: &str) -> Option<CountryCode> {
    match *text.as_bytes() {
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            Some([a.to_ascii_uppercase(), b.to_ascii_uppercase()])
        }
        _ => None,
    }
}

fn entry(at: impl std::fmt::Display, expected: &'static str, found: &str) -> PublishedError {
    PublishedError::Entry {
        at: at.to_string(),
        expected,
        found: found.chars().take(FOUND_CHARS_MAX).collect(),
    }
}

/// Letters of a wrong entry that a message shows.
const FOUND_CHARS_MAX: usize = 80;
