//! Streams: the same bytes, however they are cut and in whatever order they come, say the same.

use proptest::prelude::*;
use sakshi::{
    input::SocketProto,
    name::{Heard, Numbers, Reading, Shown, tls::Certificate},
};
use sakshi_rules::contact::{AppProtocol, NameSource};
use sakshi_workload::hosts::{PREFACE, Requests, settings};
use sha2::Digest as _;

use crate::writer::{
    Hello, QUERY, XMPP_HEAD, XMPP_STARTTLS, certificate, dns, dns_over_tcp, handshake, records,
    server_hello, server_messages,
};

/// Initial sequence numbers of both sides: near the end of the number space.
const CLIENT: u32 = u32::MAX - 20;
const SERVER: u32 = u32::MAX - 3;

/// A conversation that is fed to a reading.
struct Flow {
    reading: Reading,
    heard: Vec<Heard>,
    port: u16,
}

impl Flow {
    fn new(port: u16) -> Self {
        Self {
            reading: Reading::default(),
            heard: Vec::new(),
            port,
        }
    }

    fn opened(port: u16) -> Self {
        let mut flow = Self::new(port);
        let syn = Numbers {
            seq: CLIENT,
            syn: true,
            ..Numbers::default()
        };
        flow.show(true, syn, &[], 0);
        flow
    }

    fn show(&mut self, outbound: bool, tcp: Numbers, bytes: &[u8], wire_len: usize) -> bool {
        let shown = Shown {
            proto: SocketProto::Tcp,
            local_port: 40_000,
            remote_port: self.port,
            outbound,
            names_only: false,
            tcp,
            wire_len: u32::try_from(wire_len).unwrap(),
            bytes,
        };
        self.reading.show(&shown, &mut self.heard).read
    }

    /// A segment of the client, by its offset in the stream.
    fn send(&mut self, at: usize, bytes: &[u8]) -> bool {
        self.send_cut(at, bytes, bytes.len())
    }

    fn send_cut(&mut self, at: usize, bytes: &[u8], wire_len: usize) -> bool {
        let tcp = Numbers {
            seq: CLIENT.wrapping_add(1 + u32::try_from(at).unwrap()),
            ack: SERVER.wrapping_add(1),
            acks: true,
            syn: false,
        };
        self.show(true, tcp, bytes, wire_len)
    }

    fn answer(&mut self, at: usize, bytes: &[u8]) -> bool {
        let tcp = Numbers {
            seq: SERVER.wrapping_add(1 + u32::try_from(at).unwrap()),
            ..Numbers::default()
        };
        self.show(false, tcp, bytes, bytes.len())
    }

    fn names(&self) -> Vec<(&str, NameSource)> {
        let names = self.heard.iter().filter_map(|heard| match heard {
            Heard::Name(name, source) => Some((&**name, *source)),
            _ => None,
        });
        names.collect()
    }

    fn protocol(&self) -> Option<AppProtocol> {
        let mut protocols = self.heard.iter().filter_map(|heard| match heard {
            Heard::Protocol(protocol) => Some(*protocol),
            _ => None,
        });
        protocols.next_back()
    }
}

fn hello(name: &str) -> Vec<u8> {
    Hello::default()
        .extension(51, vec![7; 1_300])
        .sni(name.as_bytes())
        .record()
}

