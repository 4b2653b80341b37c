//! The coverage statement: what of a span of time was watched, and what was not.
//!
//! In: records of a case, and the span that is asked for. Out: one [`Coverage`]. What is not known
//! is null, never 0. "No contact with X" is said only together with it.

mod counted;
mod gather;
mod sessions;
#[cfg(test)]
mod tests;
pub mod text;
mod timeline;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::counted::{Flows, InterfaceSum, Sum};
use self::timeline::Span;
use super::export::ExportError;
use crate::{evidence::Reader, time::Timestamp};

/// The span that is asked for; an end that is not given is the case's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its start; by default the machine's start before the first session.
    pub from: Option<Timestamp>,
    /// Its end; by default the last moment of which the case says anything.
    pub to: Option<Timestamp>,
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// The case could not be read.
    #[error(transparent)]
    Case(#[from] ExportError),
    /// No time passes in the span.
    #[error("the span ends at {to}, not after its start {from}; --from must be before --to")]
    Empty {
        /// Its start.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
    /// The case has no session that watched, and no span was asked for.
    #[error(
        "nothing was watched in this case: it holds an inspection of captures, whose files do not \
         say what they cover; give --from and --to to count what was seen in a span"
    )]
    NoWatch,
}

/// A session in the span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionSpan {
    /// Its number.
    pub session: u64,
    /// How packets were watched.
    pub capture: String,
    /// When it began.
    pub from: Timestamp,
    /// Its end, or the last moment of which its records say anything.
    pub to: Timestamp,
    /// `in_order`, `unclean`, or `open`: it runs, or was killed and nothing came after it.
    pub ended: String,
}

/// A part of the span that was not watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Its length in microseconds.
    pub us: u64,
    /// Why: `before_first_session`, `between_sessions`, `after_last_session`.
    pub why: String,
}

/// The wall clock was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockStep {
    /// To what.
    pub at: Timestamp,
    /// By how much, in microseconds; negative: back.
    pub step_us: i64,
}

/// A way of watching that was weaker than it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weaker {
    /// Since when.
    pub from: Timestamp,
    /// Which part of the watch.
    pub place: String,
    /// What was lost by it.
    pub detail: String,
}

/// What of a span was watched, and what was counted in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Identifier of the case.
    pub case: String,
    /// Start of the span.
    pub from: Timestamp,
    /// End of the span.
    pub to: Timestamp,
    /// Its length, in microseconds.
    pub span_us: u64,
    /// Of it, watched: awake, with the rules in place. Null: no session watched as packets were sent.
    pub watched_us: Option<u64>,
    /// Of it, not watched: no session ran.
    pub not_watched_us: Option<u64>,
    /// Of the sessions' time, asleep: the kernel ran nothing.
    pub suspended_us: Option<u64>,
    /// How often that was told.
    pub suspensions: u64,
    /// Of the sessions' time, with our rules missing for up to so long.
    pub rules_missing_us: Option<u64>,
    /// Of the span, skipped by a clock that was set forward: no moment had these times.
    pub skipped_by_clock_us: u64,
    /// What was not watched, in order.
    pub not_watched: Vec<Hole>,
    /// Sessions in the span.
    pub sessions: Vec<SessionSpan>,
    /// Starts of the machine between two sessions; null: not known.
    pub reboots: Option<u64>,
    /// Steps of the wall clock.
    pub clock_steps: Vec<ClockStep>,
    /// Packets seen; null: the journal could not be read there.
    pub packets: Option<u64>,
    /// Packets known to be lost; null: some loss could not be counted.
    pub lost: Option<u64>,
    /// Packets that could not be dissected, by reason; null: the span cuts a session, or a session
    /// has no summary.
    pub unparsed: Option<BTreeMap<String, u64>>,
    /// Packets by the independent counter in raw OUTPUT, which what was seen, lost and missed must
    /// add up to; null: a session has none, or the span cuts one.
    pub output_counter: Option<u64>,
    /// Flows.
    pub flows: Flows,
    /// Whether every flow of the span has ended and is counted.
    pub flows_complete: bool,
    /// Times that our rules had to be put right.
    pub rule_repairs: u64,
    /// Records of interfaces that came, went or changed.
    pub interface_changes: u64,
    /// Ways of watching that were weaker than they should be.
    pub degraded: Vec<Weaker>,
    /// The kernel's own counts of the interfaces.
    pub interfaces: Vec<InterfaceSum>,
    /// netd's counts for each UID; null: not read (its maps are open to the system's programs only).
    pub uid_counters: Option<BTreeMap<String, u64>>,
    /// How "no contact with X" may be said, sentence by sentence.
    pub may_be_said: Vec<String>,
}

/// Reads a case and says what of a span was watched.
pub fn coverage(reader: &Reader, asked: Asked) -> Result<Coverage, CoverageError> {
    // Two walks: the span must be known before anything is counted in it.
    let sessions = gather::sessions(reader)?;
    let span = span(&sessions, asked)?;
    let gathered = gather::gather(reader, sessions, span)?;
    let mut coverage = gathered.into_coverage(reader.case().meta().id.clone(), span);
    coverage.may_be_said = text::may_be_said(&coverage);
    Ok(coverage)
}

fn span(sessions: &gather::Sessions, asked: Asked) -> Result<Span, CoverageError> {
    let (from, to) = (
        asked.from.or(sessions.first_known),
        asked.to.or(sessions.last_known),
    );
    let (from, to) = from.zip(to).ok_or(CoverageError::NoWatch)?;
    Span::new(from, to).ok_or(CoverageError::Empty { from, to })
}
