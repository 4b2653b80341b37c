//! Before data goes out unredacted, the case says so; where it cannot, a file beside the data does.
//!
//! In: who takes what. Out: a record, or [`Noted::CannotTake`] and what is to be written instead.

use std::path::Path;

use serde::Serialize;

use super::SessionError;
use crate::evidence::{
    Draft, Head, Kind, Reader, Signing, Store, StoreError, body::Export, canonical::to_canonical,
};

/// What is appended to the name of the data's file.
pub const BESIDE: &str = ".unredacted.json";
/// The kind of record after which a case takes no more.
const SEALED: &str = "sealed";

/// Why a case takes no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CannotTake {
    /// It is sealed.
    Sealed,
    /// It lies where nothing can be written.
    ReadOnly,
    /// It is a copy without the key that would vouch for the record.
    NoKey,
    /// An earlier version made it, whose cases are not continued.
    OlderFormat,
}

impl CannotTake {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "it is sealed",
            Self::ReadOnly => "it cannot be written to",
            Self::NoKey => "it has no key (a copy)",
            Self::OlderFormat => "an earlier version made it",
        }
    }
}

/// Where it stands that data was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// In the case, up to this record.
    Recorded(Head),
    /// Nowhere yet: the text is to be written beside the data.
    Beside(CannotTake, String),
}

/// What is written beside the data.
#[derive(Serialize)]
struct Statement<'a> {
    case: &'a str,
    head: Head,
    not_recorded: CannotTake,
    export: &'a Export,
}

/// Records the export, or gives what is to stand beside it.
pub fn note_export(dir: &Path, export: &Export) -> Result<Noted, SessionError> {
    let reader = Reader::open(dir)?;
    let (case, head) = (reader.case().meta().id.clone(), reader.head()?);
    let sealed = match Kind::new(SEALED) {
        Some(kind) => reader.last(&kind)?.is_some(),
        None => false,
    };
    // Its lock would keep the writer out.
    drop(reader);
    let why = if sealed {
        CannotTake::Sealed
    } else {
        match append(dir, export) {
            Ok(head) => return Ok(Noted::Recorded(head)),
            Err(SessionError::Store(StoreError::Sealed(_))) => CannotTake::Sealed,
            Err(SessionError::Store(StoreError::ReadOnly(_))) => CannotTake::ReadOnly,
            Err(SessionError::Store(StoreError::NoKey(_))) => CannotTake::NoKey,
            Err(SessionError::Store(StoreError::OlderFormat { .. })) => CannotTake::OlderFormat,
            Err(error) => return Err(error),
        }
    };
    let statement = Statement {
        case: &case,
        head,
        not_recorded: why,
        export,
    };
    Ok(Noted::Beside(why, to_canonical(&statement)?))
}

fn append(dir: &Path, export: &Export) -> Result<Head, SessionError> {
    let draft = Draft::new(Kind::EXPORT, export)?;
    Ok(Store::open(dir, &Signing::system())?.append(&[draft])?)
}
