//! How late the capture thread reads: since when what it reads next may have been waiting.
//!
//! In: reads that found nothing, and marks. A mark is a request that does nothing, whose answer the
//! kernel queues behind the packets that wait in the same socket: what is read behind the answer came
//! after the request. Out: [`ReadLate`], where the pipeline must know of it, and a gap where times are
//! late by more than a person would expect.

use crate::{
    input::{Event, Gap, GapCause, ReadLate},
    time::Timestamp,
};

/// Behind by more than this it is told. Less is within what names are allowed anyway
/// (`pipeline::lateness`), which has the kernel's flush interval on top.
pub(crate) const LATE_NANOS: i64 = 150_000_000;
/// Behind by more than this a mark is set. More than the thread sleeps, so that what wakes it sets none.
const MARK_AFTER_NANOS: i64 = 110_000_000;
/// Behind by more than this, a person is told as well.
const GAP_NANOS: i64 = 1_000_000_000;

/// What is known of one group's lag.
#[derive(Debug)]
pub(crate) struct Lateness {
    /// What is read now was not there yet at this moment of the monotonic clock.
    floor: i64,
    /// The mark under way, and when it was set.
    mark: Option<(u32, i64)>,
    /// The floor that was told last; none while it is not late.
    told: Option<i64>,
    /// Of the late stretch that goes on: its first moment, and the longest lag.
    stretch: Option<(Timestamp, i64)>,
}

impl Lateness {
    /// Of a group that was empty at this moment.
    pub(crate) const fn new(monotonic: i64) -> Self {
        Self {
            floor: monotonic,
            mark: None,
            told: None,
            stretch: None,
        }
    }

    /// Nothing waits: what is read from now on was sent from now on.
    pub(crate) const fn drained(&mut self, monotonic: i64) {
        self.floor = monotonic;
        self.mark = None;
    }

    /// The answer to a request was read.
    pub(crate) fn answered(&mut self, request: u32) {
        if let Some((_, set)) = self.mark.take_if(|(number, _)| *number == request) {
            self.floor = set;
        }
    }

    /// Answers may have been lost with the packets.
    pub(crate) const fn lost(&mut self) {
        self.mark = None;
    }

    /// Whether a mark is due.
    pub(crate) const fn wants_mark(&self, monotonic: i64) -> bool {
        self.mark.is_none() && monotonic.saturating_sub(self.floor) > MARK_AFTER_NANOS
    }

    /// A mark was set with this number.
    pub(crate) const fn marked(&mut self, request: u32, monotonic: i64) {
        self.mark = Some((request, monotonic));
    }

    /// What is to be told before what was just read, in order.
    pub(crate) fn look(
        &mut self,
        now: Timestamp,
        monotonic: i64,
        place: impl FnOnce() -> String,
    ) -> [Option<Event>; 2] {
        let behind = monotonic.saturating_sub(self.floor);
        if behind <= LATE_NANOS {
            if self.told.take().is_none() {
                return [None, None];
            }
            let gap = self.stretch.take().and_then(|(from, worst)| {
                (worst > GAP_NANOS).then(|| gap(from, now, worst, place()))
            });
            let caught_up = ReadLate {
                at: now,
                since: now,
            };
            return [Some(Event::ReadLate(caught_up)), gap.map(Event::Gap)];
        }
        let since = now.plus_nanos(-behind);
        let (_, worst) = self.stretch.get_or_insert((since, behind));
        *worst = behind.max(*worst);
        if self.told.replace(self.floor) == Some(self.floor) {
            return [None, None];
        }
        [Some(Event::ReadLate(ReadLate { at: now, since })), None]
    }
}

fn gap(from: Timestamp, to: Timestamp, worst: i64, place: String) -> Gap {
    Gap {
        at: to,
        cause: GapCause::Degraded,
        from: Some(from),
        to: Some(to),
        packets: Some(0),
        place,
        detail: format!(
            "packets were read up to {}.{:03} s after they passed: their times are late by as much",
            worst / 1_000_000_000,
            worst / 1_000_000 % 1_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: i64 = 1_000_000;

    fn look(lateness: &mut Lateness, millis: i64) -> [Option<Event>; 2] {
        let now = Timestamp::from_nanos((1_000_000 + millis) * MILLISECOND);
        lateness.look(now, millis * MILLISECOND, || "nflog group 1".into())
    }

    fn since(told: &[Option<Event>; 2]) -> Option<i64> {
        match told {
            [Some(Event::ReadLate(late)), _] => {
                Some(late.since.as_nanos() / MILLISECOND - 1_000_000)
            }
            _ => None,
        }
    }

    #[test]
    fn a_mark_bounds_how_long_packets_waited() {
        let mut lateness = Lateness::new(0);
        assert!(!lateness.wants_mark(100 * MILLISECOND));
        assert_eq!(look(&mut lateness, 150), [None, None]);
        assert!(lateness.wants_mark(200 * MILLISECOND));
        lateness.marked(7, 200 * MILLISECOND);
        assert!(!lateness.wants_mark(900 * MILLISECOND));
        assert_eq!(since(&look(&mut lateness, 210)), Some(0));
        assert_eq!(look(&mut lateness, 400), [None, None], "told already");
        lateness.answered(6);
        assert_eq!(look(&mut lateness, 500), [None, None], "another's answer");
        lateness.answered(7);
        assert_eq!(since(&look(&mut lateness, 600)), Some(200));
        assert!(lateness.wants_mark(600 * MILLISECOND));
    }

    #[test]
    fn the_end_of_a_late_stretch_is_told_and_a_long_lag_is_a_gap() {
        let mut lateness = Lateness::new(0);
        assert_eq!(since(&look(&mut lateness, 900)), Some(0));
        lateness.drained(900 * MILLISECOND);
        let told = look(&mut lateness, 900);
        assert_eq!((since(&told), &told[1]), (Some(900), &None));
        assert_eq!(look(&mut lateness, 950), [None, None]);

        assert_eq!(since(&look(&mut lateness, 3_150)), Some(900));
        lateness.drained(3_160 * MILLISECOND);
        let [_, Some(Event::Gap(gap))] = look(&mut lateness, 3_160) else {
            panic!("no gap");
        };
        assert!(gap.detail.contains("up to 2.250 s after"), "{}", gap.detail);
    }

    #[test]
    fn a_lost_answer_is_asked_for_again() {
        let mut lateness = Lateness::new(0);
        lateness.marked(1, 0);
        lateness.lost();
        assert!(lateness.wants_mark(200 * MILLISECOND));
    }
}
