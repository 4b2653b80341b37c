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
};
use crate::{
    capture::{
        exactness::{self, Layer, Look},
        nflog::rules::{Check, Finding, Rules, RulesError},
    },
    input::{Event, Gap, GapCause},
    platform::clock::Clock,
    time::Timestamp,
};

/// Name of the thread.
pub(crate) const THREAD: &str = "rules";
/// How long the capture thread may take to drain.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How gaps name our rules.
const PLACE: &str = "packet filter rules";

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

    /// Looks at the rules and mends them.
    fn look(&mut self) -> Option<Finding> {
        self.look_at_layer();
        let outcome = self.rules.check().and_then(|check| {
            self.read_counters(&check);
            self.mend(&check.finding)?;
            Ok(check.finding)
        });
        match outcome {
            Ok(finding) => {
                self.blind = false;
                self.last_good = self.clock.now();
                Some(finding)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    self.tell(GapCause::Degraded, None, PLACE.into(), &error.to_string());
                }
                None
            }
        }
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

    fn mend(&mut self, finding: &Finding) -> Result<(), RulesError> {
        match finding {
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
                self.rules.mend_jumps()?;
                self.tell(
                    GapCause::RulesMissing,
                    None,
                    PLACE.into(),
                    "another program removed or repeated the jump to our rules; it was put right, \
                     and what was sent meanwhile may be missing",
                );
            }
            Finding::Damaged => self.rebuild()?,
        }
        self.repairs += 1;
        Ok(())
    }

    /// Sets the rules anew and opens a new account for their counters.
    fn rebuild(&mut self) -> Result<(), RulesError> {
        self.rules.remove()?;
        let settled = self.settle();
        if let Some(standings) = settled {
            self.tell_tails(&standings);
            for (counted, standing) in self.counted.iter_mut().zip(&standings) {
                counted.renew(standing);
            }
        }
        self.rules.reinstall()?;
        self.tell(
            GapCause::RulesMissing,
            None,
            PLACE.into(),
            "another program removed or changed our rules; they were set anew, and what was sent \
             meanwhile is missing",
        );
        Ok(())
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
                if matches!(check.finding, Finding::Damaged | Finding::JumpsWrong) {
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
            ..sums.to_live(CaptureWay::Nflog)
        })
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
