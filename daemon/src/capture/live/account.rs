//! What the independent counter counted, and where each packet of it is.
//!
//! In: readings of one family's counter, each with what our rules had logged between its two
//! moments. Out: how many packets were missed while our rules were gone, and how many something
//! else decided about. Pure.
//!
//! *Remainder* is what the counter counted and our rules did not log. While our rules are in place
//! and nothing decides before them it does not change; so its growth over a hole is what was
//! missed. The two tables are read one after the other, and packets pass between: a reading gives
//! bounds, and several of one moment's remainder close in on it.

/// A reading: the counter, then our rules, then the counter again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The counter before; none: not read this time, so that what was read last bounds it.
    pub(crate) before: Option<u64>,
    /// Packets that our present rules had logged.
    pub(crate) sent: u64,
    /// The counter after.
    pub(crate) after: u64,
    /// Rules that decide before ours, with their counters.
    pub(crate) earlier: Vec<(String, u64)>,
}

/// What the growth of the remainder was booked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// Passed while our rules were gone.
    pub(crate) missed: u64,
    /// Decided by something else before our rules, which were in place.
    pub(crate) elsewhere: u64,
    /// Either of the two, or lost while our rules were being removed.
    pub(crate) unattributed: u64,
    /// Logged more often than counted: a jump of ours was there twice.
    pub(crate) repeated: u64,
}

impl Parts {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            missed: self.missed.saturating_add(other.missed),
            elsewhere: self.elsewhere.saturating_add(other.elsewhere),
            unattributed: self.unattributed.saturating_add(other.unattributed),
            repeated: self.repeated.saturating_add(other.repeated),
        }
    }
}

/// The remainder at a moment at which it was known exactly.
#[derive(Debug, Clone)]
struct Settled {
    remainder: i128,
    /// Packets that our rules had logged then.
    logged: u64,
    earlier: Vec<(String, u64)>,
}

/// What happened to our rules in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Span {
    /// They were in place.
    #[default]
    Whole,
    /// They were gone for a time.
    Hole,
    /// Besides, something that the sums cannot tell apart.
    Doubtful,
}

/// One family's account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// What was logged by rules of ours that are gone.
    carried: u64,
    /// The counter of our present rules when it was last read.
    sent: u64,
    /// The independent counter when it was last read.
    counter: u64,
    /// The remainder when the account was opened: packets from before our rules.
    base: i128,
    settled: Option<Settled>,
    /// Bounds of the remainder, of readings since it last may have changed.
    window: Option<(i128, i128)>,
    /// What happened to our rules since the remainder was last settled.
    span: Span,
    /// Something that shows in no rule decided about packets before ours.
    unexplained: bool,
    /// The counter itself was gone for a time, or our rules before the account was opened: what
    /// the sums say is not all.
    broken: bool,
    /// A hole that no count can be given for has been closed and not been asked for.
    uncounted: bool,
    parts: Parts,
}

impl Account {
    /// A reading of rules that are in place. Gives what was booked by it, once the remainder is
    /// known exactly.
    pub(crate) fn read(&mut self, reading: &Reading) -> Option<Parts> {
        if reading.sent < self.sent {
            // Somebody reset our rules' counters: what they had is not known beyond the last look.
            self.carried = self.carried.saturating_add(self.sent);
            self.span = Span::Doubtful;
            self.window = None;
        }
        let before = reading.before.unwrap_or(self.counter);
        self.sent = reading.sent;
        self.counter = reading.after;
        let logged = self.logged();
        let mut low = i128::from(before) - i128::from(logged);
        let high = i128::from(reading.after) - i128::from(logged);
        if let (Some(settled), Span::Whole) = (&self.settled, self.span) {
            // Nothing was missed since, so it can only have grown.
            low = low.max(settled.remainder);
        }
        let own = (low, high);
        let known = self.settled.as_ref().map(|settled| settled.remainder);
        let was = self.window;
        let (low, high) = match was {
            Some((was_low, was_high)) if was_low.max(low) <= was_high.min(high) => {
                (was_low.max(low), was_high.min(high))
            }
            // It has changed since: only this reading counts.
            _ => (low, high),
        };
        self.window = Some((low, high));
        // A sender can be held up between the two tables for as long as a reading takes, so a
        // change must show twice, or rest on a counter that was read long before.
        let sure = low == high
            && (known == Some(low)
                || was == Some((low, high))
                || (reading.before.is_none() && own == (low, high)));
        sure.then(|| self.settle(low, reading.earlier.clone()))
    }

