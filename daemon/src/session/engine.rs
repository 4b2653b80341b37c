//! Feeds the core, journals what it was fed, and turns what it says into drafts for the store.
//!
//! In: inputs. Out: drafts, the journal block that explains them always before them or with them.

use super::{
    SessionError,
    packets::{Keeper, KeptSoFar},
};
use crate::{
    evidence::{
        Draft, Urgency,
        body::{Record, Summary},
        journal::JournalWriter,
    },
    input::{Event, Input, Packet},
    pipeline::{Core, Keep},
    time::Timestamp,
};

/// Drafts that wait are handed on when they hold this many bytes, or sooner.
pub const DRAFT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The core with its journal.
#[derive(Debug)]
pub struct Engine {
    core: Core,
    /// None where nothing is kept: no draft is made.
    journal: Option<JournalWriter>,
    keeper: Option<Keeper>,
    records: Vec<Record>,
    /// Closed blocks of the journal; they are handed on before the records that follow from them.
    blocks: Vec<Draft>,
    drafts: Vec<Draft>,
    bytes: usize,
    urgent: bool,
}

impl Engine {
    /// An engine that journals its inputs.
    pub fn new(core: Core) -> Self {
        Self {
            journal: Some(JournalWriter::new()),
            ..Self::for_counts(core)
        }
    }

    /// An engine that keeps nothing but the counts of its core.
    pub fn for_counts(core: Core) -> Self {
        Self {
            core,
            journal: None,
            keeper: None,
            records: Vec::new(),
            blocks: Vec::new(),
            drafts: Vec::new(),
            bytes: 0,
            urgent: false,
        }
    }

    /// The engine with somebody who keeps packets.
    #[must_use]
    pub fn with_keeper(mut self, keeper: Option<Keeper>) -> Self {
        if keeper.is_some() {
            self.core.want_samples();
        }
        self.keeper = keeper;
        self
    }

    /// Takes one input.
    pub fn feed(&mut self, input: &Input<'_>) -> Result<(), SessionError> {
        let keep = self.core.feed(input, &mut self.records);
        if let Some(keeper) = &mut self.keeper {
            if let (Input::Packet(packet), Some(sample)) = (input, self.core.sample()) {
                keeper.packet(packet, sample);
            }
            keeper.marks(self.core.marks());
        }
        if let Some(journal) = &mut self.journal {
            let bytes = match keep {
                Keep::Whole => usize::MAX,
                Keep::Headers(bytes) => bytes,
            };
            journal.push(input, bytes)?;
            if journal.is_full() {
                self.close_block()?;
            }
        }
        if self.records.is_empty() {
            Ok(())
        } else {
            self.draft_records()
        }
    }

    /// Takes a packet, as [`Engine::feed`] does: where only counts are asked for, without more.
    #[inline]
    pub fn feed_packet(&mut self, packet: &Packet<'_>) -> Result<(), SessionError> {
        if self.journal.is_some() {
            return self.feed(&Input::Packet(*packet));
        }
        self.core.feed_packet(packet, &mut self.records);
        self.records.clear();
        Ok(())
    }

    /// Ends every flow: a source or the session is over. What was kept is closed.
    pub fn finish(&mut self) -> Result<(), SessionError> {
        self.core.finish(&mut self.records);
        if let Some(keeper) = &mut self.keeper {
            keeper.marks(self.core.marks());
        }
        self.draft_records()?;
        self.keeper.take().map_or(Ok(()), Keeper::finish)
    }

    /// Hands kept packets over, and journals what could not be kept.
    pub fn keep_on(&mut self, now: Timestamp) -> Result<KeptSoFar, SessionError> {
        let Some(keeper) = &mut self.keeper else {
            return Ok(KeptSoFar::default());
        };
        keeper.hand_over();
        let kept = keeper.kept();
        if let Some(gap) = keeper.gap(now) {
            self.feed(&Input::Event(&Event::Gap(gap)))?;
        }
        Ok(kept)
    }

    fn draft_records(&mut self) -> Result<(), SessionError> {
        if self.journal.is_none() {
            self.records.clear();
            return Ok(());
        }
        for record in self.records.drain(..) {
            if let Record::Finding(finding) = &record {
                self.urgent = true;
                if let Some(keeper) = &mut self.keeper {
                    keeper.finding(finding);
                }
            }
            let draft = record.draft()?;
            self.bytes += draft.size();
            self.drafts.push(draft);
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), SessionError> {
        if let Some(block) = self
            .journal
            .as_mut()
            .map(JournalWriter::close)
            .transpose()?
            .flatten()
        {
            let draft = block.into_draft()?;
            self.bytes += draft.size();
            self.blocks.push(draft);
        }
        Ok(())
    }

    /// Whether a finding waits, which is handed on at once.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether so much waits that it is handed on before its time.
    pub fn is_large(&self) -> bool {
        self.bytes >= DRAFT_BYTES_MAX
    }

    /// What waits, with the block of the inputs that led to it, and how urgent it is.
    pub fn take(&mut self) -> Result<(Vec<Draft>, Urgency), SessionError> {
        self.close_block()?;
        let mut drafts = std::mem::take(&mut self.blocks);
        drafts.append(&mut self.drafts);
        let urgency = if self.urgent {
            Urgency::AtOnce
        } else {
            Urgency::Batched
        };
        (self.urgent, self.bytes) = (false, 0);
        Ok((drafts, urgency))
    }

    /// The session's counts so far.
    pub fn summary(&self) -> Summary {
        self.core.summary()
    }

    /// Whether no flow is live, so that time alone changes nothing.
    pub fn is_at_rest(&self) -> bool {
        self.core.is_at_rest()
    }

    /// Name of the phase.
    pub fn phase(&self) -> &str {
        self.core.phase()
    }
}
