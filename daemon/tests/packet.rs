//! Dissection at its boundary: bytes and a link type in, addresses, lengths and payload out.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use proptest::prelude::*;
use sakshi::{
    input::LinkType,
    packet::{Hook, Transport, Unparsed, View, dissect, is_pktap, nflog_attributes, pktap},
};

const V4: ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [192, 0, 2, 7]);

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4(V4.0, V4.1, 64).udp(4000, 53);
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

fn tcp_v6(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv6([0xfd; 16], [0x20; 16], 64)
        .tcp(4000, 443, 7, 1000)
        .syn();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

fn with(prefix: &[u8], ip: &[u8]) -> Vec<u8> {
    [prefix, ip].concat()
}

fn whole(link: LinkType, data: &[u8]) -> Result<View<'_>, Unparsed> {
    dissect(link, data, u32::try_from(data.len()).unwrap())
}

/// The packet of [`udp`] behind some link header.
#[track_caller]
fn check_udp(link: LinkType, prefix: &[u8]) {
    let data = with(prefix, &udp(b"name"));
    let view = whole(link, &data).unwrap();
    let Transport::Udp(found) = view.transport else {
        panic!("{view:?}")
    };
    assert_eq!(
        (view.src(), view.dst()),
        (IpAddr::from(V4.0), IpAddr::from(V4.1))
    );
    assert_eq!(
        (found.sport, found.dport, found.payload),
        (4000, 53, &b"name"[..])
    );
    assert_eq!((view.ip_len, view.headers_len), (32, prefix.len() + 28));
}

const MACS: [u8; 12] = [2; 12];

/// A PKTAP header in the first layout: of a packet with link type `dlt`, whose link header has
/// `pre_len` bytes.
fn pktap_header(dlt: u32, pre_len: u32) -> Vec<u8> {
    let mut header: Vec<u8> = [108_u32, 1, dlt]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    header.extend(b"en0\0".iter().chain(&[0; 20]));
    for number in [2_u32, 2, pre_len, 0, 311] {
        header.extend(number.to_le_bytes());
    }
    header.extend(b"a name that fills".iter().chain(&[0; 3]));
    header.extend([0; 32]);
    header
}

#[test]
fn pktap_stands_before_any_link_header() {
    let ethernet = [&MACS[..], &[8, 0]].concat();
    check_udp(LinkType::Pktap, &pktap_header(12, 0));
    check_udp(LinkType::Pktap, &with(&pktap_header(1, 14), &ethernet));
    check_udp(LinkType::Pktap, &with(&pktap_header(0, 4), &[2, 0, 0, 0]));
    // A link type that we do not know is passed over by its stated length.
    check_udp(LinkType::Pktap, &with(&pktap_header(200, 3), &[9; 3]));
    let header = pktap_header(12, 0);
    let found = pktap(&header).unwrap();
    assert_eq!(
        (found.pid, found.process),
        (Some(311), &b"a name that fills"[..])
    );
    assert_eq!((found.effective_pid, found.effective), (None, &b""[..]));
}

#[test]
fn a_pktap_header_that_lies_is_a_reason() {
    let packet = with(&pktap_header(12, 0), &udp(b"name"));
    let changed = |at: usize, number: u32| {
        let mut packet = packet.clone();
        packet[at..at + 4].copy_from_slice(&number.to_le_bytes());
        whole(LinkType::Pktap, &packet).unwrap_err()
    };
    assert_eq!(changed(0, 107), Unparsed::LinkMalformed);
    assert_eq!(changed(0, 1025), Unparsed::LinkMalformed);
    assert_eq!(changed(0, 1024), Unparsed::LinkTruncated);
    assert_eq!(changed(4, 0), Unparsed::NotAPacket);
    // Read as the second layout it has another link type, and no IP behind it.
    assert_eq!(changed(36, 0x0008_0000), Unparsed::NotIp);
    for length in 1..108 {
        let error = whole(LinkType::Pktap, &packet[..length]).unwrap_err();
        assert_eq!(error, Unparsed::LinkTruncated, "{length} bytes");
        assert!(!is_pktap(&packet[..length]));
    }
    // PKTAP behind PKTAP is not followed: its link type is none that is known.
    let twice = with(&pktap_header(258, 0), &packet);
    assert!(whole(LinkType::Pktap, &twice).is_err());
}

