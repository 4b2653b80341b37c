//! What a payload by itself is taken for, by content, port and direction.

use sakshi::{
    input::SocketProto::{self, Tcp, Udp},
    name::{Heard, dns::DnsKind, heard_alone},
};
use sakshi_rules::contact::{AppProtocol, NameSource};

use crate::writer::{Hello, QUERY, RESPONSE, Record, dns, dns_over_tcp};

/// Protocol, and names with their source.
type Told = (AppProtocol, Vec<(String, NameSource)>);

fn told(payload: &[u8], proto: SocketProto, port: u16, outbound: bool) -> Told {
    let mut told = (AppProtocol::Unknown, vec![]);
    for heard in heard_alone(payload, proto, port, outbound) {
        match heard {
            Heard::Protocol(protocol) => told.0 = protocol,
            Heard::Name(name, source) => told.1.push((name.to_string(), source)),
            Heard::Proxied
            | Heard::Dns(..)
            | Heard::Hello(_)
            | Heard::Request(_)
            | Heard::Server(_) => {}
        }
    }
    told
}

fn one(name: &str, source: NameSource) -> Vec<(String, NameSource)> {
    vec![(name.to_owned(), source)]
}

#[test]
fn a_hello_names_the_endpoint_on_any_port() {
    let hello = Hello::default().sni(b"a.example").record();
    let name = one("a.example", NameSource::Tls);
    for port in [443, 53, 12_345] {
        let expected = (AppProtocol::Tls, name.clone());
        assert_eq!(told(&hello, Tcp, port, true), expected);
    }
    // What a peer calls us is not the endpoint's name.
    assert_eq!(
        told(&hello, Tcp, 443, false),
        (AppProtocol::Unknown, vec![])
    );
}

#[test]
fn a_record_or_a_long_header_tells_the_protocol_alone() {
    let nothing = vec![];
    let application_data = [23, 3, 3, 0, 4, 2, 0, 0, 0];
    assert_eq!(
        told(&application_data, Tcp, 443, true),
        (AppProtocol::Tls, nothing.clone())
    );
    let initial = [0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(
        told(&initial, Udp, 443, true),
        (AppProtocol::Quic, nothing.clone())
    );
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    assert_eq!(told(connect, Tcp, 8883, true), (AppProtocol::Mqtt, nothing));
}

#[test]
fn http_gives_its_host() {
    let request = b"GET / HTTP/1.1\r\nHost: A.example:8080\r\n\r\n";
    let expected = (AppProtocol::Http, one("a.example", NameSource::Http));
    assert_eq!(told(request, Tcp, 8080, true), expected);
    let search = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n";
    let expected = (AppProtocol::Http, one("239.255.255.250", NameSource::Http));
    assert_eq!(told(search, Udp, 1900, true), expected);
}

#[test]
fn dns_gives_what_was_asked_in_both_directions() {
    let query = dns(1, QUERY, &[("a.example", 1)], &[]);
    let record = Record::a("a.example", 9, [192, 0, 2, 1]);
    let response = dns(1, RESPONSE, &[("a.example", 1)], &[record]);
    let asked = (AppProtocol::Dns, one("a.example", NameSource::Dns));
    assert_eq!(told(&query, Udp, 53, true), asked);
    assert_eq!(told(&response, Udp, 53, false), asked);
    assert_eq!(told(&dns_over_tcp(&query), Tcp, 53, true), asked);
    assert_eq!(told(&dns_over_tcp(&response), Tcp, 53, false), asked);
    assert_eq!(told(&query, Udp, 1053, true).0, AppProtocol::Unknown);
}

#[test]
fn link_local_names_are_kept_apart() {
    let query = dns(0, 0, &[("printer.local", 1)], &[]);
    let expected = (AppProtocol::Dns, one("printer.local", NameSource::Mdns));
    assert_eq!(told(&query, Udp, 5353, true), expected);
    let heard = heard_alone(&query, Udp, 5353, true);
    assert!(matches!(heard.last(), Some(Heard::Dns(DnsKind::Mdns, _))));
}

#[test]
fn noise_says_nothing() {
    for proto in [Tcp, Udp] {
        for port in [53, 443] {
            for payload in [&b""[..], b"\x00\x00", b"zzzz", b"SSH-2.0-OpenSSH"] {
                assert_eq!(heard_alone(payload, proto, port, true), []);
            }
        }
    }
}
