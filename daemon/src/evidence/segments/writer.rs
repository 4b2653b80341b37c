//! A segment that is being written, and what is remembered of one that was.
//!
//! In: encoded packets. Out: a file, hashed while it is written.

use std::{
    collections::HashSet,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};

use super::{
    FOLDER, SEGMENT_PACKETS_MAX, SegmentBody, ShelfError, block, block::PacketBlock, past::Pointed,
};
use crate::{evidence::record::Hash, input::Packet, time::Timestamp};

/// The flow of a packet has no contact yet.
pub(super) const NO_CONTACT: u32 = 0;

/// What is remembered of a packet in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Its number in the session's source `live`; ascending within a segment.
    pub(super) live: u64,
    flow: u32,
    /// Number of its contact as far as was known, or [`NO_CONTACT`].
    pub(super) contact: u32,
}

impl Frame {
    /// A `packets` record points to it.
    const TOLD: u32 = 1 << 31;
    /// A finding names it.
    const NAMED: u32 = 1 << 30;
    /// Its flow was the first to where it goes.
    const FRESH: u32 = 1 << 29;
    /// Flows of one session that are in segments at the same time differ in these bits.
    const FLOW: u32 = Self::FRESH - 1;

    pub(super) fn new(live: u64, flow: u64, contact: Option<u32>, fresh: bool) -> Self {
        let flow = Self::flow_bits(flow);
        Self {
            live,
            flow: if fresh { flow | Self::FRESH } else { flow },
            contact: contact.unwrap_or(NO_CONTACT),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    pub(super) const fn flow_bits(flow: u64) -> u32 {
        flow as u32 & Self::FLOW
    }

    pub(super) const fn flow(self) -> u32 {
        self.flow & Self::FLOW
    }

    pub(super) const fn is_fresh(self) -> bool {
        self.flow & Self::FRESH != 0
    }

    pub(super) const fn is_told(self) -> bool {
        self.flow & Self::TOLD != 0
    }

    pub(super) const fn is_named(self) -> bool {
        self.flow & Self::NAMED != 0
    }

    pub(super) const fn tell(&mut self, named: bool) {
        self.flow |= Self::TOLD;
        if named {
            self.flow |= Self::NAMED;
        }
    }
}

/// A segment with what is remembered of its packets.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: String,
    pub(super) held: bool,
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) flows: Option<u64>,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// Each packet of this session; none for a segment of an earlier one.
    pub(super) frames: Vec<Frame>,
    /// Packets of findings of an earlier session: number in the segment, and the contact's label.
    pub(super) before: Vec<Pointed>,
}

impl Segment {
    fn new(path: String, held: bool) -> Self {
        Self {
            path,
            held,
            bytes: 0,
            packets: 0,
            flows: Some(0),
            first: None,
            last: None,
            frames: Vec::new(),
            before: Vec::new(),
        }
    }

    /// A segment as a record tells of it, with the packets that records point to.
    pub(super) fn of_record(body: SegmentBody, before: Vec<Pointed>) -> Self {
        Self {
            bytes: body.bytes,
            packets: body.packets,
            flows: body.flows,
            first: body.first,
            last: body.last,
            before,
            ..Self::new(body.path, body.held)
        }
    }

    /// Whether no further packet is to be remembered of it.
    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= SEGMENT_PACKETS_MAX
    }

    /// Number of the packet with this number in `live`, from 0.
    pub(super) fn find(&self, live: u64) -> Option<usize> {
        self.frames.binary_search_by_key(&live, |f| f.live).ok()
    }

    fn count_flows(&mut self) {
        let flows: HashSet<u32, RandomState> = self.frames.iter().map(|f| f.flow()).collect();
        self.flows = u64::try_from(flows.len()).ok();
    }
}

/// A segment's file.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) segment: Segment,
    file: File,
    sha: Sha256,
    links: Vec<u16>,
    /// Encoded, and not written yet.
    waiting: Vec<u8>,
    /// Bytes that were written whole, and packets in them.
    written: u64,
    written_packets: u64,
    synced: bool,
}

