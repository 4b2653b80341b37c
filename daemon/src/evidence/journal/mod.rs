//! The journal codec: the core's inputs, packed into blocks that a replay reads back.
//!
//! In: [`Input`](crate::input::Input)s in order. Out: attachments of `journal` records, and from
//! them the same inputs. A packet may be cut to the bytes that the core needs; its length as
//! captured is kept, so that a reader knows the cut. `docs/evidence-format.md` has the layout.

mod reader;
mod varint;
mod writer;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{
    canonical::CanonicalError,
    record::{Draft, Kind},
};
use crate::{
    input::{Event, LinkType, TimeBasis, Vantage},
    time::Timestamp,
};

pub use reader::{DecodedBlock, read_block};
pub use writer::JournalWriter;

/// Version of the layout; stands in each block's header and its record's body.
pub const VERSION: u8 = 1;
/// First bytes of an attachment, before the version.
pub const MAGIC: [u8; 3] = *b"SKJ";
/// A block is closed when it holds this many raw bytes.
pub const BLOCK_RAW_TARGET: usize = 256 * 1024;
/// Longest single input, in raw bytes; a longer one is refused.
pub const ENTRY_MAX: usize = 16 * 1024 * 1024;
/// Longest block, in raw bytes: more is never inflated.
pub const BLOCK_RAW_MAX: usize = BLOCK_RAW_TARGET + ENTRY_MAX;
/// Level of compression; fixed, so that the same inputs give the same bytes.
pub const DEFLATE_LEVEL: u32 = 6;

/// Tag of a packet.
const TAG_PACKET: u8 = 1;
/// Tag of an event.
const TAG_EVENT: u8 = 2;
/// Bit of a packet's flags: a UID follows.
const FLAG_UID: u8 = 1 << 4;
/// Bit of a packet's flags: an interface follows. Earlier versions never set it.
const FLAG_INTERFACE: u8 = 1 << 5;

/// Why a block cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The attachment does not begin as ours do.
    #[error("the block does not begin with \"SKJ\" and a version")]
    Header,
    /// A later version wrote it.
    #[error("the block has layout version {0}, this version of sakshi reads {VERSION}")]
    Version(u8),
    /// It cannot be inflated.
    #[error("the block cannot be inflated: {0}")]
    Inflate(String),
    /// It cannot be deflated.
    #[error("the block cannot be deflated: {0}")]
    Deflate(std::io::Error),
    /// It would inflate beyond the limit.
    #[error("the block inflates to more than {BLOCK_RAW_MAX} bytes")]
    TooLong,
    /// Bytes follow the compressed data.
    #[error("{0} bytes follow the block's compressed data")]
    Trailing(usize),
    /// An input runs past the end.
    #[error("input {input} of the block, at offset {offset}: {needed} bytes needed, {had} there")]
    Truncated {
        /// Which input, from 1.
        input: u64,
        /// Where in the raw bytes.
        offset: usize,
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        had: usize,
    },
    /// A field has a value that the layout does not know.
    #[error("input {input} of the block, at offset {offset}: {what}")]
    Malformed {
        /// Which input, from 1.
        input: u64,
        /// Where in the raw bytes.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The record's body says something else than its block.
    #[error("the record says {field} = {declared}, its block has {found}")]
    Declared {
        /// Key of the body.
        field: &'static str,
        /// What the body says.
        declared: String,
        /// What the block has.
        found: String,
    },
    /// The record's body cannot be understood.
    #[error("the body of the journal record cannot be read: {0}")]
    Body(serde_json::Error),
    /// The record has no attachment.
    #[error("the journal record has no block attached")]
    Missing,
    /// An input is longer than the journal takes.
    #[error("an input of {0} bytes is longer than {ENTRY_MAX}")]
    EntryTooLong(usize),
    /// An event has no canonical form.
    #[error("an event cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
}

/// Body of a `journal` record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalBody {
    /// [`VERSION`].
    pub version: u8,
    /// Ordinal of the block's first input within the session, from 1.
    pub first: u64,
    /// How many inputs it holds.
    pub inputs: u64,
    /// How many of them are packets.
    pub packets: u64,
    /// Length before compression, in bytes.
    pub raw_len: u64,
    /// Earliest time in it.
    pub from: Timestamp,
    /// Latest time in it.
    pub to: Timestamp,
}

/// A closed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub body: JournalBody,
    /// Header and compressed inputs.
    pub attachment: Vec<u8>,
}

impl Block {
    /// The record that keeps it.
    pub fn into_draft(self) -> Result<Draft, CanonicalError> {
        Ok(Draft::new(Kind::JOURNAL, &self.body)?.with_attachment(self.attachment))
    }
}

/// Time of an event. It is written apart from the event's JSON, which has microseconds only.
fn event_time(event: &mut Event) -> &mut Timestamp {
    match event {
        Event::OwnerFact(fact) => &mut fact.at,
        Event::ProcessFact(fact) => &mut fact.at,
        Event::ChargeFact(fact) => &mut fact.at,
        Event::AppName(name) => &mut name.at,
        Event::OwnerDoubt(doubt) => &mut doubt.at,
        Event::SocketClosed(closed) => &mut closed.at,
        Event::InventoryChange(change) => &mut change.at,
        Event::Apk(apk) => &mut apk.at,
        Event::PhaseChange(phase) => &mut phase.at,
        Event::Gap(gap) => &mut gap.at,
        Event::Tally(tally) => &mut tally.at,
        Event::Note(note) => &mut note.at,
        Event::Observation(observation) => &mut observation.at,
        Event::Interface(change) => &mut change.at,
        Event::Counters(counters) => &mut counters.at,
        Event::Suspension(suspension) => &mut suspension.at,
        Event::ReadLate(late) => &mut late.at,
        Event::ProbeOrder(order) => &mut order.at,
        Event::ProbeSent(sent) => &mut sent.at,
        Event::Tick(at) | Event::SourceEnd(at) => at,
    }
}

/// Codes of the link types: stable, whatever the type's own order becomes.
const LINKS: [(u8, LinkType); 10] = [
    (0, LinkType::Ethernet),
    (1, LinkType::RawIp),
    (2, LinkType::Null),
    (3, LinkType::Loop),
    (4, LinkType::Sll),
    (5, LinkType::Sll2),
    (6, LinkType::Ppp),
    (7, LinkType::Nflog),
    (8, LinkType::Pcapdroid),
    (9, LinkType::Pktap),
];
/// Code of a link type that follows by its number.
const LINK_OTHER: u8 = 255;

/// Codes of the time bases, in bits 0 and 1 of a packet's flags.
const TIME_BASES: [(u8, TimeBasis); 3] = [
    (0, TimeBasis::Kernel),
    (1, TimeBasis::Receive),
    (2, TimeBasis::File),
];

/// Codes of the vantages, in bits 2 and 3 of a packet's flags.
const VANTAGES: [(u8, Vantage); 3] = [
    (0, Vantage::Output),
    (1, Vantage::Input),
    (2, Vantage::Both),
];

/// The code of a value in one of the tables above.
fn code_of<T: PartialEq + Copy>(table: &[(u8, T)], value: T) -> Option<u8> {
    table
        .iter()
        .find(|(_, known)| *known == value)
        .map(|(code, _)| *code)
}

/// The value of a code in one of the tables above.
fn value_of<T: Copy>(table: &[(u8, T)], code: u8) -> Option<T> {
    table
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, value)| *value)
}
