//! The injected clock.

use crate::time::Timestamp;

/// Where live producers take the time from; tests put a clock of their own in its place.
pub trait Clock: Send + Sync {
    /// Wall clock, UTC.
    fn now(&self) -> Timestamp;
    /// Nanoseconds of a clock that only goes forward while the machine is awake.
    fn monotonic_nanos(&self) -> i64;
}

/// When the machine was started, by its own account: `now` less the time since boot, suspension
/// included.
pub fn boot_time(now: Timestamp) -> Option<Timestamp> {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = up
        .tv_sec
        .checked_mul(1_000_000_000)?
        .checked_add(up.tv_nsec)?;
    Some(now.plus_nanos(-nanos))
}

/// The kernel's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timestamp::from_nanos(
            time.tv_sec
                .saturating_mul(1_000_000_000)
                .saturating_add(time.tv_nsec),
        )
    }

    fn monotonic_nanos(&self) -> i64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        time.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec)
    }
}
