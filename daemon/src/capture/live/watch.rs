//! The `rules` thread: keeps our packet filter rules in place and does the sums of loss.
//!
//! In: the rules, requests, a turn every few seconds. Out: gaps for what was missed and what was
//! lost, and the totals at the end. It runs commands that may take seconds, so it is not the
//! capture thread.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    CaptureWay, GroupTotals, LiveError, LiveTotals,
    ledger::{Counted, Standing},
    receive::{self, Command, LoopTotals},
    sums::{self, READINGS_AGAIN_MAX, READINGS_MAX, Sums},
};
use crate::{
    capture::{
        exactness::{self, Layer, Look},
        nflog::rules::{Check, Finding, Rules, RulesError},
    },
    input::{Event, Gap, GapCause, Tally},
    platform::clock::Clock,
    time::Timestamp,
};

/// Name of the thread.
pub(crate) const THREAD: &str = "rules";
/// How long the capture thread may take to drain.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How gaps name our rules.
const PLACE: &str = "packet filter rules";
/// What something else decided about is told at most this often.
const ELSEWHERE_NANOS: i64 = 60_000_000_000;

/// What is asked of the thread. A closed channel means: end.
pub(crate) enum Request {
    /// Look now.
    Check(SyncSender<Option<Finding>>),
}

/// The thread's state.
pub(crate) struct Watch {
    rules: Rules,
    layer: Option<Layer>,
    groups: [u16; 2],
    counted: [Counted; 2],
    sums: Sums,
    elsewhere_told: i64,
    /// Since when the first of the holes may have been there that were told without a count.
    untold_since: Option<Timestamp>,
    commands: Sender<Command>,
    capture: JoinHandle<LoopTotals>,
    clock: Arc<dyn Clock>,
    last_good: Timestamp,
    repairs: u64,
    /// Whether the last look failed, so that a lasting failure is told once.
    blind: bool,
    /// Whether somebody's rules stand behind ours, so that this is told once.
    behind: bool,
    /// Whether the last look at the layer failed, so that a lasting failure is told once.
    layer_blind: bool,
}

