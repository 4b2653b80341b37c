//! Packets from capture files: pcap and pcapng, plain or in gzip or zstd.
//!
//! In: any [`Read`] (a file, standard input). Out: packets into a [`Sink`] (and the names that
//! `PCAPdroid` gives to UIDs), numbered from 1 in the
//! order of the file, and at the end whether the capture was read whole or where it is damaged.
//! Memory is bounded whatever the file says: the largest record that is looked at as a whole is
//! 2 MiB; blocks that are not needed are passed over at any length.

mod bytes;
mod compression;
mod damage;
mod pcap;
mod pcapdroid;
mod pcapng;
mod window;

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{
    bytes::Order,
    pcapdroid::Names,
    pcapng::{Block, BlockKind, BlockPrefix, INTERFACES_MAX, Interface, PacketBlock},
    window::{Short, Window},
};
use crate::{
    input::{Batch, Event, LinkType, Packet, Sink, TimeBasis, Vantage},
    packet::{Hook, NOT_A_PACKET, is_pktap, nflog_attributes},
    time::Timestamp,
};

pub use damage::{CaptureError, Damage, DamageKind};

/// Most captured bytes of one packet: libpcap's `MAXIMUM_SNAPLEN`, above which it also takes a
/// record for damaged.
pub const CAPTURED_MAX: u32 = 262_144;

/// Link type *user 2*: anybody's, and PKTAP's before it had a number of its own.
const USER_2: u16 = 149;

/// What [`CaptureFile::next`] ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The batch is full; there may be more.
    More,
    /// The capture is over; with damage if it was not read to its end.
    End(Option<Damage>),
}

/// A capture being read.
pub struct CaptureFile {
    window: Window<Box<dyn Read + Send>>,
    format: Format,
    source: u16,
    frames: u64,
    last_at: Timestamp,
    names: Names,
    raw_bytes: Arc<AtomicU64>,
    end: Option<End>,
}

/// How the capture ended.
#[derive(Debug, Clone)]
enum End {
    Clean,
    Damaged(Damage),
}

/// What has been learnt of the file's structure.
enum Format {
    Pcap(pcap::Header),
    Pcapng {
        order: Order,
        interfaces: Vec<Interface>,
    },
}

/// Why a record could not be read; [`Stop::End`] is the clean end.
enum Stop {
    End,
    Damage(DamageKind),
}

impl From<Short> for Stop {
    fn from(short: Short) -> Self {
        match short {
            Short::End => Self::End,
            Short::Truncated | Short::TooLong => Self::Damage(DamageKind::Truncated),
            Short::Failed(error) => Self::Damage(DamageKind::Read(error.to_string())),
        }
    }
}

impl From<DamageKind> for Stop {
    fn from(kind: DamageKind) -> Self {
        Self::Damage(kind)
    }
}

/// Reduces a link-type number to what is dissected.
fn link_type(number: u32) -> LinkType {
    match number {
        0 => LinkType::Null,
        1 => LinkType::Ethernet,
        9 | 50 => LinkType::Ppp,
        12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
        108 => LinkType::Loop,
        113 => LinkType::Sll,
        239 => LinkType::Nflog,
        258 => LinkType::Pktap,
        276 => LinkType::Sll2,
        other => LinkType::Other(u16::try_from(other).unwrap_or(u16::MAX - 1)),
    }
}

impl CaptureFile {
    /// Opens a file by its path; `source` is its index in the case.
    pub fn open_path(path: &Path, source: u16) -> Result<Self, CaptureError> {
        let file = File::open(path).map_err(|error| CaptureError::Open {
            path: path.to_owned(),
            source: error,
        })?;
        Self::open(file, source)
    }

    /// Begins to read a capture from a stream; `source` is its index in the case.
    pub fn open(reader: impl Read + Send + 'static, source: u16) -> Result<Self, CaptureError> {
        let raw_bytes = Arc::new(AtomicU64::new(0));
        let counting = compression::Counting::new(reader, Arc::clone(&raw_bytes));
        let mut window = Window::new(compression::open(Box::new(counting))?);
        let format = begin(&mut window)?;
        Ok(Self {
            window,
            format,
            source,
            frames: 0,
            last_at: Timestamp::default(),
            names: Names::default(),
            raw_bytes,
            end: None,
        })
    }

    /// Gives packets to `batch` until it is full or the capture ends. After the end it gives
    /// the same answer again.
    pub fn next(&mut self, batch: &mut impl Sink) -> Next {
        loop {
            match &self.end {
                None => {}
                Some(End::Clean) => return Next::End(None),
                Some(End::Damaged(damage)) => return Next::End(Some(damage.clone())),
            }
            if batch.is_full() {
                return Next::More;
            }
            let mut offset = self.window.offset();
            let step = match self.format {
                Format::Pcap(header) => {
                    let step = self.pcap_records(&header, batch);
                    // A record that cannot be read is not consumed.
                    offset = self.window.offset();
                    step
                }
                Format::Pcapng { .. } => self.pcapng_block(batch),
            };
            match step {
                Ok(()) => {}
                Err(Stop::End) => self.end = Some(End::Clean),
                Err(Stop::Damage(kind)) => {
                    self.end = Some(End::Damaged(Damage {
                        offset,
                        frames: self.frames,
                        kind,
                    }));
                }
            }
        }
    }

