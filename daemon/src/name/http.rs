//! HTTP/1 requests: whom a client names in clear (RFC 9112).
//!
//! In: the bytes that a TCP stream begins with. Out: an [`HttpRequest`]. Header parsing is the
//! httparse crate's; what is a host and which one wins is decided here.

use std::{mem::MaybeUninit, sync::Arc};

use super::{Probe, text};

/// Bytes of a request head that are waited for; a longer head gives its request line only.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request; one with more gives its request line only.
pub const HEADERS_MAX: usize = 128;

/// Methods of the IANA registry, and those of `UPnP` (which phones speak on the local link). `PRI`
/// is left out: it opens HTTP/2.
const METHODS: [&str; 46] = [
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "QUERY",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "M-POST",
    "RPC_IN_DATA",
    "RPC_OUT_DATA",
];
/// Longest line of a chunk that is waited for, its extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of the longest method.
const METHOD_BYTES_MAX: usize = "UPDATEREDIRECTREF".len();

/// A request, as far as it names somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method, one of the registered ones.
    pub method: &'static str,
    /// Host without port and user information, lower case, escaped like a DNS name; an IPv6
    /// literal without its brackets. None when absent, unusable, or named twice with different
    /// values (RFC 9112 section 3.2 calls that a bad request: neither is certain).
    pub host: Option<Arc<str>>,
    /// The target itself carries the authority: absolute-form, or authority-form of CONNECT. The
    /// client then talks to a proxy, and `host` is not the name of the address it talks to.
    pub target_is_absolute: bool,
    /// Whether the whole head was read; if not, an absent `host` says nothing.
    pub head_complete: bool,
    /// Where the next request of the stream begins, in bytes from where this one does, or where the
    /// first chunk of its body does; none where that is not known: codings or lengths that contradict
    /// each other, an incomplete head.
    pub next_at: Option<u64>,
    /// A body in chunks begins there.
    pub chunked: bool,
}

/// A part of a body in chunks (RFC 9112 section 7.1), by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// A chunk: its line, its data and the end of that.
    Data(u64),
    /// The line that says that no chunk follows; trailers do, and an empty line.
    Last(u64),
}

/// Reads the line that a chunk begins with.
pub fn chunk(bytes: &[u8]) -> Probe<Chunk> {
    const LINE_END: u64 = 2;
    let line = bytes.get(..CHUNK_LINE_BYTES_MAX).unwrap_or(bytes);
    // No digit at all would be taken for a nought.
    if line.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Probe::No;
    }
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((len, size))) => {
            let len = u64::try_from(len).unwrap_or(u64::MAX);
            Probe::Yes(match size {
                0 => Chunk::Last(len),
                size => Chunk::Data(len.saturating_add(size).saturating_add(LINE_END)),
            })
        }
        Ok(httparse::Status::Partial) if line.len() < CHUNK_LINE_BYTES_MAX => Probe::NotYet,
        Ok(httparse::Status::Partial) | Err(_) => Probe::No,
    }
}

/// The bytes of the trailers that a body in chunks ends with, the empty line behind them included.
pub fn trailers(bytes: &[u8]) -> Probe<u64> {
    let mut len: usize = 0;
    let head = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        len += line.len();
        if matches!(line, b"\r\n" | b"\n") {
            return Probe::Yes(u64::try_from(len).unwrap_or(u64::MAX));
        }
    }
    if head.len() < HEAD_BYTES_MAX {
        Probe::NotYet
    } else {
        Probe::No
    }
}

/// Reads the request that a stream begins with.
///
/// *Not yet* while the head has not ended and can still become one; *no* when the method is
/// unknown or the request line is not HTTP/1's.
pub fn request(stream: &[u8]) -> Probe<HttpRequest> {
    let method = match known_method(stream) {
        Probe::Yes(method) => method,
        Probe::NotYet => return Probe::NotYet,
        Probe::No => return Probe::No,
    };
    let head = stream.get(..HEAD_BYTES_MAX).unwrap_or(stream);
    read(head, stream.len() >= HEAD_BYTES_MAX, method)
}

