//! Ports of DNS that a socket was given by chance, or that something else is sent to: what is said
//! there is told by content.

use sakshi::{
    input::SocketProto,
    name::{Heard, Numbers, Reading, Shown},
};
use sakshi_rules::contact::{AppProtocol, NameSource};
use sakshi_workload::{
    Hello, Random,
    dtls::{hello_records, stun},
    initial::{Ids, Sealer, Version, crypto_frame},
};

use crate::writer::{QUERY, dns};

const NAME: &str = "www.example.com";
const PORTS: [u16; 3] = [53, 5353, 5355];

/// Names and the protocol that a flow's datagrams say, the handset's first.
fn said(
    (local_port, remote_port): (u16, u16),
    datagrams: &[&[u8]],
) -> (Vec<(String, NameSource)>, Option<AppProtocol>) {
    let (mut reading, mut heard) = (Reading::default(), Vec::new());
    for bytes in datagrams {
        let shown = Shown {
            proto: SocketProto::Udp,
            local_port,
            remote_port,
            outbound: true,
            names_only: false,
            tcp: Numbers::default(),
            wire_len: u32::try_from(bytes.len()).unwrap(),
            bytes,
        };
        reading.show(&shown, &mut heard);
    }
    let mut names = Vec::new();
    let mut protocol = None;
    for heard in heard {
        match heard {
            Heard::Name(name, source) => names.push((name.to_string(), source)),
            Heard::Protocol(spoken) => protocol = Some(spoken),
            _ => {}
        }
    }
    (names, protocol)
}

fn offer(quic: bool) -> Hello<'static> {
    Hello {
        sni: Some(NAME),
        alpn: &["h3"],
        hybrid: true,
        ech: false,
        quic,
    }
}

/// A hello over two Initials, and a packet under keys that nobody but its ends has.
fn initials(version: Version) -> Vec<Vec<u8>> {
    let message = offer(true).message(&mut Random::new(3));
    let to = b"12345678";
    let (first, second) = message.split_at(900);
    let sealer = Sealer::new(version, to);
    let piece = |number, at, bytes: &[u8]| {
        let mut frames = Vec::new();
        crypto_frame(&mut frames, at, bytes);
        frames.resize(frames.len().max(1_150), 0);
        sealer.initial(Ids { to, from: b"me" }, &[], number, &frames)
    };
    let short = [&[0x41][..], &[7; 60]].concat();
    vec![piece(0, 0, first), piece(1, first.len(), second), short]
}

/// Either end may have the port.
fn ports() -> impl Iterator<Item = (u16, u16)> {
    PORTS.iter().flat_map(|&port| [(port, 443), (443, port)])
}

/// Asks that datagrams say the name and their protocol at every such port.
#[track_caller]
fn says(datagrams: &[Vec<u8>], source: NameSource, protocol: AppProtocol) {
    let datagrams: Vec<&[u8]> = datagrams.iter().map(Vec::as_slice).collect();
    let expected = (vec![(NAME.to_owned(), source)], Some(protocol));
    for ports in ports() {
        assert_eq!(said(ports, &datagrams), expected, "{ports:?}");
    }
}

#[test]
fn quic_and_dtls_are_read_there() {
    for version in [Version::V1, Version::V2, Version::Draft29] {
        says(&initials(version), NameSource::Quic, AppProtocol::Quic);
    }
    let records = hello_records(&offer(false), b"cookie", 4_000, &mut Random::new(1));
    says(&records, NameSource::Tls, AppProtocol::Dtls);
}

/// A capture may begin with what the other end sent. That it was no DNS was read off its bytes, so that the
/// journal keeps them, and what it kept says the same.
#[test]
fn what_was_kept_says_the_same_where_the_other_end_is_seen_first() {
    let mut datagrams = initials(Version::V1);
    datagrams.insert(0, datagrams[0].clone());
    for (local_port, remote_port) in ports() {
        let (mut first, mut again) = (Reading::default(), Reading::default());
        let (mut heard, mut heard_again) = (Vec::new(), Vec::new());
        for (number, bytes) in datagrams.iter().enumerate() {
            let shown = Shown {
                proto: SocketProto::Udp,
                local_port,
                remote_port,
                outbound: number > 0,
                names_only: false,
                tcp: Numbers::default(),
                wire_len: u32::try_from(bytes.len()).unwrap(),
                bytes,
            };
            let read = first.show(&shown, &mut heard).read;
            let bytes: &[u8] = if read { bytes } else { &[] };
            again.show(&Shown { bytes, ..shown }, &mut heard_again);
        }
        assert!(!heard.is_empty());
        assert_eq!(heard_again, heard, "{local_port} {remote_port}");
    }
}

#[test]
fn questions_are_still_read_there() {
    let question = dns(1, QUERY, &[("asked.example", 1)], &[]);
    for (port, source) in
        PORTS
            .into_iter()
            .zip([NameSource::Dns, NameSource::Mdns, NameSource::Llmnr])
    {
        let expected = (
            vec![("asked.example".to_owned(), source)],
            Some(AppProtocol::Dns),
        );
        for ports in [(port, 40_000), (40_000, port), (port, port)] {
            assert_eq!(said(ports, &[&question]), expected, "{ports:?}");
        }
    }
}

#[test]
fn what_is_no_whole_message_says_nothing_from_the_handsets_own_port() {
    // A count of questions that are not there: a message, as far as it goes.
    let mut cut = dns(1, QUERY, &[("cut.example", 1)], &[]);
    cut[5] = 9;
    let noise: Vec<u8> = (0..200_u8).map(|at| at.wrapping_mul(89)).collect();
    let stun = stun(&mut Random::new(2));
    for port in PORTS {
        for datagram in [&cut, &noise, &stun] {
            assert_eq!(said((port, 443), &[datagram]), (vec![], None), "{port}");
        }
        let (names, _) = said((40_000, port), &[&cut]);
        assert_eq!(names.len(), 1, "to the port of DNS it was sent as one");
    }
}
