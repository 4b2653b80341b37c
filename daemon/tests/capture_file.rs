//! Capture files at the boundary: bytes in, packets and the kind of end out.

use std::io::{self, Cursor, Read, Write};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sakshi::{
    capture::file::{CAPTURED_MAX, CaptureError, CaptureFile, Damage, DamageKind, Next},
    input::{Batch, GapCause, Input, LinkType, TimeBasis, Vantage},
    packet::NOT_A_PACKET,
    time::Timestamp,
};

/// What a test writes into a capture.
#[derive(Debug, Clone)]
struct Written {
    seconds: u32,
    micros: u32,
    data: Vec<u8>,
    more: u32,
}

/// What a test reads from a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    at: Timestamp,
    link: LinkType,
    original_len: u32,
    data: Vec<u8>,
}

/// Numbers in one byte order.
#[derive(Debug, Clone, Copy)]
struct Order(bool);

impl Order {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.0 {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    fn u32(self, n: u32) -> [u8; 4] {
        if self.0 {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| self.u32(*word)).collect()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = u32::try_from(padded + 12).unwrap();
        let mut bytes = self.words(&[kind, length]);
        bytes.extend_from_slice(body);
        bytes.resize(8 + padded, 0);
        bytes.extend_from_slice(&self.u32(length));
        bytes
    }

