//! Packets kept as pcapng segments in the case, within a quota.
//!
//! In: the packets that the pipeline chose, and which of them belong to findings. Out: files below
//! `packets/`, and records that say what is in them, what was dropped, and where a finding's packets
//! are. `docs/evidence-format.md` specifies all of it; decision 0158 says why it is so.

mod block;
mod handful;
mod past;
mod read;
mod shelf;
mod writer;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Draft, Kind, StoreGone, canonical::CanonicalError, record::Hash};
use crate::time::Timestamp;

pub use block::{Block, Blocks, LINK_NFLOG, PacketBlock, link_number, nflog};
pub use handful::{Found, Handful, Mark, Sample};
pub use past::{Past, adopt};
pub use read::{KeptPacket, packets_of};
pub use shelf::{Shelf, ShelfOptions};

/// Folder of the segments in a case, with its slash.
pub const FOLDER: &str = "packets/";
/// Quota unless another is asked for, in bytes: a day of a handset at rest is kept whole, and no
/// handset that can be bought is filled by it.
pub const QUOTA_DEFAULT: u64 = 256 * 1024 * 1024;
/// Smallest quota but none, in bytes: eight of the smallest segments.
pub const QUOTA_MIN: u64 = 1024 * 1024;
/// A segment has this part of the quota: what is dropped at once is little of what is there.
const SEGMENTS_IN_QUOTA: u64 = 16;
/// Smallest size at which a segment is closed, in bytes: the largest packet of NFLOG fits.
const SEGMENT_BYTES_MIN: u64 = 128 * 1024;
/// Largest size of a segment, in bytes: it is read into memory when packets are copied out of it.
pub const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Packets of a segment, at most: what is remembered of each (16 bytes) is bounded by it.
const SEGMENT_PACKETS_MAX: usize = 65_536;
/// Packets of one contact that are pointed to and held, at most: what is kept of one flow with a
/// finding. A contact may have a hundred thousand flows that show the same.
pub const CONTACT_PACKETS_MAX: u16 = 80;
/// Packets of a contact that are held before those of others, at most: as many as a finding names.
const NAMED_MAX: u16 = 4;

/// Body of a `segment` record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentBody {
    /// Path in the folder of the case.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Hash,
    /// Number of the session that wrote it.
    pub session: u64,
    /// Packets in it.
    pub packets: u64,
    /// Flows that they belong to; none: not known any more.
    pub flows: Option<u64>,
    /// Earliest time of a packet.
    pub first: Option<Timestamp>,
    /// Latest time of a packet.
    pub last: Option<Timestamp>,
    /// Whether it holds copies of findings' packets.
    pub held: bool,
    /// Why it was closed: `size`, `stop`, `recovery`, `error`.
    pub reason: String,
    /// When it was closed.
    pub closed: Option<Timestamp>,
    /// Bytes behind the last whole block that were cut off.
    pub torn: u64,
}

/// Body of a `segment_dropped` record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedBody {
    /// Path of the segment.
    pub path: String,
    /// When it was dropped.
    pub at: Timestamp,
    /// Number of the session that dropped it.
    pub session: u64,
    /// Why: `quota`.
    pub reason: String,
    /// Its length.
    pub bytes: u64,
    /// Packets in it.
    pub packets: u64,
    /// Flows that they belong to; none: not known any more.
    pub flows: Option<u64>,
    /// Earliest time of a packet.
    pub first: Option<Timestamp>,
    /// Latest time of a packet.
    pub last: Option<Timestamp>,
    /// Packets that were copied to a held segment before.
    pub held: u64,
    /// Packets of findings that were not.
    pub not_held: u64,
}

/// Body of a `packets` record: where packets of a contact with a finding are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketsBody {
    /// When that was known.
    pub at: Timestamp,
    /// The contact.
    pub contact: String,
    /// Path of the segment; none: there is no packet.
    pub segment: Option<String>,
    /// Numbers of the packets in it, from 1.
    pub frames: Vec<u32>,
    /// Their numbers in the session's source `live`.
    pub live: Vec<u64>,
    /// Whether they are those that the finding names.
    pub named: bool,
    /// How many of those that the finding names were not there any more.
    pub gone: u64,
}

/// Why packets are not kept any more.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A file failed.
    #[error(
        "{path}: {source}; see that the storage has room and can be written",
        path = .path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record could not be written.
    #[error(transparent)]
    Gone(#[from] StoreGone),
    /// A record has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl ShelfError {
    fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        Self::Io { path, source }
    }
}

/// Largest size of a segment under a quota, in bytes.
pub const fn segment_bytes(quota: u64) -> u64 {
    let part = quota / SEGMENTS_IN_QUOTA;
    if part < SEGMENT_BYTES_MIN {
        SEGMENT_BYTES_MIN
    } else if part > SEGMENT_BYTES_MAX {
        SEGMENT_BYTES_MAX
    } else {
        part
    }
}

/// Path of a segment in the case.
fn path_of(number: u64, held: bool) -> String {
    let prefix = if held { "held-" } else { "" };
    format!("{FOLDER}{prefix}{number:06}.pcapng")
}

/// The number in a segment's path, and whether it is a held one; none for any other path.
fn number_of(path: &str) -> Option<(u64, bool)> {
    let name = path.strip_prefix(FOLDER)?;
    let held = name.starts_with("held-");
    let digits = name.trim_start_matches("held-").strip_suffix(".pcapng")?;
    let number = digits.parse().ok()?;
    (path_of(number, held) == path).then_some((number, held))
}

fn draft<T: Serialize>(kind: Kind, body: &T) -> Result<Draft, CanonicalError> {
    Draft::new(kind, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_numbers() {
        for (number, held) in [(1, false), (999_999, true), (1_000_000, false)] {
            assert_eq!(number_of(&path_of(number, held)), Some((number, held)));
        }
        for other in ["packets/1.pcapng", "packets/x.pcapng", "000001.pcapng", ""] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_segment_is_a_bounded_part_of_the_quota() {
        assert_eq!(segment_bytes(QUOTA_MIN), SEGMENT_BYTES_MIN);
        assert_eq!(segment_bytes(QUOTA_DEFAULT), SEGMENT_BYTES_MAX);
        assert_eq!(segment_bytes(64 * 1024 * 1024), 4 * 1024 * 1024);
    }
}
