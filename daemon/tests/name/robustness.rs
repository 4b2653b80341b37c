//! No bytes make a parser panic, and no name holds a control character.

use proptest::prelude::*;
use sakshi::{
    input::SocketProto::{Tcp, Udp},
    name::{
        Heard,
        dns::{AnswerData, DnsMessage},
        heard_alone, http,
        resolved::ResolvedNames,
        tls,
    },
    time::Timestamp,
};

use crate::corpus;

/// Texts of a message that could reach an export.
fn texts(message: &DnsMessage) -> impl Iterator<Item = &str> {
    let asked = message.questions.iter().map(|question| &*question.name);
    let owners = message.answers.iter().map(|answer| &*answer.name);
    let targets = message
        .answers
        .iter()
        .filter_map(|answer| match &answer.data {
            AnswerData::Cname(target) => Some(&**target),
            _ => None,
        });
    asked.chain(owners).chain(targets)
}

fn check(heard: &Heard) {
    let printable = |text: &str| {
        let ok = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(ok, "{text:?}");
    };
    match heard {
        Heard::Protocol(_) | Heard::Proxied => {}
        Heard::Name(name, _) => printable(name),
        Heard::Dns(_, message) => {
            texts(message).for_each(printable);
            ResolvedNames::new().learn(
                message,
                Timestamp::from_nanos(0),
                None,
                [9, 9, 9, 9].into(),
                (0, 1),
            );
        }
        Heard::Hello(hello) => {
            hello.sni.iter().for_each(|sni| printable(sni));
            hello.alpn().for_each(printable);
        }
        Heard::Request(request) => request.host.iter().for_each(|host| printable(host)),
        Heard::Server(server) => {
            let names = server.certificate.iter().flat_map(|own| &own.names);
            names.for_each(|name| printable(name));
        }
    }
}

/// Shows the bytes to every probe.
fn probe_all(bytes: &[u8]) {
    for port in [53, 443, 5353] {
        for outbound in [true, false] {
            for proto in [Tcp, Udp] {
                heard_alone(bytes, proto, port, outbound)
                    .iter()
                    .for_each(check);
            }
        }
    }
    let _ = tls::hello_message(bytes);
    let _ = tls::is_tls_record(bytes);
    let _ = http::request(bytes);
    let _ = http::cut_request(bytes);
    let _ = tls::cut_hello(bytes);
    let _ = tls::server_flight(bytes, true);
}

/// A seed with some bytes changed, cut or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = corpus::seeds().into_iter().map(|seed| seed.bytes).collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12);
    let cut = any::<prop::sample::Index>();
    (prop::sample::select(seeds), changes, cut, any::<bool>()).prop_map(
        |(mut bytes, changes, cut, shorten)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if shorten {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        probe_all(&bytes);
    }

    #[test]
    fn mutated_messages_do_no_harm(bytes in mutated()) {
        probe_all(&bytes);
    }

    /// The header of a DNS message with noise behind it: compression, types and lengths at random.
    #[test]
    fn noise_behind_a_dns_header_does_no_harm(
        counts in any::<[u8; 2]>(),
        noise in prop::collection::vec(prop_oneof![Just(0xc0), 0_u8..40, any::<u8>()], 0..400),
    ) {
        let header = [0, 1, 0x81, 0x80, 0, counts[0], 0, counts[1], 0, 0, 0, 0];
        probe_all(&[&header[..], &noise].concat());
    }
}