/// A client's stream: the port, the bytes, and the names in them.
type Stream = (u16, Vec<u8>, Vec<(&'static str, NameSource)>);

/// Streams of every kind that is read.
fn streams() -> Vec<Stream> {
    let tls = |name| (name, NameSource::Tls);
    let http = |name| (name, NameSource::Http);
    let message = |name| dns_over_tcp(&dns(1, QUERY, &[(name, 1)], &[]));
    let requests = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n\
        POST /x HTTP/1.1\r\nHost: b.example\r\nContent-Length: 34\r\n\r\n\
        GET / HTTP/1.1\r\nHost: no.example\r\n\
        PUT / HTTP/1.1\r\nHost: c.example\r\nTransfer-Encoding: chunked\r\n\r\n\
        1a;x=y\r\nGET / HTTP/1.1\r\nHost: no.a\r\n0\r\nDigest: z\r\n\r\n\
        GET / HTTP/1.1\r\nHost: d.example\r\n\r\n";
    let behind = |head: &[u8]| [head, &hello("tls.example")].concat();
    [
        (443, hello("tls.example"), vec![tls("tls.example")]),
        (
            443,
            records(&Hello::default().sni(b"in.records").message(), 11),
            vec![tls("in.records")],
        ),
        (
            80,
            requests.to_vec(),
            vec![
                http("a.example"),
                http("b.example"),
                http("c.example"),
                http("d.example"),
            ],
        ),
        (
            8_080,
            behind(b"CONNECT far.example:443 HTTP/1.1\r\n\r\n"),
            vec![http("far.example"), tls("tls.example")],
        ),
        (
            587,
            behind(b"EHLO phone\r\nSTARTTLS\r\n"),
            vec![tls("tls.example")],
        ),
        (
            143,
            behind(b"1 ID NIL\r\n2 STARTTLS\r\n"),
            vec![tls("tls.example")],
        ),
        (110, behind(b"CAPA\r\nSTLS\r\n"), vec![tls("tls.example")]),
        (21, behind(b"AUTH TLS\r\n"), vec![tls("tls.example")]),
        (
            5_222,
            behind(&[XMPP_HEAD, XMPP_STARTTLS].concat()),
            vec![("push.example", NameSource::Xmpp), tls("tls.example")],
        ),
        (
            1_080,
            behind(b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x03\x0bfar.example\x01\xbb"),
            vec![("far.example", NameSource::Socks), tls("tls.example")],
        ),
        (
            53,
            [message("one.example"), message("two.example")].concat(),
            vec![
                ("one.example", NameSource::Dns),
                ("two.example", NameSource::Dns),
            ],
        ),
    ]
    .into_iter()
    .chain(streams_of_http2())
    .collect()
}

fn streams_of_http2() -> [Stream; 2] {
    let http = |name| (name, NameSource::Http);
    [
        (
            8_080,
            http2_requests(),
            vec![http("a.example"), http("b.example"), http("a.example")],
        ),
        (
            80,
            [
                b"GET / HTTP/1.1\r\nHost: c.example\r\nUpgrade: h2c\r\n\r\n",
                &http2_requests()[..],
            ]
            .concat(),
            vec![
                http("c.example"),
                http("a.example"),
                http("b.example"),
                http("a.example"),
            ],
        ),
    ]
}

/// A client's side of HTTP/2 in clear.
fn http2_requests() -> Vec<u8> {
    let mut requests = Requests::default();
    [
        PREFACE.to_vec(),
        settings(),
        requests.request("a.example", 0, true, false),
        requests.request("b.example", 900, false, true),
        requests.request("a.example", 0, true, true),
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cut anywhere, in any order, each piece perhaps twice, a repetition perhaps cut otherwise.
    #[test]
    fn the_same_stream_gives_the_same_names(
        which in 0_usize..13,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        order in any::<u64>(),
        repeated in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..900), 0..4),
    ) {
        let (port, bytes, expected) = streams().swap_remove(which);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.extend([0, bytes.len()]);
        ends.sort_unstable();
        let mut pieces: Vec<(usize, usize)> = ends.windows(2).map(|pair| (pair[0], pair[1])).collect();
        for (at, len) in repeated {
            let at = at.index(bytes.len());
            pieces.push((at, bytes.len().min(at + len)));
        }
        let mut random = order;
        for at in (1..pieces.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(at, usize::try_from(random >> 33).unwrap() % (at + 1));
        }
        let mut flow = Flow::opened(port);
        for (from, to) in pieces {
            flow.send(from, &bytes[from..to]);
        }
        prop_assert_eq!(flow.names(), expected);
        prop_assert!(flow.reading.is_answered());
        flow.reading.conclude(port, &mut flow.heard);
        prop_assert_eq!(flow.reading.held(), 0);
    }
}

#[test]
fn what_is_read_at_once_keeps_nothing() {
    let mut flow = Flow::opened(443);
    assert!(flow.send(0, &hello("a.example")));
    assert_eq!((flow.reading.held(), flow.names().len()), (0, 1));
    assert!(!flow.send(1_400, b"application data"), "it is not read");
}

#[test]
fn the_first_byte_stands() {
    let bytes = hello("first.example");
    let other = hello("other.example");
    let mut flow = Flow::opened(443);
    flow.send(40, &bytes[40..]);
    flow.send(0, &other);
    assert_eq!(flow.names(), [("first.example", NameSource::Tls)]);
}

#[test]
fn a_flow_joined_late_is_read_where_a_segment_begins() {
    let bytes = hello("a.example");
    let mut flow = Flow::new(443);
    flow.send(700, &bytes[700..]);
    assert_eq!(flow.names(), [], "the middle of a hello says nothing");
    let mut flow = Flow::new(443);
    flow.send(0, b"\x00\x07private");
    flow.send(9, b"preamble");
    flow.send(17, &bytes[..600]);
    flow.send(617, &bytes[600..]);
    assert_eq!(flow.names(), [("a.example", NameSource::Tls)]);
}

#[test]
fn a_cut_hello_says_what_is_there() {
    let bytes = Hello::default()
        .sni(b"early.example")
        .extension(51, vec![7; 1_300])
        .record();
    let mut flow = Flow::opened(443);
    assert!(flow.send_cut(0, &bytes[..200], bytes.len()));
    assert_eq!(flow.names(), [("early.example", NameSource::Tls)]);
    let damaged = flow
        .heard
        .iter()
        .any(|heard| matches!(heard, Heard::Hello(hello) if hello.damaged));
    assert!(damaged);
    // One whose rest never comes is read when the flow ends.
    let mut flow = Flow::opened(443);
    flow.send(0, &bytes[..200]);
    assert_eq!(flow.names(), []);
    flow.reading.conclude(443, &mut flow.heard);
    assert_eq!(flow.names(), [("early.example", NameSource::Tls)]);
    assert_eq!(flow.reading.held(), 0);
}

#[test]
fn a_request_behind_a_cut_body_is_found() {
    let head = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n";
    let mut flow = Flow::opened(80);
    flow.send_cut(0, head, head.len() + 60_000);
    assert!(!flow.send_cut(head.len() + 60_000, &[0; 100], 40_000));
    flow.send(
        head.len() + 100_000,
        b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n",
    );
    let names = [
        ("a.example", NameSource::Http),
        ("b.example", NameSource::Http),
    ];
    assert_eq!(flow.names(), names);
}

#[test]
fn a_servers_choice_and_certificate_are_read() {
    let der = certificate(&["*.example.com", "example.org"], "ignored.example");
    let flight = records(&server_messages(&der), 200);
    let mut flow = Flow::opened(443);
    flow.send(0, &hello("a.example.com"));
    flow.answer(100, &flight[100..]);
    flow.answer(0, &flight[..100]);
    let Some(Heard::Server(server)) = flow.heard.last() else {
        panic!("{:?}", flow.heard);
    };
    assert_eq!((server.version, server.suite), (0x0303, 0xc02f));
    let Some(Certificate { sha256, names }) = &server.certificate else {
        panic!("{server:?}");
    };
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["*.example.com", "example.org"]);
    assert_eq!(sha256[..], sha2::Sha256::digest(&der)[..]);
    assert!(!flow.answer(flight.len(), b"more"));

    let mut flow = Flow::opened(443);
    flow.send(0, &hello("a.example.com"));
    flow.answer(
        0,
        &records(&handshake(2, &server_hello(0x1301, Some(0x0304))), 99),
    );
    let Some(Heard::Server(server)) = flow.heard.last() else {
        panic!("{:?}", flow.heard);
    };
    assert_eq!(
        (server.version, server.certificate.as_ref()),
        (0x0304, None)
    );
}

#[test]
fn a_common_name_counts_where_there_is_no_other() {
    let names = sakshi::name::certificate::names(&certificate(&[], "cn.example"));
    assert_eq!(names, ["cn.example".into()]);
}

#[test]
fn passwords_are_not_read() {
    let mut flow = Flow::opened(21);
    assert!(flow.send(0, b"FEAT\r\n"));
    assert!(flow.send(6, b"USER me\r\n"), "reading ends with it");
    assert!(!flow.send(15, b"PASS secret\r\n"));
    assert_eq!(flow.protocol(), Some(AppProtocol::Ftp));
}