    /// Our rules were gone for a time, or are being set anew.
    pub(crate) fn hole(&mut self) {
        self.span = self.span.max(Span::Hole);
        self.window = None;
    }

    /// Our rules are gone, and those that follow count from 0. `received` is all that was received
    /// of this family so far; `lossless`: nothing was lost since the rules were last set.
    pub(crate) fn renew(&mut self, received: u64, lossless: bool) {
        self.hole();
        // What was received of them was logged. Of what was lost the direction is not known.
        self.carried = received;
        self.sent = 0;
        if !lossless {
            self.span = Span::Doubtful;
        }
    }

    /// The counter was gone and counts from 0 again: a new account, with the old one's results.
    pub(crate) fn counter_lost(&mut self) {
        self.settled = None;
        self.window = None;
        self.broken = true;
        self.span = Span::Whole;
        self.counter = 0;
    }

    /// Whether a hole waits to be counted.
    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self.span, Span::Whole) || self.settled.is_none()
    }

    /// Whether a hole was closed for which no count can be given; asked once.
    pub(crate) const fn take_uncounted(&mut self) -> bool {
        std::mem::replace(&mut self.uncounted, false)
    }

    /// At most this many packets are not booked yet; none when nothing bounds them.
    pub(crate) fn open_at_most(&self) -> Option<u64> {
        let settled = self.settled.as_ref()?;
        let (_, high) = self.window?;
        u64::try_from((high - settled.remainder).max(0)).ok()
    }

    /// Packets that our rules logged, all of them together.
    pub(crate) const fn logged(&self) -> u64 {
        self.carried.saturating_add(self.sent)
    }

    /// Our rules' counter once the jumps are gone: what they logged since the last reading was
    /// counted independently too.
    pub(crate) const fn last_sent(&mut self, sent: u64) {
        self.sent = sent;
    }

    /// What was booked so far.
    pub(crate) const fn parts(&self) -> Parts {
        self.parts
    }

    /// What the counter counted from the setting of our rules to the last reading of them; none
    /// when that is not known to the packet.
    pub(crate) fn counted(&self) -> Option<u64> {
        let settled = self.settled.as_ref()?;
        if self.is_open() || self.broken {
            return None;
        }
        let at_settling = settled.remainder - self.base + i128::from(settled.logged);
        let since = self.logged().checked_sub(settled.logged)?;
        u64::try_from(at_settling + i128::from(since)).ok()
    }

    fn settle(&mut self, remainder: i128, earlier: Vec<(String, u64)>) -> Parts {
        let logged = self.logged();
        let settled = Settled {
            remainder,
            logged,
            earlier,
        };
        let span = std::mem::take(&mut self.span);
        self.window = None;
        let Some(before) = self.settled.replace(settled) else {
            // What passed before our rules and what passed while they were gone is one number.
            self.base = remainder;
            self.uncounted |= span != Span::Whole;
            self.broken |= span != Span::Whole;
            return Parts::default();
        };
        let grown = remainder - before.remainder;
        let count = u64::try_from(grown.unsigned_abs()).unwrap_or(u64::MAX);
        let decided = self
            .settled
            .as_ref()
            .and_then(|now| growth(&before.earlier, &now.earlier));
        let mut booked = Parts::default();
        if grown < 0 {
            booked.repeated = count;
        } else if span == Span::Doubtful {
            booked.unattributed = count;
        } else if span == Span::Whole {
            booked.elsewhere = count;
            self.unexplained |= count > 0 && decided.is_none_or(|decided| decided < count);
        } else if decided == Some(0) && !self.unexplained {
            booked.missed = count;
        } else {
            booked.unattributed = count;
        }
        self.parts = self.parts.plus(booked);
        booked
    }
}

