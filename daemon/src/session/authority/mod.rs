//! By whose leave a handset is examined, and in whose hands it was: a case made before anything is
//! watched, and records that a person adds to a quiet case.
//!
//! In: answers from the terminal or a file. Out: a case, or one record more. A case that a daemon
//! writes is refused by its lock.

mod file;
mod form;

use std::path::Path;

pub use file::{FILE_BYTES_MAX, read};
pub use form::{
    ANSWER_MAX, Answer, Answers, Form, LIST_MAX, Need, QUESTIONS, Question, Wrong, plain_text,
    template,
};

use super::{SessionError, inspect::tool};
use crate::{
    evidence::{
        Case, CaseFiles, CaseMeta, Draft, Head, Kind, Signing, Store, StoreError,
        authority::{Authority, Custody},
    },
    platform::random,
    time::Timestamp,
};

/// `mode` of a case that was made before anything was watched.
pub const PREPARED: &str = "prepared";

/// Whether a new case can be made in `dir`, before questions are asked for it.
pub fn is_free(dir: &Path) -> Result<(), SessionError> {
    match Case::open(dir) {
        Ok(_) => Err(StoreError::Exists(dir.to_owned()).into()),
        Err(StoreError::Missing(_) | StoreError::NotACase(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a case that says by whose leave; gives its identifier and the end of its chain.
pub fn new_case(dir: &Path, authority: &Authority) -> Result<(String, Head), SessionError> {
    let id = random::bytes().map_err(|source| SessionError::Machine {
        what: "the system's random source failed",
        source,
    })?;
    let draft = Draft::new(Kind::AUTHORITY, authority)?;
    let meta = CaseMeta::new(id, Some(authority.at), tool(), PREPARED);
    let mut store = Case::create(dir, meta, &CaseFiles::default(), &Signing::system())?;
    let head = store.append(&[draft])?;
    Ok((store.case().meta().id.clone(), head))
}

/// Records an authority in a case that is there; it takes the place of an earlier one.
pub fn record(dir: &Path, authority: &Authority) -> Result<Head, SessionError> {
    let draft = Draft::new(Kind::AUTHORITY, authority)?;
    Ok(Store::open(dir, &Signing::system())?.append(&[draft])?)
}

/// Records that a thing changed hands, at `now`.
pub fn hand_over(dir: &Path, custody: &Custody, now: Timestamp) -> Result<Head, SessionError> {
    if custody.when > now {
        return Err(SessionError::NotYet {
            when: custody.when,
            now,
        });
    }
    let draft = Draft::new(Kind::CUSTODY, custody)?;
    Ok(Store::open(dir, &Signing::system())?.append(&[draft])?)
}
