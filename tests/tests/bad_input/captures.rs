//! Captures that are cut, flipped, or none at all.

use std::{io::Write as _, process::Stdio};

use flate2::{Compression, write::GzEncoder};

use super::{
    COULD_NOT, DONE, Place, Said, check, judge,
    made::{self, FILE_HEADER, PACKET, PACKETS, RECORD, RECORD_HEADER},
};
use sakshi_tests::daemon::text;

/// Inspects bytes that end too early: what came before is counted, and standard error names the
/// damage.
fn cut(bytes: &[u8], packets: usize, says: &[&str]) -> Said {
    let place = Place::new();
    let file = place.file("cut.capture", bytes);
    let said = check(&mut place.try_inspect(&file), DONE, says);
    assert_eq!(said.count("packets"), packets as u64, "{}", said.stderr);
    assert_eq!(said.count("flows"), packets as u64);
    said
}

/// Inspects bytes of which nothing can be read.
fn refused(bytes: &[u8], says: &[&str]) -> Said {
    let place = Place::new();
    let file = place.file("cut.capture", bytes);
    let mut all = vec!["cut.capture: ", "1 of 1 files could not be read at all"];
    all.extend(says);
    let said = check(&mut place.try_inspect(&file), COULD_NOT, &all);
    assert_eq!(said.count("packets"), 0);
    said
}

#[test]
fn a_pcap_cut_within_a_record_gives_the_packets_before() {
    let whole = made::sample();
    for packets in 0..PACKETS {
        let boundary = FILE_HEADER + packets * RECORD;
        for more in [
            1,
            RECORD_HEADER - 1,
            RECORD_HEADER,
            RECORD_HEADER + PACKET - 1,
        ] {
            let says = format!("byte {boundary}, after packet {packets}: the file ends within");
            cut(
                &whole[..boundary + more],
                packets,
                &[&says, "copy the file again"],
            );
        }
    }
}

#[test]
fn a_pcap_cut_between_records_is_whole() {
    let whole = made::sample();
    for packets in 0..=PACKETS {
        let said = cut(&whole[..FILE_HEADER + packets * RECORD], packets, &[]);
        assert_eq!(said.stderr, "", "nothing is missing that the file knows of");
    }
}

#[test]
fn a_pcap_cut_within_its_header_is_refused() {
    let whole = made::sample();
    refused(&[], &["the capture is empty", "expected pcap or pcapng"]);
    for bytes in [1, 3, 4, 12, FILE_HEADER - 1] {
        refused(
            &whole[..bytes],
            &["the capture ends within its header", "copy it again"],
        );
    }
}

#[test]
fn a_compressed_capture_that_is_cut_gives_what_could_be_decompressed() {
    let whole = made::sample();
    let (head, tail) = whole.split_at(FILE_HEADER + 2 * RECORD);
    // One member or block holds two packets, the next one the rest.
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let first = gzip(head);
    let members = [first.clone(), gzip(tail)].concat();
    cut(&members, PACKETS, &[]);
    cut(
        &members[..first.len() + 12],
        2,
        &["after packet 2: reading failed", "decompress it"],
    );
    refused(
        &members[..5],
        &["cannot read the capture's beginning", "copy the file again"],
    );

    let frame = made::zstd(&[head, tail]);
    cut(&frame, PACKETS, &[]);
    cut(
        &frame[..frame.len() - 3],
        2,
        &["after packet 2: reading failed", "decompress it"],
    );
    refused(
        &frame[..6],
        &["cannot read the capture's beginning", "copy the file again"],
    );
}

#[test]
fn a_compressed_capture_that_is_corrupted_says_so() {
    let whole = made::sample();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&whole).expect("memory");
    let mut gzip = encoder.finish().expect("memory");
    // The last eight bytes are checksum and length of what was compressed.
    let checksum = gzip.len() - 8;
    gzip[checksum] ^= 0xff;
    cut(
        &gzip,
        PACKETS,
        &["after packet 5: reading failed", "decompress it"],
    );
}

/// Whether a byte is of the type of a packet's block: turned over it makes a block of an unknown
/// type, which a reader of pcapng must pass over.
fn is_block_type(kind: &str, at: usize) -> bool {
    kind == "pcapng" && at >= 48 && (at - 48) % 68 < 4
}

/// Every byte of the sample turned over, one after another: whatever it makes of that, it counts no
/// packet that was not there, and each file that is not read to its end is named.
#[test]
fn flipped_bytes_are_damage_or_another_packet_but_never_a_panic() {
    for (kind, whole) in [("pcap", made::sample()), ("pcapng", made::sample_pcapng())] {
        let place = Place::new();
        let files: Vec<_> = (0..whole.len())
            .map(|at| {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xff;
                place.file(&format!("{at:04}.{kind}"), bytes)
            })
            .collect();
        let mut command = place.sakshi(["inspect", "--dry-run", "--format", "json"]);
        command.args(&files);
        // Where the first bytes are turned over, no format is known.
        let said = check(&mut command, COULD_NOT, &["not a capture"]);
        let summary = said.summary();
        let counts = summary["files"].as_array().expect("a count for each file");
        assert_eq!(counts.len(), whole.len());
        for ((at, count), file) in counts.iter().enumerate().zip(&files) {
            let packets = count["packets"].as_u64().expect("a count");
            assert!(packets <= PACKETS as u64, "{count}");
            let named = said.stderr.contains(text(file));
            let whole = packets == PACKETS as u64 || is_block_type(kind, at);
            assert!(whole || named, "{count} is not said");
        }
    }
}