/// Reads what is there of a request whose head the capture cut off: its request line and the headers
/// up to the last whole line. *No* where not even the request line is whole.
pub fn cut_request(stream: &[u8]) -> Probe<HttpRequest> {
    let Probe::Yes(method) = known_method(stream) else {
        return Probe::No;
    };
    let head = stream.get(..HEAD_BYTES_MAX).unwrap_or(stream);
    let lines = head.iter().rposition(|&byte| byte == b'\n');
    let Some(whole) = lines.and_then(|last| head.get(..=last)) else {
        return Probe::No;
    };
    match read(&[whole, b"\r\n"].concat(), true, method) {
        Probe::Yes(request) => Probe::Yes(HttpRequest {
            head_complete: false,
            next_at: None,
            chunked: false,
            ..request
        }),
        Probe::NotYet | Probe::No => Probe::No,
    }
}

/// Reads a head; `is_last` says that no more of it is waited for.
fn read(head: &[u8], is_last: bool, method: &'static str) -> Probe<HttpRequest> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.ignore_invalid_headers_in_requests(true);
    let head_bytes =
        match config.parse_request_with_uninit_headers(&mut request, head, &mut headers) {
            Ok(httparse::Status::Complete(bytes)) => Some(bytes),
            Ok(httparse::Status::Partial) if !is_last => return Probe::NotYet,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => None,
            Err(_) => return malformed(head, method),
        };
    // A head without an end whose very request line has none is no request.
    let (Some(target), Some(_)) = (request.path, request.version) else {
        return Probe::No;
    };
    let authority = target_authority(method, target);
    let headers: &[httparse::Header<'_>] = match head_bytes {
        Some(_) => request.headers,
        None => &[],
    };
    let body = if method == "CONNECT" {
        Body::Bytes(0)
    } else {
        body(headers)
    };
    let head_complete = head_bytes.is_some();
    Probe::Yes(HttpRequest {
        method,
        host: match authority {
            Some(authority) => host_of_authority(authority.as_bytes()),
            None => host_header(headers).and_then(host_of_authority),
        },
        target_is_absolute: authority.is_some(),
        head_complete,
        next_at: head_bytes
            .and_then(|bytes| u64::try_from(bytes).ok())
            .and_then(|head| match body {
                Body::Bytes(len) => head.checked_add(len),
                Body::Chunks => Some(head),
                Body::Unknown => None,
            }),
        chunked: body == Body::Chunks,
    })
}

/// A head whose request line is not as it should be (no target, no version), but begins with a method
/// and has a host behind it: a server may answer it, so whom it names counts.
fn malformed(head: &[u8], method: &'static str) -> Probe<HttpRequest> {
    let line_end = head.iter().position(|&byte| byte == b'\n');
    let Some(lines) = line_end.and_then(|end| head.get(end + 1..)) else {
        return Probe::No;
    };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let Ok(httparse::Status::Complete((_, headers))) = httparse::parse_headers(lines, &mut headers)
    else {
        return Probe::No;
    };
    match host_header(headers).and_then(host_of_authority) {
        Some(host) => Probe::Yes(HttpRequest {
            method,
            host: Some(host),
            target_is_absolute: false,
            head_complete: false,
            next_at: None,
            chunked: false,
        }),
        None => Probe::No,
    }
}

/// What a head says of the body behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// So many bytes.
    Bytes(u64),
    /// Chunks.
    Chunks,
    /// Nothing that can be relied on.
    Unknown,
}

/// What is behind a request's head (RFC 9112 section 6.3). A head with both a coding and a length is
/// read differently by different servers: nothing behind it is.
fn body(headers: &[httparse::Header<'_>]) -> Body {
    let values = |name: &'static str| {
        let named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        headers.iter().filter(named).map(|header| header.value)
    };
    let mut lengths = values("content-length").map(|value| {
        let text = std::str::from_utf8(value).ok()?;
        text.trim().parse::<u64>().ok()
    });
    let mut codings = values("transfer-encoding");
    match (lengths.next(), codings.next(), codings.next()) {
        (None, None, _) => Body::Bytes(0),
        (Some(Some(length)), None, _) if lengths.all(|other| other == Some(length)) => {
            Body::Bytes(length)
        }
        (None, Some(coding), None) if ends_chunked(coding) => Body::Chunks,
        _ => Body::Unknown,
    }
}

/// Whether the last of the codings, and no other one, is *chunked*.
fn ends_chunked(codings: &[u8]) -> bool {
    let mut codings = codings.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(is_chunked) && !codings.any(is_chunked)
}

/// Whether the bytes begin with a method and a space.
pub fn begins(bytes: &[u8]) -> bool {
    matches!(known_method(bytes), Probe::Yes(_))
}

