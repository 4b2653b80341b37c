//! Notices that the wall clock was set, and that the machine slept.
//!
//! In: wall, monotonic and boot time, read together. Out: a gap when the wall clock and the boot
//! clock, which goes on in sleep, drifted apart by more than a slewing clock can; a suspension when
//! the monotonic clock, which stands still in sleep, fell behind the boot clock.

use crate::{
    input::{Gap, GapCause, Suspension},
    platform::clock::Clock,
    time::Timestamp,
};

/// A change of the wall clock against the boot clock that counts as a step, in nanoseconds.
pub const CLOCK_STEP_NANOS: i64 = 500_000_000;
/// Sleep is told once it adds up to this much, in nanoseconds.
pub const SUSPENDED_NANOS: i64 = 1_000_000_000;

/// Compares the clocks again and again.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    wall: Timestamp,
    boot: i64,
    /// How far the monotonic clock had fallen behind the boot clock when sleep was last told.
    told_behind: i64,
    /// The same at the last look, and when sleep began that is not told yet.
    behind: i64,
    asleep_since: Option<Timestamp>,
    suspension: Option<Suspension>,
}

impl ClockWatch {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let boot = clock.boottime_nanos();
        let behind = boot.saturating_sub(clock.monotonic_nanos());
        Self {
            wall: clock.now(),
            boot,
            told_behind: behind,
            behind,
            asleep_since: None,
            suspension: None,
        }
    }

    /// A gap, if the wall clock was set since the last look. Notices sleep as well: see
    /// [`ClockWatch::take_suspension`].
    pub(crate) fn look(&mut self, clock: &dyn Clock) -> Option<Gap> {
        // The boot clock stands between the two others, so that an interruption between two
        // readings, which is short, is neither sleep nor a step.
        let wall = clock.now();
        let boot = clock.boottime_nanos();
        let monotonic = clock.monotonic_nanos();
        let expected = self.wall.plus_nanos(boot.saturating_sub(self.boot));
        self.notice_sleep(boot.saturating_sub(monotonic), wall);
        let step = wall.nanos_since(expected);
        self.wall = wall;
        self.boot = boot;
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

    /// Sleep that the last looks showed, if it is to be told now.
    pub(crate) const fn take_suspension(&mut self) -> Option<Suspension> {
        self.suspension.take()
    }

    fn notice_sleep(&mut self, behind: i64, wall: Timestamp) {
        // Smaller differences are the time between two readings.
        const READING_NANOS: i64 = 1_000_000;
        if behind.saturating_sub(self.behind) > READING_NANOS {
            self.asleep_since.get_or_insert(self.wall);
        }
        self.behind = behind;
        let slept = behind.saturating_sub(self.told_behind);
        if slept < SUSPENDED_NANOS {
            return;
        }
        self.told_behind = behind;
        self.suspension = Some(Suspension {
            at: wall,
            from: self.asleep_since.take().unwrap_or(self.wall),
            suspended_us: u64::try_from(slept / 1_000).unwrap_or(0),
        });
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
        asleep: AtomicI64,
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.wall.load(Ordering::Relaxed))
        }

        fn monotonic_nanos(&self) -> i64 {
            self.monotonic.load(Ordering::Relaxed)
        }

        fn boottime_nanos(&self) -> i64 {
            self.monotonic_nanos() + self.asleep.load(Ordering::Relaxed)
        }
    }

    impl Hands {
        /// Time passes, asleep or awake.
        fn pass(&self, nanos: i64, asleep: bool) {
            let hand = if asleep {
                &self.asleep
            } else {
                &self.monotonic
            };
            hand.fetch_add(nanos, Ordering::Relaxed);
            self.wall.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    #[test]
    fn sleep_is_no_step_and_short_naps_add_up() {
        let hands = Hands::default();
        let mut watch = ClockWatch::new(&hands);
        let mut look = || {
            assert_eq!(watch.look(&hands), None, "a step");
            watch.take_suspension()
        };
        hands.pass(2_000_000_000, false);
        assert_eq!(look(), None);
        hands.pass(3_600_000_000_000, true);
        hands.pass(50_000_000, false);
        let slept = look().unwrap();
        assert_eq!(slept.suspended_us, 3_600_000_000);
        assert_eq!(slept.from, Timestamp::from_nanos(2_000_000_000));
        assert_eq!(slept.at.nanos_since(slept.from), 3_600_050_000_000);
        assert_eq!(look(), None);

        let before = hands.now();
        for _ in 0..2 {
            hands.pass(400_000_000, true);
            hands.pass(100_000_000, false);
            assert_eq!(look(), None);
        }
        hands.pass(300_000_000, true);
        let naps = look().unwrap();
        assert_eq!((naps.from, naps.suspended_us), (before, 1_100_000));
    }

    #[test]
    fn a_clock_set_in_sleep_is_both() {
        let hands = Hands::default();
        let mut watch = ClockWatch::new(&hands);
        hands.pass(10_000_000_000, true);
        hands.wall.fetch_sub(4_000_000_000, Ordering::Relaxed);
        let gap = watch.look(&hands).unwrap();
        assert!(gap.detail.starts_with("the clock went back by 4.000 s"));
        assert_eq!(watch.take_suspension().unwrap().suspended_us, 10_000_000);
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