    /// Packets read so far.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Time of the last packet read; the epoch before the first.
    pub const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Bytes read from the source so far, compressed where it is: comparable to a file's size.
    pub fn bytes_read(&self) -> u64 {
        self.raw_bytes.load(Ordering::Relaxed)
    }

    /// Reads records until the batch is full.
    fn pcap_records(&mut self, header: &pcap::Header, batch: &mut impl Sink) -> Result<(), Stop> {
        while !batch.is_full() {
            self.pcap_record(header, batch)?;
        }
        Ok(())
    }

    #[inline]
    fn pcap_record(&mut self, header: &pcap::Header, batch: &mut impl Sink) -> Result<(), Stop> {
        let (record, data) = if let Some(whole) = header.split_record(self.window.held()) {
            whole
        } else {
            gather_record(&mut self.window, header)?;
            let held = self.window.held();
            header.split_record(held).ok_or(DamageKind::Truncated)?
        };
        self.frames += 1;
        self.last_at = record.at;
        let mut packet = packet(self.source, self.frames, header.link, data);
        record.describe(&mut packet);
        push_told(&mut self.names, &packet, batch);
        let length = header.record_len() + data.len();
        self.window.consume(length);
        Ok(())
    }

    fn pcapng_block(&mut self, batch: &mut impl Sink) -> Result<(), Stop> {
        let Format::Pcapng { order, interfaces } = &mut self.format else {
            return Ok(());
        };
        let head = self.window.peek_array()?;
        let prefix = BlockPrefix::parse(head, *order);
        // A section header's type reads the same in both orders, its length does not.
        if prefix.kind == pcapng::SECTION_HEADER {
            *order = section(&mut self.window)?;
            interfaces.clear();
            self.names.clear();
            return Ok(());
        }
        let kind = prefix.check()?;
        if kind != BlockKind::Parsed {
            if prefix.kind == pcapng::CUSTOM && prefix.length <= pcapdroid::MAPPING_LEN_MAX {
                let bytes = self
                    .window
                    .peek(usize::try_from(prefix.length).unwrap_or(0))?;
                let body = pcapng::body(prefix, bytes, *order)?;
                if let Some(name) = self.names.mapping(body, *order, self.last_at) {
                    batch.event(Event::AppName(name));
                }
            }
            pass(&mut self.window, prefix, *order)?;
            if kind == BlockKind::Numbered {
                self.frames += 1;
                let record = no_packet(self.source, self.frames, self.last_at, prefix.length);
                batch.packet(&record);
            }
            return Ok(());
        }
        let length = usize::try_from(prefix.length).unwrap_or(usize::MAX);
        let bytes = match self.window.peek(length) {
            Err(Short::TooLong) => return Err(prefix.length_damage().into()),
            other => other?,
        };
        match pcapng::parse(prefix, bytes, *order, interfaces)? {
            Block::Interface(_) if interfaces.len() >= INTERFACES_MAX => {
                return Err(DamageKind::Interfaces.into());
            }
            Block::Interface(interface) => interfaces.push(interface),
            Block::Packet(block) => {
                self.frames += 1;
                self.last_at = block.at.unwrap_or(self.last_at);
                let mut packet = of_block(self.source, self.frames, self.last_at, &block);
                if packet.link == LinkType::RawIp
                    && let Some(uid) = self.names.commented(block.comment)
                {
                    (packet.link, packet.uid) = (LinkType::Pcapdroid, Some(uid));
                }
                push_told(&mut self.names, &packet, batch);
            }
        }
        self.window.consume(length);
        Ok(())
    }
}

/// Reads on until the window holds a whole record.
#[cold]
fn gather_record<R: Read>(window: &mut Window<R>, header: &pcap::Header) -> Result<(), Stop> {
    let head_len = header.record_len();
    let head = window.peek(head_len)?;
    let record = header.record(head).ok_or(DamageKind::Truncated)?;
    if record.captured_len > CAPTURED_MAX {
        return Err(DamageKind::CapturedLength(record.captured_len).into());
    }
    let captured_len = usize::try_from(record.captured_len).unwrap_or(usize::MAX);
    window.peek(head_len + captured_len)?;
    Ok(())
}

