//! By which way packets leave: VPN, CLAT, NAT64; and what changes around them.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::PacketBuilder;
use sakshi::{
    evidence::body::{Contact, Flow, Record, Via},
    input::{
        Event, Interface, InterfaceAddress, InterfaceChange, InterfaceCount, InterfaceCounters,
        InterfaceHappening, InterfaceKind, Suspension, Vantage,
    },
};

use super::{
    APP, PACKAGES, SINGAPORE,
    stream::{Kind, Sent, Witness, at, core, get, tcp, udp},
};

const WLAN: u32 = 10;
const TUN: u32 = 20;
const CLAT: u32 = 30;
/// The app that holds the tunnel in these tests.
const VPN_APP: u32 = 10_060;
/// `13.228.10.20` behind the well-known prefix of translators.
const TRANSLATED: &str = "64:ff9b::13.228.10.20";

fn interface(index: u32, name: &str, kind: InterfaceKind) -> Interface {
    Interface {
        index,
        name: name.to_owned(),
        kind,
        hardware_type: 65_534,
        link_kind: None,
        up: true,
        addresses: Vec::new(),
        default_ipv4: false,
        default_ipv6: false,
        holders: None,
    }
}

fn tunnel(holder: u32) -> Interface {
    Interface {
        holders: Some(vec![holder]),
        ..interface(TUN, "tun0", InterfaceKind::Tunnel)
    }
}

fn told(millis: i64, happening: InterfaceHappening, interface: Interface) -> Event {
    Event::Interface(InterfaceChange {
        at: at(millis),
        happening,
        interface,
    })
}

/// A witness of a handset on Wi-Fi, with these interfaces beside it.
fn witness(others: Vec<Interface>) -> Witness {
    let mut witness = Witness::new(core(PACKAGES));
    let wlan = interface(WLAN, "wlan0", InterfaceKind::Wlan);
    for interface in std::iter::once(wlan).chain(others) {
        witness.hear(&told(0, InterfaceHappening::Present, interface));
    }
    witness
}

fn by(interface: u32, sent: Sent) -> Sent {
    Sent {
        interface: Some(interface),
        ..sent
    }
}

/// A UDP packet over IPv6 that the handset sends.
fn udp6(millis: i64, uid: Option<u32>, port: u16, to: &str, payload: &[u8]) -> Sent {
    let addr = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let builder = PacketBuilder::ipv6(addr("2001:db8:43::100"), addr(to), 64).udp(port, 443);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    Sent {
        at: at(millis),
        uid,
        interface: Some(WLAN),
        vantage: Vantage::Output,
        bytes,
    }
}

fn flows(witness: &Witness) -> Vec<&Flow> {
    fn flow(record: &Record) -> Option<&Flow> {
        match record {
            Record::Flow(flow) => Some(&**flow),
            _ => None,
        }
    }
    witness.records.iter().filter_map(flow).collect()
}

fn contacts(witness: &Witness) -> Vec<&Contact> {
    fn contact(record: &Record) -> Option<&Contact> {
        match record {
            Record::Contact(contact) => Some(&**contact),
            _ => None,
        }
    }
    witness.records.iter().filter_map(contact).collect()
}

#[test]
fn without_an_interface_the_way_is_not_known() {
    let mut witness = witness(Vec::new());
    witness.see(&tcp(1, APP, 40_000, SINGAPORE, Kind::Syn, b""));
    witness.see(&by(99, tcp(2, APP, 40_001, SINGAPORE, Kind::Syn, b"")));
    witness.finish();
    let ways: Vec<_> = flows(&witness)
        .iter()
        .map(|flow| (flow.via, flow.interfaces.clone()))
        .collect();
    assert_eq!(ways, [(None, vec![]), (None, vec!["#99".to_owned()])]);
}

#[test]
fn a_vpn_shows_an_inner_and_an_outer_flow() {
    let mut witness = witness(vec![tunnel(VPN_APP)]);
    witness.see(&by(TUN, tcp(1, APP, 40_000, SINGAPORE, Kind::Syn, b"")));
    let outer = udp(2, Some(VPN_APP), 51_820, "198.51.100.1:51820", false, b"x");
    witness.see(&by(WLAN, outer));
    witness.see(&by(WLAN, tcp(3, APP, 40_002, SINGAPORE, Kind::Syn, b"")));
    witness.finish();
    let ways: Vec<_> = flows(&witness)
        .iter()
        .map(|flow| (flow.owner.uid, flow.via, flow.interfaces.join(" ")))
        .collect();
    assert_eq!(
        ways,
        [
            (APP, Some(Via::Vpn), "tun0".to_owned()),
            (Some(VPN_APP), Some(Via::VpnOuter), "wlan0".to_owned()),
            (APP, Some(Via::Direct), "wlan0".to_owned()),
        ]
    );
    // The same app and endpoint, reached in two ways, are two contacts.
    let mut vias: Vec<_> = contacts(&witness).iter().map(|it| it.via).collect();
    vias.sort_unstable();
    let expected = [Via::Direct, Via::VpnOuter, Via::Vpn].map(Some);
    assert_eq!(vias, expected);
}

