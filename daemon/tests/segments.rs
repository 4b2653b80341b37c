//! The quota as a property: whatever comes, what lies on the disk is never more, and what goes is
//! told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use sakshi::{
    capture::file::{CaptureFile, Next},
    evidence::{
        Draft, Hash, Kind,
        segments::{
            DroppedBody, FOLDER, Found, Handful, Mark, PacketsBody, Past, QUOTA_MIN, Sample,
            SegmentBody, Shelf, ShelfOptions, adopt, packets_of,
        },
    },
    input::{Batch, Input, LinkType, Packet, TimeBasis, Vantage},
    packet::nflog_attributes,
    time::Timestamp,
};
use serde::Deserialize;

const SESSION: u64 = 3;
/// Packets until a flow is counted to its contact.
const SETTLED_AFTER: u64 = 400;

fn data(live: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0x45; length.max(9)];
    data[1..9].copy_from_slice(&live.to_be_bytes());
    data
}

fn packet(live: u64, data: &[u8]) -> Packet<'_> {
    Packet {
        at: Timestamp::from_micros(1_795_000_000_000_000 + i64::try_from(live).unwrap()),
        time_basis: TimeBasis::Receive,
        link: LinkType::RawIp,
        vantage: Vantage::Output,
        uid: Some(10_050),
        interface: Some(2),
        original_len: u32::try_from(data.len()).unwrap(),
        source: 0,
        frame: live,
        data,
    }
}

fn on_disk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir.join(FOLDER)).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

fn shelf(dir: &Path, quota: u64, drafts: &[Draft]) -> Shelf {
    let options = ShelfOptions {
        dir: dir.to_owned(),
        quota,
        session: SESSION,
        as_nflog: true,
    };
    Shelf::open(options, past(drafts)).unwrap()
}

fn past(drafts: &[Draft]) -> Past {
    Past::read(|kind| {
        let of_kind = drafts.iter().filter(|draft| draft.kind() == kind);
        Ok::<_, ()>(of_kind.map(|draft| draft.body().to_owned()).collect())
    })
    .unwrap()
}

fn bodies<T: for<'a> Deserialize<'a>>(drafts: &[Draft], kind: &Kind) -> Vec<T> {
    let of_kind = drafts.iter().filter(|draft| draft.kind() == kind);
    of_kind
        .map(|draft| serde_json::from_str(draft.body()).unwrap())
        .collect()
}

/// Feeds flows and checks the disk at each moment that can be seen.
struct Watch {
    shelf: Shelf,
    drafts: Vec<Draft>,
    dir: PathBuf,
    quota: u64,
    live: u64,
    flows: u64,
    lengths: BTreeMap<u64, usize>,
    /// Flows that wait to be settled: when, flow, contact, first packets.
    waiting: Vec<(u64, Mark, Option<Found>)>,
    contacts: BTreeSet<u32>,
    findings: BTreeMap<u32, Vec<u64>>,
}

impl Watch {
    fn new(dir: &Path, quota: u64) -> Self {
        Self {
            shelf: shelf(dir, quota, &[]),
            drafts: Vec::new(),
            dir: dir.to_owned(),
            quota,
            live: 0,
            flows: 0,
            lengths: BTreeMap::new(),
            waiting: Vec::new(),
            contacts: BTreeSet::new(),
            findings: BTreeMap::new(),
        }
    }

    /// One flow to a contact; those with a number below 10 have a finding.
    fn flow(&mut self, contact: u32, length: usize, packets: u64) {
        self.flows += 1;
        let fresh = self.contacts.insert(contact);
        let mut handful = Handful::default();
        let first = self.live + 1;
        for number in 0..packets {
            self.live += 1;
            self.lengths.insert(self.live, length);
            let sample = Sample {
                flow: self.flows,
                contact: None,
                fresh: fresh && number < 4,
            };
            handful.push(&packet(self.live, &data(self.live, length)), sample);
        }
        let named: Vec<u64> = (first..=self.live).take(4).collect();
        let found = (fresh && contact < 10).then(|| Found {
            contact,
            live: named.clone(),
        });
        if found.is_some() {
            self.findings.insert(contact, named);
        }
        let mark = Mark {
            flow: self.flows,
            contact,
        };
        self.waiting.push((self.live + SETTLED_AFTER, mark, found));
        self.news(&mut handful, self.live);
        self.put(&handful);
    }

    fn news(&mut self, handful: &mut Handful, until: u64) {
        let due = self.waiting.extract_if(.., |(due, ..)| *due <= until);
        for (_, mark, found) in due {
            handful.marks.push(mark);
            handful.findings.extend(found);
        }
    }

