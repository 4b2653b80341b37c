//! Moments, as packets and records carry them.
//!
//! In: nanoseconds since the Unix epoch, from a packet or an injected clock. Out: RFC 3339 text
//! in UTC with microseconds. Nothing here reads a clock.

use std::{fmt, sync::OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment: nanoseconds since 1970-01-01T00:00:00Z (UTC, no leap seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From microseconds since the Unix epoch; saturates at the range's ends (years 1677 and 2262).
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole microseconds since the Unix epoch, rounded down.
    pub const fn as_micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Number of the day in UTC since the Unix epoch.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(24 * 3_600 * 1_000_000_000)
    }

    /// Nanoseconds from `earlier` to `self`; negative when the clock went back.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// From RFC 3339 text with its offset; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        Some(Self::from_micros(moment.as_microsecond()))
    }

    /// In the zone of the machine that shows it, with its offset: for reading, not for records that
    /// must be the same everywhere.
    pub fn local(self) -> String {
        jiff::Timestamp::from_microsecond(self.as_micros()).map_or_else(
            |_| self.to_string(),
            |moment| {
                let zone = zone();
                let local = moment.to_zoned_datetime(zone);
                local.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
            },
        )
    }

    /// This moment and `nanos` more; saturates.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// A time that lies further back than this is a step of the clock or another capture, not
/// reordering: time passes from there on anew.
pub const REORDER_NANOS_MAX: i64 = 60 * 1_000_000_000;

/// A step forward counts as this much at most: longer than any flow may be idle, and short enough
/// that a stream whose times jump about does not use up the clock's range.
pub const STEP_NANOS_MAX: i64 = 7 * 24 * 3_600 * 1_000_000_000;

/// A clock that never goes back, driven by the times of a stream that may.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamClock {
    elapsed_nanos: i64,
    latest: Option<Timestamp>,
}

impl StreamClock {
    /// Takes a time of the stream in. The epoch is no time: a packet without one has it.
    #[inline]
    pub fn advance(&mut self, at: Timestamp) {
        if at == Timestamp::default() {
            return;
        }
        let step = self.latest.map_or(0, |latest| at.nanos_since(latest));
        if self.latest.is_none() || !(-REORDER_NANOS_MAX..=0).contains(&step) {
            self.latest = Some(at);
            let step = step.clamp(0, STEP_NANOS_MAX);
            self.elapsed_nanos = self.elapsed_nanos.saturating_add(step);
        }
    }

    /// Nanoseconds that have passed since the first time taken in.
    pub const fn elapsed_nanos(&self) -> i64 {
        self.elapsed_nanos
    }

    /// The stream's own time, as far as it is known.
    pub const fn latest(&self) -> Option<Timestamp> {
        self.latest
    }
}

/// The zone of this process, where the system does not say it in the usual places.
static ZONE: OnceLock<jiff::tz::TimeZone> = OnceLock::new();

/// Shows local times in the zone of this name (IANA) from now on; a name that the zones of this
/// machine do not have is passed over.
pub fn use_zone(name: &str) {
    if let Ok(zone) = jiff::tz::TimeZone::get(name) {
        // Set once, at the start; a second name is passed over.
        let _ = ZONE.set(zone);
    }
}

/// Name of the zone of local times; none where nothing tells it.
pub fn zone_name() -> Option<String> {
    zone().iana_name().map(str::to_owned)
}

fn zone() -> jiff::tz::TimeZone {
    ZONE.get()
        .cloned()
        .unwrap_or_else(jiff::tz::TimeZone::system)
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, six decimals: `2026-11-24T09:41:51.000000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.as_micros()) {
            Ok(moment) => write!(f, "{moment:.6}"),
            // Not reachable: an i64 of nanoseconds lies within jiff's range.
            Err(_) => write!(f, "{}us", self.as_micros()),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Self::from_micros(moment.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_six_decimals_and_reads_them_back() {
        let moment = Timestamp::from_micros(1_795_513_311_000_042);
        assert_eq!(moment.to_string(), "2026-11-24T09:41:51.000042Z");
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
    }

    #[test]
    fn a_stream_that_steps_back_goes_on_from_there() {
        let second = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut clock = StreamClock::default();
        for (at, elapsed) in [
            (1000, 0),
            (1010, 10),
            (1005, 10),
            (1012, 12),
            (500, 12),
            (501, 13),
        ] {
            clock.advance(second(at));
            assert_eq!(clock.elapsed_nanos(), elapsed * 1_000_000_000, "at {at}");
        }
        assert_eq!(clock.latest(), Some(second(501)));
    }

    #[test]
    fn no_jump_uses_up_the_clock() {
        let ends = [
            Timestamp::from_nanos(i64::MIN),
            Timestamp::from_nanos(i64::MAX),
        ];
        let mut clock = StreamClock::default();
        for at in ends.into_iter().cycle().take(20) {
            clock.advance(at);
        }
        assert_eq!(clock.elapsed_nanos(), 10 * STEP_NANOS_MAX);
    }

    #[test]
    fn rounds_down_before_the_epoch() {
        assert_eq!(
            Timestamp::from_nanos(-1).to_string(),
            "1969-12-31T23:59:59.999999Z"
        );
    }
}
