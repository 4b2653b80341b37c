//! The sums of a watch: what the independent counter counted, against what our rules logged.
//!
//! In: looks at our rules, and readings of the counter beside them. Out: how many packets a hole
//! in our rules missed, how many something else decided about, and the [`Tally`] at the end. It
//! runs commands, so it belongs to the `rules` thread.

use super::{
    account::{Account, Parts, Reading},
    ledger::Standing,
};
use crate::{
    capture::nflog::{
        counter::Counter,
        rules::{Check, Finding, Rules, RulesError},
    },
    input::Tally,
    time::Timestamp,
};

/// Readings at most that are taken to know a remainder to the packet when a hole was mended, and at
/// the stop; on a handset that sends without a pause it may stay between bounds.
pub(crate) const READINGS_MAX: usize = 8;
/// Readings at most at each later look, while it is not known.
pub(crate) const READINGS_AGAIN_MAX: usize = 4;
/// Rules that are named when it is told what they decided.
const NAMED_MAX: usize = 4;

/// What a hole came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// What could be booked.
    pub(crate) parts: Parts,
    /// Nothing counts in some family, or its remainder is known between bounds only.
    pub(crate) open: bool,
    /// Upper bound of all that passed; none when there is none.
    pub(crate) at_most: Option<u64>,
}

impl Counted {
    /// Packets that were missed, where that is known to the packet.
    pub(crate) fn exact(&self) -> Option<u64> {
        (!self.open && self.parts.unattributed == 0).then_some(self.parts.missed)
    }

    /// Nothing could be read.
    pub(crate) const UNREAD: Self = Self {
        parts: Parts {
            missed: 0,
            elsewhere: 0,
            unattributed: 0,
            repeated: 0,
        },
        open: true,
        at_most: None,
    };

    /// What else is to be said of a hole.
    pub(crate) fn remark(&self) -> String {
        match (self.exact(), self.at_most) {
            (Some(_), _) if self.parts.repeated > 0 => format!(
                "; {} packets were logged twice by a jump that was repeated",
                self.parts.repeated
            ),
            (None, Some(most)) => format!(
                "; at most {most} packets were sent meanwhile, of which some may have been lost or \
                 decided about by other rules"
            ),
            (Some(_) | None, _) => String::new(),
        }
    }
}

/// What has been told of what the accounts booked. The difference is what is still to be told: nothing
/// booked is lost to it, also where the reading behind it fails.
#[derive(Debug, Clone, Default)]
struct Told {
    missed: u64,
    elsewhere: u64,
    /// The rules in front of ours, of all families, when that was last told.
    earlier: Vec<Vec<(String, u64)>>,
}

/// An account for each family.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    accounts: Vec<Account>,
    /// The rules in front of ours as last seen.
    earlier: Vec<Vec<(String, u64)>>,
    told: Told,
    /// Somebody removed a counter, and nobody was told.
    counter_gone: bool,
    /// Lost packets told when our rules were last set.
    losses: u64,
}

impl Sums {
    pub(crate) fn new(rules: &Rules) -> Self {
        let families = rules.families();
        Self {
            accounts: vec![Account::default(); families],
            earlier: vec![Vec::new(); families],
            told: Told::default(),
            counter_gone: false,
            losses: 0,
        }
    }

    /// Reads the counter behind a look at rules that are in place. One that somebody removed is set
    /// anew; [`Sums::take_counter_gone`] says so.
    pub(crate) fn note(&mut self, rules: &Rules, check: &Check) -> Result<(), RulesError> {
        for (number, family) in check.families.iter().enumerate() {
            let Some(account) = self.accounts.get_mut(number) else {
                continue;
            };
            if let Some(earlier) = self.earlier.get_mut(number) {
                earlier.clone_from(&family.earlier);
            }
            match rules.counter(number)? {
                Counter::Gone => {
                    rules.renew_counter(number)?;
                    account.counter_lost();
                    self.counter_gone = true;
                }
                Counter::Counted(after) if in_place(&family.finding) => {
                    let reading = Reading {
                        before: None,
                        sent: family.sent,
                        after,
                        earlier: family.earlier.clone(),
                    };
                    account.read(&reading);
                }
                // There is none, or its rules are mended next.
                Counter::Missing | Counter::Counted(_) => {}
            }
        }
        Ok(())
    }

    /// What all families' accounts booked so far.
    fn booked(&self) -> Parts {
        let parts = self.accounts.iter().map(Account::parts);
        parts.fold(Parts::default(), Parts::plus)
    }

    /// Whether somebody removed a counter since this was asked last.
    pub(crate) const fn take_counter_gone(&mut self) -> bool {
        std::mem::replace(&mut self.counter_gone, false)
    }

    /// Packets that were missed and not told yet; from here on they count as told.
    pub(crate) fn take_missed(&mut self) -> u64 {
        let missed = self.booked().missed;
        missed.saturating_sub(std::mem::replace(&mut self.told.missed, missed))
    }

    /// So many packets that were missed are told with their hole.
    pub(crate) const fn tell_missed(&mut self, packets: u64) {
        self.told.missed = self.told.missed.saturating_add(packets);
    }

    /// A jump of a family was wrong; its rules' counters stayed.
    pub(crate) fn jumps_were_wrong(&mut self, check: &Check) {
        for (account, family) in self.accounts.iter_mut().zip(&check.families) {
            if !in_place(&family.finding) {
                account.hole();
            }
        }
    }

