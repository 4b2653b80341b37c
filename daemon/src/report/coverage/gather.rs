//! Walks through a case and gathers what the coverage statement is made of.
//!
//! In: records in order. Out: when each session watched, then everything that was counted in a
//! span. One record is in memory at a time.

use std::collections::BTreeMap;

use super::{
    ClockStep, Coverage, Flows, Hole, SessionSpan, Weaker,
    counted::Interfaces,
    sessions::{Ended, Watch},
    timeline::{Span, rest, union, us_within},
};
use crate::{
    evidence::{
        Kind, Reader, Record,
        body::{
            Flow, Gap, GapCause, InterfaceChange, InterfaceCounters, Session, Stop, Summary,
            Suspension, UncleanStop,
        },
        journal::{JournalBody, read_block},
    },
    input::{CONFOUNDER, Observation},
    report::export::{ExportError, parse},
    time::Timestamp,
};

/// The sessions of a case.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    watches: Vec<Watch>,
    /// The machine's start before the first session, or that session's start.
    pub(super) first_known: Option<Timestamp>,
    /// The last moment of which a session says anything.
    pub(super) last_known: Option<Timestamp>,
}

/// The kinds that tell when a session watched.
const TELLING: [Kind; 9] = [
    Kind::SESSION,
    Kind::STOP,
    Kind::UNCLEAN_STOP,
    Kind::GAP,
    Kind::JOURNAL,
    Kind::SUMMARY,
    Kind::COUNTERS,
    Kind::SUSPENSION,
    Kind::INTERFACE,
];

/// The first walk: when each session watched.
pub(super) fn sessions(reader: &Reader) -> Result<Sessions, ExportError> {
    let mut sessions = Sessions::default();
    for record in reader.records(&TELLING) {
        let record = record?;
        match record.kind.as_str() {
            "session" => sessions
                .watches
                .push(Watch::new(parse::<Session>(&record)?)),
            "stop" => {
                let stop: Stop = parse(&record)?;
                if let Some(watch) = sessions.watches.last_mut() {
                    watch.stop(&stop);
                }
            }
            "unclean_stop" => {
                let stop: UncleanStop = parse(&record)?;
                if let Some(watch) = sessions.watches.last_mut() {
                    watch.unclean(&stop);
                }
            }
            "summary" => {
                if let Some(watch) = sessions.watches.last_mut() {
                    watch.has_summary = true;
                }
            }
            "gap" => sessions.gap(&parse(&record)?),
            _ => sessions.reach(&record)?,
        }
    }
    let live = || sessions.watches.iter().filter(|watch| watch.is_live());
    let first = live().next();
    sessions.first_known = first.and_then(|watch| match watch.record.booted {
        Some(booted) => watch.record.at.map(|at| at.min(booted)),
        None => watch.record.at,
    });
    sessions.last_known = live().filter_map(Watch::known).max();
    Ok(sessions)
}

impl Sessions {
    fn gap(&mut self, gap: &Gap) {
        let Some(watch) = self.watches.last_mut() else {
            return;
        };
        match (gap.cause, gap.from, gap.to) {
            (GapCause::ClockStep, Some(from), Some(to)) => watch.clock_step(from, to),
            _ => watch.reaches(gap.at),
        }
    }

    fn reach(&mut self, record: &Record) -> Result<(), ExportError> {
        let at = match record.kind.as_str() {
            "journal" => parse::<JournalBody>(record)?.to,
            "counters" => parse::<InterfaceCounters>(record)?.at,
            "suspension" => parse::<Suspension>(record)?.at,
            _ => parse::<InterfaceChange>(record)?.at,
        };
        if let Some(watch) = self.watches.last_mut() {
            watch.reaches(at);
        }
        Ok(())
    }
}

