//! Packets out of segments, by what a `packets` record says.
//!
//! In: the folder of a case, and a segment with numbers of packets in it. Out: the packets. Nothing
//! is changed.

use std::{fs, path::Path};

use super::{Block, Blocks, ShelfError, number_of};
use crate::time::Timestamp;

/// A packet out of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPacket {
    /// Its number in the segment, from 1.
    pub frame: u32,
    /// Number of its link type in the tcpdump.org registry.
    pub link: u16,
    /// When it passed.
    pub at: Timestamp,
    /// Its length before it was cut off, in bytes, counted like `data`.
    pub original_len: u32,
    /// Its bytes, from the link type's first on.
    pub data: Vec<u8>,
}

/// The packets with these numbers (from 1, in any order) of the segment at `path` in the case in
/// `dir`, in their order there; a number that the segment does not have is passed over. None for a
/// path that is no segment's.
pub fn packets_of(
    dir: &Path,
    path: &str,
    frames: &[u32],
) -> Result<Option<Vec<KeptPacket>>, ShelfError> {
    if number_of(path).is_none() {
        return Ok(None);
    }
    let full = dir.join(path);
    let bytes = fs::read(&full).map_err(|source| ShelfError::io(full, source))?;
    let packets = Blocks::of(&bytes).filter_map(|block| match block {
        Block::Packet(packet) => Some(packet),
        _ => None,
    });
    let kept = (1..)
        .zip(packets)
        .filter(|(frame, _)| frames.contains(frame))
        .map(|(frame, packet)| KeptPacket {
            frame,
            link: packet.link,
            at: packet.at,
            original_len: packet.original_len,
            data: packet.data.to_vec(),
        });
    Ok(Some(kept.collect()))
}