/// Appends a packet without what `PCAPdroid` wrapped it in, behind the name that came with it.
#[inline]
fn push_told(names: &mut Names, packet: &Packet<'_>, batch: &mut impl Sink) {
    if pcapdroid::may_be_wrapped(packet)
        && let Some((unwrapped, name)) = names.unwrap(packet)
    {
        if let Some(name) = name {
            batch.event(Event::AppName(name));
        }
        return batch.packet(&unwrapped);
    }
    batch.packet(packet);
}

/// Entry for fuzzing: reads `data` as a capture to its end.
pub fn fuzz_capture_file(data: &[u8]) {
    let Ok(mut file) = CaptureFile::open(std::io::Cursor::new(data.to_vec()), 0) else {
        return;
    };
    let mut batch = Batch::new();
    while file.next(&mut batch) == Next::More {
        batch.clear();
    }
}

/// A packet of a pcapng block. A simple packet block has no time: `at` is then that of the packet
/// before it, or the epoch where there was none.
fn of_block<'a>(source: u16, frame: u64, at: Timestamp, block: &PacketBlock<'a>) -> Packet<'a> {
    Packet {
        at,
        original_len: block.original_len,
        ..packet(source, frame, block.link, block.data)
    }
}

/// A record that is numbered like a packet, without its content.
fn no_packet(source: u16, frame: u64, at: Timestamp, original_len: u32) -> Packet<'static> {
    Packet {
        at,
        original_len,
        ..packet(source, frame, NOT_A_PACKET, &[])
    }
}

/// A packet as far as its place in the file and its bytes tell; NFLOG records bring their owner
/// and vantage with them.
fn packet(source: u16, frame: u64, link: LinkType, data: &[u8]) -> Packet<'_> {
    let link = match link {
        LinkType::Other(USER_2) if is_pktap(data) => LinkType::Pktap,
        link => link,
    };
    let attributes = matches!(link, LinkType::Nflog)
        .then(|| nflog_attributes(data).ok())
        .flatten();
    let vantage = match attributes.and_then(|attributes| attributes.hook) {
        Some(Hook::Output) => Vantage::Output,
        Some(Hook::Input) => Vantage::Input,
        _ => Vantage::Both,
    };
    Packet {
        at: Timestamp::default(),
        time_basis: TimeBasis::File,
        link,
        vantage,
        uid: attributes.and_then(|attributes| attributes.uid),
        interface: None,
        original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
        source,
        frame,
        data,
    }
}

/// Tells the format and reads the file's or the first section's header.
fn begin<R: Read>(window: &mut Window<R>) -> Result<Format, CaptureError> {
    let magic = window.peek_array().map_err(|short| match short {
        Short::End => CaptureError::Empty,
        other => header_error(other, window.offset()),
    })?;
    if u32::from_be_bytes(magic) == pcapng::SECTION_HEADER {
        let offset = window.offset();
        let order = section(window).map_err(|stop| match stop {
            Stop::Damage(DamageKind::Read(text)) => CaptureError::Read(std::io::Error::other(text)),
            Stop::Damage(DamageKind::ByteOrder(_) | DamageKind::BlockLength { .. }) => {
                CaptureError::Format(magic)
            }
            _ => CaptureError::HeaderTruncated(offset),
        })?;
        let interfaces = Vec::new();
        return Ok(Format::Pcapng { order, interfaces });
    }
    if pcap::magic(magic).is_none() {
        return Err(CaptureError::Format(magic));
    }
    let bytes = window
        .peek_array()
        .map_err(|short| header_error(short, window.offset()))?;
    window.consume(pcap::HEADER_LEN);
    let header = pcap::Header::parse(bytes).ok_or(CaptureError::Format(magic))?;
    Ok(Format::Pcap(header))
}

fn header_error(short: Short, offset: u64) -> CaptureError {
    match short {
        Short::Failed(error) => CaptureError::Read(error),
        Short::End | Short::Truncated | Short::TooLong => CaptureError::HeaderTruncated(offset),
    }
}

/// Passes a section header block and gives the section's byte order.
fn section<R: Read>(window: &mut Window<R>) -> Result<Order, Stop> {
    let head: [u8; pcapng::SECTION_PREFIX_LEN] = window.peek_array()?;
    let order = pcapng::section_order(head)?;
    pcapng::section_version(window.peek_array()?, order)?;
    let prefix = BlockPrefix::parse(window.peek_array()?, order);
    prefix.check()?;
    pass(window, prefix, order)?;
    Ok(order)
}

/// Passes a block of any length, comparing its two lengths.
fn pass<R: Read>(window: &mut Window<R>, prefix: BlockPrefix, order: Order) -> Result<(), Stop> {
    window.skip(u64::from(prefix.length.saturating_sub(4)))?;
    let trailing = match window.peek_array() {
        Err(Short::End) => return Err(DamageKind::Truncated.into()),
        other => order.u32(other?),
    };
    pcapng::check_trailer(prefix, trailing)?;
    window.consume(4);
    Ok(())
}