#[test]
fn the_outer_flow_is_known_once_the_tunnel_is_handed_to_its_app() {
    // The system makes the tunnel, and sends much else.
    let mut witness = witness(vec![tunnel(1000)]);
    let outer = |millis, uid| {
        let packet = udp(millis, Some(uid), 51_820, "198.51.100.1:51820", false, b"x");
        by(WLAN, packet)
    };
    witness.see(&outer(1, VPN_APP));
    witness.see(&by(
        WLAN,
        tcp(2, Some(1000), 40_000, SINGAPORE, Kind::Syn, b""),
    ));
    witness.tick(6000);
    witness.hear(&told(6001, InterfaceHappening::Changed, tunnel(VPN_APP)));
    witness.see(&outer(6002, VPN_APP));
    witness.hear(&told(6003, InterfaceHappening::Removed, tunnel(VPN_APP)));
    witness.see(&outer(6004, VPN_APP));
    witness.finish();
    let ways: Vec<_> = flows(&witness).iter().map(|flow| flow.via).collect();
    assert_eq!(ways, [Some(Via::VpnOuter), Some(Via::Direct)]);
    // It moved: the contact that it had first has no flow any more, and nothing is counted twice.
    let totals: Vec<_> = witness.totals().into_values().collect();
    let moved = totals.iter().filter(|(flows, ..)| *flows == 0).count();
    let packets: u64 = totals.iter().map(|(_, packets, _)| packets).sum();
    assert_eq!((moved, packets), (1, 4));
}

#[test]
fn a_translated_flow_is_counted_once() {
    for original_first in [true, false] {
        let own = "192.168.43.100".parse().unwrap();
        let mut witness = witness(vec![Interface {
            addresses: vec![InterfaceAddress {
                addr: own,
                prefix_len: 32,
            }],
            ..interface(CLAT, "v4-wlan0", InterfaceKind::Clat)
        }]);
        let original = by(
            CLAT,
            udp(1, APP, 40_000, "13.228.10.20:443", false, b"hello"),
        );
        // clatd's copy is told at once, the app's packet with others: it may come later.
        let copy = udp6(1, Some(1029), 40_000, TRANSLATED, b"hello");
        let other = udp6(2, Some(1029), 40_001, TRANSLATED, b"its own");
        let order = if original_first {
            [original, copy, other]
        } else {
            [copy, other, original]
        };
        for sent in &order {
            witness.see(sent);
        }
        witness.finish();
        let mut ways: Vec<_> = flows(&witness)
            .iter()
            .map(|flow| (flow.sport, flow.via, flow.contact.is_some()))
            .collect();
        ways.sort_unstable();
        assert_eq!(
            ways,
            [
                (Some(40_000), Some(Via::Clat), true),
                (Some(40_000), Some(Via::ClatCopy), false),
                (Some(40_001), Some(Via::Direct), true),
            ]
        );
        let counted: u64 = witness.totals().into_values().map(|total| total.1).sum();
        assert_eq!(counted, 2, "the copy is counted nowhere");
    }
}

#[test]
fn behind_a_translator_the_server_is_located_by_its_ipv4_address() {
    let mut witness = witness(Vec::new());
    witness.see(&tcp(1, APP, 40_000, SINGAPORE, Kind::Syn, b""));
    witness.see(&udp6(2, APP, 40_001, TRANSLATED, b"x"));
    witness.see(&udp6(
        3,
        APP,
        40_002,
        "2001:db8:122:344::13.228.10.20",
        b"x",
    ));
    witness.finish();
    let reached = |addr: &str| {
        let addr: IpAddr = addr.parse().unwrap();
        let all = contacts(&witness);
        *all.iter().find(|it| it.endpoint.addr == addr).unwrap()
    };
    let plain = reached("13.228.10.20");
    let translated = reached(TRANSLATED);
    let unknown = reached("2001:db8:122:344::13.228.10.20");
    let inside = translated.endpoint.embedded_ipv4.map(IpAddr::V4);
    assert_eq!(inside, Some(plain.endpoint.addr));
    assert_eq!(translated.place, plain.place);
    assert_eq!(unknown.endpoint.embedded_ipv4, None);
    assert_eq!(unknown.place.country, None);
    assert_eq!(
        flows(&witness)[1].embedded_ipv4,
        translated.endpoint.embedded_ipv4
    );
}

