//! Spans of the day, and how far a clock is from UTC.
//!
//! In: `22:00-06:00`, `+05:30`. Out: values that say whether a minute of the day lies in the span.

use std::fmt;
use std::str::FromStr;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A span of the day that may pass midnight; its end is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hours {
    from: u16,
    until: u16,
}

/// The text is no span or no difference from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotATime;

impl Hours {
    /// Whether a minute after midnight lies in it.
    pub(crate) fn contains(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

impl FromStr for Hours {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (from, until) = text.split_once('-').ok_or(NotATime)?;
        let from = minute_of(from.trim()).ok_or(NotATime)?;
        let until = until.trim();
        let until = match until {
            "24:00" => DAY,
            _ => minute_of(until).ok_or(NotATime)?,
        };
        if from == until {
            return Err(NotATime);
        }
        Ok(Self { from, until })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", clock(self.from), clock(self.until))
    }
}

/// How far a clock is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offset(i16);

impl Offset {
    /// The minute after midnight on that clock.
    pub(crate) fn local(self, utc: u16) -> u16 {
        let day = i32::from(DAY);
        let local = (i32::from(utc) + i32::from(self.0)).rem_euclid(day);
        u16::try_from(local).unwrap_or(0)
    }
}

impl FromStr for Offset {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(NotATime),
        };
        let minutes = minute_of(rest).and_then(|minutes| i16::try_from(minutes).ok());
        minutes.map(|minutes| Self(sign * minutes)).ok_or(NotATime)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", clock(self.0.unsigned_abs()))
    }
}

/// Minutes after midnight of `HH:MM`; none when it is no time of the day.
pub(crate) fn minute_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str, below: u16| {
        let digits = (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some(digits)?;
        digits.parse().ok().filter(|number: &u16| *number < below)
    };
    Some(two(hours, 24)? * 60 + two(minutes, 60)?)
}

/// Minutes after midnight as `HH:MM`.
pub(crate) fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_may_pass_midnight() {
        let night: Hours = "22:00-06:00".parse().expect("a span");
        assert!(night.contains(22 * 60) && night.contains(0) && night.contains(359));
        assert!(!night.contains(360) && !night.contains(720));
        let day: Hours = "00:00-24:00".parse().expect("a span");
        assert!(day.contains(0) && day.contains(1439));
        assert_eq!(night.to_string(), "22:00-06:00");
        for text in [
            "",
            "22",
            "22:00",
            "22:00-22:00",
            "24:00-01:00",
            "2:00-3:00",
            "22:60-23:00",
            "a-b",
        ] {
            assert_eq!(text.parse::<Hours>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn a_clock_ahead_of_utc_passes_midnight() {
        let india: Offset = "+05:30".parse().expect("an offset");
        assert_eq!(india.local(20 * 60), 90);
        let west: Offset = "-05:00".parse().expect("an offset");
        assert_eq!(clock(west.local(60)), "20:00");
        assert_eq!(west.to_string(), "-05:00");
        for text in ["", "5", "05:30", "+5:30", "+24:00", "é"] {
            assert_eq!(text.parse::<Offset>(), Err(NotATime), "{text}");
        }
    }
}
