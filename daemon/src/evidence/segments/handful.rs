//! What the pipeline hands over: copies of packets, and what became known of flows.
//!
//! In: one packet after the other. Out: many at once, in allocations that are used again, so that a
//! packet costs a copy of its bytes and nothing else.

use crate::input::Packet;

/// What is known of a packet that is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Ordinal of its flow in the session.
    pub flow: u64,
    /// Number of the flow's contact, where that is known.
    pub contact: Option<u32>,
    /// Whether the flow is the first to where it goes, so that a finding of it would name this
    /// packet.
    pub fresh: bool,
}

/// A flow was counted to a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Ordinal of the flow in the session.
    pub flow: u64,
    /// Number of the contact.
    pub contact: u32,
}

/// A rule said something of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Number of the contact.
    pub contact: u32,
    /// The packets that the finding names, by their numbers in the session's source `live`.
    pub live: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    packet: Packet<'static>,
    sample: Sample,
    start: usize,
    end: usize,
}

/// Packets and news, in order.
#[derive(Debug, Clone, Default)]
pub struct Handful {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Flows and their contacts.
    pub marks: Vec<Mark>,
    /// Contacts with findings.
    pub findings: Vec<Found>,
}

impl Handful {
    /// It is handed over when it holds this many bytes, or sooner.
    pub const BYTES_MAX: usize = 256 * 1024;
    /// It is handed over when it holds this many packets, or as many marks.
    pub const PACKETS_MAX: usize = 4096;

    /// Copies a packet.
    pub fn push(&mut self, packet: &Packet<'_>, sample: Sample) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet.data);
        self.entries.push(Entry {
            packet: packet.without_data(),
            sample,
            start,
            end: self.bytes.len(),
        });
    }

    /// The packets in order.
    pub fn packets(&self) -> impl Iterator<Item = (Packet<'_>, Sample)> {
        self.entries.iter().map(|entry| {
            let data = self.bytes.get(entry.start..entry.end).unwrap_or_default();
            (
                Packet {
                    data,
                    ..entry.packet
                },
                entry.sample,
            )
        })
    }

    /// Whether it should be handed over now.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= Self::BYTES_MAX
            || self.entries.len() >= Self::PACKETS_MAX
            || self.marks.len() >= Self::PACKETS_MAX
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.marks.is_empty() && self.findings.is_empty()
    }

    /// Gives up its packets and keeps the news; says how many there were.
    pub fn forget_packets(&mut self) -> u64 {
        let packets = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        self.bytes.clear();
        self.entries.clear();
        packets
    }

    /// Empties it and keeps its allocations.
    pub fn clear(&mut self) {
        self.forget_packets();
        self.marks.clear();
        self.findings.clear();
    }
}
