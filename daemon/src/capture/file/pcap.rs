//! The pcap format: one header, then records.
//!
//! In: bytes. Out: [`Header`] and [`Record`] values. Microseconds, nanoseconds and Kuznetzov's
//! "modified" records, in both byte orders.
//! Source: draft-ietf-opsawg-pcap, and libpcap's `sf-pcap.c` for the modified format.

use super::{CAPTURED_MAX, bytes::Order};
use crate::{
    input::{LinkType, Packet},
    time::Timestamp,
};

/// Bytes of the file header.
pub(super) const HEADER_LEN: usize = 24;
/// The link type is in the lower bits of its field; the upper ones tell of frame checksums.
const LINK_TYPE_MASK: u32 = 0x03ff_ffff;

/// What the file header says of all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    order: Order,
    /// Nanoseconds in one unit of a record's fraction.
    unit_nanos: i64,
    modified: bool,
    pub(super) link: LinkType,
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) captured_len: u32,
    pub(super) original_len: u32,
}

/// Byte order, nanoseconds in a unit and whether records are modified, by the magic.
pub(super) const fn magic(bytes: [u8; 4]) -> Option<(Order, i64, bool)> {
    let (order, number) = match bytes[0] {
        0xa1 => (Order::Big, u32::from_be_bytes(bytes)),
        _ => (Order::Little, u32::from_le_bytes(bytes)),
    };
    match number {
        0xa1b2_c3d4 => Some((order, 1_000, false)),
        0xa1b2_3c4d => Some((order, 1, false)),
        0xa1b2_cd34 => Some((order, 1_000, true)),
        _ => None,
    }
}

impl Header {
    /// Parses a file header of [`HEADER_LEN`] bytes; none if the magic is another.
    pub(super) fn parse(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        let [m0, m1, m2, m3, .., l0, l1, l2, l3] = bytes;
        let (order, unit_nanos, modified) = magic([m0, m1, m2, m3])?;
        Some(Self {
            order,
            unit_nanos,
            modified,
            link: super::link_type(order.u32([l0, l1, l2, l3]) & LINK_TYPE_MASK),
        })
    }

    /// Bytes before a record's packet.
    pub(super) const fn record_len(&self) -> usize {
        if self.modified { 24 } else { 16 }
    }

    /// The record at the front, and its packet; none where they are not whole, or it is too long.
    #[inline]
    pub(super) fn split_record<'a>(&self, bytes: &'a [u8]) -> Option<(Record, &'a [u8])> {
        let (head, behind) = bytes.split_at_checked(self.record_len())?;
        let record = self.record(head)?;
        if record.captured_len > CAPTURED_MAX {
            return None;
        }
        let data = behind.get(..usize::try_from(record.captured_len).ok()?)?;
        Some((record, data))
    }

    /// Parses what stands before a record's packet; none if the bytes are too few. What the
    /// modified format adds (interface, protocol, packet type) is not used.
    #[inline]
    pub(super) fn record(&self, bytes: &[u8]) -> Option<Record> {
        let (words, _) = bytes.first_chunk::<16>()?.as_chunks();
        let &[seconds, fraction, captured, original] = words else {
            return None;
        };
        let words = [seconds, fraction, captured, original];
        let [seconds, fraction, captured_len, original_len] = match self.order {
            Order::Little => words.map(u32::from_le_bytes),
            Order::Big => words.map(u32::from_be_bytes),
        };
        // Both are numbers of 32 bits: the sum does not overflow.
        let nanos = i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * self.unit_nanos;
        Some(Record {
            at: Timestamp::from_nanos(nanos),
            captured_len,
            original_len,
        })
    }
}

impl Record {
    /// Fills in what the record says of its packet.
    pub(super) fn describe(&self, packet: &mut Packet<'_>) {
        packet.at = self.at;
        packet.original_len = self.original_len.max(self.captured_len);
    }
}