#[test]
fn lengths_of_a_pcap_that_lie_are_damage() {
    let packet = made::datagram(40_000);
    let length = u32::try_from(packet.len()).expect("short");
    for stated in [262_145, u32::MAX] {
        let mut file = made::sample();
        file.extend(made::record(made::START, stated, length, &packet));
        let says = format!("after packet 5: a record states {stated} captured bytes");
        cut(&file, PACKETS, &[&says, "compare its SHA-256"]);
    }
    // A length that is possible, but reaches beyond the end.
    let mut file = made::sample();
    file.extend(made::record(made::START, 262_144, length, &packet));
    cut(
        &file,
        PACKETS,
        &["after packet 5: the file ends within a record"],
    );
}

#[test]
fn a_snapshot_length_that_lies_costs_no_packet() {
    for snaplen in [0, 10, u32::MAX] {
        let mut file = made::pcap_header(snaplen, 101);
        file.extend(made::honest(made::START, &made::datagram(40_000)));
        cut(&file, 1, &[]);
    }
}

#[test]
fn packets_that_cannot_be_dissected_are_counted_by_reason() {
    let place = Place::new();
    let mut file = made::pcap_header(65_535, 101);
    let sound = made::datagram(40_000);
    file.extend(made::honest(made::START, &sound));
    file.extend(made::honest(made::START, &sound[..10]));
    file.extend(made::honest(made::START, b"\xff no packet at all"));
    file.extend(made::honest(made::START, b""));
    let said = check(
        &mut place.try_inspect(&place.file("odd.pcap", file)),
        DONE,
        &[],
    );
    assert_eq!((said.count("packets"), said.unparsed()), (4, 3));
    assert_eq!(said.count("flows"), 1);

    let mut file = made::pcap_header(65_535, 0x00ff_ffff);
    file.extend(made::honest(made::START, &sound));
    let said = check(
        &mut place.try_inspect(&place.file("link.pcap", file)),
        DONE,
        &[],
    );
    assert_eq!((said.count("packets"), said.unparsed()), (1, 1));
}

#[test]
fn a_file_that_is_no_capture_is_refused_with_what_it_begins_with() {
    refused(
        b"#!/bin/sh\necho no capture\n",
        &["not a capture", "[23, 21, 2f, 62]", "editcap"],
    );
    refused(&[0; 4096], &["not a capture", "[00, 00, 00, 00]"]);
}

#[test]
fn a_file_that_is_missing_or_may_not_be_read_is_named() {
    let place = Place::new();
    let missing = place.at("nowhere.pcap");
    let says = [
        text(&missing),
        "cannot be read: No such file",
        "check the path",
    ];
    check(&mut place.try_inspect(&missing), COULD_NOT, &says);
    // Nothing is made for what cannot be done.
    let case = place.at("case");
    let arguments = ["inspect", text(&missing), "--case", text(&case)];
    check(&mut place.sakshi(arguments), COULD_NOT, &says);
    assert!(!case.exists());
}

#[test]
fn one_bad_file_among_good_ones_is_a_gap_and_the_others_count() {
    let place = Place::new();
    let good = place.file("good.pcap", made::sample());
    let cut = place.file("cut.pcap", &made::sample()[..FILE_HEADER + RECORD + 3]);
    let other = place.file("other.txt", "no capture");
    let case = place.at("case");
    let mut command = place.sakshi(["inspect", "--format", "json", "--case", text(&case)]);
    command.args([&good, &cut, &other]);
    let said = check(
        &mut command,
        COULD_NOT,
        &["1 of 3 files could not be read at all"],
    );
    assert_eq!(said.count("packets"), PACKETS as u64 + 1);
    let gaps = place.gaps(&case);
    let places: Vec<_> = gaps.iter().map(|gap| (&*gap.0, &*gap.1)).collect();
    assert_eq!(
        places,
        [
            ("capture_damaged", "cut.pcap"),
            ("capture_damaged", "other.txt")
        ]
    );
    assert!(gaps[0].2.contains("after packet 1"), "{gaps:?}");
    assert!(gaps[1].2.contains("not a capture"), "{gaps:?}");
}

#[test]
fn standard_input_is_read_like_a_file() {
    let place = Place::new();
    let whole = made::sample();
    let run = |bytes: &[u8], code, says: &[&str]| {
        let mut command = place.sakshi(["inspect", "-", "--dry-run", "--format", "json"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(bytes).expect("what fits into a pipe");
        drop(stdin);
        let output = child.wait_with_output().expect("its end");
        judge("inspect -", &output, code, says)
    };
    assert_eq!(run(&whole, DONE, &[]).count("packets"), PACKETS as u64);
    let said = run(
        &whole[..=FILE_HEADER + RECORD],
        DONE,
        &["-: byte 76, after packet 1"],
    );
    assert_eq!(said.count("packets"), 1);
    // What was not read is a gap, which a dry run counts.
    assert_eq!(said.summary()["by_name"]["gaps"], 1);
    run(&[], COULD_NOT, &["-: the capture is empty"]);
    run(b"text", COULD_NOT, &["-: not a capture"]);
}
