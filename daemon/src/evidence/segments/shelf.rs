//! The quota: which segments are there, which one gives way, and what of it is held.
//!
//! In: packets and news of flows, in order. Out: files, and drafts that tell of them. Nothing that is
//! below `packets/` is ever more than the quota: the oldest segment is dropped while there is still
//! room for the copies of what findings need of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs, io,
    path::PathBuf,
};

use foldhash::fast::RandomState;

use super::{
    CONTACT_PACKETS_MAX, DroppedBody, Found, Handful, NAMED_MAX, PacketsBody, Past, Sample,
    ShelfError,
    block::{BEGINNING_LEN, Block, Blocks, PACKET_OVERHEAD_MAX, PacketBlock},
    draft, number_of, path_of, segment_bytes,
    writer::{Frame, NO_CONTACT, Open, Segment},
};
use crate::{
    evidence::{Draft, Kind, StoreGone},
    input::Packet,
    time::Timestamp,
};

/// Held packets have this part of the quota at most.
const HELD_PART: u64 = 2;
/// Bytes that the beginnings of further files and interfaces take while packets are copied.
const BEGINNINGS: u64 = 8 * BEGINNING_LEN as u64;
/// Marks noted while one segment is open, at most: more close it.
const SEGMENT_MARKS_MAX: usize = 65_536;

/// What a shelf is opened with.
#[derive(Debug, Clone)]
pub struct ShelfOptions {
    /// Folder of the case.
    pub dir: PathBuf,
    /// Bytes that may lie below `packets/`, at least [`super::QUOTA_MIN`].
    pub quota: u64,
    /// Number of the session.
    pub session: u64,
    /// Whether packets came by NFLOG.
    pub as_nflog: bool,
}

/// Commits drafts, and returns when they are on the disk.
pub type Commit<'a> = &'a mut dyn FnMut(Vec<Draft>) -> Result<(), StoreGone>;

/// All segments of a case.
#[derive(Debug)]
pub struct Shelf {
    options: ShelfOptions,
    segment_max: u64,
    /// Closed segments, the oldest first.
    ring: VecDeque<Segment>,
    /// Bytes of the closed segments, and of one that is being dropped.
    ring_bytes: u64,
    open: Option<Open>,
    /// Closed segments of held packets.
    held: Vec<Segment>,
    held_closed_bytes: u64,
    held_open: Option<Open>,
    next: (u64, u64),
    /// Flows and their contacts, with the number of the segment that was open then.
    marks: VecDeque<(u32, u32, u64)>,
    marks_in_open: usize,
    findings: HashSet<u32, RandomState>,
    pending: Vec<Found>,
    /// Packets of a contact that were pointed to, and that are held.
    told: HashMap<u32, u16, RandomState>,
    held_of: HashMap<u32, u16, RandomState>,
    drafts: Vec<Draft>,
    unkept: u64,
}

/// Whose packet a candidate is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// Of a contact of this session.
    Contact(u32),
    /// Of a contact of an earlier one.
    Label(String),
    /// Of a flow whose contact is not known yet.
    Unknown,
}

/// A packet that may be held.
#[derive(Debug)]
struct Candidate {
    /// Number in its segment, from 0.
    at: usize,
    frame: Frame,
    whose: Whose,
    named: bool,
}

/// Places of packets, by whose they are, the segment, and whether a finding names them.
type Places = BTreeMap<(Whose, String, bool), (Vec<u32>, Vec<u64>)>;

impl Shelf {
    /// Opens the segments that the records tell of; nothing is written yet.
    pub fn open(options: ShelfOptions, past: Past) -> Result<Self, ShelfError> {
        let files = super::past::files(&options.dir)
            .map_err(|source| ShelfError::io(options.dir.join(super::FOLDER), source))?;
        let mut next = (1, 1);
        let known = past.segments.keys().chain(&past.dropped).chain(&files);
        for (number, held) in known.filter_map(|path| number_of(path)) {
            let next = if held { &mut next.1 } else { &mut next.0 };
            *next = (*next).max(number + 1);
        }
        let (mut ring, mut held) = (Vec::new(), Vec::new());
        let mut pointed = past.pointed;
        for (path, body) in past.segments {
            let segment = Segment::of_record(body, pointed.remove(&path).unwrap_or_default());
            if segment.held {
                held.push(segment);
            } else {
                ring.push(segment);
            }
        }
        // By number: paths with more digits come behind those with fewer.
        ring.sort_by_key(|segment| number_of(&segment.path));
        Ok(Self {
            segment_max: segment_bytes(options.quota),
            options,
            ring_bytes: bytes_of(&ring),
            ring: ring.into(),
            open: None,
            held_closed_bytes: bytes_of(&held),
            held,
            held_open: None,
            next,
            marks: VecDeque::new(),
            marks_in_open: 0,
            findings: HashSet::default(),
            pending: Vec::new(),
            told: HashMap::default(),
            held_of: HashMap::default(),
            drafts: Vec::new(),
            unkept: 0,
        })
    }

