//! Every time at which the tool or the handset was not working properly.
//!
//! In: records of a case. Out: a list in the order of time, which a certificate must show whole.
//! Sleep is none of them: a handset that sleeps works as it should.

use crate::{
    evidence::body::{Gap, GapCause, Session, UncleanStop},
    time::Timestamp,
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A gap of the watch.
    Gap(GapCause),
    /// The machine was started anew between two sessions.
    Reboot,
    /// A session ended without a stop record.
    Unclean,
    /// A session has no end yet: it runs, or was killed.
    Open,
}

/// One time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its start; none: not known.
    pub from: Option<Timestamp>,
    /// Its end; none: not known, or a single moment.
    pub to: Option<Timestamp>,
    /// What happened.
    pub what: What,
    /// Packets that were not seen; none: not known.
    pub packets: Option<u64>,
    /// In plain words, as recorded.
    pub detail: String,
}

/// Collects them.
#[derive(Debug, Default)]
pub struct Troubles {
    found: Vec<Trouble>,
    session: Option<Session>,
    open: bool,
}

impl Troubles {
    /// A session begins.
    pub fn session(&mut self, session: &Session) {
        if let Some(before) = &self.session
            && let (Some(was), Some(is)) = (&before.boot_id, &session.boot_id)
            && was != is
        {
            self.found.push(Trouble {
                from: session.booted,
                to: session.at,
                what: What::Reboot,
                packets: None,
                detail: format!(
                    "started anew between session {} and session {}",
                    before.session, session.session
                ),
            });
        }
        self.open = true;
        self.session = Some(session.clone());
    }

    /// A session ended in order.
    pub const fn stop(&mut self) {
        self.open = false;
    }

    /// A session was found without its end.
    pub fn unclean(&mut self, stop: &UncleanStop) {
        self.open = false;
        self.found.push(Trouble {
            from: stop.last_journaled,
            to: stop.noticed,
            what: What::Unclean,
            packets: None,
            detail: stop.detail.clone(),
        });
    }

    /// Something was not seen.
    pub fn gap(&mut self, gap: &Gap) {
        let known = |moment: Timestamp| (moment != Timestamp::default()).then_some(moment);
        let place = if gap.place.is_empty() {
            String::new()
        } else {
            format!("{}: ", gap.place)
        };
        self.found.push(Trouble {
            from: gap.from.and_then(known),
            to: gap.to.or(Some(gap.at)).and_then(known),
            what: What::Gap(gap.cause),
            packets: gap.packets,
            detail: format!("{place}{}", gap.detail),
        });
    }

    /// All of them, in the order of their times; those of the same time in the order of the records.
    pub fn finish(mut self) -> Vec<Trouble> {
        if self.open
            && let Some(session) = &self.session
        {
            self.found.push(Trouble {
                from: None,
                to: None,
                what: What::Open,
                packets: None,
                detail: format!(
                    "session {} has no stop record: it runs, or was killed and nothing came after",
                    session.session
                ),
            });
        }
        self.found
            .sort_by_key(|trouble| match trouble.from.or(trouble.to) {
                Some(moment) => (0, moment),
                None => (1, Timestamp::default()),
            });
        self.found
    }
}

impl What {
    /// In plain English.
    pub const fn english(self) -> &'static str {
        match self {
            Self::Gap(GapCause::KernelLoss) => "the kernel could not deliver packets to the tool",
            Self::Gap(GapCause::QueueFull) => "a queue of the tool was full",
            Self::Gap(GapCause::RulesMissing) => "the tool's packet rules were missing",
            Self::Gap(GapCause::DecidedEarlier) => {
                "something else decided about packets before the tool's rules saw them"
            }
            Self::Gap(GapCause::ClockStep) => "the clock was set",
            Self::Gap(GapCause::NotRunning) => "the tool did not run",
            Self::Gap(GapCause::UncleanStop) => "the tool was stopped without order",
            Self::Gap(GapCause::CaptureDamaged) => "a capture could not be read to its end",
            Self::Gap(GapCause::TableFull) => "a table of the tool was full",
            Self::Gap(GapCause::Degraded) => "something was watched less well than it should be",
            Self::Gap(GapCause::DiskFull) => "no room was left for the case, and the watch ended",
            Self::Gap(GapCause::NotKept) => "packets were seen and counted, and not kept",
            Self::Gap(GapCause::ProbeFailed) => {
                "the tool's own probe was not found: it was not shown to work properly"
            }
            Self::Gap(GapCause::Other(_)) => "something that a later version of the tool knows",
            Self::Reboot => "the handset was started anew",
            Self::Unclean => "a session ended without its closing record",
            Self::Open => "a session has no end",
        }
    }
}
