//! Round trips, cuts and hostile bytes.

use std::{net::SocketAddr, ops::Range};

use proptest::prelude::*;

use super::*;
use crate::{
    attribute::{
        charge::{Charge, ChargeBasis},
        process::ProcessBasis,
    },
    input::{
        Apk, AppName, Batch, ChargeFact, FactBasis, Gap, GapCause, Input, Note, Observation,
        OwnerDoubt, OwnerFact, Packet, PhaseChange, ProcessFact, SocketClosed, SocketProto, Tally,
    },
};

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_nanos)
}

/// A time that JSON keeps: whole microseconds.
fn whole() -> impl Strategy<Value = Timestamp> {
    let micros: Range<i64> = -4_000_000_000_000_000..4_000_000_000_000_000;
    micros.prop_map(Timestamp::from_micros)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn link() -> impl Strategy<Value = LinkType> {
    (0..=LINKS.len(), any::<u16>()).prop_map(|(index, number)| {
        LINKS
            .get(index)
            .map_or(LinkType::Other(number), |(_, link)| *link)
    })
}

/// What is learnt of apps and processes.
fn event_of_apps() -> impl Strategy<Value = Event> {
    let process = (time(), address(), address(), any::<u32>(), any::<String>()).prop_map(
        |(at, local, remote, number, process)| {
            Event::ProcessFact(ProcessFact {
                at,
                proto: SocketProto::Tcp,
                local,
                remote,
                uid: number,
                pid: number,
                process,
                basis: ProcessBasis::ProcSocket,
            })
        },
    );
    let apk = (
        time(),
        prop::option::of(whole()),
        any::<Option<u64>>(),
        any::<Option<String>>(),
    )
        .prop_map(|(at, modified, bytes, problem)| {
            Event::Apk(Apk {
                at,
                package: "com.a".to_owned(),
                version_code: bytes,
                path: "/system/app/A/A.apk".to_owned(),
                bytes,
                modified,
                sha256: problem.clone(),
                problem,
            })
        });
    let charge = (time(), address(), address(), any::<u64>(), any::<u32>()).prop_map(
        |(at, local, remote, cookie, number)| {
            Event::ChargeFact(ChargeFact {
                at,
                proto: SocketProto::Udp,
                local,
                remote,
                cookie,
                charge: Charge {
                    uid: number,
                    tag: !number,
                },
                basis: ChargeBasis::NetdTag,
            })
        },
    );
    prop_oneof![
        process,
        charge,
        apk,
        (time(), any::<u32>(), any::<String>())
            .prop_map(|(at, uid, name)| Event::AppName(AppName { at, uid, name })),
    ]
}

fn tally() -> impl Strategy<Value = Event> {
    (time(), any::<Option<u64>>(), any::<u64>()).prop_map(|(at, counter, received)| {
        Event::Tally(Tally {
            at,
            counter,
            received,
            lost: 0,
            missed: received / 2,
            elsewhere: 0,
            unattributed: 0,
            repeated: 0,
        })
    })
}

/// What is learnt of sockets.
fn event_of_sockets() -> impl Strategy<Value = Event> {
    let owner = (
        time(),
        address(),
        address(),
        any::<Option<u32>>(),
        any::<u32>(),
    )
        .prop_map(|(at, local, remote, uid, inode)| {
            Event::OwnerFact(OwnerFact {
                at,
                proto: SocketProto::Udp,
                local,
                remote,
                uid,
                inode,
                basis: FactBasis::SockDiag,
                cookie: None,
                kernel_nanos: None,
                opening: None,
            })
        });
    let closed = (time(), address(), address(), any::<Option<u64>>()).prop_map(
        |(at, local, remote, bytes_acked)| {
            Event::SocketClosed(SocketClosed {
                at,
                proto: SocketProto::Tcp,
                local,
                remote,
                cookie: bytes_acked.map(|bytes| bytes / 2),
                bytes_acked,
                bytes_received: None,
                min_rtt_us: None,
            })
        },
    );
    let doubt = (time(), address(), address()).prop_map(|(at, local, remote)| {
        Event::OwnerDoubt(OwnerDoubt {
            at,
            proto: SocketProto::Udp,
            local,
            remote,
        })
    });
    prop_oneof![owner, closed, doubt]
}

fn event() -> impl Strategy<Value = Event> {
    let gap = (
        time(),
        prop::option::of(whole()),
        any::<Option<u64>>(),
        any::<String>(),
    )
        .prop_map(|(at, from, packets, detail)| {
            Event::Gap(Gap {
                at,
                cause: GapCause::KernelLoss,
                from,
                to: None,
                packets,
                place: "group 100".to_owned(),
                detail,
            })
        });
    prop_oneof![
        event_of_sockets(),
        gap,
        event_of_apps(),
        tally(),
        time().prop_map(Event::Tick),
        (time(), any::<String>())
            .prop_map(|(at, name)| Event::PhaseChange(PhaseChange { at, name })),
        (time(), any::<String>()).prop_map(|(at, text)| Event::Note(Note { at, text })),
        (
            time(),
            any::<String>(),
            prop::collection::btree_map("[a-z0-9_]{1,12}", any::<String>(), 0..4)
        )
            .prop_map(|(at, topic, facts)| {
                let source = "shim".to_owned();
                Event::Observation(Observation {
                    at,
                    source,
                    topic,
                    facts,
                })
            }),
    ]
}

/// A packet without its bytes, the bytes, and how many are kept.
fn packet() -> impl Strategy<Value = (Packet<'static>, Vec<u8>, usize)> {
    let meta = (
        time(),
        prop::sample::select(vec![TimeBasis::Kernel, TimeBasis::Receive, TimeBasis::File]),
        link(),
        prop::sample::select(vec![Vantage::Output, Vantage::Input, Vantage::Both]),
        any::<Option<u32>>(),
        any::<Option<u32>>(),
        any::<u32>(),
        any::<u16>(),
        any::<u64>(),
    );
    let data = prop::collection::vec(any::<u8>(), 0..200);
    (meta, data, 0_usize..250).prop_map(|(meta, data, keep)| {
        let (at, time_basis, link, vantage, uid, interface, original_len, source, frame) = meta;
        let packet = Packet {
            at,
            time_basis,
            link,
            vantage,
            uid,
            interface,
            original_len,
            source,
            frame,
            data: &[],
        };
        (packet, data, keep)
    })
}

#[derive(Debug, Clone)]
enum Sample {
    Packet(Packet<'static>, Vec<u8>, usize),
    Event(Event),
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = prop_oneof![
        packet().prop_map(|(packet, data, keep)| Sample::Packet(packet, data, keep)),
        event().prop_map(Sample::Event),
    ];
    prop::collection::vec(sample, 1..40)
}

/// Writes the samples; gives the block and the batch that a reader should get.
fn write(samples: &[Sample]) -> (Block, Batch, u64) {
    let mut writer = JournalWriter::new();
    let mut expected = Batch::new();
    let mut cut = 0;
    for sample in samples {
        match sample {
            Sample::Packet(packet, data, keep) => {
                let packet = Packet { data, ..*packet };
                writer.push(&Input::Packet(packet), *keep).unwrap();
                cut += u64::from(*keep < data.len());
                expected.push_packet(&Packet {
                    data: &data[..data.len().min(*keep)],
                    ..packet
                });
            }
            Sample::Event(event) => {
                writer.push(&Input::Event(event), 0).unwrap();
                expected.push_event(event.clone());
            }
        }
    }
    (writer.close().unwrap().unwrap(), expected, cut)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn inputs_come_back_in_order(samples in samples()) {
        let (block, expected, cut) = write(&samples);
        let decoded = read_block(&block.attachment).unwrap();
        let read: Vec<Input<'_>> = decoded.inputs.iter().collect();
        prop_assert_eq!(read, expected.iter().collect::<Vec<_>>());
        prop_assert_eq!(decoded.cut, cut);
        // As the body reads after it was stored.
        let stored = serde_json::from_str(block.into_draft().unwrap().body()).unwrap();
        decoded.check(&stored).unwrap();
    }

    #[test]
    fn any_bytes_give_inputs_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_block(&bytes);
        let _ = read_block(&pack(&bytes));
    }

    #[test]
    fn mutated_inputs_give_inputs_or_an_error(
        samples in samples(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (block, _, _) = write(&samples);
        let mut raw = unpack(&block.attachment);
        for (index, byte) in changes {
            let index = index.index(raw.len());
            raw[index] = byte;
        }
        let _ = read_block(&pack(&raw));
    }
}

/// An attachment of any raw bytes.
fn pack(raw: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    let mut encoder = flate2::write::ZlibEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn unpack(attachment: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut raw = Vec::new();
    flate2::read::ZlibDecoder::new(&attachment[4..])
        .read_to_end(&mut raw)
        .unwrap();
    raw
}

fn one_note() -> Block {
    let mut writer = JournalWriter::new();
    let note = Event::Note(Note {
        at: Timestamp::from_nanos(1_700_000_000_123_456_789),
        text: "cable out".to_owned(),
    });
    writer.push(&Input::Event(&note), 0).unwrap();
    writer.close().unwrap().unwrap()
}

#[test]
fn cut_anywhere_is_an_error() {
    let block = one_note().attachment;
    for length in 0..block.len() {
        assert!(read_block(&block[..length]).is_err(), "{length}");
    }
    let raw = unpack(&block);
    for length in 1..raw.len() {
        assert!(read_block(&pack(&raw[..length])).is_err(), "{length}");
    }
}

#[test]
fn a_bomb_is_not_inflated() {
    let bomb = pack(&vec![0; BLOCK_RAW_MAX + 1]);
    assert!(bomb.len() < 100_000);
    assert!(matches!(read_block(&bomb), Err(JournalError::TooLong)));
}

#[test]
fn other_headers_and_tails_are_named() {
    let mut block = one_note().attachment;
    block.push(0);
    assert!(matches!(read_block(&block), Err(JournalError::Trailing(1))));
    block[3] = 2;
    assert!(matches!(read_block(&block), Err(JournalError::Version(2))));
    block[0] = b'X';
    assert!(matches!(read_block(&block), Err(JournalError::Header)));
}

#[test]
fn a_false_body_is_named() {
    let block = one_note();
    let decoded = read_block(&block.attachment).unwrap();
    let body = JournalBody {
        packets: 1,
        ..block.body
    };
    let error = decoded.check(&body).unwrap_err().to_string();
    assert_eq!(error, "the record says packets = 1, its block has 0");
}

#[test]
fn an_event_of_an_earlier_version_is_read() {
    let text = r#"{"inventory_change":{"at":"2026-11-24T00:00:00.000000Z","changed":[],"removed":["com.a"]}}"#;
    let Event::InventoryChange(change) = serde_json::from_str(text).unwrap() else {
        panic!("another event");
    };
    assert_eq!(
        (change.since, change.removed),
        (None, vec!["com.a".to_owned()])
    );
}

#[test]
fn counts_on_from_block_to_block() {
    let mut writer = JournalWriter::new();
    assert_eq!(writer.close().unwrap(), None);
    let tick = Event::Tick(Timestamp::from_micros(1));
    for _ in 0..3 {
        writer.push(&Input::Event(&tick), 0).unwrap();
    }
    assert_eq!(writer.close().unwrap().unwrap().body.first, 1);
    writer.push(&Input::Event(&tick), 0).unwrap();
    let body = writer.close().unwrap().unwrap().body;
    assert_eq!((body.first, body.inputs), (4, 1));
}

#[test]
fn an_input_too_long_leaves_the_block_as_it_was() {
    let mut writer = JournalWriter::new();
    let tick = Event::Tick(Timestamp::from_micros(1));
    writer.push(&Input::Event(&tick), 0).unwrap();
    let data = vec![0; ENTRY_MAX];
    let packet = Packet {
        at: Timestamp::from_micros(9),
        time_basis: TimeBasis::File,
        link: LinkType::RawIp,
        vantage: Vantage::Both,
        uid: None,
        interface: None,
        original_len: 0,
        source: 0,
        frame: 1,
        data: &data,
    };
    let result = writer.push(&Input::Packet(packet), usize::MAX);
    assert!(matches!(result, Err(JournalError::EntryTooLong(_))));
    let block = writer.close().unwrap().unwrap();
    assert_eq!((block.body.inputs, block.body.packets), (1, 0));
    assert_eq!(read_block(&block.attachment).unwrap().inputs.len(), 1);
}

/// Blocks that a script wrote from the text of docs/evidence-format.md.
#[test]
fn the_corpus_reads_as_the_format_says() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/journal");
    let read = |name: &str| read_block(&std::fs::read(format!("{corpus}/{name}.bin")).unwrap());
    let block = read("packets_and_tick").unwrap();
    let at = Timestamp::from_nanos(1_795_513_311_000_000_123);
    let first = Packet {
        at,
        time_basis: TimeBasis::Kernel,
        link: LinkType::RawIp,
        vantage: Vantage::Output,
        uid: Some(10_050),
        interface: None,
        original_len: 60,
        source: 0,
        frame: 1,
        data: &[0x45, 0],
    };
    let second = Packet {
        at: at.plus_nanos(1000),
        time_basis: TimeBasis::File,
        link: LinkType::Other(147),
        vantage: Vantage::Both,
        uid: None,
        interface: None,
        original_len: 9,
        source: 3,
        frame: 0,
        data: &[0],
    };
    let tick = Event::Tick(at.plus_nanos(500));
    assert_eq!(
        block.inputs.iter().collect::<Vec<_>>(),
        [
            Input::Packet(first),
            Input::Packet(second),
            Input::Event(&tick)
        ]
    );
    assert_eq!((block.cut, block.found.to), (1, at.plus_nanos(1000)));
    assert_eq!(read("note").unwrap().inputs.len(), 1);
    assert_eq!(read("empty").unwrap().inputs.len(), 0);
    for name in ["cut_entry", "long_varint", "tag", "version", "header"] {
        assert!(read(&format!("bad_{name}")).is_err(), "{name}");
    }
}