    fn put(&mut self, handful: &Handful) {
        let (dir, quota, committed) = (&self.dir, self.quota, &mut self.drafts);
        let mut commit = |drafts: Vec<Draft>| {
            assert!(on_disk(dir) <= quota, "while a segment is dropped");
            committed.extend(drafts);
            Ok(())
        };
        let now = Timestamp::from_micros(1);
        self.shelf.put(handful, now, &mut commit).unwrap();
        self.shelf.settle(now).unwrap();
        self.drafts.extend(self.shelf.take_drafts());
        assert!(on_disk(&self.dir) <= self.quota);
        assert_eq!(on_disk(&self.dir), self.shelf.bytes());
    }

    fn finish(mut self) -> (Vec<Draft>, BTreeMap<u32, Vec<u64>>) {
        let mut handful = Handful::default();
        self.news(&mut handful, u64::MAX);
        self.put(&handful);
        self.shelf.finish(Timestamp::from_micros(2)).unwrap();
        self.drafts.extend(self.shelf.take_drafts());
        assert!(on_disk(&self.dir) <= self.quota);
        assert_eq!(self.shelf.take_unkept(), 0);
        self.check();
        (self.drafts, self.findings)
    }

    /// Files are those that records tell of, with the content that they tell.
    fn check(&self) {
        let dropped = dropped(&self.drafts);
        let segments: Vec<SegmentBody> = bodies(&self.drafts, &Kind::SEGMENT);
        let there: Vec<&SegmentBody> = segments
            .iter()
            .filter(|body| !dropped.contains(&body.path))
            .collect();
        let mut paths: Vec<String> = there.iter().map(|body| body.path.clone()).collect();
        paths.sort();
        assert_eq!(files(&self.dir), paths);
        for body in there {
            let bytes = fs::read(self.dir.join(&body.path)).unwrap();
            assert_eq!(body.bytes, bytes.len() as u64);
            assert_eq!(body.sha256, Hash::of(&bytes));
            assert_eq!(read_with_the_capture_reader(&bytes), body.packets);
        }
        let ordinary = segments.iter().filter(|body| !body.held);
        let kept: u64 = ordinary.map(|body| body.packets).sum();
        assert_eq!(kept, self.live, "each packet was in one segment");
        for body in bodies::<PacketsBody>(&self.drafts, &Kind::PACKETS) {
            assert_eq!(body.frames.len(), body.live.len());
            assert_eq!(body.segment.is_none(), body.frames.is_empty());
            let Some(path) = body.segment.filter(|path| !dropped.contains(path)) else {
                continue;
            };
            let kept = packets_of(&self.dir, &path, &body.frames).unwrap().unwrap();
            assert_eq!(kept.len(), body.frames.len());
            for (kept, live) in kept.iter().zip(&body.live) {
                let told = nflog_attributes(&kept.data).unwrap();
                assert_eq!(told.payload, data(*live, self.lengths[live]));
            }
        }
    }
}

/// What findings point to in segments that are there.
fn pointed(drafts: &[Draft], contact: u32) -> BTreeSet<u64> {
    let label = format!("{SESSION}-{contact}");
    let dropped = dropped(drafts);
    bodies::<PacketsBody>(drafts, &Kind::PACKETS)
        .into_iter()
        .filter(|body| body.contact == label)
        .filter(|body| {
            body.segment
                .as_ref()
                .is_some_and(|path| !dropped.contains(path))
        })
        .flat_map(|body| body.live)
        .collect()
}

/// The paths of the segments that were dropped.
fn dropped(drafts: &[Draft]) -> BTreeSet<String> {
    let bodies: Vec<DroppedBody> = bodies(drafts, &Kind::SEGMENT_DROPPED);
    bodies.into_iter().map(|body| body.path).collect()
}

/// The paths of the files in the folder of segments.
fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join(FOLDER)).into_iter().flatten();
    let path = |entry: io::Result<fs::DirEntry>| {
        format!("{FOLDER}{}", entry.unwrap().file_name().display())
    };
    let mut paths: Vec<String> = entries.map(path).collect();
    paths.sort();
    paths
}

