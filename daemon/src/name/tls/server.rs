//! The server's part of a TLS handshake, as far as it is in clear: the version and the suite that it
//! chose, and up to TLS 1.2 its certificate.
//!
//! In: the bytes that a server sends behind a hello. Out: a [`ServerHello`]. From TLS 1.3 on the
//! certificate is encrypted.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{HANDSHAKE_HEADER_BYTES, Record, handshake_record};
use crate::name::{Probe, bytes::Reader, certificate};

const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SUPPORTED_VERSIONS: u16 = 43;
/// TLS 1.3, as its extension says it.
const TLS13: u16 = 0x0304;
/// The random value of a `ServerHello` that asks for another hello (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a server chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The version (0x0304 is TLS 1.3).
    pub version: u16,
    /// The cipher suite (IANA, TLS Cipher Suites).
    pub suite: u16,
    /// Whether it asked for another hello; what it chose stands all the same.
    pub retry: bool,
    /// Its own certificate; none where that is encrypted, was not sent or not captured.
    pub certificate: Option<Certificate>,
}

/// A server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// The names that it is for, as it says them; wildcards as they are. Not checked by anybody.
    pub names: Vec<Arc<str>>,
}

/// Reads what a server sends first. `is_last` says that no further byte will come: then what is there
/// is taken for all.
pub fn server_flight(stream: &[u8], is_last: bool) -> Probe<ServerHello> {
    let mut message = Vec::new();
    let mut rest = stream;
    let mut hello: Option<ServerHello> = None;
    loop {
        let record = match handshake_record(rest) {
            Probe::Yes(record) => record,
            Probe::NotYet if !is_last => return Probe::NotYet,
            // Another kind of record ends what is in clear.
            Probe::NotYet | Probe::No => return hello.map_or(Probe::No, Probe::Yes),
        };
        let Record {
            fragment,
            complete,
            rest: behind,
        } = record;
        message.extend_from_slice(fragment);
        match messages(&mut message, &mut hello) {
            Read::Enough => return hello.map_or(Probe::No, Probe::Yes),
            Read::More if complete => rest = behind,
            Read::More if is_last => return hello.map_or(Probe::No, Probe::Yes),
            Read::More => return Probe::NotYet,
        }
    }
}

/// Reads a `ServerHello` message without a record layer (as QUIC carries it).
pub fn server_message(message: &[u8]) -> Probe<ServerHello> {
    let Some((&[kind, high, mid, low], rest)) = message.split_first_chunk() else {
        return if matches!(message.first(), None | Some(&SERVER_HELLO)) {
            Probe::NotYet
        } else {
            Probe::No
        };
    };
    let len = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
    match rest.get(..len) {
        _ if kind != SERVER_HELLO => Probe::No,
        Some(body) => server_hello(body).map_or(Probe::No, Probe::Yes),
        None => Probe::NotYet,
    }
}

enum Read {
    Enough,
    More,
}

/// Reads the whole messages that there are and takes them away.
fn messages(bytes: &mut Vec<u8>, hello: &mut Option<ServerHello>) -> Read {
    let mut at = 0;
    while let Some(&[kind, high, mid, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let len = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
        if hello.is_none() && kind != SERVER_HELLO {
            return Read::Enough;
        }
        let Some(body) = bytes.get(at + HANDSHAKE_HEADER_BYTES..at + HANDSHAKE_HEADER_BYTES + len)
        else {
            break;
        };
        match (kind, &mut *hello) {
            (SERVER_HELLO, None) => match server_hello(body) {
                Some(read) if read.version >= TLS13 => {
                    *hello = Some(read);
                    return Read::Enough;
                }
                Some(read) => *hello = Some(read),
                None => return Read::Enough,
            },
            (CERTIFICATE, Some(hello)) => {
                hello.certificate = first_certificate(body);
                return Read::Enough;
            }
            // Certificate status and the like stand behind it, a key exchange without it.
            _ => return Read::Enough,
        }
        at += HANDSHAKE_HEADER_BYTES + len;
    }
    bytes.drain(..at);
    Read::More
}

/// RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3.
fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut reader = Reader::new(body);
    let mut version = reader.u16().ok()?;
    if version >> 8 != 3 {
        return None;
    }
    let retry = reader.take(32).ok()? == RETRY_RANDOM;
    reader.vector8().ok()?;
    let suite = reader.u16().ok()?;
    reader.u8().ok()?;
    if let Ok(block) = reader.vector16() {
        let mut extensions = Reader::new(block);
        while let (Ok(kind), Ok(value)) = (extensions.u16(), extensions.vector16()) {
            if let (SUPPORTED_VERSIONS, &[high, low]) = (kind, value) {
                version = u16::from_be_bytes([high, low]);
            }
        }
    }
    Some(ServerHello {
        version,
        suite,
        retry,
        certificate: None,
    })
}

/// The first of a list of certificates: the server's own (RFC 5246 section 7.4.2).
fn first_certificate(body: &[u8]) -> Option<Certificate> {
    let mut reader = Reader::new(body);
    reader.take(3).ok()?;
    let &[high, mid, low] = reader.take(3).ok()?.first_chunk()?;
    let len = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
    let der = reader.take(len).ok()?;
    Some(Certificate {
        sha256: Sha256::digest(der).into(),
        names: certificate::names(der),
    })
}
