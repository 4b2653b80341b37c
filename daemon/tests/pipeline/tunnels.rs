//! What a capture file shows inside tunnels.

use etherparse::PacketBuilder;
use sakshi::{
    evidence::body::{Record, Via},
    input::Vantage,
};
use sakshi_rules::contact::NameSource;

use crate::stream::{Sent, Witness, at, core};

/// Teredo's own prefix, and another.
const INNER: ([u8; 16], [u8; 16]) = (
    [0x20, 1, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
    [0x26; 16],
);

/// A request over IPv6.
fn request() -> Vec<u8> {
    let payload = b"GET / HTTP/1.1\r\nHost: inside.example\r\n\r\n";
    let mut bytes = Vec::new();
    PacketBuilder::ipv6(INNER.0, INNER.1, 64)
        .tcp(40_000, 80, 1, 65_535)
        .ack(1)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut header = etherparse::Ipv4Header::new(
        u16::try_from(payload.len()).unwrap(),
        64,
        protocol.into(),
        [10, 0, 0, 2],
        [192, 0, 2, 1],
    )
    .unwrap();
    header.header_checksum = header.calc_header_checksum();
    header.write(&mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

/// The vias and names of the flows of one captured packet.
fn told(bytes: Vec<u8>, vantage: Vantage) -> Vec<(Option<&'static str>, Vec<String>)> {
    let mut witness = Witness::new(core(""));
    witness.see(&Sent {
        at: at(0),
        uid: None,
        interface: None,
        vantage,
        bytes,
    });
    witness.finish();
    let flows = witness.records.iter().filter_map(|record| match record {
        Record::Flow(flow) => Some(flow),
        _ => None,
    });
    flows
        .map(|flow| {
            let names = flow
                .names
                .iter()
                .filter(|name| name.source == NameSource::Http)
                .map(|name| name.name.clone());
            (flow.via.map(Via::as_str), names.collect())
        })
        .collect()
}

#[test]
fn what_is_inside_a_tunnel_is_a_flow_of_its_own() {
    let inside = (Some("inside"), vec!["inside.example".to_owned()]);
    let gre = [&[0x20, 0, 0x86, 0xdd, 0, 0, 0, 7][..], &request()].concat();
    let teredo = datagram(3_544, &[&[0, 0, 1, 2, 3, 4, 5, 6][..], &request()].concat());
    let twice = ipv4(41, &request());
    for outer in [ipv4(41, &request()), ipv4(47, &gre), teredo] {
        assert_eq!(told(outer, Vantage::Both), [(None, vec![]), inside.clone()]);
    }
    assert_eq!(
        told(ipv4(4, &twice), Vantage::Both),
        [(None, vec![]), (Some("inside"), vec![]), inside]
    );
}

/// The request in an Ethernet frame, with a VLAN's tag.
fn frame() -> Vec<u8> {
    let header = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 0x86, 0xdd,
    ];
    [&header[..], &request()].concat()
}

/// What carries packets in datagrams: to which port, what is before the packet, and whether that is in
/// an Ethernet frame.
const IN_DATAGRAMS: [(u16, &[u8], bool); 9] = [
    // GTP-U without and with a sequence number, and behind two extension headers of one word.
    (2_152, &[0x30, 255, 0, 100, 0, 0, 0, 1], false),
    (2_152, &[0x32, 255, 0, 104, 0, 0, 0, 1, 0, 9, 0, 0], false),
    (
        2_152,
        &[
            0x34, 255, 0, 112, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0x84, 1, 0, 9, 0,
        ],
        false,
    ),
    // GRE with a key.
    (4_754, &[0x20, 0, 0x86, 0xdd, 0, 0, 0, 7], false),
    (4_754, &[0, 0, 0x65, 0x58], true),
    (4_789, &[8, 0, 0, 0, 0, 0, 7, 0], true),
    // Geneve without and with an option, and with a frame.
    (6_081, &[0, 0, 0x86, 0xdd, 0, 0, 7, 0], false),
    (
        6_081,
        &[2, 0x40, 0x86, 0xdd, 0, 0, 7, 0, 1, 2, 3, 1, 4, 5, 6, 7],
        false,
    ),
    (6_081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0], true),
];

/// A datagram's payload of one of these.
fn in_datagram((_, before, framed): (u16, &[u8], bool)) -> Vec<u8> {
    let packet = if framed { frame() } else { request() };
    [before, &packet].concat()
}

#[test]
fn what_datagrams_carry_is_a_flow_of_its_own() {
    assert_eq!(request().len(), 100, "GTP-U says the length in the tables");
    let inside = (Some("inside"), vec!["inside.example".to_owned()]);
    for kind in IN_DATAGRAMS {
        let flows = told(datagram(kind.0, &in_datagram(kind)), Vantage::Both);
        assert_eq!(flows, [(None, vec![]), inside.clone()], "{kind:?}");
    }
    // PPTP: GRE of version 1 with a call, a sequence number and an acknowledgment, and PPP in it.
    let call = [0x30, 0x81, 0x88, 0x0b, 0, 104, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1];
    let ppp = [0xff, 0x03, 0x00, 0x57];
    let outer = ipv4(47, &[&call[..], &ppp, &request()].concat());
    assert_eq!(told(outer, Vantage::Both), [(None, vec![]), inside]);
}

/// A payload that is longer, is cut, carries another version or length, or whose header is not as it is
/// to be.
#[test]
fn another_payload_at_a_tunnels_port_is_none() {
    let nothing: [(Option<&str>, Vec<String>); 1] = [(None, vec![])];
    for kind in IN_DATAGRAMS {
        let (port, before, framed) = kind;
        let right = in_datagram(kind);
        let none = |payload: &[u8]| {
            let flows = told(datagram(port, payload), Vantage::Both);
            assert_eq!(flows, nothing, "{kind:?}: {payload:?}");
        };
        none(&[&right[..], &[0]].concat());
        none(&right[..right.len() - 1]);
        for at in 0..before.len() + 8 {
            none(&right[..at]);
        }
        let packet = before.len() + if framed { 18 } else { 0 };
        for (at, byte) in [(packet, 0x50), (packet + 5, 61)] {
            let mut changed = right.clone();
            changed[at] = byte;
            none(&changed);
        }
        let noise: Vec<u8> = (1..=0xff).collect();
        none(&noise);
    }
    // To the tunnel's own ends; another version; echo; extension headers without an end.
    for (port, before) in [
        (6_081, &[0, 0x80, 0x86, 0xdd, 0, 0, 7, 0][..]),
        (6_081, &[0x40, 0, 0x86, 0xdd, 0, 0, 7, 0]),
        (2_152, &[0x50, 255, 0, 100, 0, 0, 0, 1]),
        (2_152, &[0x30, 1, 0, 100, 0, 0, 0, 1]),
        (2_152, &[0x34, 255, 0, 104, 0, 0, 0, 1, 0, 0, 0, 0x85, 0, 0]),
        (4_754, &[0x40, 0, 0x86, 0xdd, 0, 0, 0, 7]),
        (4_789, &[0, 0, 0, 0, 0, 0, 7, 0]),
    ] {
        let payload = [before, &request()].concat();
        let flows = told(datagram(port, &payload), Vantage::Both);
        assert_eq!(flows, nothing, "{port}: {before:?}");
    }
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 2], [192, 0, 2, 1], 64)
        .udp(50_000, port)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// A socket may be given the port by chance: what is sent there is a tunnel's packet only where it can