/// A question for AAAA, or its answer.
fn aaaa(name: &str, answer: Option<&str>) -> Vec<u8> {
    let answered = u8::from(answer.is_some());
    let mut message = vec![0, 1, answered << 7 | 1, 0, 0, 1, 0, answered, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 28, 0, 1]);
    if let Some(answer) = answer {
        message.extend_from_slice(&[0xc0, 12, 0, 28, 0, 1, 0, 0, 1, 44, 0, 16]);
        message.extend_from_slice(&answer.parse::<Ipv6Addr>().unwrap().octets());
    }
    message
}

#[test]
fn a_network_tells_its_translators_prefix() {
    let mut witness = witness(Vec::new());
    let resolver = "192.168.43.1:53";
    let answer = aaaa("ipv4only.arpa", Some("2001:db8:122:344::192.0.0.170"));
    // An answer that nobody asked for teaches nothing.
    witness.see(&udp(1, None, 50_000, resolver, true, &answer));
    witness.see(&udp6(
        2,
        APP,
        40_000,
        "2001:db8:122:344::13.228.10.20",
        b"x",
    ));
    witness.tick(6000);
    let question = aaaa("ipv4only.arpa", None);
    witness.see(&udp(6001, Some(1000), 50_001, resolver, false, &question));
    witness.see(&udp(6002, None, 50_001, resolver, true, &answer));
    witness.see(&udp6(
        6003,
        APP,
        40_001,
        "2001:db8:122:344::13.228.10.20",
        b"x",
    ));
    witness.finish();
    let inside: Vec<_> = contacts(&witness)
        .iter()
        .filter(|contact| contact.endpoint.port == Some(443))
        .map(|contact| contact.endpoint.embedded_ipv4.is_some())
        .collect();
    assert_eq!(inside, [false, true]);
}

#[test]
fn a_resolvers_socket_is_no_apps() {
    let mut witness = witness(Vec::new());
    for (port, to, uid) in [
        (40_000, "198.51.100.53:853", 1051),
        (40_001, "198.51.100.53:443", 1051),
        (40_002, "198.51.100.53:443", 10_050),
    ] {
        let hello = tcp(1, Some(uid), port, to, Kind::Ack, b"hello");
        witness.see(&by(WLAN, hello));
    }
    witness.finish();
    let owners: Vec<_> = flows(&witness)
        .iter()
        .map(|flow| (flow.owner.role.clone(), flow.owner.may_act_for_app))
        .collect();
    let resolver = || Some("resolver".to_owned());
    assert_eq!(
        owners,
        [(resolver(), true), (resolver(), true), (None, false)]
    );
}

#[test]
fn what_changes_around_the_packets_is_recorded_as_told() {
    let mut witness = witness(Vec::new());
    let counters = InterfaceCounters {
        at: at(5),
        interfaces: vec![InterfaceCount {
            index: WLAN,
            name: "wlan0".to_owned(),
            rx_packets: 1,
            rx_bytes: 2,
            tx_packets: 3,
            tx_bytes: 4,
        }],
    };
    let slept = Suspension {
        at: at(9),
        from: at(6),
        suspended_us: 2_000_000,
    };
    witness.see(&by(
        WLAN,
        tcp(4, APP, 40_000, SINGAPORE, Kind::Ack, &get("a.example")),
    ));
    witness.hear(&Event::Counters(counters.clone()));
    witness.hear(&Event::Suspension(slept.clone()));
    let told: Vec<&Record> = witness
        .records
        .iter()
        .filter(|record| {
            matches!(
                record,
                Record::Interface(_) | Record::Counters(_) | Record::Suspension(_)
            )
        })
        .collect();
    let [Record::Interface(change), rest @ ..] = &told[..] else {
        panic!("no interface");
    };
    assert_eq!(change.interface.name, "wlan0");
    let expected = [Record::Counters(counters), Record::Suspension(slept)];
    assert_eq!(rest, expected.iter().collect::<Vec<_>>());
}