    fn section(self) -> Vec<u8> {
        let body = [
            &self.u32(0x1a2b_3c4d)[..],
            &self.u16(1),
            &self.u16(0),
            &[0xff; 8],
        ]
        .concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(self, link: u16, snap_len: u32, options: &[u8]) -> Vec<u8> {
        let body = [&self.u16(link)[..], &[0, 0], &self.u32(snap_len), options].concat();
        self.block(1, &body)
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap();
        let mut bytes = [&self.u16(code)[..], &self.u16(length), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn enhanced(self, interface: u32, units: u64, packet: &[u8], original_len: u32) -> Vec<u8> {
        let captured_len = u32::try_from(packet.len()).unwrap();
        let (high, low) = ((units >> 32) as u32, (units & 0xffff_ffff) as u32);
        let fields = [interface, high, low, captured_len, original_len];
        self.block(6, &[self.words(&fields), packet.to_vec()].concat())
    }
}

#[derive(Debug, Clone, Copy)]
enum Flavour {
    Micros,
    Nanos,
    Modified,
}

fn pcap(order: Order, flavour: Flavour, packets: &[Written]) -> Vec<u8> {
    let (magic, unit) = match flavour {
        Flavour::Micros => (0xa1b2_c3d4, 1),
        Flavour::Nanos => (0xa1b2_3c4d, 1000),
        Flavour::Modified => (0xa1b2_cd34, 1),
    };
    let version = [order.u16(2), order.u16(4)].concat();
    let mut bytes = [order.u32(magic).to_vec(), version].concat();
    bytes.extend(order.words(&[0, 0, 65_535, 1]));
    for packet in packets {
        let length = u32::try_from(packet.data.len()).unwrap();
        let original_len = length + packet.more;
        bytes.extend(order.words(&[packet.seconds, packet.micros * unit, length, original_len]));
        if matches!(flavour, Flavour::Modified) {
            bytes.extend([7; 8]);
        }
        bytes.extend_from_slice(&packet.data);
    }
    bytes
}

fn pcapng(order: Order, packets: &[Written]) -> Vec<u8> {
    let mut bytes = order.section();
    bytes.extend(order.interface(113, 0, &[]));
    bytes.extend(order.block(4, b"name resolution is passed over"));
    bytes.extend(order.interface(1, 0, &[]));
    for packet in packets {
        let units = u64::from(packet.seconds) * 1_000_000 + u64::from(packet.micros);
        let original_len = u32::try_from(packet.data.len()).unwrap() + packet.more;
        bytes.extend(order.enhanced(1, units, &packet.data, original_len));
        bytes.extend(order.block(10, b"secrets"));
    }
    bytes
}

/// Gives at most `chunk` bytes at a time.
struct Chunked {
    bytes: Cursor<Vec<u8>>,
    chunk: usize,
}

impl Read for Chunked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.chunk);
        self.bytes.read(&mut buf[..n])
    }
}

fn drain(mut file: CaptureFile) -> (Vec<Got>, Option<Damage>) {
    let mut batch = Batch::new();
    let mut got = Vec::new();
    loop {
        batch.clear();
        let next = file.next(&mut batch);
        for input in batch.iter() {
            let Input::Packet(packet) = input else {
                panic!("only packets come from a file")
            };
            assert_eq!((packet.frame, packet.source), (got.len() as u64 + 1, 3));
            assert_eq!(packet.time_basis, TimeBasis::File);
            got.push(Got {
                at: packet.at,
                link: packet.link,
                original_len: packet.original_len,
                data: packet.data.to_vec(),
            });
        }
        if let Next::End(damage) = next {
            assert_eq!(file.next(&mut batch), Next::End(damage.clone()));
            assert_eq!(file.frames(), got.len() as u64);
            return (got, damage);
        }
    }
}

fn read_chunked(bytes: &[u8], chunk: usize) -> Result<(Vec<Got>, Option<Damage>), CaptureError> {
    let reader = Chunked {
        bytes: Cursor::new(bytes.to_vec()),
        chunk,
    };
    CaptureFile::open(reader, 3).map(drain)
}

fn read(bytes: &[u8]) -> (Vec<Got>, Option<Damage>) {
    read_chunked(bytes, usize::MAX).unwrap()
}

#[track_caller]
fn check_damage(bytes: &[u8], packets: usize, kind: &DamageKind) -> Damage {
    let (got, damage) = read(bytes);
    let damage = damage.unwrap();
    assert_eq!((got.len(), &damage.kind), (packets, kind));
    assert_eq!(damage.frames, packets as u64);
    damage
}

fn expected(packets: &[Written]) -> Vec<Got> {
    let got = packets.iter().map(|packet| Got {
        at: Timestamp::from_micros(
            i64::from(packet.seconds) * 1_000_000 + i64::from(packet.micros),
        ),
        link: LinkType::Ethernet,
        original_len: u32::try_from(packet.data.len()).unwrap() + packet.more,
        data: packet.data.clone(),
    });
    got.collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn three() -> Vec<Written> {
    let packet = |seconds, length| Written {
        seconds,
        micros: 999_999,
        data: vec![0xab; length],
        more: 7,
    };
    vec![packet(1, 0), packet(4_000_000_000, 61), packet(2, 1500)]
}

#[test]
fn compressed_captures_read_like_plain_ones() {
    let plain = pcapng(Order(false), &three());
    let (head, tail) = plain.split_at(50);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    for bytes in [
        gzip(&plain),
        [gzip(head), gzip(tail)].concat(),
        zstd(&plain),
        [zstd(head), skippable.clone(), zstd(tail)].concat(),
        [skippable, zstd(&plain)].concat(),
    ] {
        assert_eq!(read(&bytes), (expected(&three()), None));
        assert_eq!(read_chunked(&bytes, 1).unwrap().0, expected(&three()));
    }
}

#[test]
fn a_cut_compressed_capture_keeps_what_was_read() {
    let bytes = gzip(&pcap(Order(false), Flavour::Micros, &three()));
    let (got, damage) = read(&bytes[..bytes.len() - 9]);
    assert!(got.len() <= 3);
    assert!(matches!(damage.unwrap().kind, DamageKind::Read(_)));
}

#[test]
fn bytes_read_are_those_of_the_source() {
    let bytes = gzip(&pcap(Order(false), Flavour::Micros, &three()));
    let mut file = CaptureFile::open(Cursor::new(bytes.clone()), 0).unwrap();
    assert!(matches!(file.next(&mut Batch::new()), Next::End(None)));
    assert_eq!(file.bytes_read(), bytes.len() as u64);
}

#[test]
fn what_is_no_capture_is_refused_with_a_remedy() {
    let error = |bytes: &[u8]| read_chunked(bytes, 1).unwrap_err();
    assert!(matches!(error(b""), CaptureError::Empty));
    assert!(matches!(error(b"PK\x03\x04...."), CaptureError::Format(_)));
    assert!(error(b"PK\x03\x04").to_string().contains("editcap"));
    let header = pcap(Order(true), Flavour::Micros, &[]);
    assert!(matches!(
        error(&header[..23]),
        CaptureError::HeaderTruncated(_)
    ));
    assert!(matches!(
        error(&header[..3]),
        CaptureError::HeaderTruncated(_)
    ));
    let path = std::path::Path::new("/nonexistent/a.pcap");
    let error = CaptureFile::open_path(path, 0).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/a.pcap"));
}

#[test]
fn a_record_of_impossible_length_is_damage_at_its_byte() {
    let mut bytes = pcap(Order(false), Flavour::Micros, &three());
    let at = bytes.len() as u64;
    bytes.extend(Order(false).words(&[1, 1, CAPTURED_MAX + 1, 1]));
    let damage = check_damage(&bytes, 3, &DamageKind::CapturedLength(CAPTURED_MAX + 1));
    assert_eq!(damage.offset, at);
    let gap = damage.to_gap("a.pcap", Timestamp::from_micros(5));
    assert_eq!((gap.cause, gap.packets), (GapCause::CaptureDamaged, None));
    assert!(
        gap.detail.contains(&format!("byte {at}, after packet 3")),
        "{}",
        gap.detail
    );
    assert!(gap.detail.contains("SHA-256"), "{}", gap.detail);
}

#[test]
fn hostile_block_lengths_are_damage_and_cost_no_memory() {
    let order = Order(true);
    let good = pcapng(order, &three());
    for (kind, length) in [
        (6, 0),
        (6, 8),
        (6, 13),
        (6, 0xffff_fffc),
        (0x77, 8),
        (1, 12),
        (6, 28),
    ] {
        let mut bytes = [good.clone(), order.words(&[kind, length])].concat();
        bytes.resize(
            bytes.len() + length.clamp(4, 64) as usize - 8 * usize::from(length >= 12),
            0,
        );
        let end = good.len() + length as usize;
        if length == 12 || length == 28 {
            bytes.truncate(end);
            bytes[end - 4..].copy_from_slice(&order.u32(length));
        }
        check_damage(&bytes, 3, &DamageKind::BlockLength { kind, length });
    }
    let unknown = [good.clone(), order.words(&[0x77, 0xffff_fffc, 0])].concat();
    check_damage(&unknown, 3, &DamageKind::Truncated);
    let trailer = [good.clone(), order.words(&[0x77, 16, 0, 20])].concat();
    let kind = DamageKind::BlockTrailer {
        leading: 16,
        trailing: 20,
    };
    check_damage(&trailer, 3, &kind);
    let interface = [good.clone(), order.enhanced(2, 0, b"", 0)].concat();
    check_damage(&interface, 3, &DamageKind::Interface(2));
    let packet = [good, order.block(6, &order.words(&[1, 0, 0, 400, 400]))].concat();
    check_damage(&packet, 3, &DamageKind::PacketLength(400));
}

#[test]
fn sections_have_their_own_byte_order_interfaces_and_version() {
    let mut bytes = pcapng(Order(false), &three());
    bytes.extend(Order(true).section());
    bytes.extend(Order(true).interface(101, 0, &[]));
    bytes.extend(Order(true).enhanced(0, 5, b"ip", 2));
    let (got, damage) = read(&bytes);
    assert_eq!(damage, None);
    assert_eq!(got[3].link, LinkType::RawIp);
    assert_eq!(got[3].at, Timestamp::from_micros(5));
    let mut later = Order(true).section();
    later[13] = 2;
    let bytes = [bytes, later].concat();
    check_damage(&bytes, 4, &DamageKind::Version { major: 2 });
}

#[test]
fn packets_of_every_block_type_and_what_wireshark_numbers() {
    let order = Order(true);
    let mut bytes = order.section();
    bytes.extend(order.interface(1, 5, &[]));
    // Simple packet block: cut at the snap length, padded.
    bytes.extend(order.block(3, &[&order.u32(60)[..], b"12345"].concat()));
    // Obsolete packet block: interface and drops of 16 bits each.
    let obsolete = [order.words(&[0x0000_0009, 0, 77, 3, 3]), b"abc".to_vec()].concat();
    bytes.extend(order.block(2, &obsolete));
    bytes.extend(order.block(0xbad, b"custom"));
    let (got, damage) = read(&bytes);
    assert_eq!(damage, None);
    assert_eq!(
        (got[0].data.as_slice(), got[0].original_len),
        (&b"12345"[..], 60)
    );
    assert_eq!(
        (got[1].data.as_slice(), got[1].at),
        (&b"abc"[..], Timestamp::from_micros(77))
    );
    assert_eq!((got[2].link, got[2].at), (NOT_A_PACKET, got[1].at));
}

#[track_caller]
fn check_time(order: Order, resolution: u8, offset_s: i64, units: u64, nanos: i64) {
    let offset = if order.0 {
        offset_s.to_be_bytes()
    } else {
        offset_s.to_le_bytes()
    };
    let options = [order.option(9, &[resolution]), order.option(14, &offset)].concat();
    let mut bytes = order.section();
    bytes.extend(order.interface(1, 0, &options));
    bytes.extend(order.enhanced(0, units, b"", 0));
    assert_eq!(read(&bytes).0[0].at, Timestamp::from_nanos(nanos));
}

#[test]
fn times_follow_resolution_and_offset_and_saturate() {
    for order in [Order(false), Order(true)] {
        check_time(
            order,
            9,
            0,
            1_700_000_000_000_000_001,
            1_700_000_000_000_000_001,
        );
        check_time(order, 3, 10, 1_500, 11_500_000_000);
        check_time(order, 0x8a, 0, 1_536, 1_500_000_000);
        check_time(order, 0, -5, 3, -2_000_000_000);
        check_time(order, 0, 0, u64::MAX, i64::MAX);
        check_time(order, 6, i64::MIN, 0, i64::MIN);
        check_time(order, 100, 0, u64::MAX, 0);
        check_time(order, 0xff, 0, u64::MAX, 0);
    }
}

#[test]
fn nflog_records_bring_owner_and_vantage() {
    let order = Order(false);
    let hdr = |hook| [8, 0, 1, 0, 8, 0, hook, 0];
    let uid = [8, 0, 11, 0, 0, 0, 0x27, 0x47];
    let mut bytes = order.section();
    bytes.extend(order.interface(239, 0, &[]));
    for hook in [3, 1, 2] {
        let data = [&[2, 0, 0, 100][..], &hdr(hook), &uid, &[4, 0, 9, 0]].concat();
        bytes.extend(order.enhanced(0, 0, &data, 24));
    }
    let mut batch = Batch::new();
    let mut file = CaptureFile::open(Cursor::new(bytes), 0).unwrap();
    assert_eq!(file.next(&mut batch), Next::End(None));
    let seen: Vec<_> = batch
        .iter()
        .map(|input| match input {
            Input::Packet(packet) => (packet.vantage, packet.uid),
            Input::Event(event) => panic!("{event:?}"),
        })
        .collect();
    let uid = Some(10_055);
    assert_eq!(
        seen,
        [
            (Vantage::Output, uid),
            (Vantage::Input, uid),
            (Vantage::Both, uid)
        ]
    );
}

#[test]
fn a_full_batch_is_handed_on() {
    let packets = vec![three()[0].clone(); Batch::INPUTS_MAX + 1];
    let bytes = pcap(Order(false), Flavour::Nanos, &packets);
    let mut file = CaptureFile::open(Cursor::new(bytes), 0).unwrap();
    let mut batch = Batch::new();
    assert_eq!(file.next(&mut batch), Next::More);
    assert_eq!(batch.len(), Batch::INPUTS_MAX);
    batch.clear();
    assert_eq!(file.next(&mut batch), Next::End(None));
    assert_eq!(batch.len(), 1);
}

/// How each file of the seed corpus of fuzzing ends: packets, and whether it is whole.
#[test]
fn the_seed_corpus_covers_every_format() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/capture_file/");
    let expected = [
        ("pcap-be-nanos", 2, true),
        ("pcap-gzip", 4, true),
        ("pcap-le", 2, true),
        ("pcap-modified", 1, true),
        ("pcap-zstd-frames", 2, true),
        ("pcapng-le", 4, true),
        ("pcapng-length-zero", 4, false),
        ("pcapng-two-sections", 8, true),
        ("pcapng-zstd", 8, true),
    ];
    for (name, packets, whole) in expected {
        let (got, damage) = read(&std::fs::read(format!("{folder}{name}")).unwrap());
        assert_eq!((got.len(), damage.is_none()), (packets, whole), "{name}");
    }
}

fn packets() -> impl Strategy<Value = Vec<Written>> {
    let data = prop::collection::vec(any::<u8>(), 0..300);
    let packet = (any::<u32>(), 0..1_000_000_u32, data, 0..2_000_u32);
    let packet = packet.prop_map(|(seconds, micros, data, more)| Written {
        seconds,
        micros,
        data,
        more,
    });
    prop::collection::vec(packet, 0..20)
}

/// One capture in every plain format.
fn formats(packets: &[Written]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for order in [Order(false), Order(true)] {
        files.push(pcapng(order, packets));
        for flavour in [Flavour::Micros, Flavour::Nanos, Flavour::Modified] {
            files.push(pcap(order, flavour, packets));
        }
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_format_and_chunk_size_gives_the_same_packets(
        packets in packets(),
        chunk in 1..100_usize,
    ) {
        for bytes in formats(&packets) {
            prop_assert_eq!(read(&bytes), (expected(&packets), None));
            prop_assert_eq!(read_chunked(&bytes, chunk).unwrap(), (expected(&packets), None));
        }
        let zipped = [gzip(&pcapng(Order(false), &packets)), zstd(&pcapng(Order(true), &packets))];
        for bytes in zipped {
            prop_assert_eq!(read_chunked(&bytes, chunk).unwrap(), (expected(&packets), None));
        }
    }

    #[test]
    fn a_cut_capture_gives_the_packets_before_the_cut(
        packets in packets(),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = expected(&packets);
        for bytes in formats(&packets) {
            let Ok((got, damage)) = read_chunked(&bytes[..cut.index(bytes.len())], 7) else {
                continue;
            };
            prop_assert!(all.starts_with(&got));
            prop_assert!(damage.is_none_or(|damage| damage.kind == DamageKind::Truncated));
        }
    }

    #[test]
    fn mutated_captures_never_panic_and_end(
        packets in packets(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut files = formats(&packets);
        files.push(gzip(&files[0]));
        files.push(zstd(&files[0]));
        for mut bytes in files {
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Ok((got, _)) = read_chunked(&bytes, 64) {
                let total: usize = got.iter().map(|packet| packet.data.len()).sum();
                prop_assert!(total <= bytes.len().max(1 << 20));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_behind_a_magic_never_panic(
        magic in 0..6_usize,
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let start: Vec<u8> = match magic {
            0 => Order(true).section(),
            1 => pcap(Order(false), Flavour::Modified, &[]),
            2 => vec![0x1f, 0x8b, 8],
            3 => vec![0x28, 0xb5, 0x2f, 0xfd],
            4 => [Order(false).section(), Order(false).interface(239, 0, &[])].concat(),
            _ => Vec::new(),
        };
        let (got, _) = read_chunked(&[start, rest].concat(), 13).unwrap_or_default();
        prop_assert!(got.len() <= 400);
    }
}