    /// Our rules are gone and those that follow count from 0. `standings`: the groups, drained.
    pub(crate) fn rules_are_set_anew(&mut self, standings: Option<&[Standing]>, complete: bool) {
        let losses = standings.map(losses);
        let lossless = complete && losses == Some(self.losses);
        self.losses = losses.unwrap_or(self.losses);
        for (number, account) in self.accounts.iter_mut().enumerate() {
            let received = standings.map_or(account.logged(), |standings| sent(standings, number));
            account.renew(received, lossless);
        }
    }

    /// Reads until each remainder is known to the packet, but at most `readings` times a family.
    pub(crate) fn close_in(
        &mut self,
        rules: &Rules,
        readings: usize,
    ) -> Result<Counted, RulesError> {
        let mut counted = Counted {
            at_most: Some(0),
            ..Counted::default()
        };
        for (number, account) in self.accounts.iter_mut().enumerate() {
            let parts = close_in(rules, number, account, readings)?;
            let open = account.is_open() || account.take_uncounted();
            counted.open |= open;
            counted.parts = counted.parts.plus(parts);
            let most = if open {
                account.open_at_most()
            } else {
                Some(parts.missed.saturating_add(parts.unattributed))
            };
            counted.at_most = counted
                .at_most
                .zip(most)
                .map(|(sum, most)| sum.saturating_add(most));
        }
        Ok(counted)
    }

    /// Whether some family's remainder waits to be known to the packet.
    pub(crate) fn is_open(&self) -> bool {
        self.accounts.iter().any(Account::is_open)
    }

    /// The jumps are gone; these are our rules' last counters.
    pub(crate) fn last(&mut self, check: &Check) {
        for (account, family) in self.accounts.iter_mut().zip(&check.families) {
            account.last_sent(family.sent);
        }
    }

    /// Something happened to our rules that was not looked into any more.
    pub(crate) fn doubt(&mut self) {
        self.accounts.iter_mut().for_each(Account::hole);
    }

    /// What something else decided about since it was last told, with the rules that say so.
    pub(crate) fn take_elsewhere(&mut self) -> Option<(u64, String)> {
        let elsewhere = self.booked().elsewhere;
        let told = std::mem::replace(&mut self.told.elsewhere, elsewhere);
        let packets = elsewhere.saturating_sub(told);
        let before = std::mem::replace(&mut self.told.earlier, self.earlier.clone());
        if packets == 0 {
            return None;
        }
        let mut named = Vec::new();
        for (number, now) in self.earlier.iter().enumerate() {
            let was = before.get(number).map_or(&[][..], Vec::as_slice);
            for (rule, count) in now {
                let known = was.iter().find(|(known, _)| known == rule);
                let known = known.map_or(0, |(_, count)| *count);
                if *count > known {
                    named.push(format!("`{rule}` {}", count - known));
                }
            }
        }
        let more = named.len().saturating_sub(NAMED_MAX);
        named.truncate(NAMED_MAX);
        let mut detail = String::from(
            "packets were accepted or dropped before our rules saw them, so they may or may not \
             have been sent",
        );
        if named.is_empty() {
            detail.push_str("; no rule in front of ours in the filter table counted them");
        } else {
            detail.push_str("; rules that counted since: ");
            detail.push_str(&named.join(", "));
        }
        if more > 0 {
            let more = format!(" and {more} more");
            detail.push_str(&more);
        }
        Some((packets, detail))
    }

    /// The sums at the end; `standings`: the groups, drained.
    pub(crate) fn tally(&self, at: Timestamp, standings: &[Standing]) -> Tally {
        let mut tally = Tally {
            at,
            counter: Some(0),
            received: 0,
            lost: 0,
            missed: 0,
            elsewhere: 0,
            unattributed: 0,
            repeated: 0,
        };
        for (number, account) in self.accounts.iter().enumerate() {
            let received = sent(standings, number);
            let parts = account.parts();
            tally.counter = tally
                .counter
                .zip(account.counted())
                .and_then(|(sum, counted)| sum.checked_add(counted));
            tally.received += received;
            tally.lost += account.logged().saturating_sub(received);
            tally.missed += parts.missed;
            tally.elsewhere += parts.elsewhere;
            tally.unattributed += parts.unattributed;
            tally.repeated += parts.repeated;
        }
        tally
    }
}

fn close_in(
    rules: &Rules,
    number: usize,
    account: &mut Account,
    readings: usize,
) -> Result<Parts, RulesError> {
    let mut parts = Parts::default();
    for _ in 0..readings {
        if !account.is_open() {
            break;
        }
        let Counter::Counted(before) = rules.counter(number)? else {
            break;
        };
        let Some(family) = rules.check_family(number)? else {
            break;
        };
        if !in_place(&family.finding) {
            // Another hole: the next look mends it.
            break;
        }
        let Counter::Counted(after) = rules.counter(number)? else {
            break;
        };
        let reading = Reading {
            before: Some(before),
            sent: family.sent,
            after,
            earlier: family.earlier,
        };
        parts = parts.plus(account.read(&reading).unwrap_or_default());
    }
    Ok(parts)
}

const fn in_place(finding: &Finding) -> bool {
    matches!(finding, Finding::Intact | Finding::JumpNotLast)
}

/// Packets of a family that the handset sent and we received.
fn sent(standings: &[Standing], family: usize) -> u64 {
    let of = |standing: &Standing| standing.sent.get(family).copied().unwrap_or(0);
    standings.iter().map(of).sum()
}

fn losses(standings: &[Standing]) -> u64 {
    standings.iter().map(|standing| standing.reported).sum()
}
