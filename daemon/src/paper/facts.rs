//! What the pages are made of, read out of a case in two walks.
//!
//! In: a case. Out: [`Facts`]. What is not known is none, never 0.

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    source::{Source, SourceError},
    troubles::{Trouble, Troubles},
};
use crate::{
    evidence::{
        CaseMeta, Hash, Head, Kind, Record, StoreError,
        authority::{self, Recorded},
        body::{Flow, Gap, Session, Stop, UncleanStop},
        canonical::CanonicalError,
        device::DeviceFacts,
        journal::JournalBody,
    },
    report::{
        coverage::{Asked, Coverage, CoverageError, coverage},
        export::{ExportError, fold},
        fold::{ContactRow, FindingRow},
    },
    time::Timestamp,
};

/// Why a page cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PaperError {
    /// The case or bundle cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its records cannot be read.
    #[error(transparent)]
    Records(#[from] ExportError),
}

impl From<StoreError> for PaperError {
    fn from(error: StoreError) -> Self {
        Self::Source(error.into())
    }
}

impl From<CanonicalError> for PaperError {
    fn from(error: CanonicalError) -> Self {
        Self::Records(error.into())
    }
}

/// A phase, from its beginning to the next one's, or to the end of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its beginning.
    pub from: Timestamp,
}

/// A phase record; only what is needed.
#[derive(Debug, Deserialize)]
struct PhaseBody {
    at: Timestamp,
    name: String,
}

/// Everything that the pages say.
#[derive(Debug)]
pub struct Facts {
    /// The case's metadata.
    pub meta: CaseMeta,
    /// By whose leave.
    pub recorded: Recorded,
    /// The handset by its own account, at the last session that told.
    pub device: Option<DeviceFacts>,
    /// Sessions.
    pub sessions: Vec<Session>,
    /// Phases.
    pub phases: Vec<Phase>,
    /// First and last moment of which the case says anything; none: nothing was seen.
    pub period: Option<(Timestamp, Timestamp)>,
    /// What was watched; none: nothing was.
    pub coverage: Option<Coverage>,
    /// Whether packets were watched as they were sent (not only read from captures).
    pub watched: bool,
    /// Times at which something did not work.
    pub troubles: Vec<Trouble>,
    /// What rules said.
    pub findings: Vec<FindingRow>,
    /// Who reached what.
    pub contacts: Vec<ContactRow>,
    /// The last record.
    pub head: Head,
    /// The last checkpoint (a signed record that vouches for all before it); none: not signed.
    pub checkpoint: Option<Head>,
    /// The public key that the first checkpoint is signed with, in hex; none: not signed.
    pub key: Option<String>,
    /// Whether the case takes no more records.
    pub sealed: bool,
}

/// A `key` record; only what is needed.
#[derive(Debug, Deserialize)]
struct KeyBody {
    public: Hash,
}

impl Facts {
    /// Reads them.
    pub fn read(source: &Source) -> Result<Self, PaperError> {
        let reader = source.reader();
        let folded = fold(reader)?;
        let mut walk = Walk::default();
        for record in reader.records(&[]) {
            walk.take(&record?)?;
        }
        let watched = walk.sessions.iter().any(|session| session.mode == "run");
        // An inspection has no times of its own: what its packets cover is asked for.
        let asked = match walk.seen {
            Some((from, to)) if !watched => Asked {
                from: Some(from),
                to: Some(to),
            },
            _ => Asked::default(),
        };
        let coverage = match coverage(reader, asked) {
            Ok(coverage) => Some(coverage),
            Err(CoverageError::NoWatch | CoverageError::Empty { .. }) => None,
            Err(CoverageError::Case(error)) => return Err(error.into()),
        };
        let sessions = coverage.iter().flat_map(|coverage| &coverage.sessions);
        let spans = sessions.clone().map(|session| session.from);
        let watched_span = spans
            .min()
            .zip(sessions.map(|session| session.to).max())
            .filter(|_| watched);
        Ok(Self {
            meta: reader.case().meta().clone(),
            recorded: authority::recorded(reader)?,
            device: walk.device,
            sessions: walk.sessions,
            phases: walk.phases,
            period: watched_span.or(walk.seen),
            coverage,
            watched,
            troubles: walk.troubles.finish(),
            findings: folded.finding_rows()?,
            contacts: folded.contact_rows()?,
            head: reader.head()?,
            checkpoint: walk.checkpoint,
            key: walk.key,
            sealed: walk.sealed,
        })
    }

    /// The authority, if there is one that can be read.
    pub fn authority(&self) -> Option<&authority::Authority> {
        match &self.recorded {
            Recorded::Authority { authority, .. } => Some(authority),
            Recorded::Nothing | Recorded::Unreadable { .. } => None,
        }
    }
}

/// What one walk over all records gathers.
#[derive(Debug, Default)]
struct Walk {
    device: Option<DeviceFacts>,
    sessions: Vec<Session>,
    phases: Vec<Phase>,
    seen: Option<(Timestamp, Timestamp)>,
    troubles: Troubles,
    checkpoint: Option<Head>,
    key: Option<String>,
    sealed: bool,
}

impl Walk {
    fn take(&mut self, record: &Record) -> Result<(), ExportError> {
        match record.kind.as_str() {
            "device" => self.device = Some(parse(record)?),
            "session" => {
                let session: Session = parse(record)?;
                self.troubles.session(&session);
                self.sessions.push(session);
            }
            "stop" => {
                parse::<Stop>(record)?;
                self.troubles.stop();
            }
            "unclean_stop" => self.troubles.unclean(&parse::<UncleanStop>(record)?),
            "gap" => self.troubles.gap(&parse::<Gap>(record)?),
            "phase" => {
                let PhaseBody { at, name } = parse(record)?;
                self.phases.push(Phase { name, from: at });
            }
            "journal" => {
                let JournalBody { from, to, .. } = parse(record)?;
                self.seen([from, to]);
            }
            // A block whose earliest time is none does not say when its flows began.
            "flow" => {
                let Flow { start, end, .. } = parse(record)?;
                self.seen([start, end]);
            }
            "checkpoint" => {
                self.checkpoint = Some(Head {
                    seq: record.seq,
                    hash: record.hash,
                });
            }
            "key" => self.key = Some(parse::<KeyBody>(record)?.public.to_string()),
            "sealed" => self.sealed = true,
            _ => {}
        }
        Ok(())
    }

    fn seen(&mut self, moments: [Timestamp; 2]) {
        // The epoch is no time: a packet without one has it.
        for moment in moments {
            if moment == Timestamp::default() {
                continue;
            }
            let (from, to) = self.seen.unwrap_or((moment, moment));
            self.seen = Some((from.min(moment), to.max(moment)));
        }
    }
}

fn parse<T: DeserializeOwned>(record: &Record) -> Result<T, ExportError> {
    serde_json::from_str(&record.body).map_err(|source| ExportError::Body {
        seq: record.seq,
        kind: Kind::clone(&record.kind),
        source,
    })
}
