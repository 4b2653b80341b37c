//! How far answers may be behind the flows that they name: packets of the system are read before all
//! others, and the others may be read late.

use crate::{flow::Flow, input::ReadLate, time::Timestamp};

/// A flow stamped on receipt takes names from answers stamped up to this much behind it: more than the
/// lag from which on the producer says [`ReadLate`], and the kernel's flush interval.
const NAME_LAG_NANOS: i64 = 200_000_000;

/// The moment up to which an answer may be stamped and have come before the flow.
pub(super) fn known_by<T>(flow: &Flow<T>) -> Timestamp {
    if flow.start_lag_nanos() == 0 {
        return flow.start;
    }
    flow.start.plus_nanos(NAME_LAG_NANOS)
}

/// What the producer last said of its lag.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lateness {
    /// What is read now passed after this; none while nothing is late.
    since: Option<Timestamp>,
}

impl Lateness {
    /// Takes in what the producer says.
    pub(super) fn note(&mut self, late: ReadLate) {
        self.since = (late.since < late.at).then_some(late.since);
    }

    /// The earliest moment at which an inbound packet stamped `at` may have passed.
    pub(super) fn earliest(self, at: Timestamp) -> Timestamp {
        self.since.map_or(at, |since| since.min(at))
    }

    /// Whether an answer from before the flow may still be unread.
    pub(super) fn may_hide_answer<T>(self, flow: &Flow<T>) -> bool {
        self.since.is_some_and(|since| since < known_by(flow))
    }
}
