//! A day of the calendar.
//!
//! In: `YYYY-MM-DD`. Out: a value that sorts by time; which day it is decides which exceptions and
//! references apply.

use std::fmt;
use std::str::FromStr;

use toml::value::Datetime;

/// A day of the proleptic Gregorian calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day {
    year: u16,
    month: u8,
    date: u8,
}

/// The text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day: expected YYYY-MM-DD, such as 2026-11-24")]
pub struct NotADay;

impl Day {
    /// The day that a TOML value stands for, unless it also says a time.
    pub(crate) fn from_datetime(value: &Datetime) -> Result<Self, NotADay> {
        match (value.date, value.time, value.offset) {
            (Some(date), None, None) => Ok(Self {
                year: date.year,
                month: date.month,
                date: date.day,
            }),
            _ => Err(NotADay),
        }
    }
}

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let value: Datetime = text.parse().map_err(|_| NotADay)?;
        Self::from_datetime(&value)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_sort_by_time_and_print_as_read() {
        let early: Day = "2017-08-21".parse().expect("a day");
        let late: Day = "2026-01-02".parse().expect("a day");
        assert!(early < late);
        assert_eq!(late.to_string(), "2026-01-02");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2025-02-29",
            "2026-1-2",
            "24.11.2026",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
        }
        assert_eq!("2026-11-24T10:00:00Z".parse::<Day>(), Err(NotADay));
        assert!("2024-02-29".parse::<Day>().is_ok());
    }
}