#[test]
fn finds_ip_behind_every_link_header() {
    let ethernet = |rest: &[u8]| with(&MACS, rest);
    check_udp(LinkType::RawIp, &[]);
    check_udp(LinkType::Ethernet, &ethernet(&[8, 0]));
    let stacked = [
        0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x91, 0, 0, 4, 8, 0,
    ];
    check_udp(LinkType::Ethernet, &ethernet(&stacked));
    let labels = [0x88, 0x47, 0, 1, 0x00, 9, 0, 2, 0x01, 9];
    check_udp(LinkType::Ethernet, &ethernet(&labels));
    let session = [0x88, 0x64, 0x11, 0, 0, 1, 0, 34, 0, 0x21];
    check_udp(LinkType::Ethernet, &ethernet(&session));
    let snap = [0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    check_udp(LinkType::Ethernet, &ethernet(&snap));
    check_udp(LinkType::Null, &[2, 0, 0, 0]);
    check_udp(LinkType::Null, &[0, 0, 0, 2]);
    check_udp(LinkType::Loop, &[0, 0, 0, 2]);
    check_udp(LinkType::Ppp, &[0xff, 3, 0, 0x21]);
    check_udp(LinkType::Ppp, &[0x21]);
    check_udp(
        LinkType::Sll,
        &[0, 4, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0],
    );
    let sll2 = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 2, 2, 2, 2, 2, 0, 0];
    check_udp(LinkType::Sll2, &sll2);
}