/// Whether the bytes begin with the status line of an HTTP/1 response.
pub fn is_response(stream: &[u8]) -> bool {
    stream.starts_with(b"HTTP/1.")
}

fn known_method(stream: &[u8]) -> Probe<&'static str> {
    let start = stream.get(..=METHOD_BYTES_MAX).unwrap_or(stream);
    let Some(len) = start.iter().position(|&byte| byte == b' ') else {
        let possible = METHODS.iter().any(|m| m.as_bytes().starts_with(start));
        return if possible { Probe::NotYet } else { Probe::No };
    };
    let word = start.get(..len).unwrap_or_default();
    METHODS
        .iter()
        .find(|method| method.as_bytes() == word)
        .map_or(Probe::No, |method| Probe::Yes(*method))
}

/// The authority that a target carries, if its form has one (RFC 9112 section 3.2).
fn target_authority<'a>(method: &str, target: &'a str) -> Option<&'a str> {
    if method == "CONNECT" {
        // Some clients send an origin-form here; then `Host` speaks.
        return (!target.contains('/')).then_some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let authority = rest.split(['/', '?', '#']).next()?;
    scheme_ok.then_some(authority)
}

/// The value of `Host`, where there is one and no other contradicts it.
fn host_header<'a>(headers: &[httparse::Header<'a>]) -> Option<&'a [u8]> {
    let mut hosts = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"))
        .map(|header| header.value.trim_ascii());
    let first = hosts.next()?;
    hosts
        .all(|other| other.eq_ignore_ascii_case(first))
        .then_some(first)
}

/// The host of an authority: no user information (it may hold a password), no port.
pub(super) fn host_of_authority(authority: &[u8]) -> Option<Arc<str>> {
    let host_port = authority.rsplit(|&byte| byte == b'@').next()?;
    let host = match host_port.strip_prefix(b"[") {
        Some(literal) => literal.split(|&byte| byte == b']').next()?,
        None => without_port(host_port),
    };
    text::host_name(host)
}

