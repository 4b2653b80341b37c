//! When each session watched, by its own records.
//!
//! In: records of a case in order. Out: for each session its stretches of watching on the wall
//! clock, cut where that clock was set.

use super::timeline::Span;
use crate::{
    evidence::body::{Session, Stop, UncleanStop},
    time::Timestamp,
};

/// A session as far as its records tell.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) record: Session,
    /// Stretches that are over: each ended where the clock was set.
    stretches: Vec<Span>,
    /// Start of the present stretch; none for an inspection.
    since: Option<Timestamp>,
    /// The latest moment of which its records say anything.
    known: Option<Timestamp>,
    pub(super) ended: Ended,
    /// Whether its summary was written.
    pub(super) has_summary: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has a stop record.
    InOrder,
    /// The next session found it without one.
    Unclean,
    /// It has none and nothing came after it: it runs, or was killed.
    Open,
}

impl Ended {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InOrder => "in_order",
            Self::Unclean => "unclean",
            Self::Open => "open",
        }
    }
}

impl Watch {
    pub(super) fn new(record: Session) -> Self {
        Self {
            stretches: Vec::new(),
            since: record.at,
            known: record.at,
            ended: Ended::Open,
            has_summary: false,
            record,
        }
    }

    /// Whether packets were watched as they were sent.
    pub(super) fn is_live(&self) -> bool {
        self.record.at.is_some()
    }

    /// A record of the session says something of this moment.
    pub(super) fn reaches(&mut self, at: Timestamp) {
        if self.ended == Ended::Open && self.since.is_some_and(|since| at >= since) {
            self.known = self.known.max(Some(at));
        }
    }

    /// The clock was set from `from` to `to`.
    pub(super) fn clock_step(&mut self, from: Timestamp, to: Timestamp) {
        if let Some(since) = self.since {
            self.stretches.extend(Span::new(since, from));
            (self.since, self.known) = (Some(to), Some(to));
        }
    }

    pub(super) fn stop(&mut self, stop: &Stop) {
        self.end(stop.at, Ended::InOrder);
    }

    pub(super) fn unclean(&mut self, stop: &UncleanStop) {
        self.end(stop.last_journaled.or(self.known), Ended::Unclean);
    }

    fn end(&mut self, at: Option<Timestamp>, how: Ended) {
        if let (Some(since), Some(at)) = (self.since, at) {
            self.stretches.extend(Span::new(since, at));
        }
        self.known = at.or(self.known);
        self.since = None;
        self.ended = how;
    }

    /// The stretches of watching, in their order.
    pub(super) fn stretches(&self) -> Vec<Span> {
        let open = self
            .since
            .zip(self.known)
            .and_then(|(since, known)| Span::new(since, known));
        self.stretches.iter().copied().chain(open).collect()
    }

    /// The latest moment of which it says anything.
    pub(super) const fn known(&self) -> Option<Timestamp> {
        self.known
    }

    /// When it began.
    pub(super) const fn began(&self) -> Option<Timestamp> {
        self.record.at
    }

    /// The earliest and the latest moment of it, by a wall clock that may have been set back.
    pub(super) fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let stretches = self.stretches();
        let ends = stretches.iter().flat_map(|span| [span.from, span.to]);
        let all = || ends.clone().chain(self.record.at).chain(self.known);
        all().min().zip(all().max())
    }
}