/// How much the counters of the same rules have grown; none when the rules are not the same, or a
/// counter went back.
pub(crate) fn growth(before: &[(String, u64)], now: &[(String, u64)]) -> Option<u64> {
    if before.len() != now.len() {
        return None;
    }
    before
        .iter()
        .zip(now)
        .try_fold(0_u64, |sum, ((rule, was), (same, is))| {
            (rule == same).then_some(())?;
            sum.checked_add(is.checked_sub(*was)?)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(before: u64, sent: u64, after: u64) -> Reading {
        Reading {
            before: Some(before),
            sent,
            after,
            earlier: Vec::new(),
        }
    }

    /// Reads until the account is sure.
    fn sure(account: &mut Account, reading: &Reading) -> Option<Parts> {
        account.read(reading).or_else(|| account.read(reading))
    }

    fn opened() -> Account {
        let mut account = Account::default();
        // Three packets passed before our rules were set.
        assert_eq!(account.read(&reading(3, 0, 3)), None);
        assert_eq!(account.read(&reading(3, 0, 3)), Some(Parts::default()));
        account
    }

    #[test]
    fn a_hole_has_an_exact_count_where_the_rules_stayed() {
        let mut account = opened();
        assert_eq!(
            sure(&mut account, &reading(13, 10, 13)),
            Some(Parts::default())
        );
        account.hole();
        let booked = sure(&mut account, &reading(113, 10, 113)).unwrap();
        assert_eq!(booked.missed, 100);
        account.last_sent(15);
        assert_eq!(account.counted(), Some(115));
        assert_eq!(account.logged() + account.parts().missed, 115);
    }

    #[test]
    fn and_where_they_were_set_anew() {
        let mut account = opened();
        assert!(sure(&mut account, &reading(13, 10, 13)).is_some());
        // Five more were logged, and received; the rules and their counters went with them.
        account.renew(15, true);
        let booked = sure(&mut account, &reading(40, 2, 40)).unwrap();
        assert_eq!(booked.missed, 40 - 3 - 15 - 2);
        assert_eq!(account.counted(), Some(37));
    }

    #[test]
    fn what_was_lost_with_the_rules_is_not_told_from_what_was_missed() {
        let mut account = opened();
        account.renew(15, false);
        let booked = sure(&mut account, &reading(40, 2, 40)).unwrap();
        assert_eq!((booked.missed, booked.unattributed), (0, 20));
    }

    #[test]
    fn packets_between_readings_only_widen_the_bounds() {
        let mut account = opened();
        account.hole();
        assert_eq!(account.read(&reading(60, 10, 65)), None);
        assert!(account.is_open());
        assert_eq!(account.open_at_most(), Some(52));
        assert_eq!(account.counted(), None, "not known to the packet");
        assert_eq!(account.read(&reading(70, 18, 80)), None);
        // One had nothing pass before it, another nothing behind it: 49 is all that fits.
        assert_eq!(account.read(&reading(100, 48, 104)), None);
        assert_eq!(
            account.read(&reading(120, 70, 122)),
            None,
            "it must show twice"
        );
        let booked = account.read(&reading(127, 75, 130)).unwrap();
        assert_eq!(booked.missed, 49);
    }

    #[test]
    fn what_others_decide_is_told_from_what_was_missed() {
        let with = |before, sent, dropped| Reading {
            earlier: vec![("-A OUTPUT -j DROP".to_owned(), dropped)],
            ..reading(before, sent, before)
        };
        let mut account = Account::default();
        sure(&mut account, &with(0, 0, 0)).unwrap();
        let booked = sure(&mut account, &with(30, 20, 10)).unwrap();
        assert_eq!((booked.elsewhere, booked.missed), (10, 0));
        account.hole();
        let booked = sure(&mut account, &with(80, 20, 10)).unwrap();
        assert_eq!(
            booked.missed, 50,
            "the other rule decided nothing meanwhile"
        );
        account.hole();
        let booked = sure(&mut account, &with(100, 20, 15)).unwrap();
        assert_eq!((booked.missed, booked.unattributed), (0, 20), "it did");
        assert_eq!(account.counted(), Some(100));
    }

    #[test]
    fn what_no_rule_explains_casts_doubt_on_later_holes() {
        let mut account = opened();
        assert_eq!(
            sure(&mut account, &reading(20, 10, 20)).unwrap().elsewhere,
            7
        );
        account.hole();
        let booked = sure(&mut account, &reading(25, 10, 25)).unwrap();
        assert_eq!((booked.missed, booked.unattributed), (0, 5));
    }

    #[test]
    fn a_packet_logged_twice_is_seen() {
        let mut account = opened();
        account.hole();
        let booked = sure(&mut account, &reading(13, 16, 13)).unwrap();
        assert_eq!(booked.repeated, 6);
        assert_eq!(account.counted(), Some(10));
    }

    #[test]
    fn a_counter_that_was_gone_gives_no_total_but_goes_on() {
        let mut account = opened();
        account.counter_lost();
        assert_eq!(
            sure(&mut account, &reading(0, 10, 0)),
            Some(Parts::default())
        );
        account.hole();
        assert_eq!(sure(&mut account, &reading(9, 10, 9)).unwrap().missed, 9);
        assert_eq!(account.counted(), None);
    }

    #[test]
    fn a_hole_before_the_account_was_opened_has_no_count() {
        let mut account = Account::default();
        assert_eq!(account.read(&reading(3, 0, 4)), None, "busy from the start");
        account.hole();
        assert_eq!(
            sure(&mut account, &reading(9, 5, 9)),
            Some(Parts::default())
        );
        assert!(account.take_uncounted());
        assert!(!account.take_uncounted());
        assert_eq!(account.counted(), None, "never 0 for unknown");
    }

    /// What happens to a packet, or to the rules.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Packet,
        Decided,
        Look,
        Remove,
        Restore,
    }

    proptest! {
        #[test]
        fn every_packet_is_in_one_part(
            steps in proptest::collection::vec(
                prop_oneof![
                    6 => Just(Step::Packet),
                    1 => Just(Step::Decided),
                    2 => Just(Step::Look),
                    1 => Just(Step::Remove),
                    2 => Just(Step::Restore),
                ],
                0..120,
            )
        ) {
            let mut account = Account::default();
            let (mut counter, mut sent, mut dropped, mut there) = (0_u64, 0_u64, 0_u64, true);
            let look = |account: &mut Account, counter, sent, dropped| {
                let reading = Reading {
                    before: Some(counter),
                    sent,
                    after: counter,
                    earlier: vec![("drop".to_owned(), dropped)],
                };
                sure(account, &reading)
            };
            look(&mut account, counter, sent, dropped);
            for step in steps {
                match step {
                    Step::Packet => {
                        counter += 1;
                        sent += u64::from(there);
                    }
                    Step::Decided => {
                        counter += 1;
                        dropped += 1;
                    }
                    Step::Look if there => {
                        look(&mut account, counter, sent, dropped);
                    }
                    Step::Remove => there = false,
                    Step::Restore if !there => {
                        there = true;
                        account.hole();
                        look(&mut account, counter, sent, dropped);
                    }
                    Step::Look | Step::Restore => {}
                }
            }
            account.hole();
            look(&mut account, counter, sent, dropped);
            let parts = account.parts();
            prop_assert_eq!(account.counted(), Some(counter));
            prop_assert_eq!(
                counter,
                account.logged() + parts.missed + parts.elsewhere + parts.unattributed
            );
        }
    }
}