fn attribute(little: bool, kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let number = |n: u16| {
        if little {
            n.to_le_bytes()
        } else {
            n.to_be_bytes()
        }
    };
    let mut bytes = [&number(length)[..], &number(kind), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nflog(little: bool) -> Vec<u8> {
    [
        vec![2, 0, 0, 100],
        attribute(little, 1, &[8, 0, 3, 0]),
        attribute(little, 10, b"p\0"),
        attribute(little, 11, &10_055_u32.to_be_bytes()),
        attribute(little, 9, &udp(b"odd")),
    ]
    .concat()
}

#[test]
fn nflog_gives_owner_hook_and_packet_in_either_byte_order() {
    for little in [true, false] {
        let data = nflog(little);
        let attributes = nflog_attributes(&data).unwrap();
        assert_eq!(attributes.uid, Some(10_055));
        assert_eq!(attributes.hook, Some(Hook::Output));
        assert_eq!(attributes.payload, udp(b"odd"));
        let view = whole(LinkType::Nflog, &data).unwrap();
        assert_eq!(view.headers_len, attributes.payload_offset + 28);
        assert_eq!(view.ip_len, 31);
    }
}

#[test]
fn nflog_attribute_shorter_than_its_header_is_malformed() {
    let data = [2, 0, 0, 100, 3, 0, 9, 0, 0, 0, 0, 0];
    assert_eq!(nflog_attributes(&data), Err(Unparsed::LinkMalformed));
}

#[test]
fn lengths_come_from_headers_when_the_capture_is_cut() {
    let full = udp(&[1; 100]);
    let view = dissect(LinkType::RawIp, &full[..60], 128).unwrap();
    let Transport::Udp(found) = view.transport else {
        panic!("{view:?}")
    };
    assert_eq!(
        (view.ip_len, found.payload_len, found.payload.len()),
        (128, 100, 32)
    );
}

#[test]
fn padding_is_not_payload() {
    let mut data = with(&MACS, &with(&[8, 0], &udp(b"")));
    data.resize(60, 0);
    let view = whole(LinkType::Ethernet, &data).unwrap();
    assert_eq!(view.ip_len, 28);
    assert!(matches!(view.transport, Transport::Udp(found) if found.payload.is_empty()));
}

#[test]
fn offload_packets_and_jumbograms_take_their_length_from_the_capture() {
    let mut v4 = udp(&[1; 10]);
    v4[2..4].fill(0);
    assert_eq!(
        dissect(LinkType::RawIp, &v4, 70_000).unwrap().ip_len,
        70_000
    );
    let mut v6 = tcp_v6(&[1; 10]);
    v6[4..6].fill(0);
    let view = dissect(LinkType::RawIp, &v6, 80_000).unwrap();
    assert_eq!(view.ip_len, 80_000);
    assert!(matches!(view.transport, Transport::Tcp(tcp) if tcp.payload_len == 80_000 - 60));
}

#[test]
fn first_fragment_has_ports_and_later_ones_an_id() {
    let mut first = udp(&[1; 16]);
    first[4..8].copy_from_slice(&[0x12, 0x34, 0x20, 0]);
    let view = whole(LinkType::RawIp, &first).unwrap();
    assert!(matches!(view.transport, Transport::Udp(found) if found.sport == 4000));
    assert_eq!(view.fragment_id, Some(0x1234));
    let mut later = first.clone();
    later[6..8].copy_from_slice(&[0, 3]);
    let view = whole(LinkType::RawIp, &later).unwrap();
    assert_eq!(view.transport, Transport::Fragment { id: 0x1234 });
    assert_eq!((view.protocol, view.headers_len), (17, 20));
}

#[test]
fn ipv6_extension_headers_and_fragments() {
    let plain = tcp_v6(b"hello");
    // Hop-by-hop options, destination options, fragment header (offset 0, more), then TCP.
    let chain = [
        60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9,
    ];
    let mut data = [&plain[..40], &chain, &plain[40..]].concat();
    data[6] = 0;
    data[5] += 24;
    let view = whole(LinkType::RawIp, &data).unwrap();
    assert!(matches!(view.transport, Transport::Tcp(tcp) if tcp.payload == b"hello" && tcp.syn));
    assert_eq!((view.protocol, view.fragment_id), (6, Some(9)));
    data[40 + 16 + 3] = 8;
    let view = whole(LinkType::RawIp, &data).unwrap();
    assert_eq!(view.transport, Transport::Fragment { id: 9 });
}

#[test]
fn a_tcp_header_cut_behind_its_flags_is_kept() {
    let data = tcp_v6(b"hello");
    let original_len = u32::try_from(data.len()).unwrap();
    let view = dissect(LinkType::RawIp, &data[..54], original_len).unwrap();
    assert!(matches!(view.transport, Transport::Tcp(tcp) if tcp.syn && tcp.payload_len == 5));
    assert_eq!(
        dissect(LinkType::RawIp, &data[..53], original_len),
        Err(Unparsed::TransportTruncated)
    );
}

#[test]
fn what_has_no_view_has_a_reason() {
    let ip = udp(b"");
    let arp = with(&MACS, &[8, 6, 0, 1]);
    assert_eq!(whole(LinkType::Ethernet, &arp), Err(Unparsed::NotIp));
    assert_eq!(
        whole(LinkType::Ethernet, &arp[..13]),
        Err(Unparsed::LinkTruncated)
    );
    let endless = with(&MACS, &[0x81, 0].repeat(100));
    assert_eq!(
        whole(LinkType::Ethernet, &endless),
        Err(Unparsed::LinkMalformed)
    );
    assert_eq!(whole(LinkType::RawIp, &[]), Err(Unparsed::Empty));
    assert_eq!(
        whole(LinkType::RawIp, &ip[..19]),
        Err(Unparsed::IpTruncated)
    );
    assert_eq!(whole(LinkType::Other(147), &ip), Err(Unparsed::LinkType));
    let mut short = ip.clone();
    short[3] = 19;
    assert_eq!(whole(LinkType::RawIp, &short), Err(Unparsed::IpMalformed));
    short[3] = 24;
    assert_eq!(
        whole(LinkType::RawIp, &short),
        Err(Unparsed::TransportMalformed)
    );
    let mut bogus = ip;
    bogus[25] = 7;
    assert_eq!(
        whole(LinkType::RawIp, &bogus),
        Err(Unparsed::TransportMalformed)
    );
}

#[test]
fn the_seed_corpus_has_views() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/dissect/");
    for (name, link) in [
        ("ethernet-mpls-udp", LinkType::Ethernet),
        ("ethernet-pppoe-udp", LinkType::Ethernet),
        ("ethernet-qinq-udp", LinkType::Ethernet),
        ("raw-fragment6", LinkType::RawIp),
        ("raw-tcp6", LinkType::RawIp),
    ] {
        let data = std::fs::read(format!("{folder}{name}")).unwrap();
        whole(link, &data[1..]).unwrap_or_else(|reason| panic!("{name}: {reason:?}"));
    }
}

fn link() -> impl Strategy<Value = LinkType> {
    prop_oneof![
        Just(LinkType::Ethernet),
        Just(LinkType::RawIp),
        Just(LinkType::Null),
        Just(LinkType::Sll),
        Just(LinkType::Sll2),
        Just(LinkType::Ppp),
        Just(LinkType::Nflog),
        Just(LinkType::Other(10)),
        Just(LinkType::Other(104)),
    ]
}

fn check_bounds(link: LinkType, data: &[u8], original_len: u32) {
    if let Ok(view) = dissect(link, data, original_len) {
        assert!(view.headers_len <= data.len());
        if let Transport::Tcp(tcp) = view.transport {
            assert!(data[view.headers_len..].starts_with(tcp.payload));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(
        link in link(),
        data in prop::collection::vec(any::<u8>(), 0..200),
        original_len: u32,
    ) {
        check_bounds(link, &data, original_len);
    }

    #[test]
    fn mutated_packets_never_panic(
        seed in 0..4_usize,
        at in any::<prop::sample::Index>(),
        byte: u8,
        keep in any::<prop::sample::Index>(),
    ) {
        let (link, mut data) = match seed {
            0 => (LinkType::Nflog, nflog(true)),
            1 => (LinkType::Ethernet, with(&MACS, &with(&[8, 0], &udp(b"name")))),
            2 => (LinkType::RawIp, tcp_v6(b"hello")),
            _ => (LinkType::Sll, with(&[0; 14], &with(&[0x86, 0xdd], &tcp_v6(b"")))),
        };
        let at = at.index(data.len());
        data[at] = byte;
        let original_len = u32::try_from(data.len()).unwrap();
        data.truncate(keep.index(data.len()) + 1);
        check_bounds(link, &data, original_len);
    }
}
