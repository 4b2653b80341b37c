//! Targets of `name`: payloads that name somebody.

use sakshi::{
    input::SocketProto,
    name::{
        self, Heard, NAME_BYTES_MAX, Numbers, Probe, Reading, Shown,
        certificate::CERTIFICATE_NAMES_MAX,
        dns::{ANSWERS_MAX, AnswerData, DnsMessage, ECH_NAMES_MAX, HINTS_MAX, QUESTIONS_MAX},
        dtls::Opening,
        http::{Chunk, HttpRequest},
        http2,
        quic::{CONNECTIONS_MAX, CRYPTO_BYTES_MAX, CRYPTO_PIECES_MAX, Initials, Outcome, google},
        resolved::{ADDRESSES_MAX, ResolvedNames},
        stream::WINDOW_BYTES,
        tls::{ClientHello, OFFERS_MAX, ServerHello},
    },
    time::Timestamp,
};
use sakshi_workload::{
    Hello, Random,
    initial::{Ids, Sealer, Version, crypto_frame},
};

/// Longest text of a name: each byte escaped as `\DDD`.
const NAME_TEXT_MAX: usize = 4 * NAME_BYTES_MAX;

/// Names are printed and exported: nothing but printable ASCII, and no more than a name can have.
fn check_text(text: &str) {
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    assert!(text.len() <= NAME_TEXT_MAX, "{} bytes", text.len());
}

fn check_name(name: &str) {
    check_text(name);
    assert!(!name.is_empty());
    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
}

fn check_dns(message: &DnsMessage) {
    assert!(message.questions.len() <= QUESTIONS_MAX);
    assert!(message.answers.len() <= ANSWERS_MAX);
    for question in &message.questions {
        check_name(&question.name);
    }
    for answer in &message.answers {
        check_name(&answer.name);
        match &answer.data {
            AnswerData::Cname(name) => check_name(name),
            AnswerData::Service(service) => {
                check_name(&service.target);
                service.ech_names.iter().for_each(|name| check_name(name));
                assert!(service.ech_names.len() <= ECH_NAMES_MAX);
                assert!(service.hints.len() <= HINTS_MAX);
            }
            _ => {}
        }
    }
    let mut resolved = ResolvedNames::new();
    resolved.learn(
        message,
        Timestamp::from_micros(0),
        Some(10_050),
        [9, 9, 9, 9].into(),
        (0, 1),
    );
    assert!(resolved.len() <= ADDRESSES_MAX.min(message.answers.len() * (HINTS_MAX + 1)));
}

