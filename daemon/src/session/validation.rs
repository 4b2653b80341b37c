//! A validation's report, recorded in the case that it belongs to.
//!
//! In: the file of a report. Out: a record `validation`, in a quiet case or at the start of a watch.

use std::path::Path;

use super::SessionError;
use crate::{
    evidence::{Draft, Kind, Reader, Signing, Store, body},
    time::Timestamp,
    validate::record::Validation,
};

/// Records the report in a case that nobody writes now, for its last session.
pub fn record(case: &Path, report: &Path, now: Timestamp) -> Result<Validation, SessionError> {
    let session = Reader::open(case)?.last(&Kind::SESSION)?;
    let session: Option<body::Session> =
        session.and_then(|record| serde_json::from_str(&record.body).ok());
    let kernel = session.and_then(|session| session.kernel);
    let validation = Validation::read(report, kernel, now)?;
    let draft = Draft::new(Kind::VALIDATION, &validation)?;
    Store::open(case, &Signing::system())?.append(&[draft])?;
    Ok(validation)
}

/// The drafts of a session's start: none where no report was given.
pub(super) fn drafts(
    report: Option<&Path>,
    kernel: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Draft>, SessionError> {
    report
        .map(|path| {
            let validation = Validation::read(path, kernel.map(str::to_owned), now)?;
            Ok(Draft::new(Kind::VALIDATION, &validation)?)
        })
        .into_iter()
        .collect()
}
