//! What can be wrong with a capture file, and what to do about it.
//!
//! In: where reading stopped and why. Out: [`CaptureError`] when nothing could be read, or
//! [`Damage`] when what was read before stays good; the latter becomes a [`Gap`].

use std::{io, path::PathBuf};

use crate::{
    input::{Gap, GapCause},
    time::Timestamp,
};

/// A capture that cannot be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot open capture {}: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed before the first packet.
    #[error("cannot read the capture's beginning: {0}; copy the file again from where it was made")]
    Read(#[from] io::Error),
    /// There are no bytes.
    #[error("the capture is empty; expected pcap or pcapng, perhaps in gzip or zstd")]
    Empty,
    /// The first bytes are of no known format.
    #[error(
        "not a capture: it begins with bytes {0:02x?}; expected pcap or pcapng, perhaps in gzip \
         or zstd; convert other formats with `editcap -F pcapng`"
    )]
    Format([u8; 4]),
    /// The file ends within its own header.
    #[error(
        "the capture ends within its header, at byte {0}; copy it again from where it was made"
    )]
    HeaderTruncated(u64),
}

/// Why reading stopped early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// The file ends within a record.
    #[error("the file ends within a record")]
    Truncated,
    /// A pcap record states more bytes than a packet can have.
    #[error("a record states {0} captured bytes, more than the {max} of any packet", max = super::CAPTURED_MAX)]
    CapturedLength(u32),
    /// A pcapng block states a length that its type cannot have.
    #[error("a block of type {kind:#x} states a length of {length} bytes")]
    BlockLength {
        /// Type of the block.
        kind: u32,
        /// Its stated length.
        length: u32,
    },
    /// The length at a block's end differs from the one at its beginning.
    #[error("a block begins with length {leading} and ends with length {trailing}")]
    BlockTrailer {
        /// Length at the beginning.
        leading: u32,
        /// Length at the end.
        trailing: u32,
    },
    /// A section header has no valid byte-order magic.
    #[error("a section has byte-order magic {0:02x?}")]
    ByteOrder([u8; 4]),
    /// A section of a version whose blocks are not known.
    #[error("a section is of pcapng version {major}; version 1 is known")]
    Version {
        /// Major version.
        major: u16,
    },
    /// A packet names an interface that its section does not describe.
    #[error("a packet names interface {0}, which its section does not describe")]
    Interface(u32),
    /// A section describes more interfaces than are kept.
    #[error("a section describes more than {max} interfaces", max = super::INTERFACES_MAX)]
    Interfaces,
    /// A packet block whose packet is longer than the block.
    #[error("a packet of {0} captured bytes does not fit its block")]
    PacketLength(u32),
    /// Decompressing or reading failed.
    #[error("reading failed: {0}")]
    Read(String),
}

/// Where and why reading stopped before the end; everything before is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}, after packet {frames}: {kind}; what comes after is not read: {remedy}", remedy = self.remedy())]
pub struct Damage {
    /// Offset of the record that could not be read, in the uncompressed capture.
    pub offset: u64,
    /// Packets read before.
    pub frames: u64,
    /// What is wrong.
    pub kind: DamageKind,
}

impl Damage {
    /// What the user can do.
    pub const fn remedy(&self) -> &'static str {
        match self.kind {
            DamageKind::Truncated => {
                "copy the file again from where it was made, or, if the capturing program was \
                 killed, accept that its last packet is lost"
            }
            DamageKind::Read(_) => {
                "copy the file again, or decompress it apart to see how far it is good"
            }
            DamageKind::Version { .. } => {
                "convert it with a program that knows this version, such as `editcap -F pcapng`"
            }
            _ => "copy the file again from where it was made and compare its SHA-256",
        }
    }

    /// The gap that this damage leaves in the evidence; `place` names the file, `at` is the time
    /// of the last packet that was read.
    pub fn to_gap(&self, place: &str, at: Timestamp) -> Gap {
        Gap {
            at,
            cause: GapCause::CaptureDamaged,
            from: Some(at),
            to: None,
            packets: None,
            place: place.to_owned(),
            detail: self.to_string(),
        }
    }
}