/// Everything that was counted in a span.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    sessions: Sessions,
    /// Which session the record at hand belongs to, from 1; 0 before the first.
    at_session: usize,
    packets: Count,
    lost: Count,
    unparsed: Option<BTreeMap<String, u64>>,
    /// What the independent counters of the sessions came to together; none once one is not known.
    output_counter: Option<u64>,
    clock_steps: Vec<(Span, ClockStep)>,
    suspensions: Vec<(Span, u64)>,
    rules_missing: Vec<Span>,
    rule_repairs: u64,
    degraded: Vec<Weaker>,
    interface_changes: u64,
    flows: Flows,
    interfaces: Interfaces,
}

/// A count that may turn out not to be known.
#[derive(Debug, Default)]
struct Count {
    sum: u64,
    unknown: bool,
}

impl Count {
    fn add(&mut self, more: Option<u64>) {
        match more.and_then(|more| self.sum.checked_add(more)) {
            Some(sum) => self.sum = sum,
            None => self.unknown = true,
        }
    }

    fn known(&self) -> Option<u64> {
        (!self.unknown).then_some(self.sum)
    }
}

/// The second walk: what was counted in the span.
pub(super) fn gather(
    reader: &Reader,
    sessions: Sessions,
    span: Span,
) -> Result<Gathered, ExportError> {
    let mut gathered = Gathered {
        sessions,
        unparsed: Some(BTreeMap::new()),
        output_counter: Some(0),
        ..Gathered::default()
    };
    for record in reader.records(&[
        Kind::SESSION,
        Kind::JOURNAL,
        Kind::SUMMARY,
        Kind::GAP,
        Kind::FLOW,
        Kind::INTERFACE,
        Kind::COUNTERS,
        Kind::SUSPENSION,
        Kind::OBSERVATION,
    ]) {
        let record = record?;
        match record.kind.as_str() {
            "session" => {
                gathered.at_session += 1;
                gathered.interfaces.begin_session();
            }
            "journal" => gathered.journal(&record, span)?,
            "summary" => gathered.summary(&parse(&record)?, span),
            "gap" => gathered.gap(&parse(&record)?, span),
            "flow" => {
                let flow: Flow = parse(&record)?;
                gathered.flows.take(&flow, span);
                gathered.interfaces.take_flow(&flow, span);
            }
            "interface" => {
                let change: InterfaceChange = parse(&record)?;
                gathered.interface_changes += u64::from(span.holds(change.at));
            }
            "counters" => gathered.interfaces.take(&parse(&record)?, span),
            "observation" => gathered.observation(&parse(&record)?, span),
            _ => gathered.suspension(&parse(&record)?, span),
        }
    }
    gathered.flows.finish();
    Ok(gathered)
}

impl Gathered {
    fn watch(&self) -> Option<&Watch> {
        self.sessions.watches.get(self.at_session.checked_sub(1)?)
    }

    /// Counts the packets of a block; one that reaches beyond the span is looked into.
    fn journal(&mut self, record: &Record, span: Span) -> Result<(), ExportError> {
        let body: JournalBody = parse(record)?;
        if !span.touches(body.from, body.to) {
            return Ok(());
        }
        let packets = if span.holds(body.from) && span.holds(body.to) {
            Some(body.packets)
        } else {
            let block = record.attachment.as_deref().map(read_block);
            // A block that cannot be read is the verifier's to tell; here it is not known.
            block
                .and_then(Result::ok)
                .map(|block| block.packets_within(span.from, span.to))
        };
        self.packets.add(packets);
        Ok(())
    }

