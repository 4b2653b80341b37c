//! The injected clock.

use crate::time::Timestamp;

/// Where live producers take the time from; tests put a clock of their own in its place.
pub trait Clock: Send + Sync {
    /// Wall clock, UTC.
    fn now(&self) -> Timestamp;
    /// Nanoseconds of a clock that only goes forward while the machine is awake.
    fn monotonic_nanos(&self) -> i64;
    /// Nanoseconds of a clock that goes forward while the machine sleeps as well. A clock of a
    /// machine that never sleeps need not say.
    fn boottime_nanos(&self) -> i64 {
        self.monotonic_nanos()
    }
}

/// When the machine was started, by its own account: `now` less the time since boot, suspension
/// included.
pub fn boot_time(now: Timestamp) -> Option<Timestamp> {
    let up = nanos(rustix::time::ClockId::Boottime);
    (up != i64::MAX).then(|| now.plus_nanos(-up))
}

/// The kernel's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(nanos(rustix::time::ClockId::Realtime))
    }

    fn monotonic_nanos(&self) -> i64 {
        nanos(rustix::time::ClockId::Monotonic)
    }

    fn boottime_nanos(&self) -> i64 {
        nanos(rustix::time::ClockId::Boottime)
    }
}

fn nanos(clock: rustix::time::ClockId) -> i64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
