//! Spans of time and what is left of them: arithmetic for the coverage statement.
//!
//! In: spans on the wall clock, in any order. Out: sorted spans that do not touch, their length,
//! and what they leave of another span. Pure.

use crate::time::Timestamp;

/// From a moment to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    /// None unless time passes in it.
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// Its length, in microseconds.
    pub(super) fn us(self) -> u64 {
        let nanos = self.to.nanos_since(self.from);
        u64::try_from(nanos / 1_000).unwrap_or(0)
    }

    /// What it has in common with another.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to))
    }

    /// Whether a time lies in it, its ends included.
    pub(super) fn holds(self, at: Timestamp) -> bool {
        self.from <= at && at <= self.to
    }

    /// Whether it has a moment in common with a span that may be one moment only.
    pub(super) fn touches(self, from: Timestamp, to: Timestamp) -> bool {
        from <= self.to && self.from <= to
    }
}

/// Sorts spans and joins those that overlap or touch.
pub(super) fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
            _ => joined.push(span),
        }
    }
    joined
}

/// What `spans`, joined, leave of `whole`.
pub(super) fn rest(whole: Span, spans: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut from = whole.from;
    for span in spans.iter().filter_map(|span| span.and(whole)) {
        left.extend(Span::new(from, span.from));
        from = from.max(span.to);
    }
    left.extend(Span::new(from, whole.to));
    left
}

/// Length of what spans have in common with `whole`, each counted, in microseconds.
pub(super) fn us_within(whole: Span, spans: &[Span]) -> u64 {
    spans
        .iter()
        .filter_map(|span| span.and(whole))
        .map(Span::us)
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span {
            from: Timestamp::from_micros(from),
            to: Timestamp::from_micros(to),
        }
    }

    #[test]
    fn joins_what_overlaps_or_touches() {
        let joined = union(vec![span(5, 9), span(0, 2), span(2, 3), span(6, 7)]);
        assert_eq!(joined, [span(0, 3), span(5, 9)]);
        assert_eq!(rest(span(1, 12), &joined), [span(3, 5), span(9, 12)]);
        assert_eq!(rest(span(6, 8), &joined), []);
        assert_eq!(us_within(span(1, 6), &joined), 3);
    }

    proptest! {
        #[test]
        fn spans_and_their_rest_are_the_whole(ends in proptest::collection::vec((0_i64..100, 0_i64..100), 0..20)) {
            let spans = ends.into_iter().filter_map(|(from, to)| {
                Span::new(Timestamp::from_micros(from), Timestamp::from_micros(to))
            });
            let joined = union(spans.collect());
            let whole = span(10, 90);
            let left: u64 = rest(whole, &joined).into_iter().map(Span::us).sum();
            prop_assert_eq!(left + us_within(whole, &joined), whole.us());
        }
    }
}