fn read_with_the_capture_reader(bytes: &[u8]) -> u64 {
    let mut file = CaptureFile::open(io::Cursor::new(bytes.to_vec()), 0).unwrap();
    let (mut batch, mut packets) = (Batch::new(), 0);
    loop {
        let next = file.next(&mut batch);
        for input in batch.iter() {
            if let Input::Packet(packet) = input {
                assert_eq!((packet.link, packet.uid), (LinkType::Nflog, Some(10_050)));
                packets += 1;
            }
        }
        batch.clear();
        if let Next::End(damage) = next {
            assert_eq!(damage, None);
            return packets;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_quota_holds_and_findings_keep_their_packets(
        flows in proptest::collection::vec((0_u32..40, 40_usize..1400, 1_u64..17), 50..700),
        quota in QUOTA_MIN..2 * QUOTA_MIN,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(folder.path(), quota);
        for (contact, length, packets) in flows {
            watch.flow(contact, length, packets);
        }
        let (drafts, findings) = watch.finish();
        // Ten contacts with four packets each fit the room for held ones in any case.
        for (contact, named) in findings {
            let pointed = pointed(&drafts, contact);
            for live in named {
                prop_assert!(pointed.contains(&live), "{contact}: {live} of {pointed:?}");
            }
        }
    }
}

#[test]
fn a_flood_drops_what_is_old_and_tells_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::new(folder.path(), QUOTA_MIN);
    for number in 0..3_000 {
        watch.flow(number % 20, 700, 4);
    }
    let (drafts, findings) = watch.finish();
    let dropped: Vec<DroppedBody> = bodies(&drafts, &Kind::SEGMENT_DROPPED);
    assert!(dropped.len() > 40, "{}", dropped.len());
    assert!(dropped.iter().map(|body| body.held).sum::<u64>() >= 40);
    assert!(dropped.iter().map(|body| body.not_held).sum::<u64>() > 0);
    assert_eq!(findings.len(), 10);
}

#[test]
fn the_next_session_holds_what_the_one_before_pointed_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::new(folder.path(), QUOTA_MIN);
    watch.flow(1, 700, 6);
    let (mut drafts, _) = watch.finish();
    let before = pointed(&drafts, 1);
    assert_eq!(before.len(), 6);
    let mut next = Watch::new(folder.path(), QUOTA_MIN);
    next.shelf = shelf(folder.path(), QUOTA_MIN, &drafts);
    for _ in 0..600 {
        next.flow(20, 1400, 4);
    }
    drafts.extend(next.drafts);
    assert!(dropped(&drafts).contains("packets/000001.pcapng"));
    assert_eq!(pointed(&drafts, 1), before);
}

#[test]
fn what_a_killed_session_left_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut watch = Watch::new(dir, QUOTA_MIN);
    watch.flow(1, 700, 6);
    watch.flow(1, 700, 6);
    let Watch { shelf, drafts, .. } = watch;
    drop(shelf);
    let path = dir.join("packets/000001.pcapng");
    let mut bytes = fs::read(&path).unwrap();
    let whole = bytes.clone();
    bytes.extend([6, 0, 0, 0, 64, 0, 0, 0, 1]);
    fs::write(&path, bytes).unwrap();
    fs::write(dir.join("packets/000002.pcapng"), &whole[..20]).unwrap();
    fs::write(dir.join("packets/mine.txt"), "mine").unwrap();
    let adopted = adopt(dir, &past(&drafts), SESSION, Timestamp::default()).unwrap();
    let [body] = &bodies::<SegmentBody>(&adopted, &Kind::SEGMENT)[..] else {
        panic!("{adopted:?}");
    };
    assert_eq!((body.packets, body.torn), (12, 9));
    assert_eq!((body.sha256, body.flows), (Hash::of(&whole), None));
    assert_eq!((body.reason.as_str(), body.held), ("recovery", false));
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert!(!dir.join("packets/000002.pcapng").exists());
    assert!(dir.join("packets/mine.txt").exists());
    let all: Vec<Draft> = drafts.into_iter().chain(adopted).collect();
    assert_eq!(
        adopt(dir, &past(&all), SESSION, Timestamp::default()).unwrap(),
        []
    );
}

#[test]
fn a_lowered_quota_is_reached_and_a_packet_beyond_a_segment_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::new(folder.path(), 4 * QUOTA_MIN);
    for _ in 0..600 {
        watch.flow(1, 1400, 4);
    }
    let (drafts, _) = watch.finish();
    assert!(on_disk(folder.path()) > 2 * QUOTA_MIN);
    let mut shelf = shelf(folder.path(), QUOTA_MIN, &drafts);
    let mut handful = Handful::default();
    let sample = Sample {
        flow: 1,
        contact: None,
        fresh: false,
    };
    handful.push(&packet(1, &data(1, 90)), sample);
    handful.push(&packet(2, &data(2, 200_000)), sample);
    let mut commit = |_| Ok(());
    shelf
        .put(&handful, Timestamp::default(), &mut commit)
        .unwrap();
    assert!(on_disk(folder.path()) <= QUOTA_MIN);
    assert_eq!(shelf.take_unkept(), 1);
}