    /// Takes what the pipeline handed over; writes it. What must be on record before a file goes is
    /// committed.
    pub fn put(
        &mut self,
        handful: &Handful,
        now: Timestamp,
        commit: Commit<'_>,
    ) -> Result<(), ShelfError> {
        let number = self.next.0 - u64::from(self.open.is_some());
        for mark in &handful.marks {
            let flow = Frame::flow_bits(mark.flow);
            self.marks.push_back((flow, mark.contact, number));
        }
        self.marks_in_open += handful.marks.len();
        for found in &handful.findings {
            if self.findings.insert(found.contact) {
                self.pending.push(found.clone());
            }
        }
        for (packet, sample) in handful.packets() {
            self.put_packet(&packet, sample, now, commit)?;
        }
        if let Some(open) = &mut self.open {
            open.flush(&self.options.dir, false)?;
        }
        Ok(())
    }

    fn put_packet(
        &mut self,
        packet: &Packet<'_>,
        sample: Sample,
        now: Timestamp,
        commit: Commit<'_>,
    ) -> Result<(), ShelfError> {
        let most = (packet.data.len() + PACKET_OVERHEAD_MAX + BEGINNING_LEN) as u64;
        let is_over = |open: &Open| open.segment.bytes + most > self.segment_max;
        if self.open.as_ref().is_some_and(|open| {
            is_over(open) || open.segment.is_full() || self.marks_in_open >= SEGMENT_MARKS_MAX
        }) {
            self.rotate("size", now)?;
        }
        if most > self.segment_max || !self.make_room(most, now, commit)? {
            self.unkept += 1;
            return Ok(());
        }
        let frame = Frame::new(packet.frame, sample.flow, sample.contact, sample.fresh);
        let as_nflog = self.options.as_nflog;
        self.opened(false)?.push(packet, as_nflog, frame);
        Ok(())
    }

    /// The segment that is being written, made where there is none.
    fn opened(&mut self, held: bool) -> Result<&mut Open, ShelfError> {
        let (slot, next) = if held {
            (&mut self.held_open, &mut self.next.1)
        } else {
            (&mut self.open, &mut self.next.0)
        };
        if slot.is_none() {
            let open = Open::create(&self.options.dir, path_of(*next, held), held)?;
            *next += 1;
            *slot = Some(open);
        }
        match slot {
            Some(open) => Ok(open),
            None => unreachable!("it was made above"),
        }
    }

    /// Drops segments until `bytes` more, and copies out of a whole segment, are within the quota.
    fn make_room(
        &mut self,
        bytes: u64,
        now: Timestamp,
        commit: Commit<'_>,
    ) -> Result<bool, ShelfError> {
        while self.bytes() + bytes + self.segment_max > self.options.quota {
            if self.ring.is_empty() {
                self.rotate("size", now)?;
            }
            // What findings name and is here is known before it is decided what is held.
            self.settle(now)?;
            let Some(segment) = self.ring.pop_front() else {
                return Ok(false);
            };
            let dropped = self.drop_segment(&segment, now, commit);
            self.ring_bytes -= segment.bytes;
            dropped?;
        }
        Ok(true)
    }

