//! The seed corpora of the fuzz targets: made by the writers, kept in `tests/corpus/`.

use std::{env, fs, path::PathBuf};

use sakshi_workload::{
    Random,
    dtls::hello_records,
    hosts::{Requests, settings},
    initial::{Ids, Sealer, Version, crypto_frame},
};

use crate::writer::{
    Hello, QUERY, RESPONSE, Record, XMPP_HEAD, XMPP_STARTTLS, certificate, dns, dns_over_tcp,
    records, server_messages, vector,
};

/// A file of a corpus.
pub struct Seed {
    /// Path below `tests/corpus/`.
    pub path: &'static str,
    pub bytes: Vec<u8>,
}

fn seed(path: &'static str, bytes: impl Into<Vec<u8>>) -> Seed {
    Seed {
        path,
        bytes: bytes.into(),
    }
}

/// Every seed.
pub fn seeds() -> Vec<Seed> {
    [
        dns_seeds(),
        tls_seeds(),
        http_seeds(),
        dtls_seeds(),
        quic_seeds(),
        text_seeds(),
        server_seeds(),
        reading_seeds(),
        quic_seeds(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn dns_seeds() -> Vec<Seed> {
    let query = dns(1, QUERY, &[("www.example.com", 1)], &[]);
    let chain = [
        Record::cname("www.example.com", 30, "edge.example.net"),
        Record::a("edge.example.net", 20, [192, 0, 2, 7]),
        Record::aaaa("edge.example.net", 20, [0x20; 16]),
    ];
    let reverse = "7.2.0.192.in-addr.arpa";
    let pointer = [Record::ptr(reverse, 9, "edge.example.net")];
    vec![
        seed("dns/query", query.clone()),
        seed("dns_tcp/query", dns_over_tcp(&query)),
        seed(
            "dns/response-alias",
            dns(2, RESPONSE, &[("www.example.com", 1)], &chain),
        ),
        seed(
            "dns/response-ptr",
            dns(3, RESPONSE, &[(reverse, 12)], &pointer),
        ),
        seed(
            "dns/pointer-loop",
            *b"\0\x01\x81\x80\0\x01\0\0\0\0\0\0\x01a\xc0\x0c\0\x01\0\x01",
        ),
    ]
}

fn tls_seeds() -> Vec<Seed> {
    let hello = Hello::default()
        .extension(0x2a2a, vec![0])
        .sni(b"www.example.com")
        .alpn(&["h2", "http/1.1"])
        .versions(&[0x0304, 0x0303])
        .extension(0xfe0d, vec![0; 32]);
    vec![
        seed("tls/hello", hello.record()),
        seed("tls/hello-in-records", records(&hello.message(), 60)),
        seed(
            "tls/hello-bare",
            records(&Hello::message_with(&[]), usize::MAX),
        ),
    ]
}

fn quic_seeds() -> Vec<Seed> {
    let hello = Hello::default()
        .sni(b"www.example.com")
        .alpn(&["h3"])
        .versions(&[0x0304])
        .message();
    let (first, second) = hello.split_at(hello.len() / 2);
    let mut frames = Vec::new();
    crypto_frame(&mut frames, first.len(), second);
    frames.extend([1, 0, 0, 2, 0, 0, 1, 0, 0, 0]);
    crypto_frame(&mut frames, 0, first);
    let ids = Ids {
        to: b"12345678",
        from: b"me",
    };
    let mut datagrams = Vec::new();
    for version in [Version::V1, Version::V2] {
        let sealer = Sealer::new(version, ids.to);
        let one = sealer.initial(ids, b"token", 0, &frames);
        let chosen = Ids {
            to: b"of-the-server",
            ..ids
        };
        let other = sealer.initial(chosen, &[], 1, &[1; 40]);
        datagrams.extend(vector(2, &one));
        datagrams.extend(vector(2, &other));
    }
    let mut chlo = b"CHLO\x02\0\0\0PAD\0\x04\0\0\0SNI\0\x13\0\0\0----".to_vec();
    chlo.extend(b"www.example.com");
    let q043 = [
        &b"\x0912345678Q043\x01123456789012\xa0\x01\x04\0"[..],
        &chlo,
    ]
    .concat();
    let q046 = [
        &b"\xc3Q046\x5012345678\0\0\0\x01123456789012\xa0\x01\x04\0"[..],
        &chlo,
    ]
    .concat();
    vec![
        seed("quic/two-versions", datagrams),
        seed("quic_frames/shuffled", frames),
        seed("gquic/q043", q043),
        seed("gquic/q046", q046),
        seed(
            "service/hints",
            *b"\0\x01\0\0\x01\0\x03\x02h3\0\x04\0\x04\xc0\0\x02\x01\0\x06\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
        ),
        seed(
            "service/ech",
            *b"\0\x01\x01a\0\0\x05\0\x16\0\x14\xfe\x0d\0\x10\x01\0\x20\0\x01k\0\x04\0\x01\0\x01\0\x01n\0\0",
        ),
    ]
}

fn http_seeds() -> Vec<Seed> {
    vec![
        seed(
            "http/origin",
            *b"GET /a?b=http://c/ HTTP/1.1\r\nHost: www.example.com:8080\r\nAccept: */*\r\n\r\n",
        ),
        seed(
            "http/absolute",
            *b"GET http://u:p@www.example.com/ HTTP/1.1\r\nHost: proxy\r\n\r\n",
        ),
        seed(
            "http/connect",
            *b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
        ),
        seed("http/partial", *b"POST /upload HTTP/1.1\r\nHost: www.exa"),
        seed(
            "http/last-chunk",
            *b"0;x=y\r\nDigest: z\r\n\r\nGET / HTTP/1.1\r\n",
        ),
        seed("http2/requests", http2_requests()),
        seed(
            "http2/connect",
            *b"\0\0\x1a\x01\x04\0\0\0\x01\x02\x07CONNECT\x41\x0ffar.example:443",
        ),
    ]
}

fn http2_requests() -> Vec<u8> {
    let mut requests = Requests::default();
    let mut stream = settings();
    for (host, body, huffman, split) in [
        ("www.example.com", 0, true, false),
        ("other.example", 40, false, true),
        ("www.example.com", 0, true, true),
    ] {
        stream.extend(requests.request(host, body, huffman, split));
    }
    stream
}

/// Hellos of DTLS, as the target takes their datagrams apart.
fn dtls_seeds() -> Vec<Seed> {
    let hello = sakshi_workload::Hello {
        sni: Some("www.example.com"),
        alpn: &["webrtc"],
        hybrid: false,
        ech: false,
        quic: false,
    };
    let mut random = Random::new(9);
    let mut records = hello_records(&hello, b"cookie", 90, &mut random);
    let in_records = vector(2, &records.concat());
    records.reverse();
    let reversed = records
        .iter()
        .flat_map(|record| vector(2, record))
        .collect::<Vec<u8>>();
    let mut cut = vector(2, &hello_records(&hello, &[], 900, &mut random)[0][..150]);
    cut[0] |= 0x80;
    vec![
        seed("dtls/records", in_records),
        seed("dtls/reversed", reversed),
        seed("dtls/cut", cut),
    ]
}

fn text_seeds() -> Vec<Seed> {
    vec![
        seed("lines/smtp", *b"EHLO phone\r\nSTARTTLS\r\n"),
        seed("lines/imap", *b"a1 CAPABILITY\r\na2 STARTTLS\r\n"),
        seed("lines/ftp", *b"AUTH TLS\r\n"),
        seed(
            "lines/mqtt",
            *b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        ),
        seed("socks/request", *b"\x05\x01\x00\x03\x0bfar.example\x01\xbb"),
        seed(
            "socks/request-4a",
            *b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00far.example\x00",
        ),
        seed("socks/greeting", *b"\x05\x02\x00\x02"),
        seed("xmpp/starttls", [XMPP_HEAD, XMPP_STARTTLS].concat()),
    ]
}

fn server_seeds() -> Vec<Seed> {
    let der = certificate(&["www.example.com", "*.example.net"], "ignored");
    let flight = records(&server_messages(&der), 100);
    vec![
        seed("certificate/names", der),
        seed("certificate/common-name", certificate(&[], "cn.example")),
        seed("server_flight/certificate", [vec![0], flight].concat()),
    ]
}

/// As the target `reading` takes it apart.
fn pieces(port: u16, segments: &[(u8, u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(port.to_be_bytes());
    for (flags, seq, payload) in segments {
        bytes.push(*flags);
        bytes.extend(seq.to_be_bytes());
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(*payload);
    }
    bytes
}

fn reading_seeds() -> Vec<Seed> {
    let hello = Hello::default().sni(b"www.example.com").record();
    let (first, second) = hello.split_at(40);
    let query = dns_over_tcp(&dns(1, QUERY, &[("www.example.com", 1)], &[]));
    let connect = b"CONNECT far.example:443 HTTP/1.1\r\n\r\n";
    let behind = 1_001 + u16::try_from(connect.len()).unwrap();
    vec![
        seed(
            "reading/out-of-order",
            pieces(
                443,
                &[(2, 1_000, b""), (4, 1_041, second), (4, 1_001, first)],
            ),
        ),
        seed(
            "reading/connect",
            pieces(
                8080,
                &[(2, 1_000, b""), (4, 1_001, connect), (4, behind, &hello)],
            ),
        ),
        seed(
            "reading/dns",
            pieces(53, &[(0, 7, &query[..9]), (0, 16, &query[9..])]),
        ),
        seed(
            "reading/cut",
            pieces(443, &[(2, 1_000, b""), (12, 1_001, &hello)]),
        ),
    ]
}

/// Set `SAKSHI_BLESS=1` to write the files anew after a change here.
#[test]
fn files_are_what_the_writers_make() {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus"));
    for Seed { path, bytes } in seeds() {
        let file = root.join(path);
        if env::var_os("SAKSHI_BLESS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &bytes).unwrap();
        }
        let stored = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(stored == bytes, "{path}: run with SAKSHI_BLESS=1");
    }
}
