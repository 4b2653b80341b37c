//! Notices that the wall clock was set.
//!
//! In: wall and monotonic time, read together. Out: a gap when they drifted apart by more than a
//! slewing clock can.

use crate::{
    input::{Gap, GapCause},
    platform::clock::Clock,
    time::Timestamp,
};

/// A change of the wall clock against the monotonic one that counts as a step, in nanoseconds.
pub const CLOCK_STEP_NANOS: i64 = 500_000_000;

/// Compares the two clocks again and again.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    wall: Timestamp,
    monotonic: i64,
}

impl ClockWatch {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: clock.monotonic_nanos(),
        }
    }

    /// A gap, if the wall clock was set since the last look.
    pub(crate) fn look(&mut self, clock: &dyn Clock) -> Option<Gap> {
        let (wall, monotonic) = (clock.now(), clock.monotonic_nanos());
        let expected = self
            .wall
            .plus_nanos(monotonic.saturating_sub(self.monotonic));
        let step = wall.nanos_since(expected);
        self.wall = wall;
        self.monotonic = monotonic;
        if step.saturating_abs() <= CLOCK_STEP_NANOS {
            return None;
        }
        let way = if step < 0 { "back" } else { "forward" };
        Some(Gap {
            at: wall,
            cause: GapCause::ClockStep,
            from: Some(expected),
            to: Some(wall),
            packets: Some(0),
            place: "wall clock".into(),
            detail: format!(
                "the clock went {way} by {}.{:03} s; times before and after it cannot be compared",
                step.unsigned_abs() / 1_000_000_000,
                step.unsigned_abs() / 1_000_000 % 1_000
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hands {
        wall: AtomicI64,
        monotonic: AtomicI64,
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.wall.load(Ordering::Relaxed))
        }

        fn monotonic_nanos(&self) -> i64 {
            self.monotonic.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn tells_steps_both_ways_and_no_drift() {
        let hands = Hands::default();
        let mut watch = ClockWatch::new(&hands);
        let mut pass = |wall, monotonic| {
            hands.wall.fetch_add(wall, Ordering::Relaxed);
            hands.monotonic.fetch_add(monotonic, Ordering::Relaxed);
            watch.look(&hands).map(|gap| gap.detail)
        };
        assert_eq!(pass(1_000_000_000, 1_001_000_000), None);
        let back = pass(-3_600_000_000_000, 1_000_000_000).unwrap();
        assert!(
            back.starts_with("the clock went back by 3601.000 s"),
            "{back}"
        );
        let forward = pass(7_250_000_000, 1_000_000_000).unwrap();
        assert!(
            forward.starts_with("the clock went forward by 6.250 s"),
            "{forward}"
        );
    }
}
