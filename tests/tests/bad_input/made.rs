//! Captures made byte by byte, so that a test can say where each of them is cut or lies.
//!
//! In: packets. Out: pcap and pcapng as bytes, and both in zstd frames.

/// Packets of [`sample`].
pub const PACKETS: usize = 5;
/// Bytes of a pcap file before its first record.
pub const FILE_HEADER: usize = 24;
/// Bytes of a pcap record before its packet.
pub const RECORD_HEADER: usize = 16;
/// Bytes of each packet of [`sample`]: IPv4, UDP and eight bytes of payload.
pub const PACKET: usize = 20 + 8 + 8;
/// A record of [`sample`].
pub const RECORD: usize = RECORD_HEADER + PACKET;
/// When its first packet was seen, in seconds: 2026-11-24.
pub const START: u32 = 1_795_500_000;

/// pcap link type of packets that begin with an IP header (`LINKTYPE_RAW`).
const RAW: u32 = 101;

/// A datagram from the handset's `sport` to a time server's port.
pub fn datagram(sport: u16) -> Vec<u8> {
    let length = u16::try_from(PACKET).expect("a short packet");
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    // Identification, no fragment, 64 hops, UDP; the checksum is not looked at in a capture.
    packet.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
    packet.extend([192, 168, 43, 100]);
    packet.extend([1, 2, 4, 8]);
    packet.extend(sport.to_be_bytes());
    packet.extend(9_u16.to_be_bytes());
    packet.extend(16_u16.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(b"payload!");
    packet
}

/// The header of a pcap file, microseconds, little-endian.
pub fn pcap_header(snaplen: u32, link: u32) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(snaplen.to_le_bytes());
    file.extend(link.to_le_bytes());
    file
}

/// A pcap record whose header says what it is told to.
pub fn record(seconds: u32, captured: u32, original: u32, packet: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    for field in [seconds, 0, captured, original] {
        record.extend(field.to_le_bytes());
    }
    record.extend(packet);
    record
}

/// A pcap record that tells the truth.
pub fn honest(seconds: u32, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).expect("a short packet");
    record(seconds, length, length, packet)
}

/// A pcap file of packets at times of their own.
pub fn pcap(packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut file = pcap_header(65_535, RAW);
    for (seconds, packet) in packets {
        file.extend(honest(*seconds, packet));
    }
    file
}

/// [`PACKETS`] packets of as many flows, a second apart.
pub fn sample() -> Vec<u8> {
    let packets: Vec<_> = (0..PACKETS)
        .map(|at| u16::try_from(at).expect("few packets"))
        .map(|at| (START + u32::from(at), datagram(40_000 + at)))
        .collect();
    pcap(&packets)
}

/// A pcapng block that tells the truth about its length.
pub fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).expect("a short block");
    block_of_length(kind, length, &body, length)
}

/// A pcapng block whose lengths are what they are told to be.
pub fn block_of_length(kind: u32, leading: u32, body: &[u8], trailing: u32) -> Vec<u8> {
    let mut block = kind.to_le_bytes().to_vec();
    block.extend(leading.to_le_bytes());
    block.extend(body);
    block.extend(trailing.to_le_bytes());
    block
}

/// The body of a section header of a major version.
pub fn section_body(major: u16) -> Vec<u8> {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend(major.to_le_bytes());
    body.extend([0, 0]);
    body.extend([0xff; 8]);
    body
}

/// Block types of pcapng.
pub const SECTION: u32 = 0x0a0d_0d0a;
/// Interface description.
pub const INTERFACE: u32 = 1;
/// Enhanced packet.
pub const ENHANCED: u32 = 6;

/// A section header and one interface of raw IP.
pub fn pcapng_head() -> Vec<u8> {
    let mut file = block(SECTION, &section_body(1));
    file.extend(interface(65_535));
    file
}

/// An interface of raw IP with a snapshot length.
pub fn interface(snaplen: u32) -> Vec<u8> {
    let mut body = u16::try_from(RAW).expect("small").to_le_bytes().to_vec();
    body.extend([0, 0]);
    body.extend(snaplen.to_le_bytes());
    block(INTERFACE, &body)
}

/// The body of an enhanced packet block that says what it is told to.
pub fn enhanced_body(interface: u32, seconds: u32, captured: u32, packet: &[u8]) -> Vec<u8> {
    let micros = u64::from(seconds) * 1_000_000;
    let mut body = interface.to_le_bytes().to_vec();
    for half in [micros >> 32, micros & 0xffff_ffff] {
        body.extend(u32::try_from(half).expect("half of it").to_le_bytes());
    }
    body.extend(captured.to_le_bytes());
    body.extend(captured.to_le_bytes());
    body.extend(packet);
    body
}

/// An enhanced packet block that tells the truth.
pub fn enhanced(seconds: u32, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).expect("a short packet");
    block(ENHANCED, &enhanced_body(0, seconds, length, packet))
}

/// The packets of [`sample`] as pcapng.
pub fn sample_pcapng() -> Vec<u8> {
    let mut file = pcapng_head();
    for at in 0..PACKETS {
        let at = u16::try_from(at).expect("few packets");
        file.extend(enhanced(START + u32::from(at), &datagram(40_000 + at)));
    }
    file
}

/// Bytes in one zstd frame of a raw block for each part (RFC 8878, sections 3.1.1 and 3.1.1.2.2).
pub fn zstd(parts: &[&[u8]]) -> Vec<u8> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    // A single segment whose content size has four bytes; no checksum.
    frame.push(0b1010_0000);
    frame.extend(u32::try_from(total).expect("small").to_le_bytes());
    for (at, part) in parts.iter().enumerate() {
        let last = u32::from(at + 1 == parts.len());
        let header = last | u32::try_from(part.len()).expect("small") << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(*part);
    }
    frame
}