/// be nothing else.
#[test]
fn another_payload_at_teredos_port_is_no_tunnel() {
    let request = request();
    let with = |at: usize, byte: u8| {
        let mut changed = request.clone();
        changed[at] = byte;
        changed
    };
    let longer = [&request[..], &[0]].concat();
    let noise: Vec<u8> = (0x60..=0xff).collect();
    // Another version, another length, another prefix, none at all.
    for payload in [&with(0, 0x50), &with(5, 9), &longer, &with(8, 0x24), &noise] {
        assert_eq!(
            told(datagram(3_544, payload), Vantage::Both),
            [(None, vec![])]
        );
    }
    let asks_a_server = {
        let mut bytes = Vec::new();
        let (own, all) = (
            [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7],
            [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        );
        let builder = PacketBuilder::ipv6(own, all, 255);
        builder
            .icmpv6_raw(133, 0, [0; 4])
            .write(&mut bytes, &[])
            .unwrap();
        bytes
    };
    assert_eq!(
        told(datagram(3_544, &asks_a_server), Vantage::Both).len(),
        2
    );
}

#[test]
fn a_live_watch_opens_no_tunnel() {
    let flows = told(ipv4(41, &request()), Vantage::Output);
    assert_eq!(flows, [(None, vec![])]);
}
