//! Targets of `name`: payloads that name somebody.

use sakshi::{
    input::SocketProto,
    name::{
        self, NAME_BYTES_MAX, Probe,
        dns::{ANSWERS_MAX, AnswerData, DnsMessage, QUESTIONS_MAX},
        http::HttpRequest,
        resolved::{ADDRESSES_MAX, ResolvedNames},
        tls::{ClientHello, OFFERS_MAX},
    },
    time::Timestamp,
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
        if let AnswerData::Cname(name) = &answer.data {
            check_name(name);
        }
    }
    let mut resolved = ResolvedNames::new();
    resolved.learn(message, Timestamp::from_micros(0), Some(10_050));
    assert!(resolved.len() <= ADDRESSES_MAX.min(message.answers.len()));
}

/// The message of a UDP datagram.
pub(super) fn dns(data: &[u8]) {
    match name::dns::message(data) {
        Ok(message) => check_dns(&message),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
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
    assert!(hello.alpn.len() <= OFFERS_MAX && hello.versions.len() <= OFFERS_MAX);
    for offer in &hello.alpn {
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
    let found = name::identify(payload, proto, u16::from_be_bytes([high, low]), outbound);
    assert!(found.names.len() <= QUESTIONS_MAX);
    for name in &found.names {
        check_name(&name.name);
    }
    match &found.content {
        name::Content::None => assert!(found.names.is_empty()),
        name::Content::Dns(_, message) => check_dns(message),
        name::Content::ClientHello(hello) => check_hello(hello),
        name::Content::HttpRequest(request) => check_request(request),
    }
    if found.outcome != name::Outcome::Yes {
        assert_eq!(found.content, name::Content::None);
    }
}
