//! What a payload is taken for, by content, port and direction.

use sakshi::{
    input::SocketProto::{self, Tcp, Udp},
    name::{Content, Identified, Outcome, dns::DnsKind, identify},
};
use sakshi_rules::contact::{AppProtocol, NameSource};

use crate::writer::{Hello, QUERY, RESPONSE, Record, dns, dns_over_tcp};

/// Protocol, outcome, and names with their source.
type Told = (AppProtocol, Outcome, Vec<(String, NameSource)>);

fn told(payload: &[u8], proto: SocketProto, port: u16, outbound: bool) -> Told {
    let Identified {
        app_protocol,
        names,
        outcome,
        content: _,
    } = identify(payload, proto, port, outbound);
    let names = names.into_iter().map(|n| (n.name, n.source)).collect();
    (app_protocol, outcome, names)
}

fn one(name: &str, source: NameSource) -> Vec<(String, NameSource)> {
    vec![(name.to_owned(), source)]
}

#[test]
fn a_hello_names_the_endpoint_on_any_port() {
    let hello = Hello::default().sni(b"a.example").record();
    let name = one("a.example", NameSource::Tls);
    for port in [443, 53, 12_345] {
        assert_eq!(
            told(&hello, Tcp, port, true),
            (AppProtocol::Tls, Outcome::Yes, name.clone())
        );
    }
    let half = told(&hello[..40], Tcp, 443, true);
    assert_eq!(half, (AppProtocol::Tls, Outcome::NotYet, vec![]));
    // What a peer calls us is not the endpoint's name.
    let inbound = identify(&hello, Tcp, 443, false);
    assert!(inbound.names.is_empty());
    assert!(matches!(inbound.content, Content::ClientHello(_)));
}

#[test]
fn records_and_responses_tell_the_protocol_alone() {
    let server_hello = [22, 3, 3, 0, 4, 2, 0, 0, 0];
    let nothing = vec![];
    assert_eq!(
        told(&server_hello, Tcp, 443, false),
        (AppProtocol::Tls, Outcome::Yes, nothing.clone())
    );
    assert_eq!(
        told(b"HTTP/1.1 200 OK\r\n\r\n", Tcp, 80, false),
        (AppProtocol::Http, Outcome::Yes, nothing.clone())
    );
    let initial = [0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(
        told(&initial, Udp, 443, true),
        (AppProtocol::Quic, Outcome::Yes, nothing)
    );
}

#[test]
fn http_gives_its_host() {
    let request = b"GET / HTTP/1.1\r\nHost: A.example:8080\r\n\r\n";
    assert_eq!(
        told(request, Tcp, 8080, true),
        (
            AppProtocol::Http,
            Outcome::Yes,
            one("a.example", NameSource::Http)
        )
    );
    assert_eq!(told(&request[..20], Tcp, 8080, true).1, Outcome::NotYet);
}

#[test]
fn dns_gives_what_was_asked_in_both_directions() {
    let query = dns(1, QUERY, &[("a.example", 1)], &[]);
    let record = Record::a("a.example", 9, [192, 0, 2, 1]);
    let response = dns(1, RESPONSE, &[("a.example", 1)], &[record]);
    let asked = (
        AppProtocol::Dns,
        Outcome::Yes,
        one("a.example", NameSource::Dns),
    );
    assert_eq!(told(&query, Udp, 53, true), asked);
    assert_eq!(told(&response, Udp, 53, false), asked);
    assert_eq!(told(&dns_over_tcp(&query), Tcp, 53, true), asked);
    assert_eq!(told(&dns_over_tcp(&response), Tcp, 53, false), asked);
    assert_eq!(told(&query, Udp, 1053, true).1, Outcome::No);
}

#[test]
fn link_local_names_are_kept_apart() {
    let query = dns(0, 0, &[("printer.local", 1)], &[]);
    let mdns = identify(&query, Udp, 5353, true);
    assert!(mdns.names.is_empty());
    assert!(matches!(mdns.content, Content::Dns(DnsKind::Mdns, _)));
}

#[test]
fn nothing_is_not_yet_and_noise_is_no() {
    let unknown = |outcome| (AppProtocol::Unknown, outcome, vec![]);
    for proto in [Tcp, Udp] {
        assert_eq!(told(&[], proto, 443, true), unknown(Outcome::NotYet));
        for port in [53, 443] {
            assert_eq!(told(b"\x00\x00", Udp, port, true), unknown(Outcome::No));
            assert_eq!(told(b"zzzz", proto, 443, true), unknown(Outcome::No));
        }
    }
    assert_eq!(
        told(b"SSH-2.0-OpenSSH", Tcp, 22, true),
        unknown(Outcome::No)
    );
}