impl Open {
    /// Makes the file in the case in `dir`, and the folder where it is missing.
    pub(super) fn create(dir: &Path, path: String, held: bool) -> Result<Self, ShelfError> {
        let folder = dir.join(FOLDER);
        let full = dir.join(&path);
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&folder);
        let file = made
            .and_then(|()| {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&full)
            })
            .and_then(|file| sync_folders(dir, &folder).map(|()| file))
            .map_err(|source| ShelfError::io(full, source))?;
        let mut open = Self {
            segment: Segment::new(path, held),
            file,
            sha: Sha256::new(),
            links: Vec::new(),
            waiting: Vec::new(),
            written: 0,
            written_packets: 0,
            synced: true,
        };
        block::section(&mut open.waiting);
        open.count();
        Ok(open)
    }

    /// Takes a packet, as it was captured or as an NFLOG record.
    pub(super) fn push(&mut self, packet: &Packet<'_>, as_nflog: bool, frame: Frame) {
        let link = if as_nflog {
            block::LINK_NFLOG
        } else {
            block::link_number(packet.link)
        };
        let number = self.interface(link);
        block::packet(&mut self.waiting, number, packet, as_nflog);
        self.pushed(packet.at, frame);
    }

    /// Takes a copy of a packet from another segment.
    pub(super) fn copy(&mut self, packet: &PacketBlock<'_>, frame: Frame) {
        let number = self.interface(packet.link);
        block::copy(&mut self.waiting, number, packet);
        self.pushed(packet.at, frame);
    }

    fn interface(&mut self, link: u16) -> u32 {
        let known = self.links.iter().position(|known| *known == link);
        let at = known.unwrap_or_else(|| {
            block::interface(&mut self.waiting, link);
            self.links.push(link);
            self.links.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn pushed(&mut self, at: Timestamp, frame: Frame) {
        let segment = &mut self.segment;
        segment.packets += 1;
        segment.first = Some(segment.first.map_or(at, |first| first.min(at)));
        segment.last = Some(segment.last.map_or(at, |last| last.max(at)));
        segment.frames.push(frame);
        self.count();
    }

    fn count(&mut self) {
        self.segment.bytes = self.written + self.waiting.len() as u64;
    }

    /// Writes what waits; with `sync`, onto the disk.
    pub(super) fn flush(&mut self, dir: &Path, sync: bool) -> Result<(), ShelfError> {
        self.try_flush(sync)
            .map_err(|source| ShelfError::io(dir.join(&self.segment.path), source))
    }

    fn try_flush(&mut self, sync: bool) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.file.write_all(&self.waiting)?;
            self.sha.update(&self.waiting);
            self.written += self.waiting.len() as u64;
            self.written_packets = self.segment.packets;
            self.waiting.clear();
            self.synced = false;
        }
        if sync && !self.synced {
            self.file.sync_data()?;
            self.synced = true;
        }
        Ok(())
    }

    /// Closes the file; gives what its record says.
    pub(super) fn close(
        mut self,
        dir: &Path,
        (session, reason, now): (u64, &str, Timestamp),
    ) -> Result<(Segment, SegmentBody), ShelfError> {
        self.flush(dir, true)?;
        Ok(self.closed(session, reason, now))
    }

    /// Closes the file with what could be written whole; none when nothing could.
    pub(super) fn give_up(mut self, session: u64, now: Timestamp) -> Option<SegmentBody> {
        // The packets that wait are in the count, and not in the file.
        self.file.set_len(self.written).ok()?;
        self.file.sync_data().ok()?;
        self.segment.bytes = self.written;
        self.segment.packets = self.written_packets;
        (self.written_packets > 0).then(|| self.closed(session, "error", now).1)
    }

    fn closed(mut self, session: u64, reason: &str, now: Timestamp) -> (Segment, SegmentBody) {
        self.segment.count_flows();
        let segment = self.segment;
        let body = SegmentBody {
            path: segment.path.clone(),
            bytes: segment.bytes,
            sha256: Hash::from_sha256(self.sha),
            session,
            packets: segment.packets,
            flows: segment.flows,
            first: segment.first,
            last: segment.last,
            held: segment.held,
            reason: reason.to_owned(),
            closed: Some(now),
            torn: 0,
        };
        (segment, body)
    }
}

fn sync_folders(dir: &Path, folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    File::open(dir)?.sync_all()
}