impl Watch {
    pub(crate) fn new(
        (rules, layer): (Rules, Option<Layer>),
        groups: [u16; 2],
        (commands, capture): (Sender<Command>, JoinHandle<LoopTotals>),
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            sums: Sums::new(&rules),
            elsewhere_told: clock.monotonic_nanos(),
            untold_since: None,
            rules,
            layer,
            groups,
            counted: [Counted::default(); 2],
            commands,
            capture,
            last_good: clock.now(),
            clock,
            repairs: 0,
            blind: false,
            behind: false,
            layer_blind: false,
        }
    }

    /// Opens the sums, before anybody is told that packets are watched: what was counted before our
    /// rules were set is not of this watch.
    pub(crate) fn open_sums(&mut self) {
        if let Err(error) = self.sums.close_in(&self.rules, READINGS_MAX) {
            self.tell_blind(&error);
        }
    }

    /// Runs until the request channel is closed; then removes the rules and sums up.
    pub(crate) fn run(
        mut self,
        requests: &Receiver<Request>,
        every: Duration,
    ) -> Result<LiveTotals, LiveError> {
        loop {
            match requests.recv_timeout(every) {
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                }
                Ok(Request::Check(reply)) => {
                    // Who asked and went away needs no answer.
                    let _ = reply.try_send(self.look());
                }
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    /// Looks at the exactness layer and puts it right.
    fn look_at_layer(&mut self) {
        let Some(layer) = &mut self.layer else {
            return;
        };
        let look = layer.look();
        let was_blind = std::mem::replace(&mut self.layer_blind, look.is_err());
        let detail = match look {
            Ok(Look::Intact) => return,
            Ok(Look::Mended) => "another program removed or changed our rule in the raw table, or \
                                 its program; it was put right, and owners of what was sent \
                                 meanwhile rest on NFLOG and lookups"
                .to_owned(),
            Err(_) if was_blind => return,
            Err(error) => format!("{error}; owners may rest on NFLOG and lookups from here on"),
        };
        self.tell(GapCause::Degraded, None, exactness::PLACE.into(), &detail);
    }

    /// Looks at the rules, does the sums, and mends what is wrong.
    fn look(&mut self) -> Option<Finding> {
        self.look_at_layer();
        let began = self.clock.now();
        let outcome = self.rules.check().and_then(|check| {
            self.read_counters(&check);
            self.do_sums(&check)?;
            self.mend(&check)?;
            Ok(check.finding)
        });
        match outcome {
            Ok(finding) => {
                self.blind = false;
                // Rules that had to be mended are good since then, which is set there.
                self.last_good = self.last_good.max(began);
                Some(finding)
            }
            Err(error) => {
                self.tell_blind(&error);
                None
            }
        }
    }

    fn tell_blind(&mut self, error: &RulesError) {
        if !std::mem::replace(&mut self.blind, true) {
            self.tell(GapCause::Degraded, None, PLACE.into(), &error.to_string());
        }
    }

    fn do_sums(&mut self, check: &Check) -> Result<(), RulesError> {
        let noted = self.sums.note(&self.rules, check);
        if self.sums.take_counter_gone() {
            self.tell(
                GapCause::Degraded,
                Some(0),
                "independent counter".into(),
                "another program removed or changed the counter in the raw table; it was set anew, \
                 and what is sent in this session has no total",
            );
        }
        noted?;
        let in_place = matches!(check.finding, Finding::Intact | Finding::JumpNotLast);
        if in_place && self.sums.is_open() {
            self.sums.close_in(&self.rules, READINGS_AGAIN_MAX)?;
        }
        self.tell_untold();
        let now = self.clock.monotonic_nanos();
        if now.saturating_sub(self.elsewhere_told) >= ELSEWHERE_NANOS {
            self.tell_elsewhere();
        }
        Ok(())
    }

    /// Tells what was missed in holes that had no count when they were told, once it is known.
    fn tell_untold(&mut self) {
        if self.sums.is_open() {
            return;
        }
        let since = self.untold_since.take();
        let packets = self.sums.take_missed();
        if packets == 0 {
            return;
        }
        let mut gap = gap_until_now(
            &*self.clock,
            GapCause::RulesMissing,
            since,
            PLACE.into(),
            "what was missed in holes of our rules that were told without a count has been counted",
        );
        gap.packets = Some(packets);
        // A capture thread that is gone is noticed when it is joined.
        let _ = self.commands.send(Command::Event(Event::Gap(gap)));
    }

    fn tell_elsewhere(&mut self) {
        self.elsewhere_told = self.clock.monotonic_nanos();
        if let Some((packets, detail)) = self.sums.take_elsewhere() {
            self.tell(
                GapCause::DecidedEarlier,
                Some(packets),
                PLACE.into(),
                &detail,
            );
        }
    }

    /// Tells a hole, with what passed through it; `mending`: when its end was begun.
    fn tell_hole(&mut self, mending: Timestamp, detail: &str) -> Result<(), RulesError> {
        let mended = self.clock.now();
        let read = self.sums.close_in(&self.rules, READINGS_MAX);
        let counted = read.as_ref().copied().unwrap_or(sums::Counted::UNREAD);
        match counted.exact() {
            Some(missed) => self.sums.tell_missed(missed),
            None => drop(self.untold_since.get_or_insert(self.last_good)),
        }
        let gap = Gap {
            at: mended,
            cause: GapCause::RulesMissing,
            from: Some(self.last_good),
            to: Some(mended),
            packets: counted.exact(),
            place: PLACE.into(),
            detail: format!("{detail}{}", counted.remark()),
        };
        // A capture thread that is gone is noticed when it is joined.
        let _ = self.commands.send(Command::Event(Event::Gap(gap)));
        self.last_good = mending;
        read.map(drop)
    }

    fn read_counters(&mut self, check: &Check) {
        // Rules that are damaged count from 0 again: that is no reset by somebody else.
        let damaged = check.finding == Finding::Damaged;
        for (group, counted) in self.groups.into_iter().zip(&mut self.counted) {
            let counter = check.counts.get(&group).copied().unwrap_or(0);
            if damaged {
                counted.read_at_least(counter);
            } else if !counted.read(counter) {
                let gap = gap_until_now(
                    &*self.clock,
                    GapCause::KernelLoss,
                    Some(self.last_good),
                    receive::place(group),
                    "another program reset the rules' counters, so a loss just before that may \
                     not be counted",
                );
                // A capture thread that is gone is noticed when it is joined.
                let _ = self.commands.send(Command::Event(Event::Gap(gap)));
            }
        }
    }

    fn mend(&mut self, check: &Check) -> Result<(), RulesError> {
        match &check.finding {
            Finding::Intact => {
                self.behind = false;
                return Ok(());
            }
            Finding::JumpNotLast => {
                if !std::mem::replace(&mut self.behind, true) {
                    self.tell(
                        GapCause::Degraded,
                        Some(0),
                        PLACE.into(),
                        "another program added rules behind ours; nothing was missed, but what \
                         they drop is still seen here as sent",
                    );
                }
                return Ok(());
            }
            Finding::JumpsWrong => {
                let mending = self.clock.now();
                self.rules.mend_jumps()?;
                self.sums.jumps_were_wrong(check);
                self.tell_hole(
                    mending,
                    "another program removed or repeated the jump to our rules; it was put right, \
                     and what was sent meanwhile may be missing",
                )?;
            }
            Finding::Damaged => self.rebuild()?,
        }
        self.repairs += 1;
        Ok(())
    }

    /// Sets the rules anew and opens a new account for their counters.
    fn rebuild(&mut self) -> Result<(), RulesError> {
        self.rules.remove_rules()?;
        let settled = self.settle();
        let complete = settled.is_some_and(|standings| {
            let groups = self.counted.iter().zip(&standings);
            groups.fold(true, |all, (counted, standing)| {
                all && counted.is_complete(standing)
            })
        });
        if let Some(standings) = &settled {
            for (counted, standing) in self.counted.iter_mut().zip(standings) {
                counted.renew(standing);
            }
        }
        self.sums
            .rules_are_set_anew(settled.as_ref().map(<[Standing; 2]>::as_slice), complete);
        let mending = self.clock.now();
        self.rules.reinstall()?;
        self.tell_hole(
            mending,
            "another program removed or changed our rules; they were set anew, and what was sent \
             meanwhile is missing",
        )
    }

    /// Waits until nothing is under way.
    fn settle(&self) -> Option<[Standing; 2]> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.commands.send(Command::Settle(reply)).ok()?;
        answer.recv_timeout(SETTLE_TIMEOUT).ok()
    }

    /// Tells what was lost and that no hole showed.
    fn tell_tails(&mut self, standings: &[Standing; 2]) {
        for ((group, counted), standing) in self
            .groups
            .into_iter()
            .zip(&mut self.counted)
            .zip(standings)
        {
            let tail = counted.tail(standing);
            if tail > 0 {
                let mut gap = gap_until_now(
                    &*self.clock,
                    GapCause::KernelLoss,
                    standing.last_at,
                    receive::place(group),
                    "the rules counted more packets than were received or missing between others: \
                     the last ones were lost",
                );
                gap.packets = Some(tail);
                let _ = self.commands.send(Command::Event(Event::Gap(gap)));
            }
        }
    }

    fn tell(&self, cause: GapCause, packets: Option<u64>, place: String, detail: &str) {
        let mut gap = gap_until_now(&*self.clock, cause, Some(self.last_good), place, detail);
        gap.packets = packets;
        // A capture thread that is gone is noticed when it is joined.
        let _ = self.commands.send(Command::Event(Event::Gap(gap)));
    }

    /// Jumps first, then the rule of the exactness layer, then counters, then the last packets, then the sums, then the chains.
    fn finish(mut self) -> Result<LiveTotals, LiveError> {
        // A hole of the last moments is mended too: that is how it is counted.
        self.look();
        if !self.blind && self.sums.is_open() {
            // What stays open, or cannot be read, is told by a total that is null.
            let _ = self.sums.close_in(&self.rules, READINGS_MAX);
        }
        self.tell_untold();
        let before = self.rules.check();
        let read = before
            .and_then(|before| {
                self.rules.remove_jumps()?;
                let mut check = self.rules.check()?;
                // With the jumps gone only damage means anything.
                check.finding = before.finding;
                Ok(check)
            })
            .map(|check| {
                self.read_counters(&check);
                self.sums.last(&check);
                if matches!(check.finding, Finding::Damaged | Finding::JumpsWrong) {
                    self.sums.doubt();
                    self.tell(
                        GapCause::RulesMissing,
                        None,
                        PLACE.into(),
                        "another program removed or changed our rules shortly before the stop",
                    );
                }
            });
        let detached = self.layer.as_mut().map_or(Ok(()), Layer::detach);
        let standings = self.settle();
        match (&read, &standings) {
            (Ok(()), Some(standings)) => self.tell_tails(standings),
            (Err(error), _) => self.tell(
                GapCause::KernelLoss,
                None,
                PLACE.into(),
                &format!("the counters could not be read at the stop, so losses at the end are not known: {error}"),
            ),
            (Ok(()), None) => {}
        }
        let removed = self.rules.remove();
        self.tell_elsewhere();
        let tally = self.tally(read.is_ok(), standings.as_ref());
        // The pin goes only after the rule.
        let unpinned = detached.and_then(|()| self.layer.take().map_or(Ok(()), Layer::remove));
        let totals = self.totals(read.is_ok(), standings.as_ref());
        // Closing the channel ends the capture thread.
        drop(self.commands);
        let sums = self.capture.join().map_err(|_| LiveError::ThreadGone {
            name: receive::THREAD,
        })?;
        removed?;
        unpinned?;
        let lost = totals.iter().map(|group| group.lost).sum();
        Ok(LiveTotals {
            groups: totals,
            lost,
            repairs: self.repairs,
            tally,
            ..sums.to_live(CaptureWay::Nflog)
        })
    }

    /// The sums, told as the last input of the stream.
    fn tally(&self, counters: bool, standings: Option<&[Standing; 2]>) -> Option<Tally> {
        let mut tally = self.sums.tally(self.clock.now(), standings?);
        if !counters {
            tally.counter = None;
        }
        // A capture thread that is gone is noticed when it is joined.
        let _ = self.commands.send(Command::Event(Event::Tally(tally)));
        Some(tally)
    }

    fn totals(&self, counters: bool, standings: Option<&[Standing; 2]>) -> Vec<GroupTotals> {
        let Some(standings) = standings else {
            return Vec::new();
        };
        self.groups
            .into_iter()
            .zip(&self.counted)
            .zip(standings)
            .map(|((group, counted), standing)| GroupTotals {
                group,
                received: standing.received,
                counted: counters.then(|| counted.total()),
                lost: standing.reported + counted.told(),
            })
            .collect()
    }
}

fn gap_until_now(
    clock: &dyn Clock,
    cause: GapCause,
    from: Option<Timestamp>,
    place: String,
    detail: &str,
) -> Gap {
    let at = clock.now();
    Gap {
        at,
        cause,
        from,
        to: Some(at),
        packets: None,
        place,
        detail: detail.to_owned(),
    }
}
