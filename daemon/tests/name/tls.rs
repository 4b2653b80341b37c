//! What is read of a `ClientHello`, whole, split and damaged.

use proptest::prelude::*;
use sakshi::name::{
    NAME_BYTES_MAX, Probe,
    tls::{ClientHello, EXTENSIONS_MAX, OFFERS_MAX, client_hello, hello_message, is_tls_record},
};

use crate::writer::{Hello, records, vector};

const GREASE: u16 = 0x2a2a;

fn read(hello: &Hello) -> ClientHello {
    client_hello(&hello.record()).yes().expect("a hello")
}

#[test]
fn reads_what_a_client_offers() {
    let hello = Hello::default()
        .extension(GREASE, vec![0])
        .sni(b"Www.Example.com.")
        .alpn(&["h2", "http/1.1"])
        .extension(51, vec![0; 1200])
        .versions(&[GREASE, 0x0304, 0x0303])
        .extension(0xfe0d, vec![0; 100]);
    let offered = read(&hello);
    assert_eq!(offered.sni.as_deref(), Some("www.example.com"));
    assert!(offered.alpn().eq(["h2", "http/1.1"]));
    assert_eq!(offered.versions[..], [GREASE, 0x0304, 0x0303]);
    assert_eq!((offered.ech, offered.damaged), (true, false));
    assert_eq!(hello_message(&hello.message()), Probe::Yes(offered));
}

#[test]
fn absent_is_not_damaged() {
    let mut expected = ClientHello::default();
    expected.versions.push(0x0303);
    assert_eq!(read(&Hello::default()), expected);
    // No extension block at all, as before TLS 1.2.
    let bare = records(&Hello::message_with(&[]), usize::MAX);
    assert_eq!(client_hello(&bare), Probe::Yes(expected));
}

#[test]
fn bytes_behind_the_hello_do_not_matter() {
    let mut stream = Hello::default().sni(b"a.example").record();
    stream.extend(b"\x17\x03\x03\x00\x05early");
    let hello = client_hello(&stream).yes().unwrap();
    assert_eq!(hello.sni.as_deref(), Some("a.example"));
}

#[test]
fn a_hello_over_many_records_is_joined() {
    let hello = Hello::default().sni(b"a.example");
    for fragment in [1, 3, 4, 5, 50] {
        let stream = records(&hello.message(), fragment);
        assert_eq!(client_hello(&stream), Probe::Yes(read(&hello)));
        for end in 0..stream.len() {
            assert_eq!(client_hello(&stream[..end]), Probe::NotYet, "{end}");
        }
    }
}

#[test]
fn names_that_are_no_host_names_are_escaped_or_refused() {
    let sni = |name: &[u8]| {
        let hello = read(&Hello::default().sni(name));
        (hello.sni, hello.damaged)
    };
    assert_eq!(sni(b"192.0.2.1"), (Some("192.0.2.1".into()), false));
    assert_eq!(sni(b"2001:DB8::1"), (Some("2001:db8::1".into()), false));
    assert_eq!(sni(b"a\r\nb"), (Some(r"a\013\010b".into()), false));
    assert_eq!(sni(b""), (None, true));
    assert_eq!(sni(&[b'a'; NAME_BYTES_MAX + 1]), (None, true));
}

#[test]
fn damage_is_said_and_does_not_hide_the_rest() {
    let broken_alpn = Hello::default()
        .extension(16, vec![0, 9, 1])
        .sni(b"a.example");
    assert_eq!(read(&broken_alpn).sni.as_deref(), Some("a.example"));
    assert!(read(&broken_alpn).damaged);

    let twice = Hello::default().sni(b"a.example").sni(b"b.example");
    assert_eq!(read(&twice).sni.as_deref(), Some("a.example"));
    assert!(read(&twice).damaged);

    // A block that announces more than the message holds.
    let mut block = vector(2, &[0, 0, 0, 6, 0, 4, 0, 0, 1, b'a']);
    block[1] += 40;
    let overrun = hello_message(&Hello::message_with(&block)).yes().unwrap();
    assert_eq!((overrun.sni.as_deref(), overrun.damaged), (Some("a"), true));

    // One that announces less: what follows it is not read.
    block[1] = 0;
    let underrun = hello_message(&Hello::message_with(&block)).yes().unwrap();
    assert_eq!((underrun.sni, underrun.damaged), (None, true));
}

#[test]
fn lists_are_bounded() {
    let many = (0..=EXTENSIONS_MAX).fold(Hello::default(), |hello, _| hello.extension(21, vec![]));
    assert!(read(&many).damaged);
    let offers = read(&Hello::default().alpn(&["h2"; OFFERS_MAX + 1]));
    assert_eq!((offers.alpn().count(), offers.damaged), (OFFERS_MAX, true));
}

#[test]
fn what_is_no_hello_is_refused_at_its_first_wrong_byte() {
    let record = Hello::default().sni(b"a.example").record();
    // Content type, version, message type, message length (once it is whole), client version.
    for (at, wrong, seen) in [
        (0, 23, 1),
        (1, 2, 2),
        (2, 9, 3),
        (5, 2, 6),
        (6, 9, 9),
        (9, 9, 10),
    ] {
        let mut bytes = record.clone();
        bytes[at] = wrong;
        assert_eq!(client_hello(&bytes), Probe::No, "byte {at}");
        assert_eq!(client_hello(&bytes[..seen]), Probe::No, "byte {at}");
    }
    assert_eq!(client_hello(&[22, 3, 1, 0, 0]), Probe::No, "empty record");
    assert_eq!(client_hello(&[22, 3, 1, 0x40, 1]), Probe::No, "over 2^14");
}

#[test]
fn records_are_told_by_their_header() {
    assert!(is_tls_record(&[23, 3, 3, 0x40, 0x11]));
    assert!(!is_tls_record(&[23, 3, 3, 0x48, 1]), "too long");
    assert!(!is_tls_record(&[25, 3, 3, 0, 1]), "unknown content");
    assert!(!is_tls_record(&[23, 2, 0, 0, 1]), "unknown version");
    assert!(!is_tls_record(&[23, 3, 3, 0]), "cut off");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_strict_prefix_is_not_yet(
        name in "[a-z0-9-]{1,30}\\.[a-z]{2,8}",
        padding in 0_usize..1500,
        fragment in 40_usize..2000,
        name_last: bool,
    ) {
        let pad = |hello: Hello| hello.extension(21, vec![0; padding]);
        let hello = if name_last {
            pad(Hello::default()).sni(name.as_bytes())
        } else {
            pad(Hello::default().sni(name.as_bytes()))
        };
        let stream = records(&hello.message(), fragment);
        for end in 0..stream.len() {
            prop_assert_eq!(client_hello(&stream[..end]), Probe::NotYet);
        }
        let read = client_hello(&stream).yes().unwrap();
        prop_assert_eq!(read.sni.as_deref(), Some(&*name));
    }
}
