//! What a payload speaks and whom it names: every probe of this room, in a cheap order.
//!
//! In: one payload, its transport, the remote port and the direction. Out: [`Identified`]. A
//! payload that is nothing we know costs a look at its first bytes and no allocation.

use sakshi_rules::contact::{AppProtocol, Name, NameSource};

use super::{
    Probe,
    dns::{self, DnsKind, DnsMessage},
    http::{self, HttpRequest},
    tls::{self, ClientHello},
};
use crate::input::SocketProto;

/// How far a payload answers the question what its flow speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Recognised; this payload has said what it says in clear.
    Yes,
    /// More bytes of the stream may say it.
    NotYet,
    /// Nothing known.
    No,
}

/// What was read of a payload, for those who need more than its names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Content {
    /// Nothing, or nothing beyond the protocol.
    #[default]
    None,
    /// A DNS message and which protocol of that format it belongs to.
    Dns(DnsKind, DnsMessage),
    /// A `ClientHello`.
    ClientHello(ClientHello),
    /// An HTTP/1 request.
    HttpRequest(HttpRequest),
}

/// What a payload was seen to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// What it speaks, as far as known; given with [`Outcome::NotYet`] too where the bytes leave
    /// little doubt.
    pub app_protocol: AppProtocol,
    /// Names in it, in the order they stand there. TLS and HTTP name the endpoint, so only what
    /// the handset sends counts; a DNS question counts in both directions, since a response
    /// repeats it. Questions of mDNS and LLMNR are in the content only. Before a proxy, an HTTP
    /// host is not the endpoint's: see [`HttpRequest::target_is_absolute`].
    pub names: Vec<Name>,
    /// Whether the question is answered.
    pub outcome: Outcome,
    /// What was read.
    pub content: Content,
}

impl Identified {
    const fn bare(app_protocol: AppProtocol, outcome: Outcome) -> Self {
        Self {
            app_protocol,
            names: Vec::new(),
            outcome,
            content: Content::None,
        }
    }

    const NO: Self = Self::bare(AppProtocol::Unknown, Outcome::No);
    const NOT_YET: Self = Self::bare(AppProtocol::Unknown, Outcome::NotYet);
}

/// Asks each probe that can apply; never panics and never allocates where the answer is no.
///
/// `payload` is a UDP payload, or the first bytes of a TCP stream's side. `outbound` says whether
/// the handset sent it.
pub fn identify(
    payload: &[u8],
    proto: SocketProto,
    remote_port: u16,
    outbound: bool,
) -> Identified {
    match (payload.first(), proto) {
        (None, _) => Identified::NOT_YET,
        (Some(_), SocketProto::Udp) => udp(payload, remote_port),
        (Some(&first), SocketProto::Tcp) => tcp(payload, first, remote_port, outbound),
    }
}

fn tcp(payload: &[u8], first: u8, remote_port: u16, outbound: bool) -> Identified {
    let dns = DnsKind::of_port(remote_port);
    // Whatever else is sent to a DNS port shows by its content: no query is so long that its length
    // prefix looks like TLS or HTTP. A response may be.
    let by_content = match (dns, first) {
        (Some(_), _) if !outbound => Identified::NO,
        (_, 20..=24) => tls_record(payload, outbound),
        (_, b'A'..=b'Z') => http(payload, outbound),
        _ => Identified::NO,
    };
    match dns {
        Some(kind) if by_content.outcome == Outcome::No => dns_over_tcp(payload, kind),
        _ => by_content,
    }
}

fn udp(payload: &[u8], remote_port: u16) -> Identified {
    if let Some(kind) = DnsKind::of_port(remote_port) {
        return match dns::message(payload) {
            Ok(message) => dns_message(kind, message),
            Err(_) => Identified::NO,
        };
    }
    if is_quic_long_header(payload) {
        return Identified::bare(AppProtocol::Quic, Outcome::Yes);
    }
    Identified::NO
}

fn dns_over_tcp(payload: &[u8], kind: DnsKind) -> Identified {
    match dns::tcp_message(payload) {
        Probe::Yes(first) => dns_message(kind, first.message),
        Probe::NotYet => Identified::NOT_YET,
        Probe::No => Identified::NO,
    }
}

fn dns_message(kind: DnsKind, message: DnsMessage) -> Identified {
    let names = match kind {
        DnsKind::Unicast => message
            .questions
            .iter()
            .map(|question| Name {
                name: question.name.clone(),
                source: NameSource::Dns,
            })
            .collect(),
        DnsKind::Mdns | DnsKind::Llmnr => Vec::new(),
    };
    Identified {
        app_protocol: AppProtocol::Dns,
        names,
        outcome: Outcome::Yes,
        content: Content::Dns(kind, message),
    }
}

fn tls_record(payload: &[u8], outbound: bool) -> Identified {
    match tls::client_hello(payload) {
        Probe::Yes(hello) => Identified {
            app_protocol: AppProtocol::Tls,
            names: endpoint_name(hello.sni.as_deref(), NameSource::Tls, outbound),
            outcome: Outcome::Yes,
            content: Content::ClientHello(hello),
        },
        Probe::NotYet if tls::is_tls_record(payload) => {
            Identified::bare(AppProtocol::Tls, Outcome::NotYet)
        }
        Probe::NotYet => Identified::NOT_YET,
        // Another message of the handshake, or a flow that was joined in its middle.
        Probe::No if tls::is_tls_record(payload) => {
            Identified::bare(AppProtocol::Tls, Outcome::Yes)
        }
        Probe::No => Identified::NO,
    }
}

fn http(payload: &[u8], outbound: bool) -> Identified {
    match http::request(payload) {
        Probe::Yes(request) => Identified {
            app_protocol: AppProtocol::Http,
            names: endpoint_name(request.host.as_deref(), NameSource::Http, outbound),
            outcome: Outcome::Yes,
            content: Content::HttpRequest(request),
        },
        Probe::NotYet => Identified::NOT_YET,
        Probe::No if http::is_response(payload) => {
            Identified::bare(AppProtocol::Http, Outcome::Yes)
        }
        Probe::No => Identified::NO,
    }
}

/// The name of the far side, if the handset said it.
fn endpoint_name(name: Option<&str>, source: NameSource, outbound: bool) -> Vec<Name> {
    name.filter(|_| outbound)
        .map(|name| Name {
            name: name.to_owned(),
            source,
        })
        .into_iter()
        .collect()
}

/// A QUIC long header (RFC 9000 section 17.2) of a version that is spoken: 1, 2 (RFC 9369) and
/// drafts 29 to 34. Its name is encrypted under keys that anybody can derive; not read here yet.
fn is_quic_long_header(payload: &[u8]) -> bool {
    const CONNECTION_ID_BYTES_MAX: u8 = 20;
    let &[first, v0, v1, v2, v3, dcid_len, ..] = payload else {
        return false;
    };
    let version = u32::from_be_bytes([v0, v1, v2, v3]);
    first & 0xc0 == 0xc0
        && matches!(version, 1 | 0x6b33_43cf | 0xff00_001d..=0xff00_0022)
        && dcid_len <= CONNECTION_ID_BYTES_MAX
}