    fn drop_segment(
        &mut self,
        segment: &Segment,
        now: Timestamp,
        commit: Commit<'_>,
    ) -> Result<(), ShelfError> {
        let candidates = self.candidates(segment);
        let (held, not_held) = self.hold(segment, &candidates, now)?;
        let body = DroppedBody {
            path: segment.path.clone(),
            at: now,
            session: self.options.session,
            reason: "quota".to_owned(),
            bytes: segment.bytes,
            packets: segment.packets,
            flows: segment.flows,
            first: segment.first,
            last: segment.last,
            held,
            not_held,
        };
        self.drafts.push(draft(Kind::SEGMENT_DROPPED, &body)?);
        commit(self.take_drafts())?;
        let full = self.options.dir.join(&segment.path);
        match fs::remove_file(&full) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ShelfError::io(full, error));
            }
            _ => {}
        }
        let number = number_of(&segment.path).map_or(0, |(number, _)| number);
        while self.marks.front().is_some_and(|(_, _, at)| *at <= number) {
            self.marks.pop_front();
        }
        Ok(())
    }

    /// The packets of a segment that findings need, or may need: those of flows that are the first
    /// to where they go, and not judged yet.
    fn candidates(&self, segment: &Segment) -> Vec<Candidate> {
        if segment.frames.is_empty() {
            return before(segment);
        }
        let contacts = self.contacts_of(segment);
        let candidate = |(at, frame): (usize, &Frame)| {
            let contact = contacts.get(&frame.flow()).copied().unwrap_or(NO_CONTACT);
            let whose = if self.findings.contains(&contact) {
                Whose::Contact(contact)
            } else if contact == NO_CONTACT && frame.is_fresh() {
                Whose::Unknown
            } else {
                return None;
            };
            Some(Candidate {
                at,
                frame: *frame,
                whose,
                named: frame.is_named(),
            })
        };
        let frames = segment.frames.iter().enumerate();
        frames.filter_map(candidate).collect()
    }

    /// The contacts of a segment's flows, as far as they are known by now.
    fn contacts_of(&self, segment: &Segment) -> HashMap<u32, u32, RandomState> {
        let frames = segment.frames.iter();
        let mut contacts: HashMap<u32, u32, RandomState> =
            frames.map(|frame| (frame.flow(), frame.contact)).collect();
        for (flow, contact, _) in &self.marks {
            if let Some(known) = contacts.get_mut(flow) {
                *known = *contact;
            }
        }
        contacts
    }

    /// Copies candidates to held segments as far as there is room; gives how many, and how many
    /// packets of findings were not.
    fn hold(
        &mut self,
        segment: &Segment,
        candidates: &[Candidate],
        now: Timestamp,
    ) -> Result<(u64, u64), ShelfError> {
        if candidates.is_empty() {
            return Ok((0, 0));
        }
        let full = self.options.dir.join(&segment.path);
        let bytes = match fs::read(&full) {
            // Somebody took it away; that is for `verify` to say of it, if it was not dropped.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|source| ShelfError::io(full, source))?,
        };
        let blocks = Blocks::of(&bytes).filter_map(|block| match block {
            Block::Packet(packet) => Some(packet),
            _ => None,
        });
        let packets: Vec<PacketBlock<'_>> = blocks.collect();
        let taken = self.select(candidates, &packets, segment.bytes);
        let (mut held, mut not_held) = (0, 0);
        let mut places = Places::new();
        for (candidate, taken) in candidates.iter().zip(taken) {
            let Some(packet) = packets.get(candidate.at).filter(|_| taken) else {
                not_held += u64::from(candidate.whose != Whose::Unknown);
                continue;
            };
            self.rotate_held(copied_len(packet), now)?;
            let open = self.opened(true)?;
            open.copy(packet, candidate.frame);
            let number = u32::try_from(open.segment.packets).unwrap_or(u32::MAX);
            let path = open.segment.path.clone();
            held += 1;
            let place = places.entry((candidate.whose.clone(), path, candidate.named));
            let (frames, live) = place.or_default();
            frames.push(number);
            live.push(candidate.frame.live);
        }
        if let Some(open) = &mut self.held_open {
            open.flush(&self.options.dir, true)?;
        }
        self.tell(places, 0, now)?;
        Ok((held, not_held))
    }

    /// Which candidates are copied: first those that a finding names, or would, then further ones
    /// while they take no more than half of the room for held packets.
    fn select(
        &mut self,
        candidates: &[Candidate],
        packets: &[PacketBlock<'_>],
        segment_bytes: u64,
    ) -> Vec<bool> {
        let (quota, total) = (self.options.quota, self.bytes());
        // A quota that was lowered is reached by drops; then a copy may go beyond it for a moment.
        let free = quota.checked_sub(total).unwrap_or(segment_bytes);
        let held = self.held_bytes();
        let share = quota / HELD_PART;
        let mut room = share
            .saturating_sub(held)
            .min(free)
            .saturating_sub(BEGINNINGS);
        let mut further = (share / 2).saturating_sub(held);
        let mut taken = vec![false; candidates.len()];
        for named in [true, false] {
            for (candidate, taken) in candidates.iter().zip(&mut taken) {
                let Some(packet) = packets.get(candidate.at).filter(|_| !*taken) else {
                    continue;
                };
                let bytes = copied_len(packet);
                let mut nothing = 0;
                let count = match &candidate.whose {
                    Whose::Contact(contact) => self.held_of.entry(*contact).or_default(),
                    // As many as there are were pointed to.
                    Whose::Label(_) | Whose::Unknown => &mut nothing,
                };
                let is_first = candidate.named
                    || match candidate.whose {
                        Whose::Contact(_) => *count < NAMED_MAX,
                        Whose::Label(_) => false,
                        Whose::Unknown => true,
                    };
                let may = if named {
                    is_first
                } else {
                    *count < CONTACT_PACKETS_MAX && bytes <= further
                };
                if may && bytes <= room {
                    *taken = true;
                    *count += 1;
                    room -= bytes;
                    further = further.saturating_sub(bytes);
                }
            }
        }
        taken
    }

    /// Closes the held segment when `bytes` more would make it too large.
    fn rotate_held(&mut self, bytes: u64, now: Timestamp) -> Result<(), ShelfError> {
        let max = self.segment_max;
        let full = self.held_open.take_if(|open| {
            open.segment.bytes + bytes + BEGINNING_LEN as u64 > max || open.segment.is_full()
        });
        match full {
            Some(open) => self.close_held(open, "size", now),
            None => Ok(()),
        }
    }

    fn close_held(&mut self, open: Open, reason: &str, now: Timestamp) -> Result<(), ShelfError> {
        let session = self.options.session;
        let (segment, body) = open.close(&self.options.dir, (session, reason, now))?;
        self.held_closed_bytes += segment.bytes;
        self.held.push(segment);
        self.drafts.push(draft(Kind::SEGMENT, &body)?);
        Ok(())
    }

    /// Closes the segment that is being written.
    fn rotate(&mut self, reason: &str, now: Timestamp) -> Result<(), ShelfError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let session = self.options.session;
        let (segment, body) = open.close(&self.options.dir, (session, reason, now))?;
        self.marks_in_open = 0;
        self.drafts.push(draft(Kind::SEGMENT, &body)?);
        self.ring_bytes += segment.bytes;
        self.ring.push_back(segment);
        self.settle(now)?;
        if let Some(mut segment) = self.ring.pop_back() {
            let told = self.tell_further(&mut segment, now);
            self.ring.push_back(segment);
            told?;
        }
        Ok(())
    }

    /// Points to further packets of contacts with findings, up to their share.
    fn tell_further(&mut self, segment: &mut Segment, now: Timestamp) -> Result<(), ShelfError> {
        if self.findings.is_empty() {
            return Ok(());
        }
        let contacts = self.contacts_of(segment);
        let mut places = Places::new();
        for (number, frame) in (1..).zip(&mut segment.frames) {
            let contact = contacts.get(&frame.flow()).copied().unwrap_or(NO_CONTACT);
            if frame.is_told() || !self.findings.contains(&contact) {
                continue;
            }
            let told = self.told.entry(contact).or_default();
            if *told < CONTACT_PACKETS_MAX {
                *told += 1;
                frame.tell(false);
                let place = (Whose::Contact(contact), segment.path.clone(), false);
                let (frames, live) = places.entry(place).or_default();
                frames.push(number);
                live.push(frame.live);
            }
        }
        self.tell(places, 0, now)
    }

    /// Points to the packets that new findings name; what is pointed to is on the disk.
    pub fn settle(&mut self, now: Timestamp) -> Result<(), ShelfError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        for open in [&mut self.open, &mut self.held_open].into_iter().flatten() {
            open.flush(&self.options.dir, true)?;
        }
        for found in std::mem::take(&mut self.pending) {
            let mut places = Places::new();
            let mut gone = 0;
            for live in found.live {
                let Some((path, number)) = self.point(live) else {
                    gone += 1;
                    continue;
                };
                let place = (Whose::Contact(found.contact), path, true);
                let (frames, lives) = places.entry(place).or_default();
                frames.push(number);
                lives.push(live);
                *self.told.entry(found.contact).or_default() += 1;
            }
            if places.is_empty() {
                let nowhere = (Whose::Contact(found.contact), String::new(), true);
                places.insert(nowhere, (Vec::new(), Vec::new()));
            }
            self.tell(places, gone, now)?;
        }
        Ok(())
    }

    /// Where a packet is, which a finding names from now on.
    fn point(&mut self, live: u64) -> Option<(String, u32)> {
        let opens = [&mut self.open, &mut self.held_open].into_iter().flatten();
        let segments = self.ring.iter_mut().chain(&mut self.held);
        for segment in segments.chain(opens.map(|open| &mut open.segment)) {
            if let Some(at) = segment.find(live) {
                if let Some(frame) = segment.frames.get_mut(at) {
                    frame.tell(true);
                }
                return Some((segment.path.clone(), u32::try_from(at + 1).ok()?));
            }
        }
        None
    }

    /// Drafts the records that tell places; the first says how many packets are gone.
    fn tell(&mut self, places: Places, mut gone: u64, now: Timestamp) -> Result<(), ShelfError> {
        for ((whose, path, named), (frames, live)) in places {
            let contact = match whose {
                Whose::Contact(number) => format!("{}-{number}", self.options.session),
                Whose::Label(label) => label,
                Whose::Unknown => continue,
            };
            let body = PacketsBody {
                at: now,
                contact,
                segment: (!path.is_empty()).then_some(path),
                frames,
                live,
                named,
                gone: std::mem::take(&mut gone),
            };
            self.drafts.push(draft(Kind::PACKETS, &body)?);
        }
        Ok(())
    }

    /// The session ends: closes what is open.
    pub fn finish(&mut self, now: Timestamp) -> Result<(), ShelfError> {
        self.rotate("stop", now)?;
        self.settle(now)?;
        if let Some(open) = self.held_open.take() {
            self.close_held(open, "stop", now)?;
        }
        for mut segment in std::mem::take(&mut self.ring) {
            self.tell_further(&mut segment, now)?;
            self.ring.push_back(segment);
        }
        Ok(())
    }

    /// Writing failed: closes what is open as far as it was written.
    pub fn give_up(&mut self, now: Timestamp) -> Result<(), ShelfError> {
        let session = self.options.session;
        let open = [self.open.take(), self.held_open.take()];
        for body in open.into_iter().flatten() {
            if let Some(body) = body.give_up(session, now) {
                self.drafts.push(draft(Kind::SEGMENT, &body)?);
            }
        }
        Ok(())
    }

    /// Whether findings wait to be pointed from.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.drafts.is_empty()
    }

    /// The drafts since the last call.
    pub fn take_drafts(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.drafts)
    }

    /// Packets that were not kept since the last call: larger than a segment, or the quota is full
    /// with what is held.
    pub fn take_unkept(&mut self) -> u64 {
        std::mem::take(&mut self.unkept)
    }

    /// Bytes below `packets/`.
    pub fn bytes(&self) -> u64 {
        self.ring_bytes + open_bytes(self.open.as_ref()) + self.held_bytes()
    }

    fn held_bytes(&self) -> u64 {
        self.held_closed_bytes + open_bytes(self.held_open.as_ref())
    }

    /// Packets below `packets/`.
    pub fn packets(&self) -> u64 {
        let open = [&self.open, &self.held_open].into_iter().flatten();
        let closed = self.ring.iter().chain(&self.held);
        closed
            .chain(open.map(|open| &open.segment))
            .map(|segment| segment.packets)
            .sum()
    }
}

fn bytes_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.bytes).sum()
}

fn open_bytes(open: Option<&Open>) -> u64 {
    open.map_or(0, |open| open.segment.bytes)
}

/// Length of a packet's block when it is copied.
fn copied_len(packet: &PacketBlock<'_>) -> u64 {
    (32 + packet.data.len().next_multiple_of(4)) as u64
}

/// The packets of an earlier session's segment that records point to, in order.
fn before(segment: &Segment) -> Vec<Candidate> {
    let mut pointed: Vec<_> = segment.before.iter().collect();
    pointed.sort_by_key(|pointed| (pointed.frame, !pointed.named));
    pointed.dedup_by_key(|pointed| pointed.frame);
    let candidate = |pointed: &super::past::Pointed| {
        Some(Candidate {
            at: usize::try_from(pointed.frame.checked_sub(1)?).ok()?,
            frame: Frame::new(pointed.live, 0, None, false),
            whose: Whose::Label(pointed.contact.clone()),
            named: pointed.named,
        })
    };
    pointed.into_iter().filter_map(candidate).collect()
}
