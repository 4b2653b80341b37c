//! Moments as a certificate writes them: Indian Standard Time with the UTC beside.
//!
//! In: a moment. Out: `24/11/2026 15:11:51 IST (2026-11-24T09:41:51Z)`. IST is UTC+05:30 all year;
//! the zone of the machine that shows it does not matter.

use jiff::tz::Offset;

use crate::time::Timestamp;

/// Seconds by which Indian Standard Time is ahead of UTC.
const IST_SECONDS: i32 = 5 * 3_600 + 30 * 60;

fn at(moment: Timestamp, seconds: i32, format: &str) -> String {
    let offset = Offset::from_seconds(seconds).unwrap_or(Offset::UTC);
    jiff::Timestamp::from_microsecond(moment.as_micros()).map_or_else(
        |_| moment.to_string(),
        |moment| {
            offset
                .to_time_zone()
                .to_datetime(moment)
                .strftime(format)
                .to_string()
        },
    )
}

/// `24/11/2026 15:11:51 IST`.
pub fn ist(moment: Timestamp) -> String {
    at(moment, IST_SECONDS, "%d/%m/%Y %H:%M:%S IST")
}

/// `2026-11-24T09:41:51Z`.
pub fn utc(moment: Timestamp) -> String {
    at(moment, 0, "%Y-%m-%dT%H:%M:%SZ")
}

/// Both, the UTC in brackets.
pub fn both(moment: Timestamp) -> String {
    format!("{} ({})", ist(moment), utc(moment))
}

/// A day as it is recorded, `YYYY-MM-DD`, as a certificate writes it, `DD/MM/YYYY`; any other text
/// as it is.
pub fn day(recorded: &str) -> String {
    recorded.parse::<jiff::civil::Date>().map_or_else(
        |_| recorded.to_owned(),
        |day| day.strftime("%d/%m/%Y").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ist_is_five_and_a_half_hours_ahead_whatever_the_zone() {
        let moment = Timestamp::from_micros(1_795_558_311_000_042);
        assert_eq!(utc(moment), "2026-11-24T22:11:51Z");
        assert_eq!(ist(moment), "25/11/2026 03:41:51 IST");
        assert_eq!(day("2026-11-02"), "02/11/2026");
        assert_eq!(day("soon"), "soon");
    }
}
