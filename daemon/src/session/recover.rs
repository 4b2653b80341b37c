//! After an unclean stop: what the session's journal holds and its records do not yet say.
//!
//! In: a case that nobody writes. Out: the records that are missing. The journal is committed with
//! or before what follows from it, so feeding it again must give every stored record first; when it
//! does not, nothing is added and the difference is said.

use std::path::Path;

use super::{
    SessionError,
    replay::{parse, recorded_core, replay_block},
};
use crate::{
    evidence::{
        CaseBody, Draft, FileEntry, FilesBody, Head, Kind, Reader, Store,
        body::{self, Record, UncleanStop},
        journal::JournalBody,
        segments::{self, Past},
    },
    input::GapCause,
    pipeline::Core,
    time::Timestamp,
};

/// What is to be appended before the next session.
#[derive(Debug)]
pub struct Recovery {
    /// Says what happened.
    pub stop: UncleanStop,
    /// The records that were missing.
    pub drafts: Vec<Draft>,
}

/// The last session of a case, as its records say.
#[derive(Debug, Default)]
struct Last {
    session: Option<body::Session>,
    began: i64,
    /// What the session begins with: what becomes of it later is in its journal.
    files: Vec<FileEntry>,
    journaled: Option<Timestamp>,
    end: Option<(GapCause, Option<Timestamp>)>,
}

/// How the last session ended.
#[derive(Debug)]
pub enum Before {
    /// There was none, or it does not say when it ended.
    Nothing,
    /// Its end is on record: when, and why nothing was watched since.
    Ended(GapCause, Option<Timestamp>),
    /// Without a stop record.
    Unclean(Box<Recovery>),
}

/// Looks at the last session of the case in `dir`; tells up to which record it looked, so that the
/// caller, once the case is locked, can see that nothing was added meanwhile.
pub fn before(dir: &Path, now: Timestamp) -> Result<(Before, Head), SessionError> {
    let reader = Reader::open(dir)?;
    Ok((ended(dir, &reader, now)?, reader.head()?))
}

/// Why nothing was watched after a session, and since when.
pub type Since = (GapCause, Option<Timestamp>);

/// Records an unclean stop and what its session's records lack, if that is how it ended; tells until
/// when was watched.
pub fn make_good(
    store: &mut Store,
    before: Before,
    now: Timestamp,
) -> Result<Option<Since>, SessionError> {
    Ok(match before {
        Before::Nothing => None,
        Before::Ended(cause, at) => Some((cause, at)),
        Before::Unclean(recovery) => {
            let mut drafts = vec![Draft::new(Kind::UNCLEAN_STOP, &recovery.stop)?];
            drafts.extend(recovery.drafts);
            let past = Past::read(|kind| store.bodies(kind))?;
            let session = recovery.stop.session;
            drafts.extend(segments::adopt(store.case().dir(), &past, session, now)?);
            store.append(&drafts)?;
            Some((GapCause::UncleanStop, recovery.stop.last_journaled))
        }
    })
}

fn ended(dir: &Path, reader: &Reader, now: Timestamp) -> Result<Before, SessionError> {
    let last = last_session(reader)?;
    let Some(session) = last.session else {
        return Ok(Before::Nothing);
    };
    if let Some((cause, at)) = last.end {
        return Ok(Before::Ended(cause, at));
    }
    let number = session.session;
    let core = recorded_core(dir, &last.files, session)?;
    let (drafts, detail) = match missing(reader, core, last.began)? {
        Ok(drafts) => (
            drafts,
            "the records that were missing were made from its journal".to_owned(),
        ),
        Err(seq) => (
            Vec::new(),
            format!(
                "feeding its journal again gives something else than record {seq}: nothing was added; was it written by another version?"
            ),
        ),
    };
    let stop = UncleanStop {
        session: number,
        noticed: Some(now),
        last_journaled: last.journaled,
        recovered: u64::try_from(drafts.len()).unwrap_or(u64::MAX),
        detail: format!(
            "the session ended without a stop record (killed, power cut, or storage full); {detail}"
        ),
    };
    Ok(Before::Unclean(Box::new(Recovery { stop, drafts })))
}

fn last_session(reader: &Reader) -> Result<Last, SessionError> {
    let kinds = [
        Kind::CASE,
        Kind::FILES,
        Kind::SESSION,
        Kind::STOP,
        Kind::UNCLEAN_STOP,
    ];
    let mut last = Last::default();
    let mut next_files = Vec::new();
    for record in reader.records(&kinds) {
        let record = record?;
        match record.kind.as_str() {
            "case" => next_files = parse::<CaseBody>(&record)?.files,
            "files" => next_files = parse::<FilesBody>(&record)?.files,
            "session" => {
                last.session = Some(parse(&record)?);
                last.files.clone_from(&next_files);
                (last.began, last.end) = (record.seq, None);
            }
            "stop" => {
                last.end = Some((GapCause::NotRunning, parse::<body::Stop>(&record)?.at));
            }
            _ => {
                let at = parse::<UncleanStop>(&record)?.last_journaled;
                last.end = Some((GapCause::UncleanStop, at));
            }
        }
    }
    if last.end.is_none() {
        for record in reader.records_after(last.began, &[Kind::JOURNAL]) {
            let body = parse::<JournalBody>(&record?)?;
            last.journaled = last.journaled.max(Some(body.to));
        }
    }
    Ok(last)
}

/// The core's records that the store does not have; or the first record that differs.
fn missing(
    reader: &Reader,
    mut core: Core,
    began: i64,
) -> Result<Result<Vec<Draft>, i64>, SessionError> {
    let mut stored = reader.records_after(began, &Record::KINDS);
    let mut records: Vec<Record> = Vec::new();
    let mut drafts = Vec::new();
    let mut compare = |records: &mut Vec<Record>| -> Result<Option<i64>, SessionError> {
        for record in records.drain(..) {
            let draft = record.draft()?;
            match stored.next().transpose()? {
                None => drafts.push(draft),
                Some(known) if known.kind == *draft.kind() && known.body == draft.body() => {}
                Some(known) => return Ok(Some(known.seq)),
            }
        }
        Ok(None)
    };
    for record in reader.records_after(began, &[Kind::JOURNAL]) {
        replay_block(&record?, |input| {
            core.feed(&input, &mut records);
            Ok(())
        })?;
        if let Some(seq) = compare(&mut records)? {
            return Ok(Err(seq));
        }
    }
    core.finish(&mut records);
    Ok(compare(&mut records)?.map_or(Ok(drafts), Err))
}
