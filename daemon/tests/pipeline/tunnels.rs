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
    let teredo = datagram(&[&[0, 0, 1, 2, 3, 4, 5, 6][..], &request()].concat());
    let twice = ipv4(41, &request());
    for outer in [ipv4(41, &request()), ipv4(47, &gre), teredo] {
        assert_eq!(told(outer, Vantage::Both), [(None, vec![]), inside.clone()]);
    }
    assert_eq!(
        told(ipv4(4, &twice), Vantage::Both),
        [(None, vec![]), (Some("inside"), vec![]), inside]
    );
}

/// A datagram to Teredo's port.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 2], [192, 0, 2, 1], 64)
        .udp(50_000, 3_544)
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
        assert_eq!(told(datagram(payload), Vantage::Both), [(None, vec![])]);
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
    assert_eq!(told(datagram(&asks_a_server), Vantage::Both).len(), 2);
}

#[test]
fn a_live_watch_opens_no_tunnel() {
    let flows = told(ipv4(41, &request()), Vantage::Output);
    assert_eq!(flows, [(None, vec![])]);
}