/// Drops a port; an IPv6 literal that lacks its brackets is left whole.
fn without_port(host_port: &[u8]) -> &[u8] {
    let mut parts = host_port.split(|&byte| byte == b':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(host), Some(port), None) if port.iter().all(u8::is_ascii_digit) => host,
        _ => host_port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(request_line: &str, headers: &str) -> Option<Arc<str>> {
        request(format!("{request_line}\r\n{headers}\r\n").as_bytes())
            .yes()
            .expect("a whole request")
            .host
    }

    #[test]
    fn host_loses_its_port_and_its_case() {
        for (value, expected) in [
            ("Example.COM", Some("example.com")),
            ("example.com:8080", Some("example.com")),
            ("example.com.:80", Some("example.com")),
            ("example.com:", Some("example.com")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("[2001:DB8::1]:443", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("user:secret@example.com", Some("example.com")),
            ("a b", Some(r"a\032b")),
            ("", None),
        ] {
            let got = host("GET / HTTP/1.1", &format!("hOST: {value}\r\n"));
            assert_eq!(got.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn target_wins_over_the_header() {
        let request = request(
            b"GET http://u:p@proxied.example:81/x?y=http://z/ HTTP/1.1\r\nHost: proxy\r\n\r\n",
        )
        .yes()
        .unwrap();
        assert_eq!(request.host.as_deref(), Some("proxied.example"));
        assert!(request.target_is_absolute);
    }

    #[test]
    fn an_origin_target_with_a_url_in_it_is_not_absolute() {
        assert_eq!(
            host("GET /go?to=http://b/ HTTP/1.1", "Host: a\r\n").as_deref(),
            Some("a")
        );
    }

    #[test]
    fn connect_names_the_far_side() {
        let connect = request(b"CONNECT far.example:443 HTTP/1.1\r\n\r\n")
            .yes()
            .unwrap();
        assert_eq!(connect.host.as_deref(), Some("far.example"));
        assert!(connect.target_is_absolute);
        assert_eq!(
            host("CONNECT / HTTP/1.1", "Host: far.example\r\n").as_deref(),
            Some("far.example")
        );
    }

    #[test]
    fn contradicting_hosts_name_nobody() {
        let twice = |a: &str, b: &str| {
            host(
                "GET / HTTP/1.1",
                &format!("Host: {a}\r\nAccept: */*\r\nHost: {b}\r\n"),
            )
        };
        assert_eq!(twice("a.example", "b.example"), None);
        assert_eq!(
            twice("a.example", "A.example").as_deref(),
            Some("a.example")
        );
    }

    #[test]
    fn a_broken_header_does_not_hide_the_host() {
        assert_eq!(
            host("GET / HTTP/1.1", "b(ad\r\nHost: a.example\r\n").as_deref(),
            Some("a.example")
        );
    }

    #[test]
    fn what_cannot_become_http_is_refused_at_once() {
        for bytes in [
            &b"SSH-2.0-x"[..],
            b"get / HTTP/1.1\r\n",
            b"GETS / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b"GET / FTP/1.1\r\n",
            b"GET /\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(request(bytes), Probe::No, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_strict_prefix_is_not_yet() {
        for head in [
            &b"GET /a HTTP/1.1\r\nHost: a.example\r\nA: b\r\n\r\n"[..],
            b"UPDATEREDIRECTREF http://a.example/ HTTP/1.1\nA: b\n\n",
            b"POST / HTTP/1.0\r\nb(ad\r\n\r\n",
        ] {
            for end in 0..head.len() {
                let prefix = &head[..end];
                assert_eq!(request(prefix), Probe::NotYet, "{}", prefix.escape_ascii());
            }
            assert!(request(head).yes().is_some());
        }
    }

    #[test]
    fn too_many_headers_leave_the_request_line() {
        let mut head = "GET / HTTP/1.1\r\nHost: a.example\r\n".to_owned();
        head.push_str(&"A: b\r\n".repeat(HEADERS_MAX));
        let request = request(format!("{head}\r\n").as_bytes()).yes().unwrap();
        assert_eq!((request.host, request.head_complete), (None, false));
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut head = b"GET / HTTP/1.1\r\nHost: a.example\r\nA: ".to_vec();
        head.resize(HEAD_BYTES_MAX - 1, b'x');
        assert_eq!(request(&head), Probe::NotYet);
        head.push(b'x');
        assert!(!request(&head).yes().unwrap().head_complete);
        let mut target = b"GET /".to_vec();
        target.resize(HEAD_BYTES_MAX, b'x');
        assert_eq!(request(&target), Probe::No, "not even a request line");
    }

    #[test]
    fn what_is_behind_a_head() {
        let behind = |headers: &str| {
            let head = format!("POST / HTTP/1.1\r\n{headers}\r\n");
            let request = request(head.as_bytes()).yes().unwrap();
            let at = request.next_at.map(|at| at - head.len() as u64);
            (at, request.chunked)
        };
        for (headers, expected) in [
            ("", (Some(0), false)),
            ("Content-Length: 5\r\n", (Some(5), false)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", (None, false)),
            ("Transfer-Encoding: chunked\r\n", (Some(0), true)),
            ("Transfer-Encoding: gzip, Chunked\r\n", (Some(0), true)),
            ("Transfer-Encoding: gzip\r\n", (None, false)),
            ("Transfer-Encoding: chunked, chunked\r\n", (None, false)),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                (None, false),
            ),
        ] {
            assert_eq!(behind(headers), expected, "{headers}");
        }
    }

    #[test]
    fn chunks_are_walked_and_trailers_passed_over() {
        assert_eq!(chunk(b"1a;x=y\r\n"), Probe::Yes(Chunk::Data(8 + 26 + 2)));
        assert_eq!(chunk(b"0\r\nA: b\r\n"), Probe::Yes(Chunk::Last(3)));
        assert_eq!(chunk(b"1"), Probe::NotYet);
        assert_eq!(chunk(b"GET / HTTP/1.1\r\n"), Probe::No);
        assert_eq!(chunk(b"\r\n"), Probe::No);
        let endless = [b"1;".as_slice(), &[b'x'; CHUNK_LINE_BYTES_MAX]].concat();
        assert_eq!(chunk(&endless), Probe::No);
        assert_eq!(trailers(b"\r\nGET"), Probe::Yes(2));
        assert_eq!(trailers(b"A: b\r\n\r\n"), Probe::Yes(8));
        assert_eq!(trailers(b"A: b\r\n"), Probe::NotYet);
    }

    #[test]
    fn no_method_is_longer_than_the_bound() {
        let longest = METHODS.iter().map(|method| method.len()).max();
        assert_eq!(longest, Some(METHOD_BYTES_MAX));
    }
}
