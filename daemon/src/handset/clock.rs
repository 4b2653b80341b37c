//! How far the handset's clock is off this PC's, between bounds that hold.
//!
//! In: what the handset's clock said, and what this PC's said before it was asked and when the answer
//! was there. Out: bounds. However slow the way is, the handset read its clock in between.

use std::collections::BTreeMap;

use crate::{
    platform::command::{self, Invocation},
    time::Timestamp,
};
use std::time::Duration;

/// Longest wait for a program that says where this PC has its time from.
const SOURCE_MAX: Duration = Duration::from_secs(5);
/// Most that is kept of what it says, in characters.
const SOURCE_TEXT_MAX: usize = 500;

/// The handset's clock less this PC's lies between these, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub low: i64,
    /// At most.
    pub high: i64,
}

impl Bounds {
    /// From one exchange.
    pub const fn of(handset_nanos: i64, before: Timestamp, after: Timestamp) -> Self {
        Self {
            low: handset_nanos.saturating_sub(after.as_nanos()),
            high: handset_nanos.saturating_sub(before.as_nanos()),
        }
    }

    /// What both say; none where they contradict each other: a clock was set in between.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        };
        (both.low <= both.high).then_some(both)
    }

    /// The facts for the record, in microseconds.
    pub fn facts(self, exchanges: usize) -> BTreeMap<String, String> {
        let middle = self.low.midpoint(self.high);
        let either_way = self.high.saturating_sub(middle);
        [
            ("offset_us", middle.div_euclid(1_000).to_string()),
            ("either_way_us", (either_way / 1_000 + 1).to_string()),
            ("exchanges", exchanges.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

/// Where this PC has its time from, by its own account; none: nothing here tells.
pub fn source_of_this_pc() -> Option<String> {
    let programs: [(&str, &[&str]); 2] = [
        ("chronyc", &["-c", "tracking"]),
        (
            "timedatectl",
            &["show", "--property=NTP", "--property=NTPSynchronized"],
        ),
    ];
    programs.iter().find_map(|(program, args)| {
        let output = command::run(&Invocation {
            program,
            args,
            stdin: None,
            timeout: SOURCE_MAX,
        })
        .ok()?;
        let said = output
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let said: String = said.chars().take(SOURCE_TEXT_MAX).collect();
        (!said.is_empty()).then(|| format!("{program}: {said}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_narrow_and_a_set_clock_is_noticed() {
        let at = Timestamp::from_nanos;
        // The handset is 100 ahead; the first way takes 50, the second 8.
        let one = Bounds::of(120, at(0), at(50));
        let two = Bounds::of(1_102, at(1_000), at(1_008));
        assert_eq!(one, Bounds { low: 70, high: 120 });
        assert_eq!(one.and(two), Some(Bounds { low: 94, high: 102 }));
        assert_eq!(one.and(Bounds::of(9_000, at(0), at(50))), None);
        let facts = Bounds {
            low: -3_000_000,
            high: -1_000_000,
        }
        .facts(3);
        assert_eq!(facts["offset_us"], "-2000");
        assert_eq!(facts["either_way_us"], "1001");
    }
}