/// The message of a UDP datagram.
pub(super) fn dns(data: &[u8]) {
    match name::dns::message(data) {
        Ok(message) => check_dns(&message),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An answer with a service binding, of which the bytes are the data.
pub(super) fn service(data: &[u8]) {
    let Ok(len) = u16::try_from(data.len()) else {
        return;
    };
    let mut message = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x41\0\x01".to_vec();
    message.extend(b"\xc0\x0c\0\x41\0\x01\0\0\0\x3c");
    message.extend(len.to_be_bytes());
    message.extend(data);
    let read = name::dns::message(&message).expect("an answer around any data");
    check_dns(&read);
    assert_eq!(read.stopped, None);
    assert!(matches!(
        read.answers.first().map(|answer| &answer.data),
        Some(AnswerData::Service(_) | AnswerData::Malformed(_))
    ));
}

/// The beginning of a TCP stream of messages.
pub(super) fn dns_tcp(data: &[u8]) {
    if let Probe::Yes(first) = name::dns::tcp_message(data) {
        assert!((2..=data.len()).contains(&first.consumed));
        check_dns(&first.message);
        // What follows changes nothing.
        let alone = name::dns::tcp_message(&data[..first.consumed]);
        assert_eq!(alone, Probe::Yes(first));
    }
}

fn check_hello(hello: &ClientHello) {
    if let Some(name) = &hello.sni {
        check_name(name);
    }
    assert!(hello.alpn().count() <= OFFERS_MAX && hello.versions.len() <= OFFERS_MAX);
    for offer in hello.alpn() {
        check_text(offer);
    }
}

/// The beginning of a TLS stream, and a handshake message without a record.
pub(super) fn tls(data: &[u8]) {
    if let Probe::Yes(hello) = name::tls::client_hello(data) {
        assert!(name::tls::is_tls_record(data));
        check_hello(&hello);
    }
    if let Probe::Yes(hello) = name::tls::hello_message(data) {
        check_hello(&hello);
    }
}

/// Datagrams of one flow, each with two bytes of length before it, of which the top bit says that the
/// capture cut it.
pub(super) fn dtls(data: &[u8]) {
    let mut opening = Opening::default();
    let mut rest = data;
    while let Some((&[high, low], behind)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes([high & 0x7f, low])).min(behind.len());
        let (datagram, behind) = behind.split_at(len);
        rest = behind;
        assert!(!(name::dtls::is_record(datagram) && name::dtls::is_stun(datagram)));
        let read = opening.datagram(datagram, high & 0x80 != 0);
        assert!(opening.bytes_held() <= 4 * CRYPTO_BYTES_MAX + CRYPTO_PIECES_MAX * 64);
        match read {
            Probe::Yes(hello) => return check_hello(&hello),
            Probe::NotYet => {}
            Probe::No => return,
        }
    }
    if let Probe::Yes(hello) = opening.cut() {
        check_hello(&hello);
        assert!(hello.damaged);
    }
}

/// Frames of a client's connection.
pub(super) fn http2(data: &[u8]) {
    let mut connection = http2::Connection::default();
    let mut rest = data;
    // A connection that goes on gives the same when the rest has not come.
    while let Probe::Yes(frame) = connection.frame(rest, false) {
        if let Some(host) = frame.request.and_then(|request| request.host) {
            check_name(&host);
        }
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
        assert!(len > 0);
        rest = rest.get(len..).unwrap_or_default();
    }
    if let Probe::Yes(frame) = connection.frame(rest, true)
        && let Some(host) = frame.request.and_then(|request| request.host)
    {
        check_name(&host);
    }
}

/// Datagrams of one flow, each with two bytes of length before it. The bytes of an Initial cannot be
/// guessed, so that those of a seed lead behind the decryption, and the rest around it.
pub(super) fn quic(data: &[u8]) {
    let (mut one, mut other) = (Initials::default(), Initials::default());
    let mut rest = data;
    while let Some((&[high, low], behind)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (datagram, behind) = behind.split_at(len);
        rest = behind;
        let read = one.datagram(datagram);
        assert_eq!(read, other.datagram(datagram));
        let answer = one.answer(datagram, false);
        assert_eq!(answer, other.answer(datagram, false));
        for hello in &read.hellos {
            check_hello(&hello.hello);
        }
        if read.outcome == Outcome::Ignored {
            assert!(read.hellos.is_empty());
        }
        let piece_bytes = CRYPTO_PIECES_MAX * 64;
        assert!(one.bytes_held() <= CONNECTIONS_MAX * (4 * CRYPTO_BYTES_MAX + piece_bytes));
    }
    one.give_up();
    assert_eq!(one.bytes_held(), 0);
}

/// The frames of an Initial, sealed as a client would, and as a server would behind a hello: what is
/// behind the decryption.
pub(super) fn quic_frames(data: &[u8]) {
    let id = b"fuzzing!";
    let sealer = Sealer::new(Version::V1, id);
    let ids = Ids { to: id, from: b"" };
    let mut flow = Initials::default();
    for (number, frames) in (0..).zip(data.chunks(1200)) {
        let mut frames = frames.to_vec();
        frames.resize(frames.len().max(4), 0);
        let read = flow.datagram(&sealer.initial(ids, &[], number, &frames));
        for hello in &read.hellos {
            check_hello(&hello.hello);
        }
    }
    let mut random = Random::new(1);
    let hello = Hello {
        sni: None,
        alpn: &[],
        hybrid: false,
        ech: false,
        quic: true,
    };
    let mut frames = Vec::new();
    crypto_frame(&mut frames, 0, &hello.message(&mut random));
    let mut flow = Initials::default();
    assert_eq!(
        flow.datagram(&sealer.initial(ids, &[], 0, &frames))
            .hellos
            .len(),
        1
    );
    let server = Sealer::server(Version::V1, id);
    let ids = Ids {
        to: b"",
        from: b"x",
    };
    for (number, frames) in (0..).zip(data.chunks(1200)) {
        let mut frames = frames.to_vec();
        frames.resize(frames.len().max(4), 0);
        if let (Some(chosen), _) = flow.answer(&server.initial(ids, &[], number, &frames), false) {
            check_server(&chosen);
        }
    }
}

/// A datagram of Google's own version.
pub(super) fn gquic(data: &[u8]) {
    if let Probe::Yes(hello) = google::hello(data) {
        assert!(google::version(data).is_some());
        if let Some(name) = &hello.sni {
            check_name(name);
        }
    }
}

fn check_request(request: &HttpRequest) {
    if let Some(host) = &request.host {
        check_name(host);
    }
}

/// The beginning of an HTTP/1 stream.
pub(super) fn http(data: &[u8]) {
    if let Probe::Yes(request) = name::http::request(data) {
        assert!(data.starts_with(request.method.as_bytes()));
        assert!(!name::http::is_response(data));
        check_request(&request);
    }
    if let Probe::Yes(Chunk::Last(len)) = name::http::chunk(data)
        && let Some(rest) = data.get(usize::try_from(len).unwrap()..)
        && let Probe::Yes(len) = name::http::trailers(rest)
    {
        assert!((1..=rest.len()).contains(&usize::try_from(len).unwrap()));
    }
}

/// Any payload: the first byte's lowest bits are transport and direction, two bytes of port follow.
pub(super) fn identify(data: &[u8]) {
    let &[flags, high, low, ref payload @ ..] = data else {
        return;
    };
    let proto = if flags & 1 == 0 {
        SocketProto::Udp
    } else {
        SocketProto::Tcp
    };
    let outbound = flags & 2 == 0;
    let heard = name::heard_alone(payload, proto, u16::from_be_bytes([high, low]), outbound);
    heard.iter().for_each(check_heard);
}

fn check_heard(heard: &Heard) {
    match heard {
        Heard::Protocol(_) | Heard::Proxied => {}
        Heard::Name(name, _) => check_name(name),
        Heard::Dns(_, message) => check_dns(message),
        Heard::Hello(hello) => check_hello(hello),
        Heard::Request(request) => check_request(request),
        Heard::Server(server) => check_server(server),
    }
}

fn check_server(server: &ServerHello) {
    if let Some(certificate) = &server.certificate {
        assert!(certificate.names.len() <= CERTIFICATE_NAMES_MAX);
        for name in &certificate.names {
            check_name(name);
        }
    }
}

/// What a server sends first: a flag whether more may come, and its bytes.
pub(super) fn server_flight(data: &[u8]) {
    if let Some((&flag, stream)) = data.split_first()
        && let Probe::Yes(server) = name::tls::server_flight(stream, flag & 1 != 0)
    {
        check_server(&server);
    }
}

/// A certificate.
pub(super) fn certificate(data: &[u8]) {
    let names = name::certificate::names(data);
    assert!(names.len() <= CERTIFICATE_NAMES_MAX);
    for name in &names {
        check_name(name);
    }
}

/// The command lines of a client, one after the other.
pub(super) fn lines(data: &[u8]) {
    let _ = (
        name::lines::protocol(data, 21),
        name::lines::is_mqtt_connect(data),
    );
    let mut rest = data;
    while let Probe::Yes(command) = name::lines::command(rest) {
        assert!((1..=rest.len()).contains(&command.len));
        rest = &rest[command.len..];
    }
}

/// What a client sends to a SOCKS proxy.
pub(super) fn socks(data: &[u8]) {
    for read in [name::socks::opening(data), name::socks::further(data)] {
        if let Probe::Yes(message) = read {
            assert!((1..=data.len()).contains(&message.len));
            if let Some(host) = &message.host {
                check_name(host);
            }
        }
    }
}

/// A client's XMPP stream: its head, and the element behind it.
pub(super) fn xmpp(data: &[u8]) {
    if let Probe::Yes(head) = name::xmpp::stream_head(data) {
        if let Some(to) = &head.to {
            check_name(to);
        }
        let rest = &data[head.len..];
        if let Probe::Yes(len) = name::xmpp::starttls(rest) {
            assert!(len <= rest.len());
        }
    }
}

/// Segments of one flow: transport and port first, then for each its flags, the low 16 bits of its
/// sequence number, its length on the wire, and as many bytes of that as there are.
///
/// What was not read must not matter: shown without their bytes, such segments lead to the same.
pub(super) fn reading(data: &[u8]) {
    let &[transport, high, low, ref segments @ ..] = data else {
        return;
    };
    let proto = if transport & 1 == 0 {
        SocketProto::Tcp
    } else {
        SocketProto::Udp
    };
    let remote_port = u16::from_be_bytes([high, low]);
    let (mut one, mut other) = (Reading::default(), Reading::default());
    let (mut heard, mut again) = (Vec::new(), Vec::new());
    let mut rest = segments;
    while let &[flags, s0, s1, l0, l1, ref behind @ ..] = rest {
        let wire_len = u32::from(u16::from_be_bytes([l0, l1]));
        let captured = usize::try_from(wire_len).unwrap().min(behind.len());
        // A flag cuts it short.
        let captured = if flags & 8 == 0 {
            captured
        } else {
            captured / 2
        };
        let shown = Shown {
            proto,
            local_port: 40_000,
            remote_port,
            outbound: flags & 1 == 0,
            names_only: flags & 64 != 0,
            tcp: Numbers {
                seq: u32::from(u16::from_be_bytes([s0, s1])).wrapping_sub(256),
                ack: u32::from(flags),
                syn: flags & 2 != 0,
                acks: flags & 4 != 0,
            },
            wire_len,
            bytes: &behind[..captured],
        };
        let read = one.show(&shown, &mut heard).read;
        assert!(one.held() <= 4 * usize::try_from(WINDOW_BYTES).unwrap());
        let unread = Shown {
            bytes: if read { shown.bytes } else { &[] },
            ..shown
        };
        other.show(&unread, &mut again);
        rest = &behind[captured..];
    }
    one.conclude(remote_port, &mut heard);
    other.conclude(remote_port, &mut again);
    assert_eq!(one.held(), 0);
    assert_eq!(heard, again);
    heard.iter().for_each(check_heard);
}