    fn summary(&mut self, summary: &Summary, span: Span) {
        let whole = match self.watch().map(Watch::bounds) {
            Some(Some((from, to))) if !span.touches(from, to) => return,
            Some(Some((from, to))) => span.holds(from) && span.holds(to),
            // An inspection has no times of its own.
            _ => false,
        };
        if !whole {
            (self.unparsed, self.output_counter) = (None, None);
            return;
        }
        let counted = summary.outbound.as_ref().and_then(|sums| sums.counter);
        self.output_counter = self
            .output_counter
            .zip(counted)
            .map(|(sum, counted)| sum.saturating_add(counted));
        for (reason, count) in &summary.unparsed {
            if let Some(unparsed) = &mut self.unparsed {
                let sum = unparsed.entry(reason.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }

    fn gap(&mut self, gap: &Gap, span: Span) {
        let from = gap.from.unwrap_or(gap.at);
        let to = gap.to.unwrap_or(gap.at);
        // A weakness lasts until its session ends.
        let lasts = match (gap.cause, gap.to) {
            (GapCause::Degraded, None) => self.watch().and_then(Watch::known).unwrap_or(to),
            _ => to,
        };
        if !span.touches(from.min(to), lasts.max(from)) {
            return;
        }
        match gap.cause {
            // Of a later version's cause only its count is understood.
            GapCause::KernelLoss
            | GapCause::QueueFull
            | GapCause::DiskFull
            | GapCause::Other(_) => self.lost.add(gap.packets),
            GapCause::RulesMissing => {
                self.rule_repairs += 1;
                self.lost.add(gap.packets);
                self.rules_missing.extend(Span::new(from, to));
            }
            GapCause::ClockStep => {
                let step = ClockStep {
                    at: to,
                    step_us: to.nanos_since(from) / 1_000,
                };
                let label = Span { from, to };
                self.clock_steps.push((label, step));
            }
            // What lies between has no count: neither does what is lost in it.
            GapCause::ProbeFailed => {
                self.lost.add(gap.packets);
                self.degraded.push(Weaker {
                    from,
                    place: gap.place.clone(),
                    detail: format!("{} (from {from} to {to})", gap.detail),
                });
            }
            GapCause::Degraded => self.degraded.push(Weaker {
                from,
                place: gap.place.clone(),
                detail: gap.detail.clone(),
            }),
            _ => {}
        }
    }

    /// What the lab's own work put into the traffic; once, however often it was told.
    fn observation(&mut self, told: &Observation, span: Span) {
        let is_confounder = told.facts.get(CONFOUNDER).is_some_and(|it| it == "true");
        if !is_confounder || !span.holds(told.at) {
            return;
        }
        let weaker = Weaker {
            from: told.at,
            place: told.topic.clone(),
            detail: "adb went over the network: its own traffic is among what was watched"
                .to_owned(),
        };
        let same =
            |other: &Weaker| (&other.place, &other.detail) == (&weaker.place, &weaker.detail);
        if !self.degraded.iter().any(same) {
            self.degraded.push(weaker);
        }
    }

    fn suspension(&mut self, slept: &Suspension, span: Span) {
        let within = Span::new(slept.from, slept.at).and_then(|of| of.and(span));
        if let Some(within) = within {
            // Where the span cuts it, no more than what lies inside.
            self.suspensions
                .push((within, slept.suspended_us.min(within.us())));
        }
    }

    pub(super) fn into_coverage(self, case: String, span: Span) -> Coverage {
        let live = || self.sessions.watches.iter().filter(|watch| watch.is_live());
        let stretches: Vec<Span> = live().flat_map(Watch::stretches).collect();
        let sessions: Vec<SessionSpan> = live().filter_map(|it| session_span(it, span)).collect();
        let is_live = live().next().is_some();
        let skipped = skipped(&self.clock_steps);
        let watched = union(stretches.iter().chain(&skipped).copied().collect());
        let holes = holes(span, &watched);
        let suspended_us = self.suspensions.iter().map(|(_, us)| us).sum::<u64>();
        let missing = union(self.rules_missing.clone());
        let rules_missing_us = us_within(span, &missing);
        let awake = us_within(span, &stretches)
            .saturating_sub(suspended_us)
            .saturating_sub(rules_missing_us);
        let not_watched_us = holes.iter().map(|hole| hole.us).sum();
        let complete = live().all(|watch| {
            let inside = watch
                .bounds()
                .is_some_and(|(from, to)| span.touches(from, to));
            !inside || watch.ended == Ended::InOrder
        });
        let all_summed = live().all(|watch| {
            let inside = watch
                .bounds()
                .is_some_and(|(from, to)| span.touches(from, to));
            !inside || watch.has_summary
        });
        Coverage {
            case,
            from: span.from,
            to: span.to,
            span_us: span.us(),
            watched_us: is_live.then_some(awake),
            not_watched_us: is_live.then_some(not_watched_us),
            suspended_us: is_live.then_some(suspended_us),
            suspensions: u64::try_from(self.suspensions.len()).unwrap_or(u64::MAX),
            rules_missing_us: is_live.then_some(rules_missing_us),
            skipped_by_clock_us: skipped_us(span, &skipped, &stretches),
            not_watched: if is_live { holes } else { Vec::new() },
            reboots: reboots(&self.sessions.watches, span),
            sessions,
            clock_steps: self.clock_steps.into_iter().map(|(_, step)| step).collect(),
            packets: self.packets.known(),
            lost: self.lost.known(),
            unparsed: self.unparsed.filter(|_| all_summed),
            output_counter: self.output_counter.filter(|_| is_live && all_summed),
            flows: self.flows,
            flows_complete: complete,
            rule_repairs: self.rule_repairs,
            interface_changes: self.interface_changes,
            degraded: self.degraded,
            interfaces: self.interfaces.finish(),
            uid_counters: None,
            may_be_said: Vec::new(),
        }
    }
}

fn session_span(watch: &Watch, span: Span) -> Option<SessionSpan> {
    let (earliest, latest) = watch.bounds()?;
    // A session whose clock was set back may end before it began, by that clock.
    let (from, to) = watch.began().zip(watch.known())?;
    span.touches(earliest, latest).then(|| SessionSpan {
        session: watch.record.session,
        capture: watch.record.capture.clone(),
        from,
        to,
        ended: watch.ended.as_str().to_owned(),
    })
}

/// Times that no moment had: the clock was set forward over them.
fn skipped(steps: &[(Span, ClockStep)]) -> Vec<Span> {
    let forward = steps.iter().map(|(label, _)| *label);
    forward.filter(|label| label.from < label.to).collect()
}

fn skipped_us(span: Span, skipped: &[Span], stretches: &[Span]) -> u64 {
    // What was set forward and back again did have moments.
    let lived = union(stretches.to_vec());
    union(skipped.to_vec())
        .into_iter()
        .filter_map(|label| label.and(span))
        .flat_map(|label| rest(label, &lived))
        .map(Span::us)
        .sum()
}

fn holes(span: Span, watched: &[Span]) -> Vec<Hole> {
    let (first, last) = (watched.first(), watched.last());
    rest(span, watched)
        .into_iter()
        .map(|hole| Hole {
            from: hole.from,
            to: hole.to,
            us: hole.us(),
            why: match (first, last) {
                (Some(first), _) if hole.to <= first.from => "before_first_session",
                (_, Some(last)) if hole.from >= last.to => "after_last_session",
                _ => "between_sessions",
            }
            .to_owned(),
        })
        .collect()
}

/// Starts of the machine between two sessions of which one at least is in the span.
fn reboots(watches: &[Watch], span: Span) -> Option<u64> {
    let live: Vec<&Watch> = watches.iter().filter(|watch| watch.is_live()).collect();
    let mut reboots = 0;
    for pair in live.windows(2) {
        let [before, after] = pair else {
            continue;
        };
        let between = before.known().zip(after.record.at);
        if !between.is_some_and(|(from, to)| span.touches(from.min(to), from.max(to))) {
            continue;
        }
        let ids = before
            .record
            .boot_id
            .as_ref()
            .zip(after.record.boot_id.as_ref());
        let (one, other) = ids?;
        reboots += u64::from(one != other);
    }
    (!live.is_empty()).then_some(reboots)
}
